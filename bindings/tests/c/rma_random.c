// SPDX-License-Identifier: Apache-2.0 OR MIT
// Random epochs of one-sided accesses against a model that every rank computes by itself: who
// accesses what is drawn from one seed, so all ranks know what must be in every window.
//
// Within an epoch a cell is touched by one access only, or by sums only. So the order in which
// accesses arrive does not matter, and every cell and every fetched value has one right answer.
#include "check.h"

enum { CELLS = 96, EPOCHS = 80, TRIES = 12, RANKS_MAX = 16, LENGTH_MAX = 6 };

static uint64_t state = 0x243f6a8885a308d3u;

static unsigned draw(unsigned below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)((state >> 11) % below);
}

enum kind { PUT, GET, SUM_UP, FETCH, KINDS };

struct access {
    int origin, target, kind, first, count, stride;
    long value;
};

static struct access plan[TRIES * RANKS_MAX];
static int planned;
static long model[RANKS_MAX][CELLS], after[RANKS_MAX][CELLS];
static long given[TRIES * RANKS_MAX][LENGTH_MAX], got[TRIES * RANKS_MAX][LENGTH_MAX];

static int cell(const struct access *a, int i) { return a->first + i * a->stride; }

// Draws the accesses of an epoch, and what they leave behind.
static void draw_epoch(void) {
    enum { FREE, ONE, SUMS };
    static int use[RANKS_MAX][CELLS];
    memset(use, 0, sizeof use);
    planned = 0;
    for (int try = 0; try < TRIES * size; try++) {
        struct access a;
        a.origin = (int)draw(size), a.target = (int)draw(size), a.kind = (int)draw(KINDS);
        a.first = (int)draw(CELLS), a.count = 1 + (int)draw(LENGTH_MAX);
        a.stride = 1 + (int)draw(4), a.value = draw(1000);
        int wanted = a.kind == SUM_UP ? SUMS : ONE, fits = cell(&a, a.count - 1) < CELLS;
        for (int i = 0; fits && i < a.count; i++) {
            int is = use[a.target][cell(&a, i)];
            fits = is == FREE || (is == SUMS && wanted == SUMS);
        }
        if (!fits) continue;
        for (int i = 0; i < a.count; i++) use[a.target][cell(&a, i)] = wanted;
        plan[planned++] = a;
    }
    memcpy(after, model, sizeof model);
    for (int n = 0; n < planned; n++)
        for (int i = 0; i < plan[n].count; i++) {
            long *there = &after[plan[n].target][cell(&plan[n], i)];
            if (plan[n].kind == PUT) *there = plan[n].value + i;
            if (plan[n].kind == SUM_UP || plan[n].kind == FETCH) *there += plan[n].value + i;
        }
}

// Our accesses to a target (to all of them, if it is -1).
static void access_all(MPI_Win win, int target) {
    for (int n = 0; n < planned; n++) {
        const struct access *a = &plan[n];
        if (a->origin != rank || (target >= 0 && a->target != target)) continue;
        MPI_Datatype there;
        for (int i = 0; i < a->count; i++) given[n][i] = a->value + i, got[n][i] = -1;
        MUST(MPI_Type_vector(a->count, 1, a->stride, MPI_LONG, &there));
        MUST(MPI_Type_commit(&there));
        if (a->kind == PUT)
            MUST(MPI_Put(given[n], a->count, MPI_LONG, a->target, a->first, 1, there, win));
        if (a->kind == GET)
            MUST(MPI_Get(got[n], a->count, MPI_LONG, a->target, a->first, 1, there, win));
        if (a->kind == SUM_UP)
            MUST(MPI_Accumulate(given[n], a->count, MPI_LONG, a->target, a->first, 1, there,
                                MPI_SUM, win));
        if (a->kind == FETCH)
            MUST(MPI_Get_accumulate(given[n], a->count, MPI_LONG, got[n], a->count, MPI_LONG,
                                    a->target, a->first, 1, there, MPI_SUM, win));
        MUST(MPI_Type_free(&there)); // an access keeps what it needs of it
    }
}

static void run_epoch(MPI_Win win, MPI_Group all, int how) {
    switch (how) {
    case 0:
        MUST(MPI_Win_fence(0, win));
        access_all(win, -1);
        MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
        break;
    case 1:
        MUST(MPI_Win_post(all, 0, win));
        MUST(MPI_Win_start(all, 0, win));
        access_all(win, -1);
        MUST(MPI_Win_complete(win));
        MUST(MPI_Win_wait(win));
        break;
    case 2:
        MUST(MPI_Win_lock_all(0, win));
        access_all(win, -1);
        MUST(MPI_Win_flush_all(win));
        MUST(MPI_Win_unlock_all(win));
        break;
    default:
        for (int i = 0; i < size; i++) {
            int target = (rank + i) % size, lock = i % 2 ? MPI_LOCK_EXCLUSIVE : MPI_LOCK_SHARED;
            MUST(MPI_Win_lock(lock, target, 0, win));
            access_all(win, target);
            MUST(MPI_Win_unlock(target, win));
        }
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

static void check_epoch(const long *cells) {
    for (int n = 0; n < planned; n++) {
        const struct access *a = &plan[n];
        if (a->origin != rank || (a->kind != GET && a->kind != FETCH)) continue;
        for (int i = 0; i < a->count; i++) EQUAL(got[n][i], model[a->target][cell(a, i)]);
    }
    for (int i = 0; i < CELLS; i++) EQUAL(cells[i], after[rank][i]);
    memcpy(model, after, sizeof model);
    MUST(MPI_Barrier(MPI_COMM_WORLD)); // nobody goes on before all have looked
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    CHECK(size <= RANKS_MAX, "the model has no room for %d ranks", size);
    MPI_Group all;
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &all));
    for (int flavor = 0; flavor < 2; flavor++) {
        MPI_Win win;
        long own[CELLS], *cells = own;
        MPI_Aint bytes = sizeof own;
        if (flavor == 0)
            MUST(MPI_Win_create(own, bytes, sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &win));
        else
            MUST(MPI_Win_allocate(bytes, sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &cells,
                                  &win));
        for (int i = 0; i < CELLS; i++) cells[i] = 0;
        memset(model, 0, sizeof model);
        MUST(MPI_Barrier(MPI_COMM_WORLD));
        for (int epoch = 0; epoch < EPOCHS; epoch++) {
            int how = (int)draw(4);
            snprintf(standing, sizeof standing, " in epoch %d (kind %d) of flavor %d", epoch, how,
                     flavor);
            draw_epoch();
            run_epoch(win, all, how);
            check_epoch(cells);
        }
        MUST(MPI_Win_free(&win));
    }
    MUST(MPI_Group_free(&all));
    return end();
}
