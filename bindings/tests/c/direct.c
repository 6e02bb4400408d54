// SPDX-License-Identifier: Apache-2.0 OR MIT
// Blocking receives of short messages take a short cut where nothing else can match. Here rank 0
// sends numbered messages to every other rank, often enough that each pair has a ring of its own,
// and the receivers mix plain receives with all that must keep them off that way: receives posted
// before (definite and by wildcards), tags received out of order, probes, messages that are too
// long for the buffer, empty ones, and two communicators.
// seconds: 60
#include "check.h"

#define ROUNDS 400
#define LONGEST 20000

static char sent[LONGEST], got[LONGEST], early[LONGEST];

// The length and the bytes of message `number`.
static int length_of(int number) {
    static const int lengths[] = {0,   1,    8,    47,   48,   49,    96,   97,
                                  200, 1024, 4096, 4097, 8192, 16384, 20000};
    return lengths[number % (int)(sizeof lengths / sizeof *lengths)];
}

static void check_message(const char *at, const MPI_Status *status, int number, int tag) {
    int bytes = -1;
    MUST(MPI_Get_count(status, MPI_CHAR, &bytes));
    EQUAL(bytes, length_of(number));
    EQUAL(status->MPI_SOURCE, 0);
    EQUAL(status->MPI_TAG, tag);
    for (int i = 0; i < bytes; i++)
        EQUAL((unsigned char)at[i], byte_of((unsigned)number, (size_t)i));
}

static void send_one(int to, int number, int tag, MPI_Comm comm) {
    fill(sent, (size_t)length_of(number), (unsigned)number);
    MUST(MPI_Send(sent, length_of(number), MPI_CHAR, to, tag, comm));
}

static void receive_one(int number, int source, int tag, int real, MPI_Comm comm) {
    MPI_Status status;
    memset(got, 0x5a, sizeof got);
    MUST(MPI_Recv(got, LONGEST, MPI_CHAR, source, tag, comm, &status));
    check_message(got, &status, number, real);
}

int main(int argc, char **argv) {
    MPI_Comm other;
    begin(&argc, &argv);
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &other));
    MUST(MPI_Comm_set_errhandler(other, MPI_ERRORS_RETURN));
    for (int round = 0; round < ROUNDS; round++) {
        int n = round * 7;
        if (rank == 0) {
            for (int to = 1; to < size; to++) {
                send_one(to, n, 1, MPI_COMM_WORLD);
                send_one(to, n + 1, 2, MPI_COMM_WORLD);
                send_one(to, n + 2, 1, MPI_COMM_WORLD);
                send_one(to, n + 3, 3, other);
                send_one(to, n + 4, 4, MPI_COMM_WORLD);
                MUST(MPI_Ssend(sent, 0, MPI_CHAR, to, 5, MPI_COMM_WORLD));
                send_one(to, n + 6, 6, MPI_COMM_WORLD);
            }
            for (int from = 1; from < size; from++)
                MUST(MPI_Recv(NULL, 0, MPI_CHAR, from, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            continue;
        }
        MPI_Status status;
        MPI_Request posted = MPI_REQUEST_NULL;
        memset(early, 0x5a, sizeof early);
        switch (round % 5) {
        case 0: // In order, by the short cut.
            receive_one(n, 0, 1, 1, MPI_COMM_WORLD);
            receive_one(n + 1, 0, MPI_ANY_TAG, 2, MPI_COMM_WORLD);
            receive_one(n + 2, 0, 1, 1, MPI_COMM_WORLD);
            receive_one(n + 3, 0, 3, 3, other);
            break;
        case 1: // Posted before: it comes first, whatever else is received meanwhile.
            MUST(MPI_Irecv(early, LONGEST, MPI_CHAR, 0, 1, MPI_COMM_WORLD, &posted));
            receive_one(n + 2, 0, 1, 1, MPI_COMM_WORLD);
            receive_one(n + 1, 0, 2, 2, MPI_COMM_WORLD);
            MUST(MPI_Wait(&posted, &status));
            check_message(early, &status, n, 1);
            receive_one(n + 3, 0, 3, 3, other);
            break;
        case 2: // The same by wildcards, and the other communicator first.
            MUST(MPI_Irecv(early, LONGEST, MPI_CHAR, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD,
                           &posted));
            receive_one(n + 3, 0, 3, 3, other);
            receive_one(n + 1, 0, 2, 2, MPI_COMM_WORLD);
            receive_one(n + 2, 0, 1, 1, MPI_COMM_WORLD);
            MUST(MPI_Wait(&posted, &status));
            check_message(early, &status, n, 1);
            break;
        case 3: // Out of order: the first ones wait unreceived.
            receive_one(n + 3, 0, 3, 3, other);
            receive_one(n + 1, 0, 2, 2, MPI_COMM_WORLD);
            MUST(MPI_Probe(0, 1, MPI_COMM_WORLD, &status));
            receive_one(n, MPI_ANY_SOURCE, 1, 1, MPI_COMM_WORLD);
            receive_one(n + 2, 0, 1, 1, MPI_COMM_WORLD);
            break;
        case 4: // Too long for the buffer: an error, and nothing beyond the buffer is written.
            receive_one(n, 0, 1, 1, MPI_COMM_WORLD);
            receive_one(n + 1, 0, 2, 2, MPI_COMM_WORLD);
            receive_one(n + 2, 0, 1, 1, MPI_COMM_WORLD);
            {
                int room = length_of(n + 3) / 2;
                memset(got, 0x5a, sizeof got);
                int code = MPI_Recv(got, room, MPI_CHAR, 0, 3, other, &status), of = MPI_SUCCESS;
                MUST(MPI_Error_class(code, &of));
                EQUAL(of, length_of(n + 3) > room ? MPI_ERR_TRUNCATE : MPI_SUCCESS);
                EQUAL(got[room], 0x5a);
            }
            break;
        }
        receive_one(n + 4, 0, 4, 4, MPI_COMM_WORLD);
        MUST(MPI_Recv(NULL, 0, MPI_CHAR, 0, 5, MPI_COMM_WORLD, &status));
        EQUAL(status.MPI_TAG, 5);
        receive_one(n + 6, 0, 6, 6, MPI_COMM_WORLD);
        MUST(MPI_Send(NULL, 0, MPI_CHAR, 0, 9, MPI_COMM_WORLD));
    }
    MUST(MPI_Comm_free(&other));
    return end();
}
