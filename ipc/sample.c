/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/sample.h"

#include "ipc/field.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define SAMPLE_ELEMENTS 2

static void sample_scalar(const ProtobufCFieldDescriptor *field, void *to)
{
        switch ((int)field->type) {
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
                *(uint64_t *)to = field->id;
                break;
        case PROTOBUF_C_TYPE_DOUBLE:
                *(double *)to = field->id;
                break;
        case PROTOBUF_C_TYPE_FLOAT:
                *(float *)to = (float)field->id;
                break;
        case PROTOBUF_C_TYPE_BOOL:
                *(protobuf_c_boolean *)to = 1;
                break;
        default:
                *(uint32_t *)to = field->type == PROTOBUF_C_TYPE_ENUM ? 1 : field->id;
        }
}

static void sample_value(DecodeArena *arena, const ProtobufCFieldDescriptor *field, unsigned depth, void *to)
{
        static const char text[] = "sample";

        if (field->type == PROTOBUF_C_TYPE_STRING) {
                char *copy = decode_arena_alloc(arena, sizeof(text));

                memcpy(copy, text, sizeof(text));
                *(char **)to = copy;
        } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
                *(ProtobufCBinaryData *)to = (ProtobufCBinaryData){
                                .len = sizeof(text),
                                .data = memcpy(decode_arena_alloc(arena, sizeof(text)), text, sizeof(text)),
                };
        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                *(ProtobufCMessage **)to = sample_message(arena, field->descriptor, depth - 1);
        } else {
                sample_scalar(field, to);
        }
}

static void sample_field(DecodeArena *arena, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                         unsigned depth)
{
        uint8_t *base = (uint8_t *)message, *elements;
        size_t size = field_size(field);

        if (field->type == PROTOBUF_C_TYPE_MESSAGE && depth == 0)
                return;
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
                if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                        *(uint32_t *)(void *)(base + field->quantifier_offset) = field->id;
                sample_value(arena, field, depth, base + field->offset);
                return;
        }
        elements = decode_arena_alloc(arena, SAMPLE_ELEMENTS * size);
        for (size_t i = 0; i < SAMPLE_ELEMENTS; i++)
                sample_value(arena, field, depth, elements + i * size);
        *(size_t *)(void *)(base + field->quantifier_offset) = SAMPLE_ELEMENTS;
        *(void **)(void *)(base + field->offset) = elements;
}

ProtobufCMessage *sample_message(DecodeArena *arena, const ProtobufCMessageDescriptor *type, unsigned depth)
{
        ProtobufCMessage *message = decode_arena_alloc(arena, type->sizeof_message);

        protobuf_c_message_init(type, message);
        for (unsigned i = 0; i < type->n_fields; i++)
                sample_field(arena, message, &type->fields[i], depth);
        return message;
}

void sample_body(const RowBody *body, uint8_t **ret, size_t *ret_n)
{
        DecodeArena arena;

        if (!body->type) {
                *ret = calloc(1, body->flat_size + 1);
                *ret_n = body->flat_size;
                return;
        }
        decode_arena_init(&arena, DECODE_BUDGET_MAX);
        assert(decode_pack(sample_message(&arena, body->type, 3), ret, ret_n) == 0);
        decode_arena_done(&arena);
}

static int sample_memfd(int seals)
{
        int fd = memfd_create("sample", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert(fd >= 0);
        assert(write(fd, "sample", 6) == 6);
        assert(fcntl(fd, F_ADD_SEALS, seals) == 0);
        return fd;
}

/* One end of two, the other is closed. */
static int sample_end(int ends[2], int which)
{
        (void)close(ends[1 - which]);
        return ends[which];
}

int sample_fd(FdKind kind)
{
        int ends[2];

        switch (kind) {
        case FD_KIND_NONE:
                break;
        case FD_KIND_PIPE_READ:
        case FD_KIND_PIPE_WRITE:
                assert(pipe2(ends, O_CLOEXEC) == 0);
                return sample_end(ends, kind == FD_KIND_PIPE_WRITE);
        case FD_KIND_SOCKET:
        case FD_KIND_STREAM:
                assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
                return sample_end(ends, 0);
        case FD_KIND_FILE_READ:
        case FD_KIND_FILE_WRITE:
        case FD_KIND_EXIT_RECORD:
                return sample_memfd(0);
        case FD_KIND_PIDFD:
                return (int)syscall(SYS_pidfd_open, getpid(), 0);
        case FD_KIND_MEMFD_SEALED:
                return sample_memfd(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
        case FD_KIND_MEMFD_SHARED:
                return sample_memfd(F_SEAL_SHRINK | F_SEAL_GROW);
        case FD_KIND_TTY:
                return posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        }
        return -1;
}

int sample_fd_wrong(void)
{
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool sample_fds(const RowFds *kinds, size_t n, int fds[WIRE_FDS_MAX])
{
        bool all = true;

        for (size_t i = 0; i < WIRE_FDS_MAX; i++) {
                fds[i] = i < n ? sample_fd(i < kinds->n_max ? (FdKind)kinds->kinds[i] : FD_KIND_SOCKET) : -1;
                all = all && (i >= n || fds[i] >= 0);
        }
        return all;
}

void sample_fds_done(int fds[WIRE_FDS_MAX])
{
        for (size_t i = 0; i < WIRE_FDS_MAX; i++)
                fds[i] = fd_close(fds[i]);
}
