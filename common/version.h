/* The version of this build, from git. */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

extern const char muster_version[];

#endif
