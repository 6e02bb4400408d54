// SPDX-License-Identifier: Apache-2.0 OR MIT
// What every test program shares: checks that say where they failed, bytes that can be recomputed.
// A program is silent unless something is wrong; at its end rank 0 prints "ok".
#ifndef CHECK_H
#define CHECK_H

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank = -1, size = 0;

// Where a longer program stands, for a check that fails: " in round 7, message 12".
static _Thread_local char standing[96] __attribute__((unused));

// Says what did not hold, and ends the job.
#define CHECK(condition, ...)                                                             \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: rank %d%s: %s does not hold: ", __FILE__, __LINE__,   \
                    rank, standing, #condition);                                          \
            fprintf(stderr, __VA_ARGS__);                                                 \
            fputc('\n', stderr);                                                          \
            MPI_Abort(MPI_COMM_WORLD, 99);                                                \
            exit(99);                                                                     \
        }                                                                                 \
    } while (0)

#define EQUAL(got, wanted)                                                                \
    CHECK((long long)(got) == (long long)(wanted), "%s is %lld, expected %lld", #got,     \
          (long long)(got), (long long)(wanted))

// A call that must succeed.
#define MUST(call) EQUAL(call, MPI_SUCCESS)

static inline void begin(int *argc, char ***argv) {
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
}

// Ranks of this host. All must ask.
static inline int ranks_here(void) {
    MPI_Comm here;
    int count = 0;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &count);
    MPI_Comm_free(&here);
    return count;
}

// Whether all ranks share this host. All must ask.
static inline int one_host(void) { return ranks_here() == size; }

// Whether some messages leave this host, or go by a network as if they did. All must ask.
static inline int over_network(void) {
    const char *lanes = getenv("STRAIT_LANES");
    if (!one_host()) return 1;
    return lanes && (strstr(lanes, "tcp") || strstr(lanes, "ofi") || strstr(lanes, "ucx"));
}

static inline int end(void) {
    MPI_Barrier(MPI_COMM_WORLD);
    int first = rank == 0;
    MPI_Finalize();
    if (first) puts("ok");
    return 0;
}

// The byte at a place of the message that this seed names.
static inline unsigned char byte_of(unsigned seed, size_t at) {
    uint64_t x = (uint64_t)seed * 0x9e3779b97f4a7c15u + at * 0xbf58476d1ce4e5b9u;
    return (unsigned char)((x ^ (x >> 29)) >> 21);
}

static inline void fill(void *buffer, size_t bytes, unsigned seed) {
    unsigned char *to = buffer;
    for (size_t i = 0; i < bytes; i++) to[i] = byte_of(seed, i);
}

// Answers the first wrong place, or -1.
static inline long long differs(const void *buffer, size_t bytes, unsigned seed) {
    const unsigned char *from = buffer;
    for (size_t i = 0; i < bytes; i++)
        if (from[i] != byte_of(seed, i)) return (long long)i;
    return -1;
}

static inline int class_of(int code) {
    int class = -1;
    MPI_Error_class(code, &class);
    return class;
}

#endif
