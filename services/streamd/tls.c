/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/tls.h"
#include "lib/error.h"
#include "lib/log.h"
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#define TLS_LIBRARY "libssl.so.3" /* of Debian 12 and 13; it brings libcrypto along */
#define TLS_FILE_MAX (256 * 1024)

#define TLS_FUNCTIONS(F)                                                                                               \
        F(OPENSSL_init_ssl)                                                                                            \
        F(TLS_server_method)                                                                                           \
        F(SSL_CTX_new)                                                                                                 \
        F(SSL_CTX_free)                                                                                                \
        F(SSL_CTX_ctrl)                                                                                                \
        F(SSL_CTX_set_options)                                                                                         \
        F(SSL_CTX_set_num_tickets)                                                                                     \
        F(SSL_CTX_use_certificate)                                                                                     \
        F(SSL_CTX_use_PrivateKey)                                                                                      \
        F(SSL_CTX_check_private_key)                                                                                   \
        F(SSL_new)                                                                                                     \
        F(SSL_free)                                                                                                    \
        F(SSL_set_fd)                                                                                                  \
        F(SSL_set_accept_state)                                                                                        \
        F(SSL_read)                                                                                                    \
        F(SSL_write)                                                                                                   \
        F(SSL_get_error)                                                                                               \
        F(SSL_pending)                                                                                                 \
        F(SSL_shutdown)                                                                                                \
        F(BIO_new_mem_buf)                                                                                             \
        F(BIO_free)                                                                                                    \
        F(PEM_read_bio_X509)                                                                                           \
        F(PEM_read_bio_PrivateKey)                                                                                     \
        F(X509_free)                                                                                                   \
        F(EVP_PKEY_free)                                                                                               \
        F(ERR_clear_error)                                                                                             \
        F(ERR_get_error)                                                                                               \
        F(ERR_error_string_n)

struct TlsServer {
        void *library; /* owned; never closed, as OpenSSL's threads of cleaning up do not expect that */
        SSL_CTX *context;
        struct {
#define F(name) __typeof__(&name) name;
                TLS_FUNCTIONS(F)
#undef F
        } ssl;
};

struct TlsPeer {
        const TlsServer *server; /* borrowed */
        SSL *ssl;
        bool failed; /* nothing may be done with it but free it */
};

int tls_server_load(TlsServer **ret)
{
        TlsServer *server = calloc(1, sizeof(*server));

        if (!server)
                return error_origin(-ENOMEM);
        server->library = dlopen(TLS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
#define F(name)                                                                                                        \
        if (server->library)                                                                                           \
                server->ssl.name = (__typeof__(&name))(uintptr_t)dlsym(server->library, #name);
        TLS_FUNCTIONS(F)
#undef F
#define F(name) &&server->ssl.name
        if (server->library TLS_FUNCTIONS(F)) {
                *ret = server;
                return 0;
        }
#undef F
        log_error("stream.tls_cert_file is set, but %s cannot be used: %s: install libssl3, or unset it", TLS_LIBRARY, dlerror());
        free(server);
        return error_origin(-ENOENT);
}

TlsServer *tls_server_free(TlsServer *server)
{
        if (server && server->context)
                server->ssl.SSL_CTX_free(server->context);
        free(server);
        return NULL;
}

static int tls_refuse(const TlsServer *server, const char *key, const char *what)
{
        char text[256] = "";

        server->ssl.ERR_error_string_n(server->ssl.ERR_get_error(), text, sizeof(text));
        log_error("%s: %s: %s", key, what, text);
        return error_origin(-EINVAL);
}

/* Owned, to be wiped by who frees it. */
static int tls_read_file(const char *key, int fd, uint8_t **ret, size_t *ret_n)
{
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > TLS_FILE_MAX) {
                log_error("%s: it is not a file of at most %d bytes", key, TLS_FILE_MAX);
                return error_origin(-EINVAL);
        }
        uint8_t *bytes = malloc((size_t)st.st_size);
        if (!bytes)
                return error_origin(-ENOMEM);
        ssize_t n = pread(fd, bytes, (size_t)st.st_size, 0);
        if (n < 0) {
                int r = negative_errno();
                free(bytes);
                return error_origin(r);
        }
        *ret = bytes;
        *ret_n = (size_t)n;
        return 0;
}

/* The first certificate is the server's own, what follows is its chain. */
static int tls_use_certificates(const TlsServer *server, SSL_CTX *context, BIO *bio)
{
        static const char key[] = "stream.tls_cert_file";
        X509 *certificate = server->ssl.PEM_read_bio_X509(bio, NULL, NULL, NULL);

        if (!certificate)
                return tls_refuse(server, key, "there is no certificate in it (PEM)");
        int good = server->ssl.SSL_CTX_use_certificate(context, certificate);
        server->ssl.X509_free(certificate);
        if (!good)
                return tls_refuse(server, key, "its first certificate cannot be used");
        while ((certificate = server->ssl.PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
                if (!server->ssl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 0, certificate)) {
                        server->ssl.X509_free(certificate);
                        return tls_refuse(server, key, "its chain cannot be used");
                }
        }
        server->ssl.ERR_clear_error(); /* the end of the file is one */
        return 0;
}

static int tls_use_key(const TlsServer *server, SSL_CTX *context, BIO *bio)
{
        static const char key[] = "stream.tls_key_file";
        EVP_PKEY *private_key = server->ssl.PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");

        if (!private_key)
                return tls_refuse(server, key, "there is no key in it (PEM, without a password)");
        int good = server->ssl.SSL_CTX_use_PrivateKey(context, private_key) &&
                   server->ssl.SSL_CTX_check_private_key(context);
        server->ssl.EVP_PKEY_free(private_key);
        return good ? 0 : tls_refuse(server, key, "its key is not that of the certificate");
}

static int tls_use_file(const TlsServer *server, SSL_CTX *context, const char *key, int fd,
                        int (*use)(const TlsServer *, SSL_CTX *, BIO *))
{
        uint8_t *bytes = NULL;
        size_t n = 0;

        int r = tls_read_file(key, fd, &bytes, &n);
        if (r)
                return fold(r);
        BIO *bio = server->ssl.BIO_new_mem_buf(bytes, (int)n);
        r = bio ? use(server, context, bio) : error_origin(-ENOMEM);
        if (bio)
                (void)server->ssl.BIO_free(bio);
        explicit_bzero(bytes, n);
        free(bytes);
        return r ? fold(r) : 0;
}

static void tls_set_up(const TlsServer *server, SSL_CTX *context)
{
        (void)server->ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
        (void)server->ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
        (void)server->ssl.SSL_CTX_ctrl(context, SSL_CTRL_MODE,
                                       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                               SSL_MODE_RELEASE_BUFFERS,
                                       NULL);
        (void)server->ssl.SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                                               SSL_OP_CIPHER_SERVER_PREFERENCE);
        (void)server->ssl.SSL_CTX_set_num_tickets(context, 0);
}

int tls_server_configure(TlsServer *server, int certificate_fd, int key_fd)
{
        /* No file: neither its configuration nor what that might name. */
        if (!server->ssl.OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
                return tls_refuse(server, "stream.tls_cert_file", "OpenSSL does not start");
        SSL_CTX *context = server->ssl.SSL_CTX_new(server->ssl.TLS_server_method());
        if (!context)
                return error_origin(-ENOMEM);
        tls_set_up(server, context);
        int r = tls_use_file(server, context, "stream.tls_cert_file", certificate_fd, tls_use_certificates);
        if (r == 0)
                r = tls_use_file(server, context, "stream.tls_key_file", key_fd, tls_use_key);
        if (r) {
                server->ssl.SSL_CTX_free(context);
                return fold(r);
        }
        if (server->context) /* clients that have it keep it */
                server->ssl.SSL_CTX_free(server->context);
        server->context = context;
        return 0;
}

int tls_peer_new(TlsServer *server, int fd, TlsPeer **ret)
{
        TlsPeer *peer = calloc(1, sizeof(*peer));

        if (!peer)
                return error_origin(-ENOMEM);
        peer->server = server;
        peer->ssl = server->ssl.SSL_new(server->context);
        if (!peer->ssl || !server->ssl.SSL_set_fd(peer->ssl, fd)) {
                (void)tls_peer_free(peer);
                return error_origin(-ENOMEM);
        }
        server->ssl.SSL_set_accept_state(peer->ssl);
        *ret = peer;
        return 0;
}

TlsPeer *tls_peer_free(TlsPeer *peer)
{
        if (peer && peer->ssl)
                peer->server->ssl.SSL_free(peer->ssl);
        free(peer);
        return NULL;
}

/* What a failed call means, in the words of a socket. */
static ssize_t tls_peer_translate(TlsPeer *peer, int n)
{
        int error = peer->server->ssl.SSL_get_error(peer->ssl, n);

        if (error == SSL_ERROR_ZERO_RETURN)
                return 0;
        peer->failed = error == SSL_ERROR_SYSCALL || error == SSL_ERROR_SSL;
        errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
        return -1;
}

ssize_t tls_peer_receive(TlsPeer *peer, void *bytes, size_t n)
{
        if (peer->failed) {
                errno = EPROTO;
                return -1;
        }
        peer->server->ssl.ERR_clear_error();
        int r = peer->server->ssl.SSL_read(peer->ssl, bytes, (int)MIN2(n, (size_t)INT32_MAX));
        return r > 0 ? r : tls_peer_translate(peer, r);
}

ssize_t tls_peer_send(TlsPeer *peer, const void *bytes, size_t n)
{
        if (peer->failed) {
                errno = EPROTO;
                return -1;
        }
        peer->server->ssl.ERR_clear_error();
        int r = peer->server->ssl.SSL_write(peer->ssl, bytes, (int)MIN2(n, (size_t)INT32_MAX));
        return r > 0 ? r : tls_peer_translate(peer, r);
}

bool tls_peer_has_pending(const TlsPeer *peer)
{
        return !peer->failed && peer->server->ssl.SSL_pending(peer->ssl) > 0;
}

void tls_peer_end(TlsPeer *peer)
{
        if (peer->failed)
                return;
        peer->server->ssl.ERR_clear_error();
        if (peer->server->ssl.SSL_shutdown(peer->ssl) < 0)
                peer->failed = true;
}
