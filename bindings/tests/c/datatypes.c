// SPDX-License-Identifier: Apache-2.0 OR MIT
// Derived datatypes: what is sent with one layout arrives in another, byte for byte; extents,
// sizes, packing, and counts of elements.
#include "check.h"
#include <stddef.h>

#define N 64

static int peer;

// Sends `count` of `type` from `out` to the partner, which receives it as `as` into `in`.
static void transfer(void *out, int count, MPI_Datatype type, void *in, int n, MPI_Datatype as) {
    MPI_Status status;
    MUST(MPI_Sendrecv(out, count, type, peer, 1, in, n, as, peer, 1, MPI_COMM_WORLD, &status));
    int size_out = 0, elements = 0;
    MUST(MPI_Type_size(type, &size_out));
    MUST(MPI_Get_elements(&status, MPI_INT, &elements));
    EQUAL(elements * 4, size_out * count);
}

static void columns(void) {
    // A column of a matrix becomes a row.
    int matrix[N][N], row[N];
    MPI_Datatype column;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) matrix[i][j] = rank * 10000 + i * N + j;
    MUST(MPI_Type_vector(N, 1, N, MPI_INT, &column));
    MUST(MPI_Type_commit(&column));
    transfer(&matrix[0][5], 1, column, row, N, MPI_INT);
    for (int i = 0; i < N; i++) EQUAL(row[i], peer * 10000 + i * N + 5);

    // A row becomes a column, and the rest of the matrix stays.
    for (int i = 0; i < N; i++) row[i] = rank * 77 + i;
    transfer(row, N, MPI_INT, &matrix[0][9], 1, column);
    for (int i = 0; i < N; i++) {
        EQUAL(matrix[i][9], peer * 77 + i);
        EQUAL(matrix[i][10], rank * 10000 + i * N + 10);
    }
    // Columns next to each other: a resized type makes a transpose.
    MPI_Datatype narrow;
    MPI_Aint low, extent;
    int flat[N][N];
    MUST(MPI_Type_create_resized(column, 0, sizeof(int), &narrow));
    MUST(MPI_Type_commit(&narrow));
    MUST(MPI_Type_get_extent(narrow, &low, &extent));
    EQUAL(low, 0);
    EQUAL(extent, sizeof(int));
    MUST(MPI_Type_get_true_extent(narrow, &low, &extent));
    EQUAL(extent, ((N - 1) * N + 1) * sizeof(int));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) matrix[i][j] = rank * 10000 + i * N + j;
    transfer(matrix, N, narrow, flat, N * N, MPI_INT);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) EQUAL(flat[j][i], peer * 10000 + i * N + j);
    MUST(MPI_Type_free(&narrow));
    MUST(MPI_Type_free(&column));
    CHECK(column == MPI_DATATYPE_NULL, "a freed type is not null");
}

static void indexed(void) {
    int lengths[4] = {3, 0, 1, 2}, places[4] = {10, 50, 0, 30}, from[N], into[N];
    MPI_Datatype type, block;
    for (int i = 0; i < N; i++) from[i] = rank * 1000 + i, into[i] = -1;
    MUST(MPI_Type_indexed(4, lengths, places, MPI_INT, &type));
    MUST(MPI_Type_commit(&type));
    transfer(from, 1, type, into, 1, type);
    for (int i = 0; i < N; i++) {
        int in = (i >= 10 && i < 13) || i == 0 || i == 30 || i == 31;
        EQUAL(into[i], in ? peer * 1000 + i : -1);
    }
    // The order of the blocks is the order of the message.
    int flat[6], wanted[6] = {10, 11, 12, 0, 30, 31};
    transfer(from, 1, type, flat, 6, MPI_INT);
    for (int i = 0; i < 6; i++) EQUAL(flat[i], peer * 1000 + wanted[i]);
    MUST(MPI_Type_free(&type));

    int starts[3] = {40, 0, 20};
    MUST(MPI_Type_create_indexed_block(3, 2, starts, MPI_INT, &block));
    MUST(MPI_Type_commit(&block));
    transfer(from, 1, block, flat, 6, MPI_INT);
    for (int i = 0; i < 6; i++) EQUAL(flat[i], peer * 1000 + starts[i / 2] + i % 2);
    MUST(MPI_Type_free(&block));
}

struct mixed {
    char letter;
    double real;
    int numbers[3];
    short small;
};

static void structure(void) {
    int lengths[4] = {1, 1, 3, 1};
    MPI_Aint places[4] = {offsetof(struct mixed, letter), offsetof(struct mixed, real),
                          offsetof(struct mixed, numbers), offsetof(struct mixed, small)};
    MPI_Datatype types[4] = {MPI_CHAR, MPI_DOUBLE, MPI_INT, MPI_SHORT}, bare, type;
    MUST(MPI_Type_create_struct(4, lengths, places, types, &bare));
    MUST(MPI_Type_create_resized(bare, 0, sizeof(struct mixed), &type));
    MUST(MPI_Type_commit(&type));
    MUST(MPI_Type_free(&bare));
    int bytes = 0;
    MUST(MPI_Type_size(type, &bytes));
    EQUAL(bytes, 1 + 8 + 12 + 2);
    struct mixed out[5], in[5];
    memset(in, 0, sizeof in);
    for (int i = 0; i < 5; i++)
        out[i] = (struct mixed){'a' + i, rank + i / 8.0, {i, rank, -i}, 300 * i};
    MPI_Status status;
    int count = -1;
    MUST(MPI_Sendrecv(out, 4, type, peer, 2, in, 5, type, peer, 2, MPI_COMM_WORLD, &status));
    MUST(MPI_Get_count(&status, type, &count));
    EQUAL(count, 4);
    for (int i = 0; i < 4; i++) {
        EQUAL(in[i].letter, 'a' + i);
        CHECK(in[i].real == peer + i / 8.0, "%g", in[i].real);
        EQUAL(in[i].numbers[1], peer);
        EQUAL(in[i].numbers[2], -i);
        EQUAL(in[i].small, 300 * i);
    }
    EQUAL(in[4].letter, 0);

    // Packed by hand, it is the same message.
    int position = 0, space = 0, at = 0;
    MUST(MPI_Pack_size(4, type, MPI_COMM_WORLD, &space));
    char *packed = malloc(space);
    MUST(MPI_Pack(out, 4, type, packed, space, &position, MPI_COMM_WORLD));
    CHECK(position <= space, "packed %d of %d", position, space);
    memset(in, 0, sizeof in);
    MUST(MPI_Unpack(packed, position, &at, in, 4, type, MPI_COMM_WORLD));
    EQUAL(at, position);
    for (int i = 0; i < 4; i++) EQUAL(in[i].numbers[1], rank);
    free(packed);

    int integers = 0, addresses = 0, datatypes = 0, combiner = 0;
    MUST(MPI_Type_get_envelope(type, &integers, &addresses, &datatypes, &combiner));
    EQUAL(combiner, MPI_COMBINER_RESIZED);
    EQUAL(addresses, 2);
    EQUAL(datatypes, 1);
    MUST(MPI_Type_free(&type));
}

static void subarray(void) {
    int sizes[3] = {8, 9, 10}, part[3] = {3, 4, 5}, start[3] = {2, 1, 4};
    int cube[8][9][10], flat[60];
    MPI_Datatype type;
    MUST(MPI_Type_create_subarray(3, sizes, part, start, MPI_ORDER_C, MPI_INT, &type));
    MUST(MPI_Type_commit(&type));
    for (int i = 0; i < 720; i++) ((int *)cube)[i] = rank * 1000 + i;
    transfer(cube, 1, type, flat, 60, MPI_INT);
    for (int i = 0, at = 0; i < 3; i++)
        for (int j = 0; j < 4; j++)
            for (int k = 0; k < 5; k++, at++)
                EQUAL(flat[at], peer * 1000 + (i + 2) * 90 + (j + 1) * 10 + k + 4);
    MUST(MPI_Type_free(&type));
}

// Large, with small pieces: goes through every protocol; nested types.
static void large(void) {
    int pieces = 200000;
    int *out = malloc(3 * pieces * sizeof *out), *in = malloc(3 * pieces * sizeof *in);
    MPI_Datatype pair, wide, many;
    MUST(MPI_Type_contiguous(2, MPI_INT, &pair));
    MUST(MPI_Type_create_hvector(pieces / 100, 1, 3 * sizeof(int), pair, &wide));
    MUST(MPI_Type_create_resized(wide, 0, 3 * sizeof(int) * (pieces / 100), &many));
    MUST(MPI_Type_commit(&many));
    for (int i = 0; i < 3 * pieces; i++) out[i] = rank + 2 * i, in[i] = -1;
    transfer(out, 100, many, in, 100, many);
    for (int i = 0; i < 3 * pieces; i++)
        CHECK(in[i] == (i % 3 == 2 ? -1 : peer + 2 * i), "in[%d] is %d", i, in[i]);
    MUST(MPI_Type_free(&many));
    MUST(MPI_Type_free(&wide));
    MUST(MPI_Type_free(&pair));
    free(out);
    free(in);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    peer = rank ^ 1;
    if (peer >= size) peer = rank;
    columns();
    indexed();
    structure();
    subarray();
    large();
    return end();
}
