/* What workers and the cluster thread share: views, notes, jobs.  Worth running under TSan. */
#include "server/cluster.h"
#include "server/cluster_inside.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 3
#define VIEWS   3000

static struct cluster *cluster;

static int set_up(void **state)
{
    (void)state;
    cluster = cluster_new(NULL, WORKERS);
    return cluster == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    cluster_free(cluster);
    return 0;
}

/* A view of one peer that shows its number in several places. */
static struct cluster_published *published_new(uint64_t number)
{
    struct cluster_published *published =
        calloc(1, sizeof *published + sizeof(struct cluster_peer));
    struct cluster_peer *peer = (struct cluster_peer *)(published + 1);

    assert_non_null(published);
    peer->id = peer->incarnation = number;
    published->view = (struct cluster_view){
        .self = number, .peers_version = number, .peer_count = 1, .peers = peer};
    return published;
}

/* ---- views ---- */

static void before_anything_is_known_there_is_a_view_without_a_table(void **state)
{
    const struct cluster_view *view = cluster_view_hold(cluster, 0);

    (void)state;
    assert_non_null(view);
    assert_null(view->table);
    assert_int_equal(view->self, NODE_NONE);
    assert_int_equal(view->peer_count, 0);
    cluster_view_release(cluster, 0);
}

static void a_view_lives_as_long_as_a_worker_holds_it(void **state)
{
    (void)state;
    cluster_publish(cluster, published_new(1));
    const struct cluster_view *held = cluster_view_hold(cluster, 1);
    cluster_publish(cluster, published_new(2));
    cluster_publish(cluster, published_new(3));
    cluster_reclaim(cluster);
    assert_int_equal(held->self, 1);
    assert_int_equal(held->peers[0].id, 1);
    assert_non_null(cluster->retired);
    assert_null(cluster->retired->older); /* the second one was held by nobody */
    cluster_view_release(cluster, 1);
    cluster_reclaim(cluster);
    assert_null(cluster->retired);
    held = cluster_view_hold(cluster, 1);
    assert_int_equal(held->self, 3);
    cluster_view_release(cluster, 1);
}

static void a_table_lives_as_long_as_the_last_view_with_it(void **state)
{
    struct cluster_published *first = published_new(1), *second = published_new(2);
    unsigned char rows[RING_ROWS_BYTES(1, 1)];
    struct ring_table table;

    (void)state;
    ring_table_init(&table, 1, 1, rows, sizeof rows);
    struct cluster_table *copy = cluster_table_copy(&table);
    assert_non_null(copy);
    copy->users = 2;
    first->table = second->table = copy;
    first->view.table = second->view.table = &copy->table;
    cluster_publish(cluster, first);
    cluster_publish(cluster, second);
    const struct cluster_view *held = cluster_view_hold(cluster, 0);
    cluster_publish(cluster, published_new(3));
    assert_int_equal(held->table->partition_bits, 1);
    assert_int_equal(copy->users, 1);
    cluster_view_release(cluster, 0);
}

static _Atomic bool is_over;

/* What a worker does all day. */
static void *hold_and_release(void *argument)
{
    const unsigned worker = (unsigned)(uintptr_t)argument;
    uint64_t last = 0, *looks = calloc(1, sizeof *looks);

    while (!atomic_load(&is_over)) {
        const struct cluster_view *view = cluster_view_hold(cluster, worker);
        uint64_t number = view->self;
        for (unsigned i = 0; i < view->peer_count; i++)
            if (view->peers[i].id != number || view->peers[i].incarnation != number)
                abort();
        if (number < last || view->peers_version != number)
            abort();
        last = number;
        *looks += 1;
        cluster_view_release(cluster, worker);
    }
    return looks;
}

static void workers_never_see_a_view_that_is_gone(void **state)
{
    pthread_t threads[WORKERS];

    (void)state;
    atomic_store(&is_over, false);
    for (uintptr_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, (void *)i), 0);
    for (uint64_t i = 1; i <= VIEWS; i++)
        cluster_publish(cluster, published_new(i));
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        void *looks;
        pthread_join(threads[i], &looks);
        free(looks);
    }
    cluster_reclaim(cluster);
    assert_null(cluster->retired);
}

/* ---- notes ---- */

static unsigned replies, refusals, acceptances;
static uint64_t reply_us;
static hlc_time newest[8];

static void take(struct node *node, const struct cluster_note *note)
{
    (void)node;
    switch (note->type) {
    case NOTE_REPLY:
        replies++;
        reply_us += note->us;
        break;
    case NOTE_LATENCY: break;
    case NOTE_CLOCK_REFUSED: refusals++; break;
    case NOTE_CLOCK_ACCEPTED: acceptances++; break;
    }
}

static void saw(struct node *node, struct dot dot)
{
    (void)node;
    assert_true(dot.node < 8);
    assert_true(dot.hlc >= newest[dot.node]);
    newest[dot.node] = dot.hlc;
}

static void read_notes(void)
{
    replies = refusals = acceptances = 0;
    reply_us = 0;
    cluster_read_notes(cluster, take, saw);
}

static void notes_are_read_once_and_bounded(void **state)
{
    (void)state;
    cluster_note_reply(cluster, 0, 5, 100);
    cluster_note_reply(cluster, 2, 6, 200);
    read_notes();
    assert_int_equal(replies, 2);
    assert_int_equal(reply_us, 300);
    read_notes();
    assert_int_equal(replies, 0);
    for (unsigned i = 0; i < 3 * CLUSTER_NOTES; i++)
        cluster_note_reply(cluster, 1, 5, 1);
    read_notes();
    assert_int_equal(replies, CLUSTER_NOTES);
}

static void that_a_peer_took_a_dot_counts_only_in_doubt(void **state)
{
    (void)state;
    cluster_note_clock(cluster, 0, 5, false);
    read_notes();
    assert_int_equal(acceptances, 0);
    cluster_note_clock(cluster, 0, 5, true);
    atomic_store(&cluster->is_in_doubt, true);
    cluster_note_clock(cluster, 0, 5, false);
    read_notes();
    assert_int_equal(refusals, 1);
    assert_int_equal(acceptances, 1);
}

static void the_newest_dot_of_a_member_is_never_left_out(void **state)
{
    (void)state;
    memset(newest, 0, sizeof newest);
    cluster_publish(cluster, published_new(3)); /* its peer is node 3 */
    (void)cluster_view_hold(cluster, 0);
    for (hlc_time time = 1; time <= 10 * CLUSTER_DOTS; time++)
        cluster_note_dot(cluster, 0, (struct dot){3, time});
    cluster_note_dot(cluster, 0, (struct dot){3, 7});
    cluster_note_dot(cluster, 0, (struct dot){4, 7}); /* no member */
    cluster_view_release(cluster, 0);
    read_notes();
    assert_int_equal(newest[3], 10 * CLUSTER_DOTS);
    assert_int_equal(newest[4], 0);
}

/* ---- jobs ---- */

#define JOBS 1000

struct test_job {
    struct cluster_job job;
    bool is_run, is_done;
};

static void run_job(struct node *node, struct cluster_job *job)
{
    (void)node;
    ((struct test_job *)job)->is_run = true;
    cluster_job_finish(cluster, job);
}

static void finish_job(struct cluster_job *job)
{
    ((struct test_job *)job)->is_done = true;
}

static void *ask_for_jobs(void *argument)
{
    struct test_job *jobs = argument;

    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i].job = (struct cluster_job){.worker = 1, .run = run_job, .done = finish_job};
        cluster_ask(cluster, &jobs[i].job);
        cluster_run_done_jobs(cluster, 1);
    }
    while (!jobs[JOBS - 1].is_done)
        cluster_run_done_jobs(cluster, 1);
    return NULL;
}

static void *run_jobs(void *argument)
{
    (void)argument;
    while (!atomic_load(&is_over))
        cluster_run_jobs(cluster);
    return NULL;
}

static void every_job_is_run_there_and_done_here(void **state)
{
    struct test_job *jobs = calloc(JOBS, sizeof *jobs);
    pthread_t asker, runner;

    (void)state;
    assert_non_null(jobs);
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&runner, NULL, run_jobs, NULL), 0);
    assert_int_equal(pthread_create(&asker, NULL, ask_for_jobs, jobs), 0);
    pthread_join(asker, NULL);
    atomic_store(&is_over, true);
    pthread_join(runner, NULL);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_true(jobs[i].is_run);
        assert_true(jobs[i].is_done);
    }
    free(jobs);
}

static void once_closed_jobs_come_back_as_they_are(void **state)
{
    struct test_job job = {.job = {.worker = 2, .run = run_job, .done = finish_job}};

    (void)state;
    cluster->is_closed = true;
    cluster_ask(cluster, &job.job);
    cluster_run_jobs(cluster);
    assert_false(job.is_done);
    cluster_run_done_jobs(cluster, 2);
    assert_true(job.is_done);
    assert_false(job.is_run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(before_anything_is_known_there_is_a_view_without_a_table,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_view_lives_as_long_as_a_worker_holds_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_table_lives_as_long_as_the_last_view_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(workers_never_see_a_view_that_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notes_are_read_once_and_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(that_a_peer_took_a_dot_counts_only_in_doubt, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_newest_dot_of_a_member_is_never_left_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_job_is_run_there_and_done_here, set_up, tear_down),
        cmocka_unit_test_setup_teardown(once_closed_jobs_come_back_as_they_are, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
