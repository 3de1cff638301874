/* Story: plays a text on a simulated cluster, and compares what happens with what it says.
 *
 * A story is a file of lines; what follows a # is for people.
 *
 *   nodes 5                       n1 to n5 (3 if there is no such line)
 *   quorum 3 2 2                  copies, R, W (these if there is no such line)
 *   seed 7                        of the little that is random: delays of messages
 *   key cart n1 n2 n3             a key whose preference list begins so; `lww` or `counter` after
 *                                 its name says what its siblings mean
 *   begin                         the cluster starts, and finds itself; all above comes before it
 *
 *   ann get cart at n2 -> milk    a client asks, and this is what it hears
 *   ann set cart milk at n2       a blind write; also: delete
 *   ann put cart milk at n2       a write with the context that ann was last shown (remove: a
 *                                 delete); ann was shown nothing: the empty context
 *   ann cas cart milk at n2       with the token that ann was last shown
 *   ann add cart milk at n2       also: erase (delete with a reply), incr KEY NUMBER, touch
 *   ann begins set cart milk at n2     the same, but time stands still
 *   ann hears -> stored           the answer to that
 *   ann forgets cart              what she was shown
 *
 *   run 5s                        time passes (ms, s, m, h)
 *   cut n1 n2 | n3                nothing passes between the two groups
 *   cut n1 > n2                   nor from n1 to n2
 *   slow n1 > n2 300ms            messages take so much longer; `slow n1 300ms`: all from n1
 *   heal                          all of that is over; `heal n1 n2`: between these two
 *   crash n1 / start n1           its memory is lost / it starts with an empty one
 *   pause n1 5s                   it stands still
 *   clock n1 -30s                 its clock is set so far ahead of the truth (or behind)
 *   evict n1 cart                 the values that it holds become stubs
 *   drop n1 cart                  it forgets the cell, context and all
 *   leave n3 at n1                an operator asks n1 to let n3 leave; also: remove (it is dead),
 *                                 weight n3 2 at n1
 *   hints 1                       nodes keep so many hints at most
 *   starve n1 / feed n1           it finds no memory for anything
 *
 *   n1 holds cart -> milk, (eggs), deleted     a stub is in brackets; or: nothing
 *   | n2 cart: text               a trace line: those of a story are among the lines that the
 *                                 cluster wrote since the last line that was none, in this order
 *
 * Threads: one. */
#ifndef TESTS_SCENARIO_STORY_H
#define TESTS_SCENARIO_STORY_H

#include "tests/sim/node.h"
#include "tests/sim/sim.h"

#define STORY_KEYS       8
#define STORY_CLIENTS    8
#define STORY_OPERATIONS 256
#define STORY_WORDS      16
#define STORY_NAME       32
#define STORY_TEXT       512

struct story_client {
    char name[STORY_NAME];
    struct context seen[STORY_KEYS];
    struct set shown[STORY_KEYS];
    uint64_t tokens[STORY_KEYS];
    bool is_waiting;
    uint64_t number; /* of the operation that it waits for, or waited for last */
    unsigned node;   /* which it asked */
    char answer[STORY_TEXT];
};

struct story {
    struct sim *sim; /* its own */
    struct options options;
    bool has_begun, is_showing; /* every trace line */
    char keys[STORY_KEYS][STORY_NAME];
    char owners[STORY_KEYS][STORY_WORDS][STORY_NAME]; /* the words behind the key's name */
    unsigned key_count;
    struct story_client clients[STORY_CLIENTS];
    unsigned client_count;
    char values[STORY_OPERATIONS][STORY_NAME]; /* what each operation wrote */
    uint64_t operation_count;
    struct network_quality qualities[SIM_NODES_MAX][SIM_NODES_MAX]; /* what the story added */
    uint64_t trace_from, trace_next;     /* lines of the report that may still match */
    char words[STORY_WORDS][STORY_NAME]; /* the present line, up to -> */
    unsigned word_count;
    char expected[STORY_TEXT]; /* what follows -> */
    bool expects;
};

/* Plays the lines of a file; says on stdout what is wrong.  False if anything is. */
bool story_play(struct story *, const char *path);

/* One line of the story.  False if it is wrong: then why is on stdout. */
bool story_step(struct story *, const char *line);

/* What a name means; the number of them, or ~0u, if it is none. */
unsigned story_node(const struct story *, const char *name);
unsigned story_key(const struct story *, const char *name);

/* A time such as 300ms, -5s or 2m.  False if it is none. */
bool story_time(const char *word, int64_t *ms);

/* Lets time pass, until the client was answered if one is given.  False if a promise broke. */
bool story_pass(struct story *, uint64_t ms, const struct story_client *);

/* Compares what is with what the line says behind its arrow, if it says anything. */
bool story_compare(const struct story *, const char *is);

/* What the cell shows: names of values, stubs in brackets if `is_own`. */
void story_tell_cell(const struct story *, unsigned key, const struct cell *, bool is_own,
                     char out[STORY_TEXT]);

/* --- clients.c --- */

/* A line that begins with the name of a client. */
bool story_client_line(struct story *);

/* A node died, and with it its clients' connections. */
void story_lose_clients(struct story *, unsigned node);

/* What the nodes say to clients comes here. */
void story_answer(struct sim *, unsigned node, const struct command *,
                  const struct command_answer *);

/* --- cluster.c --- */

/* A line about the cluster.  `is_known` says whether there is such a line at all. */
bool story_cluster_line(struct story *, bool *is_known);

/* --- trace.c --- */

/* Forgets the trace lines up to now. */
void story_trace_begin(struct story *);

/* Whether this line is among those since, after the one that was found last. */
bool story_trace_find(struct story *, const char *line);

/* Prints the trace lines since story_trace_begin(). */
void story_trace_print(struct story *);

#endif
