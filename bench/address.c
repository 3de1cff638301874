#include "bench/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static bool parse_path(const char *path, struct server_address *server)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (*path == '\0' || strlen(path) >= sizeof local.sun_path)
        return false;
    memcpy(local.sun_path, path, strlen(path) + 1);
    memcpy(&server->address, &local, sizeof local);
    server->bytes = sizeof local;
    return true;
}

bool address_parse(const char *text, struct server_address *server)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_path(text + 5, server);
    if (*text == '/')
        return parse_path(text, server);

    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return false;
    char host[256];
    size_t host_size = (size_t)(colon - text);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        host_size -= 2;
    }
    if (host_size >= sizeof host)
        return false;
    memcpy(host, text, host_size);
    host[host_size] = '\0';

    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return false;
    memcpy(&server->address, found->ai_addr, found->ai_addrlen);
    server->bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

int address_connect(const struct server_address *server)
{
    const int fd = socket(server->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fprintf(stderr, "ringbench: no socket: %s\n", strerror(errno));
        return -1;
    }
    const int on = 1;
    if (server->address.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&server->address, server->bytes) < 0) {
        fprintf(stderr, "ringbench: cannot connect to the server: %s\n", strerror(errno));
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}
