// SPDX-License-Identifier: Apache-2.0 OR MIT
// Ours only: collective calls of one host that do not match are errors that name both calls. (Over
// TCP nobody compares; there the program only ends.)
// ranks: 2 3 4 7
#include "check.h"

static MPI_Comm fresh(void) {
    MPI_Comm comm;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    MUST(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    return comm;
}

static void says(int code, int class, const char *first, const char *second) {
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    EQUAL(class_of(code), class);
    MUST(MPI_Error_string(code, text, &length));
    CHECK(strstr(text, first) && strstr(text, second), "it says %s", text);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    if (over_network()) return end();
    int in[4] = {1, 2, 3, 4}, out[4] = {0};

    // Sizes: who reads the root's publication sees it. Later calls are not touched.
    MPI_Comm comm = fresh();
    int code = MPI_Bcast(in, rank == 0 ? 2 : 4, MPI_INT, 0, comm);
    if (rank == 0) MUST(code);
    else says(code, MPI_ERR_TRUNCATE, "bcast of 16 bytes", "rank 0 bcast of 8 bytes");
    MUST(MPI_Allreduce(&rank, out, 1, MPI_INT, MPI_SUM, comm));
    EQUAL(out[0], size * (size - 1) / 2);
    MUST(MPI_Comm_free(&comm));

    // Operations, roots, and other calls: all see it.
    comm = fresh();
    code = MPI_Allreduce(in, out, 2, MPI_INT, rank == 0 ? MPI_SUM : MPI_MAX, comm);
    says(code, MPI_ERR_OP, "MPI_SUM", "MPI_MAX");
    MUST(MPI_Comm_free(&comm));

    comm = fresh();
    code = MPI_Reduce(in, out, 2, MPI_INT, MPI_SUM, rank == 0 ? 0 : 1, comm);
    if (rank < 2) says(code, MPI_ERR_ROOT, "with root 0", "with root 1");
    MUST(MPI_Comm_free(&comm));

    comm = fresh();
    if (rank == 0) code = MPI_Barrier(comm);
    else code = MPI_Allgather(in, 1, MPI_BYTE, out, 1, MPI_BYTE, comm);
    says(code, MPI_ERR_OTHER, "barrier", "allgather of 1 bytes");
    MUST(MPI_Comm_free(&comm));

    // An argument that is wrong at one rank only uses up the call there, too.
    comm = fresh();
    code = MPI_Bcast(in, rank == size - 1 ? -1 : 1, MPI_INT, 0, comm);
    EQUAL(class_of(code), rank == size - 1 ? MPI_ERR_COUNT : MPI_SUCCESS);
    for (int i = 0; i < 20; i++) {
        out[0] = rank == i % size ? i : -1;
        MUST(MPI_Bcast(out, 1, MPI_INT, i % size, comm));
        EQUAL(out[0], i);
    }
    MUST(MPI_Comm_free(&comm));
    return end();
}
