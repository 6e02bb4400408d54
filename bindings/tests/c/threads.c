// SPDX-License-Identifier: Apache-2.0 OR MIT
// MPI_THREAD_MULTIPLE: eight threads a rank send, receive, wait and compute at once, each with its
// partners of the same number; then collectives on a communicator for each thread.
// seconds: 120
#include "check.h"
#include <pthread.h>
#include <sched.h>

#define THREADS 8
#define ROUNDS 300

static MPI_Comm comms[THREADS];

static void *work(void *argument) {
    int me = (int)(intptr_t)argument;
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    for (int round = 0; round < ROUNDS; round++) {
        int out[2] = {rank * 100 + me, round}, in[2] = {-1, -1};
        size_t bytes = (size_t)(round % 7) * 3000;
        char *large = malloc(bytes + 1), *got = malloc(bytes + 1);
        MPI_Request requests[4];
        fill(large, bytes, out[0] + round);
        // The tag is the thread's, in the communicator of all.
        MUST(MPI_Irecv(in, 2, MPI_INT, left, me, MPI_COMM_WORLD, &requests[0]));
        MUST(MPI_Irecv(got, bytes, MPI_BYTE, left, me + 100, MPI_COMM_WORLD, &requests[1]));
        MUST(MPI_Isend(out, 2, MPI_INT, right, me, MPI_COMM_WORLD, &requests[2]));
        MUST(MPI_Isend(large, bytes, MPI_BYTE, right, me + 100, MPI_COMM_WORLD, &requests[3]));
        MUST(MPI_Waitall(4, requests, MPI_STATUSES_IGNORE));
        EQUAL(in[0], left * 100 + me);
        EQUAL(in[1], round);
        EQUAL(differs(got, bytes, in[0] + round), -1);
        if (round % 10 == 0) {
            int sum = -1, mine = rank + me;
            MUST(MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comms[me]));
            EQUAL(sum, size * (size - 1) / 2 + size * me);
        }
        free(large);
        free(got);
    }
    return NULL;
}

// One thread waits in a receive; another sends what it waits for.
static void *wait_for(void *argument) {
    int got = -1;
    (void)argument;
    MUST(MPI_Recv(&got, 1, MPI_INT, rank, 500, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    EQUAL(got, 42);
    return NULL;
}

int main(int argc, char **argv) {
    int provided = 0;
    pthread_t threads[THREADS], waiter;
    MUST(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    EQUAL(provided, MPI_THREAD_MULTIPLE);
    for (int i = 0; i < THREADS; i++) MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]));
    for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) MUST(MPI_Comm_free(&comms[i]));

    int value = 42;
    pthread_create(&waiter, NULL, wait_for, NULL);
    for (int i = 0; i < 100; i++) sched_yield();
    MUST(MPI_Send(&value, 1, MPI_INT, rank, 500, MPI_COMM_WORLD));
    pthread_join(waiter, NULL);
    return end();
}
