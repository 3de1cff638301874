/* members: plays stories of the membership and the table, on claimants alone (ring/claimant.h),
 * over a network that keeps messages in order and may be cut.  usage: members [--show] FILE...
 *
 *   members 4                 n1 to n4 found a cluster together; the first line
 *   run 5s                    time passes (s)
 *   cut n1 n2 | n3 n4         nothing passes between the two groups, which notice after three
 *   heal                      seconds; the same for what is over
 *   join n5 at n2             an operator asks n2 to let n5 in; n5 starts with what n2 knows
 *   leave n3 at n1            also: remove (it is dead), force at n1, flush at n1
 *   crash n2 / start n2       it restarts under its name, a later incarnation, without a table
 *   cold n5 / warm n5         it warms until told otherwise (else for two seconds per table)
 *   n1 -> table 3 by 1, owned by 1 2 3       the table that n1 has, and who owns anything
 *   n1 knows n3 -> leaving                   a status: joining, up, leaving, gone, or: nothing
 *   n1 flushed -> yes                        whether a flush is in effect there
 *   | n1: text                as in story.h
 *
 * Threads: one. */
#include "ring/claimant.h"
#include "ring/trace.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES       9
#define BITS        4
#define COPIES      3
#define ROUND_MS    100
#define PING_ROUNDS 10
#define NOTICE_MS   3000
#define WARM_MS     2000
#define QUEUE_MAX   1024
#define TEXT        256
#define LINES       1024
#define WORDS       12
#define START_MS    1000
#define WALL_MS     1790000000000u

struct member {
    bool is_running, is_cold, is_warm;
    struct membership membership;
    struct claimant claimant;
    unsigned char rows[2 * RING_ROWS_BYTES(BITS, COPIES)];
    uint64_t incarnation, warm_at_ms;
    bool reaches[NODES + 1];
};

struct letter {
    unsigned from, to;
    bool is_ping;
    struct ping ping;
    struct claimant_message message;
    unsigned char *bytes;
};

struct world {
    struct member members[NODES + 1]; /* by id, from 1 */
    bool is_cut[NODES + 1][NODES + 1];
    uint64_t changed_ms[NODES + 1][NODES + 1]; /* when that pair was cut or healed */
    struct letter queue[QUEUE_MAX];
    unsigned queued;
    uint64_t now_ms;
    struct claimant_work work;
    char lines[LINES][TEXT]; /* since the last command */
    unsigned line_count, line_next;
    char words[WORDS][TEXT];
    unsigned word_count;
    const char *expected;
    bool is_showing;
};

static void note(struct world *world, unsigned id, const char *text)
{
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        char *line = world->lines[world->line_count < LINES ? world->line_count++ : LINES - 1];
        snprintf(line, TEXT, "n%u: %.*s", id, (int)(end - text), text);
        if (world->is_showing)
            printf("    %6.1f | %s\n", (double)(world->now_ms - START_MS) / 1000, line);
    }
}

/* --- messages --- */

static void put(struct world *world, struct letter letter)
{
    if (world->queued == QUEUE_MAX || world->is_cut[letter.from][letter.to])
        free(letter.bytes);
    else
        world->queue[world->queued++] = letter;
}

static void send_ping(struct world *world, unsigned from, unsigned to)
{
    static const unsigned char some[] = {1};
    struct letter letter = {.from = from, .to = to, .is_ping = true};

    claimant_fill_ping(&world->members[from].claimant, &letter.ping);
    letter.ping.incarnation = world->members[from].incarnation;
    if (!world->members[from].is_warm)
        letter.ping.warming = (struct slice){some, 1};
    put(world, letter);
}

static void step(struct world *world, unsigned id, struct claimant_event event)
{
    struct member *member = &world->members[id];
    struct claimant_effects effects = {0};
    struct ring_trace trace;

    ring_trace_clear(&trace);
    effects.trace = &trace;
    event.now_ms = world->now_ms;
    claimant_step(&member->claimant, &event, &effects);
    note(world, id, trace.text);
    for (unsigned i = 0; i < effects.send_count; i++) {
        const struct claimant_send *send = &effects.sends[i];
        struct letter letter = {.from = id, .to = (unsigned)send->to};
        letter.bytes = malloc(claimant_message_bytes(&member->claimant, send) + 1);
        if (letter.bytes == NULL)
            abort();
        claimant_compose(&member->claimant, send, letter.bytes, &letter.message);
        put(world, letter);
    }
    if (effects.has_adopted) {
        member->is_warm = false;
        member->warm_at_ms = world->now_ms + WARM_MS;
    }
}

static void tell(struct world *world, unsigned id, enum claimant_event_type type)
{
    step(world, id, (struct claimant_event){.type = type});
}

static void deliver(struct world *world)
{
    unsigned count = world->queued;
    struct letter *letters = calloc(count + 1, sizeof letters[0]);

    if (letters == NULL)
        abort();
    memcpy(letters, world->queue, count * sizeof letters[0]);
    world->queued = 0; /* what they lead to arrives in the next round */
    for (unsigned i = 0; i < count; i++) {
        const struct letter *letter = &letters[i];
        if (world->members[letter->to].is_running && !world->is_cut[letter->from][letter->to])
            step(world, letter->to,
                 (struct claimant_event){.type = letter->is_ping ? CLAIMANT_PING : CLAIMANT_MESSAGE,
                                         .from = letter->from,
                                         .ping = &letter->ping,
                                         .message = &letter->message});
        free(letter->bytes);
    }
    free(letters);
}

/* --- time --- */

static void notice(struct world *world, unsigned a, unsigned b)
{
    bool is_open = world->members[b].is_running && !world->is_cut[a][b] && !world->is_cut[b][a];

    if (a == b || world->members[a].reaches[b] == is_open ||
        world->now_ms < world->changed_ms[a][b] + NOTICE_MS)
        return;
    world->members[a].reaches[b] = is_open;
    step(world, a,
         (struct claimant_event){.type = is_open ? CLAIMANT_REACHABLE : CLAIMANT_UNREACHABLE,
                                 .from = b});
}

static void warm(struct world *world, unsigned id)
{
    struct member *member = &world->members[id];

    if (member->is_warm || member->is_cold || world->now_ms < member->warm_at_ms ||
        claimant_table(&member->claimant)->version.epoch == 0)
        return;
    member->is_warm = true;
    membership_set_warm(&member->membership, id);
    step(world, id, (struct claimant_event){.type = CLAIMANT_WARMED, .is_warm = true});
}

static void run(struct world *world, uint64_t ms)
{
    for (uint64_t end_ms = world->now_ms + ms; world->now_ms < end_ms;) {
        world->now_ms += ROUND_MS;
        deliver(world);
        for (unsigned a = 1; a <= NODES; a++) {
            if (!world->members[a].is_running)
                continue;
            for (unsigned b = 1; b <= NODES; b++) {
                notice(world, a, b);
                if (a != b && (world->now_ms / ROUND_MS + a) % PING_ROUNDS == 0)
                    send_ping(world, a, b);
            }
            warm(world, a);
            membership_advance_flushes(&world->members[a].membership, WALL_MS + world->now_ms);
            if (world->now_ms >= claimant_deadline_ms(&world->members[a].claimant))
                tell(world, a, CLAIMANT_TICK);
        }
    }
}

/* --- nodes --- */

static struct member_record record_of(unsigned id, uint64_t incarnation)
{
    struct member_record record = {
        .id = id, .incarnation = incarnation, .weight = 1, .zone = id % 4};

    record.name.size = 1;
    record.name.bytes[0] = (char)('0' + id);
    return record;
}

/* Starts a node that knows what another one knows. */
static void start(struct world *world, unsigned id, const struct membership *known)
{
    struct member *member = &world->members[id];
    struct claimant_config config = {
        .self = id, .copies = COPIES, .ask_retry_ms = 500, .quiet_ms = 300};

    member->is_running = true;
    member->is_warm = false;
    member->warm_at_ms = world->now_ms + WARM_MS;
    memset(member->reaches, 0, sizeof member->reaches);
    membership_init(&member->membership);
    membership_merge(&member->membership, known);
    claimant_init(&member->claimant, &config, &member->membership, &world->work, member->rows,
                  sizeof member->rows / 2);
}

static void found(struct world *world, unsigned count)
{
    struct membership *first = calloc(1, sizeof *first);

    if (first == NULL)
        abort();
    membership_init(first);
    for (unsigned id = 1; id <= count; id++) {
        struct member_record record = record_of(id, 1);
        world->members[id].incarnation = 1;
        if (membership_join(first, &record, NODE_NONE) != MEMBERSHIP_DONE)
            abort();
    }
    for (unsigned id = 1; id <= count; id++) {
        start(world, id, first);
        claimant_found(&world->members[id].claimant, 1, BITS);
    }
    free(first);
}

/* A node that is down starts again, with what any other one knows. */
static bool restart(struct world *world, unsigned id)
{
    for (unsigned other = 1; other <= NODES; other++) {
        if (other == id || !world->members[other].is_running || world->is_cut[id][other])
            continue;
        start(world, id, &world->members[other].membership);
        struct membership *membership = &world->members[id].membership;
        membership_restart(membership, id, WALL_MS + world->now_ms, &(struct member_address){0});
        world->members[id].incarnation = membership_find(membership, id)->incarnation;
        tell(world, id, CLAIMANT_ACTED);
        return true;
    }
    return false;
}

static void change_links(struct world *world, unsigned id)
{
    for (unsigned other = 1; other <= NODES; other++)
        world->changed_ms[id][other] = world->changed_ms[other][id] = world->now_ms;
}

/* --- lines --- */

static unsigned node_of(const char *word)
{
    unsigned id = 0;

    return sscanf(word, "n%u", &id) == 1 && id >= 1 && id <= NODES ? id : 0;
}

static bool complain(const char *what)
{
    printf("%s\n", what);
    return false;
}

static bool cut(struct world *world)
{
    unsigned bar = 0;

    for (unsigned i = 1; i < world->word_count; i++)
        if (strcmp(world->words[i], "|") == 0)
            bar = i;
    for (unsigned i = 1; i < bar; i++) {
        for (unsigned j = bar + 1; j < world->word_count; j++) {
            unsigned a = node_of(world->words[i]), b = node_of(world->words[j]);
            world->is_cut[a][b] = world->is_cut[b][a] = true;
            world->changed_ms[a][b] = world->changed_ms[b][a] = world->now_ms;
        }
    }
    return bar > 0;
}

static void heal(struct world *world)
{
    for (unsigned a = 1; a <= NODES; a++) {
        for (unsigned b = 1; b <= NODES; b++) {
            if (world->is_cut[a][b])
                world->changed_ms[a][b] = world->now_ms;
            world->is_cut[a][b] = false;
        }
    }
}

/* VERB [NODE] at NODE */
static bool act(struct world *world, const char *verb, unsigned id, unsigned at)
{
    struct member *member = &world->members[at];
    struct member_record record = record_of(id, 1);
    enum membership_answer answer = MEMBERSHIP_BAD;

    if (!member->is_running)
        return complain("nobody is there to ask");
    if (strcmp(verb, "force") == 0) {
        tell(world, at, CLAIMANT_FORCE);
        return true;
    }
    if (strcmp(verb, "join") == 0)
        answer = membership_join(&member->membership, &record, NODE_NONE);
    else if (strcmp(verb, "leave") == 0)
        answer = membership_leave(&member->membership, id);
    else if (strcmp(verb, "remove") == 0)
        answer = membership_remove(&member->membership, id);
    else if (strcmp(verb, "flush") == 0)
        answer = membership_flush(&member->membership,
                                  (struct flush){hlc_of_ms(WALL_MS + world->now_ms), 0});
    if (answer != MEMBERSHIP_DONE)
        return complain("that is refused");
    if (strcmp(verb, "join") == 0) {
        world->members[id].incarnation = 1;
        start(world, id, &member->membership);
        change_links(world, id);
    }
    tell(world, at, CLAIMANT_ACTED);
    return true;
}

static bool compare(const struct world *world, const char *is)
{
    if (world->expected != NULL && strcmp(world->expected, is) == 0)
        return true;
    printf("it is -> %s\n", is);
    return false;
}

static bool compare_table(const struct world *world, unsigned id)
{
    const struct ring_table *table = claimant_table(&world->members[id].claimant);
    unsigned owned[RING_MEMBERS_MAX] = {0};
    char text[TEXT];
    int used = snprintf(text, sizeof text, "table %" PRIu64 " by %" PRIu64 ", owned by",
                        table->version.epoch, table->version.claimant);

    if (table->version.epoch == 0)
        return compare(world, "no table");
    for (unsigned partition = 0; partition < 1u << table->partition_bits; partition++)
        for (unsigned i = 0; i < table->copies; i++)
            if (ring_table_row(table, partition)[i] != RING_NO_OWNER)
                owned[ring_table_row(table, partition)[i]]++;
    for (unsigned i = 0; i < table->member_count; i++)
        if (owned[i] > 0)
            used += snprintf(text + used, sizeof text - (size_t)used, " %" PRIu64,
                             table->members[i].id);
    return compare(world, text);
}

static bool compare_status(const struct world *world, unsigned id, unsigned other)
{
    const struct member_record *record = membership_find(&world->members[id].membership, other);
    const char *is = "nothing";

    if (record != NULL) {
        switch (record->status) {
        case MEMBER_JOINING: is = "joining"; break;
        case MEMBER_UP: is = "up"; break;
        case MEMBER_LEAVING: is = "leaving"; break;
        case MEMBER_GONE: is = "gone"; break;
        }
    }
    return compare(world, is);
}

/* n1 -> ..., n1 knows n3 -> ..., n1 flushed -> ... */
static bool node_line(struct world *world, unsigned id)
{
    const struct membership *membership = &world->members[id].membership;

    if (world->word_count == 1)
        return compare_table(world, id);
    if (strcmp(world->words[1], "knows") == 0)
        return compare_status(world, id, node_of(world->words[2]));
    return compare(
        world, flush_list_floor(&membership->flushes, WALL_MS + world->now_ms) > 0 ? "yes" : "no");
}

static bool find_line(struct world *world, const char *line)
{
    for (unsigned i = world->line_next; i < world->line_count; i++) {
        if (strcmp(world->lines[i], line) == 0) {
            world->line_next = i + 1;
            return true;
        }
    }
    printf("nobody wrote that since; they wrote\n");
    for (unsigned i = 0; i < world->line_count; i++)
        printf("    | %s\n", world->lines[i]);
    return false;
}

static bool command(struct world *world)
{
    const char *verb = world->words[0];
    unsigned count = world->word_count, id = node_of(world->words[1]);

    world->line_count = world->line_next = 0;
    if (strcmp(verb, "members") == 0)
        found(world, (unsigned)strtoul(world->words[1], NULL, 10));
    else if (strcmp(verb, "run") == 0)
        run(world, 1000 * strtoul(world->words[1], NULL, 10));
    else if (strcmp(verb, "cut") == 0)
        return cut(world);
    else if (strcmp(verb, "heal") == 0)
        heal(world);
    else if (strcmp(verb, "start") == 0 && id != 0)
        return restart(world, id);
    else if (strcmp(verb, "crash") == 0 && id != 0)
        world->members[id].is_running = false;
    else if ((strcmp(verb, "cold") == 0 || strcmp(verb, "warm") == 0) && id != 0)
        world->members[id].is_cold = verb[0] == 'c';
    else if (count >= 3 && strcmp(world->words[count - 2], "at") == 0)
        return act(world, verb, id, node_of(world->words[count - 1]));
    else
        return complain("no such command");
    if (strcmp(verb, "crash") == 0 || strcmp(verb, "start") == 0)
        change_links(world, id);
    return true;
}

/* Plays one line. */
static bool play_line(struct world *world, char *line)
{
    char *arrow = strstr(line, "->");

    if (line[0] == '|')
        return find_line(world, line + 1 + strspn(line + 1, " "));
    world->expected = NULL;
    if (arrow != NULL) {
        world->expected = arrow + 2 + strspn(arrow + 2, " ");
        *arrow = '\0';
    }
    world->word_count = 0;
    memset(world->words, 0, sizeof world->words);
    for (char *word = strtok(line, " "); word != NULL && world->word_count < WORDS;
         word = strtok(NULL, " "))
        snprintf(world->words[world->word_count++], TEXT, "%s", word);
    if (world->word_count == 0)
        return true;
    unsigned id = node_of(world->words[0]);
    return id != 0 ? node_line(world, id) : command(world);
}

static bool play(struct world *world, const char *path)
{
    char line[TEXT], copy[TEXT];
    unsigned number = 0;
    bool is_right = true;
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        perror(path);
        return false;
    }
    world->now_ms = START_MS;
    while (is_right && fgets(line, sizeof line, file) != NULL) {
        number++;
        line[strcspn(line, "#\n")] = '\0';
        for (size_t size = strlen(line); size > 0 && line[size - 1] == ' '; size--)
            line[size - 1] = '\0';
        memcpy(copy, line, sizeof copy);
        if (world->is_showing && line[0] != '\0')
            printf("%s\n", line);
        is_right = play_line(world, line);
        if (!is_right)
            printf("%s:%u: %s\n", path, number, copy);
    }
    fclose(file);
    while (world->queued > 0)
        free(world->queue[--world->queued].bytes);
    return is_right && number > 0;
}

int main(int count, char **arguments)
{
    bool is_showing = count > 1 && strcmp(arguments[1], "--show") == 0;
    unsigned passed = 0, failed = 0;

    for (int i = is_showing ? 2 : 1; i < count; i++) {
        struct world *world = calloc(1, sizeof *world);
        if (world == NULL)
            abort();
        world->is_showing = is_showing;
        if (play(world, arguments[i])) {
            passed++;
        } else {
            failed++;
            printf("FAILED: %s\n", arguments[i]);
        }
        free(world);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
