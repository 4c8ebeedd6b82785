/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/stop-signal.h"

#include "lib/strings.h"
#include <signal.h>
#include <strings.h>

/* The kernel's and glibc's lowest and highest for programs: glibc keeps two for itself. */
#define STOP_SIGNAL_RTMIN 34
#define STOP_SIGNAL_RTMAX 64

#define CRI(name) RUNTIME__V1__SIGNAL__SIGNAL_##name

/* The CRI's name of a number first: several names mean one. */
static const struct {
        Runtime__V1__Signal cri;
        int number;
        const char *name;
} stop_signals[] = {
        {CRI(SIGABRT), SIGABRT, "ABRT"},     {CRI(SIGALRM), SIGALRM, "ALRM"},     {CRI(SIGBUS), SIGBUS, "BUS"},
        {CRI(SIGCHLD), SIGCHLD, "CHLD"},     {CRI(SIGCLD), SIGCHLD, "CLD"},       {CRI(SIGCONT), SIGCONT, "CONT"},
        {CRI(SIGFPE), SIGFPE, "FPE"},        {CRI(SIGHUP), SIGHUP, "HUP"},        {CRI(SIGILL), SIGILL, "ILL"},
        {CRI(SIGINT), SIGINT, "INT"},        {CRI(SIGIO), SIGIO, "IO"},           {CRI(SIGIOT), SIGABRT, "IOT"},
        {CRI(SIGKILL), SIGKILL, "KILL"},     {CRI(SIGPIPE), SIGPIPE, "PIPE"},     {CRI(SIGPOLL), SIGIO, "POLL"},
        {CRI(SIGPROF), SIGPROF, "PROF"},     {CRI(SIGPWR), SIGPWR, "PWR"},        {CRI(SIGQUIT), SIGQUIT, "QUIT"},
        {CRI(SIGSEGV), SIGSEGV, "SEGV"},     {CRI(SIGSTKFLT), SIGSTKFLT, "STKFLT"}, {CRI(SIGSTOP), SIGSTOP, "STOP"},
        {CRI(SIGSYS), SIGSYS, "SYS"},        {CRI(SIGTERM), SIGTERM, "TERM"},     {CRI(SIGTRAP), SIGTRAP, "TRAP"},
        {CRI(SIGTSTP), SIGTSTP, "TSTP"},     {CRI(SIGTTIN), SIGTTIN, "TTIN"},     {CRI(SIGTTOU), SIGTTOU, "TTOU"},
        {CRI(SIGURG), SIGURG, "URG"},        {CRI(SIGUSR1), SIGUSR1, "USR1"},     {CRI(SIGUSR2), SIGUSR2, "USR2"},
        {CRI(SIGVTALRM), SIGVTALRM, "VTALRM"}, {CRI(SIGWINCH), SIGWINCH, "WINCH"}, {CRI(SIGXCPU), SIGXCPU, "XCPU"},
        {CRI(SIGXFSZ), SIGXFSZ, "XFSZ"},
};

/* RTMIN to RTMIN+15, then RTMAX-14 to RTMAX: one run of numbers on both sides. */
#define STOP_SIGNAL_CRI_RTMIN ((int)CRI(SIGRTMIN))
#define STOP_SIGNAL_CRI_RTMAX ((int)CRI(SIGRTMAX))
_Static_assert(STOP_SIGNAL_CRI_RTMAX - STOP_SIGNAL_CRI_RTMIN == STOP_SIGNAL_RTMAX - STOP_SIGNAL_RTMIN,
               "the CRI numbers all real-time signals");

int stop_signal_of_cri(Runtime__V1__Signal signal)
{
        if ((int)signal >= STOP_SIGNAL_CRI_RTMIN && (int)signal <= STOP_SIGNAL_CRI_RTMAX)
                return (int)signal - STOP_SIGNAL_CRI_RTMIN + STOP_SIGNAL_RTMIN;
        for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
                if (stop_signals[i].cri == signal)
                        return stop_signals[i].number;
        return 0;
}

Runtime__V1__Signal stop_signal_to_cri(int signal)
{
        if (signal >= STOP_SIGNAL_RTMIN && signal <= STOP_SIGNAL_RTMAX)
                return (Runtime__V1__Signal)(signal - STOP_SIGNAL_RTMIN + STOP_SIGNAL_CRI_RTMIN);
        for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
                if (stop_signals[i].number == signal)
                        return stop_signals[i].cri;
        return CRI(RUNTIME_DEFAULT);
}

static int stop_signal_of_realtime(const char *name)
{
        uint64_t offset = 0, range = STOP_SIGNAL_RTMAX - STOP_SIGNAL_RTMIN;

        if (strncasecmp(name, "RTMIN", 5) == 0 && (!name[5] || (name[5] == '+' && u64_parse(name + 6, range, &offset))))
                return STOP_SIGNAL_RTMIN + (int)offset;
        if (strncasecmp(name, "RTMAX", 5) == 0 && (!name[5] || (name[5] == '-' && u64_parse(name + 6, range, &offset))))
                return STOP_SIGNAL_RTMAX - (int)offset;
        return 0;
}

int stop_signal_of_text(const char *text)
{
        uint64_t number;

        if (u64_parse(text, STOP_SIGNAL_RTMAX, &number))
                return (int)number;
        if (strncasecmp(text, "SIG", 3) == 0)
                text += 3;
        for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
                if (strcasecmp(stop_signals[i].name, text) == 0)
                        return stop_signals[i].number;
        return stop_signal_of_realtime(text);
}
