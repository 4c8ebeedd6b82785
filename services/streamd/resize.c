/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/resize.h"
#include "lib/strings.h"

#define RESIZE_SPACE " \t\r\n"

/* One member at *at: "Name":number. Moves *at behind it. */
static bool resize_parse_member(const char **at, ResizeEvent *event)
{
        static const char width[] = "\"Width\"", height[] = "\"Height\"";
        const char *p = *at + strspn(*at, RESIZE_SPACE);
        uint16_t *to;

        if (str_has_prefix(p, width)) {
                to = &event->columns;
                p += strlen(width);
        } else if (str_has_prefix(p, height)) {
                to = &event->rows;
                p += strlen(height);
        } else {
                return false;
        }
        p += strspn(p, RESIZE_SPACE);
        if (*p++ != ':')
                return false;
        p += strspn(p, RESIZE_SPACE);
        char number[6];
        size_t n = strspn(p, "0123456789");
        uint64_t value;
        if (n == 0 || n >= sizeof(number))
                return false;
        memcpy(number, p, n);
        number[n] = '\0';
        if (!u64_parse(number, UINT16_MAX, &value))
                return false;
        *to = (uint16_t)value;
        *at = p + n + strspn(p + n, RESIZE_SPACE);
        return true;
}

/* text is from '{' to '}'. */
static bool resize_parse(const char *text, ResizeEvent *ret)
{
        ResizeEvent event = {0};
        const char *p = text + 1;

        if (!resize_parse_member(&p, &event) || *p++ != ',' || !resize_parse_member(&p, &event) || *p++ != '}' || *p)
                return false;
        *ret = event;
        return true;
}

bool resize_feed(ResizeReader *reader, const uint8_t *bytes, size_t n, ResizeEvent *ret)
{
        bool found = false;

        for (size_t i = 0; i < n && !reader->broken; i++) {
                char c = (char)bytes[i];
                if (reader->n == 0 && c && strchr(RESIZE_SPACE, c))
                        continue;
                if ((reader->n == 0 && c != '{') || reader->n == RESIZE_BYTES_MAX || !c) {
                        reader->broken = true;
                        break;
                }
                reader->text[reader->n++] = c;
                if (c != '}')
                        continue;
                reader->text[reader->n] = '\0';
                reader->n = 0;
                if (resize_parse(reader->text, ret))
                        found = true;
                else
                        reader->broken = true;
        }
        return found;
}
