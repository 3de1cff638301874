#include "server/peer_link.h"
#include "ring/bytes.h"
#include "server/address.h"
#include "server/counters.h"
#include "server/item.h"
#include "server/log.h"
#include "server/store.h"
#include "server/transport.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define INPUT_BYTES (64 * 1024)
#define SUM_BYTES   8
/* Who has yet to greet cannot make us keep more than this. */
#define GREETING_BYTES_MAX 512
#define HEAD_BYTES         1024 /* of most frames: what is encoded without allocating, */
#define VALUES_MAX         16   /* and how many values are listed so */
#define REASON_BYTES       384
#define REASON_AGAIN_S     60
#define CELLS_ROOM         EXCHANGE_KEYS_MAX
#define SIBLINGS_ROOM      1024
#define SIBLINGS_LIMIT     (1u << 20)

struct peer_loop {
    struct ev_loop *loop;
    struct peer_loop_options options;
    ev_prepare before_wait; /* sends what the turn has left */
    struct peer_link *links;
    struct peer_link *unsent; /* those with something to send in this turn */
    struct peer_message message;
    struct peer_room room;
    char reason[REASON_BYTES]; /* that was logged last of a link that was accepted, */
    ev_tstamp reason_s;        /* and when */
    struct counters counters;  /* of the links' TLS */
    unsigned char input[INPUT_BYTES];
};

struct peer_link {
    struct peer_loop *owner;
    struct peer_link *next, *previous;
    struct peer_link *next_unsent;
    bool is_queued; /* among the loop's `unsent` */
    bool is_accepted;
    bool is_closing; /* once what is unsent has left */
    enum peer_link_state state;
    enum peer_link_use use;
    node_id to;
    struct transport transport;
    ev_io io;
    ev_timer timer; /* WAITING: connect again; CONNECTING and GREETING: give up */
    unsigned backoff_ms;
    struct sockaddr_storage address;
    socklen_t address_bytes;
    struct peer_greeting greeting;
    struct output output;
    uint64_t sent_count, received_count; /* frames with a sum, each way */
    unsigned char *rest;                 /* the start of a frame that has yet to be complete */
    size_t rest_bytes, rest_room;
    char reason[REASON_BYTES]; /* that was logged last */
    struct peer_link_stats stats;
    void *data;
};

static void on_io(struct ev_loop *, ev_io *, int events);
static void on_timer(struct ev_loop *, ev_timer *, int events);

/* ---- telling ---- */

/* Once per reason in a row, or once in a while: a peer that is down is tried again and again, and
 * one that is not let in comes again, each time as a new link from another port. */
static void log_reason(struct peer_link *link, const char *reason)
{
    struct peer_loop *owner = link->owner;
    char *last = link->is_accepted ? owner->reason : link->reason;
    ev_tstamp now_s = ev_now(owner->loop);
    char host[CONNECTION_ADDRESS_BYTES], line[REASON_BYTES];
    unsigned port = address_split((const struct sockaddr *)&link->address, host);

    if (link->is_accepted)
        snprintf(line, sizeof line, "peer at %s: %s", host, reason);
    else
        snprintf(line, sizeof line, "peer at %s:%u: %s", host, port, reason);
    if (strcmp(last, line) == 0 && (!link->is_accepted || now_s < owner->reason_s + REASON_AGAIN_S))
        return;
    memcpy(last, line, sizeof line);
    if (link->is_accepted)
        owner->reason_s = now_s;
    if (owner->options.is_quiet)
        log_info("%s", line);
    else
        log_warning("%s", line);
}

/* ---- opening and closing ---- */

static void set_timer(struct peer_link *link, unsigned ms)
{
    struct ev_loop *loop = link->owner->loop;

    ev_timer_stop(loop, &link->timer);
    if (ms > 0) {
        ev_timer_set(&link->timer, ms / 1000.0, 0.0);
        ev_timer_start(loop, &link->timer);
    }
}

static void wait_for(struct peer_link *link, int events)
{
    struct ev_loop *loop = link->owner->loop;

    if (ev_is_active(&link->io) && (link->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &link->io);
    ev_io_set(&link->io, link->transport.fd, events);
    ev_io_start(loop, &link->io);
}

static void forget_queued(struct peer_link *link)
{
    struct peer_link **at = &link->owner->unsent;

    while (link->is_queued) {
        if (*at == link) {
            *at = link->next_unsent;
            link->is_queued = false;
        } else {
            at = &(*at)->next_unsent;
        }
    }
}

/* Leaves nothing of the connection. */
static void disconnect(struct peer_link *link)
{
    forget_queued(link);
    ev_io_stop(link->owner->loop, &link->io);
    set_timer(link, 0);
    if (link->transport.fd >= 0)
        transport_close(&link->transport);
    output_clear(&link->output);
    free(link->rest);
    link->rest = NULL;
    link->rest_bytes = link->rest_room = 0;
    link->is_closing = false;
}

void peer_link_free(struct peer_link *link)
{
    disconnect(link);
    if (link->previous != NULL)
        link->previous->next = link->next;
    else
        link->owner->links = link->next;
    if (link->next != NULL)
        link->next->previous = link->previous;
    output_deinit(&link->output);
    free(link);
}

/* The connection is over; `reason` goes to the log unless it is NULL. */
static void lose(struct peer_link *link, const char *reason)
{
    struct peer_loop *owner = link->owner;
    bool was_open = link->state == LINK_OPEN;

    if (reason != NULL)
        log_reason(link, reason);
    disconnect(link);
    link->state = LINK_WAITING;
    if (was_open) {
        link->stats.closed++;
        owner->options.owner.on_close(owner->options.owner.context, link);
    }
    if (link->is_accepted) {
        peer_link_free(link);
        return;
    }
    set_timer(link, link->backoff_ms);
    link->backoff_ms *= 2;
    if (link->backoff_ms > owner->options.backoff_ms_max)
        link->backoff_ms = owner->options.backoff_ms_max;
}

static struct peer_link *link_new(struct peer_loop *owner)
{
    struct peer_link *link = calloc(1, sizeof *link);

    if (link == NULL)
        return NULL;
    if (!output_init(&link->output, owner->options.store, OUTPUT_RESERVE_BYTES_MAX)) {
        free(link);
        return NULL;
    }
    link->owner = owner;
    link->transport.fd = -1;
    link->backoff_ms = owner->options.backoff_ms_min;
    ev_init(&link->io, on_io);
    ev_init(&link->timer, on_timer);
    link->io.data = link->timer.data = link;
    link->next = owner->links;
    if (link->next != NULL)
        link->next->previous = link;
    owner->links = link;
    return link;
}

static void set_socket_options(struct peer_link *link)
{
    int on = 1;
    unsigned silence_ms = link->owner->options.silence_ms_max;

    setsockopt(link->transport.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->transport.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
}

/* False: the system gives no random numbers. */
static bool start_greeting(struct peer_link *link)
{
    const struct peer_loop_options *options = &link->owner->options;
    struct peer_hello hello = {
        .version = PEER_VERSION,
        .from = options->self,
        .to = link->to,
        .incarnation = options->incarnation,
        .use = link->use,
        .has_secret = options->secret != NULL,
    };

    if (getrandom(hello.nonce, sizeof hello.nonce, 0) != sizeof hello.nonce)
        return false;
    link->sent_count = link->received_count = 0;
    link->state = LINK_GREETING;
    peer_greeting_init(&link->greeting, link->is_accepted ? PEER_ACCEPTS : PEER_CONNECTS, &hello,
                       options->secret);
    return true;
}

/* ---- sending ---- */

static void queue(struct peer_link *link)
{
    if (link->is_queued)
        return;
    link->is_queued = true;
    link->next_unsent = link->owner->unsent;
    link->owner->unsent = link;
}

static bool has_sums(const struct peer_link *link)
{
    return link->state == LINK_OPEN && link->owner->options.secret != NULL;
}

static uint64_t sum_of(const struct siphash_key *key, uint64_t number, const struct slice *parts,
                       unsigned count)
{
    unsigned char counter[8];
    struct siphash sum;

    bytes_write_u64(counter, number);
    siphash_init(&sum, key);
    siphash_add(&sum, (struct slice){counter, sizeof counter});
    for (unsigned i = 0; i < count; i++)
        siphash_add(&sum, parts[i]);
    return siphash_end(&sum);
}

static void append_value(struct peer_link *link, struct slice value, struct item *item)
{
    if (item == NULL || value.size < ITEM_LONG_VALUE_BYTES) {
        output_append(&link->output, value);
    } else {
        item_ref(item);
        output_append_value(&link->output, item, value);
    }
}

/* Sends a head that was encoded, and the values listed behind it in `parts`. */
static void append_parts(struct peer_link *link, struct item *item, const struct slice *parts,
                         unsigned count)
{
    unsigned char sum[SUM_BYTES];

    output_append(&link->output, parts[0]);
    for (unsigned i = 1; i < count; i++)
        append_value(link, parts[i], item);
    if (has_sums(link)) {
        bytes_write_u64(sum, sum_of(&link->greeting.send_key, link->sent_count++, parts, count));
        output_append(&link->output, (struct slice){sum, SUM_BYTES});
    }
    link->stats.frames_sent++;
}

/* A frame that is not small.  False: it is larger than any may be. */
static bool send_measured(struct peer_link *link, const struct peer_message *message,
                          struct item *item)
{
    size_t head_bytes = peer_head_bytes(message);
    unsigned value_count = peer_values(message, NULL, 0);

    if (head_bytes + peer_value_bytes(message) > UINT32_MAX)
        return false;
    unsigned char *head = malloc(head_bytes);
    struct slice *parts = malloc((value_count + 1) * sizeof *parts);

    if (head != NULL && parts != NULL) {
        parts[0] = (struct slice){head, peer_encode_head(message, head)};
        peer_values(message, parts + 1, value_count);
        append_parts(link, item, parts, value_count + 1);
    } else {
        link->output.failed = true;
    }
    free(head);
    free(parts);
    return true;
}

/* False: the frame is too large. */
static bool send_message(struct peer_link *link, const struct peer_message *message,
                         struct item *item)
{
    unsigned char head[HEAD_BYTES];
    struct slice parts[VALUES_MAX + 1];
    unsigned value_count;
    size_t head_bytes =
        peer_encode(message, head, sizeof head, parts + 1, VALUES_MAX, &value_count);

    if (head_bytes > 0) {
        parts[0] = (struct slice){head, head_bytes};
        append_parts(link, item, parts, value_count + 1);
    } else if (!send_measured(link, message, item)) {
        return false;
    }
    queue(link);
    return true;
}

bool peer_link_send(struct peer_link *link, const struct peer_message *message, struct item *item)
{
    if (link->state != LINK_OPEN || link->is_closing)
        return false;
    if (link->output.pending_bytes > link->owner->options.unsent_bytes_max) {
        link->stats.refused_full++;
        return false;
    }
    return send_message(link, message, item);
}

/* Why nothing more can be sent or received. */
static const char *reason_of_break(const struct peer_link *link)
{
    if (link->transport.tls == NULL)
        return log_error_text(errno);
    return transport_is_in_handshake(&link->transport)
               ? "the TLS handshake failed: do both nodes have certificates of one authority?"
               : "the TLS connection broke";
}

/* Why nothing more comes.  Who made a link closes it when it is not needed any more (the one over
 * which it joined, say), so that is nothing to report once it was open. */
static const char *reason_of_end(const struct peer_link *link)
{
    return link->is_accepted && link->state == LINK_OPEN ? NULL : "the connection was closed";
}

/* Sends what the socket takes.  False: the link was lost. */
static bool flush(struct peer_link *link)
{
    bool took_all = true;

    if (link->output.failed) {
        lose(link, "out of memory for what is to be sent");
        return false;
    }
    while (!output_is_empty(&link->output) && took_all) {
        ssize_t sent = transport_send(&link->transport, &link->output, &took_all);
        if (sent == TRANSPORT_BROKEN) {
            lose(link, reason_of_break(link));
            return false;
        }
        if (sent < 0) {
            wait_for(link, sent == TRANSPORT_WAIT_READ ? EV_READ : EV_READ | EV_WRITE);
            return true;
        }
        link->stats.bytes_sent += (uint64_t)sent;
        output_sent(&link->output, (size_t)sent);
    }
    if (link->is_closing && output_is_empty(&link->output)) {
        lose(link, NULL);
        return false;
    }
    wait_for(link, output_is_empty(&link->output) ? EV_READ : EV_READ | EV_WRITE);
    return true;
}

static void flush_all(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct peer_loop *owner = prepare->data;

    (void)loop, (void)events;
    while (owner->unsent != NULL) {
        struct peer_link *link = owner->unsent;
        owner->unsent = link->next_unsent;
        link->is_queued = false;
        (void)flush(link);
    }
}

/* ---- receiving ---- */

void peer_link_refuse(struct peer_link *link, const char *reason)
{
    struct peer_message message = {.type = PEER_REFUSED};

    if (link->is_closing)
        return;
    message.refused.reason = (struct slice){(const unsigned char *)reason, strlen(reason)};
    log_reason(link, reason);
    (void)send_message(link, &message, NULL);
    link->is_closing = true;
}

static void on_greeting(struct peer_link *link, const struct peer_message *message)
{
    struct peer_link_owner *owner = &link->owner->options.owner;
    struct peer_greeting_effects effects;

    peer_greeting_step(&link->greeting, message, &effects);
    if (effects.has_answer)
        (void)send_message(link, &effects.answer, NULL);
    if (effects.failure != NULL) {
        log_reason(link, effects.failure);
        link->is_closing = true;
    } else if (link->greeting.state == GREETING_DONE) {
        link->state = LINK_OPEN;
        link->to = link->greeting.theirs.from;
        link->use = link->greeting.own.use;
        set_timer(link, 0);
        owner->on_open(owner->context, link);
    }
}

/* The peer says why it closes. */
static void on_refused(struct peer_link *link, struct slice reason)
{
    char text[sizeof "it refuses: " + UINT8_MAX];
    size_t used = (size_t)snprintf(text, sizeof text, "it refuses: ");

    for (size_t i = 0; i < reason.size && used + 1 < sizeof text; i++)
        text[used++] =
            reason.bytes[i] >= ' ' && reason.bytes[i] < 0x7f ? (char)reason.bytes[i] : '?';
    text[used] = '\0';
    log_reason(link, text);
    link->is_closing = true;
    queue(link);
}

/* Who is heard is well: only now, as an open link may yet be refused by its owners. */
static void hear(struct peer_link *link, const struct peer_message *message)
{
    struct peer_link_owner *owner = &link->owner->options.owner;

    owner->on_message(owner->context, link, message);
    if (link->is_closing)
        return;
    link->backoff_ms = link->owner->options.backoff_ms_min;
    link->reason[0] = '\0';
}

static void handle(struct peer_link *link, const struct peer_message *message)
{
    bool greets = message->type == PEER_HELLO || message->type == PEER_PROOF;

    link->stats.frames_received++;
    if (message->type == PEER_REFUSED)
        on_refused(link, message->refused.reason);
    else if (link->state == LINK_GREETING)
        on_greeting(link, message);
    else if (greets)
        peer_link_refuse(link, "it greets in the middle of a conversation");
    else
        hear(link, message);
}

/* More room for siblings.  False: too many, or memory is short. */
static bool grow_room(struct peer_room *room)
{
    unsigned wanted = 2 * room->sibling_room;
    struct sibling *more;

    if (wanted > SIBLINGS_LIMIT)
        return false;
    more = realloc(room->siblings, wanted * sizeof *more);
    if (more == NULL)
        return false;
    room->siblings = more;
    room->sibling_room = wanted;
    return true;
}

static bool sum_is_right(struct peer_link *link, struct slice frame)
{
    uint64_t expected = sum_of(&link->greeting.receive_key, link->received_count++, &frame, 1);

    return bytes_read_u64(frame.bytes + frame.size) == expected;
}

/* Handles the frame at the start of `input`.  Returns the bytes it took; 0: more is needed, or the
 * link is closing.  `*needed` is how many bytes it will have, or 0. */
static size_t take_frame(struct peer_link *link, struct slice input, uint64_t *needed)
{
    struct peer_loop *owner = link->owner;
    size_t sum_bytes = has_sums(link) ? SUM_BYTES : 0;
    uint64_t bytes_max =
        link->state == LINK_OPEN ? owner->options.frame_bytes_max : GREETING_BYTES_MAX;
    enum peer_parse parsed;
    uint64_t frame_bytes;

    do
        parsed = peer_parse(input, bytes_max, &owner->room, &owner->message, &frame_bytes);
    while (parsed == PEER_ROOM && grow_room(&owner->room));
    *needed = frame_bytes > 0 ? frame_bytes + sum_bytes : 0;
    if (parsed == PEER_MORE || (parsed == PEER_PARSED && input.size < *needed))
        return 0;
    if (parsed != PEER_PARSED) {
        peer_link_refuse(link, parsed == PEER_ROOM
                                   ? "a frame has more siblings than there is memory for"
                                   : "a frame makes no sense");
        return 0;
    }
    if (sum_bytes > 0 && !sum_is_right(link, (struct slice){input.bytes, frame_bytes})) {
        peer_link_refuse(link, "a frame has a wrong sum: somebody changes what is sent");
        return 0;
    }
    if (owner->options.owner.on_ahead != NULL)
        owner->options.owner.on_ahead(
            owner->options.owner.context,
            (struct slice){input.bytes + *needed, input.size - (size_t)*needed}, sum_bytes);
    handle(link, &owner->message);
    return *needed;
}

/* Keeps the start of a frame, in memory for all of it.  False: memory is short. */
static bool keep_rest(struct peer_link *link, struct slice left, uint64_t needed)
{
    size_t room = needed > left.size ? (size_t)needed : left.size;
    unsigned char *rest = NULL;

    if (left.size > 0 && (rest = malloc(room)) == NULL)
        return false;
    if (left.size > 0)
        memcpy(rest, left.bytes, left.size);
    free(link->rest);
    link->rest = rest;
    link->rest_bytes = left.size;
    link->rest_room = left.size > 0 ? room : 0;
    return true;
}

static void take_frames(struct peer_link *link, struct slice input)
{
    uint64_t needed = 0;

    while (input.size > 0 && !link->is_closing) {
        size_t taken = take_frame(link, input, &needed);
        if (taken == 0)
            break;
        input.bytes += taken;
        input.size -= taken;
    }
    if (link->is_closing)
        input.size = 0;
    if (!keep_rest(link, input, needed))
        peer_link_refuse(link, "out of memory for a frame");
}

/* One receive: into the frame that is being completed, or into the loop's buffer behind what is
 * left of the last one.  False: there was nothing, or the link was lost. */
static bool receive(struct peer_link *link)
{
    unsigned char *into = link->owner->input;
    size_t kept = link->rest_bytes, room = INPUT_BYTES;

    if (link->rest_room > INPUT_BYTES) {
        into = link->rest;
        room = link->rest_room;
    } else if (kept > 0) {
        memcpy(into, link->rest, kept);
    }
    assert(kept < room);
    ssize_t received = transport_receive(&link->transport, into + kept, room - kept);
    if (received == TRANSPORT_WAIT_READ || received == TRANSPORT_WAIT_WRITE)
        return false;
    if (received <= 0) {
        lose(link, received == 0 ? reason_of_end(link) : reason_of_break(link));
        return false;
    }
    link->stats.bytes_received += (uint64_t)received;
    link->rest_bytes += (size_t)received;
    if (into != link->rest || link->rest_bytes == link->rest_room)
        take_frames(link, (struct slice){into, kept + (size_t)received});
    return true;
}

/* ---- events ---- */

/* False: memory is short. */
static bool begin_tls(struct peer_link *link)
{
    struct peer_tls *tls = link->owner->options.tls;

    if (tls == NULL)
        return true;
    link->transport.tls =
        peer_tls_session(tls, link->transport.fd, !link->is_accepted, &link->owner->counters);
    return link->transport.tls != NULL;
}

/* Says in one byte what the link is for, as TLS hides the greeting.  The socket has room. */
static bool say_use(struct peer_link *link)
{
    unsigned char use = (unsigned char)link->use;

    return link->owner->options.tls == NULL || send(link->transport.fd, &use, 1, MSG_NOSIGNAL) == 1;
}

static void on_connected(struct peer_link *link)
{
    struct peer_message hello = {.type = PEER_HELLO};
    socklen_t size = sizeof errno;
    int error = 0;

    getsockopt(link->transport.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        lose(link, log_error_text(error));
        return;
    }
    if (!say_use(link)) {
        lose(link, log_error_text(errno));
        return;
    }
    if (!begin_tls(link)) {
        lose(link, "out of memory for TLS");
        return;
    }
    if (!start_greeting(link)) {
        lose(link, "the system gives no random numbers");
        return;
    }
    hello.hello = link->greeting.own;
    (void)send_message(link, &hello, NULL);
    wait_for(link, EV_READ);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
    struct peer_link *link = io->data;

    (void)loop;
    if (link->state == LINK_CONNECTING) {
        on_connected(link);
        return;
    }
    if ((events & EV_WRITE) != 0 && !flush(link))
        return;
    if ((events & EV_READ) == 0)
        return;
    if (!output_is_empty(&link->output)) /* it may be TLS that waited for the other side */
        queue(link);
    while (receive(link) && transport_has_pending(&link->transport))
        continue;
}

static void connect_now(struct peer_link *link)
{
    link->transport.fd =
        socket(link->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->transport.fd < 0) {
        lose(link, log_error_text(errno));
        return;
    }
    set_socket_options(link);
    link->state = LINK_CONNECTING;
    int result =
        connect(link->transport.fd, (const struct sockaddr *)&link->address, link->address_bytes);
    if (result != 0 && errno != EINPROGRESS) {
        lose(link, log_error_text(errno));
        return;
    }
    set_timer(link, link->owner->options.greeting_ms_max);
    wait_for(link, EV_WRITE);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct peer_link *link = timer->data;

    (void)loop, (void)events;
    if (link->state == LINK_WAITING)
        connect_now(link);
    else
        lose(link, link->state == LINK_CONNECTING ? "no connection in time"
                                                  : "it does not greet in time");
}

/* ---- for the owner ---- */

struct peer_loop *peer_loop_new(struct ev_loop *loop, const struct peer_loop_options *options)
{
    struct peer_loop *owner = calloc(1, sizeof *owner);

    if (owner == NULL)
        return NULL;
    owner->loop = loop;
    owner->options = *options;
    owner->room.cells = calloc(CELLS_ROOM, sizeof *owner->room.cells);
    owner->room.siblings = calloc(SIBLINGS_ROOM, sizeof *owner->room.siblings);
    owner->room.cell_room = CELLS_ROOM;
    owner->room.sibling_room = SIBLINGS_ROOM;
    if (owner->room.cells == NULL || owner->room.siblings == NULL) {
        free(owner->room.cells);
        free(owner->room.siblings);
        free(owner);
        return NULL;
    }
    ev_prepare_init(&owner->before_wait, flush_all);
    ev_set_priority(&owner->before_wait, EV_MINPRI); /* others may send as they prepare */
    owner->before_wait.data = owner;
    ev_prepare_start(loop, &owner->before_wait);
    return owner;
}

void peer_loop_free(struct peer_loop *owner)
{
    while (owner->links != NULL)
        peer_link_free(owner->links);
    ev_prepare_stop(owner->loop, &owner->before_wait);
    free(owner->room.cells);
    free(owner->room.siblings);
    free(owner);
}

struct peer_link *peer_link_connect(struct peer_loop *owner, node_id to,
                                    const struct sockaddr *address, socklen_t address_bytes,
                                    enum peer_link_use use)
{
    struct peer_link *link = link_new(owner);

    if (link == NULL)
        return NULL;
    assert(address_bytes <= sizeof link->address);
    memcpy(&link->address, address, address_bytes);
    link->address_bytes = address_bytes;
    link->to = to;
    link->use = use;
    /* Not at once, so that the owner has the link before it hears of it. */
    ev_timer_set(&link->timer, 0.0, 0.0);
    ev_timer_start(owner->loop, &link->timer);
    return link;
}

struct peer_link *peer_link_accept(struct peer_loop *owner, int fd)
{
    struct peer_link *link = link_new(owner);

    if (link == NULL) {
        close(fd);
        return NULL;
    }
    link->transport.fd = fd;
    link->is_accepted = true;
    link->use = PEER_LINK_REQUESTS; /* until the peer says */
    link->address_bytes = sizeof link->address;
    getpeername(fd, (struct sockaddr *)&link->address, &link->address_bytes);
    set_socket_options(link);
    if (!begin_tls(link) || !start_greeting(link)) {
        log_reason(link, "no memory for TLS, or the system gives no random numbers");
        peer_link_free(link);
        return NULL;
    }
    set_timer(link, owner->options.greeting_ms_max);
    wait_for(link, EV_READ);
    return link;
}

enum peer_link_state peer_link_state(const struct peer_link *link)
{
    return link->state;
}

node_id peer_link_peer(const struct peer_link *link)
{
    return link->to;
}

enum peer_link_use peer_link_use(const struct peer_link *link)
{
    return link->use;
}

const struct peer_hello *peer_link_hello(const struct peer_link *link)
{
    assert(link->state == LINK_OPEN);
    return &link->greeting.theirs;
}

bool peer_link_name(const struct peer_link *link, struct member_name *name)
{
    assert(link->state == LINK_OPEN);
    if (link->transport.tls != NULL)
        return peer_tls_name(link->transport.tls, name);
    *name = (struct member_name){0};
    return false;
}

void **peer_link_data(struct peer_link *link)
{
    return &link->data;
}

void peer_link_stats(const struct peer_link *link, struct peer_link_stats *stats)
{
    *stats = link->stats;
    stats->unsent_bytes = link->output.pending_bytes;
}
