/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/test.h"
#include "services/imaged/fetch/fetch.h"

static void fetch_addresses_are_judged(void)
{
        static const char *const good[] = {"10.0.0.1", "192.168.1.5", "8.8.8.8", "168.63.129.17", "2001:db8::1", "fd00::5", "fd00:ec2::255",
                                           "::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "2002:808:808::1", "223.255.255.255"};
        static const char *const bad[] = {"0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
                                          "255.255.255.255", "168.63.129.16", "100.100.100.200", "::", "fe80::1", "febf::1", "ff02::1",
                                          "fd00:ec2::254", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::169.254.169.254",
                                          "64:ff9b::127.0.0.1", "2002:a9fe:a9fe::1", "2002:7f00:1::1", "x", "", "10.0.0", "010.0.0.1", "fe80::1%eth0"};
        static const char *const loopback[] = {"127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"};

        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(fetch_address_problem(good[i], false) == NULL);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (!fetch_address_problem(bad[i], true))
                        test_fail("%s is allowed", bad[i]);
        for (size_t i = 0; i < ARRAY_SIZE(loopback); i++) {
                assert_true(fetch_address_problem(loopback[i], false) != NULL);
                assert_true(fetch_address_problem(loopback[i], true) == NULL);
        }
}

static void fetch_urls_are_parsed(void)
{
        static const struct {
                const char *url, *host;
                bool is_tls;
                uint16_t port;
                const char *shown;
        } good[] = {
                {"https://Example.com/v2/", "example.com", true, 443, "https://example.com:443/v2/"},
                {"http://127.0.0.1:5000/x", "127.0.0.1", false, 5000, "http://127.0.0.1:5000/x"},
                {"https://[::1]:5000/x", "::1", true, 5000, "https://[::1]:5000/x"},
                {"https://[FD00::1]", "fd00::1", true, 443, "https://[fd00::1]:443/"},
                {"https://host?query", "host", true, 443, "https://host:443/"},
                {"https://host/a?secret=1#f", "host", true, 443, "https://host:443/a"},
                /* Forms that other parsers read otherwise: what is checked is what libcurl dials. */
                {"http://0x7f.1/", "127.0.0.1", false, 80, "http://127.0.0.1:80/"},
                {"http://2130706433/", "127.0.0.1", false, 80, "http://127.0.0.1:80/"},
                {"https://ho%73t/", "host", true, 443, "https://host:443/"},
                {"HTTPS://a.io", "a.io", true, 443, "https://a.io:443/"},
        };
        static const char *const bad[] = {
                "ftp://x/", "https://", "https://user@host/", "https://user:p@host/", "https://@host/", "http://h:0/", "http://h:65536/", "http://h x/",
                "file:///etc/passwd", "http://[::1", "http://h\\@evil/", "gopher://x", "https://h%2f@evil/", "https://h%2fevil/",
                "http://h\r\nX: y/", "https://[fe80::1%25eth0]/", "https://h\x01/", "", "host/path", "//host/path", "https://h\xc3\xa4/",
                "http://%32130706433/", "http:/%31102", /* a name when it is read once, an address when it is read twice */
        };

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_(fetch_url_done) FetchUrl url = FETCH_URL_NULL;

                if (!fetch_url_parse(NULL, good[i].url, &url))
                        test_fail("%s is refused", good[i].url);
                assert_eq_str(url.host, good[i].host);
                assert_eq_int(url.is_tls, good[i].is_tls);
                assert_eq_int(url.port, good[i].port);
                assert_eq_str(url.shown, good[i].shown);
                assert_true(!strchr(url.text, '#'));
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                FetchUrl url = FETCH_URL_NULL;

                if (fetch_url_parse(NULL, bad[i], &url))
                        test_fail("\"%s\" is taken as %s", bad[i], url.text);
        }
}

static void fetch_urls_are_joined(void)
{
        static const struct {
                const char *base, *location, *joined;
        } rows[] = {
                {"https://a.io/v2/x?q", "https://b.io/y", "https://b.io/y"},
                {"https://a.io/v2/x?q", "/y", "https://a.io/y"},
                {"https://a.io/v2/x?q=/", "y?z=1", "https://a.io/v2/y?z=1"},
                {"https://a.io/v2/", "//b.io/y", "https://b.io/y"},
                {"https://a.io/v2/", "../../../y", "https://a.io/y"},
                {"https://a.io/v2/", "http://a.io/y", "http://a.io/y"},
                {"https://a.io/v2/", "file:///etc/passwd", NULL},
                {"https://a.io/v2/", "ftp://b.io/", NULL},
                {"https://a.io/v2/", "https://user@b.io/", NULL},
                {"https://a.io/v2/", "\\\\b.io/y", NULL},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_(fetch_url_done) FetchUrl url = FETCH_URL_NULL;
                bool is_joined = fetch_url_parse(rows[i].base, rows[i].location, &url);

                if (is_joined != (rows[i].joined != NULL))
                        test_fail("%s and %s", rows[i].base, rows[i].location);
                if (is_joined)
                        assert_eq_str(url.text, rows[i].joined);
        }
}

static void fetch_origins_are_compared(void)
{
        static const char *const others[] = {"http://a.io/x", "https://a.io:444/x", "https://b.io/x", "https://a.io.evil/x", "https://a.io./x"};
        _cleanup_(fetch_url_done) FetchUrl a = FETCH_URL_NULL;
        FetchUrl b = FETCH_URL_NULL;

        assert_true(fetch_url_parse(NULL, "https://a.io/x", &a) && fetch_url_parse(NULL, "https://A.io:443/y", &b));
        assert_true(fetch_url_same_origin(&a, &b));
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                fetch_url_done(&b);
                assert_true(fetch_url_parse(NULL, others[i], &b));
                assert_false(fetch_url_same_origin(&a, &b));
        }
        fetch_url_done(&b);
}

static void fetch_hosts_are_read(void)
{
        ConfigImagedFetch config = {0};
        Fetcher fetcher = {.config = &config, .hosts = (char *)"127.0.0.1 localhost\n# 1.1.1.1 commented\n10.1.2.3\tRegistry.Local other # end\n::5 other\n10.9.9.9 last"};
        FetchAddresses found;
        char text[FETCH_TEXT_MAX];

        assert_true(fetch_resolve(&fetcher, "registry.local", 3, &found, text));
        assert_eq_int(found.n, 1);
        assert_eq_str(found.text[0], "10.1.2.3");
        assert_true(fetch_resolve(&fetcher, "other", 3, &found, text));
        assert_eq_int(found.n, 2);
        assert_true(fetch_resolve(&fetcher, "last", 3, &found, text));
        assert_false(fetch_resolve(&fetcher, "commented", 3, &found, text));
        assert_true(strstr(text, "no name server") != NULL);
        assert_false(fetch_resolve(&fetcher, "registry", 3, &found, text));
        assert_true(fetch_resolve(&fetcher, "192.0.2.7", 3, &found, text));
        assert_eq_str(found.text[0], "192.0.2.7");
        fetcher.hosts = (char *)"";
        assert_true(fetch_resolve(&fetcher, "localhost", 3, &found, text));
        assert_eq_str(found.text[0], "127.0.0.1");
        /* More names than there is room for. */
        char many[FETCH_ADDRESSES_MAX * 40 + 200] = "";
        for (unsigned i = 0; i < FETCH_ADDRESSES_MAX + 3; i++)
                (void)snprintf(many + strlen(many), sizeof(many) - strlen(many), "10.0.0.%u many\n", i);
        fetcher.hosts = many;
        assert_true(fetch_resolve(&fetcher, "many", 3, &found, text));
        assert_eq_int(found.n, FETCH_ADDRESSES_MAX);
}

static void fetch_trust_takes_what_parses(void)
{
        static const char text[] = "no certificate\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        unsigned n = 7;
        void *trust = fetch_trust_new(text, sizeof(text) - 1, &n);

        assert_true(trust != NULL);
        assert_eq_int(n, 0);
        (void)fetch_trust_free(trust);
}

int main(void)
{
        TEST_RUN(fetch_addresses_are_judged);
        TEST_RUN(fetch_urls_are_parsed);
        TEST_RUN(fetch_urls_are_joined);
        TEST_RUN(fetch_origins_are_compared);
        TEST_RUN(fetch_hosts_are_read);
        TEST_RUN(fetch_trust_takes_what_parses);
        return 0;
}
