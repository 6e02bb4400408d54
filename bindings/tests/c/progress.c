// SPDX-License-Identifier: Apache-2.0 OR MIT
// Communication goes on while nobody calls MPI: a rank looks at its own memory, and at nothing
// else, until what it waits for is there. Without progress these loops never end.
// Ours only: others ask for a setting of their own, or have none.
// ranks: 2 3 4
#include "check.h"
#include <unistd.h>

#define LONG (4 << 20)

// Looks at memory until it holds this.
static void watch(volatile int *place, int wanted) {
    while (*place != wanted) usleep(50);
}

// Passive target: puts, accumulates and a lock that is handed on reach who is in no call.
static void passive(void) {
    int *base;
    MPI_Win win;
    MUST(MPI_Win_allocate(64 * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                          &win));
    memset(base, 0, 64 * sizeof(int));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) {
        watch(&base[1], size - 1);
        for (int from = 1; from < size; from++) watch(&base[1 + from], 7 * from);
        // Somebody reads it, too, and says so here.
        watch(&base[63], 1);
    } else {
        int value = 7 * rank, one = 1, got = -1;
        MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win));
        MUST(MPI_Put(&value, 1, MPI_INT, 0, 1 + rank, 1, MPI_INT, win));
        MUST(MPI_Win_flush(0, win));
        MUST(MPI_Get(&got, 1, MPI_INT, 0, 1 + rank, 1, MPI_INT, win));
        MUST(MPI_Win_flush(0, win));
        EQUAL(got, value);
        MUST(MPI_Accumulate(&one, 1, MPI_INT, 0, 1, 1, MPI_INT, MPI_SUM, win));
        MUST(MPI_Win_unlock(0, win));
        if (rank == size - 1) {
            MUST(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win));
            MUST(MPI_Accumulate(&one, 1, MPI_INT, 0, 63, 1, MPI_INT, MPI_REPLACE, win));
            MUST(MPI_Win_unlock(0, win));
        }
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_free(&win));
}

// A long message from one that computes to one that computes, and an answer.
static void both_away(int tag) {
    int count = LONG / (int)sizeof(int), peer = size - 1;
    if (rank != 0 && rank != peer) return;
    int *buffer = calloc(count, sizeof(int)), answer = 0;
    MPI_Request requests[2];
    if (rank == 0) {
        for (int i = 0; i < count; i++) buffer[i] = tag + i;
        MUST(MPI_Irecv(&answer, 1, MPI_INT, peer, tag + 1, MPI_COMM_WORLD, &requests[0]));
        MUST(MPI_Isend(buffer, count, MPI_INT, peer, tag, MPI_COMM_WORLD, &requests[1]));
        watch(&answer, tag);
        MUST(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
    } else {
        MUST(MPI_Irecv(buffer, count, MPI_INT, 0, tag, MPI_COMM_WORLD, &requests[0]));
        watch(&buffer[count - 1], tag + count - 1);
        watch(&buffer[count / 3], tag + count / 3);
        watch(&buffer[0], tag);
        MUST(MPI_Isend(&tag, 1, MPI_INT, 0, tag + 1, MPI_COMM_WORLD, &requests[1]));
        MUST(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
        for (int i = 0; i < count; i++) EQUAL(buffer[i], tag + i);
    }
    free(buffer);
}

static void add(void *in, void *inout, int *count, MPI_Datatype *type) {
    (void)type;
    for (int i = 0; i < *count; i++) ((int *)inout)[i] += ((int *)in)[i];
}

// A nonblocking collective of several steps. One with a function of the user's waits for a call.
static void collective(void) {
    int mine = rank + 1, sum = 0, all = size * (size + 1) / 2;
    MPI_Request request;
    MUST(MPI_Iallreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request));
    watch(&sum, all);
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MPI_Op op;
    MUST(MPI_Op_create(add, 1, &op));
    sum = 0;
    MUST(MPI_Iallreduce(&mine, &sum, 1, MPI_INT, op, MPI_COMM_WORLD, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    EQUAL(sum, all);
    MUST(MPI_Op_free(&op));
}

int main(int argc, char **argv) {
    setenv("STRAIT_PROGRESS", "on", 1);
    begin(&argc, &argv);
    for (int round = 0; round < 20; round++) both_away(100 + 2 * round);
    collective();
    // A window needs no setting.
    passive();
    return end();
}
