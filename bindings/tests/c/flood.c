// SPDX-License-Identifier: Apache-2.0 OR MIT
// Rank 0 is flooded with messages nobody asked for yet, from all others together: a million of 8 B
// and a gigabyte of 64 KiB, sent with Isend, and small ones with Send. Its memory stays bounded,
// nothing is lost, and the last message is found behind all others.
//     flood [MESSAGES]        as many small ones
// Ours only: other libraries make no promise about memory.
// ranks: 2 3
// seconds: 240
#include "check.h"
#include <unistd.h>

#define SMALL 1000000
// Each message that had no credit costs a round trip of the socket when it is received.
#define SMALL_TCP 200000
#define BIG 16384
#define BIG_BYTES 65536

// MiB of this process that are in memory now.
static long resident(void) {
    long pages = 0, all = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &all, &pages) != 2) pages = -1;
    if (file != NULL) fclose(file);
    return pages * sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void isend_flood(int messages, size_t bytes, int tag) {
    MPI_Request *requests = malloc(messages * sizeof *requests);
    // Each message is a window of one buffer, eight bytes behind the one before.
    char *space = malloc(bytes + 8l * messages);
    fill(space, bytes + 8l * messages, tag);
    for (int i = 0; i < messages; i++)
        MUST(MPI_Isend(space + 8l * i, bytes, MPI_BYTE, 0, tag, MPI_COMM_WORLD, &requests[i]));
    int last = -rank;
    MUST(MPI_Send(&last, 1, MPI_INT, 0, tag + 1, MPI_COMM_WORLD));
    MUST(MPI_Waitall(messages, requests, MPI_STATUSES_IGNORE));
    free(requests);
    free(space);
}

static void drain(int messages, size_t bytes, int tag, long allowed) {
    long before = resident();
    char *space = malloc(bytes);
    // The last message of each sender is received first.
    for (int from = 1; from < size; from++) {
        int last = 0;
        MUST(MPI_Recv(&last, 1, MPI_INT, from, tag + 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        EQUAL(last, -from);
    }
    long grown = resident() - before;
    CHECK(grown <= allowed, "grew by %ld MiB, allowed are %ld", grown, allowed);
    for (int from = 1; from < size; from++)
        for (int i = 0; i < messages; i++) {
            memset(space, 0, bytes < 64 ? bytes : 64);
            MUST(MPI_Recv(space, bytes, MPI_BYTE, from, tag, MPI_COMM_WORLD,
                          MPI_STATUS_IGNORE));
            // The beginning tells each message from its neighbours.
            size_t looked_at = i % 64 == 0 || bytes < 64 ? bytes : 64;
            for (size_t at = 0; at < looked_at; at++)
                CHECK((unsigned char)space[at] == byte_of(tag, 8l * i + at),
                      "byte %zu of message %d from %d", at, i, from);
        }
    free(space);
}

// Blocking sends stop at their credits, and go on when somebody receives.
static void send_flood(int messages, int tag) {
    if (rank > 0) {
        for (int i = 0; i < messages; i++)
            MUST(MPI_Send(&i, 1, MPI_INT, 0, tag, MPI_COMM_WORLD));
        return;
    }
    int *next = calloc(size, sizeof *next);
    usleep(200000);
    for (int i = 0; i < messages * (size - 1); i++) {
        int got = -1;
        MPI_Status status;
        MUST(MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, &status));
        EQUAL(got, next[status.MPI_SOURCE]++);
    }
    free(next);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    int tcp = over_network();
    int all = argc > 1 ? atoi(argv[1]) : tcp ? SMALL_TCP : SMALL;
    int each = all / (size - 1), big = BIG / (size - 1);
    // At most 64 bytes a message, and the budget of unexpected payload (64 MiB) at the receiver.
    long few = all * 64l / (1 << 20) + 64 + 16;
    long many = 64 + 32;
    if (rank > 0) isend_flood(each, 8, 10); else drain(each, 8, 10, few);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank > 0) isend_flood(big, BIG_BYTES, 20); else drain(big, BIG_BYTES, 20, many);
    MPI_Barrier(MPI_COMM_WORLD);
    send_flood(each / 4, 30);
    return end();
}
