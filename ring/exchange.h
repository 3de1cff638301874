/* Exchange: what two nodes say to each other when they compare, fill and hand over cells, and how
 * the one who is asked answers.
 *
 *   asks                                          answers, without remembering anything
 *   COMPARE  hashes of up to 32 ranges       ->   COMPARED    which of them differ
 *   DIGESTS  all marks of a range of keys    ->   DIFFERENCE  cells that the asker lacks or has
 *                                                             otherwise, and keys wanted from it
 *   CELLS    cells                           ->   STORED      which of them were merged
 *   KNOW     dots from before a cut          ->   KNOWN       which of them the answerer has
 *
 * The askers are the machines of ring/sync.h (repair), ring/fill.h (an owner fills itself),
 * ring/handoff.h (cells are handed to their owners) and ring/aftercut.h; each numbers its requests,
 * repeats what is not answered, and ignores what it does not wait for.  The answers are pure
 * functions of the request and of what the node holds, so a request may be lost, doubled, delayed,
 * or answered by a node that restarted: nothing has to be undone.
 *
 * Cells are named by the hash of their key; should two keys have one hash, both cells are meant
 * wherever the hash is named, and a scan never stops between them.
 *
 * What a node does with a DIGESTS request (the others are simpler):
 *
 *   if ((answer = exchange_admit_digests(view, request, &scan)) == EXCHANGE_DONE)
 *       items = the cells that `scan` names, from the store
 *   exchange_answer_digests(view, request, answer, &scanned, &reply);
 *   reply.cells[i].cell = the cell of reply.cells[i].key_hash     (leave out what is gone)
 *
 * With CELLS and DIFFERENCE comes what cell_merge() is for, before the asking machine is stepped:
 * the drift check and the flush filter apply as to any cell from a peer; a cell of which nothing is
 * held here is taken only if exchange_takes() says so.
 *
 * What is sent is paid from a bucket of tokens, a token a byte.  The asking machines see to that
 * themselves; who answers passes EXCHANGE_NOT_NOW for `answer` while the bucket is empty, and takes
 * exchange_message_bytes() of the reply.
 *
 * Only nodes with the same ring table compare: all know then which keys both of them own.
 *
 * Threads: functions of their arguments. */
#ifndef RING_EXCHANGE_H
#define RING_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/cell.h"
#include "ring/merkle.h"
#include "ring/table.h"

#define EXCHANGE_KEYS_MAX     256          /* in one message */
#define EXCHANGE_BYTES_MAX    (64u * 1024) /* of cells in one message, if it has more than one */
#define EXCHANGE_CHILD_BITS   5
#define EXCHANGE_CHILDREN_MAX (1u << EXCHANGE_CHILD_BITS)

/* This node at the moment of an event; all of it borrowed. */
struct exchange_view {
    node_id self;
    const struct ring_table *table;
    const struct merkle_forest *forests; /* one per class in use */
    unsigned forest_count;
    /* Kinds of siblings (enum sibling_kind, or-ed) for which there is room without evicting
     * anything: a cell that has none of them, and is not held here, is not taken by repair.  With
     * some hysteresis, or a node at its limit would take what it evicts next. */
    unsigned takes;
    /* ring/aftercut.h is finding out which of the node's cells are outdated: until then it does
     * not compare, and gives away none of the partitions where `suspects` is above 0 (by
     * partition; NULL: nowhere). */
    bool is_after_cut;
    const hlc_time *suspects;
    /* The node pulls whole partitions (ring/fill.h): comparing would send everything twice. */
    bool is_filling;
};

/* Which cells the caller is asked for: those whose key hash is in first..last and whose class in
 * copies_min..copies_max, not more than `items_max`, in ascending order of the hash, and of one
 * hash all or none.  Cells that are held as hints only are left out, and so are those without
 * siblings. */
struct exchange_scan {
    uint64_t first, last;
    uint64_t number; /* of the asking machine; comes back with the items */
    unsigned copies_min, copies_max;
    unsigned items_max;
};

struct exchange_item {
    uint64_t key_hash;
    uint64_t mark;        /* merkle_mark() */
    uint64_t fingerprint; /* changes with anything in the cell: exchange_fingerprint() */
    uint32_t bytes;       /* that the cell takes in a message, values included */
    uint8_t kinds;        /* of its siblings, or-ed; 0 if it is due to be reaped */
};

struct exchange_scanned {
    uint64_t number;
    const struct exchange_item *items; /* borrowed */
    unsigned item_count;
    uint64_t reached; /* all cells up to this hash were given: `last` if there are no more */
};

/* Fills an item but its bytes of values, which the caller adds. */
void exchange_item_init(struct exchange_item *, uint64_t key_hash, const struct cell *);

/* A hash over siblings, kinds and context: tells whether a cell is still the one it was. */
uint64_t exchange_fingerprint(const struct cell *);

/* Who asks: the answer names it again. */
enum exchange_asker { EXCHANGE_SYNC, EXCHANGE_FILL, EXCHANGE_HANDOFF, EXCHANGE_AFTERCUT };

struct exchange_head {
    node_id from, to;
    struct ring_version version; /* of the table that the sender goes by */
    enum exchange_asker asker;
    uint64_t number; /* of the request; the answer has the same */
};

enum exchange_answer {
    EXCHANGE_DONE,
    EXCHANGE_OTHER_TABLE, /* the tables differ: wait until they don't */
    EXCHANGE_NOT_OWNER,   /* the answerer does not own what it was asked about */
    EXCHANGE_NOT_NOW,     /* out of tokens, or cut off before: ask again later */
    EXCHANGE_BAD          /* the request makes no sense */
};

struct exchange_compare {
    struct exchange_head head;
    struct merkle_range parent;
    unsigned depth;                       /* of the children */
    uint64_t sums[EXCHANGE_CHILDREN_MAX]; /* 2^(depth - parent.depth) of them */
};

struct exchange_compared {
    struct exchange_head head;
    enum exchange_answer answer;
    uint32_t differs; /* bit i: child i does */
};

struct exchange_key {
    uint64_t key_hash;
    uint64_t mark;
    uint32_t bytes;
    uint8_t kinds;
};

/* "These are all I have in the children `children` of `parent`, from `first` to `last`."  The
 * range lies within one partition. */
struct exchange_digests {
    struct exchange_head head;
    struct merkle_range parent;
    unsigned depth;
    uint32_t children; /* bit i: child i is meant */
    uint64_t first, last;
    unsigned copies_min, copies_max;
    unsigned takes;    /* of the asker: see struct exchange_view */
    bool is_give_only; /* a handoff: no cells back, and all that is lacking is wanted */
    unsigned key_count;
    struct exchange_key keys[EXCHANGE_KEYS_MAX]; /* ascending */
};

struct exchange_cell {
    uint64_t key_hash;
    const struct cell *cell; /* borrowed: put there by whoever sends, or received, the message */
};

struct exchange_difference {
    struct exchange_head head;
    enum exchange_answer answer;
    uint64_t reached; /* all from `first` to this one was compared; the asker goes on behind it */
    unsigned wanted_count;
    uint64_t wanted[EXCHANGE_KEYS_MAX]; /* key hashes, ascending */
    uint32_t wanted_bytes;              /* what the asker said that those take */
    uint32_t cell_bytes;                /* what the cells take */
    unsigned cell_count;
    struct exchange_cell cells[EXCHANGE_KEYS_MAX];
};

struct exchange_cells {
    struct exchange_head head;
    bool is_handoff; /* taken even by a node without room: its store then makes some */
    unsigned copies_min, copies_max;
    uint32_t cell_bytes; /* about what the cells take */
    unsigned cell_count;
    struct exchange_cell cells[EXCHANGE_KEYS_MAX];
};

struct exchange_stored {
    struct exchange_head head;
    enum exchange_answer answer;
    unsigned cell_count;
    uint64_t merged[EXCHANGE_KEYS_MAX / 64];  /* bit i: all of cell i is held now */
    uint64_t changed[EXCHANGE_KEYS_MAX / 64]; /* bit i: and was not before */
};

struct exchange_dot {
    uint64_t key_hash;
    struct dot dot;
};

struct exchange_know {
    struct exchange_head head;
    unsigned copies;
    unsigned dot_count;
    struct exchange_dot dots[EXCHANGE_KEYS_MAX];
};

struct exchange_known {
    struct exchange_head head;
    enum exchange_answer answer;
    unsigned dot_count;
    uint64_t known[EXCHANGE_KEYS_MAX / 64]; /* bit i: the answerer holds a sibling with dot i */
};

enum exchange_type {
    EXCHANGE_COMPARE,
    EXCHANGE_COMPARED,
    EXCHANGE_DIGESTS,
    EXCHANGE_DIFFERENCE,
    EXCHANGE_CELLS,
    EXCHANGE_STORED,
    EXCHANGE_KNOW,
    EXCHANGE_KNOWN
};

struct exchange_message {
    enum exchange_type type;
    union {
        struct exchange_head head; /* all of them begin with it */
        struct exchange_compare compare;
        struct exchange_compared compared;
        struct exchange_digests digests;
        struct exchange_difference difference;
        struct exchange_cells cells;
        struct exchange_stored stored;
        struct exchange_know know;
        struct exchange_known known;
    };
};

/* The position of a node among the owners of a partition; `copies` of the table if it is none. */
unsigned exchange_position(const struct ring_table *, unsigned partition, node_id node);

/* The smallest class of which both nodes own the keys in this partition, and with it all larger
 * ones; RING_COPIES_MAX + 1 if there is none. */
unsigned exchange_shared_from(const struct ring_table *, unsigned partition, node_id, node_id);

/* The xor of the marks of all cells in a range of which both this node and `peer` own the class;
 * false if the leaves are too coarse to tell. */
bool exchange_sum(const struct exchange_view *, node_id peer, struct merkle_range, uint64_t *sum);

/* Answers a COMPARE. */
void exchange_answer_compare(const struct exchange_view *, const struct exchange_compare *,
                             struct exchange_compared *reply);

/* Whether a DIGESTS request will be answered, and if so, with which cells; else
 * exchange_answer_digests() takes the answer without a scan. */
enum exchange_answer exchange_admit_digests(const struct exchange_view *,
                                            const struct exchange_digests *,
                                            struct exchange_scan *scan);

/* Fills the reply; the caller puts in the cells, for which it may also use fewer than named, if
 * they are gone by now.  `scanned` may be NULL unless `answer` is EXCHANGE_DONE. */
void exchange_answer_digests(const struct exchange_view *, const struct exchange_digests *,
                             enum exchange_answer answer, const struct exchange_scanned *scanned,
                             struct exchange_difference *reply);

/* Whether received CELLS may be merged here; if so the caller does that and sets the bits of those
 * that were.  In any case it sends the reply. */
enum exchange_answer exchange_admit_cells(const struct exchange_view *,
                                          const struct exchange_cells *,
                                          struct exchange_stored *reply);

/* Whether a received cell of which nothing is held here is to be kept.  `kinds` as in an item. */
bool exchange_takes(const struct exchange_view *, bool is_handoff, unsigned kinds);

/* Whether a KNOW request will be answered; if so, call exchange_note_known() for each dot with the
 * cell that is held for its key, or NULL. */
enum exchange_answer exchange_admit_know(const struct exchange_view *, const struct exchange_know *,
                                         struct exchange_known *reply);
void exchange_note_known(const struct exchange_know *, unsigned i, const struct cell *,
                         struct exchange_known *reply);

/* About how many bytes a message takes, its cells included. */
uint64_t exchange_message_bytes(const struct exchange_message *);

#endif
