/* muster-sim's subcommands: each parses its own arguments and returns the exit code. */
#ifndef SCHEDULER_SIM_SIM_H
#define SCHEDULER_SIM_SIM_H

int sim_random(int argc, char **argv);
int sim_scenario(int argc, char **argv);
int sim_replay(int argc, char **argv);
int sim_trace(int argc, char **argv);

#endif
