/* SPDX-License-Identifier: Apache-2.0 */

/* Real pipes, a real file, and a pump process that is killed at random moments: no line may be lost or doubled. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/fd.h"
#include "lib/strings.h"
#include "lib/test.h"
#include "services/logd/log-journal.h"

#define KILLS 300

static uint8_t scratch[LOG_OUTPUT_BYTES];

static int make_memfd(void)
{
        int fd = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_true(fd >= 0);
        assert_eq_int(ftruncate(fd, LOG_RECORD_BYTES), 0);
        return fd;
}

static int make_file(char path[64])
{
        strcpy(path, "/tmp/test-log-journal-XXXXXX");
        int fd = mkostemp(path, O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static size_t read_all(const char *path, char **ret)
{
        size_t n = 0;
        assert_eq_int(fd_read_file(AT_FDCWD, path, 512 * 1024 * 1024, ret, &n), 0);
        return n;
}

static void test_lines_and_pieces(void)
{
        char path[64];
        int memfd = make_memfd(), file = make_file(path), pipe_fd[2];
        assert_eq_int(pipe2(pipe_fd, O_CLOEXEC), 0);
        _cleanup_(log_journal_done) LogJournal journal = LOG_JOURNAL_NULL;
        assert_eq_int(log_journal_open(&journal, memfd, file, scratch), 0);

        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), LOG_JOURNAL_E_IDLE);
        assert_eq_int(write(pipe_fd[1], "one\ntw", 6), 6);
        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), 0);
        assert_eq_int(write(pipe_fd[1], "o\n\n", 3), 3);
        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), 0);
        char big[20001];
        memset(big, 'x', sizeof(big));
        big[20000] = '\n';
        assert_eq_int(write(pipe_fd[1], big, sizeof(big)), sizeof(big));
        while (log_journal_pump(&journal, 0, pipe_fd[0]) == 0)
                ;
        assert_eq_int(write(pipe_fd[1], "rest", 4), 4);
        close(pipe_fd[1]);
        int r;
        while ((r = log_journal_pump(&journal, 0, pipe_fd[0])) == 0)
                ;
        assert_eq_int(r, LOG_JOURNAL_E_END);
        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), LOG_JOURNAL_E_END);

        _cleanup_free_ char *text = NULL;
        (void)read_all(path, &text);
        static const struct {
                const char *tag;
                size_t n;
        } expected[] = {{"F one", 5}, {"F two", 5}, {"F ", 2}, {"P x", 2 + 16384}, {"F x", 2 + 20000 - 16384}, {"P rest", 6}};
        const char *line = text;
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
                const char *end = strchr(line, '\n');
                assert_true(end != NULL);
                const char *stream = strstr(line, "Z stdout ");
                assert_true(stream && stream - line == 29);
                assert_true(str_has_prefix(stream + 9, expected[i].tag));
                assert_eq_int(end - (stream + 9), expected[i].n);
                line = end + 1;
        }
        assert_eq_int(*line, '\0');
        close(pipe_fd[0]);
        close(memfd);
        unlink(path);
}

static void test_rotation_and_truncation(void)
{
        char path[64], second[64];
        int memfd = make_memfd(), file = make_file(path), pipe_fd[2];
        assert_eq_int(pipe2(pipe_fd, O_CLOEXEC), 0);
        _cleanup_(log_journal_done) LogJournal journal = LOG_JOURNAL_NULL;
        assert_eq_int(log_journal_open(&journal, memfd, file, scratch), 0);
        assert_eq_int(write(pipe_fd[1], "a\n", 2), 2);
        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), 0);
        assert_eq_int(log_journal_reopen(&journal, make_file(second)), 0);
        assert_eq_int(write(pipe_fd[1], "b\n", 2), 2);
        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), 0);
        _cleanup_free_ char *first_text = NULL, *second_text = NULL;
        (void)read_all(path, &first_text);
        (void)read_all(second, &second_text);
        assert_true(strstr(first_text, " F a\n") && !strstr(first_text, " F b\n"));
        assert_true(strstr(second_text, " F b\n") && !strstr(second_text, " F a\n"));

        assert_eq_int(truncate(second, 0), 0);
        assert_eq_int(write(pipe_fd[1], "c\n", 2), 2);
        assert_eq_int(log_journal_pump(&journal, 0, pipe_fd[0]), 0);
        _cleanup_free_ char *third_text = NULL;
        size_t n = read_all(second, &third_text);
        assert_eq_int(n, strlen(third_text)); /* no hole of zeros before the line */
        close(pipe_fd[0]);
        close(pipe_fd[1]);
        close(memfd);
        unlink(path);
        unlink(second);
}

static void test_damaged_record(void)
{
        char path[64];
        int memfd = make_memfd();
        LogRecord bad = {.magic = LOG_RECORD_MAGIC};
        bad.slots[0].carry[1] = (LogCarry){.start = LOG_RECORD_REGION_BYTES - 1, .length = 2};
        assert_eq_int(pwrite(memfd, &bad, sizeof(bad), 0), sizeof(bad));
        _cleanup_(log_journal_done) LogJournal journal = LOG_JOURNAL_NULL;
        assert_eq_int(log_journal_open(&journal, memfd, make_file(path), scratch), LOG_JOURNAL_E_RECORD);
        log_journal_done(&journal);
        unlink(path);
        LogRecord lying = {.magic = LOG_RECORD_MAGIC};
        lying.announcement = (LogAnnouncement){.stream = 0, .start = 8, .length = LOG_RECORD_REGION_BYTES};
        assert_eq_int(pwrite(memfd, &lying, sizeof(lying), 0), sizeof(lying));
        assert_eq_int(log_journal_open(&journal, memfd, make_file(path), scratch), LOG_JOURNAL_E_RECORD);
        close(memfd);
        unlink(path);
}

static void pump_until_killed(int memfd, const char *path, const int fds[2])
{
        LogJournal journal = LOG_JOURNAL_NULL;
        int file = open(path, O_RDWR | O_CLOEXEC);
        if (log_journal_open(&journal, memfd, file, scratch) != 0)
                _exit(2);
        bool ended[2] = {false, false};
        while (!ended[0] || !ended[1]) {
                struct pollfd poll_fds[2] = {{.fd = ended[0] ? -1 : fds[0], .events = POLLIN},
                                             {.fd = ended[1] ? -1 : fds[1], .events = POLLIN}};
                (void)poll(poll_fds, 2, -1);
                for (unsigned i = 0; i < 2; i++) {
                        if (ended[i] || !poll_fds[i].revents)
                                continue;
                        int r = log_journal_pump(&journal, i, fds[i]);
                        if (r == LOG_JOURNAL_E_END)
                                ended[i] = true;
                        else if (r != 0 && r != LOG_JOURNAL_E_IDLE)
                                _exit(3);
                }
        }
        _exit(0);
}

static pid_t start_writer(int fd, const char *stream, volatile int *stop)
{
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid > 0)
                return pid;
        unsigned seed = (unsigned)getpid();
        char line[512];
        for (unsigned n = 0; !*stop; n++) {
                int length = snprintf(line, sizeof(line), "%s %u %.*s\n", stream, n, rand_r(&seed) % 200,
                                      "................................................................................"
                                      "................................................................................"
                                      "........................................");
                /* Odd chunks, so that lines and reads do not agree. */
                for (int at = 0; at < length;) {
                        int chunk = 1 + rand_r(&seed) % length;
                        ssize_t w = write(fd, line + at, (size_t)MIN2(chunk, length - at));
                        if (w < 0)
                                _exit(1);
                        at += (int)w;
                }
        }
        int length = snprintf(line, sizeof(line), "%s end\n", stream);
        _exit(write(fd, line, (size_t)length) == length ? 0 : 1);
}

static void test_kills(void)
{
        char path[64];
        int memfd = make_memfd();
        close(make_file(path));
        int pipes[2][2];
        pid_t writers[2];
        volatile int *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (unsigned i = 0; i < 2; i++) {
                assert_eq_int(pipe2(pipes[i], O_CLOEXEC), 0);
                writers[i] = start_writer(pipes[i][1], i ? "stderr" : "stdout", stop);
        }
        close(pipes[0][1]);
        close(pipes[1][1]);
        const int fds[2] = {pipes[0][0], pipes[1][0]};
        unsigned seed = 7;
        for (unsigned k = 0; k <= KILLS; k++) {
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                        pump_until_killed(memfd, path, fds);
                if (k < KILLS) {
                        usleep(1000 + (unsigned)rand_r(&seed) % 8000);
                        assert_eq_int(kill(pid, SIGKILL), 0);
                } else {
                        *stop = 1;
                }
                int status;
                assert_eq_int(waitpid(pid, &status, 0), pid);
                if (k == KILLS)
                        assert_eq_int(status, 0);
                else
                        assert_true(WIFSIGNALED(status));
        }
        for (unsigned i = 0; i < 2; i++) {
                int status;
                assert_eq_int(waitpid(writers[i], &status, 0), writers[i]);
                assert_eq_int(status, 0);
                close(fds[i]);
        }

        _cleanup_free_ char *text = NULL;
        size_t n = read_all(path, &text);
        assert_eq_int(n, strlen(text));
        unsigned next[2] = {0, 0};
        bool end[2] = {false, false};
        char *save = NULL;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                unsigned i = strstr(line, "Z stderr F ") != NULL;
                const char *content = strstr(line, i ? "Z stderr F stderr " : "Z stdout F stdout ");
                assert_true(content != NULL);
                content += 18;
                assert_true(!end[i]);
                if (str_equal(content, "end"))
                        end[i] = true;
                else
                        assert_eq_int((unsigned)strtoul(content, NULL, 10), next[i]++);
        }
        assert_true(end[0] && end[1]);
        assert_true(next[0] > KILLS && next[1] > KILLS);
        printf("%u kills, %u + %u lines, none lost, none doubled\n", KILLS, next[0], next[1]);
        munmap((void *)stop, 4096);
        close(memfd);
        unlink(path);
}

int main(void)
{
        int fds = test_fds_count(), children = test_children_count();
        test_lines_and_pieces();
        test_rotation_and_truncation();
        test_damaged_record();
        test_kills();
        assert_eq_int(test_fds_count(), fds);
        assert_eq_int(test_children_count(), children);
        return 0;
}
