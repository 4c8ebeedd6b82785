/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/fetch/fetch.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

void *fetch_trust_new(const char *pem, size_t n, unsigned *ret_n)
{
        X509_STORE *store = X509_STORE_new();
        BIO *bio = BIO_new_mem_buf(pem, (int)MIN2(n, (size_t)INT32_MAX));
        X509 *certificate;

        *ret_n = 0;
        if (!store || !bio) {
                X509_STORE_free(store);
                BIO_free(bio);
                return NULL;
        }
        while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
                *ret_n += X509_STORE_add_cert(store, certificate) == 1;
                X509_free(certificate);
        }
        BIO_free(bio);
        ERR_clear_error(); /* the end of the bundle is one */
        /* As libcurl does: an intermediate certificate that the bundle trusts ends a chain. */
        (void)X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
        return store;
}

void *fetch_trust_free(void *trust)
{
        X509_STORE_free(trust);
        return NULL;
}
