/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* gatewayd: from a gRPC call to one message on one edge, and back. Keeps no state but the calls under way. */

#include "ipc/seal.h"
#include "services/gatewayd/events.h"
#include "services/gatewayd/grpc-server.h"
#include "services/service.h"

typedef struct Gatewayd {
        Service *service;
        const ConfigGatewayd *config; /* borrowed from the service */
        GrpcServer *server;           /* owned */
        Events events;
        uint64_t containers_pause_usec; /* until then containerd is not asked for the containers of a pod: it did not answer in time */
} Gatewayd;

/* What a method may cost: how long it may take when the client names no deadline. */
typedef enum DeadlineClass {
        DEADLINE_READ,    /* answered from memory */
        DEADLINE_CHANGE,  /* works on the node */
        DEADLINE_CLIENT,  /* as long as the client waits: pulls, execs, stops with a grace period */
} DeadlineClass;

typedef struct Method Method;
/* Answers a call here; no brain is asked, or several. */
typedef int (*MethodLocal)(Gatewayd *gatewayd, GrpcCall *call);
/* Takes over a call whose brain has answered. The frame lives until it returns, unless it is kept. */
typedef int (*MethodAnswered)(Gatewayd *gatewayd, GrpcCall *call, Frame *frame);

/* One row per RPC. Without a row and a local answer it is known and UNIMPLEMENTED. */
struct Method {
        GrpcMethod grpc;
        const ProtobufCMessageDescriptor *request;
        EdgeId edge;
        const MessageRow *row;
        DeadlineClass deadline;
        uint32_t verb; /* PermitVerb: the call carries a new id and a permit; else 0 */
        MethodLocal local;
        const char *list;        /* of a Stream* method: the path of the list method that it streams */
};

/* methods.c */
const GrpcMethod *method_lookup(void *userdata, const char *path);

/* forward.c: asks the brain that the method names, and answers the call. */
int forward_call(Gatewayd *gatewayd, const Method *method, GrpcCall *call);
/* The same, and then hands it over. */
int forward_call_then(Gatewayd *gatewayd, const Method *method, GrpcCall *call, MethodAnswered answered);
/* Absolute monotonic microseconds until when a brain may take. */
uint64_t forward_deadline(const Method *method, const GrpcCall *call);

/* facts.c: what hands without a decoder check of a request, into the permit's fixed part. The id, pod_id and seal are the caller's. 0,
 * or 1 when the request cannot have a permit: ret_why. Also the id of the object that the request names, which may be a prefix. */
int facts_fill(Permit *permit, uint32_t verb, const ProtobufCMessage *request, const char **ret_object, const char **ret_why);

/* node.c */
int node_version(Gatewayd *gatewayd, GrpcCall *call);
int node_runtime_config(Gatewayd *gatewayd, GrpcCall *call);
int node_status(Gatewayd *gatewayd, GrpcCall *call);
/* Packs and answers. */
int node_reply(GrpcCall *call, const ProtobufCMessage *message);

/* metrics.c: ListPodSandboxMetrics, which sandboxd tells in pages, and StreamPodSandboxMetrics. */
int metrics_list(Gatewayd *gatewayd, GrpcCall *call);
int metrics_stream(Gatewayd *gatewayd, GrpcCall *call);

/* What a call's userdata points at: an operation here that can be cancelled. */
typedef struct Pending {
        void (*cancel)(struct Pending *pending);
        int (*writable)(struct Pending *pending); /* of one that sends a stream and was told to wait */
} Pending;

/* stream.c: a MethodLocal for Stream* methods. */
int stream_list(Gatewayd *gatewayd, GrpcCall *call);
/* Streams a packed list of objects; bytes are copied. */
int stream_bytes(GrpcCall *call, const void *bytes, size_t n);

/* pod-status.c: a MethodLocal for PodSandboxStatus. */
int pod_status_get(Gatewayd *gatewayd, GrpcCall *call);
