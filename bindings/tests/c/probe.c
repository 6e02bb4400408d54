// SPDX-License-Identifier: Apache-2.0 OR MIT
// Probe, Iprobe, Mprobe, Improbe, Mrecv, Imrecv: sizes are learnt before the receive.
#include "check.h"

#define MESSAGES 30

static size_t length_of(int from, int number) {
    return (size_t)(from * 37 + number * number * 97) % 40000;
}

static void send_all(void) {
    for (int number = 0; number < MESSAGES; number++) {
        size_t bytes = length_of(rank, number);
        char *buffer = malloc(bytes + 1);
        fill(buffer, bytes, rank * 1000 + number);
        MUST(MPI_Send(buffer, bytes, MPI_BYTE, 0, number, MPI_COMM_WORLD));
        free(buffer);
    }
}

static void look(int way, MPI_Message *message, MPI_Status *status) {
    int flag = 0;
    *message = MPI_MESSAGE_NULL;
    switch (way) {
    case 0: MUST(MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, status)); break;
    case 1:
        while (!flag)
            MUST(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, status));
        break;
    case 2:
        MUST(MPI_Mprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, message, status));
        break;
    default:
        while (!flag)
            MUST(MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, message,
                             status));
    }
}

static void take(int way, MPI_Message message, char *buffer, int bytes, MPI_Status *seen) {
    MPI_Status status;
    MPI_Request request;
    int count = -1;
    switch (way) {
    case 0:
    case 1:
        MUST(MPI_Recv(buffer, bytes, MPI_BYTE, seen->MPI_SOURCE, seen->MPI_TAG, MPI_COMM_WORLD,
                      &status));
        break;
    case 2: MUST(MPI_Mrecv(buffer, bytes, MPI_BYTE, &message, &status)); break;
    default:
        MUST(MPI_Imrecv(buffer, bytes, MPI_BYTE, &message, &request));
        MUST(MPI_Wait(&request, &status));
    }
    CHECK(message == MPI_MESSAGE_NULL, "the message handle is left");
    MUST(MPI_Get_count(&status, MPI_BYTE, &count));
    EQUAL(count, bytes);
    EQUAL(status.MPI_SOURCE, seen->MPI_SOURCE);
    EQUAL(status.MPI_TAG, seen->MPI_TAG);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    if (rank > 0) send_all();
    int *next = calloc(size, sizeof *next);
    for (int i = 0; rank == 0 && i < MESSAGES * (size - 1); i++) {
        MPI_Status status;
        MPI_Message message;
        int bytes = -1, way = i % 4;
        look(way, &message, &status);
        MUST(MPI_Get_count(&status, MPI_BYTE, &bytes));
        int from = status.MPI_SOURCE, number = status.MPI_TAG;
        // Messages of one sender are found in the order they were sent.
        EQUAL(number, next[from]++);
        EQUAL(bytes, length_of(from, number));
        char *buffer = malloc(bytes + 1);
        take(way, message, buffer, bytes, &status);
        EQUAL(differs(buffer, bytes, from * 1000 + number), -1);
        free(buffer);
    }
    free(next);

    // Nothing is left, and PROC_NULL has the message that holds nothing.
    int flag = 1;
    MPI_Message message;
    MPI_Status status;
    MPI_Barrier(MPI_COMM_WORLD);
    MUST(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, &status));
    EQUAL(flag, 0);
    MUST(MPI_Mprobe(MPI_PROC_NULL, 3, MPI_COMM_WORLD, &message, &status));
    CHECK(message == MPI_MESSAGE_NO_PROC, "Mprobe of PROC_NULL");
    EQUAL(status.MPI_SOURCE, MPI_PROC_NULL);
    MUST(MPI_Mrecv(NULL, 0, MPI_BYTE, &message, &status));
    CHECK(message == MPI_MESSAGE_NULL, "Mrecv of NO_PROC");
    return end();
}
