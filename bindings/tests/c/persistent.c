// SPDX-License-Identifier: Apache-2.0 OR MIT
// Persistent requests: made once, started often, in every mode; inactive ones behave as null.
#include "check.h"

#define ROUNDS 50

int main(int argc, char **argv) {
    begin(&argc, &argv);
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    int out[4], in[4], flag = 0, index = 0;
    MPI_Request requests[8];
    size_t room = 64 + 4 * (sizeof(int) + MPI_BSEND_OVERHEAD);
    void *space = malloc(room);
    int detached = 0;
    MUST(MPI_Buffer_attach(space, room));
    for (int i = 0; i < 4; i++)
        MUST(MPI_Recv_init(&in[i], 1, MPI_INT, left, i, MPI_COMM_WORLD, &requests[i]));
    MUST(MPI_Send_init(&out[0], 1, MPI_INT, right, 0, MPI_COMM_WORLD, &requests[4]));
    MUST(MPI_Ssend_init(&out[1], 1, MPI_INT, right, 1, MPI_COMM_WORLD, &requests[5]));
    MUST(MPI_Bsend_init(&out[2], 1, MPI_INT, right, 2, MPI_COMM_WORLD, &requests[6]));
    MUST(MPI_Rsend_init(&out[3], 1, MPI_INT, right, 3, MPI_COMM_WORLD, &requests[7]));

    // Not started yet: complete, with an empty status.
    MPI_Status status;
    MUST(MPI_Wait(&requests[0], &status));
    EQUAL(status.MPI_SOURCE, MPI_ANY_SOURCE);
    MUST(MPI_Testall(8, requests, &flag, MPI_STATUSES_IGNORE));
    EQUAL(flag, 1);
    MUST(MPI_Testany(8, requests, &index, &flag, &status));
    EQUAL(flag, 1);
    EQUAL(index, MPI_UNDEFINED);

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 4; i++) {
            out[i] = rank * 10000 + round * 10 + i;
            in[i] = -1;
        }
        MUST(MPI_Startall(4, requests));
        MPI_Barrier(MPI_COMM_WORLD); // the ready send needs its receive
        for (int i = 4; i < 8; i++) MUST(MPI_Start(&requests[i]));
        if (round % 2 == 0) {
            MUST(MPI_Waitall(8, requests, MPI_STATUSES_IGNORE));
        } else {
            for (int done = 0; done < 8; done++) {
                MUST(MPI_Waitany(8, requests, &index, &status));
                CHECK(index >= 0 && index < 8, "index %d", index);
            }
        }
        for (int i = 0; i < 4; i++) EQUAL(in[i], left * 10000 + round * 10 + i);
        for (int i = 0; i < 8; i++)
            CHECK(requests[i] != MPI_REQUEST_NULL, "request %d was freed by waiting", i);
    }
    for (int i = 0; i < 8; i++) {
        MUST(MPI_Request_free(&requests[i]));
        CHECK(requests[i] == MPI_REQUEST_NULL, "request %d is left", i);
    }
    MUST(MPI_Buffer_detach(&space, &detached));
    free(space);
    return end();
}
