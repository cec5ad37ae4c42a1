#include "jobs/backend/gpu_library.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xmalloc.h"

/* Muster names real GPUs by UUID ("GPU-...", "MIG-...") and the fake ones of a test cluster "FAKE-...". */
bool gpu_is_allocated(void) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return visible && (strncmp(visible, "GPU-", 4) == 0 || strncmp(visible, "MIG-", 4) == 0);
}

int gpu_library_load(const char *file, const char *symbol, int abi, const char *of, const char *remedy, const void **table,
                     struct error *err) {
    char program[PATH_MAX] = "";
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        return error_set_errno(err, ERR_IO, "finding this program's folder");
    char *path = xasprintf("%s/../lib/%s", dirname(program), file);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *table = handle ? dlsym(handle, symbol) : NULL;
    int rc = 0;
    if (!*table)
        rc = error_set(err, ERR_NOT_FOUND, "%s%s can't be used: %s. Build on a machine that has it (see `make features`), or choose %s",
                       gpu_is_allocated() ? "real GPUs are allocated, but " : "", of, dlerror(), remedy);
    else if (*(const int *)*table != abi)
        rc = error_set(err, ERR_CONFLICT, "%s is of another version of Muster (%d, not %d)", path, *(const int *)*table, abi);
    free(path);
    return rc;
}
