/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the spec*.c files share. Each part fills its fields of the spec. 0 or FAILURE_E_SET. */

#include "services/containerd/arena.h"
#include "services/containerd/spec.h"

typedef struct SpecBuild {
        const SpecInput *input;
        DecodeArena *arena;
        RuntimeSpec *spec;
        Failure *failure;
} SpecBuild;

/* Never NULL: an empty message where the request has none. */
const Runtime__V1__LinuxContainerSecurityContext *spec_context(const SpecInput *input);
const Runtime__V1__LinuxContainerResources *spec_resources(const SpecInput *input);
const Runtime__V1__NamespaceOption *spec_namespace_options(const SpecInput *input);

/* The user namespace of the request's pod, NULL if it names none. */
const Runtime__V1__UserNamespace *spec_userns(const SpecInput *input);

int spec_refuse(const SpecInput *input, Failure *failure, const char *format, ...) _printf_(3, 4); /* INVALID_ARGUMENT */
int spec_refuse_memory(SpecBuild *build);

int spec_build_process(SpecBuild *build);      /* spec-process.c: args, env, cwd, terminal, oom */
int spec_build_user(SpecBuild *build);         /* spec-user.c */
int spec_check_mounts(const SpecInput *input, Failure *failure); /* spec-mounts.c */
int spec_build_mounts(SpecBuild *build);
int spec_check_security(const SpecInput *input, Failure *failure); /* spec-security.c */
int spec_build_security(SpecBuild *build);     /* capabilities, seccomp, AppArmor, masks, devices */
int spec_check_resources(const SpecInput *input, Failure *failure); /* spec-resources.c */
int spec_build_resources(SpecBuild *build);
