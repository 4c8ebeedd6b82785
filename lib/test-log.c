/* SPDX-License-Identifier: Apache-2.0 */

#include "lib/log.h"
#include "lib/test.h"

#include <fcntl.h>

/* Standard error as it was, while the log writes into a pipe. */
typedef struct Capture {
        int saved_fd;
        int read_fd;
        char text[16384];
} Capture;

static void capture_begin(Capture *c)
{
        int p[2];

        assert_ok(pipe2(p, O_CLOEXEC | O_NONBLOCK));
        c->saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        assert_eq_int(dup2(p[1], STDERR_FILENO), STDERR_FILENO);
        (void)close(p[1]);
        c->read_fd = p[0];
}

static void capture_end(Capture *c)
{
        ssize_t n = read(c->read_fd, c->text, sizeof(c->text) - 1);

        c->text[n > 0 ? n : 0] = 0;
        assert_eq_int(dup2(c->saved_fd, STDERR_FILENO), STDERR_FILENO);
        (void)close(c->saved_fd);
        (void)close(c->read_fd);
}

static void log_writes_one_line(void)
{
        Capture c;

        log_init("tester", LOG_LEVEL_INFO);
        capture_begin(&c);
        errno = ENOSPC;
        log_warning("pod %s: %d", "a", 7);
        assert_eq_int(errno, ENOSPC);
        capture_end(&c);
        assert_true(strstr(c.text, " tester["));
        assert_true(strstr(c.text, "] warning: pod a: 7\n"));
        assert_true(strchr(c.text, '\n') == c.text + strlen(c.text) - 1);
}

static void log_keeps_its_level(void)
{
        Capture c;

        log_init("tester", LOG_LEVEL_WARNING);
        capture_begin(&c);
        log_info("hidden");
        log_set_level(LOG_LEVEL_DEBUG);
        log_debug("shown");
        capture_end(&c);
        assert_false(strstr(c.text, "hidden"));
        assert_true(strstr(c.text, "debug: shown\n"));
}

/* What a peer sent is quoted: it cannot forge a line or reach the terminal. */
static void log_quotes_control_characters(void)
{
        Capture c;

        log_init("tester", LOG_LEVEL_INFO);
        capture_begin(&c);
        log_info("a\nb\x1b[31m\x7f");
        capture_end(&c);
        assert_true(strstr(c.text, "info: a?b?[31m?\n"));
}

static void log_cuts_long_lines(void)
{
        char text[8192];
        Capture c;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        log_init("tester", LOG_LEVEL_INFO);
        capture_begin(&c);
        log_info("%s", text);
        capture_end(&c);
        assert_true(strlen(c.text) <= 4096);
        assert_true(strlen(c.text) > 4000);
        assert_eq_int(c.text[strlen(c.text) - 1], '\n');
}

static void log_speaks_to_the_journal(void)
{
        Capture c;

        assert_ok(setenv("JOURNAL_STREAM", "8:1", 1));
        log_init("tester", LOG_LEVEL_INFO);
        assert_ok(unsetenv("JOURNAL_STREAM"));
        capture_begin(&c);
        log_error("bad");
        capture_end(&c);
        assert_eq_str(c.text, "<3>bad\n");
}

int main(void)
{
        TEST_RUN(log_writes_one_line);
        TEST_RUN(log_keeps_its_level);
        TEST_RUN(log_quotes_control_characters);
        TEST_RUN(log_cuts_long_lines);
        TEST_RUN(log_speaks_to_the_journal);
        return 0;
}
