#include "server/option_value.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_integer(const char *text, int base, int64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, base);
    return end != text && *end == '\0' && errno == 0;
}

static bool parse_bytes(const char *text, uint64_t unit, int64_t *number)
{
    static const char suffixes[] = "kmg";
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    if (end == text || errno != 0 || *number < 0)
        return false;
    if (*end != '\0') {
        const char *suffix = strchr(suffixes, *end | 0x20);
        if (suffix == NULL || end[1] != '\0')
            return false;
        unit = 1024ull << (10 * (suffix - suffixes));
    }
    return !__builtin_mul_overflow(*number, (int64_t)unit, number);
}

static bool parse_real(const char *text, double *real)
{
    char *end;

    *real = strtod(text, &end);
    return end != text && *end == '\0' && *real == *real; /* no NaN */
}

/* Reads `text` as the row's kind asks. */
static bool parse_value(const struct option_row *row, const char *text, struct option_value *value)
{
    *value = (struct option_value){.text = text};
    switch (row->kind) {
    case OPTION_FLAG: value->number = (int64_t)row->min; return true;
    case OPTION_NUMBER:
    case OPTION_OCTAL:
        return parse_integer(text, row->kind == OPTION_OCTAL ? 8 : 10, &value->number) &&
               (double)value->number >= row->min && (double)value->number <= row->max;
    case OPTION_BYTES:
        return parse_bytes(text, row->unit, &value->number) && (double)value->number <= row->max;
    case OPTION_REAL:
        return parse_real(text, &value->real) && value->real > row->min && value->real <= row->max;
    case OPTION_TEXT: return *text != '\0';
    case OPTION_REFUSED: break;
    }
    return false;
}

/* What a text should have been. */
static void complain(char complaint[OPTION_COMPLAINT_BYTES], const struct option_row *row,
                     const char *text)
{
    const size_t room = OPTION_COMPLAINT_BYTES;

    switch (row->kind) {
    case OPTION_NUMBER:
        snprintf(complaint, room, "\"%s\" is not a number from %.0f to %.0f", text, row->min,
                 row->max);
        break;
    case OPTION_OCTAL:
        snprintf(complaint, room, "\"%s\" is not an octal number up to %o", text,
                 (unsigned)row->max);
        break;
    case OPTION_BYTES:
        snprintf(complaint, room,
                 "\"%s\" is not a size: say a number, or one with k, m or g behind it, up to %.0fg",
                 text, row->max / (1 << 30));
        break;
    case OPTION_REAL:
        snprintf(complaint, room, "\"%s\" is not a number greater than %g, up to %g", text,
                 row->min, row->max);
        break;
    case OPTION_TEXT:
    case OPTION_FLAG:
    case OPTION_REFUSED: snprintf(complaint, room, "the argument is empty"); break;
    }
}

bool option_store(struct settings *s, const struct option_row *row, const char *text,
                  char complaint[OPTION_COMPLAINT_BYTES])
{
    struct option_value value = {.text = text};
    bool lacks_argument = text == NULL && row->kind != OPTION_FLAG;

    if (lacks_argument && row->argument_is_optional) {
        value.number = 0;
    } else if (!parse_value(row, text, &value)) {
        complain(complaint, row, text);
        return false;
    }
    const char *wrong = row->set != NULL ? row->set(s, &value) : NULL;
    if (wrong == NULL)
        return true;
    if (text != NULL)
        snprintf(complaint, OPTION_COMPLAINT_BYTES, "\"%s\": %s", text, wrong);
    else
        snprintf(complaint, OPTION_COMPLAINT_BYTES, "%s", wrong);
    return false;
}

static const struct option_row *find(const struct option_row *rows, unsigned count,
                                     const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].name != NULL && strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

const struct option_row *option_find(const char *name)
{
    return find(option_rows, option_row_count, name);
}

const struct option_row *suboption_find(const char *name)
{
    return find(suboption_rows, suboption_row_count, name);
}
