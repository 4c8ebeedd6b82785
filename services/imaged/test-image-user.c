/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/imaged/image-user.h"
#include <stdio.h>

static void make(ImageTable *table, Image **ret)
{
        uint8_t *config = calloc(1, 1);

        image_table_init(table);
        assert_ok(image_new(ret, "a", config, 0, 0));
}

static void test_what_is_known(void)
{
        ImageTable table;
        Image *image = NULL;
        size_t n = 0;

        make(&table, &image);
        assert_true(image_user_find(image, "web", &n) == NULL);
        image_user_keep(image, "web", (const uint8_t *)"abc", 3);
        image_user_keep(image, "", (const uint8_t *)"", 0);
        const uint8_t *found = image_user_find(image, "web", &n);
        assert_true(found && n == 3 && memcmp(found, "abc", 3) == 0);
        assert_true(image_user_find(image, "", &n) && n == 0);
        assert_true(image_user_find(image, "we", &n) == NULL);
        assert_true(image_user_find(image, "web:web", &n) == NULL);
        /* What is known stays what it is. */
        image_user_keep(image, "web", (const uint8_t *)"xyz", 3);
        assert_true(memcmp(image_user_find(image, "web", &n), "abc", 3) == 0);
        (void)image_free(image);
}

static void test_no_more_than_a_few(void)
{
        static const uint8_t large[4096];
        ImageTable table;
        Image *image = NULL;
        char name[128];
        size_t n = 0;

        make(&table, &image);
        for (int i = 0; i < 100; i++) {
                (void)snprintf(name, sizeof(name), "user%d", i);
                image_user_keep(image, name, large, 10);
                assert_true(image_user_find(image, name, &n) && n == 10);
        }
        assert_true(image->n_users < 10);
        assert_true(image_user_find(image, "user0", &n) == NULL);
        image_user_keep(image, "large", large, sizeof(large));
        assert_true(image_user_find(image, "large", &n) == NULL);
        memset(name, 'u', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        image_user_keep(image, name, large, 1);
        assert_true(image_user_find(image, name, &n) == NULL);
        (void)image_free(image);
}

int main(void)
{
        TEST_RUN(test_what_is_known);
        TEST_RUN(test_no_more_than_a_few);
        return 0;
}
