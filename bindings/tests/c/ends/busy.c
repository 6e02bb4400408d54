// SPDX-License-Identifier: Apache-2.0 OR MIT
// Works without end, for the test that kills ranks: short and large messages, unexpected ones,
// collectives, communicators that come and go. It never ends by itself before its alarm.
#include <mpi.h>
#include <stdlib.h>
#include <unistd.h>

#define LARGE (1 << 20)

int main(int argc, char **argv) {
    int rank, size;
    static char out[LARGE], in[LARGE];
    alarm(50);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    for (unsigned round = 0;; round++) {
        int bytes = round % 8 == 0 ? LARGE : round % 8 == 1 ? 60000 : 100;
        MPI_Request requests[6];
        for (int i = 0; i < 3; i++)
            MPI_Isend(out, bytes, MPI_BYTE, right, i, MPI_COMM_WORLD, &requests[i]);
        for (int i = 0; i < 3; i++)
            MPI_Irecv(in, bytes, MPI_BYTE, left, 2 - i, MPI_COMM_WORLD, &requests[3 + i]);
        MPI_Waitall(6, requests, MPI_STATUSES_IGNORE);
        if (round % 4 == 0)
            MPI_Allreduce(MPI_IN_PLACE, out, 1000, MPI_INT, MPI_BOR, MPI_COMM_WORLD);
        if (round % 16 == 0) {
            MPI_Comm twin;
            MPI_Comm_dup(MPI_COMM_WORLD, &twin);
            MPI_Comm_free(&twin);
        }
        // Now and then everybody sleeps in the library, waiting for a rank that computes.
        if (round % 64 == 0 && rank == (int)(round / 64) % size) usleep(20000);
        MPI_Barrier(MPI_COMM_WORLD);
    }
}
