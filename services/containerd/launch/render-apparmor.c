/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* The AppArmor profile of a container. Runtimes write its name into the kernel when they start the container's process, which fails
 * then with little more than a number: so whether it is there is seen here, when the container is created. What is not there and was
 * asked for is refused: a container without the confinement that it was to have is worse than none (CVE-2023-2431). */

#include "lib/strings.h"
#include "services/containerd/launch/apparmor.h"
#include "services/containerd/launch/render.h"

static int render_refuse_unloaded(Render *render, const char *name)
{
        if (str_equal(name, APPARMOR_DEFAULT))
                return render_refuse(render, "AppArmor profile RuntimeDefault: \"" APPARMOR_DEFAULT "\" is not loaded on this node; load it there "
                                             "with apparmor_parser -r /etc/apparmor.d/" APPARMOR_DEFAULT " (docs/OPERATIONS.md), or choose Unconfined");
        return render_refuse(render, "AppArmor profile \"%.300s\" is not loaded on this node; load it there with apparmor_parser -r FILE, or "
                                     "choose another profile", name);
}

int render_apparmor(Render *render, const ProcessSpec *process, const char **ret_name)
{
        const char *name = process->apparmor_profile;
        _cleanup_free_ char *list = NULL;
        size_t n = 0;
        *ret_name = "";
        if (str_is_empty(name))
                return 0;
        if (!render->facts->has_apparmor)
                return render_refuse(render, "AppArmor profile \"%.300s\": this node has no AppArmor; remove the profile, or choose another "
                                             "node", name);
        int r = render->host->apparmor(render->host->userdata, &list, &n);
        if (r == -ENOMEM)
                return r;
        bool found = r == 0 && apparmor_list_has(list, name);
        if (found)
                *ret_name = name;
        if (found || process->apparmor_if_loaded)
                return 0;
        if (r == 0)
                return render_refuse_unloaded(render, name);
        return render_refuse(render, "AppArmor profile \"%.300s\": which profiles are loaded cannot be seen: " RENDER_APPARMOR_LIST ": %s; mount "
                                     "securityfs on /sys/kernel/security, or remove the profile", name, strerror(-r));
}
