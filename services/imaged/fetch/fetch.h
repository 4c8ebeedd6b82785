/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* imaged-fetch: one HTTP GET in a process of its own. It holds the network, one origin's credential and the end of a pipe, and
 * nothing that outlives the request. */

#include "ipc/edges/imaged-fetch.pb-c.h"
#include "lib/strings.h"
#include "services/hand.h"

#define FETCH_ADDRESSES_MAX 16
#define FETCH_ADDRESS_MAX 46 /* INET6_ADDRSTRLEN */
#define FETCH_HOST_MAX 256   /* a name of DNS has 253 characters */
#define FETCH_CHALLENGES_MAX 8
#define FETCH_HEADER_MAX 4096
#define FETCH_TEXT_MAX 1024

typedef Bulkhead__ImagedFetch__FetchRequest FetchRequest;
typedef Bulkhead__ImagedFetch__FetchResponse FetchResponse;
typedef Bulkhead__ImagedFetch__FetchResponse__Outcome FetchOutcome;
#define FETCH_OUTCOME(name) BULKHEAD__IMAGED_FETCH__FETCH_RESPONSE__OUTCOME__##name

typedef struct Fetcher {
        Hand *hand;
        const ConfigImagedFetch *config; /* borrowed from the hand */
        void *trust; /* owned X509_STORE: the CA bundle, parsed once, before confinement; shared with the children */
        unsigned n_trust; /* certificates in it */
        char *hosts; /* owned; /etc/hosts as it was at the start, "" if unreadable */
} Fetcher;

/* ---- url.c: URLs as libcurl reads them, so that nothing is checked of one host and sent to another ------------------------ */

typedef struct FetchUrl {
        bool is_tls;
        char host[FETCH_HOST_MAX]; /* lower case; an IPv6 address without its brackets */
        uint16_t port;
        char *text;   /* owned; the whole URL, normalised */
        char *shown;  /* owned; for people: without its query, which may carry a signature, and printable */
} FetchUrl;
#define FETCH_URL_NULL ((FetchUrl){0})
void fetch_url_done(FetchUrl *url);
/* http or https, no user, no zone of an address. base: what a relative one is relative to, or NULL. ret is filled anew. False if it is
 * not one that we ask. */
bool fetch_url_parse(const char *base, const char *text, FetchUrl *ret);
bool fetch_url_same_origin(const FetchUrl *a, const FetchUrl *b); /* scheme, host, port */

/* ---- address.c: which addresses may be dialled ----------------------------------------------------------------------------- */

typedef struct FetchAddresses {
        size_t n;
        char text[FETCH_ADDRESSES_MAX][FETCH_ADDRESS_MAX]; /* inet_pton forms */
} FetchAddresses;
/* NULL if it may, else what is wrong with it. IPv4 addresses inside of IPv6 ones are looked at too. */
const char *fetch_address_problem(const char *address, bool allow_loopback);
/* The addresses that /etc/hosts has for the name. */
void fetch_addresses_find_in_hosts(const char *hosts, const char *host, FetchAddresses *ret);

/* ---- resolve.c: names to addresses, without getaddrinfo, which loads modules ------------------------------------------------- */

/* IP literals, then the hosts file, then the configured name servers, all within timeout_sec. False: text says why not. */
bool fetch_resolve(const Fetcher *fetcher, const char *host, uint32_t timeout_sec, FetchAddresses *ret, char text[FETCH_TEXT_MAX]);

/* ---- trust.c: the CA bundle ---------------------------------------------------------------------------------------------------- */

/* PEM in; certificates that do not parse are left out. Owned; NULL when memory is out. */
void *fetch_trust_new(const char *pem, size_t n, unsigned *ret_n);
void *fetch_trust_free(void *trust);

/* ---- transfer.c and hop.c: the whole request --------------------------------------------------------------------------------- */

typedef struct FetchTransfer {
        const Fetcher *fetcher;      /* borrowed */
        const FetchRequest *request; /* borrowed */
        int pipe_fd;                 /* borrowed */
        FetchResponse response;      /* its strings live here */
        uint64_t deadline_usec;      /* of all hops together; USEC_INFINITY: none */
        char text[FETCH_TEXT_MAX];
        char content_type[256], content_digest[128];
        char challenges[FETCH_CHALLENGES_MAX][FETCH_HEADER_MAX];
        char *challenge_pointers[FETCH_CHALLENGES_MAX];
        char location[FETCH_HEADER_MAX]; /* of the last answer, "" if it redirects nowhere */
} FetchTransfer;
/* Fills the response; every outcome is one. */
void fetch_transfer_run(FetchTransfer *transfer);
/* Sets outcome and text: "<url>: what". */
void fetch_transfer_fail(FetchTransfer *transfer, FetchOutcome outcome, const FetchUrl *url, const char *format, ...) _printf_(4, 5);

/* One exchange with one origin. True when it was answered, whatever the status; else the response says what failed. */
bool fetch_hop_run(FetchTransfer *transfer, const FetchUrl *url, const FetchAddresses *addresses, bool allow_loopback,
                   bool with_credential);
