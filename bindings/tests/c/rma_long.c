// SPDX-License-Identifier: Apache-2.0 OR MIT
// Long puts and gets, which a fabric may move by itself: when a call says that they are complete,
// they are, here and there; under a lock nothing of another origin comes between.
// ranks: 1 2 3 4
#include "check.h"

#define LONG 40000
#define ROUNDS 6

static int *base;
static MPI_Win win;

static int value(int from, int round, int at) { return from * 1000003 + round * 7919 + at; }

static void number(int *data, int from, int round) {
    for (int i = 0; i < LONG; i++) data[i] = value(from, round, i);
}

static void check(const int *data, int from, int round, const char *what) {
    for (int i = 0; i < LONG; i++)
        CHECK(data[i] == value(from, round, i), "%s, round %d, from %d: %d at %d", what, round,
              from, data[i], i);
}

// Everybody writes to its right neighbour and reads from its left one, between fences.
static void fences(void) {
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    int *data = malloc(LONG * sizeof(int)), *back = malloc(LONG * sizeof(int));
    MUST(MPI_Win_fence(0, win));
    for (int round = 0; round < ROUNDS; round++) {
        number(data, rank, round);
        MUST(MPI_Put(data, LONG, MPI_INT, right, 0, LONG, MPI_INT, win));
        MUST(MPI_Win_fence(0, win));
        // The buffer is ours again.
        memset(data, 0xee, LONG * sizeof(int));
        check(base, left, round, "put");
        MUST(MPI_Get(back, LONG, MPI_INT, right, 0, LONG, MPI_INT, win));
        MUST(MPI_Win_fence(0, win));
        check(back, rank, round, "get");
    }
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    free(data);
    free(back);
}

// All add to one array under a lock: a lost or late write is a missing one.
static void locks(void) {
    int *data = malloc(LONG * sizeof(int));
    if (rank == 0) memset(base, 0, LONG * sizeof(int));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    for (int round = 0; round < ROUNDS; round++) {
        MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win));
        MUST(MPI_Get(data, LONG, MPI_INT, 0, 0, LONG, MPI_INT, win));
        MUST(MPI_Win_flush(0, win));
        for (int i = 0; i < LONG; i++) data[i]++;
        MUST(MPI_Put(data, LONG, MPI_INT, 0, 0, LONG, MPI_INT, win));
        MUST(MPI_Win_unlock(0, win));
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) {
        MUST(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win));
        for (int i = 0; i < LONG; i++)
            CHECK(base[i] == size * ROUNDS, "%d at %d", base[i], i);
        MUST(MPI_Win_unlock(0, win));
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    free(data);
}

// Requests and local flushes: the buffer may change after them, and the target has what it held.
// Each rank has a part of the target's memory, in pieces that need not lie side by side here.
static void requests(void) {
    int part = LONG / size, target = size - 1;
    int *data = malloc(2 * part * sizeof(int)), *back = calloc(2 * part, sizeof(int));
    MPI_Datatype every_other;
    MPI_Request request;
    MUST(MPI_Type_vector(part, 1, 2, MPI_INT, &every_other));
    MUST(MPI_Type_commit(&every_other));
    MUST(MPI_Win_lock_all(0, win));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < part; i++) data[i] = value(rank, round, i);
        if (round % 2) {
            MUST(MPI_Rput(data, part, MPI_INT, target, rank * part, part, MPI_INT, win, &request));
            MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        } else {
            MUST(MPI_Put(data, part, MPI_INT, target, rank * part, part, MPI_INT, win));
            MUST(MPI_Win_flush_local(target, win));
        }
        memset(data, 0xee, part * sizeof(int));
        MUST(MPI_Win_flush(target, win));
        memset(back, 0, 2 * part * sizeof(int));
        MUST(MPI_Rget(back, 1, every_other, target, rank * part, part, MPI_INT, win, &request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        for (int i = 0; i < part; i++) {
            CHECK(back[2 * i] == value(rank, round, i), "round %d: %d at %d", round, back[2 * i],
                  i);
            EQUAL(back[2 * i + 1], 0);
        }
        // And back from there.
        for (int i = 0; i < part; i++) back[2 * i] = value(rank + 5, round, i);
        MUST(MPI_Put(back, 1, every_other, target, rank * part, part, MPI_INT, win));
        MUST(MPI_Win_flush_all(win));
        MUST(MPI_Get(data, part, MPI_INT, target, rank * part, part, MPI_INT, win));
        MUST(MPI_Win_flush_local_all(win));
        for (int i = 0; i < part; i++) EQUAL(data[i], value(rank + 5, round, i));
    }
    MUST(MPI_Win_unlock_all(win));
    MUST(MPI_Type_free(&every_other));
    free(data);
    free(back);
}

// Post and start: rank 0 is the target of all others, then the origin of all.
static void posts(void) {
    MPI_Group world, others, first;
    int zero = 0, part = LONG / size;
    int *data = malloc(LONG * sizeof(int));
    if (size == 1) return;
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &world));
    MUST(MPI_Group_excl(world, 1, &zero, &others));
    MUST(MPI_Group_incl(world, 1, &zero, &first));
    for (int round = 0; round < ROUNDS; round++) {
        number(data, rank, round);
        if (rank == 0) {
            MUST(MPI_Win_post(others, 0, win));
            MUST(MPI_Win_wait(win));
            for (int from = 1; from < size; from++)
                for (int i = 0; i < part; i++) EQUAL(base[from * part + i], value(from, round, i));
            MUST(MPI_Win_start(others, 0, win));
            for (int to = 1; to < size; to++)
                MUST(MPI_Put(data, LONG, MPI_INT, to, 0, LONG, MPI_INT, win));
            MUST(MPI_Win_complete(win));
        } else {
            MUST(MPI_Win_start(first, 0, win));
            MUST(MPI_Put(data, part, MPI_INT, 0, rank * part, part, MPI_INT, win));
            MUST(MPI_Win_complete(win));
            MUST(MPI_Win_post(first, 0, win));
            MUST(MPI_Win_wait(win));
            check(base, 0, round, "post");
        }
    }
    MUST(MPI_Group_free(&world));
    MUST(MPI_Group_free(&others));
    MUST(MPI_Group_free(&first));
    free(data);
}

// Strait counts what a fabric moved by itself: all but the first, where that is asked for.
static MPI_T_pvar_session session;
static MPI_T_pvar_handle counters[2];
static const char *names[2] = {"strait_remote_writes", "strait_remote_reads"};

static int over_fabric(void) {
    const char *lanes = getenv("STRAIT_LANES"), *bytes = getenv("STRAIT_RMA_BYTES");
    return size > 1 && lanes && bytes && atoi(bytes) == 0 &&
           (!strcmp(lanes, "ofi") || !strcmp(lanes, "ucx"));
}

static void count(void) {
    int index, one;
    if (!over_fabric()) return;
    MUST(MPI_T_pvar_session_create(&session));
    for (int i = 0; i < 2; i++) {
        MUST(MPI_T_pvar_get_index(names[i], MPI_T_PVAR_CLASS_COUNTER, &index));
        MUST(MPI_T_pvar_handle_alloc(session, index, NULL, &counters[i], &one));
        MUST(MPI_T_pvar_start(session, counters[i]));
    }
}

static void counted(void) {
    unsigned long long moved = 0;
    if (!over_fabric()) return;
    for (int i = 0; i < 2; i++) {
        MUST(MPI_T_pvar_read(session, counters[i], &moved));
        // All but the first to each target, of two windows.
        unsigned long long wanted = 2 * (ROUNDS - 1);
        CHECK(moved >= wanted, "%s: %llu, expected %llu", names[i], moved, wanted);
    }
    MUST(MPI_T_pvar_session_free(&session));
}

static void all(void) {
    fences();
    locks();
    requests();
    posts();
    MUST(MPI_Win_free(&win));
}

int main(int argc, char **argv) {
    int provided;
    begin(&argc, &argv);
    MUST(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    count();
    MUST(MPI_Win_allocate(LONG * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                          &win));
    all();
    base = malloc(LONG * sizeof(int));
    MUST(MPI_Win_create(base, LONG * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD,
                        &win));
    int *mine = base;
    all();
    free(mine);
    counted();
    MUST(MPI_T_finalize());
    MPI_Finalize();
    if (rank == 0) puts("ok");
    return 0;
}
