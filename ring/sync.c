#include "ring/sync.h"
#include <assert.h>
#include <string.h>

/* A walk goes down from everything in steps of EXCHANGE_CHILD_BITS, with a stop where the
 * partitions begin, so that what two nodes own together is known of each range below.  A step that
 * is shorter comes first, so that as many leaves as possible are dealt with at once:
 *
 *   depth     0 ---> 5 ---> 10 | ---> 11 ---> 16      (1024 partitions, 64 leaves each)
 *   level     0      1      2  |      3       4
 *
 * Ranges that differ wait in frames, at most `window` on each level, so that the frame with the
 * lowest key hashes can always be worked on: a frame of leaves needs no other, and each other one
 * only frames of the next level, which get free. */

const struct sync_options sync_options_default = {.settle_ms = 500,
                                                  .pause_min_ms = 1000,
                                                  .pause_max_ms = 60000,
                                                  .retry_ms = 1000,
                                                  .repeats_max = 5,
                                                  .window = 8};

static_assert(SYNC_LEVELS_MAX >
                  (RING_PARTITION_BITS_MAX + EXCHANGE_CHILD_BITS - 1) / EXCHANGE_CHILD_BITS +
                      (MERKLE_LEAF_BITS_MAX + EXCHANGE_CHILD_BITS - 1) / EXCHANGE_CHILD_BITS,
              "a level for each step down");

static const struct merkle_range everything = {0, 0};

void sync_init(struct sync *sync, node_id peer, const struct sync_options *options,
               uint64_t first_number)
{
    memset(sync, 0, sizeof *sync);
    sync->options = options != NULL ? *options : sync_options_default;
    assert(sync->options.window >= 1);
    assert(sync->options.window <= SYNC_WINDOW_MAX);
    sync->peer = peer;
    sync->next_number = first_number;
    sync->pause_ms = sync->options.pause_min_ms;
    sync->wake_ms = UINT64_MAX;
}

static uint64_t sum_of_all(const struct sync *sync, const struct exchange_view *view)
{
    uint64_t sum;
    bool is_told = exchange_sum(view, sync->peer, everything, &sum);

    assert(is_told); /* no leaf is larger than everything */
    return sum;
}

void sync_make_hello(struct sync *sync, const struct exchange_view *view, bool wants_walk,
                     uint64_t now_ms, struct sync_hello *hello)
{
    *hello = (struct sync_hello){.from = view->self,
                                 .to = sync->peer,
                                 .version = view->table->version,
                                 .sum = sum_of_all(sync, view),
                                 .takes = view->takes,
                                 .wants_walk = wants_walk,
                                 .is_walking = sync->is_walking,
                                 .is_after_cut = view->is_after_cut,
                                 .is_filling = view->is_filling,
                                 .number = sync->next_number++,
                                 .heard_number = sync->hello.number};
    if (sync->asked_number == 0) {
        sync->asked_number = hello->number;
        sync->asked_ms = now_ms;
    }
}

/* The levels of the walk. */

/* The depth of the leaves in a partition: of the coarsest tree, where there are more. */
static unsigned leaf_depth(const struct sync *sync, const struct exchange_view *view,
                           unsigned partition)
{
    unsigned copies = exchange_shared_from(view->table, partition, view->self, sync->peer);
    unsigned bits = MERKLE_LEAF_BITS_MAX + 1;

    for (unsigned i = 0; i < view->forest_count; i++) {
        const struct merkle_forest *forest = &view->forests[i];
        if (forest->copies >= copies && forest->trees[partition].leaf_bits < bits)
            bits = forest->trees[partition].leaf_bits;
    }
    return view->table->partition_bits + (bits > MERKLE_LEAF_BITS_MAX ? 0 : bits);
}

/* Whether the keys of a range are compared one by one rather than its parts. */
static bool is_leaf(const struct sync *sync, const struct exchange_view *view,
                    struct merkle_range range)
{
    return range.depth >= view->table->partition_bits &&
           range.depth >= leaf_depth(sync, view, ring_table_partition(view->table, range.first));
}

/* The depth of the parts that a range is cut into; it is no leaf. */
static unsigned depth_below(const struct sync *sync, const struct exchange_view *view,
                            struct merkle_range range)
{
    unsigned bound = view->table->partition_bits;

    if (range.depth >= bound)
        bound = leaf_depth(sync, view, ring_table_partition(view->table, range.first));
    assert(range.depth < bound);
    unsigned first = (bound - range.depth) % EXCHANGE_CHILD_BITS;
    return range.depth + (first > 0 ? first : EXCHANGE_CHILD_BITS);
}

static unsigned lowest_bit(uint32_t bits)
{
    unsigned i = 0;

    assert(bits != 0);
    while ((bits >> i & 1) == 0)
        i++;
    return i;
}

static unsigned highest_bit(uint32_t bits)
{
    unsigned i = 31;

    assert(bits != 0);
    while ((bits >> i & 1) == 0)
        i--;
    return i;
}

static unsigned count_bits(const uint64_t *words, unsigned end)
{
    unsigned count = 0;

    for (unsigned i = 0; i < end; i++)
        count += (unsigned)(words[i / 64] >> (i % 64) & 1);
    return count;
}

/* Sending. */

static bool has_room(const struct sync_effects *effects)
{
    return effects->message_count < SYNC_MESSAGES_MAX && effects->scan_count < SYNC_SCANS_MAX;
}

static struct exchange_message *next_message(const struct sync *sync,
                                             const struct sync_event *event,
                                             struct sync_effects *effects, enum exchange_type type,
                                             uint64_t number)
{
    struct exchange_message *message = &effects->messages[effects->message_count];

    assert(effects->message_count < SYNC_MESSAGES_MAX);
    message->type = type;
    message->head = (struct exchange_head){.from = event->view->self,
                                           .to = sync->peer,
                                           .version = event->view->table->version,
                                           .asker = EXCHANGE_SYNC,
                                           .number = number};
    return message;
}

/* Sends the message that was composed, if there are tokens for it. */
static bool send(struct sync *sync, const struct sync_event *event, struct sync_effects *effects)
{
    uint64_t bytes = exchange_message_bytes(&effects->messages[effects->message_count]);

    if (!token_bucket_take(event->bucket, bytes, event->now_ms))
        return false;
    effects->message_count++;
    sync->bytes_sent += bytes;
    return true;
}

static void postpone(struct sync_task *task, enum sync_task_state next, uint64_t until_ms)
{
    assert(next == SYNC_TASK_COMPARING || next == SYNC_TASK_SCANNING || next == SYNC_TASK_GIVING);
    task->state = SYNC_TASK_DUE;
    task->next = next;
    task->repeat_at_ms = until_ms;
}

static void await(struct sync *sync, struct sync_task *task, enum sync_task_state state,
                  uint64_t now_ms)
{
    task->state = state;
    task->repeat_at_ms = now_ms + sync->options.retry_ms;
}

static void send_compare(struct sync *sync, struct sync_task *task, const struct sync_event *event,
                         struct sync_effects *effects)
{
    task->number = sync->next_number++;
    struct exchange_message *message =
        next_message(sync, event, effects, EXCHANGE_COMPARE, task->number);
    struct exchange_compare *compare = &message->compare;

    compare->parent = task->parent;
    compare->depth = task->depth;
    for (unsigned i = 0; i < 1u << (task->depth - task->parent.depth); i++) {
        struct merkle_range child = merkle_range_child(task->parent, task->depth, i);
        bool is_told = exchange_sum(event->view, sync->peer, child, &compare->sums[i]);
        assert(is_told); /* nothing smaller than a leaf is cut into parts */
    }
    if (send(sync, event, effects))
        await(sync, task, SYNC_TASK_COMPARING, event->now_ms);
}

static void ask_for_items(struct sync *sync, struct sync_task *task, const struct sync_event *event,
                          struct sync_effects *effects)
{
    const struct ring_table *table = event->view->table;
    unsigned partition = ring_table_partition(table, task->first);

    task->number = sync->next_number++;
    effects->scans[effects->scan_count++] = (struct exchange_scan){
        .first = task->first,
        .last = task->last,
        .number = task->number,
        .copies_min = exchange_shared_from(table, partition, event->view->self, sync->peer),
        .copies_max = table->copies,
        .items_max = EXCHANGE_KEYS_MAX};
    await(sync, task, SYNC_TASK_SCANNING, event->now_ms);
}

static void send_cells(struct sync *sync, struct sync_task *task, const struct sync_event *event,
                       struct sync_effects *effects)
{
    const struct ring_table *table = event->view->table;
    unsigned partition = ring_table_partition(table, task->first);
    task->number = sync->next_number++;
    struct exchange_message *message =
        next_message(sync, event, effects, EXCHANGE_CELLS, task->number);
    struct exchange_cells *cells = &message->cells;

    cells->is_handoff = false;
    cells->copies_min = exchange_shared_from(table, partition, event->view->self, sync->peer);
    cells->copies_max = table->copies;
    cells->cell_bytes = task->given_bytes;
    cells->cell_count = task->given_count;
    for (unsigned i = 0; i < task->given_count; i++)
        cells->cells[i] = (struct exchange_cell){task->given[i], NULL};
    if (send(sync, event, effects))
        await(sync, task, SYNC_TASK_GIVING, event->now_ms);
}

static void start_task(struct sync *sync, struct sync_task *task, const struct sync_event *event,
                       struct sync_effects *effects)
{
    assert(task->state == SYNC_TASK_DUE);
    if (task->next == SYNC_TASK_COMPARING)
        send_compare(sync, task, event, effects);
    else if (task->next == SYNC_TASK_GIVING)
        send_cells(sync, task, event, effects);
    else
        ask_for_items(sync, task, event, effects);
}

/* Walking. */

static struct sync_task *free_task(struct sync *sync)
{
    for (unsigned i = 0; i < sync->options.window; i++)
        if (sync->tasks[i].state == SYNC_TASK_FREE)
            return &sync->tasks[i];
    return NULL;
}

static struct sync_task *task_of(struct sync *sync, uint64_t number, enum sync_task_state state)
{
    for (unsigned i = 0; i < sync->options.window; i++)
        if (sync->tasks[i].state == state && sync->tasks[i].number == number)
            return &sync->tasks[i];
    return NULL;
}

static void end_task(struct sync_task *task)
{
    task->state = SYNC_TASK_FREE;
    task->repeats = 0;
}

static void add_compare_task(struct sync *sync, const struct exchange_view *view,
                             struct sync_task *task, struct merkle_range range, unsigned level)
{
    assert(task->state == SYNC_TASK_FREE);
    assert(level < SYNC_LEVELS_MAX);
    task->level = level;
    task->parent = range;
    task->depth = depth_below(sync, view, range);
    task->first = range.first;
    task->last = merkle_range_last(range);
    postpone(task, SYNC_TASK_COMPARING, 0);
}

static void add_keys_task(struct sync_task *task, struct merkle_range parent, unsigned depth,
                          uint32_t children)
{
    assert(task->state == SYNC_TASK_FREE);
    task->parent = parent;
    task->depth = depth;
    task->children = children;
    task->first = merkle_range_child(parent, depth, lowest_bit(children)).first;
    task->last = merkle_range_last(merkle_range_child(parent, depth, highest_bit(children)));
    postpone(task, SYNC_TASK_SCANNING, 0);
}

/* How many frames of a level are in use, or will be when answers come. */
static unsigned frames_in_use(const struct sync *sync, unsigned level)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sync->options.window; i++) {
        const struct sync_task *task = &sync->tasks[i];
        bool is_comparing = task->state == SYNC_TASK_COMPARING ||
                            (task->state == SYNC_TASK_DUE && task->next == SYNC_TASK_COMPARING);
        count += sync->frames[level][i].children != 0;
        count += is_comparing && task->level == level;
    }
    return count;
}

/* Starts a task for the next of the children that a frame has left; false if they have to wait. */
static bool take_from_frame(struct sync *sync, const struct exchange_view *view,
                            struct sync_frame *frame, unsigned level, struct sync_task *task)
{
    unsigned i = lowest_bit(frame->children);
    struct merkle_range child = merkle_range_child(frame->parent, frame->depth, i);

    if (!is_leaf(sync, view, child)) {
        if (frames_in_use(sync, level + 1) >= sync->options.window)
            return false;
        add_compare_task(sync, view, task, child, level + 1);
        frame->children &= frame->children - 1;
    } else if (frame->parent.depth < view->table->partition_bits) {
        add_keys_task(task, child, child.depth, 1);
        frame->children &= frame->children - 1;
    } else {
        add_keys_task(task, frame->parent, frame->depth, frame->children);
        frame->children = 0;
    }
    return true;
}

static uint64_t frame_first(const struct sync_frame *frame)
{
    return merkle_range_child(frame->parent, frame->depth, lowest_bit(frame->children)).first;
}

/* Gives a free task the lowest key hashes that wait in a frame; false if nothing can be done. */
static bool take_next(struct sync *sync, const struct exchange_view *view, struct sync_task *task)
{
    struct sync_frame *lowest = NULL;

    /* The deepest level first: there is room for what it needs, and it ends soonest. */
    for (unsigned level = SYNC_LEVELS_MAX; level-- > 0;) {
        lowest = NULL;
        for (unsigned i = 0; i < sync->options.window; i++) {
            struct sync_frame *frame = &sync->frames[level][i];
            if (frame->children != 0 &&
                (lowest == NULL || frame_first(frame) < frame_first(lowest)))
                lowest = frame;
        }
        if (lowest != NULL && take_from_frame(sync, view, lowest, level, task))
            return true;
    }
    return false;
}

static void forget_walk(struct sync *sync, uint64_t now_ms)
{
    memset(sync->frames, 0, sizeof sync->frames);
    for (unsigned i = 0; i < SYNC_WINDOW_MAX; i++)
        end_task(&sync->tasks[i]);
    sync->is_walking = false;
    sync->is_differing = false; /* until the next hello */
    sync->ended_ms = now_ms;
}

static void pause_longer(struct sync *sync)
{
    sync->pause_ms = sync->pause_ms < sync->options.pause_max_ms / 2 ? sync->pause_ms * 2
                                                                     : sync->options.pause_max_ms;
}

static void abandon_walk(struct sync *sync, const struct sync_event *event,
                         struct sync_effects *effects, const char *why)
{
    assert(sync->is_walking);
    forget_walk(sync, event->now_ms);
    sync->is_resting = false;
    sync->walks_abandoned++;
    pause_longer(sync);
    ring_trace_say(effects->trace, "comparison with %llu given up: %s",
                   (unsigned long long)sync->peer, why);
}

static void finish_walk(struct sync *sync, const struct sync_event *event,
                        struct sync_effects *effects)
{
    forget_walk(sync, event->now_ms);
    sync->walks++;
    sync->is_resting = sync->repaired_now == 0 && !sync->was_refused;
    if (sync->repaired_now == 0) {
        sync->walks_fruitless++;
        sync->rested = sync->began;
        pause_longer(sync);
    } else {
        sync->pause_ms = sync->options.pause_min_ms;
    }
    ring_trace_say(effects->trace, "compared all with %llu: %llu cells repaired",
                   (unsigned long long)sync->peer, (unsigned long long)sync->repaired_now);
}

/* The lowest key hash that is not compared yet; false if there is none. */
static bool lowest_left(const struct sync *sync, uint64_t *lowest)
{
    bool is_left = false;

    *lowest = UINT64_MAX;
    for (unsigned i = 0; i < SYNC_WINDOW_MAX; i++) {
        const struct sync_task *task = &sync->tasks[i];
        if (task->state == SYNC_TASK_FREE)
            continue;
        is_left = true;
        if (task->first < *lowest)
            *lowest = task->first;
    }
    for (unsigned i = 0; i < SYNC_LEVELS_MAX * SYNC_WINDOW_MAX; i++) {
        const struct sync_frame *frame = &sync->frames[0][0] + i;
        if (frame->children == 0)
            continue;
        is_left = true;
        if (frame_first(frame) < *lowest)
            *lowest = frame_first(frame);
    }
    return is_left;
}

static void report(struct sync *sync, const struct sync_event *event, struct sync_effects *effects)
{
    const struct ring_table *table = event->view->table;
    uint64_t lowest;
    unsigned end = sync->report_end;

    if (lowest_left(sync, &lowest) && ring_table_partition(table, lowest) < end)
        end = ring_table_partition(table, lowest);
#ifdef RING_BREAK_COMPARED_EARLY
    end = ring_table_partitions(table);
#endif
    assert(end >= sync->reported);
    if (end > sync->reported) {
        effects->compared_first = sync->reported;
        effects->compared_end = end;
        effects->compared_since_ms = sync->began_ms;
        sync->reported = end;
    }
}

/* Does what there is room and tokens for; at least one message or scan can be added. */
static void walk_on(struct sync *sync, const struct sync_event *event, struct sync_effects *effects)
{
    for (unsigned i = 0; i < sync->options.window; i++) {
        struct sync_task *task = &sync->tasks[i];
        if (task->state == SYNC_TASK_FREE)
            take_next(sync, event->view, task);
        if (task->state != SYNC_TASK_DUE || task->repeat_at_ms > event->now_ms)
            continue;
        if (!has_room(effects) || token_bucket_ready_ms(event->bucket) > event->now_ms)
            return;
        start_task(sync, task, event, effects);
    }
}

static void begin_walk(struct sync *sync, const struct sync_event *event,
                       struct sync_effects *effects)
{
    assert(!sync->is_walking);
    sync->is_walking = true;
    sync->began = sync->last;
    sync->began_ms = event->now_ms;
    sync->reported = 0;
    sync->repaired_now = 0;
    sync->was_refused = false;
    sync->report_end = ring_table_partitions(event->view->table);
    if (is_leaf(sync, event->view, everything)) /* one partition, a tree of one leaf */
        add_keys_task(free_task(sync), everything, 0, 1);
    else
        add_compare_task(sync, event->view, free_task(sync), everything, 0);
    ring_trace_say(effects->trace, "compares with %llu", (unsigned long long)sync->peer);
}

/* Whether and when to walk. */

static bool is_same_state(const struct sync_state *a, const struct sync_state *b)
{
    return ring_version_compare(a->version, b->version) == 0 && a->own_sum == b->own_sum &&
           a->peer_sum == b->peer_sum && a->own_takes == b->own_takes &&
           a->peer_takes == b->peer_takes;
}

/* Whether there is nothing to be gained by a walk. */
static bool is_resting(const struct sync *sync, const struct sync_event *event)
{
#ifdef RING_BREAK_FRUITLESS
    return false;
#else
    return sync->is_resting && !event->wants_walk && is_same_state(&sync->rested, &sync->last);
#endif
}

/* Whether it is this node that walks: who is asked to, else the lower id. */
static bool is_walker(const struct sync *sync, const struct sync_event *event)
{
    if (event->wants_walk != sync->hello.wants_walk)
        return event->wants_walk;
    return event->wants_walk || event->view->self < sync->peer;
}

/* Whether to walk, now that a hello said that the sums still differ. */
static bool is_time_to_walk(const struct sync *sync, const struct sync_event *event)
{
    const struct exchange_view *view = event->view;
    const struct sync_hello *hello = &sync->hello;
    uint64_t differs_ms = event->now_ms - sync->differs_since_ms;
    uint64_t settle_ms = sync->options.settle_ms;
    uint64_t pause_ms = event->wants_walk ? sync->options.pause_min_ms : sync->pause_ms;

    assert(sync->is_differing);
    if (hello->is_walking || is_resting(sync, event) || !is_walker(sync, event))
        return false;
    if (view->is_after_cut || hello->is_after_cut || view->is_filling || hello->is_filling)
        return false;
    if (event->wants_walk && hello->wants_walk && view->self > sync->peer)
        settle_ms *= 2; /* the other one first */
    if (sync->walks + sync->walks_abandoned > 0 && event->now_ms - sync->ended_ms < pause_ms)
        return false;
    return differs_ms >= settle_ms;
}

/* Events. */

/* Both hold the same.  That counts as a comparison which began when the peer was asked: what it
 * said unasked may be older than anything. */
static void note_equal(struct sync *sync, const struct sync_event *event,
                       struct sync_effects *effects)
{
    sync->is_differing = false;
    sync->is_resting = false;
    sync->pause_ms = sync->options.pause_min_ms;
    if (sync->asked_number == 0 || sync->hello.heard_number < sync->asked_number)
        return;
    sync->asked_number = 0;
    effects->compared_end = ring_table_partitions(event->view->table);
    effects->compared_since_ms = sync->asked_ms;
}

static void on_hello(struct sync *sync, const struct sync_event *event,
                     struct sync_effects *effects)
{
    const struct sync_hello *hello = event->hello;

    if (hello->from != sync->peer || hello->to != event->view->self)
        return;
    sync->hello = *hello;
    if (hello->heard_number >= sync->next_number)
        sync->hello.heard_number = 0; /* of an earlier machine, or nonsense */
    if (sync->is_walking)
        return;
    if (ring_version_compare(hello->version, event->view->table->version) != 0) {
        sync->is_differing = false;
        return;
    }
    uint64_t own_sum = sum_of_all(sync, event->view);
    sync->last =
        (struct sync_state){hello->version, own_sum, hello->sum, event->view->takes, hello->takes};
    if (own_sum != hello->sum) {
        if (!sync->is_differing)
            sync->differs_since_ms = event->now_ms;
        sync->is_differing = true;
        if (is_time_to_walk(sync, event))
            begin_walk(sync, event, effects);
        return;
    }
    note_equal(sync, event, effects);
}

/* The peer did not do what was asked.  Returns whether the walk goes on, with the task repeated. */
static bool is_refused(struct sync *sync, struct sync_task *task, enum sync_task_state repeat,
                       enum exchange_answer answer, const struct sync_event *event,
                       struct sync_effects *effects)
{
    switch (answer) {
    case EXCHANGE_DONE: return false;
    case EXCHANGE_NOT_NOW:
        if (task->repeats++ < sync->options.repeats_max)
            postpone(task, repeat, event->now_ms + sync->options.retry_ms);
        else
            abandon_walk(sync, event, effects, "it is busy");
        return true;
    case EXCHANGE_OTHER_TABLE:
    case EXCHANGE_NOT_OWNER:
        abandon_walk(sync, event, effects, "it goes by another table");
        return true;
    case EXCHANGE_BAD: break;
    }
    abandon_walk(sync, event, effects, "it does not understand");
    return true;
}

static void on_compared(struct sync *sync, const struct sync_event *event,
                        struct sync_effects *effects)
{
    const struct exchange_compared *compared = event->compared;
    struct sync_task *task = task_of(sync, compared->head.number, SYNC_TASK_COMPARING);

    if (task == NULL ||
        is_refused(sync, task, SYNC_TASK_COMPARING, compared->answer, event, effects))
        return;
    uint32_t all = UINT32_MAX >> (32 - (1u << (task->depth - task->parent.depth)));
    struct sync_frame *frames = sync->frames[task->level];
    if ((compared->differs & all) != 0) {
        unsigned i = 0;
        while (frames[i].children != 0)
            i++;
        assert(i < sync->options.window); /* take_from_frame() saw to that */
        frames[i] = (struct sync_frame){task->parent, task->depth, compared->differs & all};
    }
    end_task(task);
}

/* Sends the marks of own cells. */
static void on_scanned(struct sync *sync, const struct sync_event *event,
                       struct sync_effects *effects)
{
    const struct exchange_scanned *scanned = event->scanned;
    struct sync_task *task = task_of(sync, scanned->number, SYNC_TASK_SCANNING);

    if (task == NULL)
        return;
    assert(scanned->item_count <= EXCHANGE_KEYS_MAX);
    assert(scanned->reached >= task->first);
    task->number = sync->next_number++;
    task->reached = scanned->reached < task->last ? scanned->reached : task->last;
    struct exchange_message *message =
        next_message(sync, event, effects, EXCHANGE_DIGESTS, task->number);
    struct exchange_digests *digests = &message->digests;
    digests->parent = task->parent;
    digests->depth = task->depth;
    digests->children = task->children;
    digests->first = task->first;
    digests->last = task->reached;
    digests->copies_min = exchange_shared_from(
        event->view->table, ring_table_partition(event->view->table, task->first),
        event->view->self, sync->peer);
    digests->copies_max = event->view->table->copies;
    digests->takes = event->view->takes;
    digests->is_give_only = false;
    digests->key_count = 0;
    for (unsigned i = 0; i < scanned->item_count; i++) {
        const struct exchange_item *item = &scanned->items[i];
        unsigned child = merkle_range_child_of(task->parent, task->depth, item->key_hash);
        if ((task->children >> child & 1) == 0)
            continue;
        digests->keys[digests->key_count++] =
            (struct exchange_key){item->key_hash, item->mark, item->bytes, item->kinds};
    }
    if (send(sync, event, effects))
        await(sync, task, SYNC_TASK_ASKING, event->now_ms);
    else
        postpone(task, SYNC_TASK_SCANNING, event->now_ms);
}

/* The range up to `reached` is done. */
static void advance(struct sync_task *task)
{
    assert(task->reached >= task->first);
    assert(task->reached <= task->last);
    if (task->reached == task->last) {
        end_task(task);
        return;
    }
    task->first = task->reached + 1;
    task->repeats = 0;
    postpone(task, SYNC_TASK_SCANNING, 0);
}

/* What a peer may answer to the marks that were sent. */
static bool is_sound_difference(const struct sync_task *task,
                                const struct exchange_difference *difference)
{
    if (difference->reached < task->first || difference->reached > task->reached ||
        difference->wanted_count > EXCHANGE_KEYS_MAX)
        return false;
    for (unsigned i = 0; i < difference->wanted_count; i++) {
        uint64_t wanted = difference->wanted[i];
        if (wanted < task->first || wanted > difference->reached ||
            (i > 0 && wanted <= difference->wanted[i - 1]))
            return false;
    }
    return true;
}

static void on_difference(struct sync *sync, const struct sync_event *event)
{
    const struct exchange_difference *difference = event->difference;
    struct sync_task *task = task_of(sync, difference->head.number, SYNC_TASK_ASKING);

    if (task == NULL || !is_sound_difference(task, difference))
        return;
    sync->cells_taken += event->changed_count;
    sync->repaired_now += event->changed_count;
    unsigned partition = ring_table_partition(event->view->table, task->first);
    if (event->has_failed && partition < sync->report_end)
        sync->report_end = partition;
    sync->was_refused |= event->has_failed;
    task->reached = difference->reached;
    if (difference->wanted_count == 0) {
        advance(task);
        return;
    }
    task->given_count = difference->wanted_count;
    task->given_bytes = difference->wanted_bytes;
    memcpy(task->given, difference->wanted, difference->wanted_count * sizeof task->given[0]);
    postpone(task, SYNC_TASK_GIVING, 0);
}

static void on_stored(struct sync *sync, const struct sync_event *event,
                      struct sync_effects *effects)
{
    const struct exchange_stored *stored = event->stored;
    struct sync_task *task = task_of(sync, stored->head.number, SYNC_TASK_GIVING);

    if (task == NULL || stored->cell_count > EXCHANGE_KEYS_MAX ||
        is_refused(sync, task, SYNC_TASK_GIVING, stored->answer, event, effects))
        return;
    unsigned changed = count_bits(stored->changed, stored->cell_count);
    sync->cells_given += changed;
    sync->repaired_now += changed;
    sync->was_refused =
        sync->was_refused || count_bits(stored->merged, stored->cell_count) < stored->cell_count;
    advance(task);
}

/* Repeats what is not answered, or gives up. */
static void on_late(struct sync *sync, const struct sync_event *event, struct sync_effects *effects)
{
    for (unsigned i = 0; i < sync->options.window; i++) {
        struct sync_task *task = &sync->tasks[i];
        if (task->state == SYNC_TASK_FREE || task->state == SYNC_TASK_DUE ||
            task->repeat_at_ms > event->now_ms)
            continue;
        if (task->repeats++ >= sync->options.repeats_max) {
            abandon_walk(sync, event, effects, "no answer");
            return;
        }
        postpone(task, task->state == SYNC_TASK_ASKING ? SYNC_TASK_SCANNING : task->state,
                 event->now_ms);
    }
}

static void dispatch(struct sync *sync, const struct sync_event *event,
                     struct sync_effects *effects)
{
    switch (event->type) {
    case SYNC_TICK: break;
    case SYNC_HELLO: on_hello(sync, event, effects); break;
    case SYNC_UNREACHABLE:
        sync->hello.version = (struct ring_version){0, NODE_NONE};
        sync->is_differing = false;
        if (sync->is_walking)
            abandon_walk(sync, event, effects, "it is not reachable");
        break;
    case SYNC_COMPARED: on_compared(sync, event, effects); break;
    case SYNC_SCANNED: on_scanned(sync, event, effects); break;
    case SYNC_DIFFERENCE:
        if (event->difference->answer == EXCHANGE_DONE) {
            on_difference(sync, event);
            break;
        }
        struct sync_task *task = task_of(sync, event->difference->head.number, SYNC_TASK_ASKING);
        if (task != NULL)
            is_refused(sync, task, SYNC_TASK_SCANNING, event->difference->answer, event, effects);
        break;
    case SYNC_STORED: on_stored(sync, event, effects); break;
    }
}

/* When to go on with a walk. */
static uint64_t walk_wake_ms(const struct sync *sync, const struct sync_event *event)
{
    uint64_t wake_ms = UINT64_MAX;
    uint64_t ready_ms = token_bucket_ready_ms(event->bucket);

    for (unsigned i = 0; i < sync->options.window; i++) {
        const struct sync_task *task = &sync->tasks[i];
        uint64_t at_ms = task->repeat_at_ms;
        if (task->state == SYNC_TASK_FREE)
            continue;
        if (task->state == SYNC_TASK_DUE && at_ms < ready_ms)
            at_ms = ready_ms;
        if (at_ms < wake_ms)
            wake_ms = at_ms;
    }
    return wake_ms;
}

void sync_step(struct sync *sync, const struct sync_event *event, struct sync_effects *effects)
{
    uint64_t lowest;

    assert(effects->message_count == 0);
    assert(effects->scan_count == 0);
    assert(event->view->self != sync->peer);
    if (sync->is_walking &&
        ring_version_compare(sync->began.version, event->view->table->version) != 0)
        abandon_walk(sync, event, effects, "there is a new table");
    if (sync->is_walking && event->view->is_after_cut)
        abandon_walk(sync, event, effects, "this node was cut off");
    dispatch(sync, event, effects);
    if (sync->is_walking)
        on_late(sync, event, effects);
    sync->wake_ms = UINT64_MAX; /* else a hello wakes it */
    if (!sync->is_walking)
        return;
    walk_on(sync, event, effects);
    report(sync, event, effects);
    sync->wake_ms = walk_wake_ms(sync, event);
    if (!lowest_left(sync, &lowest)) {
        finish_walk(sync, event, effects);
        sync->wake_ms = UINT64_MAX;
    }
}

void sync_hurry(struct sync *sync)
{
    sync->is_resting = false;
    sync->pause_ms = sync->options.pause_min_ms;
    sync->ended_ms = 0;
}

uint64_t sync_deadline_ms(const struct sync *sync)
{
    return sync->wake_ms;
}
