/* `stats hotkeys`: the keys asked for most, and which part of all operations each has. */
#include "server/hot_keys.h"
#include "server/key_text.h"
#include "server/stats.h"
#include <stdio.h>

static void write_percent(const struct stats_writer *writer, unsigned rank, const char *field,
                          uint64_t part, uint64_t whole)
{
    char name[32];

    snprintf(name, sizeof name, "%u:%s", rank, field);
    stats_format(writer, name, "%.2f", 100.0 * (double)part / (double)whole);
}

void stats_hotkeys(const struct stats_writer *writer)
{
    struct hot_keys_list list;
    char name[32], text[KEY_TEXT_BYTES];

    hot_keys_list_begin(&list);
    for (unsigned i = 0; i < workers_count(); i++)
        hot_keys_list_add(&list, workers_get(i)->hot_keys);
    hot_keys_list_end(&list);
    stats_u64(writer, "operations_sampled", list.sampled);
    stats_u64(writer, "operations_per_sample", HOT_KEYS_INTERVAL);
    for (unsigned i = 0; i < list.count; i++) {
        const struct hot_key *key = &list.keys[i];

        snprintf(name, sizeof name, "%u:key", i + 1);
        stats_text(writer, name, key_text((struct slice){key->key, key->key_bytes}, text));
        write_percent(writer, i + 1, "percent", key->count, list.sampled);
        write_percent(writer, i + 1, "percent_at_least", key->count - key->too_much, list.sampled);
    }
}

void stats_hotkeys_reset(void)
{
    for (unsigned i = 0; i < workers_count(); i++)
        hot_keys_clear(workers_get(i)->hot_keys);
}
