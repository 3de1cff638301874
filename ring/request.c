#include "ring/request.h"
#include <assert.h>

void request_send(struct request_effects *effects, node_id to, enum request_send_kind kind,
                  node_id hint_for)
{
    assert(effects->send_count < REQUEST_SENDS_MAX);
    assert(to != NODE_NONE);
    effects->sends[effects->send_count++] = (struct request_send){to, hint_for, kind};
}

void request_answers(struct request_effects *effects, enum request_answer answer, unsigned got,
                     unsigned needed)
{
    assert(!effects->answers);
    effects->answers = true;
    effects->answer = answer;
    effects->got = got;
    effects->needed = needed;
}

const char *request_answer_name(enum request_answer answer)
{
    switch (answer) {
    case ANSWER_DONE: return "done";
    case ANSWER_READ_FAILED: return "read failed";
    case ANSWER_WRITE_FAILED: return "write failed";
    case ANSWER_REFUSED: return "refused";
    case ANSWER_UNKNOWN: return "unknown";
    }
    return "no answer";
}
