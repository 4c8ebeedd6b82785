/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/fetch/fetch.h"

#include <arpa/inet.h>
#include <strings.h>

/* Where clouds keep their metadata services outside of the link-local networks; what answers there gives credentials of the
 * node to whoever asks. Azure's wire server, Alibaba Cloud (their documentation). */
static const uint8_t fetch_address_metadata_v4[][4] = {{168, 63, 129, 16}, {100, 100, 100, 200}};
/* AWS: fd00:ec2::254. */
static const uint8_t fetch_address_metadata_v6[16] = {0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};

/* Kinds of addresses: IANA's special-purpose address registries (RFC 6890). */
static const char *fetch_address_problem_v4(const uint8_t a[4], bool allow_loopback)
{
        for (size_t i = 0; i < ARRAY_SIZE(fetch_address_metadata_v4); i++)
                if (memcmp(a, fetch_address_metadata_v4[i], 4) == 0)
                        return "the address of a metadata service";
        if (a[0] == 127)
                return allow_loopback ? NULL : "a loopback address, which is not allowed for this registry";
        if (a[0] == 0)
                return "an unspecified address";
        if (a[0] == 169 && a[1] == 254)
                return "a link-local address (metadata services live there)";
        if (a[0] >= 224 && a[0] < 240)
                return "a multicast address";
        if (a[0] >= 240)
                return "a reserved address";
        return NULL;
}

const char *fetch_address_problem(const char *address, bool allow_loopback)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0x00, 0x64, 0xff, 0x9b}, zero[16];
        uint8_t a[16];

        if (inet_pton(AF_INET, address, a) == 1)
                return fetch_address_problem_v4(a, allow_loopback);
        if (inet_pton(AF_INET6, address, a) != 1)
                return "no address";
        if (memcmp(a, zero, 15) == 0 && a[15] == 1)
                return allow_loopback ? NULL : "a loopback address, which is not allowed for this registry";
        if (memcmp(a, zero, 16) == 0)
                return "an unspecified address";
        /* IPv4 in other clothes: mapped, NAT64 (RFC 6052), 6to4 (RFC 3056), compatible. */
        if (memcmp(a, mapped, 12) == 0)
                return fetch_address_problem_v4(a + 12, allow_loopback);
        if (memcmp(a, nat64, 12) == 0)
                return fetch_address_problem_v4(a + 12, false);
        if (a[0] == 0x20 && a[1] == 0x02)
                return fetch_address_problem_v4(a + 2, false);
        if (memcmp(a, zero, 12) == 0)
                return "an IPv4-compatible address";
        if (a[0] == 0xff)
                return "a multicast address";
        if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
                return "a link-local address (metadata services live there)";
        if (memcmp(a, fetch_address_metadata_v6, 16) == 0)
                return "the address of a metadata service";
        return NULL;
}

/* Lines "address name name… # comment" (hosts(5)). */
void fetch_addresses_find_in_hosts(const char *hosts, const char *host, FetchAddresses *ret)
{
        for (const char *line = hosts; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                char copy[1024];
                size_t n = strcspn(line, "#\n");
                char *save = NULL, *address;

                if (n >= sizeof(copy))
                        continue;
                memcpy(copy, line, n);
                copy[n] = 0;
                address = strtok_r(copy, " \t\r", &save);
                for (const char *name; address && (name = strtok_r(NULL, " \t\r", &save));) {
                        if (strcasecmp(name, host) != 0 || ret->n == FETCH_ADDRESSES_MAX)
                                continue;
                        if (str_copy(ret->text[ret->n], sizeof(ret->text[0]), address))
                                ret->n++;
                        break;
                }
        }
}
