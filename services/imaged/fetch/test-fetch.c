/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/imaged/fetch/fetch.h"

static void test_addresses(void)
{
        static const char *const good[] = {"10.0.0.1", "192.168.1.5", "8.8.8.8", "2001:db8::1", "fd00::5", "::ffff:10.0.0.1"};
        static const char *const bad[] = {"0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "fe80::1", "ff02::1",
                                          "::ffff:169.254.169.254", "::169.254.169.254", "x", ""};
        static const char *const loopback[] = {"127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(fetch_address_is_allowed(good[i], false));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(fetch_address_is_allowed(bad[i], true));
        for (size_t i = 0; i < ARRAY_SIZE(loopback); i++) {
                assert_false(fetch_address_is_allowed(loopback[i], false));
                assert_true(fetch_address_is_allowed(loopback[i], true));
        }
}

static void test_urls(void)
{
        static const struct {
                const char *url, *host;
                bool is_tls;
                uint16_t port;
        } good[] = {
                {"https://Example.com/v2/", "example.com", true, 443},
                {"http://127.0.0.1:5000/x", "127.0.0.1", false, 5000},
                {"https://[::1]:5000/x", "::1", true, 5000},
                {"https://[fd00::1]", "fd00::1", true, 443},
                {"https://host?query", "host", true, 443},
        };
        static const char *const bad[] = {"ftp://x/", "https://", "https://user@host/", "https://user:p@host/", "http://h:0/", "http://h:65536/",
                                          "http://h:/", "http://h x/", "file:///etc/passwd", "http://[::1", "http://h\\@evil/", "gopher://x"};
        FetchUrl url;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_true(fetch_url_parse(good[i].url, &url));
                assert_eq_str(url.host, good[i].host);
                assert_eq_int(url.is_tls, good[i].is_tls);
                assert_eq_int(url.port, good[i].port);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(fetch_url_parse(bad[i], &url));
}

static void test_joins(void)
{
        static const struct {
                const char *base, *location, *joined;
        } rows[] = {
                {"https://a.io/v2/x?q", "https://b.io/y", "https://b.io/y"},
                {"https://a.io/v2/x?q", "/y", "https://a.io/y"},
                {"https://a.io/v2/x?q=/", "y", "https://a.io/v2/y"},
                {"https://a.io", "y", "https://a.io/y"},
                {"https://a.io/v2/", "//b.io/y", "https://b.io/y"},
                {"https://a.io/v2/", "file:///etc/passwd", NULL},
                {"https://a.io/v2/", "ftp://b.io/", NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_free_ char *joined = fetch_url_join(rows[i].base, rows[i].location);
                if (rows[i].joined)
                        assert_eq_str(joined, rows[i].joined);
                else
                        assert_true(joined == NULL);
        }
}

static void test_origins(void)
{
        FetchUrl a, b;
        assert_true(fetch_url_parse("https://a.io/x", &a) && fetch_url_parse("https://A.io:443/y", &b));
        assert_true(fetch_url_same_origin(&a, &b));
        static const char *const others[] = {"http://a.io/x", "https://a.io:444/x", "https://b.io/x", "https://a.io.evil/x"};
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                assert_true(fetch_url_parse(others[i], &b));
                assert_false(fetch_url_same_origin(&a, &b));
        }
}

static void test_hosts(void)
{
        ConfigImagedFetch config = {0};
        Fetcher fetcher = {.config = &config, .hosts = (char *)"127.0.0.1 localhost\n# 1.1.1.1 commented\n10.1.2.3\tRegistry.Local other # end\n::5 other\n10.9.9.9 last"};
        FetchAddresses found;
        char text[512];
        assert_eq_int(fetch_addresses_find(&fetcher, "registry.local", 3, &found, text), 0);
        assert_eq_int(found.n, 1);
        assert_eq_str(found.text[0], "10.1.2.3");
        assert_eq_int(fetch_addresses_find(&fetcher, "other", 3, &found, text), 0);
        assert_eq_int(found.n, 2);
        assert_eq_int(fetch_addresses_find(&fetcher, "last", 3, &found, text), 0);
        assert_eq_int(fetch_addresses_find(&fetcher, "commented", 3, &found, text), 1);
        assert_true(strstr(text, "no name server") != NULL);
        assert_eq_int(fetch_addresses_find(&fetcher, "192.0.2.7", 3, &found, text), 0);
        assert_eq_str(found.text[0], "192.0.2.7");
}

int main(void)
{
        int fds = test_fds_count();
        test_addresses();
        test_urls();
        test_joins();
        test_origins();
        test_hosts();
        assert_eq_int(test_fds_count(), fds);
        return 0;
}
