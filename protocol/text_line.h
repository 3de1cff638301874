/* Inside the text codec: a command line and its words.
 *
 * Only protocol/text*.c and protocol/meta.c include this. */
#ifndef PROTOCOL_TEXT_LINE_H
#define PROTOCOL_TEXT_LINE_H

#include "protocol/text.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/* A command line that is wholly there, or the beginning of a get line that is too long for that
 * (then `stop` and `next` are the end of the input). */
struct text_line {
    struct parser *parser;
    const unsigned char *start; /* of the command word */
    const unsigned char *at;    /* what follows the words taken so far */
    const unsigned char *stop;  /* the end of the words: the "\r\n" or "\n" */
    const unsigned char *next;  /* behind the line's end; handlers move it behind what they took */
    const unsigned char *limit; /* the end of the input */
};

struct text_command;

/* Makes an operation of the line; line->at is behind the command word. */
typedef enum parse_result text_handler(struct text_line *, const struct text_command *,
                                       struct operation *);

struct text_command {
    unsigned char name[16]; /* padded with zeros */
    uint8_t name_size;
    text_handler *handler;
    uint8_t verb;
    uint8_t mode;
    bool is_unbounded;  /* a line of keys: no limit to its length */
    bool takes_noreply; /* as the last word */
    uint8_t words_min;  /* after the command: fewer is REJECT_LINE_FORMAT */
    uint32_t options;
};

/* protocol/text_keys.c: get gets gat gats vget, and every later call while their keys last. */
text_handler text_parse_keys;
text_handler text_parse_touch_keys;
enum parse_result text_next_key(struct text_line *, struct operation *);

/* protocol/text_store.c: set add replace append prepend cas. */
text_handler text_parse_store;

/* A line that begins with "set ", if it is as nearly all are: single blanks, short numbers, no
 * noreply, wholly there.  False: it is not, and nothing happened. */
bool text_parse_plain_set(struct text_line *, struct operation *, enum parse_result *);

/* Finishes a VERB_STORE whose head is fine: takes its value if that is in the input, else gives
 * PARSE_VALUE.  Also for ms. */
enum parse_result text_take_value(struct text_line *, struct operation *);

/* Refuses a VERB_STORE: its value is thrown away. */
enum parse_result text_refuse_store(struct text_line *, struct operation *, enum reject_reason);

/* protocol/meta.c: mg ms md ma me. */
text_handler meta_parse;
text_handler meta_parse_store;
text_handler meta_parse_inspect;

/* Decodes "@..." into operation->context and context_storage.  False when it is malformed or
 * longer than CONTEXT_BYTES_MAX. */
bool text_decode_context(struct slice word, struct operation *);

/* The first space or line end in [at, end), or `end`. */
static inline const unsigned char *text_word_end(const unsigned char *at, const unsigned char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(' '), newline = _mm_set1_epi8('\n');
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(bytes, space), _mm_cmpeq_epi8(bytes, newline));
        unsigned mask = (unsigned)_mm_movemask_epi8(hits);
        if (mask != 0)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && *at != ' ' && *at != '\n')
        at++;
    return at;
}

static inline const unsigned char *text_skip_spaces(const unsigned char *at,
                                                    const unsigned char *end)
{
    while (at < end && *at == ' ')
        at++;
    return at;
}

/* Takes the next word; an empty slice when there is none. */
static inline struct slice text_next_word(struct text_line *line)
{
    const unsigned char *start = text_skip_spaces(line->at, line->stop);
    /* To look past the line's end is faster, and the "\n" stops it: only the "\r" is too much. */
    const unsigned char *end = text_word_end(start, line->limit);
    if (end > line->stop)
        end = line->stop;
    line->at = end;
    return (struct slice){start, (size_t)(end - start)};
}

/* Whether the last word that has not been taken is "noreply". */
static inline bool text_ends_with_noreply(const struct text_line *line)
{
    const unsigned char *end = line->stop;
    while (end > line->at && end[-1] == ' ')
        end--;
    return end - line->at >= 8 && memcmp(end - 8, " noreply", 8) == 0;
}

#endif
