/* In place of peer_secret.c in a build without OpenSSL. */
#include "server/log.h"
#include "server/peer_secret.h"
#include <assert.h>

bool peer_secret_load(struct peer_secret *secret, const char *path)
{
    (void)secret;
    log_error(
        "%s: this server is built without OpenSSL, which a cluster secret needs (configure it "
        "without --disable-tls)",
        path);
    return false;
}

/* Without a secret there is nothing to compute. */
bool peer_secret_mac(const struct peer_secret *secret, const struct slice *parts, unsigned count,
                     unsigned char mac[PEER_MAC_BYTES])
{
    (void)parts, (void)count, (void)mac;
    assert(secret == NULL);
    return false;
}

bool peer_mac_equal(const unsigned char a[PEER_MAC_BYTES], const unsigned char b[PEER_MAC_BYTES])
{
    (void)a, (void)b;
    return false;
}
