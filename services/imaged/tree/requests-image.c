/* SPDX-License-Identifier: Apache-2.0 */

/* What a container needs of an image's tree: a writable layer with its volumes, and who a user is. */

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/tree/copy.h"
#include "services/imaged/tree/tree.h"
#include "services/imaged/tree/users.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define REQUESTS_USER_TIMEOUT (20 * USEC_PER_SEC)
#define REQUESTS_SEED_TIMEOUT (100 * USEC_PER_SEC) /* less than imaged waits */

/* ---- user ------------------------------------------------------------------------------------------------------------------ */

static int requests_user_in_jail(void *argument, Report *report)
{
        const TreeUser *user = argument;
        _cleanup_fd_ int image_fd = open("/image", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_free_ char *passwd = NULL, *group = NULL;
        size_t n_passwd, n_group;
        int r;

        if (image_fd < 0)
                return report_errno(report, errno, "opening", "/image");
        r = users_read(image_fd, "etc/passwd", &passwd, &n_passwd, report);
        if (r == 0)
                r = users_read(image_fd, "etc/group", &group, &n_group, report);
        if (r == 0)
                r = users_find(passwd, n_passwd, group, n_group, user, report);
        return r;
}

/* Asked: layers by digest, names or numbers. The files are opened and read in a jail, over the layers read-only. At worst: a
 * hostile passwd file says who a user of its own image is, which is its right. */
int on_tree_user(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeUser *user = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        bool missing;
        Report report;
        int r;

        if (!tree_text_is_valid(user->user, sizeof(user->user)) || !tree_text_is_valid(user->group, sizeof(user->group)))
                return tree_refuse(edge_fd, request, "a name in it has no end");
        if (user->n_layers == 0) {
                /* An image without layers has no files. */
                TreeUserFound found = {.uid = user->uid, .gid = user->gid == UINT32_MAX ? 0 : user->gid};
                if (*user->user || *user->group || user->uid == UINT32_MAX)
                        r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT, "the image has no layers, so no user \"%s\"",
                                      *user->user ? user->user : user->group);
                else
                        r = hand_reply(edge_fd, request, &found, NULL, 0);
                return r ? fold(r) : 0;
        }
        r = trees_open(&trees, hand_config(tree->hand));
        if (r)
                return tree_fail_errno(edge_fd, request, "looking up", "a user", r);
        r = tree_check_layers(&trees, edge_fd, request, user->layers, user->n_layers, &missing);
        if (r || missing)
                return r ? fold(r) : 0;
        const JailSpec spec = {
                .config = hand_config(tree->hand),
                .tree_fd = -1,
                .layers = user->layers,
                .n_layers = user->n_layers,
                .keep_fd = -1,
                .run = requests_user_in_jail,
                .argument = (void *)(uintptr_t)user,
        };
        r = jail_run(&spec, REQUESTS_USER_TIMEOUT, &report);
        if (r)
                return tree_fail_errno(edge_fd, request, "looking up", "a user", r);
        if (report.code)
                return tree_fail_report(edge_fd, request, "looking up", "the user", &report);
        r = hand_reply(edge_fd, request, &report.user, NULL, 0);
        return r ? fold(r) : 0;
}

/* ---- writable -------------------------------------------------------------------------------------------------------------- */

static int requests_seed_in_jail(void *argument, Report *report)
{
        const TreeWritable *writable = argument;
        _cleanup_fd_ int image_fd = open("/image", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CopySpec copy = {.owner_id = writable->owner_id};

        if (image_fd < 0)
                return report_errno(report, errno, "opening", "/image");
        for (uint32_t i = 0; i < writable->n_volumes; i++) {
                _cleanup_fd_ int to_fd = -1;
                char path[32];
                int r;

                (void)snprintf(path, sizeof(path), "/tree/%u", i);
                to_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (to_fd < 0)
                        return report_errno(report, errno, "opening the volume", path);
                r = copy_volume(image_fd, writable->volumes[i], to_fd, &copy, report);
                if (r)
                        return r;
        }
        return 0;
}

static int requests_make_directory(int dir_fd, const char *name, mode_t mode, uint32_t owner)
{
        _cleanup_fd_ int fd = -1;

        if (mkdirat(dir_fd, name, 0700) < 0)
                return error_origin(negative_errno());
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fchown(fd, owner, owner) < 0 || fchmod(fd, mode) < 0)
                return error_origin(negative_errno());
        return 0;
}

static int requests_make_writable(const TreeWritable *writable, int stage_fd, int *ret_volumes_fd)
{
        _cleanup_fd_ int volumes_fd = -1;
        int r;

        r = requests_make_directory(stage_fd, "upper", 0755, writable->owner_id);
        if (r == 0)
                r = requests_make_directory(stage_fd, "work", 0700, writable->owner_id);
        if (r == 0)
                r = requests_make_directory(stage_fd, "volumes", 0711, 0);
        if (r)
                return fold(r);
        volumes_fd = openat(stage_fd, "volumes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (volumes_fd < 0)
                return error_origin(negative_errno());
        for (uint32_t i = 0; i < writable->n_volumes; i++) {
                char name[16];

                (void)snprintf(name, sizeof(name), "%u", i);
                r = requests_make_directory(volumes_fd, name, 0755, writable->owner_id);
                if (r)
                        return fold(r);
        }
        *ret_volumes_fd = TAKE_FD(volumes_fd);
        return 0;
}

/* Sets *ret_failed when it has answered. */
static int requests_seed(const Tree *tree, int volumes_fd, int edge_fd, const HandRequest *request, bool *ret_failed)
{
        const TreeWritable *writable = tree_body(request);
        const JailSpec spec = {
                .config = hand_config(tree->hand),
                .tree_fd = volumes_fd,
                .layers = writable->layers,
                .n_layers = writable->n_layers,
                .keep_fd = -1,
                .run = requests_seed_in_jail,
                .argument = (void *)(uintptr_t)writable,
        };
        Report report;
        int r;

        r = jail_run(&spec, REQUESTS_SEED_TIMEOUT, &report);
        *ret_failed = r || report.code;
        if (r)
                return tree_fail_errno(edge_fd, request, "filling the volumes of container", writable->container, r);
        if (report.code)
                return tree_fail_report(edge_fd, request, "filling the volumes of container", writable->container, &report);
        return 0;
}

static int requests_stage_writable(const Tree *tree, const Trees *trees, TreesStage *stage, int edge_fd, const HandRequest *request)
{
        const TreeWritable *writable = tree_body(request);
        _cleanup_fd_ int volumes_fd = -1;
        bool failed = false;
        int r;

        r = requests_make_writable(writable, stage->fd, &volumes_fd);
        if (r)
                return tree_fail_errno(edge_fd, request, "making the writable layer of container", writable->container, r);
        if (writable->n_volumes > 0 && writable->n_layers > 0) {
                r = requests_seed(tree, volumes_fd, edge_fd, request, &failed);
                if (r || failed)
                        return r ? fold(r) : 0;
        }
        r = trees_commit(trees, stage, writable->container);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "making the writable layer of container", writable->container, r);
        r = hand_reply(edge_fd, request, NULL, NULL, 0);
        return r ? fold(r) : 0;
}

static const char *requests_writable_problem(const TreeWritable *writable)
{
        if (!tree_text_is_valid(writable->container, sizeof(writable->container)) || !id_is_valid(writable->container))
                return "it names no container";
        if (writable->n_volumes > CONFIG_VOLUMES_MAX)
                return "it has more volumes than are supported";
        for (uint32_t i = 0; i < writable->n_volumes; i++)
                if (!tree_text_is_valid(writable->volumes[i], sizeof(writable->volumes[i])))
                        return "a volume path in it has no end";
        return NULL;
}

/* Asked: an id, an owner, layers and paths within the image. Rechecked: the id's grammar. The paths are resolved in a jail that has
 * the image and the new volumes and nothing else. At worst: a directory of a container that does not exist, of any owner,
 * below a root-only directory. */
int on_tree_writable(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeWritable *writable = tree_body(request);
        const char *problem = requests_writable_problem(writable);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        TreesStage stage = TREES_STAGE_NULL;
        _cleanup_fd_ int existing_fd = -1;
        bool missing;
        int r;

        if (problem)
                return tree_refuse(edge_fd, request, problem);
        r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = trees_find(&trees, TREE_KIND_WRITABLE, writable->container, &existing_fd);
        if (r == 0) {
                r = hand_reply(edge_fd, request, NULL, NULL, 0);
                return r ? fold(r) : 0;
        }
        if (r == TREES_E_NOT_FOUND && writable->n_volumes > 0) {
                r = tree_check_layers(&trees, edge_fd, request, writable->layers, writable->n_layers, &missing);
                if (r || missing)
                        return r ? fold(r) : 0;
        }
        if (r >= 0)
                r = trees_stage(&trees, TREE_KIND_WRITABLE, writable->container, 0700, &stage);
        if (r)
                return tree_fail_errno(edge_fd, request, "staging the writable layer of container", writable->container, r);
        r = requests_stage_writable(tree, &trees, &stage, edge_fd, request);
        tree_discard(&trees, &stage);
        return r ? fold(r) : 0;
}
