/* The cluster's CURVE keys, and the ZAP thread that lets only the node key in. Between the channel's own files only. */
#ifndef COMMON_CHANNEL_KEYS_H
#define COMMON_CHANNEL_KEYS_H

#include <pthread.h>

#include "common/error.h"

enum { KEY_TEXT_SIZE = 41 };   /* Z85: 40 characters and a NUL */

/* What the two ends need. The listener: its secret and the node's public key; a link: the server's public key and the node's pair. */
struct listener_keys { char server_secret[KEY_TEXT_SIZE], node_public[KEY_TEXT_SIZE]; };
struct link_keys { char server_public[KEY_TEXT_SIZE], node_public[KEY_TEXT_SIZE], node_secret[KEY_TEXT_SIZE]; };
int channel_load_listener_keys(const char *folder, struct listener_keys *keys, struct error *err);
int channel_load_link_keys(const char *folder, struct link_keys *keys, struct error *err);

#define CHANNEL_NODE_USER "node"   /* the User-Id of whoever holds the node key */

/* Answers libzmq's question "may this key come in?" within one context. The thread ends by itself when that context is shut down. */
struct channel_zap {
    pthread_t thread;
    void *socket;
    unsigned char node_public[32];
};
int channel_zap_start(struct channel_zap *zap, void *context, const char *node_public, struct error *err);

#endif
