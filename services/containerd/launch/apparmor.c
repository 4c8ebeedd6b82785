/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child of launch; containerd, which is confined too, uses it as well. */

#include "services/containerd/launch/apparmor.h"

#include "lib/strings.h"

#include <string.h>

/* Kubelets and crictl still send the field that the CRI deprecated. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define APPARMOR_PROFILE(name) RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__##name
#define APPARMOR_LOCALHOST_PREFIX "localhost/"

static ApparmorChoice apparmor_choose_deprecated(const char *text, const char **ret_name)
{
        if (str_is_empty(text))
                return APPARMOR_UNSET;
        if (str_equal(text, "unconfined"))
                return APPARMOR_UNCONFINED;
        if (str_equal(text, "runtime/default") || str_equal(text, "docker/default"))
                return APPARMOR_RUNTIME_DEFAULT;
        if (!str_has_prefix(text, APPARMOR_LOCALHOST_PREFIX))
                return APPARMOR_UNKNOWN;
        *ret_name = text;
        return APPARMOR_LOCALHOST;
}

static ApparmorChoice apparmor_choose_field(const Runtime__V1__SecurityProfile *profile, const char **ret_name)
{
        switch (profile->profile_type) {
        case APPARMOR_PROFILE(RuntimeDefault):
                return APPARMOR_RUNTIME_DEFAULT;
        case APPARMOR_PROFILE(Unconfined):
                return APPARMOR_UNCONFINED;
        case APPARMOR_PROFILE(Localhost):
                *ret_name = profile->localhost_ref;
                return APPARMOR_LOCALHOST;
        case _RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE_IS_INT_SIZE:
        default:
                return APPARMOR_UNKNOWN;
        }
}

ApparmorChoice apparmor_choose(const Runtime__V1__LinuxContainerSecurityContext *context, const char **ret_name)
{
        const char *name = "";
        ApparmorChoice choice = context->apparmor ? apparmor_choose_field(context->apparmor, &name)
                                                  : apparmor_choose_deprecated(context->apparmor_profile, &name);
        if (context->privileged && (choice == APPARMOR_UNSET || choice == APPARMOR_RUNTIME_DEFAULT))
                choice = APPARMOR_UNCONFINED;
        /* Clients write the prefix of the deprecated field in the new one too, and peers take it. */
        *ret_name = str_has_prefix(name, APPARMOR_LOCALHOST_PREFIX) ? name + strlen(APPARMOR_LOCALHOST_PREFIX) : name;
        return choice;
}

bool apparmor_list_has(const char *list, const char *name)
{
        size_t n_name = strlen(name);
        for (const char *line = list; n_name > 0 && *line;) {
                size_t n = strcspn(line, "\n");
                /* A name may have blanks and parentheses; what follows it has neither but its own. */
                if (n > n_name + 3 && memcmp(line, name, n_name) == 0 && memcmp(line + n_name, " (", 2) == 0 && line[n - 1] == ')' &&
                    !memchr(line + n_name + 2, ' ', n - n_name - 2))
                        return true;
                line += n + (line[n] == '\n');
        }
        return false;
}
