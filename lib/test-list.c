/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/list.h"
#include "lib/test.h"

typedef struct Item {
        int value;
        List link;
} Item;

static void list_keeps_order(void)
{
        List all = LIST_INIT(all);
        Item items[3] = {{1, {0}}, {2, {0}}, {3, {0}}};
        int expected = 1;

        assert_true(list_is_empty(&all));
        assert_true(list_first(&all, Item, link) == NULL);
        for (size_t i = 0; i < 3; i++)
                list_append(&all, &items[i].link);
        assert_eq_int(list_first(&all, Item, link)->value, 1);
        list_for_each(i, &all) assert_eq_int(container_of(i, Item, link)->value, expected++);
        assert_eq_int(expected, 4);
}

static void list_remove_is_idempotent(void)
{
        List all = LIST_INIT(all);
        Item items[3] = {{1, {0}}, {2, {0}}, {3, {0}}};
        Item never = {0};

        for (size_t i = 0; i < 3; i++)
                list_append(&all, &items[i].link);
        list_remove(&never.link);
        list_remove(&items[0].link);
        list_remove(&items[0].link);
        assert_eq_int(list_first(&all, Item, link)->value, 2);
        list_for_each_safe(i, next, &all) list_remove(i);
        assert_true(list_is_empty(&all));
}

int main(void)
{
        TEST_RUN(list_keeps_order);
        TEST_RUN(list_remove_is_idempotent);
        return 0;
}
