/* Policies: what holds for the keys with a certain prefix.
 *
 * They are read from the configuration file (server/config_file.h).  Of several prefixes that a
 * key begins with the longest counts; keys with none of them have the default policy.
 *
 * Threads: policies_replace() by the main thread only; policy_of() by any.  A policy that was found
 * stays valid, unchanged, until policies_clear(). */
#ifndef SERVER_POLICY_H
#define SERVER_POLICY_H

#include "ring/resolver.h"
#include "ring/slice.h"
#include <stdbool.h>
#include <stdint.h>

#define POLICIES_MAX            64
#define POLICY_PREFIX_BYTES_MAX 64

struct policy {
    char prefix[POLICY_PREFIX_BYTES_MAX];
    uint8_t prefix_bytes; /* 0: the default policy */
    bool keeps_siblings;  /* false: the last write wins, a context write too */
    uint64_t ttl_max_ms;  /* what is stored expires after this at the latest; 0: no such bound */
    uint8_t resolver;     /* enum resolver_policy: what is shown of several siblings */
    uint8_t copies, read_quorum, write_quorum; /* N, R, W; 0: as the cluster has it */
    unsigned line;                             /* of the configuration file, where it stands */
};

/* A set of policies under construction. */
struct policies {
    unsigned count;
    struct policy rows[POLICIES_MAX];
};

/* What holds without a configuration file. */
extern const struct policy policy_default;

/* Puts these in force, in place of all earlier ones.  Copies them.  False: memory is short, and
 * nothing was changed. */
bool policies_replace(const struct policies *);

/* Whether these have, for every key, as many copies as those in force: that number does not change
 * while a node runs, for its peers compare what they hold by it. */
bool policies_keep_copies(const struct policies *);

/* When no other thread looks any more: frees all that ever were in force. */
void policies_clear(void);

/* Never NULL. */
const struct policy *policy_of(struct slice key);

/* How many nodes are to have its keys, and how many have to answer a read, or take a write: what
 * the policy says, else what the cluster has, but no more than the copies. */
unsigned policy_copies(const struct policy *);
unsigned policy_read_quorum(const struct policy *);
unsigned policy_write_quorum(const struct policy *);

/* Which numbers of copies there are, one bit each: those of the policies (NULL: of those in force),
 * and that of keys without one. */
uint32_t policies_copies(const struct policies *);

/* The expiry (ms since 1970; 0: never) that a key gets which asks for `expiry_ms`. */
uint64_t policy_expiry_ms(const struct policy *, uint64_t expiry_ms, uint64_t now_ms);

#endif
