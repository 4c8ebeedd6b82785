/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/fetch/fetch.h"

#include <ctype.h>
#include <curl/curl.h>

#define FETCH_URL_SHOWN_MAX 256

/* Strings of libcurl's URL interface, freed its way. */
static void fetch_url_partp(char **part)
{
        curl_free(*part);
}

static void fetch_url_handlep(CURLU **handle)
{
        curl_url_cleanup(*handle);
}

#define _cleanup_part_ _cleanup_(fetch_url_partp)

void fetch_url_done(FetchUrl *url)
{
        free(url->text);
        free(url->shown);
        *url = FETCH_URL_NULL;
}

/* Lower case, brackets off, and only characters that names and addresses have: no percent signs, no zones. */
static bool fetch_url_take_host(const char *host, char ret[FETCH_HOST_MAX])
{
        size_t n = strlen(host);
        bool is_v6 = host[0] == '[';

        if (is_v6) {
                if (n < 4 || host[n - 1] != ']')
                        return false;
                host++;
                n -= 2;
        }
        if (n == 0 || n >= FETCH_HOST_MAX)
                return false;
        for (size_t i = 0; i < n; i++) {
                char c = (char)tolower((unsigned char)host[i]);

                if (!((c >= '0' && c <= '9') || (is_v6 ? (c >= 'a' && c <= 'f') || c == ':' || c == '.'
                                                       : (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_')))
                        return false;
                ret[i] = c;
        }
        ret[n] = 0;
        return true;
}

static bool fetch_url_take(CURLU *handle, FetchUrl *ret)
{
        _cleanup_part_ char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *zone = NULL, *user = NULL, *text = NULL;
        char shown_path[FETCH_URL_SHOWN_MAX];
        uint64_t number;

        if (curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(handle, CURLUPART_HOST, &host, 0) ||
            curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) || curl_url_get(handle, CURLUPART_PATH, &path, 0) ||
            curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0) || curl_url_get(handle, CURLUPART_URL, &text, 0))
                return false;
        if (curl_url_get(handle, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK || curl_url_get(handle, CURLUPART_USER, &user, 0) == CURLUE_OK)
                return false;
        ret->is_tls = str_equal(scheme, "https");
        if (!ret->is_tls && !str_equal(scheme, "http"))
                return false;
        if (!fetch_url_take_host(host, ret->host) || !u64_parse(port, UINT16_MAX, &number) || number == 0)
                return false;
        ret->port = (uint16_t)number;
        str_printable(shown_path, sizeof(shown_path), path, strlen(path));
        ret->text = strdup(text);
        ret->shown = str_printf("%s://%s%s%s:%u%s", scheme, strchr(ret->host, ':') ? "[" : "", ret->host,
                                strchr(ret->host, ':') ? "]" : "", ret->port, shown_path);
        return ret->text && ret->shown;
}

/* libcurl decodes percent signs in a host after it has made numbers into addresses: %31102 is 1102 at first and 0.0.4.78 when the
 * text is read again, and so the address that is checked would not be the one that is asked. */
static bool fetch_url_is_settled(const FetchUrl *url)
{
        _cleanup_(fetch_url_handlep) CURLU *handle = curl_url();
        _cleanup_(fetch_url_done) FetchUrl again = FETCH_URL_NULL;

        return handle && curl_url_set(handle, CURLUPART_URL, url->text, 0) == CURLUE_OK && fetch_url_take(handle, &again) &&
               fetch_url_same_origin(url, &again) && str_equal(url->text, again.text);
}

bool fetch_url_parse(const char *base, const char *text, FetchUrl *ret)
{
        _cleanup_(fetch_url_handlep) CURLU *handle = curl_url();
        _cleanup_(fetch_url_done) FetchUrl url = FETCH_URL_NULL;

        if (!handle)
                return false;
        for (const char *c = text; *c; c++)
                if (*c <= ' ' || *c == '\\' || *c == 0x7f)
                        return false;
        /* Set on top of the base, a relative reference is resolved (RFC 3986). */
        if ((base && curl_url_set(handle, CURLUPART_URL, base, 0)) || curl_url_set(handle, CURLUPART_URL, text, 0) ||
            !fetch_url_take(handle, &url) || !fetch_url_is_settled(&url))
                return false;
        *ret = url;
        url = FETCH_URL_NULL;
        return true;
}

bool fetch_url_same_origin(const FetchUrl *a, const FetchUrl *b)
{
        return a->is_tls == b->is_tls && a->port == b->port && str_equal(a->host, b->host);
}
