/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The messages imaged answers, by edge. */

#include "services/imaged/imaged.h"

/* gatewayd (handlers-cri.c) */
int on_pull_image(void *userdata, Frame *frame);
int on_import_image(void *userdata, Frame *frame);
int on_pull_progress(void *userdata, Frame *frame);
int on_list_images(void *userdata, Frame *frame);
int on_image_status(void *userdata, Frame *frame);
int on_remove_image(void *userdata, Frame *frame);
int on_image_fs_info(void *userdata, Frame *frame);
int on_image_state(void *userdata, Frame *frame);

/* containerd (handlers-container.c) */
int on_image_get(void *userdata, Frame *frame);
int on_image_release(void *userdata, Frame *frame);
int on_hold_list(void *userdata, Frame *frame);
int on_writable_prepare(void *userdata, Frame *frame);
int on_writable_remove(void *userdata, Frame *frame);
int on_writable_measure(void *userdata, Frame *frame);
int on_user_lookup(void *userdata, Frame *frame);

/* containerd (export.c) */
int on_writable_export(void *userdata, Frame *frame);
