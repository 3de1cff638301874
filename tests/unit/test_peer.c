#include "protocol/peer.h"
#include "protocol/peer_tables.h"
#include "ring/bytes.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* after those */
#include <cmocka.h>

#define FRAME_BYTES_MAX (256 * 1024)
#define CELLS           EXCHANGE_KEYS_MAX
#define SIBLINGS        2048
#define ROUNDS          300

/* Where a message lives that is made up or was read. */
struct holder {
    struct peer_message message;
    struct cell cells[CELLS];
    struct sibling siblings[SIBLINGS];
    struct peer_room room;
};

static struct holder made, read;
static unsigned char frame[FRAME_BYTES_MAX], again[FRAME_BYTES_MAX], text[64 * 1024];

static void holder_init(struct holder *holder)
{
    memset(&holder->message, 0, sizeof holder->message);
    holder->room = (struct peer_room){.cells = holder->cells,
                                      .cell_room = CELLS,
                                      .siblings = holder->siblings,
                                      .sibling_room = SIBLINGS};
}

/* One walk writes what several do, in just the room that it takes, and not in less. */
static void check_one_walk(const struct peer_message *message, const unsigned char *head,
                           size_t head_bytes, unsigned value_count)
{
    static unsigned char other[FRAME_BYTES_MAX];
    static struct slice values[SIBLINGS];
    unsigned count;

    for (size_t more = 0; more < 20; more++) {
        assert_int_equal(peer_encode(message, other, head_bytes + more, values, SIBLINGS, &count),
                         head_bytes);
        assert_int_equal(count, value_count);
        assert_memory_equal(other, head, head_bytes);
    }
    if (head_bytes > PEER_HEADER_BYTES)
        assert_int_equal(peer_encode(message, other, head_bytes - 1, values, SIBLINGS, &count), 0);
    if (value_count > 0)
        assert_int_equal(peer_encode(message, other, head_bytes, values, value_count - 1, &count),
                         0);
}

static size_t encode(const struct peer_message *message, unsigned char *out)
{
    static struct slice values[SIBLINGS];
    size_t used = peer_encode_head(message, out);
    unsigned count = peer_values(message, values, SIBLINGS);

    assert_int_equal(used, peer_head_bytes(message));
    assert_int_equal(peer_values(message, NULL, 0), count);
    check_one_walk(message, out, used, count);
    for (unsigned i = 0; i < count; i++) {
        memcpy(out + used, values[i].bytes, values[i].size);
        used += values[i].size;
    }
    assert_int_equal(used, peer_head_bytes(message) + peer_value_bytes(message));
    assert_int_equal(bytes_read_u32(out) + PEER_SIZE_BYTES, used);
    return used;
}

static enum peer_parse parse(struct holder *holder, const unsigned char *bytes, size_t size)
{
    uint64_t frame_bytes;

    holder_init(holder);
    return peer_parse((struct slice){bytes, size}, FRAME_BYTES_MAX, &holder->room, &holder->message,
                      &frame_bytes);
}

/* ---- messages made up from the tables ---- */

static const struct cell *make_cell(struct random *random, struct holder *holder)
{
    struct peer_room *room = &holder->room;
    unsigned count = random_below(random, 4);

    if (room->cell_count == CELLS || room->sibling_count + count > SIBLINGS)
        return NULL;
    struct cell *cell = &holder->cells[room->cell_count++];
    cell_init(cell, holder->siblings + room->sibling_count, count);
    room->sibling_count += count;
    for (unsigned i = 0; i < count; i++) {
        struct dot dot = {1 + i, 1 + random_below(random, 1000)};
        uint32_t bytes = random_below(random, 100);
        cell->siblings[i] =
            random_chance(random, 70)
                ? sibling_of_value(dot, 0, 5, bytes, 9, (uint64_t)(uintptr_t)(text + i))
                : sibling_of_tombstone(dot);
        cell->sibling_count++;
        context_add(&cell->context, (struct interval){dot.node, 0, dot.hlc});
    }
    assert_true(cell_is_sound(cell));
    return cell;
}

static void put_number(unsigned char *member, unsigned bytes, uint64_t number)
{
    memcpy(member, &number, bytes); /* as the machine has it: little-endian */
}

/* Counts are small, and of one byte or more. */
static unsigned get_count(const struct peer_field *table, const struct peer_field *field,
                          const unsigned char *base)
{
    while (table->kind != PEER_FIELD_NUMBER || table->at != field->count_at)
        table++;
    return base[table->at] | (table->bytes == 1 ? 0u : (unsigned)base[table->at + 1] << 8);
}

static void make_fields(struct random *, const struct peer_field *, unsigned char *base,
                        struct holder *);

static void make_field(struct random *random, const struct peer_field *table,
                       const struct peer_field *field, unsigned char *base, struct holder *holder)
{
    unsigned char *member = base + field->at;
    struct exchange_compare *compare = (void *)base;
    struct slice slice = {text, 0};
    unsigned count;

    switch ((enum peer_field_kind)field->kind) {
    case PEER_FIELD_END: break;
    case PEER_FIELD_NUMBER:
        put_number(member, field->bytes,
                   field->max == UINT64_MAX
                       ? random_next(random)
                       : field->min + random_next(random) % (field->max + 1 - field->min));
        break;
    case PEER_FIELD_BLOB: random_fill(random, member, field->bytes); break;
    case PEER_FIELD_SLICE:
    case PEER_FIELD_VALUE:
        slice.size = random_below(random, field->max < 300 ? (unsigned)field->max + 1 : 300);
        memcpy(member, &slice, sizeof slice);
        break;
    case PEER_FIELD_CELL: {
        const struct cell *cell = random_chance(random, 80) ? make_cell(random, holder) : NULL;
        memcpy(member, &cell, sizeof(struct cell *));
        break;
    }
    case PEER_FIELD_ARRAY:
        count = get_count(table, field, base);
        for (unsigned i = 0; i < count; i++)
            make_fields(random, field->fields, member + i * field->bytes, holder);
        break;
    case PEER_FIELD_BITS:
        count = get_count(table, field, base);
        for (unsigned i = 0; i < count; i += 64)
            put_number(member + i / 8, 8, random_next(random));
        break;
    case PEER_FIELD_PARTS:
        compare->parent.depth %= 60;
        compare->depth = compare->parent.depth + random_below(random, EXCHANGE_CHILD_BITS);
        random_fill(random, (unsigned char *)compare->sums, sizeof compare->sums);
        break;
    }
}

static void make_fields(struct random *random, const struct peer_field *fields, unsigned char *base,
                        struct holder *holder)
{
    for (const struct peer_field *field = fields; field->kind != PEER_FIELD_END; field++)
        make_field(random, fields, field, base, holder);
}

static size_t make_frame(struct random *random, enum peer_type type)
{
    holder_init(&made);
    made.message.type = type;
    make_fields(random, peer_fields(type), (unsigned char *)&made.message.hello, &made);
    return encode(&made.message, frame);
}

static void every_message_reads_back_as_it_was_written(void **state)
{
    struct random random = {1};

    (void)state;
    random_fill(&random, text, sizeof text);
    for (unsigned type = PEER_HELLO; type < PEER_TYPE_END; type++) {
        for (unsigned round = 0; round < ROUNDS; round++) {
            size_t size = make_frame(&random, type);
            assert_int_equal(parse(&read, frame, size), PEER_PARSED);
            assert_int_equal(read.message.type, type);
            assert_int_equal(encode(&read.message, again), size);
            assert_memory_equal(frame, again, size);
        }
    }
}

static void a_frame_is_complete_or_waited_for(void **state)
{
    struct random random = {2};

    (void)state;
    for (unsigned type = PEER_HELLO; type < PEER_TYPE_END; type++) {
        size_t size = make_frame(&random, type);
        for (size_t cut = 0; cut < size; cut += 1 + cut / 64) {
            uint64_t frame_bytes;
            holder_init(&read);
            assert_int_equal(peer_parse((struct slice){frame, cut}, FRAME_BYTES_MAX, &read.room,
                                        &read.message, &frame_bytes),
                             PEER_MORE);
            assert_int_equal(frame_bytes, cut < PEER_SIZE_BYTES ? 0 : size);
        }
    }
}

static void a_frame_that_says_a_wrong_size_is_bad(void **state)
{
    struct random random = {3};

    (void)state;
    for (unsigned type = PEER_HELLO; type < PEER_TYPE_END; type++) {
        size_t size = make_frame(&random, type);
        bytes_write_u32(frame, (uint32_t)(size - PEER_SIZE_BYTES + 1));
        frame[size] = 0;
        assert_int_equal(parse(&read, frame, size + 1), PEER_BAD);
        bytes_write_u32(frame, (uint32_t)(size - PEER_SIZE_BYTES - 1));
        assert_int_equal(parse(&read, frame, size), PEER_BAD);
    }
}

static void a_damaged_frame_is_bad_or_another_frame(void **state)
{
    struct random random = {4};

    (void)state;
    for (unsigned round = 0; round < 50 * ROUNDS; round++) {
        size_t size = make_frame(&random, PEER_HELLO + round % (PEER_TYPE_END - PEER_HELLO));
        size_t at = PEER_SIZE_BYTES + random_below(&random, (unsigned)(size - PEER_SIZE_BYTES));
        frame[at] ^= (unsigned char)(1u << random_below(&random, 8));
        if (parse(&read, frame, size) != PEER_PARSED)
            continue;
        assert_int_equal(encode(&read.message, again), size);
        assert_memory_equal(frame, again, size);
    }
}

static void frames_over_the_bound_and_unknown_types_are_bad_at_once(void **state)
{
    unsigned char head[PEER_HEADER_BYTES] = {0, 0, 0, 1, PEER_PING};

    (void)state;
    assert_int_equal(parse(&read, head, PEER_SIZE_BYTES), PEER_BAD);
    memcpy(head, (unsigned char[]){9, 0, 0, 0, PEER_TYPE_END}, sizeof head);
    assert_int_equal(parse(&read, head, sizeof head), PEER_BAD);
    memcpy(head, (unsigned char[]){9, 0, 0, 0, 0}, sizeof head);
    assert_int_equal(parse(&read, head, sizeof head), PEER_BAD);
    memcpy(head, (unsigned char[]){0, 0, 0, 0, PEER_PING}, sizeof head);
    assert_int_equal(parse(&read, head, sizeof head), PEER_BAD);
}

static void values_stand_behind_the_head_and_are_found_by_their_siblings(void **state)
{
    struct sibling siblings[2] = {
        sibling_of_value((struct dot){1, 10}, 0, 0, 3, 7, (uint64_t)(uintptr_t) "one"),
        sibling_of_value((struct dot){2, 20}, 0, 0, 5, 8, (uint64_t)(uintptr_t) "three"),
    };
    struct cell cell;
    struct peer_message message = {
        .type = PEER_STORE,
        .store = {.request = {.operation = 5, .cell = &cell}, .key = SLICE("key")},
    };

    (void)state;
    cell_init(&cell, siblings, 2);
    cell.sibling_count = 2;
    size_t size = encode(&message, frame);
    assert_memory_equal(frame + size - 8, "onethree", 8);
    assert_int_equal(peer_value_bytes(&message), 8);
    assert_int_equal(parse(&read, frame, size), PEER_PARSED);
    assert_true(slice_equal(read.message.store.key, SLICE("key")));
    const struct cell *got = read.message.store.request.cell;
    assert_int_equal(got->sibling_count, 2);
    assert_memory_equal((const void *)(uintptr_t)got->siblings[0].value, "one", 3);
    assert_memory_equal((const void *)(uintptr_t)got->siblings[1].value, "three", 5);
}

static void cells_that_do_not_fit_the_room_ask_for_more(void **state)
{
    struct random random = {5};
    uint64_t frame_bytes;

    (void)state;
    do
        make_frame(&random, PEER_CELLS);
    while (made.room.sibling_count < 2);
    size_t size = encode(&made.message, frame);
    holder_init(&read);
    read.room.sibling_room = made.room.sibling_count - 1;
    assert_int_equal(peer_parse((struct slice){frame, size}, FRAME_BYTES_MAX, &read.room,
                                &read.message, &frame_bytes),
                     PEER_ROOM);
    read.room.sibling_room = made.room.sibling_count;
    assert_int_equal(peer_parse((struct slice){frame, size}, FRAME_BYTES_MAX, &read.room,
                                &read.message, &frame_bytes),
                     PEER_PARSED);
}

static void a_command_travels_without_what_its_verb_does_not_use(void **state)
{
    struct operation operation;
    struct peer_message message = {.type = PEER_FORWARD};

    (void)state;
    memset(&operation, 0xa5, sizeof operation);
    operation.verb = VERB_STORE;
    operation.mode = STORE_APPEND;
    operation.protocol = PROTOCOL_TEXT;
    operation.options = OPERATION_COMPARE_CAS;
    operation.key = SLICE("key");
    operation.value = SLICE("value");
    operation.client_flags = 7;
    operation.exptime = -1;
    operation.cas_compare = 99;
    message.forward.request.class = REQUEST_DECIDED;
    message.forward.operation = peer_operation(&operation);
    assert_int_equal(parse(&read, frame, encode(&message, frame)), PEER_PARSED);
    const struct operation *got = &read.message.forward.operation;
    assert_int_equal(got->mode, STORE_APPEND);
    assert_true(slice_equal(got->value, SLICE("value")));
    assert_int_equal(got->client_flags, 7);
    assert_int_equal(got->exptime, -1);
    assert_int_equal(got->cas_compare, 99);
    assert_int_equal(got->cas_new, 0);
    assert_int_equal(got->delta, 0);
    assert_int_equal(got->meta_flags.size, 0);
}

static void an_outcome_may_tell_the_size_of_a_value_that_stays_away(void **state)
{
    struct peer_message message = {.type = PEER_FORWARDED};

    (void)state;
    message.forwarded.reply.answer = ANSWER_DONE;
    message.forwarded.outcome.value = (struct slice){NULL, 12345};
    message.forwarded.outcome.ttl_s = -1;
    assert_int_equal(parse(&read, frame, encode(&message, frame)), PEER_PARSED);
    assert_null(read.message.forwarded.outcome.value.bytes);
    assert_int_equal(read.message.forwarded.outcome.value.size, 12345);
    assert_int_equal(read.message.forwarded.outcome.ttl_s, -1);
}

/* ---- that nothing is left at home ---- */

static bool travels[sizeof(struct peer_message)];

static void mark_fields(const struct peer_field *fields, size_t base)
{
    for (const struct peer_field *field = fields; field->kind != PEER_FIELD_END; field++) {
        size_t at = base + field->at, bytes = field->bytes;
        switch ((enum peer_field_kind)field->kind) {
        case PEER_FIELD_END:
        case PEER_FIELD_NUMBER:
        case PEER_FIELD_BLOB: break;
        case PEER_FIELD_SLICE:
        case PEER_FIELD_VALUE: bytes = sizeof(struct slice); break;
        case PEER_FIELD_CELL: bytes = sizeof(struct cell *); break;
        case PEER_FIELD_ARRAY: break;
        case PEER_FIELD_BITS: bytes = EXCHANGE_KEYS_MAX / 8; break;
        case PEER_FIELD_PARTS:
            at = offsetof(struct exchange_compare, sums);
            bytes = sizeof(((struct exchange_compare *)NULL)->sums);
            break;
        }
        if (field->kind == PEER_FIELD_ARRAY)
            mark_fields(field->fields, at); /* the first one stands for all */
        else
            memset(travels + at, true, bytes);
    }
}

/* A field that is added to a message in ring/ but not to its table here would silently be 0 at the
 * receiver.  So for each type: the size of its struct without the arrays but their first element,
 * and how many bytes of that do not travel: padding; of a ping the ids in its hello; of a command
 * the hash, what is rejected or closes, arguments and storage. */
static void every_field_of_every_message_travels(void **state)
{
    static const size_t later_keys = (EXCHANGE_KEYS_MAX - 1) * sizeof(struct exchange_key),
                        later_hashes = (EXCHANGE_KEYS_MAX - 1) * sizeof(uint64_t),
                        later_cells = (EXCHANGE_KEYS_MAX - 1) *
                                      (sizeof(struct slice) + sizeof(struct exchange_cell)),
                        later_dots = (EXCHANGE_KEYS_MAX - 1) * sizeof(struct exchange_dot),
                        later_tried = (FORWARD_TRIED_MAX - 1) * sizeof(node_id);
    static const struct {
        size_t bytes, left_out;
    } structs[PEER_TYPE_END] = {
        [PEER_HELLO] = {sizeof(struct peer_hello), 9},
        [PEER_PROOF] = {sizeof(struct peer_proof), 0},
        [PEER_REFUSED] = {sizeof(struct peer_refused), 0},
        [PEER_PING] = {sizeof(struct peer_ping), 24},
        [PEER_FETCH] = {sizeof(struct peer_fetch), 3},
        [PEER_FETCHED] = {sizeof(struct fetch_reply), 6},
        [PEER_STORE] = {sizeof(struct peer_store), 3},
        [PEER_STORED] = {sizeof(struct store_reply), 7},
        [PEER_FORWARD] = {sizeof(struct peer_forward) - later_tried, 58},
        [PEER_FORWARDED] = {sizeof(struct peer_forwarded), 10},
        [PEER_HINT] = {sizeof(struct peer_hint), 0},
        [PEER_HINT_ACK] = {sizeof(struct hint_ack), 4},
        [PEER_COMPARE] = {sizeof(struct exchange_compare), 12},
        [PEER_COMPARED] = {sizeof(struct exchange_compared), 4},
        [PEER_DIGESTS] = {sizeof(struct exchange_digests) - later_keys, 18},
        [PEER_DIFFERENCE] = {sizeof(struct peer_difference) - later_hashes - later_cells, 16},
        [PEER_CELLS] = {sizeof(struct peer_cells) - later_cells, 11},
        [PEER_CELLS_STORED] = {sizeof(struct exchange_stored), 4},
        [PEER_KNOW] = {sizeof(struct exchange_know) - later_dots, 4},
        [PEER_KNOWN] = {sizeof(struct exchange_known), 4},
        [PEER_CLAIMANT] = {sizeof(struct claimant_message), 4},
        [PEER_RESTART_ASK] = {sizeof(struct restart_ask), 0},
        [PEER_RESTART_ANSWER] = {sizeof(struct peer_restart_answer), 10},
        [PEER_RESTART_JOIN] = {sizeof(struct restart_join), 7},
        [PEER_RESTART_JOINED] = {sizeof(struct peer_restart_joined), 8},
    };

    (void)state;
    for (unsigned type = PEER_HELLO; type < PEER_TYPE_END; type++) {
        size_t count = 0;
        memset(travels, 0, sizeof travels);
        mark_fields(peer_fields(type), 0);
        for (size_t i = 0; i < sizeof travels; i++)
            count += travels[i];
        if (structs[type].bytes - count != structs[type].left_out)
            fail_msg("%s: %zu bytes do not travel", peer_type_name(type),
                     structs[type].bytes - count);
    }
}

static void every_type_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned a = PEER_HELLO; a < PEER_TYPE_END; a++)
        for (unsigned b = PEER_HELLO; b < a; b++)
            assert_string_not_equal(peer_type_name(a), peer_type_name(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_reads_back_as_it_was_written),
        cmocka_unit_test(a_frame_is_complete_or_waited_for),
        cmocka_unit_test(a_frame_that_says_a_wrong_size_is_bad),
        cmocka_unit_test(a_damaged_frame_is_bad_or_another_frame),
        cmocka_unit_test(frames_over_the_bound_and_unknown_types_are_bad_at_once),
        cmocka_unit_test(values_stand_behind_the_head_and_are_found_by_their_siblings),
        cmocka_unit_test(cells_that_do_not_fit_the_room_ask_for_more),
        cmocka_unit_test(a_command_travels_without_what_its_verb_does_not_use),
        cmocka_unit_test(an_outcome_may_tell_the_size_of_a_value_that_stays_away),
        cmocka_unit_test(every_field_of_every_message_travels),
        cmocka_unit_test(every_type_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
