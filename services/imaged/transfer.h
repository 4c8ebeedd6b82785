/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bytes from a hand through a pipe: counted, hashed, and kept in memory (documents) or in a blob file. imaged alone says what
 * their digest is. */

#include "services/imaged/imaged.h"
#include "ipc/edges/imaged-fetch.pb-c.h"

struct event;
struct evp_md_ctx_st;
typedef struct Transfer Transfer;

typedef Bulkhead__ImagedFetch__FetchResponse FetchResponse;

/* Outcome of a transfer, besides 0 (complete, whatever the HTTP status was). text says why, for people. */
enum {
        TRANSFER_E_FAILED = 1, /* the hand says why: text, retry tells whether another try could help */
        TRANSFER_E_TOO_LARGE,
        TRANSFER_E_DISK, /* our disk took no more */
        TRANSFER_E_LOST, /* the hand died */
};

typedef struct TransferResult {
        int outcome;
        bool retry;
        const char *text;
        uint32_t http_status;
        const FetchResponse *response; /* NULL for imports, and unless the hand answered */
        uint8_t digest[32];
        uint64_t bytes;
        const uint8_t *document; /* memory sink: the bytes, and a NUL behind them */
        int file_fd;             /* file sink: readable, at any offset; take it by setting it to -1 */
        uint8_t magic[4];        /* the first bytes */
} TransferResult;

/* Called once; the transfer is freed afterwards. Returns like a handler. */
typedef int (*TransferDone)(void *userdata, TransferResult *result);

typedef struct TransferSpec {
        const char *url; /* registry: GET this; else NULL */
        const char *const *accept;
        size_t n_accept;
        const char *authorization; /* borrowed during the call, "" for none */
        const char *form;          /* borrowed during the call; NULL: GET it, else POST this form */
        bool skip_verify, allow_loopback, allow_plain;
        const char *import_id, *import_path; /* import: this file of an extracted archive */
        bool to_file;
        uint64_t max_bytes;
        uint64_t *progress; /* borrowed, may be NULL: bytes so far */
        TransferDone done;
        void *userdata;
} TransferSpec;

int transfer_start(Transfer **ret, Imaged *imaged, const TransferSpec *spec);
/* No callback comes any more. */
Transfer *transfer_free(Transfer *transfer);
