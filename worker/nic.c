#include "worker/nic.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

/* Below the first bridge, two devices of different sockets share only "/sys/devices". */
static int shared_parts(const char *a, const char *b) {
    int parts = 0;
    for (; *a && *a == *b; a++, b++)
        parts += *a == '/';
    return parts;
}

static int64_t number_in(const char *folder, const char *file) {
    char path[PATH_MAX];
    long long number = -1;
    snprintf(path, sizeof path, "%.3000s/%s", folder, file);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%lld", &number) != 1)
        number = -1;
    if (f)
        fclose(f);
    return number;
}

/* sysfs has four digits for the domain, NVML eight, and upper case. */
static bool find_device(const char *sys, const char *pci, char real[PATH_MAX]) {
    char path[PATH_MAX], low[16];
    size_t length = strlen(pci);
    text_copy(low, sizeof low, length > 12 ? pci + length - 12 : pci);
    for (char *c = low; *c; c++)
        *c = *c >= 'A' && *c <= 'F' ? (char)(*c + 32) : *c;
    snprintf(path, sizeof path, "%s/bus/pci/devices/%s", sys, low);
    return realpath(path, real) != NULL;
}

bool nic_beside(const char *sys, const char *pci, char *name, size_t size) {
    char gpu[PATH_MAX], nic[PATH_MAX], path[PATH_MAX];
    int best = -1;
    if (!find_device(sys, pci, gpu))
        return false;
    int64_t numa = number_in(gpu, "numa_node");
    snprintf(path, sizeof path, "%s/class/infiniband", sys);
    DIR *all = opendir(path);
    for (struct dirent *e; all && (e = readdir(all));) {
        snprintf(path, sizeof path, "%s/class/infiniband/%s/device", sys, e->d_name);
        if (e->d_name[0] == '.' || !realpath(path, nic))
            continue;
        int shared = shared_parts(gpu, nic);
        bool same_socket = numa < 0 || number_in(nic, "numa_node") == numa;
        if (same_socket && (shared > best || (shared == best && strverscmp(e->d_name, name) < 0))) {
            best = shared;
            text_copy(name, size, e->d_name);
        }
    }
    if (all)
        closedir(all);
    return best >= 0;
}
