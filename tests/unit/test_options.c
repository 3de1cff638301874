/* server/options.c, server/option_table.c and server/listen_address.c */
#include "server/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define WORDS_MAX 64

/* What became of one command line. */
struct outcome {
    struct settings settings;
    char line[1024]; /* cut into words, into which the settings point */
    bool goes_on;
    int exit_code;
    char *out, *errors;
};

/* Runs the options in `line`, with spaces between them; free with outcome_deinit(). */
static void outcome_init(struct outcome *outcome, const char *line)
{
    char *words[WORDS_MAX + 1] = { (char *)"ringcached" };
    char *state = NULL;
    int count = 1;
    size_t out_bytes, error_bytes;
    FILE *out = open_memstream(&outcome->out, &out_bytes);
    FILE *errors = open_memstream(&outcome->errors, &error_bytes);

    assert_true(strlen(line) < sizeof outcome->line);
    strcpy(outcome->line, line);
    for (char *word = strtok_r(outcome->line, " ", &state); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &state))
        words[count++] = word;
    settings_init(&outcome->settings);
    outcome->goes_on =
        options_parse(&outcome->settings, count, words, out, errors, &outcome->exit_code);
    fclose(out);
    fclose(errors);
}

static void outcome_deinit(struct outcome *outcome)
{
    settings_deinit(&outcome->settings);
    free(outcome->out);
    free(outcome->errors);
}

/* Runs what must be accepted without a word. */
static void accept(struct outcome *outcome, const char *line)
{
    outcome_init(outcome, line);
    assert_string_equal(outcome->errors, "");
    assert_true(outcome->goes_on);
}

static void check_refused(const char *line, int exit_code, const char *complaint)
{
    struct outcome outcome;

    outcome_init(&outcome, line);
    assert_false(outcome.goes_on);
    if (strstr(outcome.errors, complaint) == NULL)
        fail_msg("\"%s\" was refused with: %s", line, outcome.errors);
    if (outcome.exit_code != exit_code)
        fail_msg("\"%s\" was refused with exit code %d", line, outcome.exit_code);
    outcome_deinit(&outcome);
}

static void without_options_all_is_as_in_memcached(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "");
    assert_int_equal(o.settings.tcp_port, 11211);
    assert_int_equal(o.settings.udp_port, 0);
    assert_int_equal(o.settings.limit_bytes, 64 * 1024 * 1024);
    assert_int_equal(o.settings.item_bytes_max, 1024 * 1024);
    assert_int_equal(o.settings.connections_max, 1024);
    assert_int_equal(o.settings.threads, 4);
    assert_int_equal(o.settings.unix_mask, 0700);
    assert_int_equal(o.settings.listen_count, 0);
    assert_true(o.settings.evicts);
    assert_true(o.settings.uses_cas);
    assert_true(o.settings.maxconns_fast);
    assert_false(o.settings.allows_shutdown);
    outcome_deinit(&o);
}

static void every_letter_reaches_its_setting(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-p 1 -U 2 -s /s -a 770 -b 3 -m 5 -M -I 2048 -C -D / -c 7 -t 8 -R 9 -A -F -X -W "
               "-u nobody -d -P /pid -r -k -vv");
    assert_int_equal(o.settings.tcp_port, 1);
    assert_int_equal(o.settings.udp_port, 2);
    assert_string_equal(o.settings.unix_path, "/s");
    assert_int_equal(o.settings.unix_mask, 0770);
    assert_int_equal(o.settings.backlog, 3);
    assert_int_equal(o.settings.limit_bytes, 5 * 1024 * 1024);
    assert_false(o.settings.evicts);
    assert_int_equal(o.settings.item_bytes_max, 2048);
    assert_false(o.settings.uses_cas);
    assert_int_equal(o.settings.prefix_delimiter, '/');
    assert_true(o.settings.detail_enabled);
    assert_int_equal(o.settings.connections_max, 7);
    assert_int_equal(o.settings.threads, 8);
    assert_int_equal(o.settings.requests_per_event, 9);
    assert_true(o.settings.requests_per_event_given);
    assert_true(o.settings.allows_shutdown);
    assert_false(o.settings.allows_flush);
    assert_false(o.settings.allows_dump);
    assert_false(o.settings.allows_watch);
    assert_string_equal(o.settings.user, "nobody");
    assert_true(o.settings.daemon);
    assert_string_equal(o.settings.pid_file, "/pid");
    assert_true(o.settings.core_dumps);
    assert_true(o.settings.lock_memory);
    assert_int_equal(o.settings.verbosity, 2);
    outcome_deinit(&o);
}

static void long_names_do_what_letters_do(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "--port=1 --udp-port=2 --memory-limit 5 --threads=8 --conn-limit=7 --verbose "
               "--disable-evictions --max-item-size=4k --user=x --protocol=ascii");
    assert_int_equal(o.settings.tcp_port, 1);
    assert_int_equal(o.settings.udp_port, 2);
    assert_int_equal(o.settings.limit_bytes, 5 * 1024 * 1024);
    assert_int_equal(o.settings.threads, 8);
    assert_int_equal(o.settings.connections_max, 7);
    assert_int_equal(o.settings.verbosity, 1);
    assert_false(o.settings.evicts);
    assert_int_equal(o.settings.item_bytes_max, 4096);
    assert_string_equal(o.settings.user, "x");
    assert_int_equal(o.settings.protocol, LISTEN_ASCII);
    outcome_deinit(&o);
}

static void sizes_take_k_m_and_g(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-m 3g -I 512K");
    assert_int_equal(o.settings.limit_bytes, 3ull << 30);
    assert_int_equal(o.settings.item_bytes_max, 512 * 1024);
    outcome_deinit(&o);
    accept(&o, "-m 2048k -I 1m");
    assert_int_equal(o.settings.limit_bytes, 2 << 20);
    outcome_deinit(&o);
}

static void suboptions_reach_their_settings(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-o idle_timeout=5,no_maxconns_fast,track_sizes,hashpower=20 -o hot_lru_pct=30 "
               "-o slab_automove,slab_chunk_max=16,watcher_logbuf_size=8,temporary_ttl=-1");
    assert_int_equal(o.settings.idle_timeout_s, 5);
    assert_false(o.settings.maxconns_fast);
    assert_true(o.settings.track_sizes);
    assert_int_equal(o.settings.hash_power, 20);
    assert_int_equal(o.settings.accepted.hashpower_init, 20);
    assert_int_equal(o.settings.accepted.hot_lru_pct, 30);
    assert_int_equal(o.settings.accepted.slab_automove, 1);
    assert_int_equal(o.settings.accepted.slab_chunk_max, 16 * 1024);
    assert_int_equal(o.settings.accepted.watcher_logbuf_kb, 8);
    assert_int_equal(o.settings.accepted.temporary_ttl, -1);
    outcome_deinit(&o);
}

static void tls_suboptions_reach_their_settings(void **state)
{
#ifdef WITH_TLS
    struct outcome o;

    accept(&o, "-Z -o ssl_chain_cert=/c,ssl_key=/k,ssl_keyformat=DER,ssl_verify_mode=2 "
               "-o ssl_ciphers=HIGH:!X,ssl_ca_cert=/a,ssl_wbuf_size=64,ssl_session_cache "
               "-o ssl_kernel_tls,ssl_min_version=3");
    assert_true(o.settings.tls.enabled);
    assert_string_equal(o.settings.tls.chain_file, "/c");
    assert_string_equal(o.settings.tls.key_file, "/k");
    assert_int_equal(o.settings.tls.key_format, 2);
    assert_int_equal(o.settings.tls.verify_mode, 2);
    assert_string_equal(o.settings.tls.ciphers, "HIGH:!X");
    assert_string_equal(o.settings.tls.ca_file, "/a");
    assert_int_equal(o.settings.tls.write_buffer_bytes, 64 * 1024);
    assert_true(o.settings.tls.session_cache);
    assert_true(o.settings.tls.kernel_tls);
    assert_int_equal(o.settings.tls.min_version, 3);
    outcome_deinit(&o);
#endif
    (void)state;
}

static void what_has_no_counterpart_is_accepted_in_silence(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-f 1.5 -n 64 -L -N 2 -o modern,no_modern,no_hashexpand,tail_repair_time=20 "
               "-o lru_crawler,no_lru_crawler,lru_crawler_sleep=10,lru_crawler_tocrawl=5 "
               "-o lru_maintainer,no_lru_maintainer,warm_lru_pct=30,hot_max_factor=0.3 "
               "-o warm_max_factor=3,slab_reassign,no_slab_reassign,slab_automove=2 "
               "-o no_slab_automove,slab_automove_ratio=0.5,slab_automove_window=30");
    assert_float_equal(o.settings.accepted.slab_growth_factor, 1.5, 1e-9);
    assert_int_equal(o.settings.accepted.slab_min_size, 64);
    assert_false(o.settings.accepted.lru_crawler);
    assert_float_equal(o.settings.accepted.warm_max_factor, 3.0, 1e-9);
    assert_int_equal(o.settings.accepted.slab_automove, 0);
    outcome_deinit(&o);
    accept(&o, "-o slab_automove_freeratio=0.02,slab_sizes=100-200-300,no_chunked_items "
               "-o read_buf_mem_limit=64,inline_ascii_resp,no_inline_ascii_resp "
               "-o drop_privileges,no_drop_privileges,sock_cookie_id=5,hash_algorithm=murmur3 "
               "-o resp_obj_mem_limit=5");
    assert_string_equal(o.settings.accepted.hash_algorithm, "murmur3");
    outcome_deinit(&o);
}

static void addresses_come_in_all_forms(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-l 127.0.0.1,10.0.0.1:99 -l [::1]:77;::1 -l * -l tag[abcdefgh]:h:-1");
    assert_int_equal(o.settings.listen_count, 6);
    assert_string_equal(o.settings.listen[0].host, "127.0.0.1");
    assert_int_equal(o.settings.listen[0].port, 0);
    assert_string_equal(o.settings.listen[1].host, "10.0.0.1");
    assert_int_equal(o.settings.listen[1].port, 99);
    assert_string_equal(o.settings.listen[2].host, "::1");
    assert_int_equal(o.settings.listen[2].port, 77);
    assert_string_equal(o.settings.listen[3].host, "::1");
    assert_int_equal(o.settings.listen[3].port, 0);
    assert_null(o.settings.listen[4].host);
    assert_string_equal(o.settings.listen[5].tag, "abcdefgh");
    assert_int_equal(o.settings.listen[5].port, -1);
    assert_string_equal(o.settings.listen_text,
                        "127.0.0.1,10.0.0.1:99,[::1]:77;::1,*,tag[abcdefgh]:h:-1");
    outcome_deinit(&o);
}

static void an_address_can_have_its_own_protocol(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-B ascii -l proto[binary]:tag_b_:h:1,proto[negotiating]:h:2,h:3");
    assert_int_equal(o.settings.listen[0].protocol, LISTEN_BINARY);
    assert_string_equal(o.settings.listen[0].tag, "b");
    assert_int_equal(o.settings.listen[1].protocol, LISTEN_NEGOTIATING);
    assert_int_equal(o.settings.listen[2].protocol, LISTEN_ASCII);
    outcome_deinit(&o);
}

static void an_address_can_have_its_own_tls(void **state)
{
#ifdef WITH_TLS
    struct outcome o;

    accept(&o, "-Z -o ssl_chain_cert=c -l notls:h:1,btls:h:2,mtls:h:3,h:4");
    assert_int_equal(o.settings.listen[0].tls, LISTEN_TLS_OFF);
    assert_int_equal(o.settings.listen[1].tls, LISTEN_TLS_ON);
    assert_int_equal(o.settings.listen[2].tls, LISTEN_TLS_MUTUAL);
    assert_int_equal(o.settings.listen[3].tls, LISTEN_TLS_DEFAULT);
    outcome_deinit(&o);
#endif
    (void)state;
}

static void bad_addresses_are_refused(void **state)
{
    (void)state;
    check_refused("-l 1.2.3.4:99999", 1, "invalid port number");
    check_refused("-l 1.2.3.4:", 1, "invalid port number");
    check_refused("-l 1.2.3.4:x", 1, "invalid port number");
    check_refused("-l [::1", 1, "invalid IPv6 address");
    check_refused("-l [::1]x", 1, "invalid IPv6 address");
    check_refused("-l proto[http]:h", 1, "unknown protocol");
    check_refused("-l tag[123456789]:h", 1, "1 to 8 characters");
    check_refused("-l tag[]:h", 1, "1 to 8 characters");
    check_refused("-l :99", 1, "no address");
    check_refused("-l notls:h", 64, "need -Z");
}

static void a_udp_port_alone_is_the_tcp_port_too(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-U 77");
    assert_int_equal(o.settings.tcp_port, 77);
    outcome_deinit(&o);
    accept(&o, "-U 77 -p 78");
    assert_int_equal(o.settings.tcp_port, 78);
    outcome_deinit(&o);
}

static void bad_values_end_with_exit_code_1(void **state)
{
    (void)state;
    check_refused("-c 0", 1, "--conn-limit");
    check_refused("-c -1", 1, "--conn-limit");
    check_refused("-t 0", 1, "--threads");
    check_refused("-R 0", 1, "--max-reqs-per-event");
    check_refused("-p abc", 1, "\"abc\" is not a number");
    check_refused("-p 1x", 1, "\"1x\" is not a number");
    check_refused("-m -1", 1, "is not a size: say a number");
    check_refused("-m 1t", 1, "is not a size: say a number");
    check_refused("-m 99999999999999g", 1, "is not a size: say a number");
    check_refused("-m 1025g", 1, "up to 1024g");
    check_refused("-a 9", 1, "octal");
    check_refused("-f 1", 1, "greater than 1");
    check_refused("-n 0", 1, "--slab-min-size");
    check_refused("-o idle_timeout=x", 1, "idle_timeout");
    check_refused("-o hashpower=11", 1, "from 12 to 32");
    check_refused("-o hashpower=33", 1, "from 12 to 32");
    check_refused("-o hash_algorithm=md5", 1, "murmur3");
    check_refused("-o ssl_verify_mode=4", 1, "from 0 to 3");
    check_refused("-o ssl_min_version=4", 1, "from 0 to 3");
    check_refused("-o slab_automove=3", 1, "from 0 to 2");
    check_refused("-o tail_repair_time=9", 1, "tail_repair_time");
    check_refused("--time-scale 0", 1, "greater than 0");
    check_refused("--max-siblings 0", 1, "--max-siblings");
}

static void unknown_options_end_with_exit_code_1(void **state)
{
    (void)state;
    check_refused("-Q", 1, "Illegal argument \"?\"");
    check_refused("--foo", 1, "--foo\nIllegal argument \"?\"");
    check_refused("-p", 1, "missing after -p\nIllegal argument \"?\"");
    check_refused("--time-scale", 1, "missing after --time-scale\nIllegal argument \"?\"");
    check_refused("-o foo", 1, "Illegal suboption \"foo\"");
    check_refused("-o foo=3", 1, "Illegal suboption \"foo\"");
    check_refused("-o idle_timeout", 1, "Missing idle_timeout argument");
    check_refused("--cluster-lists x:1", 1, "--cluster-lists");
}

static void what_we_have_not_is_refused_with_its_reason(void **state)
{
    (void)state;
    check_refused("-e /x", 64, "memory file");
    check_refused("-o ext_path=/x:1g", 1, "Illegal suboption \"ext_path\": ");
    check_refused("-o ext_drop_unread", 1, "on disk");
    check_refused("-o proxy_config=x", 1, "no proxy");
}

static void wrong_usage_ends_with_exit_code_64(void **state)
{
    (void)state;
    check_refused("-p 65536", 64, "Invalid port number 65536");
    check_refused("-l ,", 1, "names no address");
    check_refused("-U 65536", 64, "Invalid port number 65536");
    check_refused("-I 1023", 64, "Item max size cannot be less than 1024 bytes.");
    check_refused("-I 33m", 64, "Cannot set item size limit higher than 1/2 of memory max.");
    check_refused("-I 33m", 64, "-I is 34603008 bytes, and -m 67108864: raise -m, or lower -I.");
    check_refused("-m 9g -I 1025m", 64, "Cannot set item size limit higher than a gigabyte.");
    check_refused("-o slab_chunk_max=3", 64, "divisible");
    check_refused("-B http", 64, "not a protocol");
    check_refused("-o hot_lru_pct=50", 64, "80% combined");
    check_refused("-N 5", 64, "threads");
    check_refused("-Z", 64, "");
}

static void a_node_of_a_cluster_has_to_make_sense(void **state)
{
    const char *node = "--node-name a --cluster-listen 127.0.0.1:7001 ";
    char line[256];
    static const struct {
        const char *rest, *complaint;
    } wrong[] = {
        {"--read-quorum 4", "read-quorum is 4, but there are only --copies 3"},
        {"--copies 2 --write-quorum 3", "write-quorum is 3, but there are only --copies 2"},
        {"--hint-lifetime 3600", "bring back what was deleted"},
        {"--hint-memory 60", "leave nothing of it"},
    };

    (void)state;
    check_refused("--node-name a --cluster-listen 127.0.0.1:7001 -U 5", 64, "datagram");
    check_refused("--join 127.0.0.1:1", 64, "need --node-name");
    check_refused("--join 127.0.0.1:1,other", 1, "not addresses of nodes");
    check_refused("--join :7001", 1, "not addresses of nodes");
    check_refused("--node-name a", 64, "--cluster-listen ADDR:PORT");
    check_refused("--partitions 1000", 1, "not a power of two");
    check_refused("--node-name a234567890123456789012345678901x", 1, "up to 31");
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(line, sizeof line, "%s%s", node, wrong[i].rest);
        check_refused(line, 64, wrong[i].complaint);
    }
}

static void a_login_over_one_protocol_closes_the_other(void **state)
{
    struct outcome o;

    (void)state;
    accept(&o, "-Y file -l proto[negotiating]:h");
    assert_int_equal(o.settings.protocol, LISTEN_ASCII);
    assert_int_equal(o.settings.listen[0].protocol, LISTEN_ASCII);
    outcome_deinit(&o);
    check_refused("-Y file -B binary", 64, "BINARY");
    check_refused("-Y file -B auto", 64, "BINARY");
    check_refused("-Y file -U 5", 64, "UDP");
    check_refused("-Y file -l proto[binary]:h", 64, "-Y");
#ifdef WITH_SASL
    accept(&o, "-S");
    assert_int_equal(o.settings.protocol, LISTEN_BINARY);
    outcome_deinit(&o);
    check_refused("-S -B auto", 64, "SASL");
    check_refused("-S -B ascii", 64, "SASL");
    check_refused("-S -B binary -B ascii", 64, "SASL");
    check_refused("-S -U 5", 64, "UDP");
    check_refused("-S -Y file", 64, "choose one");
    check_refused("-S -l proto[ascii]:h", 64, "-S");
#endif
}

static void help_goes_out_and_ends_well(void **state)
{
    static const char *const needed[] = { "unix-socket", "sasl", "enable-ssl", "--time-scale",
                                          "--max-siblings", "--debug-commands", "idle_timeout" };
    static const char *const unwanted[] = { "ext_path", "proxy_config", "no_drop_privileges" };
    struct outcome o;

    (void)state;
    outcome_init(&o, "-h");
    assert_false(o.goes_on);
    assert_int_equal(o.exit_code, 0);
    for (unsigned i = 0; i < sizeof needed / sizeof *needed; i++)
        assert_non_null(strstr(o.out, needed[i]));
    for (unsigned i = 0; i < sizeof unwanted / sizeof *unwanted; i++)
        assert_null(strstr(o.out, unwanted[i]));
    outcome_deinit(&o);
}

static void the_version_names_memcached_s_too(void **state)
{
    struct outcome o;

    (void)state;
    outcome_init(&o, "-V");
    assert_int_equal(o.exit_code, 0);
    assert_non_null(strstr(o.out, "1.6.45"));
    outcome_deinit(&o);
}

static void the_licence_is_the_one_in_the_file(void **state)
{
    struct outcome o;
    char text[8192];
    FILE *file = fopen(SOURCE_DIR "/LICENSE", "r");

    (void)state;
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    outcome_init(&o, "-i");
    assert_int_equal(o.exit_code, 0);
    assert_non_null(strstr(o.out, text));
    outcome_deinit(&o);
}

static void a_word_without_option_is_ignored_with_a_warning(void **state)
{
    struct outcome o;

    (void)state;
    outcome_init(&o, "-p 5 lost");
    assert_true(o.goes_on);
    assert_non_null(strstr(o.errors, "\"lost\""));
    outcome_deinit(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_all_is_as_in_memcached),
        cmocka_unit_test(every_letter_reaches_its_setting),
        cmocka_unit_test(long_names_do_what_letters_do),
        cmocka_unit_test(sizes_take_k_m_and_g),
        cmocka_unit_test(suboptions_reach_their_settings),
        cmocka_unit_test(tls_suboptions_reach_their_settings),
        cmocka_unit_test(what_has_no_counterpart_is_accepted_in_silence),
        cmocka_unit_test(addresses_come_in_all_forms),
        cmocka_unit_test(an_address_can_have_its_own_protocol),
        cmocka_unit_test(an_address_can_have_its_own_tls),
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(a_udp_port_alone_is_the_tcp_port_too),
        cmocka_unit_test(bad_values_end_with_exit_code_1),
        cmocka_unit_test(unknown_options_end_with_exit_code_1),
        cmocka_unit_test(what_we_have_not_is_refused_with_its_reason),
        cmocka_unit_test(wrong_usage_ends_with_exit_code_64),
        cmocka_unit_test(a_node_of_a_cluster_has_to_make_sense),
        cmocka_unit_test(a_login_over_one_protocol_closes_the_other),
        cmocka_unit_test(help_goes_out_and_ends_well),
        cmocka_unit_test(the_version_names_memcached_s_too),
        cmocka_unit_test(the_licence_is_the_one_in_the_file),
        cmocka_unit_test(a_word_without_option_is_ignored_with_a_warning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
