/* SPDX-License-Identifier: Apache-2.0 */

/* Fuzz target: the first byte chooses the parser, the rest is the text. The parsers read no further than the NUL, fill no more
 * than there is room for, and what they let through as an interface's name is a printable word. Built without libFuzzer
 * (fuzz-usage-replay) it runs the files that it is given. */

#include "lib/fuzz.h"
#include "services/usage.h"

#include <assert.h>

static void fuzz_text(uint8_t which, const char *text)
{
        static const UsageKey keys[] = {{"usage_usec", 10, 0}, {"anon", 4, 8}, {"total_rss", 9, 16}};
        uint64_t values[4] = {1, 2, 3, 4};
        UsagePressures pressures;
        UsageDevice devices[USAGE_DEVICES_MAX];
        UsageInterfaces interfaces;
        size_t n = 0;

        switch (which % 5) {
        case 0:
                (void)usage_parse_number(text);
                break;
        case 1:
                usage_parse_keys(text, keys, ARRAY_SIZE(keys), values);
                assert(values[3] == 4);
                break;
        case 2:
                usage_parse_pressure(text, &pressures);
                break;
        case 3:
                usage_parse_io(text, which & 8 ? 1 : 2, which & 16, devices, &n);
                assert(n <= USAGE_DEVICES_MAX);
                break;
        default:
                usage_parse_interfaces(text, &interfaces);
                assert(interfaces.n <= USAGE_INTERFACES_MAX);
                for (size_t i = 0; i < interfaces.n; i++) {
                        assert(memchr(interfaces.items[i].name, '\0', USAGE_INTERFACE_NAME_MAX));
                        for (const char *p = interfaces.items[i].name; *p; p++)
                                assert(*p > ' ' && *p <= '~');
                }
                break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        if (n == 0 || n > USAGE_TEXT_MAX)
                return 0;
        char *text = malloc(n); /* exact: one byte less, and the NUL */
        if (!text)
                return 0;
        memcpy(text, bytes + 1, n - 1);
        text[n - 1] = '\0';
        fuzz_text(bytes[0], text);
        free(text);
        return 0;
}
