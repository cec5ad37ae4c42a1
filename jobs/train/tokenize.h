/* muster-train tokenize: a text becomes tokens, of a tokenizer that is learned from it or of one that there is. */
#ifndef JOBS_TRAIN_TOKENIZE_H
#define JOBS_TRAIN_TOKENIZE_H

/* argv[0] is "tokenize". Returns the exit code; errors are told on stderr. */
int tokenize_main(int argc, char **argv);

#endif
