/* How ringctl shows things: tables, amounts, JSON, and bars for what takes a while.
 *
 * Threads: one. */
#ifndef CTL_PRINT_H
#define CTL_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_COLUMNS_MAX 16
#define TABLE_ROWS_MAX    514 /* a head and MEMBERSHIP_RECORDS_MAX rows, and one */

/* A table whose columns are as wide as their widest cell.  Rows are filled cell by cell. */
struct table {
    unsigned columns, rows, column;
    char *cells[TABLE_ROWS_MAX][TABLE_COLUMNS_MAX];
};

/* `head` has one text per column; a text that begins with '>' has its column flush right. */
void table_init(struct table *, unsigned columns, const char *const *head);
void table_cell(struct table *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints it to stdout and gives its memory back. */
void table_print(struct table *);

/* "12.3 MB" or "512 B", in a buffer of the caller's that has AMOUNT_BYTES. */
#define AMOUNT_BYTES 24
const char *print_amount(double bytes, char text[AMOUNT_BYTES]);

/* Prints to stdout, indented, and gives the reference back. */
void print_json(json_t *);

/* "#####....." in a buffer of the caller's. */
#define BAR_CELLS 30
const char *bar_cells(double fraction, char text[BAR_CELLS + 1]);

/* A bar on stderr, if that is a terminal and the thing takes longer than a second. */
struct bar {
    const char *title;
    uint64_t started_ms;
    bool is_terminal, is_drawn;
};
void bar_start(struct bar *, const char *title);
/* `text` says what is left. */
void bar_show(struct bar *, double fraction, const char *text);
/* Clears it away. */
void bar_end(struct bar *);

#endif
