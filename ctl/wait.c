#include "ctl/wait.h"

#include "ctl/print.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS_FIRST 50
#define POLL_MS_MAX   500

/* Where waiting has come to. */
struct progress {
    const struct wait *wait;
    double most, left;
    bool is_done;
};

/* What one poll says. */
static void take(struct progress *progress, const struct answer *answer)
{
    const struct wait *wait = progress->wait;
    const char *name = wait->left == NULL ? "partitions_left" : wait->left;
    bool has_left = answer_find(answer, wait->node, name) != NULL;

    progress->left = answer_number(answer, wait->node, name);
    if (progress->left > progress->most)
        progress->most = progress->left;
    if (wait->gone != NULL) {
        const char *status = answer_find(answer, wait->gone, "status");

        progress->is_done = status == NULL || strcmp(status, "gone") == 0;
    } else {
        progress->is_done = has_left && progress->left <= 0;
    }
}

static void show(struct bar *bar, const struct progress *progress)
{
    char text[64];

    snprintf(text, sizeof text, "%.0f left", progress->left);
    bar_show(bar, progress->most <= 0 ? 0 : 1 - progress->left / progress->most, text);
}

/* One poll.  The node that was asked may itself go away: that is what was wanted of it when it was
 * to leave and owns nothing any more. */
static enum exit_code poll_once(struct wire *wire, struct progress *progress)
{
    const struct wait *wait = progress->wait;
    struct answer answer;
    enum exit_code code =
        answer_get(wire, wait->poll == NULL ? "cluster moves" : wait->poll, &answer);

    if (code == EXIT_FINE)
        take(progress, &answer);
    else if (code == EXIT_UNREACHABLE && wait->gone != NULL && progress->most > 0 &&
             progress->left <= 0)
        progress->is_done = true;
    answer_free(&answer);
    return progress->is_done ? EXIT_FINE : code;
}

static enum exit_code wait_until_done(const struct options *options, struct wire *wire,
                                      struct progress *progress)
{
    uint64_t now_ms = wire_now_ms(), heard_ms = now_ms;
    uint64_t end_ms = now_ms + (uint64_t)(options->wait_s * 1000);
    int pause_ms = POLL_MS_FIRST;
    enum exit_code code;
    struct bar bar;

    bar_start(&bar, progress->wait->title);
    for (;;) {
        code = poll_once(wire, progress);
        now_ms = wire_now_ms();
        if (code == EXIT_FINE)
            heard_ms = now_ms;
        /* A node that does not answer for a moment has not forgotten what it does. */
        if (progress->is_done || code == EXIT_REFUSED ||
            (code != EXIT_FINE && now_ms - heard_ms >= wire->timeout_ms))
            break;
        if (now_ms >= end_ms) {
            code = wire_blame(wire, EXIT_LATE,
                              "not complete within %g s (--wait): %.0f left; it goes on: ringctl "
                              "status shows how far it is",
                              options->wait_s, progress->left);
            break;
        }
        show(&bar, progress);
        poll(NULL, 0, pause_ms);
        pause_ms = 2 * pause_ms > POLL_MS_MAX ? POLL_MS_MAX : 2 * pause_ms;
    }
    bar_end(&bar);
    return code;
}

/* Whether something that waiting does not end is to be told: the act's own lines. */
static void report(const struct options *options, const struct answer *act,
                   const struct progress *progress)
{
    json_t *json;

    if (!options->as_json) {
        puts(progress->is_done ? "done" : "begun: it goes on by itself");
        return;
    }
    json = answer_to_json(act);
    json_object_set_new(json, "is_complete", json_boolean(progress->is_done));
    print_json(json);
}

enum exit_code act_and_wait(const struct options *options, struct wire *wire, const char *command,
                            const struct wait *wait)
{
    struct progress progress = {.wait = wait};
    struct answer act;
    char text[1100];
    enum exit_code code;

    snprintf(text, sizeof text, "%s%s", command, options->force ? " force" : "");
    code = answer_get(wire, text, &act);
    if (code == EXIT_FINE && options->wait_s > 0)
        code = wait_until_done(options, wire, &progress);
    if (code == EXIT_FINE && progress.is_done && wait->check != NULL)
        code = wait->check(wire);
    if (code == EXIT_FINE)
        report(options, &act, &progress);
    answer_free(&act);
    return code;
}
