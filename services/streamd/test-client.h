/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The client's side of both protocols, for tests: writes what a client sends, reads what we answered. */

#include "lib/test.h"
#include "services/streamd/be.h"
#include "services/streamd/byte-queue.h"
#include "services/streamd/spdy-frame.h"
#include "services/streamd/spdy-headers.h"
#include "services/streamd/websocket-frame.h"

typedef struct Client {
        ByteQueue sent; /* to be fed to the code under test */
        z_stream deflate;
        bool compresses;
} Client;

static inline void client_bytes(Client *client, const void *bytes, size_t n)
{
        assert_ok(byte_queue_append(&client->sent, bytes, n));
}

static inline void client_done(Client *client)
{
        byte_queue_done(&client->sent);
        if (client->compresses)
                (void)deflateEnd(&client->deflate);
        client->compresses = false;
}

static inline void client_control(Client *client, uint16_t type, uint8_t flags, const void *body, size_t n)
{
        uint8_t head[SPDY_HEAD_BYTES];

        be16_write(head, 0x8003);
        be16_write(head + 2, type);
        be32_write(head + 4, (uint32_t)n | (uint32_t)flags << 24);
        client_bytes(client, head, sizeof(head));
        client_bytes(client, body, n);
}

/* Compressed as a client does: best, with the dictionary, flushed. */
static inline size_t client_deflate(Client *client, const void *bytes, size_t n, uint8_t *to, size_t size)
{
        if (!client->compresses) {
                size_t n_dictionary;
                const uint8_t *dictionary = spdy_dictionary(&n_dictionary);
                assert_eq_int(deflateInit(&client->deflate, 9), Z_OK);
                assert_eq_int(deflateSetDictionary(&client->deflate, dictionary, (uInt)n_dictionary), Z_OK);
                client->compresses = true;
        }
        client->deflate.next_in = (uint8_t *)(uintptr_t)bytes;
        client->deflate.avail_in = (uInt)n;
        client->deflate.next_out = to;
        client->deflate.avail_out = (uInt)size;
        assert_eq_int(deflate(&client->deflate, Z_SYNC_FLUSH), Z_OK);
        assert_true(client->deflate.avail_out > 0);
        return size - client->deflate.avail_out;
}

/* Names and values by turns, NULL at the end. */
static inline size_t client_block(uint8_t *to, const char *const *fields)
{
        size_t at = 4, n = 0;

        for (; fields[n]; n++) {
                be32_write(to + at, (uint32_t)strlen(fields[n]));
                memcpy(to + at + 4, fields[n], strlen(fields[n]));
                at += 4 + strlen(fields[n]);
        }
        be32_write(to, (uint32_t)(n / 2));
        return at;
}

static inline void client_open_block(Client *client, uint32_t id, uint8_t flags, const void *block, size_t n)
{
        uint8_t body[SPDY_CONTROL_BYTES_MAX] = {0};

        be32_write(body, id);
        client_control(client, SPDY_SYN_STREAM, flags, body, 10 + client_deflate(client, block, n, body + 10, sizeof(body) - 10));
}

static inline void client_open(Client *client, uint32_t id, uint8_t flags, const char *const *fields)
{
        uint8_t block[SPDY_BLOCK_BYTES_MAX];

        client_open_block(client, id, flags, block, client_block(block, fields));
}

static inline void client_open_type(Client *client, uint32_t id, const char *type)
{
        const char *const fields[] = {"streamtype", type, NULL};

        client_open(client, id, 0, fields);
}

static inline void client_data(Client *client, uint32_t id, const char *text, bool fin)
{
        uint8_t head[SPDY_WRITE_MAX];

        client_bytes(client, head, spdy_write_data_head(head, id, strlen(text), fin));
        client_bytes(client, text, strlen(text));
}

static inline void client_words(Client *client, uint16_t type, uint32_t a, uint32_t b)
{
        uint8_t body[8];

        be32_write(body, a);
        be32_write(body + 4, b);
        client_control(client, type, 0, body, type == SPDY_PING ? 4 : 8);
}

static inline void client_websocket(Client *client, uint8_t first, const void *bytes, size_t n)
{
        uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];
        _cleanup_free_ uint8_t *copy = malloc(n + 1);
        static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
        size_t at = websocket_write_head(head, 0, n);

        head[0] = first;
        head[1] |= 0x80;
        memcpy(head + at, mask, sizeof(mask));
        client_bytes(client, head, at + sizeof(mask));
        for (size_t i = 0; i < n; i++)
                copy[i] = ((const uint8_t *)bytes)[i] ^ mask[i % 4];
        client_bytes(client, copy, n);
}

/* Feeds what was written in pieces of `step` bytes, each an exact-size heap copy, so that a read past an end is seen. */
#define client_feed(client, step, feed)                                                                                \
        ({                                                                                                             \
                int client_r_ = 0;                                                                                     \
                while (byte_queue_length(&(client)->sent) > 0 && client_r_ == 0) {                                     \
                        size_t client_n_ = MIN2((size_t)(step), byte_queue_length(&(client)->sent));                   \
                        _cleanup_free_ uint8_t *bytes = malloc(client_n_);                                             \
                        size_t n = client_n_;                                                                          \
                        memcpy(bytes, byte_queue_head(&(client)->sent), n);                                            \
                        byte_queue_consume(&(client)->sent, n);                                                        \
                        client_r_ = (feed);                                                                            \
                }                                                                                                      \
                byte_queue_done(&(client)->sent);                                                                      \
                client_r_;                                                                                             \
        })
