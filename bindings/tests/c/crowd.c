// SPDX-License-Identifier: Apache-2.0 OR MIT
// MPI_THREAD_MULTIPLE under stress: eight threads a rank that share one communicator. They compete
// for the same messages, wait for each other's requests, send to each other, and make and free
// communicators, while one thread of each rank sleeps in a receive until the end.
// ranks: 1 2 4
// seconds: 180
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 8
#define HALF (THREADS / 2)
#define EACH 100 // messages from each sending thread to each rank
#define MOST 60000
#define HANDED 500
#define LAST_TAG 1000

static MPI_Comm shared, own[THREADS];

struct head {
    int from, thread, number;
};

// Messages that nobody has taken on yet, and which have come.
static atomic_int left;
static atomic_char *seen;

static size_t length_of(int thread, int number) {
    static const size_t lengths[] = {12, 12, 40, 90, 500, 3000, 20000, MOST};
    return lengths[(thread * 7 + number * 5) % 8];
}

static void produce(int thread) {
    char *space = malloc(MOST);
    for (int i = 0; i < EACH * size; i++) {
        int to = (i + rank + thread) % size, number = i / size;
        size_t bytes = length_of(thread, number);
        fill(space, bytes, rank * 10000 + thread * 1000 + number);
        struct head head = {rank, thread, number};
        memcpy(space, &head, sizeof head);
        if (i % 5 == 0) MUST(MPI_Ssend(space, bytes, MPI_BYTE, to, thread, shared));
        else MUST(MPI_Send(space, bytes, MPI_BYTE, to, thread, shared));
    }
    free(space);
}

// Takes one message, whichever it is, in the way of this thread.
static void take(int thread, char *space, MPI_Status *status) {
    MPI_Message message;
    MPI_Request request;
    int bytes = MOST, there = 0;
    switch (thread % 4) {
    case 0: MUST(MPI_Mprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, shared, &message, status)); break;
    case 1:
        while (!there)
            MUST(MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, shared, &there, &message, status));
        break;
    case 2:
        MUST(MPI_Recv(space, bytes, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, shared, status));
        return;
    default:
        MUST(MPI_Irecv(space, bytes, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, shared, &request));
        MUST(MPI_Wait(&request, status));
        return;
    }
    MUST(MPI_Get_count(status, MPI_BYTE, &bytes));
    MUST(MPI_Mrecv(space, bytes, MPI_BYTE, &message, status));
}

static void consume(int thread) {
    char *space = malloc(MOST);
    while (atomic_fetch_sub(&left, 1) > 0) {
        MPI_Status status;
        struct head head;
        int bytes = -1;
        memset(space, 0, sizeof head);
        take(thread, space, &status);
        MUST(MPI_Get_count(&status, MPI_BYTE, &bytes));
        memcpy(&head, space, sizeof head);
        EQUAL(head.from, status.MPI_SOURCE);
        EQUAL(head.thread, status.MPI_TAG);
        EQUAL(bytes, length_of(head.thread, head.number));
        unsigned seed = head.from * 10000 + head.thread * 1000 + head.number;
        for (int at = sizeof head; at < bytes; at++)
            CHECK((unsigned char)space[at] == byte_of(seed, at), "byte %d of %d", at, bytes);
        int place = (head.from * HALF + head.thread) * EACH + head.number;
        EQUAL(atomic_exchange(&seen[place], 1), 0);
    }
    free(space);
}

// A request that one thread starts and another one waits for.
static struct {
    MPI_Request request;
    int value;
    atomic_int full;
} handed[HALF];

// The first half posts and sends, the second half waits for what the first has posted.
static void hand_over(int thread) {
    int me = thread % HALF, right = (rank + 1) % size, left_rank = (rank + size - 1) % size;
    for (int i = 0; i < HANDED; i++) {
        int out = rank * 1000 + i;
        if (thread < HALF) {
            while (atomic_load(&handed[me].full)) sched_yield();
            MUST(MPI_Irecv(&handed[me].value, 1, MPI_INT, left_rank, 100 + me, shared,
                           &handed[me].request));
            atomic_store(&handed[me].full, 1);
            MUST(MPI_Send(&out, 1, MPI_INT, right, 100 + me, shared));
        } else {
            while (!atomic_load(&handed[me].full)) sched_yield();
            MUST(MPI_Wait(&handed[me].request, MPI_STATUS_IGNORE));
            EQUAL(handed[me].value, left_rank * 1000 + i);
            atomic_store(&handed[me].full, 0);
        }
    }
}

// Threads of one rank send to each other, without a buffer between them.
static void among_us(int thread) {
    int me = thread % HALF;
    for (int i = 0; i < HANDED; i++) {
        int value = i * 10 + me, got = -1;
        if (thread < HALF) MUST(MPI_Ssend(&value, 1, MPI_INT, rank, 200 + me, shared));
        else MUST(MPI_Recv(&got, 1, MPI_INT, rank, 200 + me, shared, MPI_STATUS_IGNORE));
        if (thread >= HALF) EQUAL(got, value);
    }
}

static void communicators(int thread) {
    for (int i = 0; i < 10; i++) {
        MPI_Comm twin;
        int mine = rank + thread + i, sum = -1;
        MUST(MPI_Comm_dup(own[thread], &twin));
        MUST(MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, twin));
        EQUAL(sum, size * (size - 1) / 2 + size * (thread + i));
        MUST(MPI_Comm_free(&twin));
    }
}

static pthread_barrier_t all_threads;

static void *work(void *argument) {
    int thread = (int)(intptr_t)argument;
    if (thread < HALF) produce(thread);
    else consume(thread);
    // The shared communicator's wildcards are over before anybody uses other tags in it.
    pthread_barrier_wait(&all_threads);
    if (thread == 0) MUST(MPI_Barrier(shared));
    pthread_barrier_wait(&all_threads);
    hand_over(thread);
    among_us(thread);
    communicators(thread);
    return NULL;
}

// Sleeps in the library while all others work.
static void *sleeper(void *argument) {
    int got = -1, left_rank = (rank + size - 1) % size;
    (void)argument;
    MUST(MPI_Recv(&got, 1, MPI_INT, left_rank, LAST_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    EQUAL(got, left_rank);
    return NULL;
}

int main(int argc, char **argv) {
    int provided = 0;
    pthread_t threads[THREADS], asleep;
    MUST(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
    EQUAL(provided, MPI_THREAD_MULTIPLE);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &shared));
    for (int i = 0; i < THREADS; i++) MUST(MPI_Comm_dup(MPI_COMM_WORLD, &own[i]));
    int all = size * HALF * EACH;
    atomic_store(&left, all);
    seen = calloc(all, sizeof *seen);
    pthread_barrier_init(&all_threads, NULL, THREADS);
    pthread_create(&asleep, NULL, sleeper, NULL);
    for (intptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < all; i++) CHECK(seen[i], "message %d did not come", i);
    MUST(MPI_Send(&rank, 1, MPI_INT, (rank + 1) % size, LAST_TAG, MPI_COMM_WORLD));
    pthread_join(asleep, NULL);
    for (int i = 0; i < THREADS; i++) MUST(MPI_Comm_free(&own[i]));
    MUST(MPI_Comm_free(&shared));
    free(seen);
    return end();
}
