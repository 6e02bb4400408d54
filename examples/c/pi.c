// SPDX-License-Identifier: Apache-2.0 OR MIT
// Pi as the area under 4 / (1 + x * x): each rank adds its share of the strips, one sum of all.
#include <mpi.h>
#include <stdio.h>

#define STRIPS 1000000

int main(int argc, char **argv) {
    int rank, size;
    double mine = 0, area = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = rank; i < STRIPS; i += size) {
        double x = (i + 0.5) / STRIPS;
        mine += 4.0 / (1.0 + x * x) / STRIPS;
    }
    MPI_Reduce(&mine, &area, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("pi is %.8f with %d ranks\n", area, size);
    MPI_Finalize();
    return 0;
}
