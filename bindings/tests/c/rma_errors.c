// SPDX-License-Identifier: Apache-2.0 OR MIT
// One-sided communication: what is refused, and that nothing was touched then; all predefined
// operations against plain C; and, where ranks share a host's memory, targets that make no call.
// Ours only: which class an error has differs between libraries.
#include "check.h"
#include <sched.h>

static MPI_Win win;
static long *cells;

#define REFUSED(call, class) EQUAL(class_of(call), class)

static void epochs(void) {
    long value = 1;
    MPI_Group self;
    MUST(MPI_Comm_group(MPI_COMM_SELF, &self));
    REFUSED(MPI_Put(&value, 1, MPI_LONG, rank, 0, 1, MPI_LONG, win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_unlock(rank, win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_unlock_all(win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_flush(rank, win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_complete(win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_wait(win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_lock(77, rank, 0, win), MPI_ERR_LOCKTYPE);
    REFUSED(MPI_Win_lock(MPI_LOCK_SHARED, size, 0, win), MPI_ERR_RANK);
    REFUSED(MPI_Win_lock(MPI_LOCK_SHARED, rank, 7, win), MPI_ERR_ASSERT);
    MUST(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win));
    REFUSED(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_lock_all(0, win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_start(self, 0, win), MPI_ERR_RMA_SYNC);
    REFUSED(MPI_Win_fence(0, win), MPI_ERR_RMA_SYNC);
    if (size > 1)
        REFUSED(MPI_Put(&value, 1, MPI_LONG, (rank + 1) % size, 0, 1, MPI_LONG, win),
                MPI_ERR_RMA_SYNC);
    MUST(MPI_Win_unlock(rank, win));
    MUST(MPI_Win_post(self, 0, win));
    MUST(MPI_Win_start(self, 0, win));
    MUST(MPI_Put(&value, 1, MPI_LONG, rank, 0, 1, MPI_LONG, win));
    MPI_Win same = win;
    REFUSED(MPI_Win_free(&same), MPI_ERR_RMA_SYNC);
    MUST(MPI_Win_complete(win));
    MUST(MPI_Win_wait(win));
    EQUAL(cells[0], 1);
    cells[0] = 0;
    MUST(MPI_Group_free(&self));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

static void ranges(void) {
    long values[8] = {0}, one = 1;
    MPI_Datatype back, pair;
    int next = (rank + 1) % size;
    MUST(MPI_Type_vector(2, 1, -2, MPI_LONG, &back));
    MUST(MPI_Type_commit(&back));
    MUST(MPI_Type_contiguous(2, MPI_LONG, &pair));
    MUST(MPI_Win_lock_all(0, win));
    REFUSED(MPI_Put(values, 1, MPI_LONG, next, 8, 1, MPI_LONG, win), MPI_ERR_RMA_RANGE);
    REFUSED(MPI_Put(values, 8, MPI_LONG, next, 1, 8, MPI_LONG, win), MPI_ERR_RMA_RANGE);
    REFUSED(MPI_Get(values, 1, MPI_LONG, next, -1, 1, MPI_LONG, win), MPI_ERR_DISP);
    REFUSED(MPI_Get(values, -1, MPI_LONG, next, 0, 1, MPI_LONG, win), MPI_ERR_COUNT);
    REFUSED(MPI_Get(values, 2, MPI_LONG, next, 1, 1, back, win), MPI_ERR_RMA_RANGE);
    MUST(MPI_Get(values, 2, MPI_LONG, next, 2, 1, back, win));
    REFUSED(MPI_Get(values, 1, MPI_LONG, next, 0, 2, MPI_LONG, win), MPI_ERR_TYPE);
    REFUSED(MPI_Get(values, 1, pair, next, 0, 1, pair, win), MPI_ERR_TYPE); // not committed
    REFUSED(MPI_Get(values, 1, MPI_LONG, size, 0, 1, MPI_LONG, win), MPI_ERR_RANK);
    REFUSED(MPI_Accumulate(&one, 1, MPI_LONG, next, 0, 1, MPI_LONG, MPI_MINLOC, win), MPI_ERR_OP);
    REFUSED(MPI_Accumulate(&one, 1, MPI_LONG, next, 0, 1, MPI_DOUBLE, MPI_SUM, win), MPI_ERR_TYPE);
    REFUSED(MPI_Accumulate(&one, 1, MPI_LONG, next, 0, 1, MPI_LONG, MPI_OP_NULL, win), MPI_ERR_OP);
    REFUSED(MPI_Compare_and_swap(&one, &one, values, MPI_DOUBLE, next, 0, win), MPI_ERR_TYPE);
    // The last bytes are there.
    MUST(MPI_Put(values, 1, MPI_LONG, next, 7, 1, MPI_LONG, win));
    MUST(MPI_Put(values, 0, MPI_LONG, next, 8, 0, MPI_LONG, win));
    MUST(MPI_Win_unlock_all(win));
    MUST(MPI_Type_free(&back));
    MUST(MPI_Type_free(&pair));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    for (int i = 0; i < 8; i++) EQUAL(cells[i], 0);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

// What is not attached is not there; at the latest the end of the epoch says so.
static void detached(void) {
    MPI_Win loose;
    long value = 3;
    MUST(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &loose));
    MUST(MPI_Win_set_errhandler(loose, MPI_ERRORS_RETURN));
    MUST(MPI_Win_lock_all(0, loose));
    int put = class_of(MPI_Put(&value, 1, MPI_LONG, (rank + 1) % size, 8, 1, MPI_LONG, loose));
    int flushed = class_of(MPI_Win_flush_all(loose));
    CHECK(put == MPI_ERR_RMA_RANGE || flushed == MPI_ERR_RMA_RANGE, "%d and %d", put, flushed);
    int get = class_of(MPI_Get(&value, 1, MPI_LONG, (rank + 1) % size, 8, 1, MPI_LONG, loose));
    flushed = class_of(MPI_Win_flush_all(loose));
    CHECK(get == MPI_ERR_RMA_RANGE || flushed == MPI_ERR_RMA_RANGE, "%d and %d", get, flushed);
    EQUAL(value, 3);
    MUST(MPI_Win_unlock_all(loose));
    MUST(MPI_Win_free(&loose));
}

#define COMBINED(type, mpi, code, expression)                                             \
    do {                                                                                  \
        type *there = (type *)cells, a = (type)6, b = (type)3, old = 0;                   \
        (void)b;                                                                          \
        *there = a;                                                                       \
        MUST(MPI_Barrier(MPI_COMM_WORLD));                                                \
        if (rank == 0) {                                                                  \
            MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, size - 1, 0, win));                     \
            MUST(MPI_Get_accumulate(&b, 1, mpi, &old, 1, mpi, size - 1, 0, 1, mpi, code,  \
                                    win));                                                \
            MUST(MPI_Win_unlock(size - 1, win));                                          \
            CHECK(old == a, "what was there");                                            \
        }                                                                                 \
        MUST(MPI_Barrier(MPI_COMM_WORLD));                                                \
        if (rank == size - 1) CHECK(*there == (type)(expression), #mpi " " #code);        \
        MUST(MPI_Barrier(MPI_COMM_WORLD));                                                \
    } while (0)

#define NUMBERS(type, mpi)                                                                \
    COMBINED(type, mpi, MPI_SUM, a + b);                                                  \
    COMBINED(type, mpi, MPI_PROD, a *b);                                                  \
    COMBINED(type, mpi, MPI_MAX, a > b ? a : b);                                          \
    COMBINED(type, mpi, MPI_MIN, a < b ? a : b);                                          \
    COMBINED(type, mpi, MPI_REPLACE, b);                                                  \
    COMBINED(type, mpi, MPI_NO_OP, a)

#define WHOLES(type, mpi)                                                                 \
    NUMBERS(type, mpi);                                                                   \
    COMBINED(type, mpi, MPI_BAND, a &b);                                                  \
    COMBINED(type, mpi, MPI_BOR, a | b);                                                  \
    COMBINED(type, mpi, MPI_BXOR, a ^ b);                                                 \
    COMBINED(type, mpi, MPI_LAND, a &&b);                                                 \
    COMBINED(type, mpi, MPI_LOR, a || b);                                                 \
    COMBINED(type, mpi, MPI_LXOR, !a != !b)

static void operations(void) {
    WHOLES(signed char, MPI_SIGNED_CHAR);
    WHOLES(unsigned short, MPI_UNSIGNED_SHORT);
    WHOLES(int, MPI_INT);
    WHOLES(uint64_t, MPI_UINT64_T);
    NUMBERS(float, MPI_FLOAT);
    NUMBERS(double, MPI_DOUBLE);
    NUMBERS(long double, MPI_LONG_DOUBLE);
    COMBINED(MPI_Aint, MPI_AINT, MPI_SUM, a + b);
    COMBINED(unsigned char, MPI_BYTE, MPI_BXOR, a ^ b);
    COMBINED(char, MPI_CHAR, MPI_REPLACE, b);

    // A pair has a gap, which stays as it is.
    struct pair {
        double value;
        int index;
    } *there = (struct pair *)cells, mine = {2.5, 1}, old;
    memset(cells, 0x5a, sizeof *there);
    there->value = 2.5, there->index = 7;
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) {
        MUST(MPI_Win_lock(MPI_LOCK_SHARED, size - 1, 0, win));
        MUST(MPI_Fetch_and_op(&mine, &old, MPI_DOUBLE_INT, size - 1, 0, MPI_MAXLOC, win));
        MUST(MPI_Win_unlock(size - 1, win));
        CHECK(old.value == 2.5 && old.index == 7, "what was there");
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == size - 1) {
        CHECK(there->value == 2.5 && there->index == 1, "%g %d", there->value, there->index);
        for (size_t i = 12; i < sizeof *there; i++) EQUAL(((unsigned char *)there)[i], 0x5a);
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    memset(cells, 0, 8 * sizeof *cells);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

// The target looks at its memory and calls nothing until it sees the last store.
static void silent_targets(void) {
    if (over_network()) return; // messages need calls
    if (rank == 0) {
        long one = 1, old;
        for (int target = 1; target < size; target++) {
            MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, target, 0, win));
            MUST(MPI_Put(&one, 1, MPI_LONG, target, 1, 1, MPI_LONG, win));
            MUST(MPI_Win_flush(target, win));
            MUST(MPI_Fetch_and_op(&one, &old, MPI_LONG, target, 0, MPI_SUM, win));
            MUST(MPI_Win_unlock(target, win));
            EQUAL(old, 0);
        }
    } else {
        while (__atomic_load_n(&cells[0], __ATOMIC_ACQUIRE) == 0) sched_yield();
        EQUAL(cells[1], 1);
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    long own[8] = {0};
    for (int private = 0; private < 2; private++) {
        snprintf(standing, sizeof standing, " in memory of %s", private ? "its own" : "the window");
        if (private) {
            cells = own;
            MUST(MPI_Win_create(own, sizeof own, sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD,
                                &win));
        } else {
            MUST(MPI_Win_allocate(sizeof own, sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &cells,
                                  &win));
        }
        MUST(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
        MUST(MPI_Barrier(MPI_COMM_WORLD));
        epochs();
        ranges();
        operations();
        silent_targets();
        MUST(MPI_Win_free(&win));
    }
    standing[0] = 0;
    detached();
    return end();
}
