/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/gunzip.h"

#include <isa-l/igzip_lib.h>

struct Gunzip {
        struct inflate_state state;
};

Gunzip *gunzip_new(void)
{
        Gunzip *gunzip = calloc(1, sizeof(*gunzip));

        if (gunzip) {
                isal_inflate_init(&gunzip->state);
                gunzip->state.crc_flag = ISAL_GZIP;
        }
        return gunzip;
}

Gunzip *gunzip_free(Gunzip *gunzip)
{
        free(gunzip);
        return NULL;
}

void gunzip_reset(Gunzip *gunzip)
{
        isal_inflate_reset(&gunzip->state);
        gunzip->state.crc_flag = ISAL_GZIP;
}

int gunzip_run(Gunzip *gunzip, const uint8_t **in, size_t *n_in, uint8_t *out, size_t room, size_t *ret_n)
{
        struct inflate_state *state = &gunzip->state;

        /* next_in is not const in ISA-L's interface, and is only read. */
        state->next_in = (uint8_t *)(uintptr_t)*in;
        state->avail_in = (uint32_t)MIN2(*n_in, UINT32_MAX);
        state->next_out = out;
        state->avail_out = (uint32_t)MIN2(room, UINT32_MAX);
        int r = isal_inflate(state);
        *n_in -= (size_t)(state->next_in - *in);
        *in = state->next_in;
        *ret_n = (size_t)(state->next_out - out);
        /* ISAL_NEED_DICT and the overflows of header buffers cannot come: gzip has no dictionary, we give no buffers. */
        if (r < 0 || r > ISAL_OUT_OVERFLOW)
                return GUNZIP_E_CORRUPT;
        return state->block_state == ISAL_BLOCK_FINISH ? GUNZIP_E_END : 0;
}
