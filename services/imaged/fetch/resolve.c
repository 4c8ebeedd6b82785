/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/fetch/fetch.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <stdio.h>

#define FETCH_RESOLVE_ATTEMPTS 3

typedef struct FetchLookup {
        struct event_base *base; /* owned */
        struct evdns_base *dns;  /* owned */
        FetchAddresses *found;
        unsigned n_pending;
        int error; /* of the last answer that was none */
        bool is_done;
} FetchLookup;

static void fetch_lookup_done(FetchLookup *lookup)
{
        lookup->is_done = true;
        if (lookup->dns)
                evdns_base_free(lookup->dns, 0);
        if (lookup->base)
                event_base_free(lookup->base);
}

static void fetch_lookup_on_answer(int result, char type, int count, int ttl, void *bytes, void *userdata)
{
        FetchLookup *lookup = userdata;
        bool is_v6 = type == DNS_IPv6_AAAA;

        if (lookup->is_done)
                return;
        for (int i = 0; result == DNS_ERR_NONE && i < count && lookup->found->n < FETCH_ADDRESSES_MAX; i++) {
                const uint8_t *address = (const uint8_t *)bytes + (size_t)i * (is_v6 ? 16 : 4);

                if (inet_ntop(is_v6 ? AF_INET6 : AF_INET, address, lookup->found->text[lookup->found->n], FETCH_ADDRESS_MAX))
                        lookup->found->n++;
        }
        if (result != DNS_ERR_NONE && result != DNS_ERR_NODATA)
                lookup->error = result;
        if (--lookup->n_pending == 0)
                (void)event_base_loopbreak(lookup->base);
}

/* libevent would write to standard error what the answer's text says better. */
static void fetch_lookup_on_log(int is_warning, const char *message)
{
}

/* False when there is nobody to ask. */
static bool fetch_lookup_start(FetchLookup *lookup, const ConfigImagedFetch *config, uint32_t timeout_sec)
{
        char timeout[16];

        evdns_set_log_fn(fetch_lookup_on_log);
        lookup->base = event_base_new();
        lookup->dns = lookup->base ? evdns_base_new(lookup->base, 0) : NULL;
        if (!lookup->dns)
                return false;
        (void)snprintf(timeout, sizeof(timeout), "%u", MAX2(timeout_sec / (FETCH_RESOLVE_ATTEMPTS + 1), 1u));
        (void)evdns_base_set_option(lookup->dns, "timeout:", timeout);
        (void)snprintf(timeout, sizeof(timeout), "%d", FETCH_RESOLVE_ATTEMPTS);
        (void)evdns_base_set_option(lookup->dns, "attempts:", timeout);
        /* Mixed case is a further guard against forged answers, which some name servers in the field do not echo: off. */
        (void)evdns_base_set_option(lookup->dns, "randomize-case:", "0");
        for (uint32_t i = 0; i < config->n_nameservers && i < CONFIG_NAMESERVERS_MAX; i++)
                (void)evdns_base_nameserver_ip_add(lookup->dns, config->nameservers[i]);
        return evdns_base_count_nameservers(lookup->dns) > 0;
}

static bool fetch_resolve_ask(const Fetcher *fetcher, const char *host, uint32_t timeout_sec, FetchAddresses *ret,
                              char text[FETCH_TEXT_MAX])
{
        _cleanup_(fetch_lookup_done) FetchLookup lookup = {.found = ret};
        const struct timeval limit = {.tv_sec = timeout_sec};
        bool asked = fetch_lookup_start(&lookup, fetcher->config, MIN2(timeout_sec, 20));

        if (asked) {
                lookup.n_pending = 2;
                if (!evdns_base_resolve_ipv6(lookup.dns, host, DNS_QUERY_NO_SEARCH, fetch_lookup_on_answer, &lookup))
                        lookup.n_pending--;
                if (!evdns_base_resolve_ipv4(lookup.dns, host, DNS_QUERY_NO_SEARCH, fetch_lookup_on_answer, &lookup))
                        lookup.n_pending--;
                (void)event_base_loopexit(lookup.base, &limit);
                if (lookup.n_pending > 0)
                        (void)event_base_dispatch(lookup.base);
        }
        if (ret->n > 0)
                return true;
        if (!asked)
                (void)snprintf(text, FETCH_TEXT_MAX,
                               "the name %.200s cannot be looked up: no name server is configured (/etc/resolv.conf at the start, or "
                               "the configuration)", host);
        else if (lookup.n_pending > 0)
                (void)snprintf(text, FETCH_TEXT_MAX, "the name server %.80s did not say in time what the address of %.200s is",
                               fetcher->config->nameservers[0], host);
        else
                (void)snprintf(text, FETCH_TEXT_MAX, "the name %.200s has no address (name server %.80s: %s)", host,
                               fetcher->config->nameservers[0], lookup.error ? evdns_err_to_string(lookup.error) : "it knows none");
        return false;
}

bool fetch_resolve(const Fetcher *fetcher, const char *host, uint32_t timeout_sec, FetchAddresses *ret, char text[FETCH_TEXT_MAX])
{
        uint8_t address[16];

        ret->n = 0;
        if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
                (void)str_copy(ret->text[ret->n++], sizeof(ret->text[0]), host);
                return true;
        }
        fetch_addresses_find_in_hosts(fetcher->hosts, host, ret);
        /* RFC 6761: this name never leaves the machine. */
        if (ret->n == 0 && (str_equal(host, "localhost") || str_has_suffix(host, ".localhost")))
                (void)str_copy(ret->text[ret->n++], sizeof(ret->text[0]), "127.0.0.1");
        return ret->n > 0 || fetch_resolve_ask(fetcher, host, timeout_sec, ret, text);
}
