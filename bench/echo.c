/* ringecho: the floor. It answers every request of one fixed size with one fixed reply of the
 * right form and size, and looks at nothing: one recv and one send per readable event, one
 * thread. What it costs is what sockets cost; no server can be cheaper this way. */

#include "bench/request.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, RECEIVE_BYTES = 256 << 10, REPLIES_BYTES = 512 << 10 };

struct client {
    int fd;
    size_t partial;  /* bytes of a request that is not complete */
    size_t owed;     /* bytes still to send */
    size_t reply_at; /* where in a reply the next byte is */
    bool is_blocked; /* waits for EPOLLOUT */
};

struct echo {
    enum wire wire;
    enum operation operation;
    struct keyspace keyspace;
    uint64_t multiget;
    uint64_t port;
    size_t request_bytes;
    size_t reply_bytes;
    struct outbox replies; /* many replies in a row */
    int epoll_fd;
    int listener;
};

static bool complain(const char *what)
{
    fprintf(stderr, "ringecho: %s: %s\n", what, strerror(errno));
    return false;
}

static void append_text(struct outbox *outbox, const void *bytes, size_t size)
{
    if (!outbox_reserve(outbox, size))
        exit(EXIT_FAILURE);
    memcpy(outbox->bytes + outbox->used, bytes, size);
    outbox->used += size;
}

/* One value, as the reply to key number `number`. */
static void append_value(struct echo *echo, struct outbox *reply, unsigned number)
{
    const struct slice value = keyspace_value(&echo->keyspace, number);
    char head[KEY_BYTES_MAX + 64];
    char key[KEY_BYTES_MAX];
    const int key_bytes = (int)echo->keyspace.key_bytes;
    int size = 0;
    keyspace_write_key(&echo->keyspace, KEY_VALUE, number, key);
    switch (echo->wire) {
    case WIRE_TEXT:
        size = snprintf(head, sizeof head, "VALUE %.*s 0 %zu\r\n", key_bytes, key, value.size);
        break;
    case WIRE_META:
        size = echo->multiget > 1
                   ? snprintf(head, sizeof head, "VA %zu k%.*s\r\n", value.size, key_bytes, key)
                   : snprintf(head, sizeof head, "VA %zu\r\n", value.size);
        break;
    case WIRE_BINARY: {
        const size_t body = value.size + 4;
        memset(head, 0, 28);
        head[0] = (char)0x81;
        head[1] = echo->multiget > 1 ? 0x09 : 0x00;
        head[4] = 4;
        for (unsigned i = 0; i < 4; i++)
            head[8 + i] = (char)(body >> (24 - 8 * i));
        size = 28;
        break;
    }
    }
    append_text(reply, head, (size_t)size);
    append_text(reply, value.bytes, value.size);
    if (echo->wire != WIRE_BINARY)
        append_text(reply, "\r\n", 2);
}

static void append_end(struct echo *echo, struct outbox *reply)
{
    const char noop[24] = {(char)0x81, 0x0a};
    const bool is_get = echo->operation == OPERATION_GET;
    const bool is_multi = echo->multiget > 1;
    switch (echo->wire) {
    case WIRE_TEXT: append_text(reply, is_get ? "END\r\n" : "STORED\r\n", is_get ? 5 : 8); break;
    case WIRE_META:
        if (is_get && is_multi)
            append_text(reply, "MN\r\n", 4);
        if (!is_get)
            append_text(reply, "HD\r\n", 4);
        break;
    case WIRE_BINARY:
        if (is_get && is_multi)
            append_text(reply, noop, sizeof noop);
        if (!is_get)
            append_text(reply, (const char[24]){(char)0x81, 0x01}, 24);
        break;
    }
}

/* Works out the size of a request, and what to answer. */
static bool prepare(struct echo *echo)
{
    struct outbox request = {0};
    uint64_t *keys = calloc(echo->multiget, sizeof *keys);
    if (keys == NULL || !keyspace_init(&echo->keyspace))
        return complain("no memory");
    const unsigned count = echo->operation == OPERATION_GET ? (unsigned)echo->multiget : 1;
    if (!request_append(&request, echo->wire, echo->operation, &echo->keyspace, keys, count))
        return false;
    echo->request_bytes = request.used;
    outbox_deinit(&request);
    free(keys);

    do {
        if (echo->operation == OPERATION_GET)
            for (unsigned i = 0; i < echo->multiget; i++)
                append_value(echo, &echo->replies, i);
        append_end(echo, &echo->replies);
        if (echo->reply_bytes == 0)
            echo->reply_bytes = echo->replies.used;
    } while (echo->replies.used < REPLIES_BYTES + echo->reply_bytes);
    return true;
}

static bool open_listener(struct echo *echo)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)echo->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    echo->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (echo->listener < 0)
        return complain("no socket");
    setsockopt(echo->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(echo->listener, (struct sockaddr *)&address, bytes) < 0 ||
        listen(echo->listener, 1024) < 0 ||
        getsockname(echo->listener, (struct sockaddr *)&address, &bytes) < 0)
        return complain("cannot listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    echo->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(echo->epoll_fd, EPOLL_CTL_ADD, echo->listener, &event) < 0)
        return complain("epoll");
    printf("ringecho: listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return true;
}

static void accept_all(struct echo *echo)
{
    const int on = 1;
    for (;;) {
        const int fd = accept4(echo->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct client *client = calloc(1, sizeof *client);
        if (client == NULL) {
            close(fd);
            return;
        }
        client->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        epoll_ctl(echo->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void drop(struct client *client)
{
    close(client->fd);
    free(client);
}

static void watch(struct echo *echo, struct client *client, bool is_blocked)
{
    struct epoll_event event = {.events = is_blocked ? EPOLLOUT : EPOLLIN, .data.ptr = client};
    if (client->is_blocked == is_blocked)
        return;
    client->is_blocked = is_blocked;
    epoll_ctl(echo->epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
}

/* Sends what is owed; false if the connection is lost. */
static bool answer(struct echo *echo, struct client *client)
{
    while (client->owed > 0) {
        size_t size = echo->replies.used - client->reply_at;
        if (size > client->owed)
            size = client->owed;
        const ssize_t sent =
            send(client->fd, echo->replies.bytes + client->reply_at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return false;
        client->owed -= (size_t)sent;
        client->reply_at = (client->reply_at + (size_t)sent) % echo->reply_bytes;
    }
    watch(echo, client, client->owed > 0);
    return true;
}

static bool on_readable(struct echo *echo, struct client *client, char *received)
{
    const ssize_t size = recv(client->fd, received, RECEIVE_BYTES, 0);
    if (size < 0 && errno == EAGAIN)
        return true;
    if (size <= 0)
        return false;
    client->partial += (size_t)size;
    client->owed += client->partial / echo->request_bytes * echo->reply_bytes;
    client->partial %= echo->request_bytes;
    return answer(echo, client);
}

static bool serve(struct echo *echo)
{
    struct epoll_event events[EVENTS_MAX];
    char *received = malloc(RECEIVE_BYTES);
    if (received == NULL)
        return complain("no memory");
    for (;;) {
        const int count = epoll_wait(echo->epoll_fd, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) {
            free(received);
            return complain("epoll");
        }
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client == NULL)
                accept_all(echo);
            else if (client->is_blocked ? !answer(echo, client)
                                        : !on_readable(echo, client, received))
                drop(client);
        }
    }
}

static bool parse_name(const char *text, const char *const *names, unsigned *which)
{
    for (*which = 0; names[*which] != NULL; ++*which)
        if (strcmp(text, names[*which]) == 0)
            return true;
    return false;
}

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *number >= low && *number <= high;
}

static bool parse_option(struct echo *echo, const char *name, const char *text)
{
    static const char *const wires[] = {"text", "meta", "binary", NULL};
    static const char *const operations[] = {"get", "set", NULL};
    unsigned which;
    uint64_t number;
    if (strcmp(name, "--port") == 0)
        return parse_number(text, 0, 65535, &echo->port);
    if (strcmp(name, "--multiget") == 0)
        return parse_number(text, 1, 1000, &echo->multiget);
    if (strcmp(name, "--value-bytes") == 0)
        return amounts_parse(&echo->keyspace.sizes, text) &&
               echo->keyspace.sizes.kind == AMOUNTS_FIXED;
    if (strcmp(name, "--key-bytes") == 0 && parse_number(text, 2, KEY_BYTES_MAX, &number)) {
        echo->keyspace.key_bytes = (unsigned)number;
        return true;
    }
    if (strcmp(name, "--protocol") == 0 && parse_name(text, wires, &which)) {
        echo->wire = (enum wire)which;
        return true;
    }
    if (strcmp(name, "--operation") == 0 && parse_name(text, operations, &which)) {
        echo->operation = (enum operation)which;
        return true;
    }
    return false;
}

static void show_help(void)
{
    printf("Usage: ringecho [OPTION]...\n"
           "Answers requests of one fixed size without looking at them, on 127.0.0.1.\n\n"
           "  --port N          0 chooses one (11211)\n"
           "  --protocol NAME   text, meta or binary (text)\n"
           "  --operation NAME  get or set (get)\n"
           "  --key-bytes N     length of keys (16)\n"
           "  --value-bytes N   length of values (100)\n"
           "  --multiget N      keys per get (1)\n\n"
           "All must be as for the ringbench that asks.\n");
}

int main(int argc, char **argv)
{
    struct echo echo = {.multiget = 1, .port = 11211, .keyspace.key_bytes = 16};
    amounts_parse(&echo.keyspace.sizes, "100");
    amounts_parse(&echo.keyspace.lifetimes, "0");
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        show_help();
        return EXIT_SUCCESS;
    }
    for (int at = 1; at < argc; at += 2) {
        if (at + 1 == argc || !parse_option(&echo, argv[at], argv[at + 1])) {
            fprintf(stderr, "ringecho: cannot use %s %s (see ringecho --help)\n", argv[at],
                    at + 1 < argc ? argv[at + 1] : "");
            return 2;
        }
    }
    if (!prepare(&echo) || !open_listener(&echo))
        return EXIT_FAILURE;
    return serve(&echo) ? EXIT_SUCCESS : EXIT_FAILURE;
}
