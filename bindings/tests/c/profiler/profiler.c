// SPDX-License-Identifier: Apache-2.0 OR MIT
// A small profiler: counts MPI_Send and MPI_Allreduce by their PMPI names, and tells at the end.
// It is linked before the library, or preloaded.
#include <mpi.h>
#include <stdio.h>

static int sends, reductions;

int MPI_Send(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm) {
    sends++;
    return PMPI_Send(buffer, count, type, to, tag, comm);
}

int MPI_Allreduce(const void *from, void *into, int count, MPI_Datatype type, MPI_Op op,
                  MPI_Comm comm) {
    reductions++;
    return PMPI_Allreduce(from, into, count, type, op, comm);
}

int MPI_Finalize(void) {
    int rank;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    printf("rank %d: %d sends, %d reductions\n", rank, sends, reductions);
    fflush(stdout);
    return PMPI_Finalize();
}
