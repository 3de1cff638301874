#include "server/peer_listener.h"
#include "server/address.h"
#include "server/log.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG           128
#define HELLO_BYTES_MAX   256
#define WAITING_MAX       256 /* connections that have not greeted yet */
#define ADDRESS_BYTES_MAX 256
#define EVENTS_MAX        16

/* A connection that has not greeted yet. */
struct waiting {
    struct peer_listener *listener;
    struct waiting *next, *previous;
    int fd;
    ev_timer timer;
};

/* Those that wait have an epoll set of their own, which is told at once when one goes: libev leaves
 * a descriptor in its set until the next event there, and another thread has it by then. */
struct peer_listener {
    struct peer_listener_options options;
    struct ev_loop *loop; /* NULL: not started */
    int fd, waiting_fd;
    ev_io io, waiting_io;
    struct waiting *waiting;
    unsigned waiting_count;
    char text[CONNECTION_ADDRESS_BYTES + 8];
};

/* --- addresses --- */

bool peer_address_resolve(const char *text, size_t bytes, struct sockaddr_storage *address,
                          socklen_t *address_bytes)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *found = NULL;
    char copy[ADDRESS_BYTES_MAX];
    char *host = copy, *port;

    if (bytes >= sizeof copy)
        return false;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    port = strrchr(copy, ':');
    if (port == NULL)
        return false;
    *port++ = '\0';
    size_t host_bytes = strlen(host);
    if (host[0] == '[' && host[host_bytes - 1] == ']') {
        host[host_bytes - 1] = '\0';
        host++;
    }
    if (*host == '\0' || *port == '\0' || port[strspn(port, "0123456789")] != '\0' ||
        strtoul(port, NULL, 10) > 65535 || getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    memset(address, 0, sizeof *address);
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *address_bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;

    if (address->ss_family == AF_INET)
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static bool is_every(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;

    if (address->ss_family == AF_INET)
        return in->sin_addr.s_addr == htonl(INADDR_ANY);
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

/* What speaks against listening there; NULL: nothing does. */
static const char *find_fault(const struct peer_listener_options *options,
                              const struct sockaddr_storage *address)
{
    if (is_every(address))
        return "other nodes are told this address: say the one at which they reach this machine";
    if (!options->is_protected && !is_loopback(address))
        return "anybody who reaches this address could be a node: say --cluster-secret-file FILE "
               "or --cluster-tls-..., or listen on a loopback address";
    return NULL;
}

/* --- connections that have not greeted yet --- */

/* Gives its descriptor. */
static int forget(struct waiting *waiting)
{
    struct peer_listener *listener = waiting->listener;
    int fd = waiting->fd;

    epoll_ctl(listener->waiting_fd, EPOLL_CTL_DEL, fd, NULL);
    ev_timer_stop(listener->loop, &waiting->timer);
    if (waiting->next != NULL)
        waiting->next->previous = waiting->previous;
    if (waiting->previous != NULL)
        waiting->previous->next = waiting->next;
    else
        listener->waiting = waiting->next;
    listener->waiting_count--;
    free(waiting);
    return fd;
}

static void hand_over(struct waiting *waiting, enum peer_link_use use)
{
    struct peer_listener *listener = waiting->listener;
    int fd = forget(waiting), least = 1;

    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
    listener->options.take(listener->options.context, use, fd);
}

/* Before TLS: anything else than a use goes the way of background links, too. */
static void read_use(struct waiting *waiting)
{
    unsigned char use;
    ssize_t size = recv(waiting->fd, &use, 1, 0);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0)
        close(forget(waiting));
    else
        hand_over(waiting, use == PEER_LINK_REQUESTS ? PEER_LINK_REQUESTS : PEER_LINK_BACKGROUND);
}

/* What makes no sense goes the way of background links, where it is refused and logged. */
static void look_at(struct waiting *waiting)
{
    unsigned char bytes[HELLO_BYTES_MAX];
    struct peer_message message;
    struct peer_room room = {0};
    uint64_t frame_bytes;

    if (waiting->listener->options.has_tls) {
        read_use(waiting);
        return;
    }
    ssize_t size = recv(waiting->fd, bytes, sizeof bytes, MSG_PEEK);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        close(forget(waiting));
        return;
    }
    switch (peer_parse((struct slice){bytes, (size_t)size}, sizeof bytes, &room, &message,
                       &frame_bytes)) {
    case PEER_PARSED:
        hand_over(waiting, message.type == PEER_HELLO ? message.hello.use : PEER_LINK_BACKGROUND);
        break;
    case PEER_MORE: break;
    case PEER_BAD:
    case PEER_ROOM: hand_over(waiting, PEER_LINK_BACKGROUND); break;
    }
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    struct peer_listener *listener = io->data;
    struct epoll_event readable[EVENTS_MAX];
    int count = epoll_wait(listener->waiting_fd, readable, EVENTS_MAX, 0);

    (void)loop, (void)events;
    for (int i = 0; i < count; i++)
        look_at(readable[i].data.ptr);
}

static void on_silence(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    close(forget(timer->data));
}

/* The socket is readable once a whole HELLO is there: so nobody who sends less keeps us busy. */
static void wait_for_greeting(struct peer_listener *listener, int fd)
{
    const struct peer_message hello = {.type = PEER_HELLO, .hello = {.use = PEER_LINK_BACKGROUND}};
    struct waiting *waiting = calloc(1, sizeof *waiting);
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = waiting};
    int least = listener->options.has_tls ? 1 : (int)peer_head_bytes(&hello);

    assert(least <= HELLO_BYTES_MAX);
    if (waiting == NULL || epoll_ctl(listener->waiting_fd, EPOLL_CTL_ADD, fd, &readable) != 0) {
        free(waiting);
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
    waiting->listener = listener;
    waiting->fd = fd;
    waiting->next = listener->waiting;
    if (waiting->next != NULL)
        waiting->next->previous = waiting;
    listener->waiting = waiting;
    listener->waiting_count++;
    ev_timer_init(&waiting->timer, on_silence, listener->options.greeting_ms_max / 1000.0, 0.0);
    waiting->timer.data = waiting;
    ev_timer_start(listener->loop, &waiting->timer);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int events)
{
    struct peer_listener *listener = io->data;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)loop, (void)events;
    if (fd < 0)
        return;
    if (listener->waiting_count == WAITING_MAX)
        close(fd); /* a node comes again */
    else
        wait_for_greeting(listener, fd);
}

/* --- its life --- */

/* Gives a socket that listens, or -1 and what failed. */
static int listen_at(const struct sockaddr_storage *address, socklen_t address_bytes)
{
    int on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)address, address_bytes) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void describe(struct peer_listener *listener)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    char host[CONNECTION_ADDRESS_BYTES];

    getsockname(listener->fd, (struct sockaddr *)&address, &bytes);
    unsigned port = address_split((const struct sockaddr *)&address, host);
    snprintf(listener->text, sizeof listener->text, "%s:%u", host, port);
}

struct peer_listener *peer_listener_open(const struct peer_listener_options *options)
{
    const char *text = options->address, *fault;
    struct peer_listener *listener = calloc(1, sizeof *listener);
    struct sockaddr_storage address;
    socklen_t address_bytes;

    if (listener == NULL || (listener->waiting_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        log_error("--cluster-listen %s: out of memory or descriptors", text);
        free(listener);
        return NULL;
    }
    listener->options = *options;
    if (!peer_address_resolve(text, strlen(text), &address, &address_bytes)) {
        log_error("--cluster-listen %s: is no address: say ADDRESS:PORT or [IPV6]:PORT", text);
    } else if ((fault = find_fault(options, &address)) != NULL) {
        log_error("--cluster-listen %s: %s", text, fault);
    } else if ((listener->fd = listen_at(&address, address_bytes)) < 0) {
        log_error("--cluster-listen %s: %s", text, log_error_text(errno));
    } else {
        describe(listener);
        return listener;
    }
    close(listener->waiting_fd);
    free(listener);
    return NULL;
}

void peer_listener_start(struct peer_listener *listener, struct ev_loop *loop)
{
    assert(listener->loop == NULL);
    listener->loop = loop;
    ev_io_init(&listener->io, on_connection, listener->fd, EV_READ);
    ev_io_init(&listener->waiting_io, on_readable, listener->waiting_fd, EV_READ);
    listener->io.data = listener->waiting_io.data = listener;
    ev_io_start(loop, &listener->io);
    ev_io_start(loop, &listener->waiting_io);
}

void peer_listener_close(struct peer_listener *listener)
{
    if (listener == NULL)
        return;
    while (listener->waiting != NULL)
        close(forget(listener->waiting));
    if (listener->loop != NULL) {
        ev_io_stop(listener->loop, &listener->io);
        ev_io_stop(listener->loop, &listener->waiting_io);
    }
    close(listener->waiting_fd);
    close(listener->fd);
    free(listener);
}

const char *peer_listener_text(const struct peer_listener *listener)
{
    return listener->text;
}
