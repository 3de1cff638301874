#include "server/auth_file.h"
#include "server/log.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Fields are compared whole, so what is behind their ends is zero. */
struct field {
    size_t size;
    unsigned char bytes[AUTH_ENTRY_BYTES_MAX];
};

struct entry {
    struct field user, password;
};

struct table {
    struct entry entries[AUTH_ENTRIES_MAX]; /* unused ones have an empty user, which no login has */
    unsigned count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `current` */
static struct table current;

static void field_set(struct field *field, const void *bytes, size_t size)
{
    assert(size <= sizeof field->bytes);
    memset(field, 0, sizeof *field);
    if (size > 0)
        memcpy(field->bytes, bytes, size);
    field->size = size;
}

/* Reads one line, without its end, into the table.  NULL, or what is wrong with it. */
static const char *add_line(struct table *table, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);

    if (size == 0)
        return NULL;
    if (size > AUTH_ENTRY_BYTES_MAX)
        return "is longer than 256 bytes";
    if (colon == NULL)
        return "has no colon: it should be user:password";
    if (colon == line)
        return "has no user before the colon";
    if (table->count == AUTH_ENTRIES_MAX)
        return "is one too many: there can be 8 users";

    struct entry *entry = &table->entries[table->count++];
    size_t user_size = (size_t)(colon - line);
    field_set(&entry->user, line, user_size);
    field_set(&entry->password, colon + 1, size - user_size - 1);
    return NULL;
}

/* Reads all lines.  NULL, or what is wrong with the line whose number is in `*line_number`. */
static const char *read_table(FILE *file, struct table *table, unsigned *line_number)
{
    char line[AUTH_ENTRY_BYTES_MAX + 3]; /* the longest, its end, and a zero */
    const char *complaint = NULL;

    *line_number = 0;
    while (complaint == NULL && fgets(line, sizeof line, file) != NULL) {
        size_t size = strlen(line);
        (*line_number)++;
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            size--;
        complaint = add_line(table, line, size);
    }
    explicit_bzero(line, sizeof line);
    if (complaint == NULL && ferror(file))
        complaint = "cannot be read";
    return complaint;
}

bool auth_file_load(const char *path)
{
    struct table table = { .count = 0 };
    unsigned line_number;
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        log_error("-Y: cannot open the login file %s: %s", path, log_error_text(errno));
        return false;
    }
    setvbuf(file, NULL, _IONBF, 0); /* leave no copy of passwords in a buffer */
    const char *complaint = read_table(file, &table, &line_number);
    fclose(file);

    if (complaint == NULL) {
        pthread_mutex_lock(&lock);
        current = table;
        pthread_mutex_unlock(&lock);
        if (table.count == 0)
            log_warning("-Y: the login file %s has no users: nobody can log in", path);
    } else {
        log_error("-Y: line %u of the login file %s %s", line_number, path, complaint);
    }
    explicit_bzero(&table, sizeof table);
    return complaint == NULL;
}

/* 1 if equal, 0 if not, in a time that depends on neither. */
static unsigned field_equal(const struct field *a, const struct field *b)
{
    size_t difference = a->size ^ b->size;

    for (size_t i = 0; i < sizeof a->bytes; i++)
        difference |= (size_t)(a->bytes[i] ^ b->bytes[i]);
    return difference == 0;
}

bool auth_file_check(struct slice user, struct slice password)
{
    struct entry asked;
    unsigned found = 0;
    bool fits = user.size <= AUTH_ENTRY_BYTES_MAX && password.size <= AUTH_ENTRY_BYTES_MAX;

    field_set(&asked.user, user.bytes, fits ? user.size : 0);
    field_set(&asked.password, password.bytes, fits ? password.size : 0);
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < AUTH_ENTRIES_MAX; i++)
        found |= field_equal(&asked.user, &current.entries[i].user) &
                 field_equal(&asked.password, &current.entries[i].password);
    pthread_mutex_unlock(&lock);
    explicit_bzero(&asked, sizeof asked);
    return found != 0 && user.size > 0 && fits;
}

void auth_file_clear(void)
{
    pthread_mutex_lock(&lock);
    explicit_bzero(&current, sizeof current);
    pthread_mutex_unlock(&lock);
}
