#include "common/version.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "unreleased"
#endif

const char muster_version[] = MUSTER_VERSION;
