/* One thing that a client asks for, and what came of it: the common language between the codecs
 * and the store.
 *
 * A codec (protocol/text.h, protocol/binary.h) turns bytes into a struct operation.  The server
 * executes it, fills a struct outcome, and asks the same codec to write the answer
 * (protocol/reply.h).  What the command *does* is in `verb`, `mode` and `options`, equal for all
 * three protocols; how it was *said*, which only the answer depends on, is in `protocol`,
 * `opcode`, `opaque` and `meta_flags`.
 *
 * Slices in an operation borrow from the input buffer that was parsed, unless said otherwise.
 *
 * To save work on the hot path a codec fills only what the verb uses; the rest is garbage:
 *
 *   always                       verb mode protocol options closes
 *   binary                       opcode opaque
 *   meta                         meta_flags
 *   GET SIBLINGS INSPECT TOUCH   key
 *   STORE                        key value client_flags exptime
 *   DELETE                       key exptime client_flags (these are 0 unless said, for x)
 *   ARITHMETIC                   key delta initial
 *   REJECT CLOSE                 rejection
 *   FLUSH_ALL                    exptime (0: at once)
 *   VERBOSITY                    delta (the level)
 *   SASL_AUTH SASL_STEP          key (the mechanism) value (its bytes NULL: too long, thrown away)
 *   VERB_SHUTDOWN and later      arguments
 *   with OPERATION_COMPARE_CAS   cas_compare, and so on as the options say below */
#ifndef PROTOCOL_OPERATION_H
#define PROTOCOL_OPERATION_H

#include "ring/slice.h"
#include <stdint.h>

#define KEY_BYTES_MAX     250
#define VALUE_BYTES_MAX   (1u << 30) /* what -I may allow at most */
#define META_TOKENS_MAX   20
#define OPAQUE_BYTES_MAX  32
#define CONTEXT_BYTES_MAX 1024 /* of a client's context once decoded, MAC included */

enum protocol {
    PROTOCOL_TEXT,
    PROTOCOL_META,
    PROTOCOL_BINARY,
};

enum verb {
    /* One key each.  Several of these in a row are executed as one batch. */
    VERB_GET,     /* get gets gat gats mg; GET* GAT*: one operation per key */
    VERB_INSPECT, /* me */
    VERB_STORE,   /* set add replace append prepend cas ms; SET* ADD* REPLACE* APPEND* ... SETV */
    VERB_DELETE,  /* delete md; DELETE* DELETEV */
    VERB_ARITHMETIC, /* incr decr ma; INCREMENT* DECREMENT* */
    VERB_TOUCH,      /* touch; TOUCH */
    VERB_SIBLINGS,   /* vget; GETV: one operation per key */
    VERB_REJECT,     /* what was sent is refused: `rejection` says how; nothing is executed */
    VERB_NOOP,       /* mn; NOOP */
    VERB_VERSION,    /* version; VERSION */

    /* Everything from here on concerns the connection or the server: each ends a batch. */
    VERB_BARRIER,
    VERB_QUIT = VERB_BARRIER, /* quit; QUIT* */
    VERB_CLOSE,               /* close; the answer to `rejection` may be empty */
    VERB_FLUSH_ALL,
    VERB_VERBOSITY,
    VERB_SHUTDOWN,
    VERB_STATS,
    VERB_CACHE_MEMLIMIT,
    VERB_WATCH,
    VERB_LRU_CRAWLER,
    VERB_LRU,
    VERB_SLABS,
    VERB_EXTSTORE,
    VERB_REFRESH_CERTS,
    VERB_CONFIG,    /* config get cluster */
    VERB_CLUSTER,   /* cluster ... */
    VERB_DEBUG,     /* debug ..., debugtime */
    VERB_SASL_LIST, /* SASL_LIST_MECHS */
    VERB_SASL_AUTH, /* `key` is the mechanism, `value` what the client says */
    VERB_SASL_STEP,
    VERB_COUNT,
};

/* How a VERB_STORE stores, and in which direction a VERB_ARITHMETIC counts: `mode`. */
enum store_mode {
    STORE_SET,
    STORE_ADD,
    STORE_REPLACE,
    STORE_APPEND,
    STORE_PREPEND,
};
enum arithmetic_mode {
    ARITHMETIC_ADD,
    ARITHMETIC_SUBTRACT,
};

/* Which command a VERB_DEBUG was. */
enum debug_mode {
    DEBUG_COMMAND, /* debug ... */
    DEBUG_TIME,    /* debugtime N */
};

/* What an operation asks for beyond its verb.  The letters are the meta flags that say so. */
enum operation_option {
    OPERATION_NOREPLY = 1u << 0,      /* text noreply: no answer, not even an error */
    OPERATION_QUIET = 1u << 1,        /* q, binary Q forms: the codec's rules of what to hide */
    OPERATION_WANTS_VALUE = 1u << 2,  /* v, and every classic get */
    OPERATION_WANTS_CAS = 1u << 3,    /* c, gets */
    OPERATION_FIRST_KEY = 1u << 4,    /* of the keys of one get line */
    OPERATION_LAST_KEY = 1u << 5,     /* END follows */
    OPERATION_KEEP_COLD = 1u << 6,    /* u: does not count as a use of the item */
    OPERATION_COMPARE_CAS = 1u << 7,  /* C, cas, binary cas != 0: `cas_compare` */
    OPERATION_SET_CAS = 1u << 8,      /* E: `cas_new` */
    OPERATION_SET_EXPTIME = 1u << 9,  /* T, gat, touch, stores but append, prepend: `exptime` */
    OPERATION_VIVIFY = 1u << 10,      /* N, binary exp != ~0: create on a miss, `vivify_exptime` */
    OPERATION_RECACHE = 1u << 11,     /* R: win when less than `recache_exptime` is left */
    OPERATION_INVALIDATE = 1u << 12,  /* I */
    OPERATION_DROP_VALUE = 1u << 13,  /* x */
    OPERATION_KEY_ENCODED = 1u << 14, /* b: the key came as base64 and goes back so */
    OPERATION_CONTEXT = 1u << 15,     /* @context or Y: `context` */
    OPERATION_WANTS_CONTEXT = 1u << 16, /* y */
    OPERATION_WANTS_META = 1u << 17,    /* h l t: needs times and the hit bit */
    OPERATION_WANTS_COUNT = 1u << 18,   /* n: `sibling_count` of the outcome */
};

enum reject_reason {
    REJECT_UNKNOWN_COMMAND, /* ERROR; 0x81 */
    REJECT_LINE_FORMAT,     /* CLIENT_ERROR bad command line format */
    REJECT_DATA_CHUNK,
    REJECT_EXPTIME,
    REJECT_DELTA,
    REJECT_DUPLICATE_FLAG,
    REJECT_INVALID_FLAG,
    REJECT_BAD_TOKEN,
    REJECT_KEY_ENCODING,
    REJECT_TOO_MANY_FLAGS,
    REJECT_OPAQUE_TOO_LONG,
    REJECT_MS_MODE,
    REJECT_MA_MODE,
    REJECT_MA_FLAG,       /* CLIENT_ERROR invalid or duplicate flag */
    REJECT_CONTEXT,       /* CLIENT_ERROR bad context */
    REJECT_CONTEXT_FLAGS, /* Y together with C, E, I or a mode other than set */
    REJECT_SILENTLY,      /* no answer, with VERB_CLOSE: HTTP, bad magic, a line too long */
    REJECT_BINARY_LENGTH, /* 0x04, and the connection closes */
    REJECT_REASON_COUNT,
};

struct operation {
    uint8_t verb;       /* enum verb */
    uint8_t mode;       /* enum store_mode or arithmetic_mode */
    uint8_t protocol;   /* enum protocol */
    uint8_t opcode;     /* binary: as sent; text: unused */
    uint32_t options;   /* enum operation_option */
    uint8_t rejection;  /* VERB_REJECT and VERB_CLOSE: enum reject_reason */
    bool closes;        /* the connection closes after the answer */
    struct slice key;   /* raw, decoded if it came as base64 (then it borrows from `key_storage`) */
    uint64_t hash;      /* key_hash(key): filled by the server, not by the codec */
    struct slice value; /* VERB_STORE: the data block; `bytes` is NULL while it is yet to come */
    uint32_t client_flags;
    int32_t exptime; /* as sent: 0 never, < 0 at once, <= 30 days relative, else unix time */

    uint64_t cas_compare;
    uint64_t cas_new;
    uint64_t delta;
    uint64_t initial;
    int32_t vivify_exptime;
    int32_t recache_exptime;
    uint32_t opaque;            /* binary: as sent, returned unchanged */
    struct slice meta_flags;    /* meta: the flags as sent, for the answer to echo */
    struct slice arguments;     /* server commands: the rest of the line without spaces around it
                                 * and a noreply at its end; binary: the key */
    struct slice context;       /* the signed client form, decoded from base64url; may borrow from
                                 * `context_storage` */
    unsigned char *key_storage; /* room for KEY_BYTES_MAX, given by the caller of the codec */
    unsigned char *context_storage; /* room for CONTEXT_BYTES_MAX, likewise */
};

enum outcome_status {
    OUTCOME_OK, /* hit, stored, deleted, touched, counted */
    OUTCOME_NOT_FOUND,
    OUTCOME_NOT_STORED,
    OUTCOME_EXISTS, /* the cas did not match */
    OUTCOME_TOO_LARGE,
    OUTCOME_NO_MEMORY,
    OUTCOME_NOT_NUMERIC,
    OUTCOME_TOO_MANY_SIBLINGS,
    OUTCOME_BAD_CONTEXT,
    OUTCOME_REFUSED, /* an option forbids it */
    OUTCOME_UNAUTHENTICATED,
    OUTCOME_STATUS_COUNT,
};

/* What came of an operation.  As with operations, only what the verb and its options ask for is
 * filled in; slices are borrowed until the lock under which the outcome was made is let go. */
struct outcome {
    uint8_t status;      /* enum outcome_status */
    bool is_stale;       /* X */
    bool won;            /* W */
    bool lost;           /* Z: somebody else has the win already */
    bool was_hit_before; /* h */
    bool key_is_binary;  /* the item was stored with b: its key goes back as base64 */
    uint32_t client_flags;
    struct slice value;  /* on a hit; after a store only its size counts, which is that of the
                          * value held now (append!) */
    uint64_t cas;        /* with WANTS_CAS, COMPARE_CAS, and always in binary */
    uint64_t number;     /* arithmetic */
    int64_t ttl_s;       /* seconds left, rounded up; -1: never expires */
    uint32_t idle_s;     /* since the last access */
    uint64_t item_bytes; /* me: what the item costs */
    uint32_t sibling_count;
    uint32_t sibling_index; /* VERB_SIBLINGS: which of them this one is */
    struct slice context;   /* the signed client form, raw bytes */
};

#endif
