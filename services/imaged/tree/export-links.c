/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/export-links.h"
#include "lib/error.h"

#define EXPORT_LINKS_FIRST 256

static ExportLink *export_links_find(const ExportLinks *links, ino_t inode)
{
        size_t at = (size_t)((uint64_t)inode * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (links->n_rows - 1);

        while (links->rows[at].path && links->rows[at].inode != inode)
                at = (at + 1) & (links->n_rows - 1);
        return &links->rows[at];
}

static int export_links_grow(ExportLinks *links)
{
        ExportLinks more = {.n = links->n, .n_rows = links->n_rows ? links->n_rows * 2 : EXPORT_LINKS_FIRST};

        more.rows = calloc(more.n_rows, sizeof(*more.rows));
        if (!more.rows)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < links->n_rows; i++)
                if (links->rows[i].path)
                        *export_links_find(&more, links->rows[i].inode) = links->rows[i];
        free(links->rows);
        *links = more;
        return 0;
}

int export_links_see(ExportLinks *links, ino_t inode, const char *path, const char **ret_first)
{
        int r = links->n * 2 >= links->n_rows ? export_links_grow(links) : 0;

        if (r < 0)
                return fold(r);
        ExportLink *link = export_links_find(links, inode);
        if (link->path) {
                *ret_first = link->path;
                return 0;
        }
        *ret_first = NULL;
        _cleanup_free_ char *copy = strdup(path);
        if (!copy)
                return error_origin(-ENOMEM);
        *link = (ExportLink){.inode = inode, .path = TAKE_PTR(copy)};
        links->n++;
        return 0;
}

void export_links_done(ExportLinks *links)
{
        for (size_t i = 0; i < links->n_rows; i++)
                free(links->rows[i].path);
        free(links->rows);
        *links = (ExportLinks){0};
}
