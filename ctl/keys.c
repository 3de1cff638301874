/* get, vget, put, delete: one key, over the meta commands and vget. */
#include "ctl/command.h"
#include "ctl/context_text.h"
#include "ctl/print.h"

#include "protocol/base64.h"
#include "protocol/operation.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_BYTES_MAX 2048 /* what servers take for a line */

static enum exit_code check_key(struct wire *wire, const char *key)
{
    size_t size = strlen(key);

    if (size == 0 || size > KEY_BYTES_MAX)
        return wire_blame(wire, EXIT_USAGE, "a key has 1 to %d bytes, this one has %zu",
                          KEY_BYTES_MAX, size);
    for (const char *byte = key; *byte != '\0'; byte++)
        if ((unsigned char)*byte <= ' ' || *byte == 0x7f)
            return wire_blame(wire, EXIT_USAGE,
                              "a key has no spaces and no control characters, this one does");
    return EXIT_FINE;
}

/* What contexts need to name nodes; empty where the server is no node of a cluster. */
static void get_names(struct wire *wire, struct answer *status)
{
    if (answer_get(wire, "cluster status", status) != EXIT_FINE)
        answer_free(status);
}

/* A meta answer's flag of that letter, or NULL; ended in place. */
static char *find_flag(char *flags, char letter)
{
    static char text[COMMAND_BYTES_MAX];

    while (*flags != '\0') {
        size_t size = strcspn(flags, " ");

        if (*flags == letter && size <= sizeof text) {
            memcpy(text, flags + 1, size - 1);
            text[size - 1] = '\0';
            return text;
        }
        flags += size;
        flags += strspn(flags, " ");
    }
    return NULL;
}

/* Gives `object` the value: as text if it is UTF-8, else as base64. */
static void set_value(json_t *object, const char *value, size_t size)
{
    json_t *text = json_stringn(value, size);
    unsigned char *encoded;
    size_t encoded_size;

    json_object_set_new(object, "bytes", json_integer((json_int_t)size));
    if (text != NULL) {
        json_object_set_new(object, "value", text);
        return;
    }
    encoded = malloc(BASE64_BYTES_MAX(size));
    if (encoded == NULL)
        return;
    encoded_size =
        base64_encode(BASE64_STANDARD, (struct slice){(const unsigned char *)value, size}, encoded);
    json_object_set_new(object, "value_base64", json_stringn((char *)encoded, encoded_size));
    free(encoded);
}

static void print_value(const char *value, size_t size)
{
    fwrite(value, 1, size, stdout);
    if (isatty(STDOUT_FILENO) == 1 && (size == 0 || value[size - 1] != '\n'))
        putchar('\n');
}

static enum exit_code refuse_line(struct wire *wire, const char *line)
{
    return wire_blame(wire, EXIT_REFUSED, "%s says: %s", wire->server, line);
}

/* What came with a value. */
struct details {
    char flags[16], ttl[24], count[16], context[COMMAND_BYTES_MAX];
};

static void take_detail(char *into, size_t room, char *flags, char letter)
{
    const char *text = find_flag(flags, letter);

    snprintf(into, room, "%s", text == NULL ? "" : text);
}

static void take_details(struct details *details, char *flags)
{
    take_detail(details->flags, sizeof details->flags, flags, 'f');
    take_detail(details->ttl, sizeof details->ttl, flags, 't');
    take_detail(details->count, sizeof details->count, flags, 'n');
    take_detail(details->context, sizeof details->context, flags, 'y');
}

static void add_details(json_t *json, const struct details *details, const struct answer *status)
{
    json_object_set_new(json, "flags", json_integer(strtoll(details->flags, NULL, 10)));
    json_object_set_new(json, "ttl", json_integer(strtoll(details->ttl, NULL, 10)));
    json_object_set_new(json, "siblings", json_integer(strtoll(details->count, NULL, 10)));
    json_object_set_new(json, "context", json_string(details->context));
    json_object_set_new(json, "seen", context_to_json(details->context, status));
}

enum exit_code command_get(const struct options *options, struct wire *wire, int count,
                           char **words)
{
    char command[KEY_BYTES_MAX + 32], *line, *value;
    struct details details;
    struct answer status;
    enum exit_code code = check_key(wire, words[0]);
    size_t size;

    (void)count;
    if (code != EXIT_FINE)
        return code;
    snprintf(command, sizeof command, "mg %s v f t n y", words[0]);
    code = wire_ask(wire, command, &line);
    if (code != EXIT_FINE)
        return code;
    if (strcmp(line, "EN") == 0)
        return wire_blame(wire, EXIT_REFUSED, "there is no %s", words[0]);
    if (strncmp(line, "VA ", 3) != 0)
        return refuse_line(wire, line);
    size = strtoul(line + 3, &line, 10);
    take_details(&details, line);
    code = wire_block(wire, size, &value);
    if (code != EXIT_FINE)
        return code;
    if (options->as_json) {
        json_t *json = json_pack("{s:s}", "key", words[0]);

        set_value(json, value, size);
        get_names(wire, &status);
        add_details(json, &details, &status);
        answer_free(&status);
        print_json(json);
        return EXIT_FINE;
    }
    print_value(value, size); /* before the next question takes its place */
    fflush(stdout);
    get_names(wire, &status);
    fprintf(stderr, "flags %s, ttl %s, siblings %s\n", details.flags, details.ttl, details.count);
    context_print(stderr, "seen:    ", details.context, &status);
    fprintf(stderr, "context: %s\n", details.context);
    answer_free(&status);
    return EXIT_FINE;
}

/* --- vget --- */

struct siblings {
    json_t *list; /* with --json */
    unsigned count;
    char context[COMMAND_BYTES_MAX];
};

/* Takes a line `VALUE <key> <flags> <bytes> <context>` and the value behind it. */
static enum exit_code take_sibling(struct wire *wire, char *line, struct siblings *siblings)
{
    unsigned long flags, size;
    char *value;
    enum exit_code code;

    if (sscanf(line, "VALUE %*s %lu %lu %2047s", &flags, &size, siblings->context) != 3)
        return refuse_line(wire, line);
    code = wire_block(wire, size, &value);
    if (code != EXIT_FINE)
        return code;
    siblings->count++;
    if (siblings->list != NULL) {
        json_t *one = json_pack("{s:I}", "flags", (json_int_t)flags);

        set_value(one, value, size);
        json_array_append_new(siblings->list, one);
        return EXIT_FINE;
    }
    printf("sibling %u: flags %lu, %lu bytes\n", siblings->count, flags, size);
    fwrite(value, 1, size, stdout);
    putchar('\n');
    return EXIT_FINE;
}

static enum exit_code take_siblings(struct wire *wire, const char *key, struct siblings *siblings)
{
    char command[KEY_BYTES_MAX + 16], *line;
    enum exit_code code;

    snprintf(command, sizeof command, "vget %s", key);
    code = wire_ask(wire, command, &line);
    while (code == EXIT_FINE && strcmp(line, "END") != 0) {
        code = take_sibling(wire, line, siblings);
        if (code == EXIT_FINE)
            code = wire_line(wire, &line);
    }
    if (code == EXIT_FINE && siblings->count == 0)
        code = wire_blame(wire, EXIT_REFUSED, "there is no %s", key);
    return code;
}

enum exit_code command_vget(const struct options *options, struct wire *wire, int count,
                            char **words)
{
    struct siblings siblings = {.list = options->as_json ? json_array() : NULL};
    struct answer status;
    enum exit_code code = check_key(wire, words[0]);

    (void)count;
    if (code == EXIT_FINE)
        code = take_siblings(wire, words[0], &siblings);
    if (code != EXIT_FINE) {
        json_decref(siblings.list);
        return code;
    }
    get_names(wire, &status);
    if (options->as_json) {
        print_json(json_pack("{s:s, s:o, s:s, s:o}", "key", words[0], "siblings", siblings.list,
                             "context", siblings.context, "seen",
                             context_to_json(siblings.context, &status)));
    } else {
        context_print(stdout, "seen:    ", siblings.context, &status);
        printf("context: %s\n", siblings.context);
    }
    answer_free(&status);
    return EXIT_FINE;
}

/* --- put, delete --- */

static enum exit_code read_stdin(struct wire *wire, char **value, size_t *size)
{
    size_t room = 0;

    *value = NULL;
    *size = 0;
    do {
        if (*size == room) {
            char *more = room < VALUE_BYTES_MAX ? realloc(*value, room = 2 * room + 65536) : NULL;

            if (more == NULL)
                return wire_blame(wire, EXIT_USAGE, "the value on stdin is too long");
            *value = more;
        }
        *size += fread(*value + *size, 1, room - *size, stdin);
    } while (!feof(stdin) && !ferror(stdin));
    if (ferror(stdin))
        return wire_blame(wire, EXIT_USAGE, "stdin cannot be read: %s", strerror(errno));
    return EXIT_FINE;
}

/* The answer to a put: HD and the new context. */
static enum exit_code finish_put(const struct options *options, struct wire *wire, char *line)
{
    char *context;
    struct answer status;

    if (strncmp(line, "HD", 2) != 0)
        return refuse_line(wire, line);
    context = find_flag(line, 'y');
    if (context == NULL)
        context = "@";
    get_names(wire, &status);
    if (options->as_json) {
        print_json(
            json_pack("{s:s, s:o}", "context", context, "seen", context_to_json(context, &status)));
    } else {
        context_print(stdout, "stored:  ", context, &status);
        printf("context: %s\n", context);
    }
    answer_free(&status);
    return EXIT_FINE;
}

static enum exit_code put(const struct options *options, struct wire *wire, const char *key,
                          const char *value, size_t size)
{
    char head[KEY_BYTES_MAX + COMMAND_BYTES_MAX], *line;
    size_t head_size = (size_t)snprintf(
        head, sizeof head, "ms %s %zu F%u T%d y%s%s\r\n", key, size, options->flags, options->ttl_s,
        options->context == NULL ? "" : " Y", options->context == NULL ? "" : options->context);
    char *text;
    enum exit_code code;

    if (head_size > COMMAND_BYTES_MAX)
        return wire_blame(wire, EXIT_USAGE, "the context is too long to be one");
    text = malloc(head_size + size + 2);
    if (text == NULL)
        return wire_blame(wire, EXIT_USAGE, "no memory for the value");
    memcpy(text, head, head_size);
    memcpy(text + head_size, value, size);
    memcpy(text + head_size + size, "\r\n", 2);
    code = wire_send(wire, text, head_size + size + 2);
    free(text);
    if (code == EXIT_FINE)
        code = wire_line(wire, &line);
    return code == EXIT_FINE ? finish_put(options, wire, line) : code;
}

enum exit_code command_put(const struct options *options, struct wire *wire, int count,
                           char **words)
{
    enum exit_code code = check_key(wire, words[0]);
    char *value = NULL;
    size_t size;

    if (code != EXIT_FINE)
        return code;
    if (count == 2)
        return put(options, wire, words[0], words[1], strlen(words[1]));
    code = read_stdin(wire, &value, &size);
    if (code == EXIT_FINE)
        code = put(options, wire, words[0], value, size);
    free(value);
    return code;
}

enum exit_code command_delete(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    char command[COMMAND_BYTES_MAX + KEY_BYTES_MAX], *line;
    enum exit_code code = check_key(wire, words[0]);

    (void)count;
    if (code != EXIT_FINE)
        return code;
    snprintf(command, sizeof command, "md %s%s%s", words[0], options->context == NULL ? "" : " Y",
             options->context == NULL ? "" : options->context);
    code = wire_ask(wire, command, &line);
    if (code != EXIT_FINE)
        return code;
    if (strcmp(line, "NF") == 0)
        return wire_blame(wire, EXIT_REFUSED, "there is no %s", words[0]);
    if (strncmp(line, "HD", 2) != 0)
        return refuse_line(wire, line);
    if (options->as_json)
        print_json(json_pack("{s:s, s:b}", "key", words[0], "deleted", true));
    return EXIT_FINE;
}
