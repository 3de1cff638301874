#include "tests/unit/quorum_check.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct route route;
struct request_effects effects;
struct ring_trace trace;

void make_route(unsigned copies, unsigned count, node_id self)
{
    route = (struct route){.copies = copies, .count = count, .self = (unsigned)self - 1};
    for (unsigned i = 0; i < count; i++)
        route.nodes[i] = (struct route_node){.id = i + 1,
                                             .hedge_ms = 20,
                                             .is_owner = i < copies,
                                             .is_reachable = true,
                                             .is_self = i + 1 == self};
}

void clear_trace(void)
{
    ring_trace_clear(&trace);
    effects.trace = &trace;
}

void assert_send(unsigned i, enum request_send_kind kind, node_id to, node_id hint_for)
{
    assert_true(i < effects.send_count);
    assert_int_equal(effects.sends[i].kind, kind);
    assert_int_equal(effects.sends[i].to, to);
    assert_int_equal(effects.sends[i].hint_for, hint_for);
}

void assert_answer(enum request_answer answer, unsigned got, unsigned needed)
{
    assert_true(effects.answers);
    assert_int_equal(effects.answer, answer);
    assert_int_equal(effects.got, got);
    assert_int_equal(effects.needed, needed);
}
