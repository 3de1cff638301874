#include "protocol/text.h"
#include "tests/unit/codec_check.h"

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))
#define BLF          "REJECT CLIENT_ERROR bad command line format\n"

static void check(const struct codec_case *cases, size_t count)
{
    check_cases(CODEC_TEXT, cases, count, SLICE("mn\r\n"), "NOOP\n");
}

static const struct codec_case key_lines[] = {
    {"get a\r\n", "GET a +value +first +last\n"},
    {"get a\n", "GET a +value +first +last\n"},
    {"get a \r\n", "GET a +value +first +last\n"},
    {"get   a\r\n", "GET a +value +first +last\n"},
    {"get a b\r\n", "GET a +value +first\nGET b +value +last\n"},
    {"get  a  b  \n", "GET a +value +first\nGET b +value +last\n"},
    {"get a b c\r\n", "GET a +value +first\nGET b +value\nGET c +value +last\n"},
    {"gets a\r\n", "GET a +value +cas +first +last\n"},
    {"gets a bb\r\n", "GET a +value +cas +first\nGET bb +value +cas +last\n"},
    {"get noreply\r\n", "GET noreply +value +first +last\n"},
    {"get a noreply\r\n", "GET a +value +first\nGET noreply +value +last\n"},
    {"get a\tb\r\n", "GET a\\x09b +value +first +last\n"},
    {"get a\rb\r\n", "GET a\\x0db +value +first +last\n"},
    {"get a\r b\r\n", "GET a\\x0d +value +first\nGET b +value +last\n"},
    {"get HTTP/1.1\r\n", "GET HTTP/1.1 +value +first +last\n"},
    {"get 0123456789abcdef 0123456789abcdefg\r\n",
     "GET 0123456789abcdef +value +first\nGET 0123456789abcdefg +value +last\n"},
    {"gat 10 a\r\n", "GET a exptime=10 +value +first +last +exptime\n"},
    {"gat -1 a b\r\n",
     "GET a exptime=-1 +value +first +exptime\nGET b exptime=-1 +value +last +exptime\n"},
    {"gats 0 a\r\n", "GET a exptime=0 +value +cas +first +last +exptime\n"},
    {"gat 5 noreply\r\n", "GET noreply exptime=5 +value +first +last +exptime\n"},
    {"vget a\r\n", "SIBLINGS a +value +first +last\n"},
    {"vget a b\r\n", "SIBLINGS a +value +first\nSIBLINGS b +value +last\n"},
    {"get\r\n", BLF},
    {"get \r\n", BLF},
    {"get   \n", BLF},
    {"gets\r\n", BLF},
    {"vget\r\n", BLF},
    {"gat\r\n", BLF},
    {"gat 0\r\n", BLF},
    {"gat 0 \r\n", BLF},
    {"gat x\r\n", BLF},
    {"gat x a\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
    {"gat 1x a\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
    {"gat 2147483648 a\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
    {"gat x noreply\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
};

static void lines_of_keys_give_an_operation_per_key(void **state)
{
    (void)state;
    check(key_lines, COUNT(key_lines));
}

static const struct codec_case stores[] = {
    {"set a 1 2 3\r\nabc\r\n", "STORE set a flags=1 exptime=2 +exptime value=abc\n"},
    {"set a 1 2 3\nabc\r\n", "STORE set a flags=1 exptime=2 +exptime value=abc\n"},
    {"set  a  0  0  1 \r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime value=x\n"},
    {"set a 0 0 0\r\n\r\n", "STORE set a flags=0 exptime=0 +exptime value=\n"},
    {"set a 0 0 2\r\n\r\n\r\n", "STORE set a flags=0 exptime=0 +exptime value=\\x0d\\x0a\n"},
    {"set a 0 0 01\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime value=x\n"},
    {"set a 0 -1 1\r\nx\r\n", "STORE set a flags=0 exptime=-1 +exptime value=x\n"},
    {"set a 0 9999999999 1\r\nx\r\n", "STORE set a flags=0 exptime=2147483647 +exptime value=x\n"},
    {"set a 4294967295 0 1\r\nx\r\n", "STORE set a flags=4294967295 exptime=0 +exptime value=x\n"},
    {"set a 0 0 1 noreply\r\nx\r\n", "STORE set a flags=0 exptime=0 +noreply +exptime value=x\n"},
    {"set a 0 0 1 what\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime value=x\n"},
    {"set a 0 0 1 what noreply\r\nx\r\n",
     "STORE set a flags=0 exptime=0 +noreply +exptime value=x\n"},
    {"set a 0 0 1 noreply what\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime value=x\n"},
    {"set noreply 0 0 1\r\nx\r\n", "STORE set noreply flags=0 exptime=0 +exptime value=x\n"},
    {"add a 1 2 3\r\nabc\r\n", "STORE add a flags=1 exptime=2 +exptime value=abc\n"},
    {"replace a 1 2 3\r\nabc\r\n", "STORE replace a flags=1 exptime=2 +exptime value=abc\n"},
    {"append a 1 2 3\r\nabc\r\n", "STORE append a flags=1 value=abc\n"},
    {"prepend a 1 2 3\r\nabc\r\n", "STORE prepend a flags=1 value=abc\n"},
    {"cas a 1 2 3 4\r\nabc\r\n",
     "STORE set a flags=1 exptime=2 compare=4 +compare +exptime value=abc\n"},
    {"cas a 1 2 3 18446744073709551615 noreply\r\nabc\r\n",
     "STORE set a flags=1 exptime=2 compare=18446744073709551615 +noreply +compare +exptime "
     "value=abc\n"},
    {"cas a 0 0 1 @\r\nx\r\n",
     "STORE set a flags=0 exptime=0 context= +exptime +context value=x\n"},
    {"cas a 0 0 1 @YWJj\r\nx\r\n",
     "STORE set a flags=0 exptime=0 context=abc +exptime +context value=x\n"},
    {"cas a 0 0 1 @YWI noreply\r\nx\r\n",
     "STORE set a flags=0 exptime=0 context=ab +noreply +exptime +context value=x\n"},
};

static void storage_commands_take_their_value(void **state)
{
    (void)state;
    check(stores, COUNT(stores));
}

static const struct codec_case bad_stores[] = {
    /* The data was announced, so it goes with the command. */
    {"set a x 0 1\r\nx\r\n", BLF},
    {"set a -1 0 1\r\nx\r\n", BLF},
    {"set a +1 0 1\r\nx\r\n", BLF},
    {"set a 1x 0 1\r\nx\r\n", BLF},
    {"set a 4294967296 0 1\r\nx\r\n", BLF},
    {"set a 18446744073709551616 0 1\r\nx\r\n", BLF},
    {"set a 0 x 1\r\nx\r\n", BLF},
    {"set a 0 - 1\r\nx\r\n", BLF},
    {"set a 0 1x 5\r\nget a\r\n", BLF},
    {"set a x 0 1 noreply\r\nx\r\n", "REJECT CLIENT_ERROR bad command line format +noreply\n"},
    {"cas a 0 0 1\r\nx\r\n", BLF},
    {"cas a 0 0 1 x\r\nx\r\n", BLF},
    {"cas a 0 0 1 -1\r\nx\r\n", BLF},
    {"cas a 0 0 1 18446744073709551616\r\nx\r\n", BLF},
    {"cas a 0 0 1 noreply\r\nx\r\n", "REJECT CLIENT_ERROR bad command line format +noreply\n"},
    {"cas a 0 0 1 @Y\r\nx\r\n", "REJECT CLIENT_ERROR bad context\n"},
    {"cas a 0 0 1 @YR\r\nx\r\n", "REJECT CLIENT_ERROR bad context\n"},
    {"cas a 0 0 1 @YQ==\r\nx\r\n", "REJECT CLIENT_ERROR bad context\n"},
    {"cas a 0 0 1 @Y+/\r\nx\r\n", "REJECT CLIENT_ERROR bad context\n"},
    {"cas a 0 0 1 @Y noreply\r\nx\r\n", "REJECT CLIENT_ERROR bad context +noreply\n"},
    /* It was not, so what follows is a command. */
    {"set\r\n", BLF},
    {"set a\r\n", BLF},
    {"set a 0 0\r\n", BLF},
    {"set a 0 0 x\r\nxyz\r\n", BLF "REJECT ERROR\n"},
    {"set a 0 0 1x\r\nxyz\r\n", BLF "REJECT ERROR\n"},
    {"set a 0 0 +1\r\nxyz\r\n", BLF "REJECT ERROR\n"},
    {"set a 0 0 -1\r\n", BLF},
    {"set a 0 0 noreply\r\n", BLF},
    {"set a 0 0 -1 noreply\r\n", BLF},
    {"set a 0 0 2147483646\r\n", BLF},
    {"set a 0 0 99999999999999999999999\r\n", BLF},
    {"set a 0 0 2147483645\r\n", "STORE set a flags=0 exptime=0 +exptime\nvalue 2147483647\n"},
    /* The data is longer or shorter than announced. */
    {"set a 0 0 1\r\nxyz\r\n", "REJECT CLIENT_ERROR bad data chunk\n" BLF},
    {"set a 0 0 1\r\nxyversion\r\n", "REJECT CLIENT_ERROR bad data chunk\nREJECT ERROR\n"},
    {"set a 0 0 3\r\nx\r\nmn\r\n", "REJECT CLIENT_ERROR bad data chunk\n" BLF},
    {"set a 0 0 1 noreply\r\nxyz\r\n", "REJECT CLIENT_ERROR bad data chunk +noreply\n" BLF},
    {"set a 0 0 1\r\nx\n", "STORE set a flags=0 exptime=0 +exptime\nvalue 1\n"},
    {"set a 0 0 1\r\nx\n\n", "REJECT CLIENT_ERROR bad data chunk\n"},
};

static void refused_storage_commands_swallow_what_was_announced(void **state)
{
    (void)state;
    check(bad_stores, COUNT(bad_stores));
}

static const struct codec_case key_commands[] = {
    {"delete a\r\n", "DELETE a\n"},
    {"delete a 0\r\n", "DELETE a\n"},
    {"delete a noreply\r\n", "DELETE a +noreply\n"},
    {"delete a 0 noreply\r\n", "DELETE a +noreply\n"},
    {"delete a b c d\r\n", "DELETE a\n"},
    {"delete noreply\r\n", "DELETE noreply +noreply\n"},
    {"delete a @\r\n", "DELETE a context= +context\n"},
    {"delete a @-_-_\r\n", "DELETE a context=\\xfb\\xff\\xbf +context\n"},
    {"delete a @YWJj noreply\r\n", "DELETE a context=abc +noreply +context\n"},
    {"delete a @YWJj!\r\n", "REJECT CLIENT_ERROR bad context\n"},
    {"delete a @@\r\n", "REJECT CLIENT_ERROR bad context\n"},
    {"delete\r\n", BLF},
    {"delete \r\n", BLF},
    {"incr a 1\r\n", "ARITHMETIC add a delta=1 initial=0\n"},
    {"decr a 18446744073709551615\r\n",
     "ARITHMETIC subtract a delta=18446744073709551615 initial=0\n"},
    {"incr a 1 noreply\r\n", "ARITHMETIC add a delta=1 initial=0 +noreply\n"},
    {"incr a 1 2 3\r\n", "ARITHMETIC add a delta=1 initial=0\n"},
    {"incr\r\n", BLF},
    {"incr a\r\n", BLF},
    {"incr noreply\r\n", BLF},
    {"incr a noreply\r\n", "REJECT CLIENT_ERROR invalid numeric delta argument +noreply\n"},
    {"incr a x\r\n", "REJECT CLIENT_ERROR invalid numeric delta argument\n"},
    {"incr a -1\r\n", "REJECT CLIENT_ERROR invalid numeric delta argument\n"},
    {"incr a +1\r\n", "REJECT CLIENT_ERROR invalid numeric delta argument\n"},
    {"decr a 1x\r\n", "REJECT CLIENT_ERROR invalid numeric delta argument\n"},
    {"incr a 18446744073709551616\r\n", "REJECT CLIENT_ERROR invalid numeric delta argument\n"},
    {"touch a 0\r\n", "TOUCH a exptime=0 +exptime\n"},
    {"touch a -1 noreply\r\n", "TOUCH a exptime=-1 +noreply +exptime\n"},
    {"touch a 0 0 0\r\n", "TOUCH a exptime=0 +exptime\n"},
    {"touch\r\n", BLF},
    {"touch a\r\n", BLF},
    {"touch a x\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
    {"touch a 0x\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
    {"touch a noreply\r\n", "REJECT CLIENT_ERROR invalid exptime argument +noreply\n"},
};

static void commands_with_a_key_are_taken_apart(void **state)
{
    (void)state;
    check(key_commands, COUNT(key_commands));
}

static const struct codec_case server_commands[] = {
    {"version\r\n", "VERSION\n"},
    {"version foo noreply\r\n", "VERSION\n"},
    {"mn\r\n", "NOOP\n"},
    {"mn\n", "NOOP\n"},
    {"mn foo noreply\r\n", "NOOP\n"},
    {"quit\r\n", "QUIT closes\n"},
    {"quit noreply\r\nget a\r\n", "QUIT closes\n"},
    {"flush_all\r\n", "FLUSH_ALL exptime=0\n"},
    {"flush_all 5\r\n", "FLUSH_ALL exptime=5\n"},
    {"flush_all -1 what\r\n", "FLUSH_ALL exptime=-1\n"},
    {"flush_all noreply\r\n", "FLUSH_ALL exptime=0 +noreply\n"},
    {"flush_all 5 noreply \r\n", "FLUSH_ALL exptime=5 +noreply\n"},
    {"flush_all x\r\n", "REJECT CLIENT_ERROR invalid exptime argument\n"},
    {"flush_all x noreply\r\n", "REJECT CLIENT_ERROR invalid exptime argument +noreply\n"},
    {"verbosity 1\r\n", "VERBOSITY 1\n"},
    {"verbosity 1 2\r\n", "VERBOSITY 1\n"},
    {"verbosity 1 noreply\r\n", "VERBOSITY 1 +noreply\n"},
    {"verbosity\r\n", BLF},
    {"verbosity x\r\n", BLF},
    {"verbosity -1\r\n", BLF},
    {"verbosity 4294967296\r\n", BLF},
    {"verbosity noreply\r\n", "REJECT CLIENT_ERROR bad command line format +noreply\n"},
    {"shutdown\r\n", "SHUTDOWN \n"},
    {"shutdown graceful\r\n", "SHUTDOWN graceful\n"},
    {"stats\r\n", "STATS \n"},
    {"stats  detail  on \r\n", "STATS detail\\x20\\x20on\n"},
    {"stats noreply\r\n", "STATS noreply\n"},
    {"cache_memlimit 64 noreply\r\n", "CACHE_MEMLIMIT 64 +noreply\n"},
    {"watch\r\n", "WATCH \n"},
    {"watch fetchers evictions\n", "WATCH fetchers\\x20evictions\n"},
    {"lru_crawler metadump all\r\n", "LRU_CRAWLER metadump\\x20all\n"},
    {"lru tune 10 25 0.1 2.0\r\n", "LRU tune\\x2010\\x2025\\x200.1\\x202.0\n"},
    {"slabs reassign 1 2\r\n", "SLABS reassign\\x201\\x202\n"},
    {"extstore item_size 5\r\n", "EXTSTORE item_size\\x205\n"},
    {"refresh_certs\r\n", "REFRESH_CERTS \n"},
    {"refresh_certs noreply\r\n", "REFRESH_CERTS  +noreply\n"},
    {"config get cluster\r\n", "CONFIG get\\x20cluster\n"},
    {"debug cell a\r\n", "DEBUG debug cell\\x20a\n"},
    {"debugtime 5\r\n", "DEBUG debugtime 5\n"},
};

static void commands_to_the_server_keep_their_arguments(void **state)
{
    (void)state;
    check(server_commands, COUNT(server_commands));
}

static const struct codec_case odd_lines[] = {
    {"\r\n", BLF},
    {"\n", BLF},
    {"a\r\n", BLF},
    {"ab\n", BLF},
    {"ab\r\n", "REJECT ERROR\n"},
    {"abc\n", "REJECT ERROR\n"},
    {"mz\r\n", "REJECT ERROR\n"},
    {"GET a\r\n", "REJECT ERROR\n"},
    {" get a\r\n", "REJECT ERROR\n"},
    {"\tget a\r\n", "REJECT ERROR\n"},
    {"get\ta\r\n", "REJECT ERROR\n"},
    {"getx a\r\n", "REJECT ERROR\n"},
    {"bogus noreply\r\n", "REJECT ERROR +noreply\n"},
    {"a_command_word_longer_than_any\r\n", "REJECT ERROR\n"},
    {"HTTP/1.1\r\n", "REJECT ERROR\n"},
    {"GET / HTTP/1.1\r\nversion\r\n", "CLOSE  closes\n"},
    {"foo HTTP/ \r\nversion\r\n", "CLOSE  closes\n"},
    {"foo HTTP/1.1 bar\r\n", "REJECT ERROR\n"},
    {"stats foo HTTP/1.1\r\n", "STATS foo\\x20HTTP/1.1\n"},
    {"", ""},
    {"get", "left 3\n"},
    {"get a", "left 5\n"},
    {"get a ", "left 6\n"},
    {"get a b", "left 7\n"},
    {"get a\r", "left 6\n"},
    {"set a 0 0 1", "left 11\n"},
    {"set a 0 0 4\r\nab", "STORE set a flags=0 exptime=0 +exptime\nvalue 4\n"},
    {"set a x 0 4\r\nab", BLF "swallow 4\n"},
};

static void odd_lines_are_told_apart(void **state)
{
    (void)state;
    check(odd_lines, COUNT(odd_lines));
}

static void pipelines_of_all_commands_stay_in_step(void **state)
{
    (void)state;
    check_pipelines(CODEC_TEXT, key_lines, COUNT(key_lines), 20);
    check_pipelines(CODEC_TEXT, stores, COUNT(stores), 20);
    check_pipelines(CODEC_TEXT, bad_stores, COUNT(bad_stores), 20);
    check_pipelines(CODEC_TEXT, key_commands, COUNT(key_commands), 20);
    check_pipelines(CODEC_TEXT, server_commands, COUNT(server_commands), 20);
    check_pipelines(CODEC_TEXT, odd_lines, COUNT(odd_lines), 20);
}

/* Text that is put together, for long input. */
struct text {
    char bytes[20000];
    size_t size;
};

static void add(struct text *text, const char *string)
{
    assert_true(text->size + strlen(string) < sizeof text->bytes);
    memcpy(text->bytes + text->size, string, strlen(string) + 1);
    text->size += strlen(string);
}

static void add_run(struct text *text, char byte, size_t count)
{
    assert_true(text->size + count < sizeof text->bytes);
    memset(text->bytes + text->size, byte, count);
    text->size += count;
    text->bytes[text->size] = '\0';
}

static struct slice slice_of(const struct text *text)
{
    return (struct slice){(const unsigned char *)text->bytes, text->size};
}

static void a_key_may_be_250_bytes_long_and_no_longer(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *good_before, *good_after, *bad;
    } rows[] = {
        {"get ", "\r\n", "GET ", " +value +first +last\n", BLF},
        {"get a ", " b\r\n", "GET a +value +first\nGET ", " +value\nGET b +value +last\n", BLF},
        {"gats 5 ", "\n", "GET ", " exptime=5 +value +cas +first +last +exptime\n", BLF},
        {"set ", " 0 0 1\r\nx\r\n", "STORE set ", " flags=0 exptime=0 +exptime value=x\n", BLF},
        {"delete ", "\r\n", "DELETE ", "\n", BLF},
        {"delete ", " noreply\r\n", "DELETE ", " +noreply\n",
         "REJECT CLIENT_ERROR bad command line format +noreply\n"},
        {"incr ", " 1\r\n", "ARITHMETIC add ", " delta=1 initial=0\n", BLF},
        {"touch ", " 1\r\n", "TOUCH ", " exptime=1 +exptime\n", BLF},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text good = {.size = 0}, expected = {.size = 0}, bad = {.size = 0};
        add(&good, rows[i].before);
        add_run(&good, 'k', 250);
        add(&good, rows[i].after);
        add(&expected, rows[i].good_before);
        add_run(&expected, 'k', 250);
        add(&expected, rows[i].good_after);
        check_bytes(CODEC_TEXT, slice_of(&good), expected.bytes);
        add(&bad, rows[i].before);
        add_run(&bad, 'k', 251);
        add(&bad, rows[i].after);
        check_bytes(CODEC_TEXT, slice_of(&bad), rows[i].bad);
    }
}

static void a_key_that_is_too_long_refuses_its_whole_line_and_no_other(void **state)
{
    (void)state;
    struct text input = {.size = 0};
    add(&input, "get a\r\nget b c ");
    add_run(&input, 'k', 251);
    add(&input, " d\r\nget e\r\n");
    check_bytes(CODEC_TEXT, slice_of(&input),
                "GET a +value +first +last\n" BLF "GET e +value +first +last\n");
    struct text last = {.size = 0};
    add(&last, "get a ");
    add_run(&last, 'k', 251);
    add(&last, "\r\n");
    check_bytes(CODEC_TEXT, slice_of(&last), BLF);
}

static void add_many_keys(struct text *input, struct text *expected, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[64], line[128];
        snprintf(key, sizeof key, " key%u-%.*s", i, (int)(i % 20), "aaaaaaaaaaaaaaaaaaaa");
        snprintf(line, sizeof line, "GET%s +value%s%s\n", key, i == 0 ? " +first" : "",
                 i + 1 == count ? " +last" : "");
        add(input, key);
        if (expected != NULL)
            add(expected, line);
    }
}

static void a_get_line_has_no_bound(void **state)
{
    (void)state;
    struct text input = {.size = 0}, expected = {.size = 0};
    add(&input, "get");
    add_many_keys(&input, &expected, 200);
    add(&input, "\r\nmn\r\n");
    add(&expected, "NOOP\n");
    assert_true(input.size > 3000);
    check_bytes(CODEC_TEXT, slice_of(&input), expected.bytes);
}

static void a_long_get_line_ends_at_a_key_that_is_too_long(void **state)
{
    (void)state;
    struct text input = {.size = 0}, expected = {.size = 0};
    add(&input, "get");
    add_many_keys(&input, &expected, 150);
    expected.size -= strlen(" +last\n");
    expected.bytes[expected.size] = '\0';
    add(&expected, "\n" BLF "NOOP\n");
    add(&input, " ");
    add_run(&input, 'k', 300);
    add(&input, " more keys\r\nmn\r\n");
    check_bytes(CODEC_TEXT, slice_of(&input), expected.bytes);
}

static void gat_and_vget_may_be_long_too(void **state)
{
    (void)state;
    struct text input = {.size = 0};
    add(&input, "gat 5");
    add_many_keys(&input, NULL, 150);
    add(&input, " \r\nvget");
    add_many_keys(&input, NULL, 150);
    add(&input, "\r\n");
    char *whole = codec_replay(CODEC_TEXT, slice_of(&input), (struct cuts){NULL, 0});
    assert_non_null(strstr(whole, "GET key149-aaaaaaaaa exptime=5 +value +last +exptime\n"));
    assert_non_null(strstr(whole, "SIBLINGS key149-aaaaaaaaa +value +last\n"));
    assert_null(strstr(whole, "REJECT"));
    assert_null(strstr(whole, "CLOSE"));
    check_bytes(CODEC_TEXT, slice_of(&input), whole);
    free(whole);
}

static void other_lines_close_the_connection_past_2048_bytes(void **state)
{
    (void)state;
    static const char *const starts[] = {"delete a ", "set a 0 0 1 ", "stats ",
                                         "x",         "mg a v ",      " "};
    for (size_t i = 0; i < COUNT(starts); i++) {
        struct text input = {.size = 0};
        add(&input, starts[i]);
        add_run(&input, ' ', 2047 - input.size);
        add(&input, "\n");
        assert_int_equal(input.size, 2048);
        char *whole = codec_replay(CODEC_TEXT, slice_of(&input), (struct cuts){NULL, 0});
        assert_null(strstr(whole, "CLOSE"));
        free(whole);
        input.bytes[2047] = ' ';
        add(&input, "\nversion\r\n");
        check_bytes(CODEC_TEXT, slice_of(&input), "CLOSE  closes\n");
    }
}

static void blanks_in_a_get_line_are_bounded_behind_a_key(void **state)
{
    (void)state;
    struct text input = {.size = 0};
    add(&input, "get ");
    add_run(&input, ' ', 3000);
    add(&input, "a\r\n");
    check_bytes(CODEC_TEXT, slice_of(&input), "GET a +value +first +last\n");
    struct text late = {.size = 0};
    add(&late, "get a ");
    add_run(&late, ' ', 3000);
    add(&late, "b\r\n");
    check_bytes(CODEC_TEXT, slice_of(&late), "CLOSE  closes\n");
    struct text gat = {.size = 0};
    add(&gat, "gat ");
    add_run(&gat, ' ', 2040);
    add(&gat, "12345 a\r\n");
    check_bytes(CODEC_TEXT, slice_of(&gat), "CLOSE  closes\n");
}

static void the_longest_key_may_end_a_long_line(void **state)
{
    (void)state;
    struct text input = {.size = 0}, expected = {.size = 0};
    add(&input, "get");
    add_many_keys(&input, &expected, 150);
    expected.size -= strlen(" +last\n");
    expected.bytes[expected.size] = '\0';
    add(&input, " ");
    add_run(&input, 'k', 250);
    add(&input, "\r\n");
    add(&expected, "\nGET ");
    add_run(&expected, 'k', 250);
    add(&expected, " +value +last\n");
    check_bytes(CODEC_TEXT, slice_of(&input), expected.bytes);
}

static void a_get_line_of_2048_bytes_is_still_judged_whole(void **state)
{
    (void)state;
    struct text input = {.size = 0};
    add(&input, "get a");
    add_run(&input, ' ', 2048 - input.size - 253);
    add_run(&input, 'k', 251);
    add(&input, "\r\n");
    assert_int_equal(input.size, 2048);
    check_bytes(CODEC_TEXT, slice_of(&input), BLF);
    struct text longer = {.size = 0};
    add(&longer, "get a b");
    add_run(&longer, ' ', 2049 - longer.size - 253);
    add_run(&longer, 'k', 251);
    add(&longer, "\r\n");
    assert_int_equal(longer.size, 2049);
    check_bytes(CODEC_TEXT, slice_of(&longer), "GET a +value +first\nGET b +value\n" BLF);
}

static void the_time_of_a_long_gat_stands_within_its_first_2048_bytes(void **state)
{
    (void)state;
    for (size_t end = 2046; end <= 2049; end++) {
        struct text input = {.size = 0};
        add(&input, "gat ");
        add_run(&input, ' ', end - 2 - input.size);
        add(&input, "10 a b\r\n");
        check_bytes(CODEC_TEXT, slice_of(&input),
                    end < 2048 ? "GET a exptime=10 +value +first +exptime\n"
                                 "GET b exptime=10 +value +last +exptime\n"
                               : "CLOSE  closes\n");
    }
}

static void a_context_may_be_1024_bytes_long(void **state)
{
    (void)state;
    struct text input = {.size = 0}, expected = {.size = 0};
    add(&input, "delete a @");
    add_run(&input, 'A', 1366); /* 1,024 bytes of zero */
    add(&input, "\r\n");
    add(&expected, "DELETE a context=");
    for (unsigned i = 0; i < 1024; i++)
        add(&expected, "\\x00");
    add(&expected, " +context\n");
    check_bytes(CODEC_TEXT, slice_of(&input), expected.bytes);
    struct text longer = {.size = 0};
    add(&longer, "delete a @");
    add_run(&longer, 'A', 1367);
    add(&longer, "\r\n");
    check_bytes(CODEC_TEXT, slice_of(&longer), "REJECT CLIENT_ERROR bad context\n");
}

static void a_zero_byte_is_part_of_a_key_or_an_unknown_command(void **state)
{
    (void)state;
    check_bytes(CODEC_TEXT, SLICE("get a\0b\r\n"), "GET a\\x00b +value +first +last\n");
    check_bytes(CODEC_TEXT, SLICE("get\0 a\r\n"), "REJECT ERROR\n");
    check_bytes(CODEC_TEXT, SLICE("set\0 a 0 0 1\r\n"), "REJECT ERROR\n");
}

static void no_input_at_all_is_no_operation(void **state)
{
    (void)state;
    struct parser parser = {0};
    struct operation operation;
    size_t consumed = 1;
    assert_int_equal(text_parse(&parser, (struct slice){NULL, 0}, &operation, &consumed),
                     PARSE_MORE);
    assert_int_equal(consumed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_keys_give_an_operation_per_key),
        cmocka_unit_test(storage_commands_take_their_value),
        cmocka_unit_test(refused_storage_commands_swallow_what_was_announced),
        cmocka_unit_test(commands_with_a_key_are_taken_apart),
        cmocka_unit_test(commands_to_the_server_keep_their_arguments),
        cmocka_unit_test(odd_lines_are_told_apart),
        cmocka_unit_test(pipelines_of_all_commands_stay_in_step),
        cmocka_unit_test(a_key_may_be_250_bytes_long_and_no_longer),
        cmocka_unit_test(a_key_that_is_too_long_refuses_its_whole_line_and_no_other),
        cmocka_unit_test(a_get_line_has_no_bound),
        cmocka_unit_test(a_long_get_line_ends_at_a_key_that_is_too_long),
        cmocka_unit_test(gat_and_vget_may_be_long_too),
        cmocka_unit_test(other_lines_close_the_connection_past_2048_bytes),
        cmocka_unit_test(blanks_in_a_get_line_are_bounded_behind_a_key),
        cmocka_unit_test(the_longest_key_may_end_a_long_line),
        cmocka_unit_test(a_get_line_of_2048_bytes_is_still_judged_whole),
        cmocka_unit_test(the_time_of_a_long_gat_stands_within_its_first_2048_bytes),
        cmocka_unit_test(a_context_may_be_1024_bytes_long),
        cmocka_unit_test(no_input_at_all_is_no_operation),
        cmocka_unit_test(a_zero_byte_is_part_of_a_key_or_an_unknown_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
