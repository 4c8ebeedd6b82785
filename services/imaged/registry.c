/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/registry.h"

#include <sodium.h>
#include <stdio.h>

#include "ipc/edges/imaged-parse.pb-c.h"
#include "ipc/edges/imaged-parse.rows.h"
#include "lib/clock.h"
#include "lib/error.h"

/* Not for a header: what follows is shown to the token server alone. */
#define REGISTRY_REFRESH "Refresh "
#define REGISTRY_TOKEN_MAX (64 * 1024)
#define REGISTRY_PARSE_TIMEOUT (30 * USEC_PER_SEC)

struct RegistryRequest {
        Registry *registry;
        RegistryWant want;
        char *name; /* owned copy of want.name */
        Transfer *transfer;
        uint32_t parse; /* request id on the parse edge, 0: none */
        bool authenticated; /* one round of authentication was made: a second 401 is final */
};

static bool registry_is_loopback(const char *registry)
{
        return str_equal(registry, "localhost") || str_has_prefix(registry, "localhost:") || str_has_prefix(registry, "127.") ||
               str_has_prefix(registry, "[::1]");
}

static void registry_add_endpoint(Registry *registry, const char *base, bool skip_verify, bool own)
{
        if (registry->n_endpoints == REGISTRY_ENDPOINTS_MAX)
                return;
        RegistryEndpoint *endpoint = &registry->endpoints[registry->n_endpoints++];
        *endpoint = (RegistryEndpoint){.skip_verify = skip_verify, .own = own};
        (void)str_copy(endpoint->base, sizeof(endpoint->base), base);
        size_t n = strlen(endpoint->base);
        while (n > 0 && endpoint->base[n - 1] == '/')
                endpoint->base[--n] = '\0';
        endpoint->plain = str_has_prefix(endpoint->base, "http://");
        /* An endpoint that root wrote into the configuration, or a registry on this very node that the request names, may be
         * reached on a loopback address; redirects from elsewhere may not. */
        const char *host = strstr(endpoint->base, "://");
        endpoint->allow_loopback = registry->imaged->config->allow_loopback || (host && registry_is_loopback(host + 3));
}

static void registry_find_endpoints(Registry *registry)
{
        const ConfigImaged *config = registry->imaged->config;
        const char *name = registry->reference.registry;
        const ConfigMirror *own = NULL;
        for (uint32_t i = 0; i < config->n_mirrors; i++) {
                const ConfigMirror *mirror = &config->mirrors[i];
                if (!str_equal(mirror->registry, name))
                        continue;
                if (mirror->is_mirror)
                        registry_add_endpoint(registry, mirror->endpoint, mirror->skip_verify, false);
                else
                        own = mirror;
        }
        char base[CONFIG_PATH_MAX + 16];
        if (own && *own->endpoint)
                (void)str_copy(base, sizeof(base), own->endpoint);
        else if (str_equal(name, "docker.io"))
                (void)str_copy(base, sizeof(base), "https://registry-1.docker.io");
        else
                (void)snprintf(base, sizeof(base), "%s://%s", registry_is_loopback(name) ? "http" : "https", name);
        registry_add_endpoint(registry, base, own && own->skip_verify, true);
}

static char *registry_basic(const char *user, const char *password)
{
        _cleanup_free_ char *pair = str_printf("%s:%s", user, password);
        if (!pair)
                return NULL;
        size_t n = strlen(pair), size = sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL);
        _cleanup_free_ char *encoded = malloc(size);
        char *basic = NULL;
        if (encoded) {
                (void)sodium_bin2base64(encoded, size, (const unsigned char *)pair, n, sodium_base64_VARIANT_ORIGINAL);
                basic = str_printf("Basic %s", encoded);
                sodium_memzero(encoded, size);
        }
        sodium_memzero(pair, n);
        return basic;
}

static int registry_set_credentials(Registry *registry, const Runtime__V1__AuthConfig *auth, const char **ret_why)
{
        registry->credentials = NULL;
        /* What is for one registry is not shown to another. */
        if (auth && !reference_is_of_server(&registry->reference, auth->server_address))
                auth = NULL;
        if (auth && !str_is_empty(auth->registry_token))
                registry->credentials = str_printf("Bearer %s", auth->registry_token);
        else if (auth && !str_is_empty(auth->identity_token))
                registry->credentials = str_printf(REGISTRY_REFRESH "%s", auth->identity_token);
        else if (auth && !str_is_empty(auth->auth))
                registry->credentials = str_printf("Basic %s", auth->auth);
        else if (auth && !str_is_empty(auth->username))
                registry->credentials = registry_basic(auth->username, auth->password);
        else
                registry->credentials = strdup("");
        return registry->credentials ? 0 : error_origin(-ENOMEM);
}

int registry_init(Registry *registry, Imaged *imaged, const Reference *reference, const Runtime__V1__AuthConfig *auth,
                  const char **ret_why)
{
        *registry = (Registry){.imaged = imaged, .reference = *reference};
        registry_find_endpoints(registry);
        int r = registry_set_credentials(registry, auth, ret_why);
        if (r)
                return r < 0 ? fold(r) : r;
        for (const char *p = registry->credentials; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f) {
                        *ret_why = "its AuthConfig holds control characters";
                        return REGISTRY_E_CREDENTIALS;
                }
        registry->authorization = strdup("");
        return registry->authorization ? 0 : error_origin(-ENOMEM);
}

static void registry_forget(char **secret)
{
        if (*secret)
                sodium_memzero(*secret, strlen(*secret));
        free(TAKE_PTR(*secret));
}

void registry_done(Registry *registry)
{
        registry_forget(&registry->credentials);
        registry_forget(&registry->authorization);
}

RegistryRequest *registry_request_free(RegistryRequest *request)
{
        if (!request)
                return NULL;
        if (request->parse)
                channel_cancel(imaged_parse(request->registry->imaged), request->parse);
        (void)transfer_free(request->transfer);
        free(request->name);
        free(request);
        return NULL;
}

/* Hands the result to whoever asked and ends the request. */
static int registry_finish(RegistryRequest *request, TransferResult *result)
{
        TransferDone done = request->want.done;
        void *userdata = request->want.userdata;
        (void)registry_request_free(request);
        return done(userdata, result);
}

static int registry_fail(RegistryRequest *request, const char *text)
{
        TransferResult result = {.outcome = TRANSFER_E_FAILED, .text = text, .http_status = 401, .file_fd = -1};
        return registry_finish(request, &result);
}

/* host[:port] of a URL into to; false if it is none of ours to talk to. */
static bool registry_url_host(const char *url, char to[256])
{
        const char *host = strstr(url, "://");
        if (!host || (!str_has_prefix(url, "https://") && !str_has_prefix(url, "http://")))
                return false;
        size_t n = strcspn(host + 3, "/?#");
        if (n == 0 || n >= 256 || memchr(host + 3, '@', n))
                return false;
        memcpy(to, host + 3, n);
        to[n] = '\0';
        return true;
}

/* The last two labels of a host name, or the whole of an address: what one organisation holds. */
static const char *registry_domain(const char *host)
{
        const char *last = NULL, *before = NULL;
        for (const char *p = host; *p && *p != ':'; p++)
                if (*p == '.') {
                        before = last;
                        last = p;
                }
        bool is_name = last && last[1] >= 'A';
        return is_name && before ? before + 1 : host;
}

static void registry_cut_port(char *host)
{
        char *colon = strrchr(host, ':');
        if (colon && !strchr(colon, ']'))
                *colon = '\0';
}

/* Credentials go to a token server only if it is the registry's own host or of the same domain, and never from https to plain
 * http (V080: a registry names any realm it likes). Anonymous requests may go to any https realm. */
static bool registry_realm_is_ours(const RegistryEndpoint *endpoint, const char *realm)
{
        char host[256], own[256];
        if (!registry_url_host(realm, host) || !registry_url_host(endpoint->base, own))
                return false;
        if (str_has_prefix(realm, "http://") && !endpoint->plain)
                return false;
        /* A token server may listen on another port of the same host. */
        registry_cut_port(host);
        registry_cut_port(own);
        return str_equal(host, own) || str_equal(registry_domain(host), registry_domain(own));
}

static int registry_send(RegistryRequest *request);

static int registry_retry(RegistryRequest *request, char *authorization)
{
        if (!authorization)
                return error_origin(-ENOMEM);
        registry_forget(&request->registry->authorization);
        request->registry->authorization = authorization;
        return fold(registry_send(request));
}

static int registry_on_token_parsed(void *userdata, const Answer *answer)
{
        RegistryRequest *request = userdata;
        request->parse = 0;
        if (answer->outcome != 0)
                return registry_fail(request, "the token server's reply holds no token");
        const Bulkhead__ImagedParse__ParseTokenResponse *token =
                container_of(answer->frame->message, Bulkhead__ImagedParse__ParseTokenResponse, base);
        return registry_retry(request, str_printf("Bearer %s", token->token));
}

static int registry_on_token(void *userdata, TransferResult *result)
{
        RegistryRequest *request = userdata;
        request->transfer = NULL;
        if (result->outcome != 0 || result->http_status != 200) {
                char text[512];
                (void)snprintf(text, sizeof(text), "its token server refuses (%s, HTTP %u); check the credentials", result->text,
                               result->http_status);
                return registry_fail(request, text);
        }
        Bulkhead__ImagedParse__ParseTokenRequest parse = BULKHEAD__IMAGED_PARSE__PARSE_TOKEN_REQUEST__INIT;
        parse.document = (ProtobufCBinaryData){.len = result->bytes, .data = (uint8_t *)result->document};
        return fold(channel_call(imaged_parse(request->registry->imaged), ROW_IMAGED_PARSE_PARSE_TOKEN, &parse.base, NULL, 0,
                                 clock_monotonic_usec() + REGISTRY_PARSE_TIMEOUT, registry_on_token_parsed, request,
                                 &request->parse));
}

/* Percent-encodes what is not plainly allowed in a query value. */
static char *registry_escape(const char *value)
{
        static const char digits[] = "0123456789ABCDEF";
        char *escaped = malloc(strlen(value) * 3 + 1), *to = escaped;
        for (const char *p = value; escaped && *p; p++) {
                bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                             strchr("-_.~:/,", *p);
                if (plain) {
                        *to++ = *p;
                        continue;
                }
                *to++ = '%';
                *to++ = digits[(unsigned char)*p >> 4];
                *to++ = digits[*p & 15];
        }
        if (escaped)
                *to = '\0';
        return escaped;
}

/* The form that OAuth 2 wants for a refresh token (RFC 6749, 6; what registries answer is in the distribution specification's
 * "oauth" page). NULL: memory is out. */
static char *registry_refresh_form(const char *service, const char *scope, const char *token)
{
        char *escaped = registry_escape(token);
        char *form = escaped ? str_printf("grant_type=refresh_token&client_id=bulkhead&service=%s&scope=%s&refresh_token=%s", service,
                                          scope, escaped)
                             : NULL;
        registry_forget(&escaped);
        return form;
}

static int registry_get_token(RegistryRequest *request, const Bulkhead__ImagedParse__ParseChallengeResponse *challenge)
{
        Registry *registry = request->registry;
        const RegistryEndpoint *endpoint = &registry->endpoints[registry->endpoint];
        bool ours = registry_realm_is_ours(endpoint, challenge->realm);
        bool secret = endpoint->own && ours;
        bool refresh = secret && str_has_prefix(registry->credentials, REGISTRY_REFRESH);
        _cleanup_free_ char *pull = str_printf("repository:%s:pull", registry->reference.repository);
        _cleanup_free_ char *scope = pull ? registry_escape(*challenge->scope ? challenge->scope : pull) : NULL;
        _cleanup_free_ char *service = registry_escape(challenge->service);
        _cleanup_(registry_forget) char *form =
                refresh && scope && service ? registry_refresh_form(service, scope, registry->credentials + strlen(REGISTRY_REFRESH)) : NULL;
        _cleanup_free_ char *url = !scope || !service ? NULL
                                   : refresh          ? strdup(challenge->realm)
                                                      : str_printf("%s%sservice=%s&scope=%s", challenge->realm,
                                                                   strchr(challenge->realm, '?') ? "&" : "?", service, scope);
        if (!url || (refresh && !form))
                return error_origin(-ENOMEM);
        const TransferSpec spec = {
                .url = url,
                .form = form,
                .authorization = secret && str_has_prefix(registry->credentials, "Basic ") ? registry->credentials : "",
                .skip_verify = endpoint->skip_verify && ours,
                .allow_loopback = endpoint->allow_loopback && ours,
                .allow_plain = endpoint->plain && ours,
                .max_bytes = REGISTRY_TOKEN_MAX,
                .done = registry_on_token,
                .userdata = request,
        };
        return fold(transfer_start(&request->transfer, registry->imaged, &spec));
}

static int registry_on_challenge(void *userdata, const Answer *answer)
{
        RegistryRequest *request = userdata;
        Registry *registry = request->registry;
        const RegistryEndpoint *endpoint = &registry->endpoints[registry->endpoint];
        request->parse = 0;
        if (answer->outcome != 0)
                return registry_fail(request, "it asks for authentication in a way that cannot be read");
        const Bulkhead__ImagedParse__ParseChallengeResponse *challenge =
                container_of(answer->frame->message, Bulkhead__ImagedParse__ParseChallengeResponse, base);
        if (endpoint->own && str_has_prefix(registry->credentials, "Bearer "))
                return registry_retry(request, strdup(registry->credentials));
        if (challenge->bearer)
                return fold(registry_get_token(request, challenge));
        if (challenge->basic && endpoint->own && str_has_prefix(registry->credentials, REGISTRY_REFRESH))
                return registry_fail(request, "it asks for a user and a password, and the request has an identity token for it; "
                                              "put these into the image pull secret");
        if (challenge->basic && endpoint->own && *registry->credentials)
                return registry_retry(request, strdup(registry->credentials));
        return registry_fail(request, "it asks for credentials, and the request has none for it; add an image pull secret");
}

static int registry_on_transferred(void *userdata, TransferResult *result)
{
        RegistryRequest *request = userdata;
        request->transfer = NULL;
        if (result->outcome != 0 || result->http_status != 401 || request->authenticated || !result->response)
                return registry_finish(request, result);
        request->authenticated = true;
        Bulkhead__ImagedParse__ParseChallengeRequest parse = BULKHEAD__IMAGED_PARSE__PARSE_CHALLENGE_REQUEST__INIT;
        parse.n_challenges = result->response->n_challenges;
        parse.challenges = result->response->challenges;
        return fold(channel_call(imaged_parse(request->registry->imaged), ROW_IMAGED_PARSE_PARSE_CHALLENGE, &parse.base, NULL, 0,
                                 clock_monotonic_usec() + REGISTRY_PARSE_TIMEOUT, registry_on_challenge, request,
                                 &request->parse));
}

static int registry_send(RegistryRequest *request)
{
        Registry *registry = request->registry;
        const RegistryWant *want = &request->want;
        const RegistryEndpoint *endpoint = &registry->endpoints[registry->endpoint];
        bool import = *registry->import_id;
        _cleanup_free_ char *url =
                import ? NULL : str_printf("%s/v2/%s/%s/%s", endpoint->base, registry->reference.repository, want->kind, request->name);
        if (!import && !url)
                return error_origin(-ENOMEM);
        const TransferSpec spec = {
                .url = url,
                .accept = want->accept,
                .n_accept = want->n_accept,
                .authorization = registry->authorization,
                .skip_verify = endpoint->skip_verify,
                .allow_loopback = endpoint->allow_loopback,
                .allow_plain = endpoint->plain,
                .import_id = import ? registry->import_id : NULL,
                .import_path = request->name,
                .to_file = want->to_file,
                .max_bytes = want->max_bytes,
                .progress = want->progress,
                .done = registry_on_transferred,
                .userdata = request,
        };
        return fold(transfer_start(&request->transfer, registry->imaged, &spec));
}

int registry_get(RegistryRequest **ret, Registry *registry, const RegistryWant *want)
{
        RegistryRequest *request = calloc(1, sizeof(*request));
        if (!request)
                return error_origin(-ENOMEM);
        request->registry = registry;
        request->want = *want;
        request->name = strdup(want->name);
        int r = request->name ? registry_send(request) : error_origin(-ENOMEM);
        if (r < 0) {
                (void)registry_request_free(request);
                return fold(r);
        }
        *ret = request;
        return 0;
}
