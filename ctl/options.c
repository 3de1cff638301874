#include "ctl/options.h"

#include "ctl/command.h"
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_DEFAULT    "127.0.0.1:11211"
#define TIMEOUT_S_DEFAULT 5
#define WAIT_S_DEFAULT    600
#define SECONDS_MAX       1e6

void complain(const char *format, ...)
{
    va_list arguments;

    fputs("ringctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static bool parse_seconds(const char *text, double *seconds)
{
    char *end;
    double parsed = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(parsed) || parsed < 0 || parsed > SECONDS_MAX)
        return false;
    *seconds = parsed;
    return true;
}

static bool parse_whole(const char *text, long long low, long long high, long long *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *number >= low && *number <= high;
}

static bool set_server(struct options *options, const char *text)
{
    options->server = text;
    return *text != '\0';
}

static bool set_timeout(struct options *options, const char *text)
{
    return parse_seconds(text, &options->timeout_s) && options->timeout_s > 0;
}

static bool set_wait(struct options *options, const char *text)
{
    return parse_seconds(text, &options->wait_s);
}

static bool set_no_wait(struct options *options, const char *text)
{
    (void)text;
    options->wait_s = 0;
    return true;
}

static bool set_context(struct options *options, const char *text)
{
    options->context = text;
    return text[0] == '@' && strpbrk(text, " \r\n") == NULL;
}

static bool set_flags(struct options *options, const char *text)
{
    long long number;

    if (!parse_whole(text, 0, UINT32_MAX, &number))
        return false;
    options->flags = (uint32_t)number;
    return true;
}

static bool set_ttl(struct options *options, const char *text)
{
    long long number;

    if (!parse_whole(text, 0, INT32_MAX, &number))
        return false;
    options->ttl_s = (int32_t)number;
    return true;
}

/* The first line that is no comment, `user:password`, as the text protocol takes a login: with a
 * space between. */
static bool read_login(struct options *options, FILE *file)
{
    char line[OPTIONS_LOGIN_BYTES_MAX];

    while (fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');

        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (colon == NULL || colon == line || colon[1] == '\0')
            return false;
        *colon = ' ';
        memcpy(options->login, line, sizeof line);
        return true;
    }
    return false;
}

static bool set_login_file(struct options *options, const char *path)
{
    FILE *file = fopen(path, "re");
    bool is_read;

    if (file == NULL) {
        complain("the login file %s cannot be read: %s", path, strerror(errno));
        return false;
    }
    is_read = read_login(options, file);
    fclose(file);
    if (!is_read)
        complain("the login file %s has no line user:password", path);
    return is_read;
}

static bool set_json(struct options *options, const char *text)
{
    (void)text;
    options->as_json = true;
    return true;
}

static bool set_all(struct options *options, const char *text)
{
    (void)text;
    options->all = true;
    return true;
}

static bool set_names(struct options *options, const char *text)
{
    (void)text;
    options->names = true;
    return true;
}

static bool set_force(struct options *options, const char *text)
{
    (void)text;
    options->force = true;
    return true;
}

static const struct {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* what --help calls it; NULL: none is taken */
    bool (*set)(struct options *, const char *text);
    const char *help;
} table[] = {
    {"server", 's', "HOST:PORT", set_server,
     "a node's client port, or /PATH of its Unix socket\n"
     "                       (default $RINGCTL_SERVER, else " SERVER_DEFAULT ")"},
    {"timeout", 't', "SECONDS", set_timeout, "how long to wait for one answer (5)"},
    {"wait", 'w', "SECONDS", set_wait, "how long to wait for an act to be complete (600)"},
    {"no-wait", 'n', NULL, set_no_wait, "do not wait for it: it goes on by itself"},
    {"json", 'j', NULL, set_json, "print JSON"},
    {"all", 'a', NULL, set_all, "status: ask every node, not only this one"},
    {"names", 0, NULL, set_names, "status: print nothing but the nodes' names"},
    {"force", 0, NULL, set_force,
     "acts: go ahead without a majority of the nodes.  Two sides of\n"
     "                       a cut that both do that end up with two tables: one loses"},
    {"context", 'c', "@TEXT", set_context, "put, delete: what was seen, as get and vget print it"},
    {"flags", 'f', "NUMBER", set_flags, "put: the client flags to store"},
    {"ttl", 0, "SECONDS", set_ttl, "put: expire after that time"},
    {"login-file", 'l', "FILE", set_login_file, "log in with the first line user:password of it"},
};

#define TABLE_ROWS   (sizeof table / sizeof *table)
#define LONG_HELP    1000
#define LONG_VERSION 1001

static void print_help(void)
{
    puts("usage: ringctl [options] command ...\n\ncommands:");
    for (const struct command *command = commands; command->name != NULL; command++)
        printf("  %-8s %-26s %s\n", command->name, command->arguments, command->help);
    puts("\noptions:");
    for (size_t i = 0; i < TABLE_ROWS; i++) {
        char names[64];

        if (table[i].letter != 0)
            snprintf(names, sizeof names, "-%c, --%s", table[i].letter, table[i].name);
        else
            snprintf(names, sizeof names, "    --%s", table[i].name);
        if (table[i].argument != NULL)
            snprintf(names + strlen(names), sizeof names - strlen(names), " %s", table[i].argument);
        if (strlen(names) > 20)
            printf("  %s\n%23s%s\n", names, "", table[i].help);
        else
            printf("  %-20s %s\n", names, table[i].help);
    }
    puts("  -h, --help           this text\n"
         "  -V, --version        the version\n\n"
         "exit codes: 0 fine, 1 the cluster says no, 2 wrong command line, 3 no connection,\n"
         "4 timed out.  The manual page ringctl(1) says more.");
}

static void fill_getopt(struct option longs[TABLE_ROWS + 3], char shorts[2 * TABLE_ROWS + 4])
{
    char *letter = shorts;

    for (size_t i = 0; i < TABLE_ROWS; i++) {
        bool takes = table[i].argument != NULL;

        longs[i] = (struct option){table[i].name, takes ? required_argument : no_argument, NULL,
                                   (int)i + 1};
        if (table[i].letter == 0)
            continue;
        *letter++ = table[i].letter;
        if (takes)
            *letter++ = ':';
    }
    longs[TABLE_ROWS] = (struct option){"help", no_argument, NULL, LONG_HELP};
    longs[TABLE_ROWS + 1] = (struct option){"version", no_argument, NULL, LONG_VERSION};
    longs[TABLE_ROWS + 2] = (struct option){0};
    strcpy(letter, "hV");
}

/* The row of what getopt_long() gave, or TABLE_ROWS. */
static size_t find_row(int found)
{
    size_t row = 0;

    if (found >= 1 && found <= (int)TABLE_ROWS)
        return (size_t)found - 1;
    while (row < TABLE_ROWS && table[row].letter != found)
        row++;
    return row;
}

bool options_read(struct options *options, int argc, char **argv, enum exit_code *code)
{
    struct option longs[TABLE_ROWS + 3];
    char shorts[2 * TABLE_ROWS + 4];
    const char *from_environment = getenv("RINGCTL_SERVER");
    int found;

    *options = (struct options){
        .server = SERVER_DEFAULT, .timeout_s = TIMEOUT_S_DEFAULT, .wait_s = WAIT_S_DEFAULT};
    if (from_environment != NULL && *from_environment != '\0')
        options->server = from_environment;
    fill_getopt(longs, shorts);
    *code = EXIT_FINE;
    while ((found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        size_t row = find_row(found);

        if (found == 'h' || found == LONG_HELP) {
            print_help();
            return false;
        }
        if (found == 'V' || found == LONG_VERSION) {
            puts("ringctl " PACKAGE_VERSION);
            return false;
        }
        *code = EXIT_USAGE;
        if (row == TABLE_ROWS) /* getopt_long() said what is wrong */
            return false;
        if (!table[row].set(options, optarg)) {
            complain("--%s does not take %s", table[row].name, optarg);
            return false;
        }
    }
    options->words = argv + optind;
    options->word_count = argc - optind;
    *code = EXIT_USAGE;
    if (options->word_count == 0)
        complain("which command? ringctl --help lists them");
    return options->word_count != 0;
}
