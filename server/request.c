/* To be filled within the hour: until then every command is refused, and there are no links. */
#include "server/request.h"
#include "server/worker.h"
#include <assert.h>
#include <unistd.h>

struct requests *requests_new(struct worker *worker, struct cluster *cluster)
{
    (void)worker, (void)cluster;
    return NULL;
}

void requests_free(struct requests *requests)
{
    (void)requests;
}

void requests_begin_turn(struct requests *requests)
{
    (void)requests;
}

void requests_end_turn(struct requests *requests)
{
    (void)requests;
}

void requests_start(struct requests *requests, enum request_class class,
                    const struct operation *operation, struct item *item,
                    struct request_client *client)
{
    const struct request_answered answered = {.answer = ANSWER_REFUSED, .operation = operation};

    (void)requests, (void)class, (void)item;
    client->answer(client, &answered);
}

bool requests_owner_may_answer(struct requests *requests, const struct operation *operation)
{
    (void)requests, (void)operation;
    return false;
}

unsigned requests_in_flight(const struct requests *requests)
{
    (void)requests;
    return 0;
}

void requests_take_link(struct worker *worker, int fd)
{
    assert(worker->requests == NULL);
    close(fd);
}

void requests_stats(struct request_stats *stats)
{
    *stats = (struct request_stats){0};
}
