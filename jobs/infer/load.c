/* The model of a training's newest whole checkpoint. */
#include "jobs/infer/load.h"

#include <stdlib.h>

#include "jobs/model/checkpoint.h"

int load_model(struct model *m, const char *folder, int64_t *step, struct error *err) {
    char *path = NULL;
    struct checkpoint_state state;
    struct model_config config;
    int rc = checkpoint_find(folder, &path, &state, &config, err);
    if (rc == 0 && !path)
        return error_set(err, ERR_NOT_FOUND, "there is no checkpoint in %s: train first, with muster-train --checkpoint %s", folder,
                         folder);
    if (rc == 0) {
        model_init(m, &config, &backend_cpu);
        *step = state.step;
        rc = checkpoint_read(path, m, NULL, NULL, err);
        if (rc < 0)
            model_release(m);
    }
    free(path);
    return rc;
}
