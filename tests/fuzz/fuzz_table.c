/* Any bytes, as a whole ring table (if the first is even) or as a difference to a table of five
 * members and eight partitions.  What is taken must be sound, and encode to the same bytes. */
#include "ring/table.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ring_table base, read;
static unsigned char base_rows[RING_ROWS_BYTES_MAX], read_rows[RING_ROWS_BYTES_MAX];
static unsigned char again[RING_TABLE_BYTES_MAX];

static void make_base(void)
{
    ring_table_init(&base, 3, 3, base_rows, sizeof base_rows);
    base.version = (struct ring_version){7, 101};
    base.member_count = 5;
    for (unsigned i = 0; i < base.member_count; i++)
        base.members[i] = (struct ring_member){101 + i, i % 3, 1};
    for (unsigned p = 0; p < ring_table_partitions(&base); p++)
        for (unsigned i = 0; i < base.copies; i++)
            base.rows[p * base.copies + i] = (unsigned char)((p + i) % base.member_count);
}

static void require_same(size_t size, struct slice input)
{
    if (ring_table_is_sound(&read) && slice_equal((struct slice){again, size}, input))
        return;
    fprintf(stderr, "fuzz_table: a table was taken that is unsound or encodes otherwise\n");
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice input = {data + 1, size - 1};
    ring_table_init(&read, 0, 1, read_rows, sizeof read_rows);
    if (data[0] % 2 == 0) {
        if (ring_table_decode(&read, input))
            require_same(ring_table_encode(&read, again), input);
        return 0;
    }
    make_base();
    if (ring_table_apply_difference(&read, &base, input) == RING_APPLIED)
        require_same(ring_table_encode_difference(&base, &read, again, sizeof again), input);
    return 0;
}
