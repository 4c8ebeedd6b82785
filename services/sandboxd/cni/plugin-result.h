/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a plugin printed (CNI specification, section 5). Runs only in the confined child. */

#include "ipc/edges/cni.pb-c.h"
#include "services/sandboxd/refusal.h"
#include <jansson.h>

#define PLUGIN_RESULT_IPS_MAX 32
#define PLUGIN_RESULT_INTERFACES_MAX 64

/* The result of an ADD as JSON: an object whose parts have the shapes that plugin_result_fill() reads. NULL: why says what is
 * wrong with it. */
json_t *plugin_result_parse(const char *bytes, size_t n, char why[256]);

/* The last result of a list, typed. Everything that result points at is allocated; plugin_result_done() frees it. -1 when memory
 * is out. The addresses are those of interfaces inside the pod. */
int plugin_result_fill(const json_t *json, const char *network_name, Bulkhead__Cni__CniResult *result);
void plugin_result_done(Bulkhead__Cni__CniResult *result);

/* What a failed plugin says about itself: its error object, or the beginning of what it printed. ret_code: the error's code, 0 if
 * there is none. */
void plugin_error_text(const char *output, size_t n_output, const char *errors, char text[400], unsigned *ret_code);
