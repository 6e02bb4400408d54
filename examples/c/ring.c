// SPDX-License-Identifier: Apache-2.0 OR MIT
// A token goes round the ranks once and collects their numbers.
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv) {
    int rank, size;
    int token[2] = {1, 0}; // how many ranks it passed, and the sum of their numbers
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    if (rank == 0) {
        MPI_Sendrecv_replace(token, 2, MPI_INT, right, 0, left, 0, MPI_COMM_WORLD,
                             MPI_STATUS_IGNORE);
        printf("the token passed %d ranks and collected %d\n", token[0], token[1]);
    } else {
        MPI_Recv(token, 2, MPI_INT, left, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        token[0] += 1;
        token[1] += rank;
        MPI_Send(token, 2, MPI_INT, right, 0, MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return 0;
}
