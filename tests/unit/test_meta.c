#include "tests/unit/codec_check.h"

#define COUNT(cases)  (sizeof(cases) / sizeof *(cases))
#define BLF           "REJECT CLIENT_ERROR bad command line format\n"
#define DUPLICATE     "REJECT CLIENT_ERROR duplicate flag\n"
#define INVALID       "REJECT CLIENT_ERROR invalid flag\n"
#define BAD_TOKEN     "REJECT CLIENT_ERROR bad token in command line format\n"
#define BAD_KEY       "REJECT CLIENT_ERROR error decoding key\n"
#define TOO_MANY      "REJECT CLIENT_ERROR options flags are too long\n"
#define LONG_OPAQUE   "REJECT CLIENT_ERROR opaque token too long\n"
#define MS_MODE       "REJECT CLIENT_ERROR invalid mode for ms M token\n"
#define MA_MODE       "REJECT CLIENT_ERROR invalid mode for ma M token\n"
#define MA_FLAG       "REJECT CLIENT_ERROR invalid or duplicate flag\n"
#define BAD_CONTEXT   "REJECT CLIENT_ERROR bad context\n"
#define CONTEXT_FLAGS "REJECT CLIENT_ERROR a context excludes C, E, I and modes but set\n"

static void check(const struct codec_case *cases, size_t count)
{
    check_cases(CODEC_TEXT, cases, count, SLICE("get z\r\n"), "GET z +value +first +last\n");
}

static const struct codec_case gets[] = {
    {"mg a\r\n", "GET a meta=\n"},
    {"mg a\n", "GET a meta=\n"},
    {"mg a v\r\n", "GET a +value meta=v\n"},
    {"mg  a   v  k \r\n", "GET a +value meta=v\\x20\\x20k\\x20\n"},
    {"mg a s t f h l\r\n", "GET a +meta meta=s\\x20t\\x20f\\x20h\\x20l\n"},
    {"mg a c k q u Oxy P1 L2\r\n",
     "GET a +quiet +cas +cold meta=c\\x20k\\x20q\\x20u\\x20Oxy\\x20P1\\x20L2\n"},
    {"mg a C5 E6 N7 R8 T9\r\n",
     "GET a exptime=9 compare=5 new=6 vivify=7 recache=8 +compare +set_cas +exptime +vivify "
     "+recache meta=C5\\x20E6\\x20N7\\x20R8\\x20T9\n"},
    {"mg a T-1 N-2 R-3\r\n", "GET a exptime=-1 vivify=-2 recache=-3 +exptime +vivify +recache "
                             "meta=T-1\\x20N-2\\x20R-3\n"},
    {"mg a y n\r\n", "GET a +give_context +count meta=y\\x20n\n"},
    {"mg YQ== b v\r\n", "GET a +value +encoded meta=b\\x20v\n"},
    {"mg AAEC b\r\n", "GET \\x00\\x01\\x02 +encoded meta=b\n"},
    {"mg a+/b b\r\n", "GET k\\xef\\xdb +encoded meta=b\n"},
    {"mg a bx\r\n", BAD_KEY},
    /* Flags of other commands are checked and have no meaning. */
    {"mg a F1 J2 D3 I x Mz S\r\n", INVALID},
    {"mg a F1 J2 D3 I x Mz Y@\r\n", "GET a meta=F1\\x20J2\\x20D3\\x20I\\x20x\\x20Mz\\x20Y@\n"},
    /* What stands behind a letter that has no argument is ignored. */
    {"mg a vv kk\r\n", "GET a +value meta=vv\\x20kk\n"},
    {"mg\r\n", BLF},
    {"mg \r\n", BLF},
    {"mg a v v\r\n", DUPLICATE},
    {"mg a O1 O2\r\n", DUPLICATE},
    {"mg a Z\r\n", INVALID},
    {"mg a z\r\n", INVALID},
    {"mg a a\r\n", INVALID},
    {"mg a 1\r\n", INVALID},
    {"mg a [\r\n", INVALID},
    {"mg a ^\r\n", INVALID},
    {"mg a noreply\r\n", INVALID},
    {"mg a yes\r\n", INVALID},
    {"mg a !\r\n", BLF},
    {"mg a ~x\r\n", BLF},
    {"mg a @\r\n", BLF},
    {"mg a \x80\r\n", BLF},
    {"mg a T\r\n", BAD_TOKEN},
    {"mg a Tx\r\n", BAD_TOKEN},
    {"mg a T2147483648\r\n", BAD_TOKEN},
    {"mg a N\r\n", BAD_TOKEN},
    {"mg a R1x\r\n", BAD_TOKEN},
    {"mg a C\r\n", BAD_TOKEN},
    {"mg a C-1\r\n", BAD_TOKEN},
    {"mg a C18446744073709551616\r\n", BAD_TOKEN},
    {"mg a E\r\n", BAD_TOKEN},
    {"mg a F\r\n", BLF},
    {"mg a Fx\r\n", BLF},
    {"mg Y b\r\n", BAD_KEY},
    {"mg YQ b\r\n", BAD_KEY},
    {"mg YQ= b\r\n", BAD_KEY},
    {"mg YQ=== b\r\n", BAD_KEY},
    {"mg ==== b\r\n", BAD_KEY},
    {"mg YR== b\r\n", BAD_KEY},
    {"mg YQ==YQ== b\r\n", BAD_KEY},
    {"mg Y-== b\r\n", BAD_KEY},
    {"mg a O12345678901234567890123456789012\r\n",
     "GET a meta=O12345678901234567890123456789012\n"},
    {"mg a O123456789012345678901234567890123\r\n", LONG_OPAQUE},
    {"mg a k v f s t h l c u q O P L N0 T0 R0 E1 C1\r\n",
     "GET a exptime=0 compare=1 new=1 vivify=0 recache=0 +quiet +value +cas +cold +compare "
     "+set_cas +exptime +vivify +recache +meta "
     "meta=k\\x20v\\x20f\\x20s\\x20t\\x20h\\x20l\\x20c\\x20u\\x20q\\x20O\\x20P\\x20L\\x20N0\\x20"
     "T0\\x20R0\\x20E1\\x20C1\n"},
    {"mg a k v f s t h l c u q O P L N0 T0 R0 E1 C1 I\r\n", TOO_MANY},
};

static void mg_takes_its_flags(void **state)
{
    (void)state;
    check(gets, COUNT(gets));
}

static const struct codec_case stores[] = {
    {"ms a 1\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime meta= value=x\n"},
    {"ms a 0\r\n\r\n", "STORE set a flags=0 exptime=0 +exptime meta= value=\n"},
    {"ms  a  1 \nx\r\n", "STORE set a flags=0 exptime=0 +exptime meta= value=x\n"},
    {"ms a 1 F5 T6\r\nx\r\n", "STORE set a flags=5 exptime=6 +exptime meta=F5\\x20T6 value=x\n"},
    {"ms a 1 c k q Oz s\r\nx\r\n",
     "STORE set a flags=0 exptime=0 +quiet +cas +exptime meta=c\\x20k\\x20q\\x20Oz\\x20s "
     "value=x\n"},
    {"ms a 1 C5 I E9\r\nx\r\n",
     "STORE set a flags=0 exptime=0 compare=5 new=9 +compare +set_cas +exptime +invalidate "
     "meta=C5\\x20I\\x20E9 value=x\n"},
    {"ms a 1 MS\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime meta=MS value=x\n"},
    {"ms a 1 ME\r\nx\r\n", "STORE add a flags=0 exptime=0 +exptime meta=ME value=x\n"},
    {"ms a 1 MR\r\nx\r\n", "STORE replace a flags=0 exptime=0 +exptime meta=MR value=x\n"},
    {"ms a 1 MA\r\nx\r\n", "STORE append a flags=0 meta=MA value=x\n"},
    {"ms a 1 MP N3 T4\r\nx\r\n",
     "STORE prepend a flags=0 vivify=3 +vivify meta=MP\\x20N3\\x20T4 value=x\n"},
    {"ms a 1 N3 MA\r\nx\r\n", "STORE append a flags=0 vivify=3 +vivify meta=N3\\x20MA value=x\n"},
    {"ms a 1 N3\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime meta=N3 value=x\n"},
    {"ms a 1 MSET\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime meta=MSET value=x\n"},
    {"ms YQ== 1 b\r\nx\r\n", "STORE set a flags=0 exptime=0 +exptime +encoded meta=b value=x\n"},
    {"ms a 1 Y@ y\r\nx\r\n",
     "STORE set a flags=0 exptime=0 context= +exptime +context +give_context meta=Y@\\x20y "
     "value=x\n"},
    {"ms a 1 Y@YWJj MS\r\nx\r\n",
     "STORE set a flags=0 exptime=0 context=abc +exptime +context meta=Y@YWJj\\x20MS value=x\n"},
    /* Refused, with the data. */
    {"ms a 1 v v\r\nx\r\n", DUPLICATE},
    {"ms a 6 q z\r\nget a\n\r\n", INVALID},
    {"ms a 1 S9\r\nx\r\n", INVALID},
    {"ms a 1 !\r\nx\r\n", BLF},
    {"ms a 1 T5x\r\nx\r\n", BAD_TOKEN},
    {"ms a 1 F\r\nx\r\n", BLF},
    {"ms a 1 F-1\r\nx\r\n", BLF},
    {"ms a 1 F4294967296\r\nx\r\n", BLF},
    {"ms a 1 M\r\nx\r\n", MS_MODE},
    {"ms a 1 Me\r\nx\r\n", MS_MODE},
    {"ms a 1 MI\r\nx\r\n", MS_MODE},
    {"ms Y 1 b\r\nx\r\n", BAD_KEY},
    {"ms a 1 O1234567890123456789012345678901234\r\nx\r\n", LONG_OPAQUE},
    {"ms a 1 Y\r\nx\r\n", BAD_CONTEXT},
    {"ms a 1 YYWJj\r\nx\r\n", BAD_CONTEXT},
    {"ms a 1 Y@Y\r\nx\r\n", BAD_CONTEXT},
    {"ms a 1 Y@ C1\r\nx\r\n", CONTEXT_FLAGS},
    {"ms a 1 E1 Y@\r\nx\r\n", CONTEXT_FLAGS},
    {"ms a 1 Y@ I\r\nx\r\n", CONTEXT_FLAGS},
    {"ms a 1 Y@ MA\r\nx\r\n", CONTEXT_FLAGS},
    {"ms a 1 k v f s t h l c u q O P L N0 T0 R0 E1 C1\r\nx\r\n", TOO_MANY},
    /* Refused without: how much data there is was not said. */
    {"ms\r\n", BLF},
    {"ms a\r\n", BLF},
    {"ms a x\r\nxyz\r\n", BLF "REJECT ERROR\n"},
    {"ms a -1\r\n", BLF},
    {"ms a S1\r\nxyz\r\n", BLF "REJECT ERROR\n"},
    {"ms a 2147483646\r\n", BLF},
    {"ms a 2147483645 q\r\n",
     "STORE set a flags=0 exptime=0 +quiet +exptime meta=q\nvalue 2147483647\n"},
    {"ms a 1 q O1\r\nxyzzy\r\n", "REJECT CLIENT_ERROR bad data chunk\nREJECT ERROR\n"},
};

static void ms_takes_its_flags_and_its_value(void **state)
{
    (void)state;
    check(stores, COUNT(stores));
}

static const struct codec_case others[] = {
    {"md a\r\n", "DELETE a meta=\n"},
    {"md a q k O1 C5 E6 b\r\n", BAD_KEY},
    {"md a q k O1 C5 E6\r\n",
     "DELETE a compare=5 new=6 +quiet +compare +set_cas meta=q\\x20k\\x20O1\\x20C5\\x20E6\n"},
    {"md a I T30\r\n", "DELETE a exptime=30 +exptime +invalidate meta=I\\x20T30\n"},
    {"md a x\r\n", "DELETE a +drop meta=x\n"},
    {"md a Y@YWJj\r\n", "DELETE a context=abc +context meta=Y@YWJj\n"},
    {"md a Y@ I\r\n", CONTEXT_FLAGS},
    {"md a Y@~\r\n", BAD_CONTEXT},
    {"md\r\n", BLF},
    {"md a q q\r\n", DUPLICATE},
    {"md a Z\r\n", INVALID},
    {"ma a\r\n", "ARITHMETIC add a delta=1 initial=0 meta=\n"},
    {"ma a D5 J6 N7 T8 C9 E10 v c t k q\r\n",
     "ARITHMETIC add a delta=5 initial=6 exptime=8 compare=9 new=10 vivify=7 +quiet +value +cas "
     "+compare +set_cas +exptime +vivify +meta "
     "meta=D5\\x20J6\\x20N7\\x20T8\\x20C9\\x20E10\\x20v\\x20c\\x20t\\x20k\\x20q\n"},
    {"ma a MI\r\n", "ARITHMETIC add a delta=1 initial=0 meta=MI\n"},
    {"ma a M+\r\n", "ARITHMETIC add a delta=1 initial=0 meta=M+\n"},
    {"ma a MD\r\n", "ARITHMETIC subtract a delta=1 initial=0 meta=MD\n"},
    {"ma a M-x\r\n", "ARITHMETIC subtract a delta=1 initial=0 meta=M-x\n"},
    {"ma a M\r\n", MA_MODE},
    {"ma a Mi\r\n", MA_MODE},
    {"ma a MS\r\n", MA_MODE},
    {"ma a D\r\n", MA_FLAG},
    {"ma a Jx\r\n", MA_FLAG},
    {"ma a Z\r\n", MA_FLAG},
    {"ma a k k\r\n", MA_FLAG},
    {"ma a Cx\r\n", MA_FLAG},
    {"ma Y b\r\n", MA_FLAG},
    {"ma a !\r\n", BLF},
    {"ma\r\n", BLF},
    {"ma a O1234567890123456789012345678901234\r\n", LONG_OPAQUE},
    {"ma a Y@ C1\r\n", CONTEXT_FLAGS},
    {"me a\r\n", "INSPECT a +cas +cold +meta meta=\n"},
    {"me YQ== b\r\n", "INSPECT a +cas +cold +encoded +meta meta=b\n"},
    {"me a foo bar\r\n", "INSPECT a +cas +cold +meta meta=foo\n"},
    {"me Y b\r\n", BLF},
    {"me\r\n", BLF},
};

static void md_ma_and_me_take_their_flags(void **state)
{
    (void)state;
    check(others, COUNT(others));
}

static void pipelines_of_meta_commands_stay_in_step(void **state)
{
    (void)state;
    check_pipelines(CODEC_TEXT, gets, COUNT(gets), 20);
    check_pipelines(CODEC_TEXT, stores, COUNT(stores), 20);
    check_pipelines(CODEC_TEXT, others, COUNT(others), 20);
}

static void a_meta_key_may_be_250_bytes_long_and_no_longer(void **state)
{
    (void)state;
    static const struct {
        const char *command, *flags, *verb, *rest, *refusal;
    } rows[] = {
        {"mg ", " v\r\n", "GET ", " +value meta=v\n", BLF},
        {"ms ", " 1 q\r\nx\r\n", "STORE set ",
         " flags=0 exptime=0 +quiet +exptime meta=q value=x\n", BLF},
        {"md ", " q\r\n", "DELETE ", " +quiet meta=q\n", BLF},
        {"ma ", " q\r\n", "ARITHMETIC add ", " delta=1 initial=0 +quiet meta=q\n", MA_FLAG},
        {"me ", "\r\n", "INSPECT ", " +cas +cold +meta meta=\n", BLF},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char key[252], input[600], expected[600];
        memset(key, 'k', sizeof key);
        snprintf(input, sizeof input, "%s%.250s%s", rows[i].command, key, rows[i].flags);
        snprintf(expected, sizeof expected, "%s%.250s%s", rows[i].verb, key, rows[i].rest);
        check_bytes(CODEC_TEXT, (struct slice){(unsigned char *)input, strlen(input)}, expected);
        snprintf(input, sizeof input, "%s%.251s%s", rows[i].command, key, rows[i].flags);
        check_bytes(CODEC_TEXT, (struct slice){(unsigned char *)input, strlen(input)},
                    rows[i].refusal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mg_takes_its_flags),
        cmocka_unit_test(ms_takes_its_flags_and_its_value),
        cmocka_unit_test(md_ma_and_me_take_their_flags),
        cmocka_unit_test(pipelines_of_meta_commands_stay_in_step),
        cmocka_unit_test(a_meta_key_may_be_250_bytes_long_and_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
