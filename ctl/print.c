#include "ctl/print.h"

#include "ctl/wire.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_AFTER_MS 1000

static char *format_text(const char *format, va_list arguments)
{
    char *text;

    if (vasprintf(&text, format, arguments) < 0)
        abort();
    return text;
}

void table_init(struct table *table, unsigned columns, const char *const *head)
{
    assert(columns <= TABLE_COLUMNS_MAX);
    *table = (struct table){.columns = columns};
    for (unsigned i = 0; i < columns; i++)
        table_cell(table, "%s", head[i]);
}

void table_cell(struct table *table, const char *format, ...)
{
    va_list arguments;

    if (table->rows == TABLE_ROWS_MAX)
        return;
    va_start(arguments, format);
    table->cells[table->rows][table->column] = format_text(format, arguments);
    va_end(arguments);
    if (++table->column == table->columns) {
        table->column = 0;
        table->rows++;
    }
}

/* The text of a cell; the head's without its sign. */
static const char *cell_text(const struct table *table, unsigned row, unsigned column)
{
    const char *text = table->cells[row][column];

    return row == 0 && text[0] == '>' ? text + 1 : text;
}

static unsigned column_width(const struct table *table, unsigned column)
{
    unsigned width = 0;

    for (unsigned row = 0; row < table->rows; row++) {
        unsigned size = (unsigned)strlen(cell_text(table, row, column));

        width = size > width ? size : width;
    }
    return width;
}

void table_print(struct table *table)
{
    int widths[TABLE_COLUMNS_MAX];

    assert(table->column == 0);
    for (unsigned column = 0; column < table->columns; column++)
        widths[column] = (int)column_width(table, column);
    for (unsigned row = 0; row < table->rows; row++) {
        for (unsigned column = 0; column < table->columns; column++) {
            bool is_right = table->cells[0][column][0] == '>';
            bool is_last = column + 1 == table->columns;

            printf("%*s%s",
                   is_right  ? widths[column]
                   : is_last ? 0
                             : -widths[column],
                   cell_text(table, row, column), is_last ? "\n" : "  ");
        }
    }
    for (unsigned i = 0; i < table->rows * table->columns; i++)
        free(table->cells[i / table->columns][i % table->columns]);
}

const char *print_amount(double bytes, char text[AMOUNT_BYTES])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    unsigned unit = 0;

    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, AMOUNT_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY);

    if (text == NULL)
        abort();
    puts(text);
    free(text);
    json_decref(json);
}

void bar_start(struct bar *bar, const char *title)
{
    *bar = (struct bar){title, wire_now_ms(), isatty(STDERR_FILENO) == 1, false};
}

const char *bar_cells(double fraction, char text[BAR_CELLS + 1])
{
    fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    memset(text, '.', BAR_CELLS);
    memset(text, '#', (size_t)(fraction * BAR_CELLS));
    text[BAR_CELLS] = '\0';
    return text;
}

void bar_show(struct bar *bar, double fraction, const char *text)
{
    char cells[BAR_CELLS + 1];

    if (!bar->is_terminal || wire_now_ms() - bar->started_ms < BAR_AFTER_MS)
        return;
    /* Back to the start of the line, and away with what is longer there. */
    fprintf(stderr, "\r%s [%s] %3.0f %%  %s\033[K", bar->title, bar_cells(fraction, cells),
            100 * fraction, text);
    fflush(stderr);
    bar->is_drawn = true;
}

void bar_end(struct bar *bar)
{
    if (bar->is_drawn)
        fputs("\r\033[K", stderr);
    bar->is_drawn = false;
}
