#include "server/log.h"
#include "server/settings.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048

static void write_line(const char *level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void write_line(const char *level, const char *format, va_list arguments)
{
    char line[LINE_BYTES_MAX];
    int used = snprintf(line, sizeof line, "ringcached: %s", level);
    int text = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, arguments);
    size_t size = (size_t)used + (text > 0 ? (size_t)text : 0);

    if (size > sizeof line - 2) /* cut, but still one line */
        size = sizeof line - 2;
    line[size++] = '\n';
    for (size_t sent = 0; sent < size;) {
        ssize_t wrote = write(STDERR_FILENO, line + sent, size - sent);
        if (wrote <= 0) /* nobody reads the log: there is nobody to tell */
            return;
        sent += (size_t)wrote;
    }
}

static unsigned verbosity(void)
{
    return atomic_load_explicit(&settings.verbosity, memory_order_relaxed);
}

/* Each level: its function, what stands before the text, and from which verbosity it is written. */
#define DEFINE_LEVEL(name, prefix, is_shown)                                                      \
    void name(const char *format, ...)                                                            \
    {                                                                                             \
        va_list arguments;                                                                        \
        if (!(is_shown))                                                                          \
            return;                                                                               \
        va_start(arguments, format);                                                              \
        write_line(prefix, format, arguments);                                                    \
        va_end(arguments);                                                                        \
    }

DEFINE_LEVEL(log_error, "error: ", true)
DEFINE_LEVEL(log_warning, "warning: ", true)
DEFINE_LEVEL(log_notice, "", true)
DEFINE_LEVEL(log_info, "", verbosity() >= 1)
DEFINE_LEVEL(log_debug, "", verbosity() >= 2)

bool log_shows_debug(void)
{
    return verbosity() >= 2;
}

const char *log_error_text(int error_number)
{
    const char *text = strerrordesc_np(error_number);
    return text != NULL ? text : "unknown error";
}
