/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/image-user.h"

#define IMAGE_USERS_MAX 8
#define IMAGE_USER_BYTES_MAX 1024 /* of an answer; larger ones have very many groups */

typedef struct ImageUser {
        List link; /* in Image.users, oldest first */
        char user[IMAGE_USER_MAX];
        size_t n_packed;
        uint8_t packed[];
} ImageUser;

static void image_user_free(Image *image, ImageUser *user)
{
        list_remove(&user->link);
        image->n_users--;
        free(user);
}

const uint8_t *image_user_find(const Image *image, const char *user, size_t *ret_n)
{
        list_for_each(i, (List *)&image->users) {
                const ImageUser *known = container_of(i, ImageUser, link);
                if (str_equal(known->user, user)) {
                        *ret_n = known->n_packed;
                        return known->packed;
                }
        }
        return NULL;
}

void image_user_keep(Image *image, const char *user, const uint8_t *packed, size_t n)
{
        size_t known;
        if (n > IMAGE_USER_BYTES_MAX || strlen(user) >= IMAGE_USER_MAX || image_user_find(image, user, &known))
                return;
        ImageUser *kept = calloc(1, sizeof(*kept) + n);
        if (!kept)
                return;
        ImageUser *oldest = list_first(&image->users, ImageUser, link);
        if (oldest && image->n_users == IMAGE_USERS_MAX)
                image_user_free(image, oldest);
        (void)str_copy(kept->user, sizeof(kept->user), user);
        memcpy(kept->packed, packed, n);
        kept->n_packed = n;
        list_append(&image->users, &kept->link);
        image->n_users++;
}

void image_user_forget_all(Image *image)
{
        list_for_each_safe(i, next, &image->users)
                image_user_free(image, container_of(i, ImageUser, link));
}
