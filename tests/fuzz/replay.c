/* Runs a fuzz target over its corpus without libFuzzer: replay_NAME reads tests/fuzz/corpus/NAME, or the files that it is given. */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    static uint8_t bytes[2 * 1024 * 1024];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    printf("%s: %zu bytes\n", path, size);
    fflush(stdout);   /* so that the file which crashes is the last line */
    uint8_t *exact = malloc(size ? size : 1);
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int replay_corpus(const char *program) {
    char path[PATH_MAX];
    const char *name = strrchr(program, '/');
    int files = 0, failed = 0;
    name = name ? name + 1 : program;
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", strncmp(name, "replay_", 7) ? name : name + 7);
    size_t folder = strlen(path);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            snprintf(path + folder, sizeof path - folder, "/%s", e->d_name);
            failed |= replay_file(path);
            files++;
        }
    if (d)
        closedir(d);
    path[folder] = '\0';
    printf("%d files of %s\n", files, path);
    return failed || !files;
}

int main(int argc, char **argv) {
    int failed = argc > 1 ? 0 : replay_corpus(argv[0]);
    for (int i = 1; i < argc; i++)
        failed |= replay_file(argv[i]);
    return failed;
}
