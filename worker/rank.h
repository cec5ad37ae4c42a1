/* `muster-worker rank -- COMMAND`: one rank of a job. */
#ifndef WORKER_RANK_H
#define WORKER_RANK_H

int rank_main(int argc, char **argv);   /* argv after "rank" */

#endif
