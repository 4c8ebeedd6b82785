/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

#include "services/containerd/launch/seccomp.h"

#include <linux/capability.h>

#if defined(__x86_64__)
/* Not x32: hardly a kernel has it, and every architecture costs each create some milliseconds in libseccomp. */
const char *const seccomp_architectures[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", NULL};
const char seccomp_architecture_go[] = "amd64";
#elif defined(__aarch64__)
const char *const seccomp_architectures[] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", NULL};
const char seccomp_architecture_go[] = "arm64";
#else
#error "name this architecture's seccomp constants"
#endif

/* CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
#define SECCOMP_CLONE_NAMESPACES 0x7e020000

typedef struct SeccompConditional {
        unsigned capability;
        const char *name;
} SeccompConditional;

static const char *const seccomp_always[] = {
#define A(name) #name,
#define C(capability, name)
#include "services/containerd/launch/seccomp-default.table"
#undef A
#undef C
};

static const SeccompConditional seccomp_conditional[] = {
#define A(name)
#define C(capability, name) {capability, #name},
#include "services/containerd/launch/seccomp-default.table"
#undef A
#undef C
};

/* Compared as the 32 bits that the kernel takes them for: a comparison of all 64 would let a domain with a stray upper half
 * pass. Together: every family but AF_ALG (38) and AF_VSOCK (40). */
static const struct {
        uint32_t mask, value;
} seccomp_socket_families[] = {
        {0xffffffe0, 0},  /* 0 to 31 */
        {0xfffffffc, 32}, /* to 35 */
        {0xfffffffe, 36}, /* and 37 */
        {0xffffffff, 39},
        {0xffffffff, 41},
        {0xfffffffe, 42}, /* and 43 */
        {0xfffffffc, 44}, /* to 47 */
};

/* Linux, with ADDR_NO_RANDOMIZE, with UNAME26, with both, and the question what it is. */
static const uint32_t seccomp_personalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};

static bool seccomp_has(const SeccompContext *context, unsigned capability)
{
        return context->capabilities & (UINT64_C(1) << capability);
}

static int seccomp_append_argument(json_t *rules, const char *name, uint64_t value, uint64_t value_two, const char *op)
{
        return json_array_append_new(rules, json_pack("{s:[s],s:s,s:[{s:i,s:I,s:I,s:s}]}", "names", name, "action",
                                                      "SCMP_ACT_ALLOW", "args", "index", 0, "value", (json_int_t)value,
                                                      "valueTwo", (json_int_t)value_two, "op", op));
}

static int seccomp_append_special(json_t *rules, const SeccompContext *context)
{
        int r = 0;
        for (size_t i = 0; i < ARRAY_SIZE(seccomp_socket_families) && r == 0; i++)
                r = seccomp_append_argument(rules, "socket", seccomp_socket_families[i].mask,
                                            seccomp_socket_families[i].value, "SCMP_CMP_MASKED_EQ");
        for (size_t i = 0; i < ARRAY_SIZE(seccomp_personalities) && r == 0; i++)
                r = seccomp_append_argument(rules, "personality", seccomp_personalities[i], 0, "SCMP_CMP_EQ");
        if (r || seccomp_has(context, CAP_SYS_ADMIN))
                return r;
        /* Processes and threads, but no namespaces; clone3 has its flags behind a pointer, and libc falls back on ENOSYS. */
        r = seccomp_append_argument(rules, "clone", SECCOMP_CLONE_NAMESPACES, 0, "SCMP_CMP_MASKED_EQ");
        if (r == 0)
                r = json_array_append_new(rules, json_pack("{s:[s],s:s,s:i}", "names", "clone3", "action", "SCMP_ACT_ERRNO",
                                                           "errnoRet", ENOSYS));
        return r;
}

json_t *seccomp_default(const SeccompContext *context)
{
        json_t *names = json_array(), *architectures = json_array();
        int r = names && architectures ? 0 : -1;
        for (size_t i = 0; i < ARRAY_SIZE(seccomp_always) && r == 0; i++)
                r = json_array_append_new(names, json_string(seccomp_always[i]));
        for (size_t i = 0; i < ARRAY_SIZE(seccomp_conditional) && r == 0; i++)
                if (seccomp_has(context, seccomp_conditional[i].capability))
                        r = json_array_append_new(names, json_string(seccomp_conditional[i].name));
        for (size_t i = 0; seccomp_architectures[i] && r == 0; i++)
                r = json_array_append_new(architectures, json_string(seccomp_architectures[i]));
        json_t *rules = json_pack("[{s:o,s:s}]", "names", names, "action", "SCMP_ACT_ALLOW");
        if (r == 0 && rules)
                r = seccomp_append_special(rules, context);
        json_t *profile = json_pack("{s:s,s:i,s:o,s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", EPERM,
                                    "architectures", architectures, "syscalls", rules);
        if (r != 0 || !profile) {
                json_decref(profile);
                return NULL;
        }
        return profile;
}
