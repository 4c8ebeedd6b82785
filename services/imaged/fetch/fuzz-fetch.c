/* SPDX-License-Identifier: Apache-2.0 */

/* What servers and the hosts file can write: a base URL, a Location, a name and hosts lines, each ended by a NUL. */

#include "lib/fuzz.h"
#include "services/imaged/fetch/fetch.h"

static void fuzz_check(bool is_right)
{
        if (!is_right)
                abort();
}

/* What was parsed parses to itself: nothing is checked of one host and asked of another. */
static void fuzz_url(const FetchUrl *url)
{
        _cleanup_(fetch_url_done) FetchUrl again = FETCH_URL_NULL;

        fuzz_check(url->host[0] && !strpbrk(url->host, "@/%?#\\ []") && url->port > 0 && !strchr(url->shown, '?'));
        fuzz_check(fetch_url_parse(NULL, url->text, &again));
        fuzz_check(fetch_url_same_origin(url, &again) && str_equal(url->text, again.text));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(fetch_url_done) FetchUrl url = FETCH_URL_NULL;
        _cleanup_free_ char *copy = malloc(n + 4);
        FetchAddresses found = {0};
        const char *parts[4];

        if (!copy)
                return 0;
        memcpy(copy, bytes, n);
        memset(copy + n, 0, 4);
        parts[0] = copy;
        for (size_t i = 1; i < ARRAY_SIZE(parts); i++) {
                const char *end = parts[i - 1] + strlen(parts[i - 1]);
                parts[i] = end < copy + n ? end + 1 : end;
        }
        if (fetch_url_parse(NULL, parts[0], &url)) {
                _cleanup_(fetch_url_done) FetchUrl next = FETCH_URL_NULL;

                fuzz_url(&url);
                if (fetch_url_parse(url.text, parts[1], &next))
                        fuzz_url(&next);
        }
        fetch_addresses_find_in_hosts(parts[3], parts[2], &found);
        fuzz_check(found.n <= FETCH_ADDRESSES_MAX);
        for (size_t i = 0; i < found.n; i++)
                (void)fetch_address_problem(found.text[i], false);
        return 0;
}
