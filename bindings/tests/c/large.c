// SPDX-License-Identifier: Apache-2.0 OR MIT
// Messages of 1 B to 16 MiB, each size and its neighbours, expected and unexpected, every byte
// checked by a seed; and what lies behind the buffer stays untouched.
// seconds: 120
#include "check.h"

#define LARGEST (16u << 20)

static void exchange(char *out, char *in, size_t bytes, unsigned seed, int late) {
    int peer = rank ^ 1;
    MPI_Request requests[2];
    MPI_Status status;
    int count = -1;
    if (peer >= size) peer = rank;
    fill(out, bytes, seed + rank);
    memset(in, 0x5a, bytes + 8);
    if (late) {
        // The message is there before its receive.
        MUST(MPI_Isend(out, bytes, MPI_BYTE, peer, 1, MPI_COMM_WORLD, &requests[0]));
        MUST(MPI_Probe(peer, 1, MPI_COMM_WORLD, &status));
        MUST(MPI_Irecv(in, bytes, MPI_BYTE, peer, 1, MPI_COMM_WORLD, &requests[1]));
    } else {
        MUST(MPI_Irecv(in, bytes + 8, MPI_BYTE, peer, 1, MPI_COMM_WORLD, &requests[1]));
        MUST(MPI_Isend(out, bytes, MPI_BYTE, peer, 1, MPI_COMM_WORLD, &requests[0]));
    }
    MUST(MPI_Wait(&requests[1], &status));
    MUST(MPI_Wait(&requests[0], MPI_STATUS_IGNORE));
    MUST(MPI_Get_count(&status, MPI_BYTE, &count));
    EQUAL(count, bytes);
    EQUAL(differs(in, bytes, seed + peer), -1);
    for (int i = 0; i < 8; i++) EQUAL(in[bytes + i], 0x5a);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    char *out = malloc(LARGEST + 16), *in = malloc(LARGEST + 16);
    for (size_t power = 1; power <= LARGEST; power *= 2) {
        // The far neighbours cost time and show nothing new for the largest.
        int around = power < (1u << 21) ? 1 : 0;
        for (int delta = -around; delta <= around; delta++) {
            exchange(out, in, power + delta, 3 * power + 10 * delta, 0);
            exchange(out, in, power + delta, 5 * power + 10 * delta, 1);
        }
    }
    // Odd alignments on both sides.
    for (int shift = 1; shift < 8; shift += 3) exchange(out + shift, in + 8 - shift, 70001, 9, 0);

    // A shorter message than the buffer, with large ones behind it.
    if (size > 1 && rank < 2) {
        MPI_Request requests[4];
        for (int i = 0; i < 4; i++) {
            size_t part = LARGEST / 4;
            if (rank == 0) {
                fill(out + i * part, part, 40 + i);
                MUST(MPI_Isend(out + i * part, part, MPI_BYTE, 1, 2, MPI_COMM_WORLD,
                               &requests[i]));
            } else {
                MUST(MPI_Irecv(in + i * part, part, MPI_BYTE, 0, 2, MPI_COMM_WORLD,
                               &requests[i]));
            }
        }
        MUST(MPI_Waitall(4, requests, MPI_STATUSES_IGNORE));
        for (int i = 0; rank == 1 && i < 4; i++)
            EQUAL(differs(in + i * (LARGEST / 4), LARGEST / 4, 40 + i), -1);
    }
    free(out);
    free(in);
    return end();
}
