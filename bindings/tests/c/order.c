// SPDX-License-Identifier: Apache-2.0 OR MIT
// Messages do not overtake: every rank floods every other with random tags, sizes and modes, and
// receives by random wildcards; each (source, tag) must come in the order it was sent.
// seconds: 120
#include "check.h"

#define MESSAGES 300
#define TAGS 4
#define WINDOW 16

static unsigned long long state;

static unsigned next_random(void) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
}

struct head {
    int from, tag, number;
};

// Sizes of each protocol, most of them short.
static size_t length_of(unsigned random) {
    static const size_t lengths[] = {12, 12, 12, 40, 40, 200, 3000, 20000, 100000};
    return lengths[random % (sizeof lengths / sizeof *lengths)];
}

static int *expected;
static char *space;
static int received;

// Receives one message; without `wait` only if one is there.
static void receive_one(int round, int wait) {
    MPI_Status status;
    int bytes = -1;
    // A probe with wildcards picks the message; the receive names it, wholly or in part.
    if (wait) {
        MUST(MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &status));
    } else {
        int there = 0;
        MUST(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &there, &status));
        if (!there) return;
    }
    received++;
    int source = status.MPI_SOURCE, tag = status.MPI_TAG;
    switch (next_random() % 3) {
    case 0: break;
    case 1: source = MPI_ANY_SOURCE; break;
    default: tag = MPI_ANY_TAG;
    }
    MUST(MPI_Recv(space, 100000, MPI_BYTE, source, tag, MPI_COMM_WORLD, &status));
    MUST(MPI_Get_count(&status, MPI_BYTE, &bytes));
    struct head head;
    memcpy(&head, space, sizeof head);
    EQUAL(head.from, status.MPI_SOURCE);
    EQUAL(head.tag + 10 * round, status.MPI_TAG);
    EQUAL(head.number, expected[head.from * TAGS + head.tag]++);
    for (int at = sizeof head; at < bytes; at++)
        CHECK((unsigned char)space[at] == byte_of(head.number, at), "byte %d of %d", at, bytes);
}

static void send_to_all(int round) {
    static char *buffers[WINDOW];
    static MPI_Request requests[WINDOW];
    int *numbers = calloc((size_t)size * TAGS, sizeof *numbers);
    for (int i = 0; i < WINDOW; i++) requests[i] = MPI_REQUEST_NULL;
    for (int i = 0; i < MESSAGES * size; i++) {
        int slot = i % WINDOW, to = (i + rank) % size, tag = next_random() % TAGS;
        // Whoever waits for a slot keeps receiving, or two full windows could wait for each other.
        for (int done = 0; !done;) {
            MUST(MPI_Test(&requests[slot], &done, MPI_STATUS_IGNORE));
            if (!done) receive_one(round, 0);
        }
        free(buffers[slot]);
        size_t bytes = length_of(next_random());
        buffers[slot] = malloc(bytes);
        struct head head = {rank, tag, numbers[to * TAGS + tag]++};
        fill(buffers[slot], bytes, head.number);
        memcpy(buffers[slot], &head, sizeof head);
        if (next_random() % 8 == 0)
            MUST(MPI_Issend(buffers[slot], bytes, MPI_BYTE, to, tag + 10 * round, MPI_COMM_WORLD,
                            &requests[slot]));
        else
            MUST(MPI_Isend(buffers[slot], bytes, MPI_BYTE, to, tag + 10 * round, MPI_COMM_WORLD,
                           &requests[slot]));
        receive_one(round, 0);
    }
    while (received < MESSAGES * size) receive_one(round, 1);
    MUST(MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE));
    for (int i = 0; i < WINDOW; i++) {
        free(buffers[i]);
        buffers[i] = NULL;
    }
    free(numbers);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    state = 88172645463325252ull + rank;
    space = malloc(100000);
    for (int round = 0; round < 2; round++) {
        expected = calloc((size_t)size * TAGS, sizeof *expected);
        received = 0;
        send_to_all(round);
        MPI_Barrier(MPI_COMM_WORLD);
        free(expected);
    }
    free(space);
    return end();
}
