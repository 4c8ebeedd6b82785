/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stream-tls.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <signal.h>

#include "lib/strings.h"

#define STREAM_TLS_LIBRARY "libssl.so.3" /* of Debian 12 and 13; it brings libcrypto along */

#define STREAM_TLS_FUNCTIONS(F)                                                                                        \
        F(OPENSSL_init_ssl)                                                                                            \
        F(TLS_client_method)                                                                                           \
        F(SSL_CTX_new)                                                                                                 \
        F(SSL_CTX_free)                                                                                                \
        F(SSL_CTX_ctrl)                                                                                                \
        F(SSL_CTX_set_verify)                                                                                          \
        F(SSL_CTX_load_verify_locations)                                                                               \
        F(SSL_CTX_set_default_verify_paths)                                                                            \
        F(SSL_new)                                                                                                     \
        F(SSL_free)                                                                                                    \
        F(SSL_ctrl)                                                                                                    \
        F(SSL_set_fd)                                                                                                  \
        F(SSL_get0_param)                                                                                              \
        F(SSL_connect)                                                                                                 \
        F(SSL_read)                                                                                                    \
        F(SSL_write)                                                                                                   \
        F(SSL_get_error)                                                                                               \
        F(SSL_get_verify_result)                                                                                       \
        F(X509_VERIFY_PARAM_set_flags)                                                                                 \
        F(X509_VERIFY_PARAM_set1_ip_asc)                                                                               \
        F(X509_VERIFY_PARAM_set1_host)                                                                                 \
        F(X509_verify_cert_error_string)                                                                               \
        F(ERR_clear_error)                                                                                             \
        F(ERR_get_error)                                                                                               \
        F(ERR_error_string_n)

struct StreamTls {
        void *library; /* never closed */
        SSL_CTX *context; /* owned */
        SSL *ssl;         /* owned */
        struct {
#define F(name) __typeof__(&name) name;
                STREAM_TLS_FUNCTIONS(F)
#undef F
        } functions;
};

static bool stream_tls_load(StreamTls *tls)
{
        bool has_all = true;

        tls->library = dlopen(STREAM_TLS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
#define F(name)                                                                                                        \
        tls->functions.name = tls->library ? (__typeof__(&name))(uintptr_t)dlsym(tls->library, #name) : NULL;             \
        has_all = has_all && tls->functions.name;
        STREAM_TLS_FUNCTIONS(F)
#undef F
        if (!has_all)
                (void)cli_fail("the stream is spoken in TLS, but %s cannot be used: %s: install libssl3", STREAM_TLS_LIBRARY, dlerror());
        return has_all;
}

StreamTls *stream_tls_free(StreamTls *tls)
{
        if (!tls)
                return NULL;
        if (tls->ssl)
                tls->functions.SSL_free(tls->ssl);
        if (tls->context)
                tls->functions.SSL_CTX_free(tls->context);
        free(tls);
        return NULL;
}
DEFINE_CLEANUP(StreamTls, stream_tls_free)

static const char *stream_tls_error(const StreamTls *tls, char to[static 256])
{
        unsigned long error = tls->functions.ERR_get_error();

        (void)str_copy(to, 256, "the connection ended");
        if (error)
                tls->functions.ERR_error_string_n(error, to, 256);
        return to;
}

static bool stream_tls_set_up(StreamTls *tls, const StreamOptions *options)
{
        char text[256];

        /* Its configuration file is for servers, and for whoever wants other rules than these. */
        if (!tls->functions.OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
                return cli_fail("OpenSSL does not start"), false;
        tls->context = tls->functions.SSL_CTX_new(tls->functions.TLS_client_method());
        if (!tls->context)
                return cli_fail("no memory for TLS"), false;
        (void)tls->functions.SSL_CTX_ctrl(tls->context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
        (void)tls->functions.SSL_CTX_ctrl(tls->context, SSL_CTRL_MODE,
                                       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY, NULL);
        tls->functions.SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
        int good = options->tls_ca ? tls->functions.SSL_CTX_load_verify_locations(tls->context, options->tls_ca, NULL)
                                   : tls->functions.SSL_CTX_set_default_verify_paths(tls->context);
        if (!good)
                return cli_fail("%s: no certificates can be read from it (PEM): %s", options->tls_ca ? options->tls_ca : "the system's CAs",
                                stream_tls_error(tls, text)),
                       false;
        return true;
}

/* For whom the certificate must be made. A certificate that is trusted itself ends the chain, whoever has signed it. */
static bool stream_tls_expect(StreamTls *tls, const char *name)
{
        X509_VERIFY_PARAM *parameters = tls->functions.SSL_get0_param(tls->ssl);
        uint8_t address[16];
        bool is_address = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;

        (void)tls->functions.X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
        if (is_address)
                return tls->functions.X509_VERIFY_PARAM_set1_ip_asc(parameters, name);
        return tls->functions.X509_VERIFY_PARAM_set1_host(parameters, name, 0) &&
               tls->functions.SSL_ctrl(tls->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
}

static bool stream_tls_connect(StreamTls *tls, const char *name)
{
        char text[256];

        tls->functions.ERR_clear_error();
        if (tls->functions.SSL_connect(tls->ssl) == 1)
                return true;
        long why = tls->functions.SSL_get_verify_result(tls->ssl);
        if (why == X509_V_OK)
                return cli_fail("the TLS handshake failed: %s", stream_tls_error(tls, text)), false;
        return cli_fail("the server's certificate is not accepted for %s: %s; name its CA, or the certificate itself, with --tls-ca FILE, "
                        "and what it is made for with --tls-server-name NAME", name, tls->functions.X509_verify_cert_error_string(why)),
               false;
}

StreamTls *stream_tls_new(int fd, const char *host, const StreamOptions *options)
{
        const char *name = options->tls_server_name ? options->tls_server_name : host;
        _cleanup_(stream_tls_freep) StreamTls *tls = calloc(1, sizeof(*tls));

        (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without asking for none */
        if (!tls || !stream_tls_load(tls) || !stream_tls_set_up(tls, options))
                return NULL;
        tls->ssl = tls->functions.SSL_new(tls->context);
        if (!tls->ssl || !tls->functions.SSL_set_fd(tls->ssl, fd) || !stream_tls_expect(tls, name)) {
                (void)cli_fail("%s: no certificate can be made for that", name);
                return NULL;
        }
        return stream_tls_connect(tls, name) ? TAKE_PTR(tls) : NULL;
}

/* What a failed call means, in the words of a socket. */
static ssize_t stream_tls_translate(StreamTls *tls, int n)
{
        int error = tls->functions.SSL_get_error(tls->ssl, n);

        if (error == SSL_ERROR_ZERO_RETURN)
                return 0;
        errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
        return -1;
}

ssize_t stream_tls_receive(StreamTls *tls, void *bytes, size_t n)
{
        tls->functions.ERR_clear_error();
        int r = tls->functions.SSL_read(tls->ssl, bytes, (int)MIN2(n, (size_t)INT32_MAX));
        return r > 0 ? r : stream_tls_translate(tls, r);
}

ssize_t stream_tls_send(StreamTls *tls, const void *bytes, size_t n)
{
        tls->functions.ERR_clear_error();
        int r = tls->functions.SSL_write(tls->ssl, bytes, (int)MIN2(n, (size_t)INT32_MAX));
        return r > 0 ? r : stream_tls_translate(tls, r);
}
