/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/edges/gatewayd-imaged.pb-c.h"
#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/strings.h"

#define PROGRESS_FIRST_MSEC 30 /* small layers are done soon */
#define PROGRESS_MSEC 500
#define PROGRESS_LAYERS_MAX 128

typedef struct ProgressLayer {
        char digest[20];
        char stage[16];
        uint64_t bytes, bytes_total;
        uint64_t first_usec, last_usec; /* when it was seen, when it was printed */
        uint64_t first_bytes;           /* what was there when it was seen */
} ProgressLayer;

static void progress_print(ProgressLayer *layer, size_t i, const char *stage, uint64_t bytes, uint64_t from_bytes, uint64_t from_usec)
{
        char done[32], total[32], rate[32];
        uint64_t now = clock_monotonic_usec();
        fprintf(stderr, "  layer %zu %s  %-11s %s of %s", i + 1, layer->digest, stage, table_bytes(done, bytes),
                table_bytes(total, layer->bytes_total));
        if (bytes > from_bytes && now > from_usec)
                fprintf(stderr, "  %s/s", table_bytes(rate, (bytes - from_bytes) * USEC_PER_SEC / (now - from_usec)));
        fputc('\n', stderr);
        layer->last_usec = now;
}

static void progress_take(ProgressLayer *layer, size_t i, const Bulkhead__GatewaydImaged__LayerProgress *said)
{
        bool is_new = layer->first_usec == 0;
        if (is_new) {
                layer->first_usec = layer->last_usec = clock_monotonic_usec();
                layer->first_bytes = said->bytes_done;
                (void)snprintf(layer->digest, sizeof(layer->digest), "%.19s", said->digest);
        }
        if (!is_new && layer->bytes == said->bytes_done && str_equal(layer->stage, said->stage))
                return;
        layer->bytes_total = said->bytes_total;
        progress_print(layer, i, said->stage, said->bytes_done, is_new ? said->bytes_done : layer->bytes, layer->last_usec);
        layer->bytes = said->bytes_done;
        (void)snprintf(layer->stage, sizeof(layer->stage), "%s", said->stage);
}

static bool progress_ask(Cli *cli, const char *image, ProgressLayer *layers)
{
        Bulkhead__GatewaydImaged__PullProgressRequest request = BULKHEAD__GATEWAYD_IMAGED__PULL_PROGRESS_REQUEST__INIT;
        ProtobufCMessage *message;
        request.image = (char *)image;
        decode_arena_init(&cli->arena, 1024 * 1024);
        bool answered = cli_call(cli, "/bulkhead.v1.Admin/PullProgress", &request.base,
                                 &bulkhead__gatewayd_imaged__pull_progress_response__descriptor, CLI_TIMEOUT, &message);
        if (answered) {
                const Bulkhead__GatewaydImaged__PullProgressResponse *progress =
                        container_of(message, Bulkhead__GatewaydImaged__PullProgressResponse, base);
                for (size_t i = 0; i < progress->n_layers && i < PROGRESS_LAYERS_MAX; i++)
                        progress_take(&layers[i], i, progress->layers[i]);
        }
        decode_arena_done(&cli->arena);
        return answered;
}

/* Until something comes out of end_fd, or nobody holds its other end any more. */
static void progress_watch(const char *socket, const char *image, int end_fd)
{
        Cli cli = {.socket = socket};
        ProgressLayer layers[PROGRESS_LAYERS_MAX] = {0};
        struct pollfd end = {.fd = end_fd, .events = POLLIN};
        char pulled = 0;
        for (int wait_msec = PROGRESS_FIRST_MSEC; poll(&end, 1, wait_msec) == 0; wait_msec = MIN2(2 * wait_msec, PROGRESS_MSEC))
                if (!progress_ask(&cli, image, layers))
                        return;
        /* imaged forgets a pull that has ended: what was last seen of it is completed here. */
        if (read(end_fd, &pulled, 1) != 1 || !pulled)
                return;
        for (size_t i = 0; i < PROGRESS_LAYERS_MAX && layers[i].first_usec; i++)
                if (!str_equal(layers[i].stage, "done") && !str_equal(layers[i].stage, "present"))
                        progress_print(&layers[i], i, "done", layers[i].bytes_total, layers[i].first_bytes, layers[i].first_usec);
}

void progress_start(Progress *progress, const Cli *cli, const char *image)
{
        int ends[2];
        *progress = (Progress)PROGRESS_NULL;
        (void)fflush(NULL);
        if (pipe2(ends, O_CLOEXEC) < 0)
                return;
        pid_t pid = fork();
        if (pid == 0) {
                (void)close(ends[1]);
                progress_watch(cli->socket, image, ends[0]);
                _exit(0);
        }
        (void)close(ends[0]);
        if (pid < 0) {
                (void)close(ends[1]);
                return;
        }
        progress->pid = pid;
        progress->end_fd = ends[1];
}

void progress_end(Progress *progress, bool pulled)
{
        if (progress->pid <= 0)
                return;
        (void)!write(progress->end_fd, &(char){pulled}, 1);
        progress->end_fd = fd_close(progress->end_fd);
        (void)waitpid(progress->pid, NULL, 0);
        progress->pid = 0;
}
