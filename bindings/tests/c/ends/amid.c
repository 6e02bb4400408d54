// SPDX-License-Identifier: Apache-2.0 OR MIT
// Rank 0 sends messages of 64 MiB to rank 1 without end, so that whenever one of the two is
// killed a large message is on its way; all others wait in a barrier. Every rank says its process.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LARGE (64 << 20)

int main(int argc, char **argv) {
    int rank;
    alarm(50);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    printf("rank %d is %d\n", rank, (int)getpid());
    fflush(stdout);
    char *space = rank < 2 ? calloc(LARGE, 1) : NULL;
    MPI_Barrier(MPI_COMM_WORLD);
    for (int round = 0; rank < 2; round++) {
        if (rank == 0) MPI_Send(space, LARGE, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
        if (rank == 1)
            MPI_Recv(space, LARGE, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (round == 0) puts("moving");
        fflush(stdout);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}
