// SPDX-License-Identifier: Apache-2.0 OR MIT
// Partitioned sends and receives: equal and different partitions on both sides, types with gaps,
// partitions in any order and from several threads, many rounds, early arrivals.
// Ours only: others lose or refuse partitions that are not the same on both sides.
// ranks: 2 3 4
#include "check.h"
#include <pthread.h>

#define ROUNDS 8

static int right, left;

static void wait_both(MPI_Request *send, MPI_Request *receive, MPI_Status *status) {
    MPI_Request both[2] = {*send, *receive};
    MPI_Status statuses[2];
    MUST(MPI_Waitall(2, both, statuses));
    *status = statuses[1];
}

// `mine` partitions of `count` ints here are received as `theirs` partitions of what is left.
static void rounds(int mine, int count, int theirs, int tag) {
    int total = mine * count, each = total / theirs;
    EQUAL(each * theirs, total);
    int *out = calloc(total + 1, sizeof(int)), *in = calloc(total + 1, sizeof(int));
    MPI_Request send, receive;
    MPI_Status status;
    MUST(MPI_Psend_init(out, mine, count, MPI_INT, right, tag, MPI_COMM_WORLD, MPI_INFO_NULL,
                        &send));
    MUST(MPI_Precv_init(in, theirs, each, MPI_INT, left, tag, MPI_COMM_WORLD, MPI_INFO_NULL,
                        &receive));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < total; i++) {
            out[i] = rank * 1000000 + round * 10000 + i;
            in[i] = -1;
        }
        MPI_Request both[2] = {send, receive};
        MUST(MPI_Startall(2, both));
        if (round % 3 == 0) {
            for (int i = 0; i < mine; i++) MUST(MPI_Pready((i * 7 + round) % mine, send));
        } else if (round % 3 == 1) {
            MUST(MPI_Pready_range(mine / 2, mine - 1, send));
            if (mine / 2 > 0) MUST(MPI_Pready_range(0, mine / 2 - 1, send));
        } else {
            int *list = malloc(sizeof(int) * mine);
            for (int i = 0; i < mine; i++) list[i] = mine - 1 - i;
            MUST(MPI_Pready_list(mine, list, send));
            free(list);
        }
        if (round % 2 == 0)
            for (int i = 0, flag = 0; i < theirs; i++, flag = 0) {
                while (!flag) MUST(MPI_Parrived(receive, i, &flag));
                for (int k = i * each; k < (i + 1) * each; k++)
                    EQUAL(in[k], left * 1000000 + round * 10000 + k);
            }
        wait_both(&send, &receive, &status);
        EQUAL(status.MPI_SOURCE, left);
        EQUAL(status.MPI_TAG, tag);
        for (int i = 0; i < total; i++) EQUAL(in[i], left * 1000000 + round * 10000 + i);
    }
    MUST(MPI_Request_free(&send));
    MUST(MPI_Request_free(&receive));
    CHECK(send == MPI_REQUEST_NULL && receive == MPI_REQUEST_NULL, "freed requests are not null");
    free(out);
    free(in);
}

// A partition is there before the others were ready.
static void early(void) {
    enum { PARTS = 4 };
    double out[PARTS], in[PARTS] = {0};
    MPI_Request send, receive;
    MPI_Status status;
    int flag = 0, token = 0;
    MUST(MPI_Psend_init(out, PARTS, 1, MPI_DOUBLE, right, 5, MPI_COMM_WORLD, MPI_INFO_NULL, &send));
    MUST(MPI_Precv_init(in, PARTS, 1, MPI_DOUBLE, left, 5, MPI_COMM_WORLD, MPI_INFO_NULL,
                        &receive));
    MUST(MPI_Start(&send));
    MUST(MPI_Start(&receive));
    out[2] = rank + 0.5;
    MUST(MPI_Pready(2, send));
    while (!flag) MUST(MPI_Parrived(receive, 2, &flag));
    CHECK(in[2] == left + 0.5, "partition 2 holds %g", in[2]);
    // Nobody makes the others ready before all have looked.
    MUST(MPI_Sendrecv(&token, 1, MPI_INT, left, 6, &token, 1, MPI_INT, right, 6, MPI_COMM_WORLD,
                      MPI_STATUS_IGNORE));
    for (int i = 0; i < PARTS; i++)
        if (i != 2) {
            out[i] = rank + i;
            MUST(MPI_Pready(i, send));
        }
    wait_both(&send, &receive, &status);
    for (int i = 0; i < PARTS; i++) CHECK(in[i] == (i == 2 ? left + 0.5 : left + i), "%d", i);
    MUST(MPI_Request_free(&send));
    MUST(MPI_Request_free(&receive));
}

// Elements with gaps; the receiver's are larger than the sender's partitions, so that a message
// ends amid one.
static void gaps(void) {
    enum { PAIRS = 15 };
    int out[3 * PAIRS * 2], in[4 * PAIRS];
    MPI_Datatype every_third, first_two;
    MUST(MPI_Type_create_resized(MPI_INT, 0, 3 * sizeof(int), &every_third));
    MUST(MPI_Type_commit(&every_third));
    MUST(MPI_Type_vector(2, 1, 2, MPI_INT, &first_two)); // two ints with one between them
    MPI_Datatype spaced;
    MUST(MPI_Type_create_resized(first_two, 0, 4 * sizeof(int), &spaced));
    MUST(MPI_Type_commit(&spaced));
    MPI_Request send, receive;
    MPI_Status status;
    MUST(MPI_Psend_init(out, 2 * PAIRS / 3, 3, every_third, right, 8, MPI_COMM_WORLD, MPI_INFO_NULL,
                        &send));
    MUST(MPI_Precv_init(in, PAIRS / 5, 5, spaced, left, 8, MPI_COMM_WORLD, MPI_INFO_NULL,
                        &receive));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 3 * PAIRS * 2; i++) out[i] = i % 3 ? -7 : rank * 1000 + i / 3 + round;
        for (int i = 0; i < 4 * PAIRS; i++) in[i] = -9;
        MUST(MPI_Start(&send));
        MUST(MPI_Start(&receive));
        for (int i = 2 * PAIRS / 3; i-- > 0;) MUST(MPI_Pready(i, send));
        wait_both(&send, &receive, &status);
        for (int i = 0; i < 4 * PAIRS; i++) {
            int place = i / 4 * 2 + (i % 4) / 2;
            EQUAL(in[i], i % 2 ? -9 : left * 1000 + place + round);
        }
    }
    MUST(MPI_Request_free(&send));
    MUST(MPI_Request_free(&receive));
    MUST(MPI_Type_free(&every_third));
    MUST(MPI_Type_free(&first_two));
    MUST(MPI_Type_free(&spaced));
}

// Channels between the same ranks with the same tag meet in the order of their calls, and are no
// ordinary messages.
static void order(void) {
    int out[3] = {rank, rank + 100, rank + 200}, in[3] = {-1, -1, -1}, word = 7, got = 0;
    MPI_Request send[3], receive[3];
    for (int i = 0; i < 3; i++)
        MUST(MPI_Psend_init(&out[i], 1, 1, MPI_INT, right, 9, MPI_COMM_WORLD, MPI_INFO_NULL,
                            &send[i]));
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; i < 3; i++)
        MUST(MPI_Precv_init(&in[i], 1, 1, MPI_INT, left, 9, MPI_COMM_WORLD, MPI_INFO_NULL,
                            &receive[i]));
    for (int i = 2; i >= 0; i--) {
        MUST(MPI_Start(&send[i]));
        MUST(MPI_Pready(0, send[i]));
    }
    MUST(MPI_Sendrecv(&word, 1, MPI_INT, right, 9, &got, 1, MPI_INT, left, 9, MPI_COMM_WORLD,
                      MPI_STATUS_IGNORE));
    EQUAL(got, 7);
    MUST(MPI_Startall(3, receive));
    MUST(MPI_Waitall(3, receive, MPI_STATUSES_IGNORE));
    MUST(MPI_Waitall(3, send, MPI_STATUSES_IGNORE));
    for (int i = 0; i < 3; i++) {
        EQUAL(in[i], left + 100 * i);
        MUST(MPI_Request_free(&send[i]));
        MUST(MPI_Request_free(&receive[i]));
    }
}

#define THREADS 4
#define EACH 16
static MPI_Request shared;
static unsigned char threaded_out[THREADS * EACH][4096], threaded_in[THREADS * EACH][4096];

static void *fill_part(void *argument) {
    int thread = *(int *)argument;
    for (int i = 0; i < EACH; i++) {
        int part = i * THREADS + thread;
        fill(threaded_out[part], sizeof threaded_out[part], rank * 1000 + part);
        MUST(MPI_Pready(part, shared));
    }
    return NULL;
}

static void threads(void) {
    MPI_Request receive;
    MPI_Status status;
    MUST(MPI_Psend_init(threaded_out, THREADS * EACH, 4096, MPI_BYTE, right, 3, MPI_COMM_WORLD,
                        MPI_INFO_NULL, &shared));
    MUST(MPI_Precv_init(threaded_in, THREADS * EACH / 2, 2 * 4096, MPI_BYTE, left, 3,
                        MPI_COMM_WORLD, MPI_INFO_NULL, &receive));
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread[THREADS];
        int number[THREADS];
        MUST(MPI_Start(&shared));
        MUST(MPI_Start(&receive));
        for (int i = 0; i < THREADS; i++) {
            number[i] = i;
            EQUAL(pthread_create(&thread[i], NULL, fill_part, &number[i]), 0);
        }
        wait_both(&shared, &receive, &status);
        for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
        for (int i = 0; i < THREADS * EACH; i++)
            EQUAL(differs(threaded_in[i], 4096, left * 1000 + i), -1);
        memset(threaded_in, 0, sizeof threaded_in);
        memset(threaded_out, 0, sizeof threaded_out);
    }
    MUST(MPI_Request_free(&shared));
    MUST(MPI_Request_free(&receive));
}

int main(int argc, char **argv) {
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    right = (rank + 1) % size, left = (rank + size - 1) % size;
    rounds(1, 1, 1, 1);
    rounds(8, 3, 8, 2);
    rounds(12, 5, 4, 2);
    rounds(4, 15, 10, 2);
    rounds(6, 2, 1, 4);
    rounds(1, 4000, 8, 4);
    rounds(3000, 2, 50, 4);
    early();
    gaps();
    order();
    if (provided == MPI_THREAD_MULTIPLE) threads();
    MPI_Request nobody;
    MUST(MPI_Psend_init(&rank, 1, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD, MPI_INFO_NULL,
                        &nobody));
    MUST(MPI_Start(&nobody));
    MUST(MPI_Pready(0, nobody));
    MUST(MPI_Wait(&nobody, MPI_STATUS_IGNORE));
    MUST(MPI_Request_free(&nobody));
    return end();
}
