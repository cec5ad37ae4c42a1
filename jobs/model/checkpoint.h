/* Checkpoints of a training: weights, the optimiser's two moments, and where it stood. Independent of the number of ranks.
 *
 *     DIR/step-00000120/config.json             the model's shape; that of a GPT as Hugging Face's GPT-2 has it
 *                       model.safetensors       the weights, under GPT-2's names
 *                       optimizer.safetensors   the moments, as momentum.NAME and variance.NAME
 *                       tokenizer.json          of a GPT over tokens: a copy of what its text was tokenized with
 *                       manifest.json           written last: step, what was trained on, size and CRC-32 of each file
 *
 * A checkpoint is built in DIR/.writing, synced file by file, and renamed to its name: under that name it is whole or it isn't there.
 * Loading compares every file with the manifest and goes back to the one before when something differs. One process writes a DIR.
 */
#ifndef JOBS_MODEL_CHECKPOINT_H
#define JOBS_MODEL_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/model/model.h"

enum { CHECKPOINTS_KEPT_MIN = 2 /* fewer, and there is none before a damaged one */, ARITHMETIC_MAX = 192 };

/* Where the training stood. What is recorded of its settings is compared at resume. */
struct checkpoint_state {
    int64_t step;        /* steps done */
    uint64_t seed;
    int64_t batch;       /* sequences a step, over all ranks */
    uint32_t data_checksum;
    int64_t shards;      /* of a batch; 0: sums depend on the number of ranks */
    const char *tokenizer;   /* tokenizer.json, to be written, borrowed; NULL where there is none, and when a checkpoint was found */
    size_t tokenizer_size;
    bool has_tokenizer;      /* of one that was found: whether, and its CRC-32 */
    uint32_t tokenizer_checksum;
    uint32_t weights_checksum;   /* of one that was found: its model.safetensors' */
    char arithmetic[ARITHMETIC_MAX];   /* what computed it: with shards the bits depend on nothing else. "" in checkpoints from before
                                        * there was that */
};

/* Writes the checkpoint of state->step and then removes all but the newest `keep`. On failure nothing that was there is lost. */
int checkpoint_write(const char *dir, int64_t keep, const struct checkpoint_state *state, const struct model *m, float *momentum,
                     float *variance, struct error *err);

/* Finds the newest whole checkpoint. Prints a warning on stderr for each newer one that is damaged, naming the file. *path (freed by the
 * caller) is NULL where DIR has no checkpoint or doesn't exist. Where it has some but none is whole: an error, so that nobody trains from
 * scratch unasked. */
int checkpoint_find(const char *dir, char **path, struct checkpoint_state *state, struct model_config *config, struct error *err);

/* Reads a checkpoint that checkpoint_find found into arrays of its config's size; momentum and variance NULL: the weights only. */
int checkpoint_read(const char *path, struct model *m, float *momentum, float *variance, struct error *err);

/* Weights alone, from a folder with config.json and model.safetensors as Hugging Face writes them, or as checkpoints have them: the shape
 * first, then the values. Names may begin with "transformer."; lm_head.weight is ignored, because it is wte. */
int pretrained_config(const char *dir, struct model_config *config, struct error *err);
int pretrained_read(const char *dir, struct model *m, struct error *err);

#endif
