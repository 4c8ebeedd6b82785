/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Intrusive doubly linked list. A link is embedded in its object and says in a comment which list it sits on. */

#include "lib/base.h"

typedef struct List {
        struct List *next;
        struct List *prev;
} List;

#define LIST_INIT(l) ((List){.next = &(l), .prev = &(l)})

static inline void list_init(List *l)
{
        l->next = l;
        l->prev = l;
}

static inline bool list_is_empty(const List *l)
{
        return !l->next || l->next == l;
}

static inline void list_append(List *l, List *what)
{
        what->prev = l->prev;
        what->next = l;
        l->prev->next = what;
        l->prev = what;
}

/* Idempotent: an unlinked link is one that points at itself (or is zeroed). */
static inline void list_remove(List *what)
{
        if (!what->next)
                return;
        what->next->prev = what->prev;
        what->prev->next = what->next;
        list_init(what);
}

#define list_first(l, type, member) (list_is_empty(l) ? NULL : container_of((l)->next, type, member))
#define list_for_each(i, l) for (List *i = (l)->next; i != (l); i = i->next)
#define list_for_each_safe(i, n, l) for (List *i = (l)->next, *n = i->next; i != (l); i = n, n = i->next)
