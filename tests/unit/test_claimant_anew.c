/* ring/claimant.c where members of the table began anew as other actors. */
#include "ring/claimant.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* after those */
#include <cmocka.h>

#define BITS     3
#define COPIES   2
#define NODES    3
#define QUIET_MS 100

static struct membership membership;
static struct claimant claimant;
static struct claimant_work work;
static unsigned char rows[2 * RING_ROWS_BYTES(BITS, COPIES)];
static struct claimant_effects effects;

static struct member_record record_of(node_id id, unsigned name)
{
    struct member_record record = {.id = id, .incarnation = 1, .weight = 1};
    char text[16];
    int size = snprintf(text, sizeof text, "n%u", name);

    assert_true(
        member_name_set(&record.name, (struct slice){(const unsigned char *)text, (size_t)size}));
    return record;
}

static void step(struct claimant_event event)
{
    claimant_effects_init(&effects, NULL);
    claimant_step(&claimant, &event, &effects);
}

/* Node 1 of a cluster of nodes 1, 2 and 3. */
static void found(void)
{
    struct claimant_config config = {
        .self = 1, .copies = COPIES, .ask_retry_ms = 50, .quiet_ms = QUIET_MS};

    membership_init(&membership);
    for (unsigned i = 1; i <= NODES; i++) {
        struct member_record record = record_of(i, i);
        assert_int_equal(membership_join(&membership, &record, NODE_NONE), MEMBERSHIP_DONE);
    }
    claimant_init(&claimant, &config, &membership, &work, rows, sizeof rows / 2);
    claimant_found(&claimant, 1, BITS);
    step((struct claimant_event){.type = CLAIMANT_WARMED, .is_warm = true});
}

/* Nodes 2 and 3 go; nodes 12 and 13 come, under these names, have all that node 1 has, and are
 * heard of. */
static void replace_both(unsigned first_name)
{
    for (unsigned i = 2; i <= NODES; i++) {
        struct member_record record = record_of(10 + i, first_name + i - 2);
        assert_int_equal(membership_join(&membership, &record, i), MEMBERSHIP_DONE);
    }
    step((struct claimant_event){.type = CLAIMANT_ACTED, .now_ms = 1});
    for (node_id id = 12; id <= 13; id++) {
        struct ping ping = {.from = id, .to = 1, .incarnation = 1};
        claimant_fill_ping(&claimant, &ping);
        step((struct claimant_event){.type = CLAIMANT_REACHABLE, .now_ms = 2, .from = id});
        step(
            (struct claimant_event){.type = CLAIMANT_PING, .now_ms = 2, .from = id, .ping = &ping});
    }
}

static bool publishes(void)
{
    for (uint64_t now_ms = 10; now_ms <= 10 + 100 * QUIET_MS; now_ms += QUIET_MS) {
        step((struct claimant_event){.type = CLAIMANT_TICK, .now_ms = now_ms});
        if (effects.has_published)
            return true;
    }
    return false;
}

/* The simulator, seed 443: all but one had begun anew, and no table was published any more. */
static void who_began_anew_counts_for_who_it_was(void **state)
{
    (void)state;
    found();
    replace_both(2);
    assert_true(publishes());
}

static void strangers_count_for_nobody(void **state)
{
    (void)state;
    found();
    replace_both(7);
    assert_false(publishes());
    assert_int_equal(claimant.state, CLAIMANT_MINORITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_began_anew_counts_for_who_it_was),
        cmocka_unit_test(strangers_count_for_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
