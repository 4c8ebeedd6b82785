/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/hostname.h"

bool hostname_is_valid(const char *hostname)
{
        size_t n = strnlen(hostname, HOSTNAME_MAX + 1);
        if (n == 0 || n > HOSTNAME_MAX)
                return false;
        for (size_t i = 0; i < n; i++) {
                char c = hostname[i];
                bool at_edge = i == 0 || i + 1 == n || hostname[i - 1] == '.' || hostname[i + 1] == '.';
                bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
                if (!letter && (at_edge || (c != '-' && c != '.')))
                        return false;
        }
        return true;
}
