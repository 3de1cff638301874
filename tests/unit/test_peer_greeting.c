#include "server/peer_greeting.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

/* Two nodes that greet each other. */
struct pair {
    struct peer_secret secrets[2];
    struct peer_hello hellos[2];
    struct peer_greeting sides[2]; /* who connects, who accepts */
    const char *failures[2];
    struct peer_message on_way;
    bool is_under_way;
};

static void set_secret(struct peer_secret *secret, const char *text)
{
    secret->size = strlen(text);
    memcpy(secret->bytes, text, secret->size);
}

static void setup(struct pair *pair)
{
    memset(pair, 0, sizeof *pair);
    for (unsigned i = 0; i < 2; i++) {
        pair->hellos[i] = (struct peer_hello){
            .version = PEER_VERSION, .from = 10 + i, .use = PEER_LINK_REQUESTS, .has_secret = true};
        memset(pair->hellos[i].nonce, 'a' + (int)i, PEER_NONCE_BYTES);
        set_secret(&pair->secrets[i], "a secret of enough bytes");
    }
    pair->hellos[0].to = 11;
}

static void start(struct pair *pair)
{
    for (unsigned i = 0; i < 2; i++)
        peer_greeting_init(&pair->sides[i], i == 0 ? PEER_CONNECTS : PEER_ACCEPTS, &pair->hellos[i],
                           pair->hellos[i].has_secret ? &pair->secrets[i] : NULL);
    pair->on_way = (struct peer_message){.type = PEER_HELLO, .hello = pair->hellos[0]};
    pair->is_under_way = true;
}

/* One message arrives at `to`, whose answer is then under way. */
static void deliver(struct pair *pair, unsigned to)
{
    struct peer_greeting_effects effects;

    peer_greeting_step(&pair->sides[to], &pair->on_way, &effects);
    if (effects.failure != NULL && pair->failures[to] == NULL)
        pair->failures[to] = effects.failure;
    pair->is_under_way = effects.has_answer;
    if (effects.has_answer)
        pair->on_way = effects.answer;
}

/* Until nobody has anything to say. */
static void greet(struct pair *pair)
{
    start(pair);
    for (unsigned to = 1; pair->is_under_way && pair->on_way.type != PEER_REFUSED; to = 1 - to)
        deliver(pair, to);
}

static void check_both(const struct pair *pair, enum peer_greeting_state state)
{
    assert_int_equal(pair->sides[0].state, state);
    assert_int_equal(pair->sides[1].state, state);
}

/* That this pair does not get along, and that whoever finds out says `failure`. */
static void check_fails(struct pair *pair, const char *failure)
{
    greet(pair);
    assert_true(pair->sides[0].state != GREETING_DONE || pair->sides[1].state != GREETING_DONE);
    const char *said = pair->failures[0] != NULL ? pair->failures[0] : pair->failures[1];
    assert_non_null(said);
    if (strstr(said, failure) == NULL)
        fail_msg("it failed with: %s", said);
}

static void nodes_with_the_same_secret_get_keys_for_each_direction(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    greet(&pair);
    check_both(&pair, GREETING_DONE);
    assert_memory_equal(&pair.sides[0].send_key, &pair.sides[1].receive_key, SIPHASH_KEY_BYTES);
    assert_memory_equal(&pair.sides[1].send_key, &pair.sides[0].receive_key, SIPHASH_KEY_BYTES);
    assert_memory_not_equal(&pair.sides[0].send_key, &pair.sides[0].receive_key, SIPHASH_KEY_BYTES);
    assert_int_equal(pair.sides[1].theirs.from, 10);
}

static void other_nonces_give_other_keys(void **state)
{
    struct siphash_key before;
    struct pair pair;

    (void)state;
    setup(&pair);
    greet(&pair);
    before = pair.sides[0].send_key;
    pair.hellos[1].nonce[5]++;
    greet(&pair);
    check_both(&pair, GREETING_DONE);
    assert_memory_not_equal(&before, &pair.sides[0].send_key, SIPHASH_KEY_BYTES);
}

static void without_secrets_two_hellos_are_enough(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    pair.hellos[0].has_secret = pair.hellos[1].has_secret = false;
    greet(&pair);
    check_both(&pair, GREETING_DONE);
}

static void the_link_is_used_for_what_who_connects_says(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    pair.hellos[0].use = PEER_LINK_BACKGROUND;
    greet(&pair);
    assert_int_equal(pair.sides[1].own.use, PEER_LINK_BACKGROUND);
    check_both(&pair, GREETING_DONE);
}

static void who_does_not_know_the_secret_is_refused(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    set_secret(&pair.secrets[0], "another secret of such bytes");
    check_fails(&pair, "different cluster secrets");
    assert_int_equal(pair.sides[1].state, GREETING_FAILED);
}

static void a_secret_on_one_side_only_is_explained(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    pair.hellos[0].has_secret = false;
    check_fails(&pair, "the other one has none");
    setup(&pair);
    pair.hellos[1].has_secret = false;
    check_fails(&pair, "this one has none");
}

static void another_version_is_explained(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    pair.hellos[0].version++;
    check_fails(&pair, "different versions");
}

static void the_wrong_node_is_refused(void **state)
{
    struct pair pair;

    (void)state;
    setup(&pair);
    pair.hellos[0].to = 99;
    check_fails(&pair, "another node than the one that is meant");
    setup(&pair);
    pair.hellos[0].to = NODE_NONE;
    greet(&pair);
    check_both(&pair, GREETING_DONE);
    setup(&pair);
    pair.hellos[0].to = pair.hellos[0].from = pair.hellos[1].from;
    check_fails(&pair, "own identity");
}

static void a_proof_is_worth_nothing_in_the_other_direction(void **state)
{
    struct pair pair;
    struct peer_message proof;

    (void)state;
    setup(&pair);
    start(&pair);
    deliver(&pair, 1);
    deliver(&pair, 0);
    assert_int_equal(pair.on_way.type, PEER_PROOF);
    proof = pair.on_way;
    deliver(&pair, 0); /* reflected to who made it */
    assert_int_equal(pair.sides[0].state, GREETING_FAILED);
    assert_int_equal(proof.type, PEER_PROOF);
}

static void a_proof_is_worth_nothing_on_another_connection(void **state)
{
    struct pair pair, other;

    (void)state;
    setup(&pair);
    start(&pair);
    deliver(&pair, 1);
    deliver(&pair, 0);
    setup(&other);
    other.hellos[1].nonce[0]++;
    start(&other);
    deliver(&other, 1);
    other.on_way = pair.on_way;
    deliver(&other, 1);
    assert_int_equal(other.sides[1].state, GREETING_FAILED);
}

static void anything_but_a_greeting_is_refused(void **state)
{
    static const enum peer_type types[] = {PEER_PING, PEER_PROOF, PEER_STORED, PEER_REFUSED};

    (void)state;
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        struct pair pair;
        setup(&pair);
        start(&pair);
        pair.on_way = (struct peer_message){.type = types[i]};
        deliver(&pair, 1);
        assert_int_equal(pair.sides[1].state, GREETING_FAILED);
        assert_int_equal(pair.on_way.type, PEER_REFUSED);
    }
}

/* ---- the file ---- */

static bool load(const char *text, mode_t mode, struct peer_secret *secret)
{
    char path[] = "/tmp/test-secret-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, mode);
    close(fd);
    bool is_fine = peer_secret_load(secret, path);
    unlink(path);
    return is_fine;
}

static void a_secret_is_read_without_the_line_end(void **state)
{
    struct peer_secret secret;

    (void)state;
    assert_true(load("0123456789abcdef\n", 0640, &secret));
    assert_int_equal(secret.size, 16);
    assert_memory_equal(secret.bytes, "0123456789abcdef", 16);
}

static void a_secret_that_is_short_or_open_to_all_is_refused(void **state)
{
    struct peer_secret secret;
    char *text = calloc(1, PEER_SECRET_BYTES_MAX + 10);

    (void)state;
    assert_false(load("0123456789abcde\n", 0600, &secret));
    assert_false(load("0123456789abcdef\n", 0644, &secret));
    assert_false(peer_secret_load(&secret, "/nonexistent/secret"));
    memset(text, 'x', PEER_SECRET_BYTES_MAX + 1);
    assert_false(load(text, 0600, &secret));
    free(text);
}

static void the_mac_is_hmac_sha256(void **state)
{
    /* RFC 4231, test case 2. */
    static const unsigned char expected[PEER_MAC_BYTES] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
        0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
        0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    };
    const struct slice parts[] = {SLICE("what do ya want "), SLICE("for nothing?")};
    unsigned char mac[PEER_MAC_BYTES];
    struct peer_secret secret;

    (void)state;
    set_secret(&secret, "Jefe");
    assert_true(peer_secret_mac(&secret, parts, 2, mac));
    assert_memory_equal(mac, expected, sizeof mac);
    assert_true(peer_mac_equal(mac, expected));
    mac[31] ^= 1;
    assert_false(peer_mac_equal(mac, expected));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_with_the_same_secret_get_keys_for_each_direction),
        cmocka_unit_test(other_nonces_give_other_keys),
        cmocka_unit_test(without_secrets_two_hellos_are_enough),
        cmocka_unit_test(the_link_is_used_for_what_who_connects_says),
        cmocka_unit_test(who_does_not_know_the_secret_is_refused),
        cmocka_unit_test(a_secret_on_one_side_only_is_explained),
        cmocka_unit_test(another_version_is_explained),
        cmocka_unit_test(the_wrong_node_is_refused),
        cmocka_unit_test(a_proof_is_worth_nothing_in_the_other_direction),
        cmocka_unit_test(a_proof_is_worth_nothing_on_another_connection),
        cmocka_unit_test(anything_but_a_greeting_is_refused),
        cmocka_unit_test(a_secret_is_read_without_the_line_end),
        cmocka_unit_test(a_secret_that_is_short_or_open_to_all_is_refused),
        cmocka_unit_test(the_mac_is_hmac_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
