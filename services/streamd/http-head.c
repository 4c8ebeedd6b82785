/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/http-head.h"
#include "lib/strings.h"
#include <strings.h>

/* tchar of RFC 9110, 5.6.2. */
static bool http_is_token_char(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Printable ASCII, space, tab; obs-text (bytes above 0x7f) is refused: nothing that we are sent needs it. */
static bool http_is_value_char(char c)
{
        return c == '\t' || (c >= 0x20 && c < 0x7f);
}

/* The line that starts at *at, without its CRLF, terminated; a bare CR or LF in it is malformed. */
static char *http_line(char *bytes, size_t n, size_t *at)
{
        char *line = bytes + *at;
        char *end = memchr(line, '\n', n - *at);

        if (!end || end == line || end[-1] != '\r' || memchr(line, '\r', (size_t)(end - line) - 1) ||
            memchr(line, '\0', (size_t)(end - line)))
                return NULL;
        end[-1] = '\0';
        *at = (size_t)(end - bytes) + 1;
        return line;
}

static int http_parse_target(char *target, HttpHead *head)
{
        if (target[0] != '/')
                return HTTP_E_MALFORMED;
        for (const char *p = target; *p; p++)
                if (*p <= 0x20 || *p == 0x7f || (unsigned char)*p > 0x7f || *p == '#')
                        return HTTP_E_MALFORMED;
        if (strlen(target) > HTTP_TARGET_MAX)
                return HTTP_E_TOO_LONG;
        target[strcspn(target, "?")] = '\0';
        head->path = target;
        return 0;
}

static int http_parse_request_line(char *line, HttpHead *head)
{
        char *target = strchr(line, ' ');
        char *version = target ? strchr(target + 1, ' ') : NULL;

        if (!version || target == line)
                return HTTP_E_MALFORMED;
        *target++ = '\0';
        *version++ = '\0';
        for (const char *p = line; *p; p++)
                if (!http_is_token_char(*p))
                        return HTTP_E_MALFORMED;
        head->method = line;
        if (strlen(version) != strlen("HTTP/1.1") || !str_has_prefix(version, "HTTP/"))
                return HTTP_E_MALFORMED;
        if (!str_equal(version, "HTTP/1.1"))
                return HTTP_E_VERSION;
        return http_parse_target(target, head);
}

static int http_parse_header(char *line, HttpHead *head)
{
        char *colon = strchr(line, ':');
        char *value, *end;

        if (!colon || colon == line)
                return HTTP_E_MALFORMED; /* also a folded line, which begins with white space */
        for (char *p = line; p < colon; p++) {
                if (!http_is_token_char(*p))
                        return HTTP_E_MALFORMED;
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char)(*p - 'A' + 'a');
        }
        *colon = '\0';
        value = colon + 1 + strspn(colon + 1, " \t");
        for (const char *p = value; *p; p++)
                if (!http_is_value_char(*p))
                        return HTTP_E_MALFORMED;
        end = value + strlen(value);
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                *--end = '\0';
        if (head->n_headers == HTTP_HEADERS_MAX)
                return HTTP_E_TOO_LONG;
        head->headers[head->n_headers++] = (HttpHeader){.name = line, .value = value};
        return 0;
}

static size_t http_count(const HttpHead *head, const char *name)
{
        size_t n = 0;

        for (size_t i = 0; i < head->n_headers; i++)
                n += str_equal(head->headers[i].name, name);
        return n;
}

const char *http_head_find(const HttpHead *head, const char *name)
{
        const char *value = NULL;

        for (size_t i = 0; i < head->n_headers; i++) {
                if (!str_equal(head->headers[i].name, name))
                        continue;
                if (value)
                        return NULL;
                value = head->headers[i].value;
        }
        return value;
}

bool http_head_has_token(const HttpHead *head, const char *name, const char *token)
{
        size_t length = strlen(token);

        for (size_t i = 0; i < head->n_headers; i++) {
                if (!str_equal(head->headers[i].name, name))
                        continue;
                for (const char *p = head->headers[i].value; *p;) {
                        p += strspn(p, " \t,");
                        size_t n = strcspn(p, " \t,");
                        if (n == length && strncasecmp(p, token, n) == 0)
                                return true;
                        p += n;
                }
        }
        return false;
}

/* One host (RFC 9112, 3.2), and no body: neither a length other than 0 nor chunks, whose ends could be argued about. */
static int http_check(const HttpHead *head)
{
        const char *length = http_head_find(head, "content-length");

        if (http_count(head, "host") != 1 || http_count(head, "transfer-encoding") > 0)
                return HTTP_E_MALFORMED;
        if (http_count(head, "content-length") > 0 && !str_equal(length ? length : "?", "0"))
                return HTTP_E_MALFORMED;
        return 0;
}

int http_head_parse(char *bytes, size_t n, HttpHead *head)
{
        const char *end = memmem(bytes, n, "\r\n\r\n", 4);
        size_t at = 0, n_head;
        int r;

        if (!end)
                return n < HTTP_HEAD_BYTES_MAX ? HTTP_E_INCOMPLETE : HTTP_E_TOO_LONG;
        n_head = (size_t)(end - bytes) + 4;
        if (n_head > HTTP_HEAD_BYTES_MAX)
                return HTTP_E_TOO_LONG;

        *head = (HttpHead){.n_bytes = n_head};
        char *line = http_line(bytes, n_head - 2, &at);
        r = line ? http_parse_request_line(line, head) : HTTP_E_MALFORMED;
        while (r == 0 && at < n_head - 2) {
                line = http_line(bytes, n_head - 2, &at);
                r = line ? http_parse_header(line, head) : HTTP_E_MALFORMED;
        }
        return r ? r : http_check(head);
}
