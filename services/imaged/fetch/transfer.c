/* SPDX-License-Identifier: Apache-2.0 */

/* The request: exchange after exchange, as redirects lead, by these rules:
 * - the credential goes to the origin of the request's URL (scheme, host, port), and once another origin was asked to nobody;
 * - from https never to http; to http at all only where the registry's configuration says so;
 * - the addresses of each host are looked up once, all of them checked, and pinned;
 * - a loopback address may be dialled where the request allows it, and for a redirect only if the registry itself is there. */

#include "lib/clock.h"
#include "services/imaged/fetch/fetch.h"

#include <stdarg.h>
#include <stdio.h>

#define FETCH_REDIRECTS_MAX 5

void fetch_transfer_fail(FetchTransfer *transfer, FetchOutcome outcome, const FetchUrl *url, const char *format, ...)
{
        char what[FETCH_TEXT_MAX];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(what, sizeof(what), format, args);
        va_end(args);
        (void)snprintf(transfer->text, sizeof(transfer->text), "%.300s: %.700s", url && url->shown ? url->shown : "the URL", what);
        transfer->response.outcome = outcome;
}

/* Leaves the addresses that may be dialled; none is a refusal. */
static bool fetch_transfer_check_addresses(FetchTransfer *transfer, const FetchUrl *url, bool allow_loopback, FetchAddresses *addresses)
{
        const char *problem = "no address", *refused = "";
        size_t n = 0;

        for (size_t i = 0; i < addresses->n; i++) {
                const char *p = fetch_address_problem(addresses->text[i], allow_loopback);

                if (p) {
                        problem = p;
                        refused = addresses->text[i];
                        continue;
                }
                if (n != i)
                        memcpy(addresses->text[n], addresses->text[i], sizeof(addresses->text[n]));
                n++;
        }
        if (n == 0) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), url, "its address %.*s is %s", FETCH_ADDRESS_MAX, refused, problem);
                return false;
        }
        addresses->n = n;
        return true;
}

static bool fetch_transfer_hop(FetchTransfer *transfer, const FetchUrl *url, bool allow_loopback, bool with_credential)
{
        uint32_t patience = MIN2(MAX2(transfer->request->progress_timeout_sec, 1u), 30u);
        FetchAddresses addresses;
        char text[FETCH_TEXT_MAX];

        if (!fetch_resolve(transfer->fetcher, url->host, patience, &addresses, text)) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(RESOLVE), url, "%s", text);
                return false;
        }
        if (!fetch_transfer_check_addresses(transfer, url, allow_loopback, &addresses))
                return false;
        return fetch_hop_run(transfer, url, &addresses, allow_loopback, with_credential);
}

static bool fetch_transfer_may_ask(FetchTransfer *transfer, const FetchUrl *url, bool was_tls)
{
        if (url->is_tls)
                return true;
        if (was_tls)
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), url, "it was redirected to from https, and is not");
        else if (!transfer->request->allow_plain)
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), url,
                                    "plain http is not allowed for it; configure its registry with an http:// endpoint if it must be");
        return !was_tls && transfer->request->allow_plain;
}

/* Header values that would be more than one line, or anything but a value, are nobody's. */
static bool fetch_transfer_request_is_valid(const FetchRequest *request)
{
        if (strpbrk(request->authorization, "\r\n"))
                return false;
        for (size_t i = 0; i < request->n_accept; i++)
                if (strpbrk(request->accept[i], "\r\n"))
                        return false;
        return true;
}

static void fetch_transfer_prepare(FetchTransfer *transfer)
{
        bulkhead__imaged_fetch__fetch_response__init(&transfer->response);
        transfer->response.content_type = transfer->content_type;
        transfer->response.content_digest = transfer->content_digest;
        transfer->response.text = transfer->text;
        transfer->response.challenges = transfer->challenge_pointers;
        transfer->deadline_usec = transfer->request->total_timeout_sec
                                          ? clock_monotonic_usec() + transfer->request->total_timeout_sec * USEC_PER_SEC
                                          : USEC_INFINITY;
}

/* Only the last answer's headers are told; a failure has none. */
static void fetch_transfer_forget_headers(FetchTransfer *transfer)
{
        transfer->content_type[0] = transfer->content_digest[0] = 0;
        transfer->response.n_challenges = 0;
}

static void fetch_transfer_follow(FetchTransfer *transfer, FetchUrl *url)
{
        _cleanup_(fetch_url_done) FetchUrl first = FETCH_URL_NULL;
        bool is_first_loopback, is_same = true, was_tls = false;

        if (!fetch_url_parse(NULL, url->text, &first)) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), url, "memory is out");
                return;
        }
        is_first_loopback = fetch_address_problem(first.host, true) == NULL && fetch_address_problem(first.host, false) != NULL;
        for (unsigned hop = 0;; hop++) {
                bool allow_loopback = transfer->request->allow_loopback &&
                                      (is_same || is_first_loopback || transfer->fetcher->config->allow_loopback);
                _cleanup_(fetch_url_done) FetchUrl next = FETCH_URL_NULL;

                if (!fetch_transfer_may_ask(transfer, url, was_tls) || !fetch_transfer_hop(transfer, url, allow_loopback, is_same))
                        return;
                if (!transfer->location[0])
                        return;
                if (!str_is_empty(transfer->request->form)) {
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), url, "it redirects a form, which holds a secret");
                        return;
                }
                if (hop == FETCH_REDIRECTS_MAX) {
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(PROTOCOL), url, "it is the end of %d redirects, and one more", FETCH_REDIRECTS_MAX);
                        return;
                }
                if (!fetch_url_parse(url->text, transfer->location, &next)) {
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), url, "it redirects to what is no http or https URL");
                        return;
                }
                was_tls |= url->is_tls;
                is_same = is_same && fetch_url_same_origin(&first, &next);
                fetch_url_done(url);
                *url = next;
                next = FETCH_URL_NULL;
        }
}

void fetch_transfer_run(FetchTransfer *transfer)
{
        _cleanup_(fetch_url_done) FetchUrl url = FETCH_URL_NULL;

        fetch_transfer_prepare(transfer);
        if (!fetch_transfer_request_is_valid(transfer->request) || !fetch_url_parse(NULL, transfer->request->url, &url)) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), NULL, "it is not an http or https URL, or a header has a line break");
                return;
        }
        fetch_transfer_follow(transfer, &url);
        if (transfer->response.outcome != FETCH_OUTCOME(OK))
                fetch_transfer_forget_headers(transfer);
}
