/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/reference.h"

#include <stdio.h>

#include "lib/strings.h"
#include <strings.h>

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool digest_parse(const char *digest, uint8_t ret[32])
{
        return str_has_prefix(digest, "sha256:") && hex_decode(ret, 32, digest + 7);
}

static bool digest_is_valid(const char *digest)
{
        uint8_t bytes[32];
        return digest_parse(digest, bytes);
}

void digest_format(const uint8_t digest[32], char to[72])
{
        memcpy(to, "sha256:", 7);
        hex_encode(to + 7, digest, 32);
}

bool reference_is_id(const char *text, char ret[65])
{
        if (str_has_prefix(text, "sha256:"))
                text += 7;
        size_t n = strlen(text);
        if (n == 0 || n > 64 || strspn(text, DIGITS "abcdef") != n)
                return false;
        memcpy(ret, text, n + 1);
        return true;
}

static int reference_refuse(const char **ret_why, const char *why)
{
        *ret_why = why;
        return REFERENCE_E_INVALID;
}

/* Host names, IPv4 addresses and bracketed IPv6 addresses, each with an optional port. */
static bool reference_registry_is_valid(const char *registry)
{
        const char *port = NULL;
        size_t n = strcspn(registry, ":");
        if (*registry == '[') {
                const char *end = strchr(registry, ']');
                if (!end || strspn(registry + 1, DIGITS "abcdefABCDEF:.") != (size_t)(end - registry - 1) || end == registry + 1)
                        return false;
                port = end + 1;
        } else {
                if (n == 0 || strspn(registry, DIGITS LOWER UPPER ".-") != n || registry[0] == '-' || registry[0] == '.' ||
                    registry[n - 1] == '-' || registry[n - 1] == '.')
                        return false;
                port = registry + n;
        }
        if (*port == '\0')
                return true;
        uint64_t number;
        return *port == ':' && u64_parse(port + 1, 65535, &number) && number > 0;
}

/* Components of lower-case letters and digits, joined inside by one '.', one or two '_', or any number of '-'. */
static bool reference_repository_is_valid(const char *repository)
{
        const char *p = repository;
        for (;;) {
                size_t n = strspn(p, LOWER DIGITS);
                if (n == 0)
                        return false;
                p += n;
                if (*p == '\0')
                        return true;
                if (*p == '/') {
                        p++;
                        continue;
                }
                size_t dashes = strspn(p, "-");
                if (dashes > 0)
                        p += dashes;
                else if (p[0] == '.')
                        p++;
                else if (p[0] == '_')
                        p += p[1] == '_' ? 2 : 1;
                else
                        return false;
        }
}

static bool reference_tag_is_valid(const char *tag)
{
        size_t n = strlen(tag);
        return n > 0 && n <= REFERENCE_TAG_MAX && tag[0] != '.' && tag[0] != '-' &&
               strspn(tag, DIGITS LOWER UPPER "_.-") == n;
}

int reference_parse(Reference *ret, const char *text, const char **ret_why)
{
        Reference reference = {0};
        char rest[REFERENCE_MAX];
        if (!str_copy(rest, sizeof(rest), text))
                return reference_refuse(ret_why, "it is longer than 511 characters");

        char *digest = strchr(rest, '@');
        if (digest) {
                *digest++ = '\0';
                if (!digest_is_valid(digest))
                        return reference_refuse(ret_why, "its digest is not sha256: and 64 lower-case hexadecimal digits");
                (void)str_copy(reference.digest, sizeof(reference.digest), digest);
        }
        char *slash = strchr(rest, '/');
        char *colon = strrchr(slash ? slash : rest, ':');
        if (colon && !strchr(colon, '/')) {
                *colon++ = '\0';
                if (!reference_tag_is_valid(colon))
                        return reference_refuse(ret_why, "its tag is not 1 to 128 letters, digits, '_', '.' or '-'");
                (void)str_copy(reference.tag, sizeof(reference.tag), colon);
        }
        /* The first component is a registry if it looks like a host: a dot, a port, or localhost. */
        const char *repository = rest;
        if (slash && (memchr(rest, '.', (size_t)(slash - rest)) || memchr(rest, ':', (size_t)(slash - rest)) ||
                      str_has_prefix(rest, "localhost/"))) {
                *slash = '\0';
                if (!str_copy(reference.registry, sizeof(reference.registry), rest) || !reference_registry_is_valid(rest))
                        return reference_refuse(ret_why, "its registry is not a host name or address with an optional port");
                repository = slash + 1;
        } else {
                (void)str_copy(reference.registry, sizeof(reference.registry), "docker.io");
        }
        if (str_equal(reference.registry, "index.docker.io"))
                (void)str_copy(reference.registry, sizeof(reference.registry), "docker.io");
        bool library = str_equal(reference.registry, "docker.io") && !strchr(repository, '/');
        int n = snprintf(reference.repository, sizeof(reference.repository), "%s%s", library ? "library/" : "", repository);
        if (n < 0 || (size_t)n >= sizeof(reference.repository) || !reference_repository_is_valid(reference.repository))
                return reference_refuse(ret_why, "its repository is not lower-case letters and digits joined by '/', '.', '_' or '-'");
        if (!*reference.tag && !*reference.digest)
                (void)str_copy(reference.tag, sizeof(reference.tag), "latest");
        if (strlen(reference.registry) + strlen(reference.repository) + REFERENCE_TAG_MAX + 80 > REFERENCE_MAX)
                return reference_refuse(ret_why, "its registry and repository together are too long");
        *ret = reference;
        return 0;
}

void reference_format_tag(const Reference *reference, char to[REFERENCE_MAX])
{
        (void)snprintf(to, REFERENCE_MAX, "%s/%s:%s", reference->registry, reference->repository, reference->tag);
}

void reference_format_digest(const Reference *reference, const char *digest, char to[REFERENCE_MAX])
{
        (void)snprintf(to, REFERENCE_MAX, "%s/%s@%s", reference->registry, reference->repository, digest);
}

bool reference_is_of_server(const Reference *reference, const char *server_address)
{
        static const char *const hub[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};
        const char *scheme = strstr(server_address, "://");
        const char *host = scheme ? scheme + 3 : server_address;
        size_t n = strcspn(host, "/");
        if (str_is_empty(server_address))
                return true;
        if (strlen(reference->registry) == n && strncasecmp(reference->registry, host, n) == 0)
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(hub) && str_equal(reference->registry, hub[0]); i++)
                if (strlen(hub[i]) == n && strncasecmp(hub[i], host, n) == 0)
                        return true;
        return false;
}

void reference_format(const Reference *reference, char to[REFERENCE_MAX])
{
        if (*reference->digest)
                reference_format_digest(reference, reference->digest, to);
        else
                reference_format_tag(reference, to);
}
