// SPDX-License-Identifier: Apache-2.0 OR MIT
// Reduction operations: predefined ones over several types, user-defined ones, and one that does
// not commute, whose operands must be combined in the order of the ranks.
#include "check.h"

// Two by two matrices over the integers modulo a prime: multiplication does not commute.
typedef struct {
    unsigned a, b, c, d;
} matrix;

#define PRIME 32749u

static matrix times(matrix x, matrix y) {
    matrix z = {(x.a * y.a + x.b * y.c) % PRIME, (x.a * y.b + x.b * y.d) % PRIME,
                (x.c * y.a + x.d * y.c) % PRIME, (x.c * y.b + x.d * y.d) % PRIME};
    return z;
}

static void multiply(void *in, void *inout, int *length, MPI_Datatype *type) {
    (void)type;
    matrix *left = in, *right = inout;
    for (int i = 0; i < *length; i++) right[i] = times(left[i], right[i]);
}

static matrix matrix_of(int r, int i) {
    matrix m = {(r * 31 + i * 7 + 1) % 251, (r * 17 + i + 2) % 251, (r + i * 3) % 251, r + 5};
    return m;
}

static void same(matrix got, matrix wanted) {
    EQUAL(got.a, wanted.a);
    EQUAL(got.b, wanted.b);
    EQUAL(got.c, wanted.c);
    EQUAL(got.d, wanted.d);
}

static matrix product(int first, int last, int i) {
    matrix m = matrix_of(first, i);
    for (int r = first + 1; r <= last; r++) m = times(m, matrix_of(r, i));
    return m;
}

static void in_order(void) {
    static const int counts[] = {1, 5, 333, 4099};
    MPI_Datatype type;
    MPI_Op op;
    int commutes = 1;
    MUST(MPI_Type_contiguous(4, MPI_UNSIGNED, &type));
    MUST(MPI_Type_commit(&type));
    MUST(MPI_Op_create(multiply, 0, &op));
    MUST(MPI_Op_commutative(op, &commutes));
    EQUAL(commutes, 0);
    for (int c = 0; c < 4; c++) {
        int n = counts[c], root = (c + 1) % size;
        matrix *out = malloc(n * size * sizeof *out), *in = malloc(n * size * sizeof *in);
        for (int i = 0; i < n * size; i++) out[i] = matrix_of(rank, i);
        MUST(MPI_Reduce(out, in, n, type, op, root, MPI_COMM_WORLD));
        for (int i = 0; rank == root && i < n; i++) same(in[i], product(0, size - 1, i));
        MUST(MPI_Allreduce(out, in, n, type, op, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) same(in[i], product(0, size - 1, i));
        MUST(MPI_Reduce_scatter_block(out, in, n, type, op, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) same(in[i], product(0, size - 1, rank * n + i));
        MUST(MPI_Scan(out, in, n, type, op, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) same(in[i], product(0, rank, i));
        MUST(MPI_Exscan(out, in, n, type, op, MPI_COMM_WORLD));
        for (int i = 0; rank > 0 && i < n; i++) same(in[i], product(0, rank - 1, i));
        MUST(MPI_Allreduce(MPI_IN_PLACE, out, n, type, op, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++) same(out[i], product(0, size - 1, i));
        free(out);
        free(in);
    }
    MUST(MPI_Op_free(&op));
    CHECK(op == MPI_OP_NULL, "a freed operation is not null");
    MUST(MPI_Type_free(&type));
}

// One type with one operation: the answer of Allreduce and of Reduce_local.
#define TRY(ctype, type, op, first, second, wanted)                                       \
    do {                                                                                  \
        ctype mine = rank == 0 ? (ctype)(first) : (ctype)(second), answer = 0;            \
        ctype two = (ctype)(second);                                                      \
        if (size == 1) MUST(MPI_Reduce_local(&two, &mine, 1, type, op));                  \
        MUST(MPI_Allreduce(&mine, &answer, 1, type, op, pair));                           \
        CHECK(answer == (ctype)(wanted), "%s on %s", #op, #type);                         \
    } while (0)

// The logical and bitwise ones only exist for integers.
#define INTEGER(ctype, type)                                                              \
    do {                                                                                  \
        TRY(ctype, type, MPI_SUM, 100, 27, 127);                                          \
        TRY(ctype, type, MPI_PROD, 7, 9, 63);                                             \
        TRY(ctype, type, MPI_MAX, 3, 101, 101);                                           \
        TRY(ctype, type, MPI_MIN, 3, 101, 3);                                             \
        TRY(ctype, type, MPI_LAND, 4, 2, 1);                                              \
        TRY(ctype, type, MPI_LOR, 0, 2, 1);                                               \
        TRY(ctype, type, MPI_LXOR, 4, 2, 0);                                              \
        TRY(ctype, type, MPI_BAND, 12, 10, 8);                                            \
        TRY(ctype, type, MPI_BOR, 12, 10, 14);                                            \
        TRY(ctype, type, MPI_BXOR, 12, 10, 6);                                            \
    } while (0)

#define REAL(ctype, type)                                                                 \
    do {                                                                                  \
        TRY(ctype, type, MPI_SUM, 1.5, 2.25, 3.75);                                       \
        TRY(ctype, type, MPI_PROD, 1.5, 2.0, 3.0);                                        \
        TRY(ctype, type, MPI_MAX, -1.5, 2.25, 2.25);                                      \
        TRY(ctype, type, MPI_MIN, -1.5, 2.25, -1.5);                                      \
    } while (0)

static void predefined(void) {
    // The first two ranks suffice; the others are on their own.
    MPI_Comm pair;
    if (rank > 1) {
        MUST(MPI_Comm_split(MPI_COMM_WORLD, MPI_UNDEFINED, 0, &pair));
        return;
    }
    MUST(MPI_Comm_split(MPI_COMM_WORLD, 0, rank, &pair));
    INTEGER(int, MPI_INT);
    INTEGER(long, MPI_LONG);
    INTEGER(short, MPI_SHORT);
    INTEGER(unsigned, MPI_UNSIGNED);
    INTEGER(unsigned long, MPI_UNSIGNED_LONG);
    INTEGER(signed char, MPI_SIGNED_CHAR);
    INTEGER(unsigned char, MPI_UNSIGNED_CHAR);
    INTEGER(long long, MPI_LONG_LONG);
    INTEGER(int8_t, MPI_INT8_T);
    INTEGER(int16_t, MPI_INT16_T);
    INTEGER(int32_t, MPI_INT32_T);
    INTEGER(uint64_t, MPI_UINT64_T);
    REAL(float, MPI_FLOAT);
    REAL(double, MPI_DOUBLE);
    REAL(long double, MPI_LONG_DOUBLE);
    MUST(MPI_Comm_free(&pair));
}

static void places(void) {
    struct {
        double value;
        int at;
    } mine[3], best[3];
    for (int i = 0; i < 3; i++) {
        mine[i].value = (rank * 7 + i * 3) % size;
        mine[i].at = rank;
    }
    MUST(MPI_Allreduce(mine, best, 3, MPI_DOUBLE_INT, MPI_MAXLOC, MPI_COMM_WORLD));
    for (int i = 0; i < 3; i++) {
        double value = -1;
        int at = -1;
        for (int r = 0; r < size; r++)
            if ((r * 7 + i * 3) % size > value) value = (r * 7 + i * 3) % size, at = r;
        CHECK(best[i].value == value, "%g", best[i].value);
        EQUAL(best[i].at, at);
    }
    struct {
        int value, at;
    } low = {rank == size - 1 ? -4 : rank % 2, rank}, found;
    MUST(MPI_Allreduce(&low, &found, 1, MPI_2INT, MPI_MINLOC, MPI_COMM_WORLD));
    EQUAL(found.value, -4);
    EQUAL(found.at, size - 1);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    predefined();
    places();
    in_order();
    return end();
}
