/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/fetch/fetch.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <stdio.h>
#include <strings.h>

static bool fetch_address_v4_is_allowed(const uint8_t a[4], bool allow_loopback)
{
        if (a[0] == 127)
                return allow_loopback;
        return a[0] != 0 && a[0] < 224 && !(a[0] == 169 && a[1] == 254);
}

bool fetch_address_is_allowed(const char *address, bool allow_loopback)
{
        uint8_t a[16];
        static const uint8_t loopback[16] = {[15] = 1}, zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
        if (inet_pton(AF_INET, address, a) == 1)
                return fetch_address_v4_is_allowed(a, allow_loopback);
        if (inet_pton(AF_INET6, address, a) != 1)
                return false;
        if (memcmp(a, mapped, sizeof(mapped)) == 0) /* IPv4 in IPv6 clothes */
                return fetch_address_v4_is_allowed(a + 12, allow_loopback);
        if (memcmp(a, loopback, 16) == 0)
                return allow_loopback;
        if (memcmp(a, zero, 12) == 0) /* unspecified, IPv4-compatible */
                return false;
        return a[0] != 0xff && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

static void fetch_addresses_add(FetchAddresses *addresses, const char *text)
{
        if (addresses->n < FETCH_ADDRESSES_MAX && str_copy(addresses->text[addresses->n], sizeof(addresses->text[0]), text))
                addresses->n++;
}

/* Lines "address name name… # comment". */
static void fetch_addresses_find_in_hosts(const char *hosts, const char *host, FetchAddresses *ret)
{
        for (const char *line = hosts; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                char copy[1024];
                size_t n = MIN2(strcspn(line, "#\n"), sizeof(copy) - 1);
                memcpy(copy, line, n);
                copy[n] = '\0';
                char *save = NULL, *address = strtok_r(copy, " \t\r", &save);
                for (char *name; address && (name = strtok_r(NULL, " \t\r", &save));)
                        if (strcasecmp(name, host) == 0)
                                fetch_addresses_add(ret, address);
        }
}

typedef struct FetchLookup {
        struct event_base *base;
        FetchAddresses *addresses;
        unsigned n_pending;
        int error;
} FetchLookup;

static void fetch_addresses_on_answer(int result, char type, int count, int ttl, void *bytes, void *userdata)
{
        FetchLookup *lookup = userdata;
        for (int i = 0; result == DNS_ERR_NONE && i < count; i++) {
                char text[46];
                bool v6 = type == DNS_IPv6_AAAA;
                if (inet_ntop(v6 ? AF_INET6 : AF_INET, (const uint8_t *)bytes + i * (v6 ? 16 : 4), text, sizeof(text)))
                        fetch_addresses_add(lookup->addresses, text);
        }
        if (result != DNS_ERR_NONE && result != DNS_ERR_NODATA)
                lookup->error = result;
        if (--lookup->n_pending == 0)
                (void)event_base_loopbreak(lookup->base);
}

static int fetch_addresses_ask(const Fetcher *fetcher, const char *host, uint32_t timeout_sec, FetchAddresses *ret, char text[512])
{
        FetchLookup lookup = {.base = event_base_new(), .addresses = ret};
        struct evdns_base *dns = lookup.base ? evdns_base_new(lookup.base, 0) : NULL;
        char timeout[16];
        (void)snprintf(timeout, sizeof(timeout), "%u", MIN2(MAX2(timeout_sec / 3, 1u), 5u));
        if (dns) {
                (void)evdns_base_set_option(dns, "timeout:", timeout);
                (void)evdns_base_set_option(dns, "attempts:", "2");
                (void)evdns_base_set_option(dns, "randomize-case:", "0");
                for (uint32_t i = 0; i < fetcher->config->n_nameservers && i < CONFIG_NAMESERVERS_MAX; i++)
                        (void)evdns_base_nameserver_ip_add(dns, fetcher->config->nameservers[i]);
        }
        bool asked = dns && evdns_base_count_nameservers(dns) > 0;
        if (asked) {
                lookup.n_pending = 2;
                if (!evdns_base_resolve_ipv4(dns, host, DNS_QUERY_NO_SEARCH, fetch_addresses_on_answer, &lookup))
                        lookup.n_pending--;
                if (!evdns_base_resolve_ipv6(dns, host, DNS_QUERY_NO_SEARCH, fetch_addresses_on_answer, &lookup))
                        lookup.n_pending--;
                if (lookup.n_pending > 0)
                        (void)event_base_dispatch(lookup.base);
        }
        if (dns)
                evdns_base_free(dns, 0);
        if (lookup.base)
                event_base_free(lookup.base);
        if (ret->n > 0)
                return 0;
        (void)snprintf(text, 512, "the name %.200s has no address: %s", host,
                       !asked ? "no name server is configured (images.nameservers, or /etc/resolv.conf)"
                       : lookup.error ? evdns_err_to_string(lookup.error)
                                      : "the name servers know none");
        return 1;
}

int fetch_addresses_find(const Fetcher *fetcher, const char *host, uint32_t timeout_sec, FetchAddresses *ret, char text[512])
{
        uint8_t address[16];
        ret->n = 0;
        if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
                fetch_addresses_add(ret, host);
                return 0;
        }
        if (str_equal(host, "localhost")) {
                fetch_addresses_add(ret, "127.0.0.1");
                return 0;
        }
        fetch_addresses_find_in_hosts(fetcher->hosts, host, ret);
        return ret->n > 0 ? 0 : fetch_addresses_ask(fetcher, host, timeout_sec, ret, text);
}
