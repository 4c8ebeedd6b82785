/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/users.h"
#include "lib/error.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define USERS_FIELDS_MAX 7 /* of passwd(5); group(5) has 4 */
#define USERS_PASSWD_FIELDS 7
#define USERS_GROUP_FIELDS 4

int users_read(int image_fd, const char *path, char **ret, size_t *ret_n, Report *report)
{
        struct open_how how = {
                .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        _cleanup_free_ char *bytes = NULL;
        _cleanup_fd_ int fd = -1;
        struct stat st;
        size_t n = 0;

        fd = (int)syscall(SYS_openat2, image_fd, path, &how, sizeof(how));
        if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
                return report_errno(report, errno, "opening the image's", path);
        if (fd >= 0 && fstat(fd, &st) < 0)
                return report_errno(report, errno, "opening the image's", path);
        if (fd >= 0 && !S_ISREG(st.st_mode))
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "the image's /%s is not a file", path);
        if (fd >= 0 && st.st_size > USERS_FILE_MAX)
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "the image's /%s has more than 10 MiB", path);
        bytes = malloc(fd >= 0 ? (size_t)st.st_size + 1 : 1);
        if (!bytes)
                return report_errno(report, ENOMEM, "reading the image's", path);
        while (fd >= 0 && n < (size_t)st.st_size) {
                ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return report_errno(report, errno, "reading the image's", path);
                if (got == 0)
                        break;
                n += (size_t)got;
        }
        bytes[n] = 0;
        *ret = TAKE_PTR(bytes);
        *ret_n = n;
        return 0;
}

/* Goes through the lines of a file. */
typedef struct UsersLines {
        const char *at, *end;
        size_t n_lines;
        size_t n_fields; /* of the current line; 0: it is none */
        char *fields[USERS_FIELDS_MAX];
        char line[USERS_LINE_MAX];
} UsersLines;

static void users_split(UsersLines *lines)
{
        char *field = lines->line;

        lines->n_fields = 0;
        for (;;) {
                char *colon = strchr(field, ':');

                if (lines->n_fields == USERS_FIELDS_MAX) {
                        lines->n_fields = 0; /* more than any file has */
                        return;
                }
                lines->fields[lines->n_fields++] = field;
                if (!colon)
                        return;
                *colon = 0;
                field = colon + 1;
        }
}

static bool users_line_is_text(const char *line, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
                        return false;
        return true;
}

/* False at the end, or when there are too many. */
static bool users_next(UsersLines *lines)
{
        if (lines->at == lines->end || lines->n_lines > USERS_LINES_MAX)
                return false;

        const char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
        size_t n = (size_t)((newline ? newline : lines->end) - lines->at);
        lines->n_fields = 0;
        if (n > 0 && n < USERS_LINE_MAX && users_line_is_text(lines->at, n)) {
                memcpy(lines->line, lines->at, n);
                lines->line[n] = 0;
                users_split(lines);
        }
        lines->at += n + (newline != NULL);
        lines->n_lines++;
        return true;
}

static bool users_id_parse(const char *text, uint32_t *ret)
{
        uint64_t value;

        if (!u64_parse(text, UINT32_MAX - 1, &value))
                return false;
        *ret = (uint32_t)value;
        return true;
}

static int users_too_many(Report *report, const char *path)
{
        return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "the image's %s has more than %d lines", path, USERS_LINES_MAX);
}

/* uid: UINT32_MAX to search by name. Returns whether there is such a line. */
static int users_find_passwd(const char *passwd, size_t n, const char *name, uint32_t uid, TreeUserFound *found, Report *report)
{
        UsersLines lines = {.at = passwd, .end = passwd + n};

        while (users_next(&lines)) {
                uint32_t line_uid, line_gid;

                if (lines.n_fields != USERS_PASSWD_FIELDS || !*lines.fields[0] ||
                    !users_id_parse(lines.fields[2], &line_uid) || !users_id_parse(lines.fields[3], &line_gid))
                        continue;
                if (uid == UINT32_MAX ? !str_equal(lines.fields[0], name) : line_uid != uid)
                        continue;
                found->uid = line_uid;
                found->gid = line_gid;
                found->uid_known = 1;
                (void)str_copy(found->username, sizeof(found->username), lines.fields[0]);
                if (lines.fields[5][0] == '/')
                        (void)str_copy(found->home, sizeof(found->home), lines.fields[5]);
                return 0;
        }
        return lines.n_lines > USERS_LINES_MAX ? users_too_many(report, "/etc/passwd") : 0;
}

static bool users_is_member(char *members, const char *name)
{
        for (char *rest = members; rest;) {
                const char *member = strsep(&rest, ",");

                if (str_equal(member, name))
                        return true;
        }
        return false;
}

static int users_add_group(TreeUserFound *found, uint32_t gid, Report *report)
{
        if (gid == found->gid)
                return 0;
        for (uint32_t i = 0; i < found->n_groups; i++)
                if (found->groups[i] == gid)
                        return 0;
        if (found->n_groups == TREE_GROUPS_MAX)
                return report_fail(report, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "the image's /etc/group has the user in more than %d groups", TREE_GROUPS_MAX);
        found->groups[found->n_groups++] = gid;
        return 0;
}

/* The gid of a group's name; then, when the primary group is known, the memberships. */
static int users_find_groups(const char *group, size_t n, const char *name, TreeUserFound *found, Report *report)
{
        UsersLines lines = {.at = group, .end = group + n};
        bool is_found = !*name;
        uint32_t gid;

        while (!is_found && users_next(&lines)) {
                if (lines.n_fields != USERS_GROUP_FIELDS || !str_equal(lines.fields[0], name) ||
                    !users_id_parse(lines.fields[2], &gid))
                        continue;
                found->gid = gid;
                is_found = true;
        }
        if (lines.n_lines > USERS_LINES_MAX)
                return users_too_many(report, "/etc/group");
        if (!is_found) {
                char shown[128];

                str_printable(shown, sizeof(shown), name, strlen(name));
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "the image's /etc/group has no group \"%s\"", shown);
        }
        if (!found->username[0])
                return 0;
        lines = (UsersLines){.at = group, .end = group + n};
        while (users_next(&lines)) {
                int r;

                if (lines.n_fields != USERS_GROUP_FIELDS || !*lines.fields[0] || !users_id_parse(lines.fields[2], &gid) ||
                    !users_is_member(lines.fields[3], found->username))
                        continue;
                r = users_add_group(found, gid, report);
                if (r)
                        return r;
        }
        return lines.n_lines > USERS_LINES_MAX ? users_too_many(report, "/etc/group") : 0;
}

/* A string that begins like a number is never a name: passwd lines of such names exist to be mistaken for one. */
static bool users_name_is_valid(const char *name)
{
        return (name[0] < '0' || name[0] > '9') && name[0] != '+' && name[0] != '-' && !strpbrk(name, ":\n");
}

int users_find(const char *passwd, size_t n_passwd, const char *group, size_t n_group, const TreeUser *request, Report *report)
{
        TreeUserFound *found = &report->user;
        int r;

        if (!users_name_is_valid(request->user) || !users_name_is_valid(request->group))
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "the name of a user or group may not begin with a digit or sign");
        if (!*request->user && request->uid == UINT32_MAX)
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "neither a user's name nor a uid was given");
        *found = (TreeUserFound){.uid = request->uid};
        r = users_find_passwd(passwd, n_passwd, request->user, *request->user ? UINT32_MAX : request->uid, found, report);
        if (r)
                return r;
        if (*request->user && !found->uid_known) {
                char shown[128];

                str_printable(shown, sizeof(shown), request->user, strlen(request->user));
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "the image's /etc/passwd has no user \"%s\"", shown);
        }
        if (!*request->group && request->gid != UINT32_MAX)
                found->gid = request->gid;
        return users_find_groups(group, n_group, request->group, found, report);
}
