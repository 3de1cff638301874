#include "server/options.h"
#include "server/config_file.h"
#include "server/licence.h"
#include "server/option_value.h"
#include <assert.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define EXIT_BAD_VALUE 1

/* getopt_long() names an option by its letter, or, if it has none, by this plus its row. */
#define LONG_ONLY 1000

#define ROWS_MAX 128

/* In which each pair of owners compares what it has, at the least. */
#define REPAIR_ROUND_MS (10 * 60 * 1000ull)

struct parse {
    struct settings *settings;
    FILE *out, *errors;
    int exit_code;
    const char *config_file;  /* NULL: there is none */
    struct policies policies; /* that it has */
};

/* Says no: ends the parse with this exit code. */
static bool refuse(struct parse *parse, int exit_code)
{
    parse->exit_code = exit_code;
    return false;
}

/* "-p, --port: " or "-o idle_timeout: " */
static void name_option(FILE *errors, const struct option_row *row, bool is_suboption)
{
    if (is_suboption)
        fprintf(errors, "-o %s: ", row->name);
    else if (row->letter == 0)
        fprintf(errors, "--%s: ", row->name);
    else if (row->name == NULL)
        fprintf(errors, "-%c: ", row->letter);
    else
        fprintf(errors, "-%c, --%s: ", row->letter, row->name);
}

/* Stores one option's argument. */
static bool apply(struct parse *parse, const struct option_row *row, const char *text,
                  bool is_suboption)
{
    char complaint[OPTION_COMPLAINT_BYTES];

    if (option_store(parse->settings, row, text, complaint))
        return true;
    name_option(parse->errors, row, is_suboption);
    fprintf(parse->errors, "%s\n", complaint);
    /* The two that memcached counts as wrong usage: -B, and what was not built in. */
    bool is_usage = row->letter == 'B' || row->kind == OPTION_FLAG;
    return refuse(parse, is_usage ? EX_USAGE : EXIT_BAD_VALUE);
}

/* --- suboptions --- */

/* `text` is NAME or NAME=VALUE.  It stays where it is for good: settings may point into it. */
static bool apply_suboption(struct parse *parse, char *text)
{
    char *value = strchr(text, '=');

    if (value != NULL)
        *value++ = '\0';
    const struct option_row *row = suboption_find(text);
    if (row == NULL || row->kind == OPTION_REFUSED) {
        fprintf(parse->errors, "Illegal suboption \"%s\"%s%s\n", text,
                row != NULL ? ": " : "", row != NULL ? row->help : "");
        return refuse(parse, EXIT_BAD_VALUE);
    }
    if (row->kind == OPTION_FLAG)
        value = NULL; /* as in memcached: `modern=1` is `modern` */
    else if (value == NULL && !row->argument_is_optional) {
        fprintf(parse->errors, "Missing %s argument: say -o %s=%s\n", text, text, row->argument);
        return refuse(parse, EXIT_BAD_VALUE);
    }
    return apply(parse, row, value, true);
}

static bool apply_suboptions(struct parse *parse, char *list)
{
    char *state = NULL;

    for (char *one = strtok_r(list, ",", &state); one != NULL;
         one = strtok_r(NULL, ",", &state)) {
        if (!apply_suboption(parse, one))
            return false;
    }
    return true;
}

/* --- help --- */

#define HELP_COLUMN 30
#define HELP_WIDTH  88

/* Prints words up to HELP_WIDTH, going on in HELP_COLUMN. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = HELP_COLUMN;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        bool is_first = column == HELP_COLUMN;
        if (!is_first && column + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
            is_first = true;
        }
        fprintf(out, "%s%.*s", is_first ? "" : " ", (int)word, text);
        column += word + (is_first ? 0 : 1);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* "  -p, --port=NUM" */
static void describe_row(char text[80], const struct option_row *row, bool is_suboption)
{
    const char *argument = row->argument != NULL ? row->argument : "";
    const char *join = row->argument == NULL ? "" : row->name == NULL ? " " : "=";

    if (is_suboption)
        snprintf(text, 80, "  -o %s%s%s", row->name, join, argument);
    else if (row->letter == 0)
        snprintf(text, 80, "      --%s%s%s", row->name, join, argument);
    else if (row->name == NULL)
        snprintf(text, 80, "  -%c%s%s", row->letter, join, argument);
    else
        snprintf(text, 80, "  -%c, --%s%s%s", row->letter, row->name, join, argument);
}

static void print_row(FILE *out, const struct option_row *row, bool is_suboption)
{
    char left[80];

    describe_row(left, row, is_suboption);
    if (*row->help == '\0') {
        fprintf(out, "%s\n", left);
        return;
    }
    fprintf(out, "%-*s", HELP_COLUMN, left);
    if (strlen(left) >= HELP_COLUMN)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    print_wrapped(out, row->help);
}

/* The many suboptions that we only accept, by their names alone. */
static void print_accepted(FILE *out)
{
    char names[2048] = "";
    size_t used = 0;

    for (unsigned i = 0; i < suboption_row_count; i++) {
        if (suboption_rows[i].group == GROUP_ACCEPTED)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? " " : "",
                                     suboption_rows[i].name);
        assert(used < sizeof names);
    }
    fprintf(out, "%-*s", HELP_COLUMN, "  -o");
    print_wrapped(out, names);
}

static void print_help(FILE *out)
{
    fprintf(out, "ringcached %s, a server for memcached clients (as of memcached %s)\n",
            PACKAGE_VERSION, MEMCACHED_VERSION);
    for (enum option_group group = 0; group < GROUP_HIDDEN; group++) {
        fprintf(out, "\n%s:\n", option_group_title(group));
        for (unsigned i = 0; i < option_row_count; i++) {
            if (option_rows[i].group == group)
                print_row(out, &option_rows[i], false);
        }
        for (unsigned i = 0; i < suboption_row_count; i++) {
            if (suboption_rows[i].group == group && group != GROUP_ACCEPTED)
                print_row(out, &suboption_rows[i], true);
        }
    }
    print_accepted(out);
}

static void print_licence(FILE *out)
{
    fprintf(out, "ringcached %s\n\n%s\nIt uses libev, jemalloc, xxHash, OpenSSL and Cyrus SASL, "
                 "under their own licences.\n",
            PACKAGE_VERSION, licence_text);
}

/* -h, -V and -i.  False: `letter` is none of them. */
static bool print_and_end(struct parse *parse, int letter)
{
    switch (letter) {
    case 'h':
        print_help(parse->out);
        return true;
    case 'V':
        fprintf(parse->out, "ringcached %s (memcached %s)\n", PACKAGE_VERSION,
                MEMCACHED_VERSION);
        return true;
    case 'i':
        print_licence(parse->out);
        return true;
    default:
        return false;
    }
}

/* --- the command line --- */

/* What getopt_long() wants to know, made from the rows. */
static void describe_options(char letters[2 * ROWS_MAX + 2], struct option names[ROWS_MAX + 1])
{
    unsigned name_count = 0;

    assert(option_row_count <= ROWS_MAX);
    *letters++ = ':'; /* we complain ourselves, and tell a missing argument apart */
    for (unsigned i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->letter != 0) {
            *letters++ = (char)row->letter;
            if (row->argument != NULL)
                *letters++ = ':';
        }
        if (row->name != NULL) {
            names[name_count++] = (struct option){
                .name = row->name,
                .has_arg = row->argument != NULL ? required_argument : no_argument,
                .val = row->letter != 0 ? row->letter : LONG_ONLY + (int)i,
            };
        }
    }
    *letters = '\0';
    names[name_count] = (struct option){ .name = NULL };
}

static const struct option_row *find_option(int found)
{
    if (found >= LONG_ONLY)
        return &option_rows[found - LONG_ONLY];
    for (unsigned i = 0; i < option_row_count; i++) {
        if (option_rows[i].letter == found)
            return &option_rows[i];
    }
    return NULL;
}

/* getopt_long() did not know it, or missed its argument. */
static bool complain_of_option(struct parse *parse, char **arguments, bool lacks_argument)
{
    /* optopt is 0 for an unknown long name, and optind is then behind it. */
    if (optopt != 0 && optopt < LONG_ONLY)
        fprintf(parse->errors, "ringcached: %s -%c\n",
                lacks_argument ? "an argument is missing after" : "there is no option", optopt);
    else
        fprintf(parse->errors, "ringcached: %s %s\n",
                lacks_argument ? "an argument is missing after" : "there is no option",
                arguments[optind - 1]);
    fprintf(parse->errors, "Illegal argument \"?\"\nringcached --help lists what there is.\n");
    return refuse(parse, EXIT_BAD_VALUE);
}

static bool apply_option(struct parse *parse, int found)
{
    const struct option_row *row = find_option(found);
    char *text = optarg;

    assert(row != NULL);
    if (print_and_end(parse, row->letter))
        return refuse(parse, EXIT_SUCCESS);
    if (text != NULL)
        text += strspn(text, " \t");
    if (row->kind == OPTION_REFUSED) {
        name_option(parse->errors, row, false);
        fprintf(parse->errors, "%s\n", row->help);
        return refuse(parse, EX_USAGE);
    }
    return row->letter == 'o' ? apply_suboptions(parse, text) : apply(parse, row, text, false);
}

static void start_options(char letters[2 * ROWS_MAX + 2], struct option names[ROWS_MAX + 1])
{
    describe_options(letters, names);
    opterr = 0;
    optind = 0; /* have the GNU library start anew */
}

/* The argument of --config, which is read before all other options, as they count more; NULL if
 * there is none.  What is wrong with the options is found later. */
static const char *find_config_file(int count, char **arguments)
{
    char letters[2 * ROWS_MAX + 2];
    struct option names[ROWS_MAX + 1];
    const char *path = NULL;
    int found;

    start_options(letters, names);
    while ((found = getopt_long(count, arguments, letters, names, NULL)) != -1) {
        if (found >= LONG_ONLY && strcmp(find_option(found)->name, "config") == 0)
            path = optarg;
    }
    return path;
}

static bool apply_config_file(struct parse *parse, int count, char **arguments)
{
    const char *path = find_config_file(count, arguments);

    parse->config_file = path;
    return path == NULL ||
           config_file_read(parse->settings, &parse->policies, path, parse->errors) ||
           refuse(parse, EX_CONFIG);
}

/* Once all else is known. */
static bool apply_policies(struct parse *parse)
{
    if (parse->config_file == NULL)
        return true;
    if (!config_file_check_policies(parse->settings, &parse->policies, parse->config_file,
                                    parse->errors))
        return refuse(parse, EX_CONFIG);
    if (policies_replace(&parse->policies))
        return true;
    fprintf(parse->errors, "%s: out of memory\n", parse->config_file);
    return refuse(parse, EX_OSERR);
}

static bool apply_command_line(struct parse *parse, int count, char **arguments)
{
    char letters[2 * ROWS_MAX + 2];
    struct option names[ROWS_MAX + 1];
    int found;

    start_options(letters, names);
    while ((found = getopt_long(count, arguments, letters, names, NULL)) != -1) {
        if (found == '?' || found == ':') {
            return complain_of_option(parse, arguments, found == ':');
        }
        if (!apply_option(parse, found))
            return false;
    }
    if (optind < count)
        fprintf(parse->errors, "ringcached: warning: \"%s\" belongs to no option: ignored\n",
                arguments[optind]);
    return true;
}

/* --- what does not go together --- */

static bool usage(struct parse *parse, const char *complaint)
{
    fprintf(parse->errors, "%s\n", complaint);
    return refuse(parse, EX_USAGE);
}

static bool check_port(struct parse *parse, int port)
{
    if (port <= 65535)
        return true;
    fprintf(parse->errors, "ERROR: Invalid port number %d: the last one is 65535.\n", port);
    return refuse(parse, EX_USAGE);
}

static bool check_sizes(struct parse *parse)
{
    struct settings *s = parse->settings;

    if (s->item_bytes_max < 1024)
        return usage(parse, "Item max size cannot be less than 1024 bytes.");
    if (s->item_bytes_max > s->limit_bytes / 2) {
        fprintf(parse->errors,
                "Cannot set item size limit higher than 1/2 of memory max.\n-I is %llu bytes, and "
                "-m %llu: raise -m, or lower -I.\n",
                (unsigned long long)s->item_bytes_max, (unsigned long long)s->limit_bytes);
        return refuse(parse, EX_USAGE);
    }
    if (s->item_bytes_max > 1024ull * 1024 * 1024)
        return usage(parse, "Cannot set item size limit higher than a gigabyte.");
    if (!s->chunk_max_given) {
        if (s->accepted.slab_chunk_max > s->item_bytes_max)
            s->accepted.slab_chunk_max = (unsigned)s->item_bytes_max;
        return true;
    }
    if (s->item_bytes_max % s->accepted.slab_chunk_max != 0) {
        fprintf(parse->errors,
                "-I (item_size_max: %llu) must be evenly divisible by slab_chunk_max "
                "(bytes: %u)\n",
                (unsigned long long)s->item_bytes_max, s->accepted.slab_chunk_max);
        return refuse(parse, EX_USAGE);
    }
    return true;
}

static bool check_lru(struct parse *parse)
{
    struct settings *s = parse->settings;

    if (s->accepted.hot_lru_pct + s->accepted.warm_lru_pct > 80)
        return usage(parse, "hot_lru_pct + warm_lru_pct cannot be more than 80% combined");
    if (s->accepted.napi_ids > s->threads)
        return usage(parse, "-N, --napi-ids: there cannot be more of them than threads (-t)");
    return true;
}

static bool check_ports(struct parse *parse)
{
    struct settings *s = parse->settings;

    if (s->udp_port_given && s->udp_port != 0 && !s->tcp_port_given)
        s->tcp_port = s->udp_port;
    return check_port(parse, s->tcp_port) && check_port(parse, s->udp_port);
}

/* A login over one protocol closes the other one, which would get around it. */
static bool check_logins(struct parse *parse)
{
    struct settings *s = parse->settings;

    if (s->sasl && s->auth_file != NULL)
        return usage(parse, "ERROR: -S is for the binary protocol and -Y for the text protocol: "
                            "choose one.");
    if ((s->sasl || s->auth_file != NULL) && s->udp_port != 0)
        return usage(parse, "ERROR: UDP has no logins: leave -U away with -S or -Y.");
    if (s->sasl && s->protocol_given && s->protocol != LISTEN_BINARY)
        return usage(parse, "ERROR: You cannot allow the ASCII protocol while using SASL.");
    if (s->auth_file != NULL && s->protocol_given && s->protocol != LISTEN_ASCII)
        return usage(parse, "ERROR: You cannot allow the BINARY protocol while using ascii "
                            "authentication tokens.");
    if (s->sasl)
        s->protocol = LISTEN_BINARY;
    else if (s->auth_file != NULL)
        s->protocol = LISTEN_ASCII;
    return true;
}

static bool check_listen(struct parse *parse)
{
    struct settings *s = parse->settings;

    for (unsigned i = 0; i < s->listen_count; i++) {
        struct listen_address *address = &s->listen[i];
        if (address->tls != LISTEN_TLS_DEFAULT && !s->tls.enabled)
            return usage(parse, "notls:, btls: and mtls: in -l need -Z");
        if (!address->protocol_given)
            address->protocol = s->protocol;
        else if (s->sasl && address->protocol != LISTEN_BINARY)
            return usage(parse, "-l proto[...]: only binary goes with -S");
        else if (s->auth_file != NULL && address->protocol == LISTEN_BINARY)
            return usage(parse, "-l proto[...]: binary does not go with -Y");
        else if (s->auth_file != NULL)
            address->protocol = LISTEN_ASCII;
    }
    return true;
}

static bool check_tls(struct parse *parse)
{
    struct settings *s = parse->settings;

    if (!s->tls.enabled)
        return true;
    if (s->tcp_port == 0 && s->listen_count == 0)
        return usage(parse, "ERROR: You cannot enable SSL without a TCP port.");
    if (s->tls.chain_file == NULL)
        return usage(parse, "-Z needs a certificate: -o ssl_chain_cert=FILE[,ssl_key=FILE]");
    return true;
}

/* A hint that outlived the tombstones could bring back what was deleted (DESIGN, section 5). */
static bool check_cluster_times(struct parse *parse)
{
    const struct settings *s = parse->settings;

    if (s->hint_lifetime_ms + REPAIR_ROUND_MS < s->tombstone_grace_ms)
        return true;
    fprintf(parse->errors,
            "--hint-lifetime %llu and --tombstone-grace %llu: a late hint could bring back what "
            "was deleted; the grace has to be at least %llu seconds more\n",
            (unsigned long long)s->hint_lifetime_ms / 1000,
            (unsigned long long)s->tombstone_grace_ms / 1000,
            (unsigned long long)REPAIR_ROUND_MS / 1000 + 1);
    return refuse(parse, EX_USAGE);
}

static bool check_cluster_memory(struct parse *parse)
{
    struct settings *s = parse->settings;
    uint64_t limit = s->limit_bytes;

    if (s->hint_memory_bytes == 0)
        s->hint_memory_bytes = limit / 4;
    if (s->stub_memory_bytes == 0)
        s->stub_memory_bytes = limit / 16;
    if (s->tombstone_memory_bytes == 0)
        s->tombstone_memory_bytes = limit / 8;
    if (s->hint_memory_bytes + s->stub_memory_bytes + s->tombstone_memory_bytes < limit)
        return true;
    return usage(parse, "--hint-memory, --stub-memory and --tombstone-memory are parts of -m and "
                        "leave nothing of it: raise -m, or lower them");
}

static bool check_cluster_tls(struct parse *parse)
{
    const struct peer_tls_files *files = &parse->settings->peer_tls;
    const int given =
        (files->certificate != NULL) + (files->key != NULL) + (files->authority != NULL);

    return given == 0 || given == 3 ||
           usage(parse, "TLS between nodes needs all of --cluster-tls-cert, --cluster-tls-key and "
                        "--cluster-tls-ca");
}

/* What a node says to the others has to make sense to them. */
static bool check_cluster(struct parse *parse)
{
    struct settings *s = parse->settings;

    if (s->node_name == NULL) {
        if (s->cluster_listen != NULL || s->join != NULL || s->state_file != NULL)
            return usage(parse, "--cluster-listen, --join and --state-file need --node-name: a "
                                "node of a cluster has a name");
        return true;
    }
    if (s->cluster_listen == NULL)
        return usage(parse, "--node-name needs --cluster-listen ADDR:PORT: where the other nodes "
                            "of the cluster reach this one");
    if (s->udp_port != 0)
        return usage(parse, "-U and --node-name exclude each other: what a node answers may have to "
                            "wait for other nodes, and a datagram's answer cannot");
    if (s->read_quorum > s->copies || s->write_quorum > s->copies) {
        fprintf(parse->errors,
                "--%s-quorum is %u, but there are only --copies %u: it could never be met\n",
                s->read_quorum > s->copies ? "read" : "write",
                s->read_quorum > s->copies ? s->read_quorum : s->write_quorum, s->copies);
        return refuse(parse, EX_USAGE);
    }
    return check_cluster_tls(parse) && check_cluster_times(parse) && check_cluster_memory(parse);
}

bool options_parse(struct settings *s, int count, char **arguments, FILE *out, FILE *errors,
                   int *exit_code)
{
    static bool (*const checks[])(struct parse *) = {
        check_sizes, check_lru, check_ports, check_logins, check_listen, check_tls, check_cluster,
        apply_policies,
    };
    struct parse parse = { .settings = s, .out = out, .errors = errors };
    bool is_ok = apply_config_file(&parse, count, arguments) &&
                 apply_command_line(&parse, count, arguments);

    for (unsigned i = 0; is_ok && i < sizeof checks / sizeof *checks; i++)
        is_ok = checks[i](&parse);
    if (is_ok && s->checks_config) {
        fprintf(out, "The options%s%s are fine.\n", s->config_file != NULL ? " and " : "",
                s->config_file != NULL ? s->config_file : "");
        is_ok = refuse(&parse, EXIT_SUCCESS);
    }
    *exit_code = parse.exit_code;
    return is_ok;
}
