/* SPDX-License-Identifier: Apache-2.0 */

/* One exchange. libcurl is told where to connect to (names are resolved and addresses checked before), asked for HTTP/1.1 and
 * nothing else, and never left to follow, authenticate or decompress by itself. */

#include "lib/clock.h"
#include "lib/fd.h"
#include "services/imaged/fetch/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>

#define FETCH_CONNECT_TIMEOUT_SEC 30
#define FETCH_HEADERS_MAX 128
#define FETCH_HEADERS_BYTES_MAX (64 * 1024)
#define FETCH_ERROR_BODY_MAX (64 * 1024) /* of answers other than 2xx */
#define FETCH_BUFFER_BYTES (512 * 1024)

/* Why the exchange was stopped by us. */
typedef enum FetchStop {
        FETCH_STOP_NONE,
        FETCH_STOP_ENOUGH, /* what is needed of it is there: no failure */
        FETCH_STOP_ADDRESS,
        FETCH_STOP_HEADERS,
        FETCH_STOP_TOO_LARGE,
        FETCH_STOP_RANGE,
        FETCH_STOP_STALLED,
        FETCH_STOP_DEADLINE,
        FETCH_STOP_PIPE,
} FetchStop;

typedef struct FetchHop {
        FetchTransfer *transfer;
        const FetchUrl *url;
        bool allow_loopback;
        CURL *curl; /* owned */
        FetchStop stop;
        const char *address_problem;
        unsigned n_headers;
        size_t n_header_bytes;
        bool is_headers_ended; /* of the final answer */
        bool has_range;
        uint64_t range_from;
        uint64_t last_progress_usec;
} FetchHop;

static curl_socket_t fetch_hop_on_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
        FetchHop *hop = userdata;
        char text[FETCH_ADDRESS_MAX] = "";

        /* The addresses were checked when they were resolved. This is where they are used. */
        if (address->family == AF_INET)
                (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr, text, sizeof(text));
        else if (address->family == AF_INET6)
                (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr, text, sizeof(text));
        hop->address_problem = purpose == CURLSOCKTYPE_IPCXN ? fetch_address_problem(text, hop->allow_loopback) : "no address";
        if (hop->address_problem) {
                hop->stop = FETCH_STOP_ADDRESS;
                return CURL_SOCKET_BAD;
        }
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static CURLcode fetch_hop_on_tls(CURL *curl, void *context, void *userdata)
{
        const Fetcher *fetcher = userdata;

        SSL_CTX_set1_cert_store(context, fetcher->trust);
        return CURLE_OK;
}

/* Called once a second at least. */
static int fetch_hop_on_progress(void *userdata, curl_off_t n_total, curl_off_t n_now, curl_off_t n_up_total, curl_off_t n_up)
{
        FetchHop *hop = userdata;
        uint64_t now = clock_monotonic_usec();
        uint64_t patience = MAX2(hop->transfer->request->progress_timeout_sec, 1u) * USEC_PER_SEC;

        if (now >= hop->transfer->deadline_usec)
                hop->stop = FETCH_STOP_DEADLINE;
        else if (now - hop->last_progress_usec > patience)
                hop->stop = FETCH_STOP_STALLED;
        return hop->stop != FETCH_STOP_NONE;
}

static long fetch_hop_status(const FetchHop *hop)
{
        long status = 0;

        (void)curl_easy_getinfo(hop->curl, CURLINFO_RESPONSE_CODE, &status);
        return status;
}

/* "bytes 100-199/200" (RFC 9110, 14.4). */
static void fetch_hop_take_range(FetchHop *hop, const char *value)
{
        char digits[24];
        size_t n;

        if (strncasecmp(value, "bytes ", 6) != 0)
                return;
        value += 6;
        n = strspn(value, "0123456789");
        if (n == 0 || n >= sizeof(digits) || value[n] != '-')
                return;
        memcpy(digits, value, n);
        digits[n] = 0;
        hop->has_range = u64_parse(digits, INT64_MAX, &hop->range_from);
}

/* A status line begins an answer; what an interim one (1xx) had said is forgotten. */
static void fetch_hop_begin_answer(FetchHop *hop)
{
        FetchTransfer *transfer = hop->transfer;

        transfer->content_type[0] = transfer->content_digest[0] = transfer->location[0] = 0;
        transfer->response.n_challenges = 0;
        hop->has_range = false;
}

static void fetch_hop_take_header(FetchHop *hop, const char *name, size_t n_name, const char *value, size_t n_value)
{
        FetchTransfer *transfer = hop->transfer;
        char range[64] = "";
        size_t n_challenges = transfer->response.n_challenges;
        const struct {
                const char *name;
                char *to;
                size_t size;
        } known[] = {
                {"content-type", transfer->content_type, sizeof(transfer->content_type)},
                {"docker-content-digest", transfer->content_digest, sizeof(transfer->content_digest)},
                {"location", transfer->location, sizeof(transfer->location)},
                {"content-range", range, sizeof(range)},
                {"www-authenticate", n_challenges < FETCH_CHALLENGES_MAX ? transfer->challenges[n_challenges] : NULL, FETCH_HEADER_MAX},
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
                if (n_name != strlen(known[i].name) || strncasecmp(name, known[i].name, n_name) != 0 || !known[i].to ||
                    n_value >= known[i].size)
                        continue;
                /* What is passed on is printable ASCII, whatever the server wrote. */
                for (size_t k = 0; k < n_value; k++)
                        known[i].to[k] = value[k] >= ' ' && value[k] < 0x7f ? value[k] : '?';
                known[i].to[n_value] = 0;
                if (known[i].to == range)
                        fetch_hop_take_range(hop, range);
                else if (i == ARRAY_SIZE(known) - 1)
                        transfer->challenge_pointers[transfer->response.n_challenges++] = known[i].to;
        }
}

static size_t fetch_hop_on_header(char *bytes, size_t size, size_t n, void *userdata)
{
        FetchHop *hop = userdata;
        size_t length = size * n;
        const char *colon, *value;

        hop->n_header_bytes += length;
        if (++hop->n_headers > FETCH_HEADERS_MAX || hop->n_header_bytes > FETCH_HEADERS_BYTES_MAX) {
                hop->stop = FETCH_STOP_HEADERS;
                return 0;
        }
        if (length >= 5 && strncasecmp(bytes, "HTTP/", 5) == 0)
                fetch_hop_begin_answer(hop);
        while (length > 0 && strchr("\r\n \t", bytes[length - 1]))
                length--;
        if (length == 0 && fetch_hop_status(hop) >= 200) {
                hop->is_headers_ended = true;
                hop->last_progress_usec = clock_monotonic_usec();
        }
        colon = memchr(bytes, ':', length);
        if (!colon)
                return size * n;
        for (value = colon + 1; value < bytes + length && (*value == ' ' || *value == '\t'); value++)
                ;
        fetch_hop_take_header(hop, bytes, (size_t)(colon - bytes), value, (size_t)(bytes + length - value));
        return size * n;
}

/* Whether more of the body is wanted; sets stop if not. */
static bool fetch_hop_wants_body(FetchHop *hop, long status, uint64_t limit, size_t n)
{
        const FetchRequest *request = hop->transfer->request;
        curl_off_t announced = -1;

        (void)curl_easy_getinfo(hop->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
        if (status / 100 == 3 && hop->transfer->location[0])
                hop->stop = FETCH_STOP_ENOUGH; /* a redirect's body is for people without one */
        else if (status == 206 && (request->range_from == 0 || !hop->has_range || hop->range_from != request->range_from))
                hop->stop = FETCH_STOP_RANGE;
        else if (status / 100 == 2 && (hop->transfer->response.bytes + n > limit || (announced > 0 && (uint64_t)announced > limit)))
                hop->stop = FETCH_STOP_TOO_LARGE;
        return hop->stop == FETCH_STOP_NONE;
}

static size_t fetch_hop_on_body(char *bytes, size_t size, size_t n, void *userdata)
{
        FetchHop *hop = userdata;
        FetchTransfer *transfer = hop->transfer;
        size_t length = size * n;
        long status = fetch_hop_status(hop);
        uint64_t limit = transfer->request->max_bytes;

        if (!fetch_hop_wants_body(hop, status, limit, length))
                return 0;
        if (status / 100 != 2) {
                limit = MIN2(limit, (uint64_t)FETCH_ERROR_BODY_MAX);
                if (transfer->response.bytes + length > limit)
                        hop->stop = FETCH_STOP_ENOUGH;
                length = MIN2(length, limit - transfer->response.bytes);
        }
        if (length > 0 && fd_write_full(transfer->pipe_fd, bytes, length) < 0) {
                hop->stop = FETCH_STOP_PIPE;
                return 0;
        }
        transfer->response.bytes += length;
        /* Now, not before: the reader of the pipe takes its time, and that is not the server's fault. */
        hop->last_progress_usec = clock_monotonic_usec();
        return hop->stop == FETCH_STOP_NONE ? size * n : 0;
}

static void fetch_hop_explain_stop(FetchHop *hop)
{
        FetchTransfer *transfer = hop->transfer;
        unsigned patience = MAX2(transfer->request->progress_timeout_sec, 1u);

        switch (hop->stop) {
        case FETCH_STOP_NONE:
        case FETCH_STOP_ENOUGH:
                return;
        case FETCH_STOP_ADDRESS:
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), hop->url, "it would be reached at %s", hop->address_problem);
                return;
        case FETCH_STOP_HEADERS:
                fetch_transfer_fail(transfer, FETCH_OUTCOME(PROTOCOL), hop->url, "its answer has more than %d headers or %d bytes of them",
                                    FETCH_HEADERS_MAX, FETCH_HEADERS_BYTES_MAX);
                return;
        case FETCH_STOP_TOO_LARGE:
                fetch_transfer_fail(transfer, FETCH_OUTCOME(TOO_LARGE), hop->url, "its answer is larger than the %llu bytes it may have",
                                    (unsigned long long)transfer->request->max_bytes);
                return;
        case FETCH_STOP_RANGE:
                fetch_transfer_fail(transfer, FETCH_OUTCOME(PROTOCOL), hop->url, "it answers with a part that was not asked for");
                return;
        case FETCH_STOP_STALLED:
                if (hop->is_headers_ended)
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(STALLED), hop->url, "no byte came for %u seconds, after %llu", patience,
                                            (unsigned long long)transfer->response.bytes);
                else
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(CONNECT), hop->url, "it did not answer within %u seconds", patience);
                return;
        case FETCH_STOP_DEADLINE:
                fetch_transfer_fail(transfer, FETCH_OUTCOME(STALLED), hop->url, "it was not done within %u seconds",
                                    transfer->request->total_timeout_sec);
                return;
        case FETCH_STOP_PIPE:
                fetch_transfer_fail(transfer, FETCH_OUTCOME(PROTOCOL), hop->url, "nobody takes what it answers any more");
                return;
        }
}

static void fetch_hop_explain(FetchHop *hop, CURLcode code, const char *detail)
{
        FetchTransfer *transfer = hop->transfer;
        FetchOutcome outcome = FETCH_OUTCOME(PROTOCOL);
        const char *what = "its answer is not HTTP as it should be";
        char shown[CURL_ERROR_SIZE];

        if (hop->stop != FETCH_STOP_NONE) {
                fetch_hop_explain_stop(hop);
                return;
        }
        if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT) {
                outcome = FETCH_OUTCOME(CONNECT);
                what = "it cannot be reached; check that the registry runs, and its name and port";
        } else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR) {
                outcome = FETCH_OUTCOME(TLS);
                what = transfer->fetcher->n_trust > 0
                               ? "its certificate is not trusted; add its CA to the node's bundle, or set skip_verify for this registry"
                               : "its certificate cannot be checked: the node has no CA bundle (package ca-certificates)";
        } else if (code == CURLE_SSL_CONNECT_ERROR || code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CIPHER) {
                outcome = FETCH_OUTCOME(TLS);
                what = "TLS fails; if it speaks plain http, say so in its configuration";
        } else if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_SEND_ERROR) {
                outcome = FETCH_OUTCOME(TRUNCATED);
                what = "the connection ended before the answer did";
        }
        if (!*detail)
                detail = curl_easy_strerror(code);
        str_printable(shown, sizeof(shown), detail, strlen(detail));
        fetch_transfer_fail(transfer, outcome, hop->url, "%s (%s)", what, shown);
}

static struct curl_slist *fetch_hop_headers(const FetchRequest *request, bool with_credential)
{
        struct curl_slist *headers = NULL;

        for (size_t i = 0; i < request->n_accept; i++) {
                _cleanup_free_ char *line = str_printf("Accept: %s", request->accept[i]);
                headers = line ? curl_slist_append(headers, line) : headers;
        }
        if (with_credential && !str_is_empty(request->authorization)) {
                _cleanup_free_ char *line = str_printf("Authorization: %s", request->authorization);
                headers = line ? curl_slist_append(headers, line) : headers;
        }
        return headers;
}

/* Addresses as CURLOPT_RESOLVE takes them: the name was resolved once, and is not resolved again. */
static struct curl_slist *fetch_hop_pin(const FetchUrl *url, const FetchAddresses *addresses)
{
        char line[FETCH_HOST_MAX + 16 + FETCH_ADDRESSES_MAX * (FETCH_ADDRESS_MAX + 3)];
        bool is_v6 = strchr(url->host, ':') != NULL;
        size_t n = (size_t)snprintf(line, sizeof(line), "%s%s%s:%u:", is_v6 ? "[" : "", url->host, is_v6 ? "]" : "", url->port);

        for (size_t i = 0; i < addresses->n && n < sizeof(line); i++) {
                is_v6 = strchr(addresses->text[i], ':') != NULL;
                n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s%s%s", i > 0 ? "," : "", is_v6 ? "[" : "", addresses->text[i],
                                      is_v6 ? "]" : "");
        }
        return n < sizeof(line) ? curl_slist_append(NULL, line) : NULL;
}

static void fetch_hop_set_up(FetchHop *hop)
{
        const FetchRequest *request = hop->transfer->request;
        CURL *curl = hop->curl;
        char range[32];

        (void)curl_easy_setopt(curl, CURLOPT_URL, hop->url->text);
        (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
        (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
        (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "bulkhead/" BULKHEAD_VERSION);
        (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, fetch_hop_on_socket);
        (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, hop);
        (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, fetch_hop_on_header);
        (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, hop);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, fetch_hop_on_body);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, hop);
        (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, fetch_hop_on_progress);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, hop);
        (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)FETCH_BUFFER_BYTES);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)FETCH_CONNECT_TIMEOUT_SEC);
        (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        /* No file of its own choice: the store comes from fetch_hop_on_tls(). */
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
        (void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
        if (request->skip_verify) {
                (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
                (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
        } else {
                (void)curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, fetch_hop_on_tls);
                (void)curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, (void *)(uintptr_t)hop->transfer->fetcher);
        }
        if (!str_is_empty(request->form)) {
                (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->form));
                (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->form);
        }
        if (request->range_from) {
                (void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)request->range_from);
                (void)curl_easy_setopt(curl, CURLOPT_RANGE, range);
        }
}

static void fetch_hop_finish(FetchHop *hop)
{
        FetchResponse *response = &hop->transfer->response;
        curl_off_t length = -1;

        (void)curl_easy_getinfo(hop->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        response->http_status = (uint32_t)fetch_hop_status(hop);
        response->content_length = length > 0 ? (uint64_t)length : 0;
        response->ranged = response->http_status == 206;
        if (response->http_status / 100 != 3)
                hop->transfer->location[0] = 0;
}

bool fetch_hop_run(FetchTransfer *transfer, const FetchUrl *url, const FetchAddresses *addresses, bool allow_loopback,
                   bool with_credential)
{
        FetchHop hop = {
                .transfer = transfer,
                .url = url,
                .allow_loopback = allow_loopback,
                .curl = curl_easy_init(),
                .last_progress_usec = clock_monotonic_usec(),
        };
        struct curl_slist *headers = fetch_hop_headers(transfer->request, with_credential), *pin = fetch_hop_pin(url, addresses);
        char detail[CURL_ERROR_SIZE] = "";
        CURLcode code = CURLE_OUT_OF_MEMORY;

        if (hop.curl && pin) {
                fetch_hop_set_up(&hop);
                (void)curl_easy_setopt(hop.curl, CURLOPT_HTTPHEADER, headers);
                (void)curl_easy_setopt(hop.curl, CURLOPT_RESOLVE, pin);
                (void)curl_easy_setopt(hop.curl, CURLOPT_ERRORBUFFER, detail);
                code = curl_easy_perform(hop.curl);
                fetch_hop_finish(&hop);
        }
        /* A part without a body is wrong as well. */
        if (code == CURLE_OK && transfer->response.ranged && transfer->request->range_from != (hop.has_range ? hop.range_from : 0)) {
                hop.stop = FETCH_STOP_RANGE;
                code = CURLE_RANGE_ERROR;
        }
        bool is_answered = code == CURLE_OK || hop.stop == FETCH_STOP_ENOUGH;
        if (!is_answered)
                fetch_hop_explain(&hop, code, detail);
        curl_easy_cleanup(hop.curl);
        curl_slist_free_all(headers);
        curl_slist_free_all(pin);
        return is_answered;
}
