/* A libmemcached client that tries each command, for the conformance tests.
 *
 *     client_libmemcached text|binary|noreply|buffered HOST PORT
 *     client_libmemcached text|binary|noreply|buffered unix PATH
 *
 * Prints a line per test, `ok NAME` or `not ok NAME`, and ends with 1 when one failed.  What each
 * test needs it stores itself, under keys of its own. */

#include <inttypes.h>
#include <libmemcached/memcached.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGE_BYTES = 900000, MANY_KEYS = 500, KEY_BYTES_MAX = 250 };

struct client {
    memcached_st *memc;
    bool is_binary;
};

static bool failed_at(const char *what, int line)
{
    printf("# line %d: %s\n", line, what);
    return false;
}

#define CHECK(fact)                                                                                \
    do {                                                                                           \
        if (!(fact))                                                                               \
            return failed_at(#fact, __LINE__);                                                     \
    } while (0)

static memcached_return_t store(struct client *client, const char *key, const char *value)
{
    return memcached_set(client->memc, key, strlen(key), value, strlen(value), 0, 0);
}

/* Whether `key` holds `value`, and with `flags`. */
static bool holds(struct client *client, const char *key, const char *value, uint32_t flags)
{
    memcached_return_t answer;
    size_t value_bytes = 0;
    uint32_t flags_found = 0;
    char *found = memcached_get(client->memc, key, strlen(key), &value_bytes, &flags_found, &answer);
    bool same = answer == MEMCACHED_SUCCESS && flags_found == flags && value_bytes == strlen(value);

    /* It gives NULL for a value of no bytes. */
    same = same && (value_bytes == 0 || memcmp(found, value, value_bytes) == 0);

    free(found);
    return same;
}

static bool is_gone(struct client *client, const char *key)
{
    return memcached_exist(client->memc, key, strlen(key)) == MEMCACHED_NOTFOUND;
}

/* Success, or with unread replies the fact that it was sent. */
static bool is_done(memcached_return_t answer)
{
    return answer == MEMCACHED_SUCCESS || answer == MEMCACHED_BUFFERED || answer == MEMCACHED_STORED;
}

static bool test_set_and_get(struct client *client)
{
    CHECK(is_done(store(client, "set", "a value")));
    CHECK(holds(client, "set", "a value", 0));
    CHECK(is_done(memcached_set(client->memc, "set", 3, "flags", 5, 100, 0xdeadbeef)));
    CHECK(holds(client, "set", "flags", 0xdeadbeef));
    CHECK(is_done(store(client, "set", "")));
    CHECK(holds(client, "set", "", 0));
    return true;
}

static bool test_a_missing_key(struct client *client)
{
    memcached_return_t answer;
    size_t value_bytes;
    uint32_t flags;

    CHECK(memcached_get(client->memc, "missing", 7, &value_bytes, &flags, &answer) == NULL);
    CHECK(answer == MEMCACHED_NOTFOUND);
    CHECK(memcached_exist(client->memc, "missing", 7) == MEMCACHED_NOTFOUND);
    return true;
}

static bool test_add_and_replace(struct client *client)
{
    CHECK(is_done(memcached_add(client->memc, "add", 3, "1", 1, 0, 7)));
    CHECK(holds(client, "add", "1", 7));
    memcached_return_t answer = memcached_add(client->memc, "add", 3, "2", 1, 0, 0);
    CHECK(answer == MEMCACHED_NOTSTORED || answer == MEMCACHED_DATA_EXISTS);
    CHECK(holds(client, "add", "1", 7));
    CHECK(is_done(memcached_replace(client->memc, "add", 3, "3", 1, 0, 9)));
    CHECK(holds(client, "add", "3", 9));
    answer = memcached_replace(client->memc, "nothing", 7, "1", 1, 0, 0);
    CHECK(answer == MEMCACHED_NOTSTORED || answer == MEMCACHED_NOTFOUND);
    CHECK(is_gone(client, "nothing"));
    return true;
}

static bool test_append_and_prepend(struct client *client)
{
    CHECK(is_done(memcached_set(client->memc, "app", 3, "b", 1, 0, 5)));
    CHECK(is_done(memcached_append(client->memc, "app", 3, "c", 1, 0, 0)));
    CHECK(is_done(memcached_prepend(client->memc, "app", 3, "a", 1, 0, 0)));
    CHECK(holds(client, "app", "abc", 5));
    memcached_return_t answer = memcached_append(client->memc, "nothing", 7, "1", 1, 0, 0);
    CHECK(answer == MEMCACHED_NOTSTORED);
    return true;
}

static bool test_delete(struct client *client)
{
    CHECK(is_done(store(client, "del", "1")));
    CHECK(is_done(memcached_delete(client->memc, "del", 3, 0)));
    CHECK(is_gone(client, "del"));
    memcached_return_t answer = memcached_delete(client->memc, "del", 3, 0);
    CHECK(answer == MEMCACHED_NOTFOUND);
    return true;
}

static bool test_incr_and_decr(struct client *client)
{
    uint64_t value = 0;

    CHECK(is_done(store(client, "num", "10")));
    CHECK(memcached_increment(client->memc, "num", 3, 5, &value) == MEMCACHED_SUCCESS);
    CHECK(value == 15);
    CHECK(memcached_decrement(client->memc, "num", 3, 7, &value) == MEMCACHED_SUCCESS);
    CHECK(value == 8);
    CHECK(memcached_decrement(client->memc, "num", 3, 100, &value) == MEMCACHED_SUCCESS);
    CHECK(value == 0);
    CHECK(memcached_increment(client->memc, "nonum", 5, 1, &value) == MEMCACHED_NOTFOUND);
    return true;
}

static bool test_incr_that_creates(struct client *client)
{
    uint64_t value = 0;

    if (!client->is_binary)
        return true;                /* the text protocol has no such command */
    CHECK(memcached_increment_with_initial(client->memc, "init", 4, 5, 100, 0, &value)
          == MEMCACHED_SUCCESS);
    CHECK(value == 100);
    CHECK(memcached_increment_with_initial(client->memc, "init", 4, 5, 100, 0, &value)
          == MEMCACHED_SUCCESS);
    CHECK(value == 105);
    CHECK(memcached_decrement_with_initial(client->memc, "init", 4, 6, 100, 0, &value)
          == MEMCACHED_SUCCESS);
    CHECK(value == 99);
    return true;
}

/* Fetches one key with its cas. */
static uint64_t cas_of(struct client *client, const char *key)
{
    const char *keys[] = { key };
    size_t key_bytes[] = { strlen(key) };
    memcached_return_t answer;

    if (memcached_mget(client->memc, keys, key_bytes, 1) != MEMCACHED_SUCCESS)
        return 0;
    memcached_result_st *result = memcached_fetch_result(client->memc, NULL, &answer);
    uint64_t cas = result == NULL ? 0 : memcached_result_cas(result);
    memcached_result_free(result);
    while ((result = memcached_fetch_result(client->memc, NULL, &answer)) != NULL)
        memcached_result_free(result);
    return cas;
}

static bool test_cas(struct client *client)
{
    CHECK(memcached_behavior_set(client->memc, MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1)
          == MEMCACHED_SUCCESS);
    CHECK(is_done(store(client, "cas", "1")));
    uint64_t first = cas_of(client, "cas");
    CHECK(first != 0);
    CHECK(is_done(memcached_cas(client->memc, "cas", 3, "2", 1, 0, 0, first)));
    CHECK(holds(client, "cas", "2", 0));
    CHECK(cas_of(client, "cas") != first);
    memcached_return_t answer = memcached_cas(client->memc, "cas", 3, "3", 1, 0, 0, first);
    CHECK(answer == MEMCACHED_DATA_EXISTS);
    CHECK(holds(client, "cas", "2", 0));
    return true;
}

static bool test_many_keys_at_once(struct client *client)
{
    static char names[MANY_KEYS][32];
    const char *keys[MANY_KEYS];
    size_t key_bytes[MANY_KEYS];
    memcached_return_t answer;

    for (unsigned i = 0; i < MANY_KEYS; i++) {
        key_bytes[i] = (size_t)snprintf(names[i], sizeof names[i], "many-%u", i);
        keys[i] = names[i];
        if (i % 3 != 0)
            CHECK(is_done(memcached_set(client->memc, keys[i], key_bytes[i], names[i],
                                        key_bytes[i], 0, i)));
    }
    CHECK(memcached_mget(client->memc, keys, key_bytes, MANY_KEYS) == MEMCACHED_SUCCESS);
    unsigned found = 0;
    memcached_result_st *result;
    while ((result = memcached_fetch_result(client->memc, NULL, &answer)) != NULL) {
        CHECK(memcached_result_length(result) == memcached_result_key_length(result));
        CHECK(memcmp(memcached_result_value(result), memcached_result_key_value(result),
                     memcached_result_length(result)) == 0);
        CHECK(memcached_result_flags(result) % 3 != 0);
        memcached_result_free(result);
        found++;
    }
    CHECK(found == MANY_KEYS - (MANY_KEYS + 2) / 3);
    return true;
}

static bool test_a_large_value(struct client *client)
{
    static char large[LARGE_BYTES];
    memcached_return_t answer;
    size_t value_bytes = 0;
    uint32_t flags;

    for (unsigned i = 0; i < LARGE_BYTES; i++)
        large[i] = (char)(i * 31);
    CHECK(is_done(memcached_set(client->memc, "large", 5, large, LARGE_BYTES, 0, 0)));
    char *found = memcached_get(client->memc, "large", 5, &value_bytes, &flags, &answer);
    bool same = found != NULL && value_bytes == LARGE_BYTES
                && memcmp(found, large, LARGE_BYTES) == 0;
    free(found);
    CHECK(same);
    return true;
}

static bool test_too_large_a_value(struct client *client)
{
    char *large = calloc(1, 3000000);
    CHECK(large != NULL);
    memcached_return_t answer = memcached_set(client->memc, "toolarge", 8, large, 3000000, 0, 0);
    free(large);
    CHECK(!is_done(answer));
    CHECK(is_done(store(client, "afterwards", "1")));
    CHECK(holds(client, "afterwards", "1", 0));
    return true;
}

static bool test_the_longest_key(struct client *client)
{
    char key[KEY_BYTES_MAX + 1];

    memset(key, 'k', KEY_BYTES_MAX);
    key[KEY_BYTES_MAX] = '\0';
    CHECK(is_done(store(client, key, "1")));
    CHECK(holds(client, key, "1", 0));
    return true;
}

static bool test_touch(struct client *client)
{
    CHECK(is_done(store(client, "touch", "1")));
    CHECK(memcached_touch(client->memc, "touch", 5, 1000) == MEMCACHED_SUCCESS);
    CHECK(holds(client, "touch", "1", 0));
    CHECK(memcached_touch(client->memc, "untouched", 9, 1000) == MEMCACHED_NOTFOUND);
    CHECK(memcached_exist(client->memc, "touch", 5) == MEMCACHED_SUCCESS);
    return true;
}

static bool test_version(struct client *client)
{
    CHECK(memcached_version(client->memc) == MEMCACHED_SUCCESS);
    const memcached_instance_st *server = memcached_server_instance_by_position(client->memc, 0);
    CHECK(memcached_server_major_version(server) == 1);
    CHECK(memcached_server_minor_version(server) == 6);
    CHECK(memcached_server_micro_version(server) == 45);
    return true;
}

static bool test_stats(struct client *client)
{
    memcached_return_t answer;
    memcached_stat_st *stats = memcached_stat(client->memc, NULL, &answer);

    CHECK(stats != NULL);
    CHECK(answer == MEMCACHED_SUCCESS);
    char *items = memcached_stat_get_value(client->memc, stats, "curr_items", &answer);
    CHECK(items != NULL);
    bool some = strtoul(items, NULL, 10) > 0;
    free(items);
    CHECK(some);
    CHECK(stats->pointer_size == 64);
    CHECK(strcmp(stats->version, "1.6.45") == 0);
    memcached_stat_free(client->memc, stats);
    return true;
}

static memcached_return_t count_key(const memcached_st *memc, const char *key, size_t key_bytes,
                                    void *context)
{
    (void)memc;
    (void)key;
    (void)key_bytes;
    ++*(unsigned *)context;
    return MEMCACHED_SUCCESS;
}

static bool test_dump(struct client *client)
{
    unsigned count = 0;
    memcached_dump_fn functions[] = { count_key };

    if (client->is_binary)
        return true;                /* libmemcached dumps over text only */
    CHECK(is_done(store(client, "dumped", "1")));
    memcached_return_t answer = memcached_dump(client->memc, functions, &count, 1);
    CHECK(answer == MEMCACHED_SUCCESS || answer == MEMCACHED_NOTFOUND);
    return true;
}

static bool test_verbosity(struct client *client)
{
    if (client->is_binary)
        return true;                /* no such opcode in memcached either */
    CHECK(memcached_verbosity(client->memc, 0) == MEMCACHED_SUCCESS);
    return true;
}

static bool test_expiry(struct client *client)
{
    CHECK(is_done(memcached_set(client->memc, "short", 5, "1", 1, 1, 0)));
    CHECK(is_done(memcached_set(client->memc, "long", 4, "1", 1, 1000, 0)));
    sleep(3);
    CHECK(is_gone(client, "short"));
    CHECK(holds(client, "long", "1", 0));
    return true;
}

static bool test_flush(struct client *client)
{
    CHECK(is_done(store(client, "flush", "1")));
    CHECK(memcached_flush(client->memc, 1000) == MEMCACHED_SUCCESS);
    CHECK(holds(client, "flush", "1", 0));
    CHECK(memcached_flush(client->memc, 0) == MEMCACHED_SUCCESS);
    CHECK(is_gone(client, "flush"));
    CHECK(is_done(store(client, "flush", "2")));
    CHECK(holds(client, "flush", "2", 0));
    return true;
}

static bool test_quit_and_come_back(struct client *client)
{
    CHECK(is_done(store(client, "quit", "1")));
    memcached_quit(client->memc);
    CHECK(holds(client, "quit", "1", 0));
    return true;
}

static const struct test {
    const char *name;
    bool (*run)(struct client *);
} tests[] = {
    { "set and get", test_set_and_get },
    { "a missing key", test_a_missing_key },
    { "add and replace", test_add_and_replace },
    { "append and prepend", test_append_and_prepend },
    { "delete", test_delete },
    { "incr and decr", test_incr_and_decr },
    { "incr that creates", test_incr_that_creates },
    { "cas", test_cas },
    { "many keys at once", test_many_keys_at_once },
    { "a large value", test_a_large_value },
    { "too large a value", test_too_large_a_value },
    { "the longest key", test_the_longest_key },
    { "touch", test_touch },
    { "version", test_version },
    { "stats", test_stats },
    { "dump", test_dump },
    { "verbosity", test_verbosity },
    { "expiry", test_expiry },
    { "flush", test_flush },
    { "quit and come back", test_quit_and_come_back },
};

/* What each mode asks libmemcached for. */
static const struct mode {
    const char *name;
    memcached_behavior_t behavior;
    bool is_unheard;
} modes[] = {
    { "text", MEMCACHED_BEHAVIOR_TCP_NODELAY, false },
    { "binary", MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, false },
    { "noreply", MEMCACHED_BEHAVIOR_NOREPLY, true },
    { "buffered", MEMCACHED_BEHAVIOR_BUFFER_REQUESTS, true },
};

static const struct mode *mode_find(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    return NULL;
}

static bool connect_client(struct client *client, const struct mode *mode, const char *host,
                           const char *where)
{
    CHECK(client->memc != NULL);
    client->is_binary = mode->behavior == MEMCACHED_BEHAVIOR_BINARY_PROTOCOL;
    CHECK(memcached_behavior_set(client->memc, mode->behavior, 1) == MEMCACHED_SUCCESS);
    if (strcmp(host, "unix") == 0)
        CHECK(memcached_server_add_unix_socket(client->memc, where) == MEMCACHED_SUCCESS);
    else
        CHECK(memcached_server_add(client->memc, host, (in_port_t)atoi(where))
              == MEMCACHED_SUCCESS);
    return true;
}

/* Waits until `key` holds `value`, or with NULL until it is gone. */
static bool becomes(struct client *reader, const char *key, const char *value)
{
    for (unsigned tries = 0; tries < 500; tries++) {
        if (value == NULL ? is_gone(reader, key) : holds(reader, key, value, 0))
            return true;
        usleep(10000);
    }
    return false;
}

/* Writes whose replies are not read: with noreply, or buffered.  Another connection
 * sees what became of them. */
static bool run_unheard(struct client *writer, const char *host, const char *where)
{
    struct client reader = { .memc = memcached_create(NULL) };

    CHECK(connect_client(&reader, mode_find("text"), host, where));
    CHECK(is_done(store(writer, "unheard", "b")));
    CHECK(memcached_flush_buffers(writer->memc) == MEMCACHED_SUCCESS);
    CHECK(becomes(&reader, "unheard", "b"));
    CHECK(memcached_add(writer->memc, "unheard", 7, "no", 2, 0, 0) != MEMCACHED_PROTOCOL_ERROR);
    CHECK(is_done(memcached_append(writer->memc, "unheard", 7, "c", 1, 0, 0)));
    CHECK(memcached_flush_buffers(writer->memc) == MEMCACHED_SUCCESS);
    CHECK(becomes(&reader, "unheard", "bc"));
    CHECK(is_done(memcached_prepend(writer->memc, "unheard", 7, "a", 1, 0, 0)));
    CHECK(memcached_flush_buffers(writer->memc) == MEMCACHED_SUCCESS);
    CHECK(becomes(&reader, "unheard", "abc"));
    CHECK(is_done(memcached_replace(writer->memc, "unheard", 7, "new", 3, 0, 0)));
    CHECK(memcached_flush_buffers(writer->memc) == MEMCACHED_SUCCESS);
    CHECK(becomes(&reader, "unheard", "new"));
    CHECK(is_done(memcached_delete(writer->memc, "unheard", 7, 0)));
    CHECK(memcached_flush_buffers(writer->memc) == MEMCACHED_SUCCESS);
    CHECK(becomes(&reader, "unheard", NULL));
    memcached_free(reader.memc);
    return true;
}

static bool run_tests(struct client *client)
{
    bool all = true;

    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        bool passed = tests[i].run(client);

        printf("%s %s\n", passed ? "ok" : "not ok", tests[i].name);
        all = all && passed;
    }
    return all;
}

int main(int argc, char **argv)
{
    const struct mode *mode = argc == 4 ? mode_find(argv[1]) : NULL;

    if (mode == NULL) {
        fprintf(stderr, "usage: %s text|binary|noreply|buffered HOST PORT\n", argv[0]);
        return 2;
    }
    struct client client = { .memc = memcached_create(NULL) };
    bool passed = connect_client(&client, mode, argv[2], argv[3]);

    if (passed && mode->is_unheard) {
        passed = run_unheard(&client, argv[2], argv[3]);
        printf("%s %s\n", passed ? "ok" : "not ok", mode->name);
    } else if (passed) {
        passed = run_tests(&client);
    }
    memcached_free(client.memc);
    return passed ? 0 : 1;
}
