#include "server/config_file.h"
#include "ring/table.h"
#include "server/log.h"
#include "server/option_value.h"
#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TIMES_MAX 9 /* that a flag may be given */

#define STRING_OF_WORD(word) #word
#define STRING_OF(macro)     STRING_OF_WORD(macro)

struct reading {
    struct settings *settings;
    struct policies *policies;
    const char *path;
    FILE *errors;
    bool is_bad;
};

/* Settings point into texts, so those are kept as long as the settings. */
struct kept_text {
    struct kept_text *next;
    char text[];
};

static struct kept_text *kept_texts;

__attribute__((format(printf, 3, 4))) static void
complain(struct reading *reading, const config_setting_t *setting, const char *format, ...)
{
    va_list arguments;

    reading->is_bad = true;
    fprintf(reading->errors, "%s:%u: ", reading->path, config_setting_source_line(setting));
    if (config_setting_name(setting) != NULL)
        fprintf(reading->errors, "%s: ", config_setting_name(setting));
    va_start(arguments, format);
    vfprintf(reading->errors, format, arguments);
    va_end(arguments);
    fputc('\n', reading->errors);
}

static const char *keep_text(const char *text)
{
    struct kept_text *kept = malloc(sizeof *kept + strlen(text) + 1);

    if (kept == NULL)
        return NULL;
    strcpy(kept->text, text);
    kept->next = kept_texts;
    kept_texts = kept;
    return kept->text;
}

void config_file_clear(void)
{
    while (kept_texts != NULL) {
        struct kept_text *next = kept_texts->next;
        free(kept_texts);
        kept_texts = next;
    }
}

/* ---- options ---- */

/* The value as it would stand on the command line; NULL if it is of no such kind. */
static const char *text_of(const config_setting_t *setting)
{
    char number[64];

    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(number, sizeof number, "%lld", config_setting_get_int64(setting));
        return keep_text(number);
    case CONFIG_TYPE_FLOAT:
        snprintf(number, sizeof number, "%.17g", config_setting_get_float(setting));
        return keep_text(number);
    case CONFIG_TYPE_STRING: return keep_text(config_setting_get_string(setting));
    default: return NULL;
    }
}

static void store(struct reading *reading, const config_setting_t *setting,
                  const struct option_row *row, const char *text)
{
    char complaint[OPTION_COMPLAINT_BYTES];

    if (!option_store(reading->settings, row, text, complaint))
        complain(reading, setting, "%s", complaint);
}

/* true, false, or how often. */
static void read_flag(struct reading *reading, const config_setting_t *setting,
                      const struct option_row *row)
{
    int type = config_setting_type(setting);
    int times = type == CONFIG_TYPE_BOOL  ? config_setting_get_bool(setting)
                : type == CONFIG_TYPE_INT ? config_setting_get_int(setting)
                                          : -1;

    if (times < 0 || times > TIMES_MAX) {
        complain(reading, setting, "is a flag: say true or false");
        return;
    }
    for (int i = 0; i < times; i++)
        store(reading, setting, row, NULL);
}

static void read_value(struct reading *reading, const config_setting_t *setting,
                       const struct option_row *row)
{
    const char *text = text_of(setting);

    if (text == NULL)
        complain(reading, setting, "takes %s: a number or a text in quotes", row->argument);
    else
        store(reading, setting, row, text);
}

static void read_option(struct reading *reading, const config_setting_t *setting)
{
    const char *name = config_setting_name(setting);
    const struct option_row *row = option_find(name);

    if (row == NULL)
        row = suboption_find(name);
    if (row == NULL) {
        complain(reading, setting, "there is no such setting; ringcached --help lists the options");
    } else if (row->kind == OPTION_REFUSED) {
        complain(reading, setting, "%s", row->help);
    } else if (row->is_command_line_only) {
        complain(reading, setting, "goes on the command line only");
    } else if (row->kind == OPTION_FLAG) {
        read_flag(reading, setting, row);
    } else if (config_setting_is_array(setting) || config_setting_is_list(setting)) {
        for (int i = 0; i < config_setting_length(setting); i++)
            read_value(reading, config_setting_get_elem(setting, (unsigned)i), row);
    } else {
        read_value(reading, setting, row);
    }
}

/* ---- policies ---- */

typedef const char *policy_setter(struct policy *, const config_setting_t *);

static const char *set_prefix(struct policy *policy, const config_setting_t *setting)
{
    const char *text = config_setting_get_string(setting);

    if (text == NULL)
        return "is the text that keys begin with, in quotes; \"\" is for all keys";
    if (strlen(text) > POLICY_PREFIX_BYTES_MAX)
        return "is longer than 64 bytes";
    policy->prefix_bytes = (uint8_t)strlen(text);
    memcpy(policy->prefix, text, policy->prefix_bytes);
    return NULL;
}

static const char *set_siblings(struct policy *policy, const config_setting_t *setting)
{
    if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
        return "is true (concurrent writes are kept side by side) or false (the last one wins)";
    policy->keeps_siblings = config_setting_get_bool(setting);
    return NULL;
}

static const char *set_ttl_max(struct policy *policy, const config_setting_t *setting)
{
    long long seconds = config_setting_get_int64(setting);

    if (!config_setting_is_number(setting) || seconds < 1 || seconds > INT32_MAX)
        return "is a number of seconds, from 1 on";
    policy->ttl_max_ms = (uint64_t)seconds * 1000;
    return NULL;
}

static const char *set_resolver(struct policy *policy, const config_setting_t *setting)
{
    const char *text = config_setting_get_string(setting);
    enum resolver_policy resolver;

    if (text == NULL ||
        !resolver_policy_of((struct slice){(const unsigned char *)text, strlen(text)}, &resolver))
        return "is \"lww\", \"max\", \"min\", \"union\", \"longest\" or \"counter\"";
    policy->resolver = (uint8_t)resolver;
    return NULL;
}

static const char *set_number_of_nodes(uint8_t *field, const config_setting_t *setting)
{
    long long nodes = config_setting_get_int64(setting);

    if (!config_setting_is_number(setting) || nodes < 1 || nodes > RING_COPIES_MAX)
        return "is a number of nodes, from 1 to " STRING_OF(RING_COPIES_MAX);
    *field = (uint8_t)nodes;
    return NULL;
}

static const char *set_copies(struct policy *policy, const config_setting_t *setting)
{
    return set_number_of_nodes(&policy->copies, setting);
}

static const char *set_read_quorum(struct policy *policy, const config_setting_t *setting)
{
    return set_number_of_nodes(&policy->read_quorum, setting);
}

static const char *set_write_quorum(struct policy *policy, const config_setting_t *setting)
{
    return set_number_of_nodes(&policy->write_quorum, setting);
}

static const struct policy_row {
    const char *name;
    policy_setter *set;
} policy_rows[] = {
    {"prefix", set_prefix},
    {"siblings", set_siblings},
    {"max-ttl", set_ttl_max},
    {"resolver", set_resolver},
    {"copies", set_copies},
    {"read-quorum", set_read_quorum},
    {"write-quorum", set_write_quorum},
};

static void read_policy_field(struct reading *reading, const config_setting_t *field,
                              struct policy *policy)
{
    for (size_t i = 0; i < sizeof policy_rows / sizeof *policy_rows; i++) {
        if (strcmp(policy_rows[i].name, config_setting_name(field)) != 0)
            continue;
        const char *wrong = policy_rows[i].set(policy, field);
        if (wrong != NULL)
            complain(reading, field, "%s", wrong);
        return;
    }
    complain(reading, field,
             "is nothing that a policy says; there are prefix, siblings, max-ttl, resolver, "
             "copies, read-quorum, write-quorum");
}

static bool has_prefix(const struct policies *policies, const struct policy *policy)
{
    for (unsigned i = 0; i < policies->count; i++) {
        const struct policy *other = &policies->rows[i];
        if (other->prefix_bytes == policy->prefix_bytes &&
            memcmp(other->prefix, policy->prefix, policy->prefix_bytes) == 0)
            return true;
    }
    return false;
}

static void read_policy(struct reading *reading, const config_setting_t *group)
{
    struct policy policy = policy_default;

    policy.line = config_setting_source_line(group);
    if (!config_setting_is_group(group)) {
        complain(reading, group, "a policy stands in braces: { prefix = \"...\"; ... }");
        return;
    }
    for (int i = 0; i < config_setting_length(group); i++)
        read_policy_field(reading, config_setting_get_elem(group, (unsigned)i), &policy);
    if (config_setting_get_member(group, "prefix") == NULL)
        complain(reading, group, "this policy lacks a prefix");
    else if (!policy.keeps_siblings && policy.resolver != RESOLVE_LWW)
        complain(reading, group, "a resolver chooses among siblings, and this policy has none");
    else if (has_prefix(reading->policies, &policy))
        complain(reading, group, "there is a policy for this prefix already");
    else if (reading->policies->count == POLICIES_MAX)
        complain(reading, group, "there are more than %d policies", POLICIES_MAX);
    else
        reading->policies->rows[reading->policies->count++] = policy;
}

static void read_policies(struct reading *reading, const config_setting_t *list)
{
    if (!config_setting_is_list(list)) {
        complain(reading, list, "is a list: policies = ( { ... }, { ... } );");
        return;
    }
    for (int i = 0; i < config_setting_length(list); i++)
        read_policy(reading, config_setting_get_elem(list, (unsigned)i));
}

/* NULL: all can be met. */
static const char *wrong_number(const struct policy *policy, const struct settings *s)
{
    const unsigned copies = policy->copies != 0 ? policy->copies : s->copies;

    if (copies > s->copies)
        return "copies are more than --copies, which is what the ring has owners for";
    if (policy->read_quorum > copies)
        return "read-quorum is more than the copies: it could never be met";
    if (policy->write_quorum > copies)
        return "write-quorum is more than the copies: it could never be met";
    return NULL;
}

bool config_file_check_policies(const struct settings *s, const struct policies *policies,
                                const char *path, FILE *errors)
{
    bool is_fine = true;

    for (unsigned i = 0; i < policies->count; i++) {
        const char *wrong = wrong_number(&policies->rows[i], s);

        if (wrong != NULL)
            fprintf(errors, "%s:%u: %s\n", path, policies->rows[i].line, wrong);
        is_fine = is_fine && wrong == NULL;
    }
    return is_fine;
}

/* ---- the file ---- */

/* False: it cannot be read, or does not have libconfig's form. */
static bool parse(config_t *config, struct reading *reading)
{
    if (config_read_file(config, reading->path))
        return true;
    if (config_error_type(config) == CONFIG_ERR_PARSE) {
        const char *file = config_error_file(config);
        fprintf(reading->errors, "%s:%d: %s\n", file != NULL ? file : reading->path,
                config_error_line(config), config_error_text(config));
    } else {
        fprintf(reading->errors, "%s: the configuration file cannot be read: %s\n", reading->path,
                strerror(errno));
    }
    reading->is_bad = true;
    return false;
}

bool config_file_read(struct settings *s, struct policies *policies, const char *path, FILE *errors)
{
    struct reading reading = {.settings = s, .policies = policies, .path = path, .errors = errors};
    config_t config;

    policies->count = 0;
    config_init(&config);
    errno = 0;
    if (parse(&config, &reading)) {
        const config_setting_t *root = config_root_setting(&config);
        for (int i = 0; i < config_setting_length(root); i++) {
            const config_setting_t *setting = config_setting_get_elem(root, (unsigned)i);
            if (strcmp(config_setting_name(setting), "policies") == 0)
                read_policies(&reading, setting);
            else
                read_option(&reading, setting);
        }
    }
    config_destroy(&config);
    return !reading.is_bad;
}

/* ---- SIGHUP ---- */

static void log_lines(char *lines)
{
    char *state = NULL;

    for (char *line = strtok_r(lines, "\n", &state); line != NULL;
         line = strtok_r(NULL, "\n", &state))
        log_error("%s", line);
}

/* Options are read into settings that nobody uses: they are only checked. */
static bool read_again(const char *path, struct policies *policies, FILE *errors)
{
    static struct settings unused;

    settings_init(&unused);
    bool is_fine = config_file_read(&unused, policies, path, errors);
    settings_deinit(&unused);
    return is_fine;
}

void config_file_reload(const char *path)
{
    struct policies policies;
    struct kept_text *in_use = kept_texts;
    char *complaints = NULL;
    size_t bytes;
    FILE *errors = open_memstream(&complaints, &bytes);

    if (errors == NULL) {
        log_error("%s: out of memory: all stays as it was", path);
        return;
    }
    kept_texts = NULL;
    bool is_fine = read_again(path, &policies, errors) &&
                   config_file_check_policies(&settings, &policies, path, errors);
    if (is_fine && settings.node_name != NULL && !policies_keep_copies(&policies)) {
        fprintf(errors, "%s: another number of copies needs a restart\n", path);
        is_fine = false;
    }
    config_file_clear();
    kept_texts = in_use;
    fclose(errors);
    log_lines(complaints);
    free(complaints);
    if (!is_fine || !policies_replace(&policies))
        log_error("%s: not reloaded: all stays as it was", path);
    else
        log_notice("%s: %u policies are in force now; other settings need a restart", path,
                   policies.count);
}
