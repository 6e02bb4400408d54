// SPDX-License-Identifier: Apache-2.0 OR MIT
// A token goes round: Send and Recv, Sendrecv, Sendrecv_replace, and to oneself.
#include "check.h"

int main(int argc, char **argv) {
    begin(&argc, &argv);
    int right = (rank + 1) % size, left = (rank + size - 1) % size;

    for (int round = 0; round < 200; round++) {
        int token = round;
        MPI_Status status;
        if (size == 1) {
            int got = -1;
            MUST(MPI_Sendrecv(&token, 1, MPI_INT, 0, 5, &got, 1, MPI_INT, 0, 5, MPI_COMM_WORLD,
                              &status));
            EQUAL(got, round);
            continue;
        }
        if (rank == 0) {
            MUST(MPI_Send(&token, 1, MPI_INT, right, round, MPI_COMM_WORLD));
            MUST(MPI_Recv(&token, 1, MPI_INT, left, round, MPI_COMM_WORLD, &status));
            EQUAL(token, round + size - 1);
        } else {
            MUST(MPI_Recv(&token, 1, MPI_INT, left, round, MPI_COMM_WORLD, &status));
            token++;
            MUST(MPI_Send(&token, 1, MPI_INT, right, round, MPI_COMM_WORLD));
        }
        EQUAL(status.MPI_SOURCE, left);
        EQUAL(status.MPI_TAG, round);
        int count = -1;
        MUST(MPI_Get_count(&status, MPI_INT, &count));
        EQUAL(count, 1);
    }

    // Everybody shifts at once, with sizes of every protocol.
    static const size_t sizes[] = {0, 1, 100, 5000, 70000, 1000000};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t bytes = sizes[s];
        char *out = malloc(bytes + 1), *in = malloc(bytes + 1);
        MPI_Status status;
        int count = -1;
        fill(out, bytes, 100 * s + rank);
        MUST(MPI_Sendrecv(out, bytes, MPI_BYTE, right, 3, in, bytes, MPI_BYTE, left, 3,
                          MPI_COMM_WORLD, &status));
        EQUAL(differs(in, bytes, 100 * s + left), -1);
        MUST(MPI_Get_count(&status, MPI_BYTE, &count));
        EQUAL(count, bytes);
        MUST(MPI_Sendrecv_replace(out, bytes, MPI_BYTE, right, 4, left, 4, MPI_COMM_WORLD,
                                  &status));
        EQUAL(differs(out, bytes, 100 * s + left), -1);
        EQUAL(status.MPI_SOURCE, left);
        free(out);
        free(in);
    }

    // PROC_NULL: nothing moves, and the status says so.
    int value = 17;
    MPI_Status status;
    MUST(MPI_Send(&value, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD));
    MUST(MPI_Recv(&value, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &status));
    EQUAL(value, 17);
    EQUAL(status.MPI_SOURCE, MPI_PROC_NULL);
    EQUAL(status.MPI_TAG, MPI_ANY_TAG);
    return end();
}
