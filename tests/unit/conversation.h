/* Text in, text out: the real parsers, executor and store, with a pretended connection, worker and
 * clock.  For the tests of everything behind server/execute.h. */
#ifndef TESTS_UNIT_CONVERSATION_H
#define TESTS_UNIT_CONVERSATION_H

#include "ring/slice.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Fresh settings, store and connection.  For cmocka's setup and teardown. */
int conversation_start(void **state);
int conversation_end(void **state);

/* Sends `input` in one piece, and gives all that is answered, ended by a zero; it lasts until the
 * next call. */
const char *say(const char *input);
struct slice say_bytes(struct slice input);
#define say_packet(literal) say_bytes(SLICE(literal))

/* The same, but values are read through execute_store_begin() and _finish(). */
const char *say_slowly(const char *input);

/* Asserts that `input` is answered with just `expected`. */
#define says(input, expected) assert_string_equal(say(input), expected)

/* A new connection, not logged in where that is asked for. */
void conversation_reconnect(void);
struct connection;
struct operation;
struct output;
struct worker;

/* Who executes what was parsed: execute_batch(), unless a test says otherwise. */
typedef void conversation_executor(struct worker *, struct connection *, struct operation *,
                                   unsigned count, struct output *);
extern conversation_executor *conversation_execute;

/* What the executor did to the connection. */
bool conversation_is_closed(void);
bool conversation_is_watching(void);
/* What the connection's watch stream got since the last call; it takes `stream_capacity` bytes
 * between two of them. */
const char *conversation_watched(void);
extern size_t stream_capacity;
extern bool stream_is_closed;

extern unsigned shutdowns, graceful_shutdowns;

/* Moves the server's clock ahead. */
void pass_seconds(int64_t seconds);

/* A conversation: lines said and heard in turn. */
struct exchange {
    const char *says, *hears;
};
void hold_conversation(const struct exchange *, size_t count);
#define converse(...)                                                                             \
    hold_conversation((const struct exchange[]){ __VA_ARGS__ },                                   \
                      sizeof((const struct exchange[]){ __VA_ARGS__ }) / sizeof(struct exchange))

#endif
