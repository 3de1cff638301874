#include "protocol/peer_tables.h"

#define MEMBER_BYTES(type, member) sizeof(((type *)NULL)->member)

#define NUMBER(type, member, wire_bytes, most)                                                     \
    {                                                                                              \
        .kind = PEER_FIELD_NUMBER, .wire = wire_bytes, .at = offsetof(type, member),               \
        .bytes = MEMBER_BYTES(type, member), .max = most                                           \
    }
#define U8(type, member)   NUMBER(type, member, 1, UINT8_MAX)
#define U16(type, member)  NUMBER(type, member, 2, UINT16_MAX)
#define U32(type, member)  NUMBER(type, member, 4, UINT32_MAX)
#define U64(type, member)  NUMBER(type, member, 8, UINT64_MAX)
#define FLAG(type, member) NUMBER(type, member, 1, 1)
/* One of an enum's values. */
#define CHOICE(type, member, least, most)                                                          \
    {                                                                                              \
        .kind = PEER_FIELD_NUMBER, .wire = 1, .at = offsetof(type, member),                        \
        .bytes = MEMBER_BYTES(type, member), .min = least, .max = most                             \
    }
#define BLOB(type, member)                                                                         \
    {                                                                                              \
        .kind = PEER_FIELD_BLOB, .at = offsetof(type, member), .bytes = MEMBER_BYTES(type, member) \
    }
#define SHORT(type, member, most)                                                                  \
    {                                                                                              \
        .kind = PEER_FIELD_SLICE, .wire = 1, .at = offsetof(type, member), .max = most             \
    }
#define LONG(type, member, most)                                                                   \
    {                                                                                              \
        .kind = PEER_FIELD_SLICE, .wire = 4, .at = offsetof(type, member), .max = most             \
    }
#define KEY(type, member) SHORT(type, member, KEY_BYTES_MAX)
#define VALUE(type, member)                                                                        \
    {                                                                                              \
        .kind = PEER_FIELD_VALUE, .at = offsetof(type, member), .max = VALUE_BYTES_MAX             \
    }
#define CELL(type, member)                                                                         \
    {                                                                                              \
        .kind = PEER_FIELD_CELL, .at = offsetof(type, member)                                      \
    }
#define COUNT(type, member, most) NUMBER(type, member, 2, most)
#define ARRAY(type, count, member, element_fields)                                                 \
    {                                                                                              \
        .kind = PEER_FIELD_ARRAY, .at = offsetof(type, member), .count_at = offsetof(type, count), \
        .bytes = sizeof(((type *)NULL)->member[0]), .fields = element_fields                       \
    }
#define BITS(type, count, member)                                                                  \
    {                                                                                              \
        .kind = PEER_FIELD_BITS, .at = offsetof(type, member), .count_at = offsetof(type, count)   \
    }
#define END                                                                                        \
    {                                                                                              \
        .kind = PEER_FIELD_END                                                                     \
    }

#define TABLE_VERSION(type, member) U64(type, member.epoch), U64(type, member.claimant)
#define DOT(type, member)           U64(type, member.node), U64(type, member.hlc)
#define ID(type, member)            U64(type, member.origin), U64(type, member.number)
#define HEAD(type, member)                                                                         \
    U64(type, member.from), U64(type, member.to), TABLE_VERSION(type, member.version),             \
        CHOICE(type, member.asker, 0, EXCHANGE_AFTERCUT), U64(type, member.number)
#define RANGE(type, member)                                                                        \
    U64(type, member.parent.first), NUMBER(type, member.parent.depth, 1, 64),                      \
        NUMBER(type, member.depth, 1, 64)
#define EXCHANGE_ANSWER(type, member) CHOICE(type, member, 0, EXCHANGE_BAD)

/* ---- who is there ---- */

static const struct peer_field hello_fields[] = {
    U16(struct peer_hello, version),
    U64(struct peer_hello, from),
    U64(struct peer_hello, to),
    U64(struct peer_hello, incarnation),
    CHOICE(struct peer_hello, use, PEER_LINK_REQUESTS, PEER_LINK_BACKGROUND),
    FLAG(struct peer_hello, has_secret),
    BLOB(struct peer_hello, nonce),
    END,
};

static const struct peer_field proof_fields[] = {BLOB(struct peer_proof, mac), END};

static const struct peer_field refused_fields[] = {
    SHORT(struct peer_refused, reason, UINT8_MAX),
    END,
};

static const struct peer_field ping_fields[] = {
    U64(struct peer_ping, ping.from),
    U64(struct peer_ping, ping.to),
    U64(struct peer_ping, ping.incarnation),
    U64(struct peer_ping, ping.sent_ms),
    U64(struct peer_ping, ping.asked_by),
    FLAG(struct peer_ping, ping.is_answer),
    FLAG(struct peer_ping, ping.is_stopping),
    FLAG(struct peer_ping, ping.reaches_you),
    U64(struct peer_ping, ping.clock),
    U64(struct peer_ping, ping.membership_digest),
    TABLE_VERSION(struct peer_ping, ping.table),
    U64(struct peer_ping, ping.table_digest),
    FLAG(struct peer_ping, ping.is_holding),
    U32(struct peer_ping, ping.hints_left),
    U64(struct peer_ping, ping.hints_oldest_age_ms),
    LONG(struct peer_ping, ping.warming, RING_BITMAP_BYTES(RING_PARTITION_BITS_MAX)),
    TABLE_VERSION(struct peer_ping, hello.version),
    U64(struct peer_ping, hello.sum),
    NUMBER(struct peer_ping, hello.takes, 1, SIBLINGS_ALL),
    FLAG(struct peer_ping, hello.wants_walk),
    FLAG(struct peer_ping, hello.is_walking),
    FLAG(struct peer_ping, hello.is_after_cut),
    FLAG(struct peer_ping, hello.is_filling),
    U64(struct peer_ping, hello.number),
    U64(struct peer_ping, hello.heard_number),
    END,
};

/* ---- one request ---- */

static const struct peer_field fetch_fields[] = {
    U64(struct peer_fetch, request.operation),
    U64(struct peer_fetch, request.key_hash),
    U32(struct peer_fetch, request.round),
    FLAG(struct peer_fetch, request.is_full),
    KEY(struct peer_fetch, key),
    END,
};

static const struct peer_field fetched_fields[] = {
    U64(struct fetch_reply, operation),     U32(struct fetch_reply, round),
    U64(struct fetch_reply, digest.low),    U64(struct fetch_reply, digest.high),
    U16(struct fetch_reply, sibling_count), U16(struct fetch_reply, stub_count),
    FLAG(struct fetch_reply, is_warming),   FLAG(struct fetch_reply, is_refused),
    CELL(struct fetch_reply, cell),         END,
};

static const struct peer_field store_fields[] = {
    U64(struct peer_store, request.operation),
    U64(struct peer_store, request.key_hash),
    DOT(struct peer_store, request.dot),
    U64(struct peer_store, request.hint_for),
    U32(struct peer_store, request.round),
    FLAG(struct peer_store, request.is_repair),
    KEY(struct peer_store, key),
    CELL(struct peer_store, request.cell),
    END,
};

static const struct peer_field stored_fields[] = {
    U64(struct store_reply, operation),
    U32(struct store_reply, round),
    CHOICE(struct store_reply, status, STORE_STORED, STORE_REFUSED_HINTS),
    U64(struct store_reply, clock),
    FLAG(struct store_reply, is_flushed),
    END,
};

static const struct peer_field tried_fields[] = {
    {.kind = PEER_FIELD_NUMBER, .wire = 8, .bytes = sizeof(node_id), .max = UINT64_MAX},
    END,
};

#define OPERATION(member)                                                                          \
    CHOICE(struct peer_forward, operation.verb, 0, VERB_REJECT - 1),                               \
        U8(struct peer_forward, operation.mode),                                                   \
        CHOICE(struct peer_forward, operation.protocol, 0, PROTOCOL_BINARY),                       \
        U8(struct peer_forward, operation.opcode), U32(struct peer_forward, operation.options),    \
        U32(struct peer_forward, operation.client_flags),                                          \
        U32(struct peer_forward, operation.exptime),                                               \
        U64(struct peer_forward, operation.cas_compare),                                           \
        U64(struct peer_forward, operation.cas_new), U64(struct peer_forward, operation.delta),    \
        U64(struct peer_forward, operation.initial),                                               \
        U32(struct peer_forward, operation.vivify_exptime),                                        \
        U32(struct peer_forward, operation.recache_exptime),                                       \
        U32(struct peer_forward, operation.opaque), KEY(struct peer_forward, operation.key),       \
        LONG(struct peer_forward, operation.meta_flags, META_FLAGS_BYTES_MAX),                     \
        LONG(struct peer_forward, operation.context, CONTEXT_BYTES_MAX),                           \
        VALUE(struct peer_forward, operation.value)

/* A command line is no longer than this. */
#define META_FLAGS_BYTES_MAX 2048

static const struct peer_field forward_fields[] = {
    ID(struct peer_forward, request.id),
    U64(struct peer_forward, request.key_hash),
    CHOICE(struct peer_forward, request.class, REQUEST_READ, REQUEST_DECIDED),
    U32(struct peer_forward, request.budget_ms),
    U8(struct peer_forward, request.hops),
    NUMBER(struct peer_forward, request.tried_count, 1, FORWARD_TRIED_MAX),
    ARRAY(struct peer_forward, request.tried_count, request.tried, tried_fields),
    OPERATION(operation),
    END,
};

static const struct peer_field forwarded_fields[] = {
    ID(struct peer_forwarded, reply.id),
    CHOICE(struct peer_forwarded, reply.answer, ANSWER_DONE, ANSWER_UNKNOWN),
    U16(struct peer_forwarded, reply.got),
    U16(struct peer_forwarded, reply.needed),
    CHOICE(struct peer_forwarded, outcome.status, 0, OUTCOME_STATUS_COUNT - 1),
    FLAG(struct peer_forwarded, outcome.is_stale),
    FLAG(struct peer_forwarded, outcome.won),
    FLAG(struct peer_forwarded, outcome.lost),
    FLAG(struct peer_forwarded, outcome.was_hit_before),
    FLAG(struct peer_forwarded, outcome.key_is_binary),
    U32(struct peer_forwarded, outcome.client_flags),
    U64(struct peer_forwarded, outcome.cas),
    U64(struct peer_forwarded, outcome.number),
    U64(struct peer_forwarded, outcome.ttl_s),
    U32(struct peer_forwarded, outcome.idle_s),
    U64(struct peer_forwarded, outcome.item_bytes),
    U32(struct peer_forwarded, outcome.sibling_count),
    U32(struct peer_forwarded, outcome.sibling_index),
    LONG(struct peer_forwarded, outcome.context, CONTEXT_BYTES_MAX),
    VALUE(struct peer_forwarded, outcome.value),
    END,
};

/* ---- hints and anti-entropy ---- */

static const struct peer_field hint_fields[] = {
    U64(struct peer_hint, delivery.from),
    U64(struct peer_hint, delivery.to),
    U64(struct peer_hint, delivery.number),
    U64(struct peer_hint, delivery.key_hash),
    KEY(struct peer_hint, key),
    CELL(struct peer_hint, delivery.cell),
    END,
};

static const struct peer_field hint_ack_fields[] = {
    U64(struct hint_ack, from),
    U64(struct hint_ack, to),
    U64(struct hint_ack, number),
    CHOICE(struct hint_ack, result, 0, HINT_NOT_OWNER),
    END,
};

static const struct peer_field compare_fields[] = {
    HEAD(struct exchange_compare, head),
    U64(struct exchange_compare, parent.first),
    NUMBER(struct exchange_compare, parent.depth, 1, 64),
    NUMBER(struct exchange_compare, depth, 1, 64),
    {.kind = PEER_FIELD_PARTS, .at = 0},
    END,
};

static const struct peer_field compared_fields[] = {
    HEAD(struct exchange_compared, head),
    EXCHANGE_ANSWER(struct exchange_compared, answer),
    U32(struct exchange_compared, differs),
    END,
};

static const struct peer_field key_fields[] = {
    U64(struct exchange_key, key_hash),
    U64(struct exchange_key, mark),
    U32(struct exchange_key, bytes),
    NUMBER(struct exchange_key, kinds, 1, SIBLINGS_ALL),
    END,
};

static const struct peer_field digests_fields[] = {
    HEAD(struct exchange_digests, head),
    U64(struct exchange_digests, parent.first),
    NUMBER(struct exchange_digests, parent.depth, 1, 64),
    NUMBER(struct exchange_digests, depth, 1, 64),
    U32(struct exchange_digests, children),
    U64(struct exchange_digests, first),
    U64(struct exchange_digests, last),
    NUMBER(struct exchange_digests, copies_min, 1, RING_COPIES_MAX),
    NUMBER(struct exchange_digests, copies_max, 1, RING_COPIES_MAX),
    NUMBER(struct exchange_digests, takes, 1, SIBLINGS_ALL),
    FLAG(struct exchange_digests, is_give_only),
    COUNT(struct exchange_digests, key_count, EXCHANGE_KEYS_MAX),
    ARRAY(struct exchange_digests, key_count, keys, key_fields),
    END,
};

static const struct peer_field wanted_fields[] = {
    {.kind = PEER_FIELD_NUMBER, .wire = 8, .bytes = sizeof(uint64_t), .max = UINT64_MAX},
    END,
};

static const struct peer_field cell_key_fields[] = {
    {.kind = PEER_FIELD_SLICE, .wire = 1, .max = KEY_BYTES_MAX},
    END,
};

static const struct peer_field cell_fields[] = {
    U64(struct exchange_cell, key_hash),
    CELL(struct exchange_cell, cell),
    END,
};

static const struct peer_field difference_fields[] = {
    HEAD(struct peer_difference, difference.head),
    EXCHANGE_ANSWER(struct peer_difference, difference.answer),
    U64(struct peer_difference, difference.reached),
    U32(struct peer_difference, difference.wanted_bytes),
    COUNT(struct peer_difference, difference.wanted_count, EXCHANGE_KEYS_MAX),
    ARRAY(struct peer_difference, difference.wanted_count, difference.wanted, wanted_fields),
    U32(struct peer_difference, difference.cell_bytes),
    COUNT(struct peer_difference, difference.cell_count, EXCHANGE_KEYS_MAX),
    ARRAY(struct peer_difference, difference.cell_count, keys, cell_key_fields),
    ARRAY(struct peer_difference, difference.cell_count, difference.cells, cell_fields),
    END,
};

static const struct peer_field cells_fields[] = {
    HEAD(struct peer_cells, cells.head),
    FLAG(struct peer_cells, cells.is_handoff),
    NUMBER(struct peer_cells, cells.copies_min, 1, RING_COPIES_MAX),
    NUMBER(struct peer_cells, cells.copies_max, 1, RING_COPIES_MAX),
    U32(struct peer_cells, cells.cell_bytes),
    COUNT(struct peer_cells, cells.cell_count, EXCHANGE_KEYS_MAX),
    ARRAY(struct peer_cells, cells.cell_count, keys, cell_key_fields),
    ARRAY(struct peer_cells, cells.cell_count, cells.cells, cell_fields),
    END,
};

static const struct peer_field cells_stored_fields[] = {
    HEAD(struct exchange_stored, head),
    EXCHANGE_ANSWER(struct exchange_stored, answer),
    COUNT(struct exchange_stored, cell_count, EXCHANGE_KEYS_MAX),
    BITS(struct exchange_stored, cell_count, merged),
    BITS(struct exchange_stored, cell_count, changed),
    END,
};

static const struct peer_field dot_fields[] = {
    U64(struct exchange_dot, key_hash),
    DOT(struct exchange_dot, dot),
    END,
};

static const struct peer_field know_fields[] = {
    HEAD(struct exchange_know, head),
    NUMBER(struct exchange_know, copies, 1, RING_COPIES_MAX),
    COUNT(struct exchange_know, dot_count, EXCHANGE_KEYS_MAX),
    ARRAY(struct exchange_know, dot_count, dots, dot_fields),
    END,
};

static const struct peer_field known_fields[] = {
    HEAD(struct exchange_known, head),
    EXCHANGE_ANSWER(struct exchange_known, answer),
    COUNT(struct exchange_known, dot_count, EXCHANGE_KEYS_MAX),
    BITS(struct exchange_known, dot_count, known),
    END,
};

/* ---- tables and members ---- */

static const struct peer_field claimant_fields[] = {
    CHOICE(struct claimant_message, type, 0, CLAIMANT_PUSH_FORCE),
    TABLE_VERSION(struct claimant_message, mark.version),
    U64(struct claimant_message, mark.digest),
    LONG(struct claimant_message, bytes, CLAIMANT_BYTES_MAX),
    END,
};

static const struct peer_field restart_ask_fields[] = {BLOB(struct restart_ask, name), END};

#define CLUSTER(type)                                                                              \
    FLAG(type, cluster.is_known), NUMBER(type, cluster.partition_bits, 1, RING_PARTITION_BITS_MAX), \
        NUMBER(type, cluster.copies, 1, RING_COPIES_MAX), FLAG(type, cluster.is_name_in_use),      \
        BLOB(type, cluster.context_key)

static const struct peer_field restart_answer_fields[] = {
    U64(struct peer_restart_answer, answer.id),
    U64(struct peer_restart_answer, answer.seen),
    FLAG(struct peer_restart_answer, answer.is_starting),
    FLAG(struct peer_restart_answer, answer.has_members),
    CLUSTER(struct peer_restart_answer),
    LONG(struct peer_restart_answer, membership, MEMBERSHIP_BYTES_MAX),
    END,
};

static const struct peer_field restart_join_fields[] = {
    U64(struct restart_join, joiner.id),
    U64(struct restart_join, joiner.incarnation),
    FLAG(struct restart_join, joiner.is_warm),
    BLOB(struct restart_join, joiner.name),
    BLOB(struct restart_join, joiner.address),
    CHOICE(struct restart_join, joiner.status, 0, MEMBER_GONE),
    U32(struct restart_join, joiner.revision),
    NUMBER(struct restart_join, joiner.weight, 4, RING_WEIGHT_MAX),
    U32(struct restart_join, joiner.zone),
    BLOB(struct restart_join, joiner.zone_name),
    U64(struct restart_join, joiner.ceiling),
    U64(struct restart_join, replaces),
    END,
};

static const struct peer_field restart_joined_fields[] = {
    U64(struct peer_restart_joined, joined.id),
    CHOICE(struct peer_restart_joined, joined.answer, 0, MEMBERSHIP_BAD),
    CLUSTER(struct peer_restart_joined),
    LONG(struct peer_restart_joined, membership, MEMBERSHIP_BYTES_MAX),
    END,
};

static const struct peer_field *const tables[PEER_TYPE_END] = {
    [PEER_HELLO] = hello_fields,
    [PEER_PROOF] = proof_fields,
    [PEER_REFUSED] = refused_fields,
    [PEER_PING] = ping_fields,
    [PEER_FETCH] = fetch_fields,
    [PEER_FETCHED] = fetched_fields,
    [PEER_STORE] = store_fields,
    [PEER_STORED] = stored_fields,
    [PEER_FORWARD] = forward_fields,
    [PEER_FORWARDED] = forwarded_fields,
    [PEER_HINT] = hint_fields,
    [PEER_HINT_ACK] = hint_ack_fields,
    [PEER_COMPARE] = compare_fields,
    [PEER_COMPARED] = compared_fields,
    [PEER_DIGESTS] = digests_fields,
    [PEER_DIFFERENCE] = difference_fields,
    [PEER_CELLS] = cells_fields,
    [PEER_CELLS_STORED] = cells_stored_fields,
    [PEER_KNOW] = know_fields,
    [PEER_KNOWN] = known_fields,
    [PEER_CLAIMANT] = claimant_fields,
    [PEER_RESTART_ASK] = restart_ask_fields,
    [PEER_RESTART_ANSWER] = restart_answer_fields,
    [PEER_RESTART_JOIN] = restart_join_fields,
    [PEER_RESTART_JOINED] = restart_joined_fields,
};

const struct peer_field *peer_fields(unsigned type)
{
    return type < PEER_TYPE_END ? tables[type] : NULL;
}
