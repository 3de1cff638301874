#include "ctl/wire.h"
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX (1u << 20)
#define FIRST_ROOM     4096
#define HOST_BYTES_MAX 256

uint64_t wire_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void wire_init(struct wire *wire, const char *server, const char *login, unsigned timeout_ms)
{
    *wire = (struct wire){.server = server, .login = login, .timeout_ms = timeout_ms, .fd = -1};
}

static void hang_up(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
    wire->start = wire->end = 0;
}

void wire_deinit(struct wire *wire)
{
    hang_up(wire);
    free(wire->bytes);
}

__attribute__((format(printf, 3, 4))) static enum exit_code
fail(struct wire *wire, enum exit_code code, const char *format, ...)
{
    va_list arguments;

    hang_up(wire);
    va_start(arguments, format);
    vsnprintf(wire->error, sizeof wire->error, format, arguments);
    va_end(arguments);
    return code;
}

enum exit_code wire_blame(struct wire *wire, enum exit_code code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(wire->error, sizeof wire->error, format, arguments);
    va_end(arguments);
    return code;
}

static enum exit_code fail_late(struct wire *wire, const char *what)
{
    return fail(wire, EXIT_LATE, "%s %s within %.3g s (--timeout)", wire->server, what,
                wire->timeout_ms / 1000.0);
}

/* Waits until the socket is ready for `events`; false: the deadline came first. */
static bool wait_for(const struct wire *wire, short events)
{
    struct pollfd ready = {.fd = wire->fd, .events = events};

    for (;;) {
        uint64_t now_ms = wire_now_ms();
        int result;

        if (now_ms >= wire->deadline_ms)
            return false;
        result = poll(&ready, 1, (int)(wire->deadline_ms - now_ms));
        if (result > 0)
            return true;
        if (result < 0 && errno != EINTR)
            return true; /* what is wrong, the next call on the socket says */
    }
}

static enum exit_code connect_to(struct wire *wire, const struct sockaddr *address,
                                 socklen_t address_bytes)
{
    int wrong = 0, yes = 1;
    socklen_t wrong_bytes = sizeof wrong;

    wire->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (wire->fd < 0)
        return fail(wire, EXIT_UNREACHABLE, "no socket: %s", strerror(errno));
    if (address->sa_family != AF_UNIX)
        setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(wire->fd, address, address_bytes) != 0) {
        if (errno != EINPROGRESS)
            return fail(wire, EXIT_UNREACHABLE, "cannot connect to %s: %s: is the server running?",
                        wire->server, strerror(errno));
        if (!wait_for(wire, POLLOUT))
            return fail_late(wire, "took no connection");
        getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &wrong, &wrong_bytes);
        if (wrong != 0)
            return fail(wire, EXIT_UNREACHABLE, "cannot connect to %s: %s: is the server running?",
                        wire->server, strerror(wrong));
    }
    return EXIT_FINE;
}

static enum exit_code connect_to_path(struct wire *wire)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(wire->server);

    if (size >= sizeof address.sun_path)
        return fail(wire, EXIT_USAGE, "the path %s is too long for a Unix socket", wire->server);
    memcpy(address.sun_path, wire->server, size + 1);
    return connect_to(wire, (const struct sockaddr *)&address, sizeof address);
}

/* HOST:PORT or [IPV6]:PORT in two. */
static bool split_server(const char *server, char host[HOST_BYTES_MAX], const char **port)
{
    const char *colon = strrchr(server, ':');
    size_t size;

    if (colon == NULL || colon == server || colon[1] == '\0')
        return false;
    size = (size_t)(colon - server);
    if (server[0] == '[' && colon[-1] == ']') {
        server++;
        size -= 2;
    } else if (memchr(server, ':', size) != NULL) {
        return false; /* an IPv6 address without brackets: where does the port begin? */
    }
    if (size == 0 || size >= HOST_BYTES_MAX)
        return false;
    memcpy(host, server, size);
    host[size] = '\0';
    *port = colon + 1;
    return true;
}

static enum exit_code connect_to_host(struct wire *wire)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char host[HOST_BYTES_MAX];
    const char *port;
    enum exit_code code = EXIT_UNREACHABLE;
    int wrong;

    if (!split_server(wire->server, host, &port))
        return fail(wire, EXIT_USAGE, "%s is no server: write HOST:PORT, [IPV6]:PORT or /PATH",
                    wire->server);
    wrong = getaddrinfo(host, port, &wanted, &found);
    if (wrong != 0)
        return fail(wire, EXIT_UNREACHABLE, "%s has no address: %s", wire->server,
                    gai_strerror(wrong));
    for (const struct addrinfo *one = found; one != NULL && code == EXIT_UNREACHABLE;
         one = one->ai_next)
        code = connect_to(wire, one->ai_addr, one->ai_addrlen);
    freeaddrinfo(found);
    return code;
}

static enum exit_code send_all(struct wire *wire, const char *bytes, size_t size)
{
    while (size != 0) {
        ssize_t sent = send(wire->fd, bytes, size, MSG_NOSIGNAL);

        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (!wait_for(wire, POLLOUT))
                return fail_late(wire, "did not take all that was sent");
        } else if (errno != EINTR) {
            return fail(wire, EXIT_UNREACHABLE, "the connection to %s broke: %s", wire->server,
                        strerror(errno));
        }
    }
    return EXIT_FINE;
}

/* As the text protocol of memcached has it: a `set` of any key, with the login as its value. */
static enum exit_code log_in(struct wire *wire)
{
    char text[640], *line;
    enum exit_code code;
    int size;

    if (wire->login[0] == '\0')
        return EXIT_FINE;
    size = snprintf(text, sizeof text, "set login 0 0 %zu\r\n%s\r\n", strlen(wire->login),
                    wire->login);
    assert(size > 0 && (size_t)size < sizeof text);
    code = send_all(wire, text, (size_t)size);
    if (code == EXIT_FINE)
        code = wire_line(wire, &line);
    if (code == EXIT_FINE && strcmp(line, "STORED") != 0)
        code = fail(wire, EXIT_REFUSED, "%s refuses the login: %s", wire->server, line);
    return code;
}

enum exit_code wire_send(struct wire *wire, const char *bytes, size_t size)
{
    enum exit_code code = EXIT_FINE;

    wire->deadline_ms = wire_now_ms() + wire->timeout_ms;
    if (wire->fd < 0) {
        code = wire->server[0] == '/' ? connect_to_path(wire) : connect_to_host(wire);
        if (code == EXIT_FINE)
            code = log_in(wire);
    }
    return code == EXIT_FINE ? send_all(wire, bytes, size) : code;
}

/* Makes room for `more` bytes behind what was received. */
static enum exit_code make_room(struct wire *wire, size_t more)
{
    size_t used = wire->end - wire->start;
    char *bytes;

    if (wire->start != 0) {
        memmove(wire->bytes, wire->bytes + wire->start, used);
        wire->start = 0;
        wire->end = used;
    }
    if (wire->room - used >= more)
        return EXIT_FINE;
    bytes = realloc(wire->bytes, 2 * used + more);
    if (bytes == NULL)
        return fail(wire, EXIT_UNREACHABLE, "no memory for an answer of %s", wire->server);
    wire->bytes = bytes;
    wire->room = 2 * used + more;
    return EXIT_FINE;
}

static enum exit_code receive_some(struct wire *wire)
{
    enum exit_code code = make_room(wire, FIRST_ROOM);
    ssize_t received;

    while (code == EXIT_FINE) {
        received = recv(wire->fd, wire->bytes + wire->end, wire->room - wire->end, 0);
        if (received > 0) {
            wire->end += (size_t)received;
            return EXIT_FINE;
        }
        if (received == 0)
            return fail(wire, EXIT_UNREACHABLE, "%s closed the connection", wire->server);
        if (errno == EAGAIN) {
            if (!wait_for(wire, POLLIN))
                return fail_late(wire, "did not answer");
        } else if (errno != EINTR) {
            return fail(wire, EXIT_UNREACHABLE, "the connection to %s broke: %s", wire->server,
                        strerror(errno));
        }
    }
    return code;
}

/* A line out of what was received, of which the first `seen` bytes have no end of a line. */
static bool take_line(struct wire *wire, size_t seen, char **line)
{
    char *start = wire->bytes + wire->start;
    char *end = memchr(start + seen, '\n', wire->end - wire->start - seen);

    if (end == NULL)
        return false;
    wire->start += (size_t)(end - start) + 1;
    if (end > start && end[-1] == '\r')
        end--;
    *end = '\0';
    *line = start;
    return true;
}

enum exit_code wire_line(struct wire *wire, char **line)
{
    size_t seen = 0;

    for (;;) {
        size_t have = wire->end - wire->start;
        enum exit_code code;

        if (have > seen && take_line(wire, seen, line))
            return EXIT_FINE;
        if (have > LINE_BYTES_MAX)
            return fail(wire, EXIT_UNREACHABLE, "%s does not speak this protocol", wire->server);
        seen = have;
        code = receive_some(wire);
        if (code != EXIT_FINE)
            return code;
    }
}

enum exit_code wire_block(struct wire *wire, size_t size, char **block)
{
    while (wire->end - wire->start < size + 2) {
        enum exit_code code = receive_some(wire);

        if (code != EXIT_FINE)
            return code;
    }
    *block = wire->bytes + wire->start;
    wire->start += size + 2;
    return EXIT_FINE;
}

enum exit_code wire_ask(struct wire *wire, const char *command, char **line)
{
    char text[2048];
    int size = snprintf(text, sizeof text, "%s\r\n", command);
    enum exit_code code;

    if (size < 0 || (size_t)size >= sizeof text)
        return fail(wire, EXIT_USAGE, "the command is too long: %.40s...", command);
    code = wire_send(wire, text, (size_t)size);
    return code == EXIT_FINE ? wire_line(wire, line) : code;
}
