#include "tests/unit/replicas.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 600 };

/* What became of a key while the third node was cut off. */
enum fate {
    FATE_NONE,     /* all have it still */
    FATE_DELETED,  /* and the tombstone was reaped: only the third node has it */
    FATE_HALF,     /* one of the others forgot it */
    FATE_SIBLING,  /* deleted, and the third node wrote a sibling meanwhile */
    FATE_NEW_HERE, /* written at the third node only, during the cut */
    FATES
};

struct story {
    struct replicas replicas;
    struct replica *cut_off;
    hlc_time cut;
    uint64_t keys[KEYS];
    enum fate fates[KEYS];
};

static struct story *new_story(uint64_t seed)
{
    struct story *story = malloc(sizeof *story);
    struct replicas *replicas = &story->replicas;

    assert_non_null(story);
    replicas_init(replicas, seed, 3, 3, 3, 2);
    story->cut_off = &replicas->replicas[2];
    for (unsigned i = 0; i < KEYS; i++) {
        story->keys[i] = random_next(&replicas->random);
        story->fates[i] = random_below(&replicas->random, FATES);
        if (story->fates[i] == FATE_NEW_HERE)
            continue;
        replicas_write(replicas, &replicas->replicas[i % 3], story->keys[i], SIBLING_VALUE, false);
        for (unsigned j = 0; j < 3; j++)
            if (j != i % 3)
                replicas_copy(replicas, &replicas->replicas[i % 3], &replicas->replicas[j],
                              story->keys[i]);
    }
    replicas->now_ms += 1000;
    story->cut = hlc_of_ms(replicas->now_ms);
    for (unsigned i = 0; i < 2; i++)
        replicas->is_cut[2][i] = replicas->is_cut[i][2] = true;
    replicas_run(replicas, 1000);
    for (unsigned i = 0; i < KEYS; i++) {
        enum fate fate = story->fates[i];
        if (fate == FATE_DELETED || fate == FATE_SIBLING || fate == FATE_HALF)
            replicas_drop(replicas, &replicas->replicas[0], story->keys[i]);
        if (fate == FATE_DELETED || fate == FATE_SIBLING)
            replicas_drop(replicas, &replicas->replicas[1], story->keys[i]);
        if (fate == FATE_SIBLING || fate == FATE_NEW_HERE)
            replicas_write(replicas, story->cut_off, story->keys[i], SIBLING_VALUE, true);
    }
    return story;
}

static void free_story(struct story *story)
{
    replicas_deinit(&story->replicas);
    free(story);
}

static void heal(struct story *story)
{
    struct replicas *replicas = &story->replicas;

    memset(replicas->is_cut, 0, sizeof replicas->is_cut);
    replicas_run(replicas, 1); /* they see each other */
    for (unsigned p = 0; p < 8; p++)
        replicas_start_aftercut(replicas, story->cut_off, p, story->cut);
}

static unsigned count_fates(const struct story *story, enum fate fate)
{
    unsigned count = 0;

    for (unsigned i = 0; i < KEYS; i++)
        count += story->fates[i] == fate;
    return count;
}

static void assert_outcome(struct story *story)
{
    struct replicas *replicas = &story->replicas;

    assert_true(replicas_agree(replicas, &replicas->tables[0]));
    for (unsigned i = 0; i < KEYS; i++)
        for (unsigned j = 0; j < 3; j++) {
            struct entry *entry = replicas_find(&replicas->replicas[j], story->keys[i]);
            if (story->fates[i] == FATE_DELETED) {
                assert_null(entry);
                continue;
            }
            assert_non_null(entry);
            assert_int_equal(entry->cell.sibling_count, 1);
            if (story->fates[i] == FATE_SIBLING || story->fates[i] == FATE_NEW_HERE)
                assert_true(entry->siblings[0].dot.hlc >= story->cut);
        }
}

static void what_all_others_lack_goes_and_what_was_written_since_stays(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct story *story = new_story(seed);
        heal(story);
        replicas_run(&story->replicas, 60000);
        assert_outcome(story);
        assert_int_equal(story->cut_off->aftercut.siblings_forgotten,
                         count_fates(story, FATE_DELETED) + count_fates(story, FATE_SIBLING));
        free_story(story);
    }
}

static void nothing_comes_back_through_losses_and_flapping_links(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 115; seed++) {
        struct story *story = new_story(seed);
        struct replicas *replicas = &story->replicas;
        heal(story);
        replicas->loss_percent = replicas->double_percent = 25;
        replicas->delay_max_ms = 400;
        for (unsigned step = 0; step < 30; step++) {
            replicas_run(replicas, random_below(&replicas->random, 600));
            /* To both at once: with one of them alone, what that one lacks would count. */
            bool is_cut = random_chance(&replicas->random, 30);
            for (unsigned i = 0; i < 2; i++)
                replicas->is_cut[i][2] = is_cut;
            if (is_cut)
                continue;
            for (unsigned p = 0; p < 8; p++) /* the healed cut counts as one, if a short one */
                if (story->cut_off->aftercut_before[p] == 0 && random_chance(&replicas->random, 10))
                    replicas_start_aftercut(replicas, story->cut_off, p, story->cut);
        }
        memset(replicas->is_cut, 0, sizeof replicas->is_cut);
        replicas->loss_percent = replicas->double_percent = 0;
        for (unsigned p = 0; p < 8; p++)
            replicas_start_aftercut(replicas, story->cut_off, p, story->cut);
        replicas_run(replicas, 120000);
        assert_int_equal(story->cut_off->aftercut.pending_count, 0);
        free_story(story);
    }
}

static void with_nobody_warm_to_ask_everything_is_kept(void **state)
{
    struct story *story = new_story(50);
    struct replicas *replicas = &story->replicas;

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        replicas->replicas[i].warming[0] = UINT64_MAX;
    unsigned held = story->cut_off->entry_count;
    heal(story);
    replicas_run(replicas, 4000);
    assert_int_equal(story->cut_off->aftercut.pending_count, 8);
    replicas_run(replicas, 3000);
    assert_int_equal(story->cut_off->aftercut.pending_count, 0);
    assert_int_equal(story->cut_off->aftercut.siblings_forgotten, 0);
    assert_int_equal(story->cut_off->entry_count, held);
    free_story(story);
}

static void nothing_is_given_away_before_all_was_asked(void **state)
{
    struct story *story = new_story(51);
    struct replicas *replicas = &story->replicas;

    (void)state;
    heal(story);
    token_bucket_init(&story->cut_off->bucket, 1000, 1000, replicas->now_ms); /* slowly */
    for (unsigned ms = 0; ms < 100000 && aftercut_is_pending(&story->cut_off->aftercut); ms++) {
        replicas_run(replicas, 1);
        for (unsigned i = 0; i < KEYS && ms % 100 == 0; i++)
            if (story->fates[i] == FATE_DELETED)
                assert_null(replicas_find(&replicas->replicas[0], story->keys[i]));
    }
    assert_false(aftercut_is_pending(&story->cut_off->aftercut));
    token_bucket_init(&story->cut_off->bucket, 1 << 20, 1 << 20, replicas->now_ms);
    replicas_run(replicas, 120000);
    assert_outcome(story);
    free_story(story);
}

/* A cut of so many seconds, with a delete at the others and a write here in the middle of it. */
static void play_cut(struct replicas *replicas, unsigned seconds, uint64_t deleted,
                     uint64_t written)
{
    replicas_init(replicas, seconds, 3, 3, 3, 2);
    replicas->grace_ms = 60000;
    for (unsigned i = 0; i < 3; i++)
        replicas_restart(replicas, &replicas->replicas[i]);
    replicas_write(replicas, &replicas->replicas[0], deleted, SIBLING_VALUE, false);
    replicas_run(replicas, 10000);
    assert_non_null(replicas_find(&replicas->replicas[2], deleted));
    for (unsigned i = 0; i < 2; i++)
        replicas->is_cut[2][i] = replicas->is_cut[i][2] = true;
    replicas_run(replicas, 500 * seconds);
    for (unsigned i = 0; i < 2; i++)
        replicas_drop(replicas, &replicas->replicas[i], deleted); /* and reaped */
    replicas_write(replicas, &replicas->replicas[2], written, SIBLING_VALUE, false);
    replicas_run(replicas, 500 * seconds);
    memset(replicas->is_cut, 0, sizeof replicas->is_cut);
    replicas_run(replicas, 60000);
    assert_true(replicas_agree(replicas, &replicas->tables[0]));
    for (unsigned i = 0; i < 3; i++)
        assert_non_null(replicas_find(&replicas->replicas[i], written));
}

static void a_cut_longer_than_the_grace_is_noticed_and_a_shorter_one_does_no_harm(void **state)
{
    struct replicas *replicas = malloc(sizeof *replicas);

    (void)state;
    play_cut(replicas, 100, 0x1234567890, 0xf234567890);
    for (unsigned i = 0; i < 3; i++)
        assert_null(replicas_find(&replicas->replicas[i], 0x1234567890));
    assert_int_equal(replicas->replicas[2].aftercut.siblings_forgotten, 1);
    replicas_deinit(replicas);
    play_cut(replicas, 30, 0x1234567890, 0xf234567890);
    for (unsigned i = 0; i < 3; i++)
        assert_non_null(replicas_find(&replicas->replicas[i], 0x1234567890));
    assert_int_equal(replicas->replicas[2].aftercut.siblings_asked, 0);
    replicas_deinit(replicas);
    free(replicas);
}

static void nodes_that_were_cut_off_from_each_other_keep_all_and_do_not_wait_for_ever(void **state)
{
    struct replicas *replicas = malloc(sizeof *replicas);
    uint64_t keys[100];

    (void)state;
    replicas_init(replicas, 60, 2, 2, 3, 2);
    replicas->grace_ms = 60000;
    for (unsigned i = 0; i < 2; i++)
        replicas_restart(replicas, &replicas->replicas[i]);
    for (unsigned i = 0; i < 100; i++) {
        keys[i] = random_next(&replicas->random);
        replicas_write(replicas, &replicas->replicas[i % 2], keys[i], SIBLING_VALUE, false);
    }
    replicas->is_cut[0][1] = replicas->is_cut[1][0] = true;
    replicas_run(replicas, 100000);
    memset(replicas->is_cut, 0, sizeof replicas->is_cut);
    replicas_run(replicas, 60000);
    assert_true(replicas_agree(replicas, &replicas->tables[0]));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(replicas->replicas[i].entry_count, 100);
        assert_false(aftercut_is_pending(&replicas->replicas[i].aftercut));
    }
    replicas_deinit(replicas);
    free(replicas);
}

static void standing_still_for_long_is_a_cut(void **state)
{
    struct replicas *replicas = malloc(sizeof *replicas);
    struct replica *replica = &replicas->replicas[0];

    (void)state;
    replicas_init(replicas, 61, 3, 3, 3, 2);
    replicas->grace_ms = 60000;
    replicas_restart(replicas, replica);
    replicas_write(replicas, replica, 0x1234567890, SIBLING_VALUE, false);
    replicas_run(replicas, 20000);
    assert_false(aftercut_is_pending(&replica->aftercut));
    replicas->now_ms += 40000;
    replicas_run(replicas, 1);
    assert_int_equal(replica->aftercut.pending_count, 0);
    replicas->now_ms += 61000;
    replicas_run(replicas, 1);
    assert_int_equal(replica->aftercut.pending_count, 1); /* the others were empty, and cleared */
    assert_true(aftercut_is_suspect(&replica->aftercut, 0,
                                    (struct dot){1, hlc_of_ms(replicas->now_ms - 62000 - 20000)}));
    assert_false(
        aftercut_is_suspect(&replica->aftercut, 0, (struct dot){1, hlc_of_ms(replicas->now_ms)}));
    replicas_deinit(replicas);
    free(replicas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_all_others_lack_goes_and_what_was_written_since_stays),
        cmocka_unit_test(nothing_comes_back_through_losses_and_flapping_links),
        cmocka_unit_test(with_nobody_warm_to_ask_everything_is_kept),
        cmocka_unit_test(nothing_is_given_away_before_all_was_asked),
        cmocka_unit_test(a_cut_longer_than_the_grace_is_noticed_and_a_shorter_one_does_no_harm),
        cmocka_unit_test(nodes_that_were_cut_off_from_each_other_keep_all_and_do_not_wait_for_ever),
        cmocka_unit_test(standing_still_for_long_is_a_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
