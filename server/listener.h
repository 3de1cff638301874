/* The listening sockets: TCP on each -l address, Unix (-s) and UDP (-U).
 *
 * Threads: opened and closed by main(); who accepts is listener.c's business. */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

struct settings;

/* Opens all sockets that the settings ask for.  Workers run already.  Writes the ports to the file
 * that MEMCACHED_PORT_FILENAME names.  Returns 0, or the exit code (71) after saying which address
 * failed and why; those that were opened are then closed. */
int listeners_open(const struct settings *);

/* Accepts no more, and closes.  Removes the Unix socket's file. */
void listeners_close(void);

/* All that we listen on, as one line for the log: "127.0.0.1:11211 (tcp), /run/x (unix)". */
void listeners_describe(char *text, size_t capacity);

/* Whether somebody on another machine could reach us. */
bool listeners_face_the_network(void);

#endif
