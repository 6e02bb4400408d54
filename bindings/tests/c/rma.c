// SPDX-License-Identifier: Apache-2.0 OR MIT
// One-sided communication by content: every way to synchronize, to lay data out and to combine it,
// in windows of every flavor, against what a model says must be there.
#include "check.h"

enum { CELLS = 64, LONG = 100000 };

enum flavor { CREATE, ALLOCATE, SHARED, FLAVORS };

static const char *const names[] = {"create", "allocate", "shared"};

static MPI_Win win;
static int *cells; // this rank's memory
static int flavor;

static void make(int which, MPI_Aint count) {
    MPI_Aint bytes = count * (MPI_Aint)sizeof(int);
    flavor = which;
    cells = NULL;
    if (which == CREATE) {
        cells = malloc(bytes ? bytes : 1);
        MUST(MPI_Win_create(cells, bytes, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    } else if (which == ALLOCATE) {
        MUST(MPI_Win_allocate(bytes, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &cells, &win));
    } else {
        MUST(MPI_Win_allocate_shared(bytes, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &cells,
                                     &win));
    }
    for (MPI_Aint i = 0; i < count; i++) cells[i] = -1;
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

static void drop(void) {
    MUST(MPI_Win_free(&win));
    if (flavor == CREATE) free(cells);
}

static int next(int by) { return (rank + by) % size; }
static int before(int by) { return (rank + size - by % size) % size; }

// Each rank puts to the next one and gets from the one after it, between fences.
static void fences(void) {
    int mine[8], got[8];
    MUST(MPI_Win_fence(MPI_MODE_NOPRECEDE, win));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++) mine[i] = 1000 * rank + 10 * round + i;
        MUST(MPI_Put(mine, 8, MPI_INT, next(1), 8 * (round % 4), 8, MPI_INT, win));
        MUST(MPI_Win_fence(0, win));
        for (int i = 0; i < 8; i++)
            EQUAL(cells[8 * (round % 4) + i], 1000 * before(1) + 10 * round + i);
        MUST(MPI_Get(got, 8, MPI_INT, next(2), 8 * (round % 4), 8, MPI_INT, win));
        MUST(MPI_Win_fence(0, win));
        for (int i = 0; i < 8; i++) EQUAL(got[i], 1000 * next(1) + 10 * round + i);
    }
    MUST(MPI_Put(mine, 8, MPI_INT, MPI_PROC_NULL, 0, 8, MPI_INT, win));
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
}

// Origins are the even ranks, targets the odd ones.
static void post_and_start(void) {
    MPI_Group world, others;
    int list[64], count = 0, value = 0;
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &world));
    for (int i = 1 - rank % 2; i < size; i += 2) list[count++] = i;
    MUST(MPI_Group_incl(world, count, list, &others));
    for (int round = 0; round < 20; round++) {
        if (rank % 2) {
            for (int i = 0; i < size; i++) cells[i] = -round;
            MUST(MPI_Win_post(others, 0, win));
            if (round % 2) {
                MUST(MPI_Win_wait(win));
            } else {
                int flag = 0;
                while (!flag) MUST(MPI_Win_test(win, &flag));
            }
            for (int i = 0; i < size; i++)
                EQUAL(cells[i], i % 2 ? -round : 100 * round + i);
        } else {
            value = 100 * round + rank;
            MUST(MPI_Win_start(others, 0, win));
            for (int i = 0; i < count; i++)
                MUST(MPI_Put(&value, 1, MPI_INT, list[i], rank, 1, MPI_INT, win));
            MUST(MPI_Win_complete(win));
        }
    }
    MUST(MPI_Group_free(&world));
    MUST(MPI_Group_free(&others));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

// Read, add, write back under an exclusive lock: no step of anybody is lost.
static void exclusive_locks(void) {
    enum { STEPS = 50 };
    cells[0] = 0;
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    for (int i = 0; i < STEPS; i++) {
        for (int target = 0; target < size; target++) {
            int value = -1;
            MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, target, 0, win));
            MUST(MPI_Get(&value, 1, MPI_INT, target, 0, 1, MPI_INT, win));
            MUST(MPI_Win_flush(target, win));
            value++;
            MUST(MPI_Put(&value, 1, MPI_INT, target, 0, 1, MPI_INT, win));
            MUST(MPI_Win_unlock(target, win));
        }
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win));
    EQUAL(cells[0], STEPS * size);
    MUST(MPI_Win_unlock(rank, win));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

// Everybody counts everywhere at once, in three ways that are atomic to each other.
static void counters(void) {
    enum { STEPS = 60 };
    int one = 1, old, sum = 0, seen = 0;
    for (int i = 0; i < 4; i++) cells[i] = 0;
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock_all(0, win));
    for (int i = 0; i < STEPS; i++) {
        int target = (rank + i) % size;
        MUST(MPI_Accumulate(&one, 1, MPI_INT, target, 0, 1, MPI_INT, MPI_SUM, win));
        MUST(MPI_Fetch_and_op(&one, &old, MPI_INT, target, 0, MPI_SUM, win));
        MUST(MPI_Win_flush(target, win));
        CHECK(old >= 0 && old < 3 * STEPS * size * 2, "the counter was %d", old);
        MUST(MPI_Get_accumulate(&one, 1, MPI_INT, &old, 1, MPI_INT, target, 0, 1, MPI_INT,
                                MPI_SUM, win));
        MUST(MPI_Win_flush_local(target, win));
        // The same with compare and swap.
        int expected = 0, found = -1;
        MUST(MPI_Fetch_and_op(NULL, &expected, MPI_INT, target, 1, MPI_NO_OP, win));
        MUST(MPI_Win_flush(target, win));
        for (;;) {
            int wanted = expected + 1;
            MUST(MPI_Compare_and_swap(&wanted, &expected, &found, MPI_INT, target, 1, win));
            MUST(MPI_Win_flush(target, win));
            if (found == expected) break;
            expected = found;
        }
    }
    MUST(MPI_Win_flush_all(win));
    MUST(MPI_Win_unlock_all(win));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win));
    MUST(MPI_Win_sync(win));
    MUST(MPI_Allreduce(&cells[0], &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    MUST(MPI_Allreduce(&cells[1], &seen, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    EQUAL(sum, 3 * STEPS * size);
    EQUAL(seen, STEPS * size);
    MUST(MPI_Win_unlock(rank, win));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

// Rows here are columns there, through each of put, get and accumulate.
static void layouts(void) {
    MPI_Datatype column, hole, both;
    int mine[64], got[64], expected[64];
    MUST(MPI_Type_vector(8, 1, 8, MPI_INT, &column));
    MUST(MPI_Type_commit(&column));
    int lengths[] = {1, 2, 1}, places[] = {3, 7, 40};
    MUST(MPI_Type_indexed(3, lengths, places, MPI_INT, &hole));
    MUST(MPI_Type_commit(&hole));
    MPI_Aint at[] = {0, 4 * 50};
    int counts[] = {1, 2};
    MPI_Datatype types[] = {hole, MPI_INT};
    MUST(MPI_Type_create_struct(2, counts, at, types, &both));
    MUST(MPI_Type_commit(&both));

    for (int i = 0; i < 64; i++) cells[i] = 0;
    for (int i = 0; i < 64; i++) mine[i] = 1000 * rank + i;
    MUST(MPI_Win_fence(0, win));
    MUST(MPI_Put(mine + 8, 8, MPI_INT, next(1), 3, 1, column, win));
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < 64; i++)
        EQUAL(cells[i], i % 8 == 3 ? 1000 * before(1) + 8 + i / 8 : 0);
    MUST(MPI_Barrier(MPI_COMM_WORLD)); // seen before it changes, here and below
    MUST(MPI_Accumulate(mine, 1, column, next(1), 3, 1, column, MPI_SUM, win));
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < 64; i++)
        EQUAL(cells[i], i % 8 == 3 ? 2000 * before(1) + 8 + i / 8 + i - 3 : 0);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    memset(got, 0, sizeof got);
    MUST(MPI_Get(got, 1, column, next(1), 3, 1, column, win));
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < 64; i++)
        EQUAL(got[i], i % 8 == 0 ? 2000 * rank + 8 + i / 8 + i : 0);
    MUST(MPI_Barrier(MPI_COMM_WORLD));

    for (int i = 0; i < 64; i++) cells[i] = i;
    memset(got, 0, sizeof got);
    memcpy(expected, cells, sizeof expected);
    MUST(MPI_Win_fence(0, win));
    MUST(MPI_Put(mine, 6, MPI_INT, next(1), 0, 1, both, win));
    MUST(MPI_Win_fence(0, win));
    int where[] = {3, 7, 8, 40, 50, 51};
    for (int i = 0; i < 6; i++) expected[where[i]] = 1000 * before(1) + i;
    for (int i = 0; i < 64; i++) EQUAL(cells[i], expected[i]);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Get(got, 1, both, next(1), 0, 1, both, win));
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < 6; i++) EQUAL(got[where[i]], 1000 * rank + i);
    MUST(MPI_Get_accumulate(mine, 1, both, got, 6, MPI_INT, next(1), 0, 1, both, MPI_REPLACE, win));
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    for (int i = 0; i < 6; i++) {
        EQUAL(got[i], 1000 * rank + i);
        EQUAL(cells[where[i]], 1000 * before(1) + where[i]);
    }
    MUST(MPI_Type_free(&column));
    MUST(MPI_Type_free(&hole));
    MUST(MPI_Type_free(&both));
}

// All of these are complete when the request is, or with the flush.
static void requests(void) {
    int mine[4] = {rank, rank + 1, rank + 2, rank + 3}, got[4], old[4];
    MPI_Request request[2];
    for (int i = 0; i < 8; i++) cells[i] = 5;
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock_all(MPI_MODE_NOCHECK, win));
    MUST(MPI_Rput(mine, 4, MPI_INT, next(1), 0, 4, MPI_INT, win, &request[0]));
    MUST(MPI_Raccumulate(mine, 4, MPI_INT, next(1), 4, 4, MPI_INT, MPI_SUM, win, &request[1]));
    MUST(MPI_Waitall(2, request, MPI_STATUSES_IGNORE));
    MUST(MPI_Win_flush(next(1), win));
    MUST(MPI_Rget(got, 4, MPI_INT, next(1), 0, 4, MPI_INT, win, &request[0]));
    MUST(MPI_Rget_accumulate(mine, 4, MPI_INT, old, 4, MPI_INT, next(1), 4, 4, MPI_INT, MPI_PROD,
                             win, &request[1]));
    MUST(MPI_Waitall(2, request, MPI_STATUSES_IGNORE));
    for (int i = 0; i < 4; i++) {
        EQUAL(got[i], rank + i);
        EQUAL(old[i], 5 + rank + i);
    }
    MUST(MPI_Rget(got, 0, MPI_INT, MPI_PROC_NULL, 0, 0, MPI_INT, win, &request[0]));
    MUST(MPI_Wait(&request[0], MPI_STATUS_IGNORE));
    MUST(MPI_Win_unlock_all(win));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    for (int i = 0; i < 4; i++) {
        EQUAL(cells[i], before(1) + i);
        EQUAL(cells[4 + i], (5 + before(1) + i) * (before(1) + i));
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

// Beyond what one message carries.
static void long_ones(void) {
    int *mine = malloc(LONG * sizeof(int)), *got = malloc(LONG * sizeof(int));
    MPI_Datatype sparse;
    fill(mine, LONG * sizeof(int), 7 + rank);
    MUST(MPI_Win_fence(0, win));
    MUST(MPI_Put(mine, LONG, MPI_INT, next(1), 0, LONG, MPI_INT, win));
    MUST(MPI_Win_fence(0, win));
    EQUAL(differs(cells, LONG * sizeof(int), 7 + before(1)), -1);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Get(got, LONG, MPI_INT, next(2), 0, LONG, MPI_INT, win));
    MUST(MPI_Win_fence(0, win));
    EQUAL(differs(got, LONG * sizeof(int), 7 + next(1)), -1);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    // Every other int, from a dense buffer and into one.
    MUST(MPI_Type_vector(LONG / 2, 1, 2, MPI_INT, &sparse));
    MUST(MPI_Type_commit(&sparse));
    for (int i = 0; i < LONG; i++) cells[i] = i;
    for (int i = 0; i < LONG / 2; i++) mine[i] = i + rank;
    MUST(MPI_Win_fence(0, win));
    MUST(MPI_Accumulate(mine, LONG / 2, MPI_INT, next(1), 1, 1, sparse, MPI_SUM, win));
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < LONG; i++) EQUAL(cells[i], i % 2 ? i + i / 2 + before(1) : i);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Get(got, LONG / 2, MPI_INT, next(1), 1, 1, sparse, win));
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < LONG / 2; i++) EQUAL(got[i], 2 * i + 1 + i + rank);
    MUST(MPI_Get(got, 1, sparse, next(1), 0, LONG / 2, MPI_INT, win));
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    for (int i = 0; i < LONG / 2; i++) EQUAL(got[2 * i], i % 2 ? i + i / 2 + rank : i);
    MUST(MPI_Type_free(&sparse));
    free(mine);
    free(got);
}

// Memory that comes and goes.
static void dynamic(void) {
    MPI_Win loose;
    MPI_Aint mine, theirs[64];
    long memory[4] = {rank, rank, rank, rank}, value = 7 + rank, got = -1;
    MUST(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &loose));
    MUST(MPI_Win_attach(loose, memory, sizeof memory));
    MUST(MPI_Get_address(memory, &mine));
    MUST(MPI_Allgather(&mine, 1, MPI_AINT, theirs, 1, MPI_AINT, MPI_COMM_WORLD));
    MUST(MPI_Win_fence(0, loose));
    MPI_Aint there = MPI_Aint_add(theirs[next(1)], sizeof(long));
    MUST(MPI_Put(&value, 1, MPI_LONG, next(1), there, 1, MPI_LONG, loose));
    MUST(MPI_Win_fence(0, loose));
    EQUAL(memory[1], 7 + before(1));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Fetch_and_op(&value, &got, MPI_LONG, next(1), there, MPI_SUM, loose));
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, loose));
    EQUAL(got, 7 + rank);
    EQUAL(memory[1], 14 + 2 * before(1));
    MUST(MPI_Win_detach(loose, memory));
    MUST(MPI_Win_free(&loose));
}

// Accumulates of one origin to one place are ordered.
static void ordered(void) {
    int values[500];
    cells[0] = 0;
    MUST(MPI_Win_fence(0, win));
    for (int i = 0; i < 500; i++) {
        values[i] = i;
        if (rank == size - 1)
            MUST(MPI_Accumulate(&values[i], 1, MPI_INT, 0, 0, 1, MPI_INT, MPI_REPLACE, win));
    }
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    if (rank == 0) EQUAL(cells[0], 499);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    int together = one_host();
    for (int which = 0; which < FLAVORS; which++) {
        if (which == SHARED && !together) continue;
        snprintf(standing, sizeof standing, " in a window of %s", names[which]);
        make(which, CELLS);
        fences();
        post_and_start();
        exclusive_locks();
        counters();
        layouts();
        requests();
        ordered();
        drop();
        make(which, LONG);
        long_ones();
        drop();
    }
    standing[0] = 0;
    dynamic();
    return end();
}
