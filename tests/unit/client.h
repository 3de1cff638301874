/* The client's end of a socket, for tests: says things and expects answers.  All calls block, but
 * not for more than a few seconds; what goes wrong fails the test. */
#ifndef TESTS_CLIENT_H
#define TESTS_CLIENT_H

#include "server/listener.h"
#include <stddef.h>

/* A connection of worker 0 as from this listener; returns our end. */
int client_attach(const struct listener *);

/* Connects to an address in the form of listener->text. */
int client_connect(const struct sockaddr_storage *);

void client_send(int fd, const void *bytes, size_t size);
void client_say(int fd, const char *text);

/* The next bytes are these. */
void client_expect_bytes(int fd, const void *bytes, size_t size);
void client_expect(int fd, const char *text);
/* The server has closed, and said nothing more. */
void client_expect_end(int fd);

void client_close(int fd);

/* Waits until the condition holds, a few seconds at most. */
#define client_wait_until(condition)                                                              \
    do {                                                                                          \
        for (int tries = 0; tries < 5000 && !(condition); tries++)                                \
            client_pause_ms(1);                                                                   \
        assert_true(condition);                                                                   \
    } while (0)
void client_pause_ms(int ms);

#endif
