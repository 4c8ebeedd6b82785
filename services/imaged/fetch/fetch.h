/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* imaged-fetch: one HTTP GET in a process of its own. Holds the network, one origin's credential and the end of a pipe, and
 * nothing that outlives the request. */

#include "ipc/edges/imaged-fetch.pb-c.h"
#include "lib/strings.h"
#include "services/hand.h"

#define FETCH_ADDRESSES_MAX 16
#define FETCH_HOST_MAX 256
#define FETCH_CHALLENGES_MAX 8
#define FETCH_HEADER_MAX 2048

typedef Bulkhead__ImagedFetch__FetchRequest FetchRequest;
typedef Bulkhead__ImagedFetch__FetchResponse FetchResponse;
typedef Bulkhead__ImagedFetch__FetchResponse__Outcome FetchOutcome;
#define FETCH_OUTCOME(name) BULKHEAD__IMAGED_FETCH__FETCH_RESPONSE__OUTCOME__##name

typedef struct Fetcher {
        Hand *hand;
        const ConfigImagedFetch *config; /* borrowed from the hand */
        char *ca;    /* owned; the CA bundle, PEM, read before confinement */
        size_t n_ca;
        char *hosts; /* owned; /etc/hosts as it was at the start, "" if unreadable */
} Fetcher;

/* url.c: scheme://host[:port]/… of http and https; no user information. */
typedef struct FetchUrl {
        bool is_tls;
        char host[FETCH_HOST_MAX]; /* lower case; an IPv6 address without its brackets */
        uint16_t port;
} FetchUrl;
bool fetch_url_parse(const char *url, FetchUrl *ret);
bool fetch_url_same_origin(const FetchUrl *a, const FetchUrl *b);
/* The URL that a Location header means, relative to the one it answered. Owned; NULL: none that we follow. */
char *fetch_url_join(const char *base, const char *location);

/* address.c: textual addresses (inet_pton forms). */
typedef struct FetchAddresses {
        size_t n;
        char text[FETCH_ADDRESSES_MAX][46];
} FetchAddresses;
/* May it be dialled: no unspecified, multicast, broadcast or link-local address (where metadata services live); loopback only
 * if allowed. */
bool fetch_address_is_allowed(const char *address, bool allow_loopback);
/* IP literals, then the hosts file, then the configured name servers. 0, or 1 with the reason in text. */
int fetch_addresses_find(const Fetcher *fetcher, const char *host, uint32_t timeout_sec, FetchAddresses *ret, char text[512]);

/* transfer.c: the whole request; fills the response, whose strings live in the transfer. */
typedef struct FetchTransfer {
        const Fetcher *fetcher;
        const FetchRequest *request;
        int pipe_fd; /* borrowed */
        FetchResponse response;
        char text[512];
        char content_type[256], content_digest[128], location[FETCH_HEADER_MAX];
        char challenges[FETCH_CHALLENGES_MAX][FETCH_HEADER_MAX];
        char *challenge_pointers[FETCH_CHALLENGES_MAX];
        size_t n_headers;
        bool is_refused; /* our policy stopped it: text says why */
        bool is_too_large;
        bool is_stalled;
        uint64_t progress_usec; /* when the last byte came, or was taken by our reader */
        int64_t progress_bytes;
        bool allow_loopback; /* of the hop under way */
} FetchTransfer;
void fetch_transfer_run(FetchTransfer *transfer);
