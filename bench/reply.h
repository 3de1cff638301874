/* Replies out of bytes, in each of memcached's three protocols, wherever the bytes are cut.
 *
 * The parser is told what arrived and says what it was, one event at a time; it holds back no
 * more than one unfinished line. It does not know the requests: whether a value is a whole
 * answer (meta and binary get) or one of several (text, multiget) is for the caller to decide.
 *
 *   get hit:     VALUE DATA* VALUE_END, in text then also DONE with REPLY_END
 *   everything else: DONE
 *
 * Threads: a parser belongs to one connection. */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include "bench/request.h"
#include "ring/slice.h"

/* A reply line longer than this is refused. */
enum { REPLY_LINE_MAX = 1024 };

enum reply_event {
    REPLY_MORE,      /* all input is used up */
    REPLY_VALUE,     /* a value begins: key, opaque, value_bytes */
    REPLY_DATA,      /* a piece of it: data, data_offset */
    REPLY_VALUE_END, /* the value is complete */
    REPLY_DONE,      /* a reply is complete: status, and `data` holds its line or body's start */
    REPLY_BAD,       /* no memcached would send this; the connection is of no further use */
};

enum reply_status {
    REPLY_OK,    /* stored, deleted, counted, ... */
    REPLY_MISS,  /* no such key */
    REPLY_END,   /* of a text get, or of a multiget */
    REPLY_ERROR, /* the server refused */
};

struct reply {
    enum reply_status status;
    struct slice key; /* empty where the protocol does not send it */
    uint32_t opaque;  /* binary only */
    uint64_t value_bytes;
    struct slice data;
    uint64_t data_offset;
};

enum reply_state {
    REPLY_AT_START, /* of a line or of a binary header */
    REPLY_IN_SKIP,  /* binary: extras and key before a value, or the body of another reply */
    REPLY_IN_VALUE,
    REPLY_IN_LINE_END, /* the CR LF after a value */
    REPLY_AFTER_VALUE,
};

struct reply_parser {
    enum wire wire;
    enum reply_state state;
    uint64_t left;        /* bytes of skip, value or line end still to come */
    struct reply pending; /* binary: what follows the skip */
    enum reply_event after_skip;
    unsigned held; /* bytes of an unfinished line or header */
    char line[REPLY_LINE_MAX];
};

void reply_parser_init(struct reply_parser *, enum wire);

/* Takes bytes from the front of `input` up to the next event, and describes it in `reply`.
 * Slices in `reply` are borrowed from the input or the parser until the next call. */
enum reply_event reply_next(struct reply_parser *, struct slice *input, struct reply *reply);

#endif
