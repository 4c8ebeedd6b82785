/* SPDX-License-Identifier: Apache-2.0 */

/* One GET with libcurl, redirects followed here, hop by hop: each hop's name is resolved and its addresses are checked before
 * anything is dialled, and the credential goes only to the origin it was given for. */

#include "services/imaged/fetch/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

#include "lib/clock.h"
#include "lib/fd.h"

#define FETCH_REDIRECTS_MAX 10
#define FETCH_CONNECT_TIMEOUT_SEC 30
#define FETCH_HEADERS_MAX 128
#define FETCH_ERROR_BODY_MAX (64 * 1024) /* of an answer that is no success */

static void fetch_transfer_fail(FetchTransfer *transfer, FetchOutcome outcome, const char *text)
{
        transfer->response.outcome = outcome;
        if (text != transfer->text)
                (void)snprintf(transfer->text, sizeof(transfer->text), "%.500s", text);
}

static curl_socket_t fetch_transfer_on_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
        FetchTransfer *transfer = userdata;
        char text[INET6_ADDRSTRLEN] = "";
        const void *bytes = address->family == AF_INET ? (const void *)&((struct sockaddr_in *)&address->addr)->sin_addr
                                                       : (const void *)&((struct sockaddr_in6 *)&address->addr)->sin6_addr;
        if ((address->family != AF_INET && address->family != AF_INET6) || !inet_ntop(address->family, bytes, text, sizeof(text)) ||
            !fetch_address_is_allowed(text, transfer->allow_loopback)) {
                transfer->is_refused = true;
                (void)snprintf(transfer->text, sizeof(transfer->text), "the address %s is not one that images come from", text);
                return CURL_SOCKET_BAD;
        }
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t fetch_transfer_on_header(char *bytes, size_t size, size_t n, void *userdata)
{
        FetchTransfer *transfer = userdata;
        size_t length = size * n;
        if (++transfer->n_headers > FETCH_HEADERS_MAX || length >= 64 * 1024)
                return 0;
        while (length > 0 && (bytes[length - 1] == '\r' || bytes[length - 1] == '\n' || bytes[length - 1] == ' '))
                length--;
        const char *colon = memchr(bytes, ':', length);
        if (!colon)
                return size * n;
        size_t n_name = (size_t)(colon - bytes), n_value;
        const char *value = colon + 1;
        while (value < bytes + length && (*value == ' ' || *value == '\t'))
                value++;
        n_value = (size_t)(bytes + length - value);
        const struct {
                const char *name;
                char *to;
                size_t size;
        } known[] = {
                {"content-type", transfer->content_type, sizeof(transfer->content_type)},
                {"docker-content-digest", transfer->content_digest, sizeof(transfer->content_digest)},
                {"location", transfer->location, sizeof(transfer->location)},
                {"www-authenticate", transfer->response.n_challenges < FETCH_CHALLENGES_MAX ? transfer->challenges[transfer->response.n_challenges] : NULL,
                 FETCH_HEADER_MAX},
        };
        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
                if (n_name != strlen(known[i].name) || strncasecmp(bytes, known[i].name, n_name) != 0 || !known[i].to ||
                    n_value >= known[i].size || memchr(value, '\0', n_value))
                        continue;
                /* What is passed on is printable, whatever the registry wrote. */
                for (size_t k = 0; k < n_value; k++)
                        known[i].to[k] = value[k] >= 0x20 && value[k] < 0x7f ? value[k] : '?';
                known[i].to[n_value] = '\0';
                if (i == 3)
                        transfer->challenge_pointers[transfer->response.n_challenges++] = known[i].to;
        }
        return size * n;
}

static size_t fetch_transfer_on_body(char *bytes, size_t size, size_t n, void *userdata)
{
        FetchTransfer *transfer = userdata;
        size_t length = size * n;
        bool success = transfer->response.http_status / 100 == 2;
        uint64_t limit = success ? transfer->request->max_bytes : MIN2(transfer->request->max_bytes, (uint64_t)FETCH_ERROR_BODY_MAX);
        if (transfer->response.http_status / 100 == 3)
                return length; /* a redirect's body is for people without one */
        if (length > limit - MIN2(limit, transfer->response.bytes)) {
                transfer->is_too_large = true;
                return 0;
        }
        if (fd_write_full(transfer->pipe_fd, bytes, length) < 0)
                return 0;
        transfer->response.bytes += length;
        transfer->progress_usec = clock_monotonic_usec();
        return length;
}

/* The status is known when the first byte of the body comes. */
static size_t fetch_transfer_on_body_of(char *bytes, size_t size, size_t n, void *userdata)
{
        void **both = userdata;
        FetchTransfer *transfer = both[0];
        long status = 0;
        (void)curl_easy_getinfo(both[1], CURLINFO_RESPONSE_CODE, &status);
        transfer->response.http_status = (uint32_t)status;
        return fetch_transfer_on_body(bytes, size, n, transfer);
}

static void fetch_transfer_explain(FetchTransfer *transfer, CURLcode code, const char *host, const char *detail)
{
        FetchOutcome outcome = FETCH_OUTCOME(PROTOCOL);
        const char *what = "the answer is not HTTP as we know it";
        if (transfer->is_refused) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), transfer->text);
                return;
        }
        if (transfer->is_too_large) {
                outcome = FETCH_OUTCOME(TOO_LARGE);
                what = "the answer is larger than announced or allowed";
        } else if (code == CURLE_COULDNT_CONNECT || (code == CURLE_OPERATION_TIMEDOUT && transfer->response.bytes == 0 && transfer->n_headers == 0)) {
                outcome = FETCH_OUTCOME(CONNECT);
                what = "it cannot be reached; check that the registry runs and the name is right";
        } else if (code == CURLE_OPERATION_TIMEDOUT || transfer->is_stalled) {
                outcome = FETCH_OUTCOME(STALLED);
                what = "no byte came for too long";
        } else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR || code == CURLE_SSL_CACERT_BADFILE ||
                   code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_CERTPROBLEM) {
                outcome = FETCH_OUTCOME(TLS);
                what = "its certificate or TLS is not acceptable; install its CA, or configure skip_verify or plain http for it";
        } else if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_SEND_ERROR) {
                outcome = FETCH_OUTCOME(TRUNCATED);
                what = "the connection ended before the answer did";
        } else if (code == CURLE_WRITE_ERROR) {
                outcome = FETCH_OUTCOME(PROTOCOL);
                what = "the answer could not be passed on";
        }
        char text[512];
        (void)snprintf(text, sizeof(text), "%s: %s (%s)", host, what, *detail ? detail : curl_easy_strerror(code));
        fetch_transfer_fail(transfer, outcome, text);
}

/* libcurl calls this about once a second, and more often while bytes come. Its own low-speed limit averages over several seconds,
 * and so would a burst before a stall; and time in which our reader takes nothing is not the registry's. */
static int fetch_transfer_on_progress(void *userdata, curl_off_t total, curl_off_t now, curl_off_t upload_total, curl_off_t uploaded)
{
        FetchTransfer *transfer = userdata;
        uint64_t at = clock_monotonic_usec();
        if (now != transfer->progress_bytes) {
                transfer->progress_bytes = now;
                transfer->progress_usec = at;
        }
        transfer->is_stalled = at - transfer->progress_usec > MAX2(transfer->request->progress_timeout_sec, 1u) * USEC_PER_SEC;
        return transfer->is_stalled;
}

static struct curl_slist *fetch_transfer_headers(const FetchRequest *request, bool with_credential)
{
        struct curl_slist *headers = NULL;
        for (size_t i = 0; i < request->n_accept; i++) {
                _cleanup_free_ char *line = str_printf("Accept: %s", request->accept[i]);
                headers = line ? curl_slist_append(headers, line) : headers;
        }
        if (with_credential && !str_is_empty(request->authorization)) {
                _cleanup_free_ char *line = str_printf("Authorization: %s", request->authorization);
                headers = line ? curl_slist_append(headers, line) : headers;
                if (line)
                        explicit_bzero(line, strlen(line));
        }
        return headers;
}

/* Addresses as CURLOPT_RESOLVE takes them: the name is resolved once, here, and cannot be answered otherwise later. */
static struct curl_slist *fetch_transfer_pin(const FetchUrl *url, const FetchAddresses *addresses)
{
        char line[FETCH_HOST_MAX + 16 + FETCH_ADDRESSES_MAX * 50];
        bool v6 = strchr(url->host, ':') != NULL;
        size_t used = (size_t)snprintf(line, sizeof(line), "%s%s%s:%u:", v6 ? "[" : "", url->host, v6 ? "]" : "", url->port);
        for (size_t i = 0; i < addresses->n && used < sizeof(line); i++) {
                bool is_v6 = strchr(addresses->text[i], ':') != NULL;
                used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s%s%s", i ? "," : "", is_v6 ? "[" : "", addresses->text[i], is_v6 ? "]" : "");
        }
        return used < sizeof(line) ? curl_slist_append(NULL, line) : NULL;
}

/* One hop. True when it was answered (whatever the status), false when the response says what failed. */
static bool fetch_transfer_hop(FetchTransfer *transfer, const char *address, const FetchUrl *url, bool with_credential)
{
        const FetchRequest *request = transfer->request;
        FetchAddresses addresses;
        if (fetch_addresses_find(transfer->fetcher, url->host, request->progress_timeout_sec, &addresses, transfer->text)) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(RESOLVE), transfer->text);
                return false;
        }
        CURL *curl = curl_easy_init();
        if (!curl) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(PROTOCOL), "out of memory");
                return false;
        }
        char detail[CURL_ERROR_SIZE] = "";
        void *both[2] = {transfer, curl};
        struct curl_slist *headers = fetch_transfer_headers(request, with_credential), *pinned = fetch_transfer_pin(url, &addresses);
        struct curl_blob ca = {.data = transfer->fetcher->ca, .len = transfer->fetcher->n_ca, .flags = CURL_BLOB_NOCOPY};
        transfer->progress_usec = clock_monotonic_usec();
        transfer->progress_bytes = 0;
        transfer->n_headers = 0;
        transfer->location[0] = '\0';
        transfer->response.n_challenges = 0;
        (void)curl_easy_setopt(curl, CURLOPT_URL, address);
        (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
        (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
        (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "bulkhead/" BULKHEAD_VERSION);
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        (void)curl_easy_setopt(curl, CURLOPT_RESOLVE, pinned);
        (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, fetch_transfer_on_socket);
        (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, transfer);
        (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, fetch_transfer_on_header);
        (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, fetch_transfer_on_body_of);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, (void *)both);
        (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
        (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 512L * 1024);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)FETCH_CONNECT_TIMEOUT_SEC);
        (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, fetch_transfer_on_progress);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
        if (request->total_timeout_sec)
                (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)request->total_timeout_sec);
        (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        if (request->skip_verify) {
                (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
                (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
        } else if (transfer->fetcher->n_ca > 0) {
                (void)curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
        }
        (void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
        char range[32];
        if (request->range_from) {
                (void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)request->range_from);
                (void)curl_easy_setopt(curl, CURLOPT_RANGE, range);
        }
        CURLcode code = curl_easy_perform(curl);
        long status = 0;
        curl_off_t length = -1;
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        transfer->response.http_status = (uint32_t)status;
        transfer->response.content_length = length > 0 ? (uint64_t)length : 0;
        transfer->response.ranged = status == 206;
        curl_easy_cleanup(curl);
        curl_slist_free_all(headers);
        curl_slist_free_all(pinned);
        if (code != CURLE_OK)
                fetch_transfer_explain(transfer, code, url->host, detail);
        return code == CURLE_OK;
}

void fetch_transfer_run(FetchTransfer *transfer)
{
        const FetchRequest *request = transfer->request;
        FetchUrl first, url;
        bulkhead__imaged_fetch__fetch_response__init(&transfer->response);
        transfer->response.content_type = transfer->content_type;
        transfer->response.content_digest = transfer->content_digest;
        transfer->response.text = transfer->text;
        transfer->response.challenges = transfer->challenge_pointers;
        (void)str_copy(transfer->text, sizeof(transfer->text), "answered");
        if (!fetch_url_parse(request->url, &first) || strpbrk(request->authorization, "\r\n")) {
                fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), "the URL is not an http or https one");
                return;
        }
        _cleanup_free_ char *address = strdup(request->url);
        url = first;
        for (unsigned hop = 0; address; hop++) {
                bool same = fetch_url_same_origin(&first, &url);
                if (!url.is_tls && !request->allow_plain) {
                        (void)snprintf(transfer->text, sizeof(transfer->text), "%s is asked over plain http, which its configuration does not allow", url.host);
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), transfer->text);
                        return;
                }
                if (first.is_tls && !url.is_tls) {
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), "it redirects from https to http");
                        return;
                }
                /* Loopback was allowed for the registry that the request names; a redirect elsewhere gets it only by configuration. */
                transfer->allow_loopback = transfer->fetcher->config->allow_loopback || (request->allow_loopback && str_equal(first.host, url.host));
                if (!fetch_transfer_hop(transfer, address, &url, same))
                        return;
                if (transfer->response.http_status / 100 != 3 || !*transfer->location)
                        return;
                char *next = fetch_url_join(address, transfer->location);
                free(address);
                address = next;
                if (!next || !fetch_url_parse(next, &url)) {
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(REFUSED), "it redirects to what is no http or https URL");
                        return;
                }
                if (hop == FETCH_REDIRECTS_MAX) {
                        fetch_transfer_fail(transfer, FETCH_OUTCOME(PROTOCOL), "it redirects too often");
                        return;
                }
        }
}
