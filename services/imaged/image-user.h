/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who users are in an image: what was once looked up in its tree, which never changes. A few per image, because every container of an
 * image most often asks for the same one, and each look costs a jail. */

#include "services/imaged/image.h"

/* Longer names are looked up each time. */
#define IMAGE_USER_MAX 64

/* The packed UserLookupResponse for this user, borrowed until the next image_user_keep(); NULL: not known. */
const uint8_t *image_user_find(const Image *image, const char *user, size_t *ret_n);
/* Keeps a copy, in the place of the oldest if there are too many. Without memory nothing is kept. */
void image_user_keep(Image *image, const char *user, const uint8_t *packed, size_t n);
void image_user_forget_all(Image *image);
