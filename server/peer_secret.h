/* The cluster's secret: who knows it is a node of the cluster.
 *
 * Threads: loaded by main() before others start; constant afterwards. */
#ifndef SERVER_PEER_SECRET_H
#define SERVER_PEER_SECRET_H

#include "ring/slice.h"
#include <stdbool.h>

#define PEER_SECRET_BYTES_MIN 16
#define PEER_SECRET_BYTES_MAX 1024
#define PEER_MAC_BYTES        32 /* HMAC-SHA256 (RFC 2104, FIPS 180-4) */

struct peer_secret {
    unsigned char bytes[PEER_SECRET_BYTES_MAX];
    size_t size;
};

/* Reads the file of --cluster-secret-file, white space at its end left out.  False, and logged with
 * what to do, if it cannot be read, is too short or too long, or may be read by others than its
 * owner and group. */
bool peer_secret_load(struct peer_secret *, const char *path);

/* The HMAC of the parts after each other.  False if OpenSSL fails (logged). */
bool peer_secret_mac(const struct peer_secret *, const struct slice *parts, unsigned count,
                     unsigned char mac[PEER_MAC_BYTES]);

/* Whether two macs are equal, in a time that does not tell where they differ. */
bool peer_mac_equal(const unsigned char a[PEER_MAC_BYTES], const unsigned char b[PEER_MAC_BYTES]);

#endif
