/* Continues the texts of the command line with a trained model, all at once:
 *
 *     cc -I. docs/examples/generate.c $(make -s engine-libs) -o generate      # in Muster's folder, after make
 *     ./generate checkpoints "Once upon" "The licence"
 *
 * Each result is printed when it is ready.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/infer/engine.h"

enum { BATCH = 8, TOKENS = 80 };

int main(int argc, char **argv) {
    struct engine *engine;
    struct engine_result result;
    struct error err;

    if (argc < 3) {
        fprintf(stderr, "usage: %s CHECKPOINTS TEXT...\n", argv[0]);
        return 2;
    }
    if (engine_open(&engine, argv[1], BATCH, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        struct engine_request request = {.prompt = argv[i],
                                         .prompt_length = strlen(argv[i]),
                                         .tokens = TOKENS,
                                         .sampling = {.temperature = 0.8f, .top_k = 40, .top_p = 1, .seed = (uint64_t)i}};
        if (engine_submit(engine, (uint64_t)i, &request, &err) < 0) {
            fprintf(stderr, "%s: %s\n", argv[i], err.text);
            engine_close(engine);
            return 1;
        }
    }
    while (engine_step(engine))
        while (engine_take(engine, &result)) {
            printf("%s%.*s\n", argv[result.id], (int)result.length, (const char *)result.text);
            free(result.text);
        }
    engine_close(engine);
    return 0;
}
