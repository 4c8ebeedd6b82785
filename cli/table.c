/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"

struct Table {
        size_t n_columns, n_rows;
        char **cells; /* owned, row by row; row 0 is the head */
};

Table *table_free(Table *table)
{
        if (!table)
                return NULL;
        for (size_t i = 0; i < table->n_columns * table->n_rows; i++)
                free(table->cells[i]);
        free(table->cells);
        free(table);
        return NULL;
}

Table *table_new(const char *const *heads, size_t n)
{
        Table *table = calloc(1, sizeof(*table));
        if (!table)
                return NULL;
        table->n_columns = n;
        table_add(table, heads);
        return table;
}

static char *table_printable(const char *text)
{
        char *copy = strdup(text ? text : "");
        for (char *p = copy; p && *p; p++)
                if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
                        *p = '?';
        return copy;
}

void table_add(Table *table, const char *const *cells)
{
        if (!table)
                return;
        char **grown = reallocarray(table->cells, (table->n_rows + 1) * table->n_columns, sizeof(*grown));
        if (!grown)
                return;
        table->cells = grown;
        for (size_t i = 0; i < table->n_columns; i++)
                grown[table->n_rows * table->n_columns + i] = table_printable(cells[i]);
        table->n_rows++;
}

void table_print(const Table *table)
{
        for (size_t row = 0; table && row < table->n_rows; row++) {
                for (size_t column = 0; column < table->n_columns; column++) {
                        const char *cell = table->cells[row * table->n_columns + column];
                        size_t width = 0;
                        for (size_t i = 0; i < table->n_rows; i++) {
                                const char *other = table->cells[i * table->n_columns + column];
                                width = MAX2(width, other ? strlen(other) : 0);
                        }
                        if (column + 1 == table->n_columns)
                                width = 0; /* no spaces at the end of a line */
                        printf("%-*s%s", (int)width, cell ? cell : "", column + 1 == table->n_columns ? "\n" : "   ");
                }
        }
}

const char *table_age(char to[32], int64_t nsec)
{
        int64_t seconds = (clock_realtime_nsec() - nsec) / NSEC_PER_SEC;
        static const struct {
                int64_t seconds;
                const char *unit;
        } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
        (void)snprintf(to, 32, "just now");
        for (size_t i = 0; nsec > 0 && i < ARRAY_SIZE(units); i++) {
                int64_t n = seconds / units[i].seconds;
                if (n > 0) {
                        (void)snprintf(to, 32, "%lld %s%s ago", (long long)n, units[i].unit, n == 1 ? "" : "s");
                        break;
                }
        }
        return to;
}

const char *table_bytes(char to[32], uint64_t bytes)
{
        static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
        double value = (double)bytes;
        size_t unit = 0;
        for (; value >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
                value /= 1000;
        (void)snprintf(to, 32, unit ? "%.3g%s" : "%.0f%s", value, units[unit]);
        return to;
}
