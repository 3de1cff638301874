/* The state file: who belongs to the cluster, kept for the time after a restart, so that nodes that
 * all start again find each other, and each knows who it was.
 *
 *   "ringcached state 1\n"  partition_bits (1)  has_key (1)  key for contexts (16)
 *   the membership, as ring/membership.h encodes it  sum (8)
 *
 * The sum (SipHash under a key of zeroes) is over all before it: a file that was cut or damaged is
 * refused.  A new file is written beside the old one, and takes its place once it is on the disk.
 */
#include "ring/bytes.h"
#include "server/log.h"
#include "server/node.h"
#include "server/node_inside.h"
#include "server/settings.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          "ringcached state 1\n"
#define MAGIC_BYTES    (sizeof MAGIC - 1)
#define HEADER_BYTES   (MAGIC_BYTES + 2 + SIPHASH_KEY_BYTES)
#define SUM_BYTES      8
#define FILE_BYTES_MAX (HEADER_BYTES + MEMBERSHIP_BYTES_MAX + SUM_BYTES)

static uint64_t sum_of(struct slice bytes)
{
    static const struct siphash_key zeroes;
    struct siphash sum;

    siphash_init(&sum, &zeroes);
    siphash_add(&sum, bytes);
    return siphash_end(&sum);
}

/* --- reading --- */

/* Gives the bytes of the file.  NULL: it cannot be read (logged), or there is none, and then
 * `*size` is 0. */
static unsigned char *read_file(const char *path, size_t *size)
{
    unsigned char *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    *size = 0;
    if (fd < 0 && errno == ENOENT)
        return NULL;
    *size = 1;
    if (fd >= 0)
        bytes = malloc(FILE_BYTES_MAX + 1);
    if (bytes != NULL) {
        *size = 0;
        while ((got = read(fd, bytes + *size, FILE_BYTES_MAX + 1 - *size)) > 0)
            *size += (size_t)got;
    }
    if (bytes == NULL || got < 0) {
        log_error("--state-file %s: cannot be read: %s", path, log_error_text(errno));
        free(bytes);
        bytes = NULL;
        *size = 1;
    }
    if (fd >= 0)
        close(fd);
    return bytes;
}

/* What is wrong with it; NULL: nothing, and it was taken over. */
static const char *take_state(struct node *node, struct slice file)
{
    if (file.size < HEADER_BYTES + SUM_BYTES || memcmp(file.bytes, MAGIC, MAGIC_BYTES) != 0)
        return "is no state file of this version";
    struct slice body = {file.bytes, file.size - SUM_BYTES};
    if (sum_of(body) != bytes_read_u64(file.bytes + body.size))
        return "is damaged";
    const unsigned char *header = file.bytes + MAGIC_BYTES;
    if (header[0] != settings.partition_bits)
        return "is of a cluster with another number of --partitions, which never changes";
    struct slice membership = {file.bytes + HEADER_BYTES, body.size - HEADER_BYTES};
    if (!membership_decode(&node->membership, membership))
        return "is damaged";
    if (header[1] != 0) {
        struct siphash_key key;
        memcpy(key.bytes, header + 2, sizeof key.bytes);
        cluster_set_context_key(node->cluster, &key);
    }
    return NULL;
}

bool node_state_load(struct node *node)
{
    const char *path = settings.state_file;
    size_t size;

    if (path == NULL)
        return true;
    unsigned char *bytes = read_file(path, &size);
    if (bytes == NULL)
        return size == 0;
    const char *fault = take_state(node, (struct slice){bytes, size});
    free(bytes);
    if (fault == NULL)
        return true;
    log_error("--state-file %s: %s; remove it, and say --join to be a node of its cluster", path,
              fault);
    return false;
}

/* --- writing --- */

/* Writes the header and the membership to `out`, which has room for the largest, and returns how
 * many bytes those are. */
static size_t make_state(const struct node *node, unsigned char *out)
{
    const struct siphash_key *key = cluster_context_key(node->cluster);
    unsigned char *header = out + MAGIC_BYTES;
    size_t size = HEADER_BYTES;

    memcpy(out, MAGIC, MAGIC_BYTES);
    memset(header, 0, HEADER_BYTES - MAGIC_BYTES);
    header[0] = (unsigned char)settings.partition_bits;
    if (key != NULL && node->secret == NULL) {
        header[1] = 1;
        memcpy(header + 2, key->bytes, sizeof key->bytes);
    }
    size += membership_encode(&node->membership, out + size);
    bytes_write_u64(out + size, sum_of((struct slice){out, size}));
    return size + SUM_BYTES;
}

static bool write_all(int fd, const unsigned char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(fd, bytes, size);
        if (wrote < 0 && errno != EINTR)
            return false;
        if (wrote > 0) {
            bytes += wrote;
            size -= (size_t)wrote;
        }
    }
    return true;
}

/* The name is on the disk once its folder is. */
static bool sync_folder(const char *path)
{
    char copy[4096];

    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return is_done;
}

static bool replace_file(const char *path, const unsigned char *bytes, size_t size)
{
    char beside[4096];

    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool is_done = write_all(fd, bytes, size) && fsync(fd) == 0;
    is_done = close(fd) == 0 && is_done;
    return is_done && rename(beside, path) == 0 && sync_folder(path);
}

void node_state_save(struct node *node)
{
    struct node_inside *inside = node->inside;
    const char *path = settings.state_file;

    if (path == NULL || node->membership.count == 0 ||
        (inside->was_saved && inside->saved_digest == node->membership.digest))
        return;
    unsigned char *bytes = malloc(FILE_BYTES_MAX);
    if (bytes == NULL || !replace_file(path, bytes, make_state(node, bytes)))
        log_error("--state-file %s: cannot be written: %s", path,
                  log_error_text(bytes == NULL ? ENOMEM : errno));
    free(bytes);
    inside->was_saved = true; /* or not: it is tried again when something changes */
    inside->saved_digest = node->membership.digest;
}
