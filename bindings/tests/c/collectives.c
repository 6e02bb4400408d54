// SPDX-License-Identifier: Apache-2.0 OR MIT
// Every blocking collective against its definition: each root, counts 0, 1, odd and large, in
// place where the standard has it, blocks of different sizes.
// seconds: 120
#include "check.h"

static const int counts[] = {0, 1, 3, 17, 1000, 40001};
#define COUNTS (int)(sizeof counts / sizeof *counts)

static int *space(int items) {
    int *memory = malloc(((size_t)items + 1) * sizeof *memory);
    for (int i = 0; i <= items; i++) memory[i] = -7;
    return memory;
}

// The item at place `i` of what rank `r` contributes.
static int item(int r, int i) {
    return r * 1000003 + i * 7 + 1;
}

static int *contribution(int items) {
    int *memory = space(items);
    for (int i = 0; i < items; i++) memory[i] = item(rank, i);
    return memory;
}

static void bcast_reduce(int n) {
    for (int root = 0; root < size; root++) {
        int *data = rank == root ? contribution(n) : space(n);
        MUST(MPI_Bcast(data, n, MPI_INT, root, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) EQUAL(data[i], item(root, i));
        EQUAL(data[n], -7);
        free(data);

        int *out = contribution(n), *in = space(n);
        MUST(MPI_Reduce(out, in, n, MPI_INT, MPI_MAX, root, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) EQUAL(in[i], rank == root ? item(size - 1, i) : -7);
        if (rank == root)
            MUST(MPI_Reduce(MPI_IN_PLACE, out, n, MPI_INT, MPI_MIN, root, MPI_COMM_WORLD));
        else
            MUST(MPI_Reduce(out, NULL, n, MPI_INT, MPI_MIN, root, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) EQUAL(out[i], item(rank == root ? 0 : rank, i));
        free(out);
        free(in);
    }
}

static void gather_scatter(int n) {
    for (int root = 0; root < size; root++) {
        int *out = contribution(n), *in = rank == root ? space(n * size) : NULL;
        MUST(MPI_Gather(out, n, MPI_INT, in, n, MPI_INT, root, MPI_COMM_WORLD));
        for (int i = 0; rank == root && i < n * size; i++) EQUAL(in[i], item(i / n, i % n));
        // What was gathered goes back, doubled.
        for (int i = 0; rank == root && i < n * size; i++) in[i] *= 2;
        MUST(MPI_Scatter(in, n, MPI_INT, rank == root ? MPI_IN_PLACE : out, n, MPI_INT, root,
                         MPI_COMM_WORLD));
        int *mine = rank == root ? in + rank * n : out;
        for (int i = 0; i < n; i++) EQUAL(mine[i], 2 * item(rank, i));
        if (rank == root) {
            for (int i = 0; i < n; i++) in[rank * n + i] = item(rank, i);
            MUST(MPI_Gather(MPI_IN_PLACE, n, MPI_INT, in, n, MPI_INT, root, MPI_COMM_WORLD));
            for (int i = 0; i < n * size; i++)
                EQUAL(in[i], (i / n == rank ? 1 : 2) * item(i / n, i % n));
        } else {
            MUST(MPI_Gather(out, n, MPI_INT, NULL, 0, MPI_INT, root, MPI_COMM_WORLD));
        }
        free(out);
        free(in);
    }
}

static void allgather_alltoall(int n) {
    int *out = contribution(n), *in = space(n * size);
    MUST(MPI_Allgather(out, n, MPI_INT, in, n, MPI_INT, MPI_COMM_WORLD));
    for (int i = 0; i < n * size; i++) EQUAL(in[i], item(i / n, i % n));
    for (int i = 0; i < n * size; i++) in[i] = i / n == rank ? item(rank, i % n) : 0;
    MUST(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, in, n, MPI_INT, MPI_COMM_WORLD));
    for (int i = 0; i < n * size; i++) EQUAL(in[i], item(i / n, i % n));
    free(out);

    out = space(n * size);
    for (int i = 0; i < n * size; i++) out[i] = item(rank, i);
    MUST(MPI_Alltoall(out, n, MPI_INT, in, n, MPI_INT, MPI_COMM_WORLD));
    for (int i = 0; i < n * size; i++) EQUAL(in[i], item(i / n, rank * n + i % n));
    MUST(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out, n, MPI_INT, MPI_COMM_WORLD));
    for (int i = 0; i < n * size; i++) EQUAL(out[i], item(i / n, rank * n + i % n));
    EQUAL(in[n * size], -7);
    EQUAL(out[n * size], -7);
    free(out);
    free(in);
}

// The sum over all ranks of their item at place i, as int arithmetic does it.
static int sum_to(int ranks, int i) {
    unsigned sum = 0;
    for (int r = 0; r < ranks; r++) sum += (unsigned)item(r, i);
    return (int)sum;
}

static void sums(int n) {
    int *out = contribution(n * size), *in = space(n * size);
    MUST(MPI_Allreduce(out, in, n * size, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < n * size; i++) EQUAL(in[i], sum_to(size, i));
    MUST(MPI_Reduce_scatter_block(out, in, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < n; i++) EQUAL(in[i], sum_to(size, rank * n + i));
    MUST(MPI_Scan(out, in, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < n; i++) EQUAL(in[i], sum_to(rank + 1, i));
    MUST(MPI_Exscan(out, in, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; rank > 0 && i < n; i++) EQUAL(in[i], sum_to(rank, i));
    MUST(MPI_Scan(MPI_IN_PLACE, out, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < n; i++) EQUAL(out[i], sum_to(rank + 1, i));
    free(out);
    out = contribution(n * size);
    MUST(MPI_Allreduce(MPI_IN_PLACE, out, n * size, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < n * size; i++) EQUAL(out[i], sum_to(size, i));
    free(out);
    free(in);
}

// Blocks of different sizes with gaps between them: block r has n + r items, or none.
static int *lengths, *places, total;

static void layout(int n) {
    total = 0;
    for (int r = 0; r < size; r++) {
        lengths[r] = n % 2 && r % 3 == 1 ? 0 : n + r;
        places[r] = total;
        total += lengths[r] + 2;
    }
}

static void blocks(const int *memory, const char *what) {
    for (int r = 0; r < size; r++) {
        for (int i = 0; i < lengths[r]; i++)
            CHECK(memory[places[r] + i] == item(r, i), "%s: item %d of rank %d", what, i, r);
        EQUAL(memory[places[r] + lengths[r]], -7);
    }
}

static void vectors(int n) {
    layout(n);
    int mine = lengths[rank], root = n % size, *out = contribution(mine), *in = space(total);
    MUST(MPI_Allgatherv(out, mine, MPI_INT, in, lengths, places, MPI_INT, MPI_COMM_WORLD));
    blocks(in, "allgatherv");
    int *at_root = space(total), *back = space(mine);
    MUST(MPI_Gatherv(out, mine, MPI_INT, at_root, lengths, places, MPI_INT, root,
                     MPI_COMM_WORLD));
    if (rank == root) blocks(at_root, "gatherv");
    MUST(MPI_Scatterv(at_root, lengths, places, MPI_INT, back, mine, MPI_INT, root,
                      MPI_COMM_WORLD));
    for (int i = 0; i < mine; i++) EQUAL(back[i], item(rank, i));

    // Everybody sends rank r the block that rank r would have contributed.
    int *all = space(total), *got = space(size * (mine + 2));
    int *same = malloc(size * sizeof *same), *where = malloc(size * sizeof *where);
    for (int r = 0; r < size; r++) {
        same[r] = mine;
        where[r] = r * (mine + 2);
        for (int i = 0; i < lengths[r]; i++) all[places[r] + i] = item(rank, i + r);
    }
    MUST(MPI_Alltoallv(all, lengths, places, MPI_INT, got, same, where, MPI_INT,
                       MPI_COMM_WORLD));
    for (int r = 0; r < size; r++) {
        for (int i = 0; i < mine; i++) EQUAL(got[where[r] + i], item(r, i + rank));
        EQUAL(got[where[r] + mine], -7);
    }
    int *sum = space(mine), sum_items = 0, before = 0;
    for (int r = 0; r < size; r++) {
        before += r < rank ? lengths[r] : 0;
        sum_items += lengths[r];
    }
    int *parts = contribution(sum_items);
    MUST(MPI_Reduce_scatter(parts, sum, lengths, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < mine; i++) EQUAL(sum[i], sum_to(size, before + i));
    free(out), free(in), free(at_root), free(back), free(all), free(got), free(same);
    free(where), free(sum), free(parts);
}

// Alltoallw: a different type for each partner.
static void each_its_type(void) {
    int *one = malloc(size * sizeof(int)), *where = malloc(size * sizeof(int));
    MPI_Datatype *types = malloc(size * sizeof *types), *mine = malloc(size * sizeof *mine);
    double *out = calloc(size, sizeof *out), *in = calloc(size, sizeof *in);
    for (int r = 0; r < size; r++) {
        one[r] = 1;
        where[r] = r * sizeof(double);
        types[r] = (r + rank) % 2 ? MPI_INT : MPI_DOUBLE;
        mine[r] = types[r];
        if (types[r] == MPI_INT) *(int *)&out[r] = rank * 100 + r; else out[r] = rank + r / 4.0;
    }
    MUST(MPI_Alltoallw(out, one, where, types, in, one, where, mine, MPI_COMM_WORLD));
    for (int r = 0; r < size; r++) {
        if (mine[r] == MPI_INT) EQUAL(*(int *)&in[r], r * 100 + rank);
        else CHECK(in[r] == r + rank / 4.0, "from %d came %g", r, in[r]);
    }
    free(one), free(where), free(types), free(mine), free(out), free(in);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    lengths = malloc(size * sizeof *lengths);
    places = malloc(size * sizeof *places);
    for (int c = 0; c < COUNTS; c++) {
        int n = counts[c];
        bcast_reduce(n);
        gather_scatter(n);
        allgather_alltoall(n);
        sums(n > 10000 ? 10001 : n);
        vectors(n);
    }
    each_its_type();
    for (int i = 0; i < 200; i++) MUST(MPI_Barrier(MPI_COMM_WORLD));
    free(lengths);
    free(places);
    return end();
}
