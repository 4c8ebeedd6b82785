/* SPDX-License-Identifier: Apache-2.0 */

/* Who it is run as. A text that begins like a number is a number or an error, never a name, and no number wraps around:
 * both have made root of what should not be (CVE-2024-40635, CVE-2026-46680, CVE-2016-3697). */

#include "services/containerd/spec-parts.h"

#include "ipc/seal.h"
#include "lib/strings.h"
#include <stdio.h>

#define SPEC_ID_MAX UINT64_C(2147483647) /* what OCI runtimes and image tools take; more has wrapped around in some of them */
#define SPEC_USER_NAME_MAX 256
#define SPEC_GROUPS_MAX 4096 /* the kernel's own limit is 65536; nobody is a member of that many */

static bool spec_user_part_is_valid(const char *s, size_t n)
{
        static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
        static const char others[] = "0123456789.-$@";
        char text[SPEC_USER_NAME_MAX];
        uint64_t id;

        if (n == 0 || n >= sizeof(text))
                return false;
        memcpy(text, s, n);
        text[n] = '\0';
        if (text[0] >= '0' && text[0] <= '9')
                return u64_parse(text, SPEC_ID_MAX, &id);
        if (!strchr(letters, text[0]))
                return false;
        for (size_t i = 1; i < n; i++)
                if (!text[i] || (!strchr(letters, text[i]) && !strchr(others, text[i])))
                        return false;
        return true;
}

static int spec_user_check_id(const SpecInput *input, Failure *failure, const char *field, int64_t id)
{
        return id < 0 || id > (int64_t)SPEC_ID_MAX
                       ? spec_refuse(input, failure, "%s %lld is not between 0 and %llu", field, (long long)id,
                                     (unsigned long long)SPEC_ID_MAX)
                       : 0;
}

/* The image's USER: "", user, user:group. An empty half means root's, as image tools write and read it. */
static int spec_user_choose_image(const SpecInput *input, char to[SPEC_USER_MAX], Failure *failure)
{
        const char *user = input->image->user;
        size_t n_user = strcspn(user, ":");
        const char *group = user[n_user] ? user + n_user + 1 : "";

        if ((n_user > 0 && !spec_user_part_is_valid(user, n_user)) ||
            (*group && !spec_user_part_is_valid(group, strlen(group))))
                return spec_refuse(input, failure,
                                   "USER \"%.80s\" of image %.200s is neither a number up to %llu nor a name; set run_as_user",
                                   user, input->request->config->image->image, (unsigned long long)SPEC_ID_MAX);
        if (n_user == 0 && !*group)
                to[0] = '\0';
        else
                (void)snprintf(to, SPEC_USER_MAX, "%.*s%s%s", n_user > 0 ? (int)n_user : 1, n_user > 0 ? user : "0",
                               *group ? ":" : "", group);
        return 0;
}

int spec_user_choose(const SpecInput *input, char to[SPEC_USER_MAX], Failure *failure)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(input);
        char group[32] = "";

        if (context->run_as_group) {
                if (!context->run_as_user && str_is_empty(context->run_as_username))
                        return spec_refuse(input, failure, "run_as_group is set without run_as_user or run_as_username");
                int r = spec_user_check_id(input, failure, "run_as_group", context->run_as_group->value);
                if (r)
                        return r;
                (void)snprintf(group, sizeof(group), ":%lld", (long long)context->run_as_group->value);
        }
        if (context->run_as_user) {
                int r = spec_user_check_id(input, failure, "run_as_user", context->run_as_user->value);
                if (r)
                        return r;
                (void)snprintf(to, SPEC_USER_MAX, "%lld%s", (long long)context->run_as_user->value, group);
                return 0;
        }
        if (str_is_empty(context->run_as_username))
                return spec_user_choose_image(input, to, failure);
        if (!spec_user_part_is_valid(context->run_as_username, strlen(context->run_as_username)))
                return spec_refuse(input, failure, "run_as_username \"%.80s\" is neither a number nor a name",
                                   context->run_as_username);
        (void)snprintf(to, SPEC_USER_MAX, "%s%s", context->run_as_username, group);
        return 0;
}

static void spec_user_add_group(ProcessSpec *process, uint32_t gid)
{
        for (size_t i = 0; i < process->n_additional_gids; i++)
                if (process->additional_gids[i] == gid)
                        return;
        process->additional_gids[process->n_additional_gids++] = gid;
}

/* The primary group stands first: a process that gives it up must not thereby lose a restriction (CVE-2022-2995). */
static int spec_user_build_groups(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(build->input);
        const UserLookup *user = build->input->user;
        ProcessSpec *process = build->spec->process;
        bool strict = context->supplemental_groups_policy == RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
        size_t n_image = strict ? 0 : user->n_additional_gids, n_asked = context->n_supplemental_groups;

        if (!strict && context->supplemental_groups_policy != RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Merge)
                return spec_refuse(build->input, build->failure, "supplemental_groups_policy %d is unknown",
                                   (int)context->supplemental_groups_policy);
        if (n_image > SPEC_GROUPS_MAX || n_asked > SPEC_GROUPS_MAX)
                return spec_refuse(build->input, build->failure,
                                   "the image lists the user in %zu groups and the request adds %zu; at most %d are possible",
                                   n_image, n_asked, SPEC_GROUPS_MAX);
        process->additional_gids = arena_array(build->arena, 1 + n_image + n_asked, sizeof(uint32_t));
        if (!process->additional_gids)
                return spec_refuse_memory(build);
        spec_user_add_group(process, process->gid);
        for (size_t i = 0; i < n_asked; i++) {
                int r = spec_user_check_id(build->input, build->failure, "supplemental_groups", context->supplemental_groups[i]);
                if (r)
                        return r;
                spec_user_add_group(process, (uint32_t)context->supplemental_groups[i]);
        }
        for (size_t i = 0; i < n_image; i++)
                spec_user_add_group(process, user->additional_gids[i]);
        return 0;
}

/* A container that ran as one of our daemons' users could exhaust what the kernel counts per user, fds in flight above all. */
static int spec_user_check_reserved(SpecBuild *build)
{
        const SpecInput *input = build->input;
        uint64_t host = build->spec->process->uid;

        if (input->pod_namespaces & PERMIT_FLAG_USERNS)
                host += input->userns_host_id;
        if (input->user_base > 0 && host >= input->user_base && host < (uint64_t)input->user_base + SPEC_RESERVED_UIDS)
                return spec_refuse(input, build->failure,
                                   "user %llu of the node is reserved for the runtime's own processes (%u to %u); use another "
                                   "run_as_user",
                                   (unsigned long long)host, input->user_base, input->user_base + SPEC_RESERVED_UIDS - 1);
        return 0;
}

int spec_build_user(SpecBuild *build)
{
        const Runtime__V1__LinuxContainerSecurityContext *context = spec_context(build->input);
        const UserLookup *user = build->input->user;
        ProcessSpec *process = build->spec->process;

        /* What the request fixes is the request's, whatever the look-up answers. */
        process->uid = context->run_as_user ? (uint32_t)context->run_as_user->value : user->uid;
        process->gid = context->run_as_group ? (uint32_t)context->run_as_group->value : user->gid;
        int r = spec_user_build_groups(build);
        return r ? r : spec_user_check_reserved(build);
}
