#include "server/listener.h"
#include "server/address.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/worker.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

/* Each address may be IPv4 and IPv6, TCP and UDP. */
#define LISTENERS_MAX (LISTEN_MAX * 4)

/* Accepted in one go before signals and timers have their turn. */
#define ACCEPTS_PER_EVENT 256

/* How often a listener that ran out of descriptors tries again, in case nobody tells it. */
#define RESUME_INTERVAL_S 0.1

static struct listener listeners[LISTENERS_MAX]; /* main thread; read by others while they run */
static _Atomic unsigned listener_count;          /* read by `stats` until the workers end */
static struct ev_loop *loop; /* kept when all is closed: a worker may just be about to wake it */
static bool is_started; /* main thread: the watchers are in use */
static ev_async resume;
static ev_timer resume_timer;

/* Who may touch these: anyone, atomically; written by the main thread. */
static atomic_bool is_paused;
static _Atomic uint64_t connections_total, connections_rejected;
static _Atomic uint64_t disabled_count, disabled_us;
static struct timespec paused_since;

/* ---- accepting ---- */

static void pause_accepting(const char *reason)
{
    if (atomic_load(&is_paused))
        return;
    log_warning("accepting no connections for now: %s", reason);
    clock_gettime(CLOCK_MONOTONIC, &paused_since);
    atomic_fetch_add(&disabled_count, 1);
    atomic_store(&is_paused, true);
    for (unsigned i = 0; i < listener_count; i++)
        ev_io_stop(loop, &listeners[i].readable);
    ev_timer_again(loop, &resume_timer);
}

static bool is_full(void)
{
    return workers_connection_count() >= settings.connections_max;
}

static void resume_accepting(void)
{
    struct timespec now;

    if (!atomic_load(&is_paused) || is_full())
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t us = (int64_t)(now.tv_sec - paused_since.tv_sec) * 1000000 +
                 (now.tv_nsec - paused_since.tv_nsec) / 1000;
    atomic_fetch_add(&disabled_us, (uint64_t)us);
    ev_timer_stop(loop, &resume_timer);
    atomic_store(&is_paused, false);
    for (unsigned i = 0; i < listener_count; i++)
        if (listeners[i].transport != TRANSPORT_UDP)
            ev_io_start(loop, &listeners[i].readable);
}

static void on_resume(struct ev_loop *main_loop, ev_async *async, int events)
{
    (void)main_loop;
    (void)async;
    (void)events;
    resume_accepting();
}

static void on_resume_timer(struct ev_loop *main_loop, ev_timer *timer, int events)
{
    (void)main_loop;
    (void)timer;
    (void)events;
    resume_accepting();
}

void listeners_on_connection_closed(void)
{
    if (atomic_load_explicit(&is_paused, memory_order_relaxed))
        ev_async_send(loop, &resume);
}

static void refuse(int fd)
{
    static const char text[] = "ERROR Too many open connections\r\n";

    (void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    atomic_fetch_add(&connections_rejected, 1);
}

static void take_in(const struct listener *listener, int fd, const struct sockaddr *peer)
{
    if (is_full()) {
        refuse(fd);
        return;
    }
    struct worker *worker = workers_least_busy();
    struct connection *connection = connection_new(worker, fd, listener, peer);
    if (connection == NULL) {
        log_error("no memory for a connection on %s", listener->text);
        return;
    }
    atomic_fetch_add(&connections_total, 1);
    worker_hand_over(worker, connection);
}

/* Accepts one.  False: there is no further one just now. */
static bool accept_one(const struct listener *listener)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t size = sizeof peer;

    if (!settings.maxconns_fast && is_full()) {
        pause_accepting("-c connections are open");
        return false;
    }
    int fd = accept4(listener->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        take_in(listener, fd, (const struct sockaddr *)&peer);
        /* When full, go on only if the loop says that somebody else waits. */
        return settings.maxconns_fast || !is_full();
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: pause_accepting(log_error_text(errno)); return false;
    case EINTR:
    case ECONNABORTED: return true;
    case EAGAIN: return false;
    default: log_error("accept on %s: %s", listener->text, log_error_text(errno)); return false;
    }
}

static void on_acceptable(struct ev_loop *main_loop, ev_io *io, int events)
{
    const struct listener *listener = io->data;

    (void)main_loop;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_EVENT && accept_one(listener); i++)
        continue;
}

/* ---- opening ---- */

static enum listen_tls effective_tls(enum listen_tls tls)
{
    return settings.tls.enabled ? tls : LISTEN_TLS_OFF;
}

/* Takes `fd`, bound and listening. */
static bool add_listener(int fd, enum connection_transport transport,
                         const struct listen_address *wanted)
{
    struct sockaddr_storage address = { 0 };
    socklen_t size = sizeof address;

    if (listener_count == LISTENERS_MAX) {
        log_error("more than %d addresses to listen on", LISTENERS_MAX);
        close(fd);
        return false;
    }
    struct listener *listener = &listeners[listener_count++];
    *listener = (struct listener){
        .fd = fd,
        .transport = transport,
        .protocol = wanted->protocol,
        .tls = transport == TRANSPORT_TCP ? effective_tls(wanted->tls) : LISTEN_TLS_OFF,
    };
    memcpy(listener->tag, wanted->tag, sizeof listener->tag);
    (void)getsockname(fd, (struct sockaddr *)&address, &size);
    memcpy(&listener->address, &address, sizeof address);
    address_describe(transport, (const struct sockaddr *)&address, listener->text);
    ev_io_init(&listener->readable, on_acceptable, fd, EV_READ);
    listener->readable.data = listener;
    return true;
}

static void set_option(int fd, int level, int option, const char *name)
{
    int on = 1;
    if (setsockopt(fd, level, option, &on, sizeof on) != 0)
        log_warning("cannot set %s on a socket: %s", name, log_error_text(errno));
}

/* A bound socket.  -1: not, errno says why.  Accepted sockets inherit the options. */
static int open_socket(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    info->ai_protocol);
    if (fd < 0)
        return -1;
    if (info->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
    if (info->ai_socktype == SOCK_STREAM) {
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR");
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE");
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
    }
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
        (info->ai_socktype != SOCK_STREAM || listen(fd, settings.backlog) == 0))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void set_port(struct sockaddr *address, in_port_t port)
{
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = port;
    else
        ((struct sockaddr_in *)(void *)address)->sin_port = port;
}

/* Where any port will do, IPv4 and IPv6 get the same one if that is free. */
static int open_beside(struct addrinfo *info, in_port_t port_taken)
{
    if (port_taken != 0) {
        set_port(info->ai_addr, port_taken);
        int fd = open_socket(info);
        if (fd >= 0)
            return fd;
        set_port(info->ai_addr, 0);
    }
    return open_socket(info);
}

/* Whether this machine just does not have the address family of one of several addresses. */
static bool is_unsupported(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

/* What may help against that failure of bind() or listen(), to be put behind its description. */
static const char *advice(int error, enum connection_transport transport)
{
    switch (error) {
    case EADDRINUSE:
        return ": stop the server that listens there, or choose another port (-p)";
    case EADDRNOTAVAIL:
        return ": no interface of this machine has that address";
    case EACCES:
        return transport == TRANSPORT_UNIX
                   ? ": the user we run as (-u) has to be allowed to write to that folder"
                   : ": ports below 1024 are for root: choose another (-p)";
    case ENOENT:
        return ": make that folder first";
    default:
        return "";
    }
}

/* Opens what a name stands for: usually one socket per address family. */
static int open_all(struct addrinfo *infos, enum connection_transport transport,
                    const struct listen_address *wanted, bool any_port)
{
    const char *host = wanted->host != NULL ? wanted->host : "*";
    in_port_t port_taken = 0;
    unsigned opened = 0;
    char text[CONNECTION_ADDRESS_BYTES] = "";
    int error = 0;

    for (struct addrinfo *info = infos; info != NULL; info = info->ai_next) {
        int fd = open_beside(info, port_taken);
        if (fd < 0) {
            error = errno;
            address_describe(transport, info->ai_addr, text);
            if (is_unsupported(error))
                continue;
            break;
        }
        error = 0;
        if (!add_listener(fd, transport, wanted))
            return EX_OSERR;
        opened++;
        if (any_port)
            port_taken = htons((uint16_t)listener_port(&listeners[listener_count - 1]));
    }
    if (error == 0 || (opened > 0 && is_unsupported(error)))
        return EX_OK;
    log_error("cannot listen on %s (-l %s): %s%s", text, host, log_error_text(error),
              advice(error, transport));
    return EX_OSERR;
}

static int open_address(const struct listen_address *wanted, enum connection_transport transport,
                        int port)
{
    struct addrinfo hints = {
        .ai_flags = AI_PASSIVE,
        .ai_family = AF_UNSPEC,
        .ai_socktype = transport == TRANSPORT_UDP ? SOCK_DGRAM : SOCK_STREAM,
    };
    struct addrinfo *infos;
    char service[16];

    if (wanted->port != 0)
        port = wanted->port;
    if (port == 0)
        return EX_OK;
    snprintf(service, sizeof service, "%d", port > 0 ? port : 0);
    int error = getaddrinfo(wanted->host, service, &hints, &infos);
    if (error != 0) {
        log_error("cannot listen on \"%s\" (-l): %s", wanted->host,
                  error == EAI_SYSTEM ? log_error_text(errno) : gai_strerror(error));
        return EX_OSERR;
    }
    int result = open_all(infos, transport, wanted, port < 0);
    freeaddrinfo(infos);
    return result;
}

/* Removes the socket that a server which is gone left behind.  False: somebody listens on it, or it
 * is something else. */
static bool remove_stale(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) != 0)
        return true;
    if (!S_ISSOCK(status.st_mode)) {
        log_error("%s (-s) exists and is no socket: remove it, or choose another path",
                  address->sun_path);
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_alive =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    if (fd >= 0)
        close(fd);
    if (is_alive) {
        log_error("another server listens on %s (-s)", address->sun_path);
        return false;
    }
    return unlink(address->sun_path) == 0 || errno == ENOENT;
}

static int open_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct listen_address wanted = { .protocol = settings.protocol };

    if (strlen(path) >= sizeof address.sun_path) {
        log_error("the path of a Unix socket (-s) has at most %zu bytes: %s",
                  sizeof address.sun_path - 1, path);
        return EX_OSERR;
    }
    memcpy(address.sun_path, path, strlen(path));
    if (!remove_stale(&address))
        return EX_OSERR;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old_mask = umask(~(mode_t)settings.unix_mask & 0777);
    bool is_bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    umask(old_mask);
    if (!is_bound || listen(fd, settings.backlog) != 0) {
        int error = errno;
        log_error("cannot listen on %s (-s): %s%s", path, log_error_text(error),
                  advice(error, TRANSPORT_UNIX));
        if (fd >= 0)
            close(fd);
        return EX_OSERR;
    }
    return add_listener(fd, TRANSPORT_UNIX, &wanted) ? EX_OK : EX_OSERR;
}

static int open_every_address(enum connection_transport transport, int port)
{
    struct listen_address every = { .protocol = settings.protocol };

    if (settings.listen_count == 0)
        return open_address(&every, transport, port);
    for (unsigned i = 0; i < settings.listen_count; i++) {
        int result = open_address(&settings.listen[i], transport, port);
        if (result != EX_OK)
            return result;
    }
    return EX_OK;
}

static int open_sockets(void)
{
    if (settings.unix_path != NULL)
        return open_unix(settings.unix_path);
    int result = open_every_address(TRANSPORT_TCP, settings.tcp_port);
    if (result == EX_OK && settings.udp_port != 0)
        result = open_every_address(TRANSPORT_UDP, settings.udp_port);
    return result;
}

/* A UDP socket belongs to one worker, in turn; the descriptor becomes its connection's. */
static bool hand_over_udp(struct listener *listener, unsigned number)
{
    struct worker *worker = workers_get(number % workers_count());
    struct connection *connection = connection_new(worker, listener->fd, listener, NULL);

    listener->fd = -1;
    if (connection == NULL) {
        log_error("no memory for %s", listener->text);
        return false;
    }
    worker_hand_over(worker, connection);
    return true;
}

static bool start(void)
{
    unsigned udp_count = 0;

    loop = ev_default_loop(EVFLAG_NOENV);
    if (loop == NULL) {
        log_error("no event loop to accept with: %s", log_error_text(errno));
        return false;
    }
    is_started = true;
    ev_async_init(&resume, on_resume);
    ev_async_start(loop, &resume);
    ev_timer_init(&resume_timer, on_resume_timer, 0.0, RESUME_INTERVAL_S);
    for (unsigned i = 0; i < listener_count; i++) {
        if (listeners[i].transport != TRANSPORT_UDP)
            ev_io_start(loop, &listeners[i].readable);
        else if (!hand_over_udp(&listeners[i], udp_count++))
            return false;
    }
    return true;
}

/* One line per socket, for test drivers that asked for any free port. */
static void write_port_file(const char *path)
{
    char *temporary = NULL;

    if (asprintf(&temporary, "%s.lck", path) < 0)
        return;
    FILE *file = fopen(temporary, "we");
    bool is_written = file != NULL;
    for (unsigned i = 0; is_written && i < listener_count; i++)
        if (listeners[i].transport != TRANSPORT_UNIX)
            fprintf(file, "%s INET%s: %u\n", listeners[i].transport == TRANSPORT_UDP ? "UDP" : "TCP",
                    listeners[i].address.ss_family == AF_INET6 ? "6" : "",
                    listener_port(&listeners[i]));
    if (file != NULL && fclose(file) != 0)
        is_written = false;
    if (!is_written || rename(temporary, path) != 0)
        log_warning("cannot write the ports to %s (MEMCACHED_PORT_FILENAME): %s", path,
                    log_error_text(errno));
    free(temporary);
}

int listeners_open(const struct settings *wanted)
{
    const char *port_file = getenv("MEMCACHED_PORT_FILENAME");

    assert(wanted == &settings); /* the process has but one */
    assert(listener_count == 0);
    int result = open_sockets();
    if (result == EX_OK && !start())
        result = EX_OSERR;
    if (result != EX_OK) {
        listeners_close();
        return result;
    }
    if (port_file != NULL)
        write_port_file(port_file);
    return EX_OK;
}

void listeners_close(void)
{
    for (unsigned i = 0; i < listener_count; i++) {
        struct listener *listener = &listeners[i];
        if (is_started)
            ev_io_stop(loop, &listener->readable);
        if (listener->fd >= 0)
            close(listener->fd);
        if (listener->transport == TRANSPORT_UNIX)
            unlink(settings.unix_path);
    }
    atomic_store(&is_paused, false);
    if (is_started) {
        ev_timer_stop(loop, &resume_timer);
        ev_async_stop(loop, &resume);
    }
    is_started = false;
    listener_count = 0;
}

/* ---- questions ---- */

unsigned listener_port(const struct listener *listener)
{
    char host[CONNECTION_ADDRESS_BYTES];

    return address_split((const struct sockaddr *)&listener->address, host);
}

void listeners_describe(char *text, size_t capacity)
{
    static const char *const kinds[] = { [TRANSPORT_TCP] = "tcp",
                                         [TRANSPORT_UNIX] = "unix",
                                         [TRANSPORT_UDP] = "udp" };
    size_t used = 0;

    assert(capacity > 0);
    text[0] = '\0';
    for (unsigned i = 0; i < listener_count && used < capacity; i++) {
        const struct listener *listener = &listeners[i];
        const char *address = strchr(listener->text, ':') + 1;
        int written = snprintf(text + used, capacity - used, "%s%s (%s%s)", i > 0 ? ", " : "",
                               address, kinds[listener->transport],
                               listener->tls != LISTEN_TLS_OFF ? ", TLS" : "");
        used += (size_t)written;
    }
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;

    if (address->ss_family == AF_INET)
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

bool listeners_face_the_network(void)
{
    for (unsigned i = 0; i < listener_count; i++)
        if (listeners[i].transport != TRANSPORT_UNIX && !is_loopback(&listeners[i].address))
            return true;
    return false;
}

void listeners_visit(void (*visit)(void *context, const struct connection_description *),
                     void *context)
{
    for (unsigned i = 0; i < listener_count; i++) {
        struct connection_description description = { .fd = listeners[i].fd,
                                                      .state = "conn_listening" };
        if (listeners[i].transport == TRANSPORT_UDP)
            continue; /* a connection of its worker */
        memcpy(description.address, listeners[i].text, sizeof description.address);
        visit(context, &description);
    }
}

void listeners_stats(struct listeners_stats *stats)
{
    *stats = (struct listeners_stats){
        .connections_total = atomic_load(&connections_total),
        .connections_rejected = atomic_load(&connections_rejected),
        .disabled_count = atomic_load(&disabled_count),
        .disabled_us = atomic_load(&disabled_us),
        .listening = listener_count,
        .is_accepting = !atomic_load(&is_paused),
    };
}

void listeners_stats_reset(void)
{
    atomic_store(&connections_total, 0);
    atomic_store(&connections_rejected, 0);
    atomic_store(&disabled_count, 0);
    atomic_store(&disabled_us, 0);
}
