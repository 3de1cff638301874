#include "server/peer_secret.h"
#include "server/log.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <sys/stat.h>
#include <unistd.h>

static bool others_may_read(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH)) != 0;
}

static bool read_all(int fd, struct peer_secret *secret)
{
    size_t used = 0;
    ssize_t got = 1;

    while (got > 0 && used < sizeof secret->bytes) {
        got = read(fd, secret->bytes + used, sizeof secret->bytes - used);
        if (got < 0)
            return false;
        used += (size_t)got;
    }
    secret->size = used;
    return true;
}

bool peer_secret_load(struct peer_secret *secret, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_fine = false;

    if (fd < 0 || !read_all(fd, secret)) {
        log_error("%s: the cluster secret cannot be read: %s", path, log_error_text(errno));
    } else if (others_may_read(fd)) {
        log_error("%s: everybody can read the cluster secret: chmod o= %s", path, path);
    } else {
        while (secret->size > 0 && isspace(secret->bytes[secret->size - 1]))
            secret->size--;
        is_fine = secret->size >= PEER_SECRET_BYTES_MIN && secret->size < PEER_SECRET_BYTES_MAX;
        if (!is_fine)
            log_error("%s: a cluster secret has %d to %d bytes, this one %zu; try: "
                      "openssl rand -hex 32",
                      path, PEER_SECRET_BYTES_MIN, PEER_SECRET_BYTES_MAX - 1, secret->size);
    }
    if (fd >= 0)
        close(fd);
    return is_fine;
}

bool peer_secret_mac(const struct peer_secret *secret, const struct slice *parts, unsigned count,
                     unsigned char mac[PEER_MAC_BYTES])
{
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                     OSSL_PARAM_construct_end()};
    size_t size = 0;

    bool is_fine =
        context != NULL && EVP_MAC_init(context, secret->bytes, secret->size, parameters) == 1;
    for (unsigned i = 0; is_fine && i < count; i++)
        is_fine = EVP_MAC_update(context, parts[i].bytes, parts[i].size) == 1;
    is_fine = is_fine && EVP_MAC_final(context, mac, &size, PEER_MAC_BYTES) == 1;
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(hmac);
    if (!is_fine)
        log_error("OpenSSL cannot compute HMAC-SHA256");
    assert(!is_fine || size == PEER_MAC_BYTES);
    return is_fine;
}

bool peer_mac_equal(const unsigned char a[PEER_MAC_BYTES], const unsigned char b[PEER_MAC_BYTES])
{
    return CRYPTO_memcmp(a, b, PEER_MAC_BYTES) == 0;
}
