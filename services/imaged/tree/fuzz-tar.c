/* SPDX-License-Identifier: Apache-2.0 */

/* The tar reader, with sources that give pieces of any length. What it hands out must be within its bounds. */

#include "lib/fuzz.h"
#include "services/imaged/tree/path.h"
#include "services/imaged/tree/tar.h"

#include <stdio.h>

typedef struct FuzzInput {
        const uint8_t *bytes;
        size_t n;
        size_t piece;
} FuzzInput;

static ssize_t fuzz_source(void *userdata, void *buffer, size_t n)
{
        FuzzInput *input = userdata;

        n = MIN2(MIN2(n, input->n), input->piece);
        memcpy(buffer, input->bytes, n);
        input->bytes += n;
        input->n -= n;
        return (ssize_t)n;
}

static void fuzz_check(bool is_right)
{
        if (!is_right)
                abort();
}

static void fuzz_entry(TarReader *reader, const TarEntry *entry)
{
        char path[PATH_BYTES];
        uint64_t total = 0;
        volatile uint8_t sum = 0;
        const uint8_t *bytes;
        size_t n;
        int r;

        fuzz_check(strlen(entry->path) < TAR_PATH_MAX && strlen(entry->link) < TAR_PATH_MAX && entry->mode <= 07777 &&
                   entry->uid < UINT32_MAX && entry->gid < UINT32_MAX && entry->mtime_nsec < 1000000000);
        fuzz_check(entry->type == TAR_TYPE_FILE || entry->size == 0);
        fuzz_check(entry->n_xattrs <= TAR_XATTRS_MAX);
        for (size_t i = 0; i < entry->n_xattrs; i++) {
                fuzz_check(strlen(entry->xattrs[i].name) <= TAR_XATTR_NAME_MAX && entry->xattrs[i].n_value <= TAR_XATTR_VALUE_MAX);
                for (size_t j = 0; j < entry->xattrs[i].n_value; j++)
                        sum = (uint8_t)(sum + entry->xattrs[i].value[j]);
        }
        if (!path_normalise(entry->path, path))
                fuzz_check(path[0] != '/' && !strstr(path, "//") && strcmp(path, "..") != 0 && !strstr(path, "/../"));
        while ((r = tar_data(reader, &bytes, &n)) == 0 && n > 0) {
                total += n;
                for (size_t i = 0; i < n; i++)
                        sum = (uint8_t)(sum + bytes[i]);
        }
        fuzz_check(r != 0 || total == entry->size);
}

/* Gives every block the checksum of a header, or hardly any input would get past it. */
static void fuzz_mend(uint8_t *bytes, size_t n)
{
        for (; n >= TAR_BLOCK; bytes += TAR_BLOCK, n -= TAR_BLOCK) {
                unsigned sum = 0;

                memset(bytes + 148, ' ', 8);
                for (size_t i = 0; i < TAR_BLOCK; i++)
                        sum += bytes[i];
                if (sum == 8 * ' ')
                        memset(bytes + 148, 0, 8);
                else
                        (void)snprintf((char *)bytes + 148, 8, "%06o", sum & 0777777);
        }
}

static void fuzz_read(const uint8_t *bytes, size_t n)
{
        FuzzInput input = {.bytes = bytes, .n = n, .piece = n > 0 ? 1 + (size_t)bytes[n - 1] * 37 : 1};
        _cleanup_(tar_reader_freep) TarReader *reader = tar_reader_new(fuzz_source, &input);
        const TarEntry *entry;
        bool is_odd = false;
        int r;

        if (!reader)
                return;
        while ((r = tar_next(reader, &entry)) == 0) {
                is_odd = !is_odd;
                if (is_odd)
                        fuzz_entry(reader, entry);
        }
        fuzz_check(r == TAR_E_END || (r > 0 && tar_problem(reader)[0]));
        if (r == TAR_E_END)
                fuzz_check(tar_drain(reader) == 0 && input.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_free_ uint8_t *mended = malloc(n + 1);

        if (!mended)
                return 0;
        memcpy(mended, bytes, n);
        if (n > 0 && bytes[n - 1] & 1)
                fuzz_mend(mended, n);
        fuzz_read(mended, n);
        return 0;
}
