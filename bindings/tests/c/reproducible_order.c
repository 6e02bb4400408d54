// SPDX-License-Identifier: Apache-2.0 OR MIT
// STRAIT_REPRODUCIBLE=layout: the blocking, the nonblocking and the persistent form of a reduction
// give the same bits, on a communicator with a board and on one without, however often; so do
// functions of the program that mind the order.
// Ours only: no other library has it.
#include "check.h"
#include <math.h>

#define LENGTH 3000
// More than there are boards.
#define COMMUNICATORS 24

static double mine[LENGTH], first[LENGTH], got[LENGTH];

// Neither associative nor commutative.
static void mix(void *left, void *right, int *count, MPI_Datatype *type) {
    (void)type;
    double *l = left, *r = right;
    for (int i = 0; i < *count; i++) r[i] = l[i] * 0.75 + r[i] / 3;
}

static void is_first(int length, const char *call) {
    CHECK(memcmp(first, got, length * sizeof *got) == 0, "%s has other bits", call);
    memset(got, 0, sizeof got);
}

static void reductions(MPI_Comm *comms, int length, MPI_Op op) {
    MUST(MPI_Allreduce(mine, first, length, MPI_DOUBLE, op, comms[0]));
    for (int i = 0; i < COMMUNICATORS; i++) {
        MUST(MPI_Allreduce(mine, got, length, MPI_DOUBLE, op, comms[i]));
        is_first(length, "MPI_Allreduce");
        memcpy(got, mine, sizeof mine);
        MUST(MPI_Allreduce(MPI_IN_PLACE, got, length, MPI_DOUBLE, op, comms[i]));
        is_first(length, "MPI_Allreduce in place");
        MPI_Request request;
        MUST(MPI_Iallreduce(mine, got, length, MPI_DOUBLE, op, comms[i], &request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        is_first(length, "MPI_Iallreduce");
        MUST(MPI_Allreduce_init(mine, got, length, MPI_DOUBLE, op, comms[i], MPI_INFO_NULL,
                                &request));
        MUST(MPI_Start(&request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        MUST(MPI_Request_free(&request));
        is_first(length, "MPI_Allreduce_init");
    }
    int root = size - 1;
    MUST(MPI_Reduce(mine, first, length, MPI_DOUBLE, op, root, comms[0]));
    for (int i = 0; i < COMMUNICATORS; i++) {
        MPI_Request request;
        MUST(MPI_Reduce(mine, got, length, MPI_DOUBLE, op, root, comms[i]));
        if (rank == root) is_first(length, "MPI_Reduce");
        MUST(MPI_Ireduce(mine, got, length, MPI_DOUBLE, op, root, comms[i], &request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        if (rank == root) is_first(length, "MPI_Ireduce");
    }
}

int main(int argc, char **argv) {
    setenv("STRAIT_REPRODUCIBLE", "layout", 1);
    begin(&argc, &argv);
    double scale = rank % 2 ? 1e8 : 1e-8;
    for (int i = 0; i < LENGTH; i++) mine[i] = sin(i * 7.0 + rank * 13.0) * scale;
    MPI_Comm comms[COMMUNICATORS];
    for (int i = 0; i < COMMUNICATORS; i++) MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]));
    MPI_Op op;
    MUST(MPI_Op_create(mix, 0, &op));
    for (int length = 1; length <= LENGTH; length = length * 7 + 3) {
        reductions(comms, length, MPI_SUM);
        reductions(comms, length, MPI_PROD);
        reductions(comms, length, op);
    }
    MUST(MPI_Op_free(&op));
    for (int i = 0; i < COMMUNICATORS; i++) MUST(MPI_Comm_free(&comms[i]));
    return end();
}
