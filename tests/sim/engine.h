/* Engine: virtual time, and what is to happen when.
 *
 * Whatever wants to happen later embeds a struct engine_entry and sets it to a time; the engine
 * hands the entries out in the order of their times, those of one time in the order in which they
 * were set.  Nothing else moves the time, so a run depends on its seed alone.
 *
 * Threads: one. */
#ifndef TESTS_SIM_ENGINE_H
#define TESTS_SIM_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#define ENGINE_NEVER UINT64_MAX

struct sim;
struct engine_entry;

/* What happens when the time of an entry has come; the entry is not set any more. */
typedef void engine_run(struct sim *, struct engine_entry *);

struct engine_entry {
    engine_run *run;
    uint64_t at_ms; /* while it is set */
    uint64_t order; /* among entries of one time */
    unsigned place; /* in the heap, from 1; 0: not set */
};

/* The object of a type that has this entry as its member. */
#define ENGINE_OWNER(entry, type, member) ((type *)(void *)((char *)(entry)-offsetof(type, member)))

struct engine {
    uint64_t now_ms;
    uint64_t next_order;
    struct engine_entry **heap; /* from 1 */
    unsigned count, room;
};

void engine_init(struct engine *);
void engine_deinit(struct engine *);

/* Sets an entry to a time, or moves it there; a time that has passed is now, ENGINE_NEVER takes
 * it out.  An entry that has this time already keeps its turn. */
void engine_set(struct engine *, struct engine_entry *, uint64_t at_ms);

/* Takes the next entry out and makes its time the present one.  NULL if there is none up to
 * `until_ms`: then that is the present. */
struct engine_entry *engine_next(struct engine *, uint64_t until_ms);

#endif
