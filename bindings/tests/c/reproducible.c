// SPDX-License-Identifier: Apache-2.0 OR MIT
// STRAIT_REPRODUCIBLE=exact: floating-point sums are the exact ones, rounded once: the same as
// those of the compiler's 113-bit numbers, by every call that adds, in place or not.
// Ours only: no other library has it.
#include "check.h"
#include <math.h>

#define LENGTH 700

static uint64_t state = 88172645463325252u;

static double number(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    // 53 random bits, of exponents so far apart that every addition in double rounds, and so near
    // that sums of seven fit 113 bits.
    double mantissa = (double)(state >> 11) - (1ll << 52);
    return ldexp(mantissa, (int)(state % 50));
}

static double all[8][LENGTH], mine[LENGTH], got[LENGTH * 8];
static float all_short[8][LENGTH], mine_short[LENGTH], got_short[LENGTH];

// The sum over the ranks first..last, of numbers that a double has.
static double sum_of(int element, int first, int last) {
    __float128 sum = 0;
    for (int r = first; r <= last; r++) sum += all[r][element];
    return (double)sum;
}

static void same(const double *results, int from, int length, int first, int last,
                 const char *call) {
    for (int i = 0; i < length; i++) {
        double wanted = sum_of(from + i, first, last);
        CHECK(memcmp(&results[i], &wanted, sizeof wanted) == 0, "%s, element %d: %a, not %a", call,
              from + i, results[i], wanted);
    }
}

static void blocking(MPI_Comm comm, int length) {
    int last = size - 1;
    MUST(MPI_Allreduce(mine, got, length, MPI_DOUBLE, MPI_SUM, comm));
    same(got, 0, length, 0, last, "MPI_Allreduce");
    memcpy(got, mine, sizeof mine);
    MUST(MPI_Allreduce(MPI_IN_PLACE, got, length, MPI_DOUBLE, MPI_SUM, comm));
    same(got, 0, length, 0, last, "MPI_Allreduce in place");
    for (int root = 0; root < size; root++) {
        got[0] = -1;
        MUST(MPI_Reduce(mine, got, length, MPI_DOUBLE, MPI_SUM, root, comm));
        if (rank == root) same(got, 0, length, 0, last, "MPI_Reduce");
        if (rank != root) EQUAL(got[0], -1);
    }
    MUST(MPI_Scan(mine, got, length, MPI_DOUBLE, MPI_SUM, comm));
    same(got, 0, length, 0, rank, "MPI_Scan");
    got[0] = -1;
    MUST(MPI_Exscan(mine, got, length, MPI_DOUBLE, MPI_SUM, comm));
    if (rank > 0) same(got, 0, length, 0, rank - 1, "MPI_Exscan");
    if (rank == 0) EQUAL(got[0], -1);
    int each = length / size, counts[8], before = 0;
    MUST(MPI_Reduce_scatter_block(mine, got, each, MPI_DOUBLE, MPI_SUM, comm));
    same(got, rank * each, each, 0, last, "MPI_Reduce_scatter_block");
    for (int r = 0; r < size; r++) counts[r] = r == 1 ? 0 : r + 1;
    for (int r = 0; r < rank; r++) before += counts[r];
    MUST(MPI_Reduce_scatter(mine, got, counts, MPI_DOUBLE, MPI_SUM, comm));
    same(got, before, counts[rank], 0, last, "MPI_Reduce_scatter");
    memcpy(got, mine, sizeof mine);
    MUST(MPI_Reduce_scatter(MPI_IN_PLACE, got, counts, MPI_DOUBLE, MPI_SUM, comm));
    same(got, before, counts[rank], 0, last, "MPI_Reduce_scatter in place");
}

static void requests(MPI_Comm comm, int length) {
    MPI_Request request, again;
    MUST(MPI_Iallreduce(mine, got, length, MPI_DOUBLE, MPI_SUM, comm, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    same(got, 0, length, 0, size - 1, "MPI_Iallreduce");
    MUST(MPI_Allreduce_init(mine, got, length, MPI_DOUBLE, MPI_SUM, comm, MPI_INFO_NULL, &again));
    for (int turn = 0; turn < 2; turn++) {
        memset(got, 0, sizeof got);
        MUST(MPI_Start(&again));
        MUST(MPI_Wait(&again, MPI_STATUS_IGNORE));
        same(got, 0, length, 0, size - 1, "MPI_Allreduce_init");
    }
    MUST(MPI_Request_free(&again));
}

// Float, complex, a type of three doubles, and what is not a sum of floating-point numbers.
static void types(MPI_Comm comm) {
    MUST(MPI_Allreduce(mine_short, got_short, LENGTH, MPI_FLOAT, MPI_SUM, comm));
    for (int i = 0; i < LENGTH; i++) {
        __float128 sum = 0;
        for (int r = 0; r < size; r++) sum += all_short[r][i];
        EQUAL(got_short[i] == (float)sum, 1);
    }
    MUST(MPI_Allreduce(mine, got, LENGTH / 2, MPI_C_DOUBLE_COMPLEX, MPI_SUM, comm));
    same(got, 0, LENGTH / 2 * 2, 0, size - 1, "MPI_C_DOUBLE_COMPLEX");
    double most[LENGTH];
    MUST(MPI_Allreduce(mine, most, LENGTH, MPI_DOUBLE, MPI_MAX, comm));
    for (int i = 0; i < LENGTH; i++)
        for (int r = 0; r < size; r++) EQUAL(most[i] >= all[r][i], 1);
    int ranks = 0;
    MUST(MPI_Allreduce(&rank, &ranks, 1, MPI_INT, MPI_SUM, comm));
    EQUAL(ranks, size * (size - 1) / 2);
    // What cancels leaves nothing behind.
    double huge[2] = {rank == 0 ? 1e300 : rank == size - 1 ? -1e300 : 0.5, 1.0}, rest[2];
    MUST(MPI_Allreduce(huge, rest, 2, MPI_DOUBLE, MPI_SUM, comm));
    if (size > 1) EQUAL(rest[0] == 0.5 * (size - 2), 1);
    EQUAL(rest[1] == size, 1);
}

// Between two groups each gets the sum of the other.
static void groups(void) {
    if (size < 2) return;
    MPI_Comm half, inter;
    int low = rank < size / 2;
    MUST(MPI_Comm_split(MPI_COMM_WORLD, low, rank, &half));
    MUST(MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, low ? size / 2 : 0, 5, &inter));
    int first = low ? size / 2 : 0, last = low ? size - 1 : size / 2 - 1;
    MUST(MPI_Allreduce(mine, got, LENGTH, MPI_DOUBLE, MPI_SUM, inter));
    same(got, 0, LENGTH, first, last, "MPI_Allreduce between groups");
    int count, me;
    MPI_Comm_size(half, &count);
    MPI_Comm_rank(half, &me);
    // Both groups divide as many elements.
    int others = size - count, each = others;
    MUST(MPI_Reduce_scatter_block(mine, got, each, MPI_DOUBLE, MPI_SUM, inter));
    same(got, me * each, each, first, last, "MPI_Reduce_scatter_block between groups");
    MUST(MPI_Comm_free(&inter));
    MUST(MPI_Comm_free(&half));
}

int main(int argc, char **argv) {
    setenv("STRAIT_REPRODUCIBLE", "exact", 1);
    begin(&argc, &argv);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < LENGTH; i++) {
            all[r][i] = number();
            all_short[r][i] = (float)number();
        }
    memcpy(mine, all[rank], sizeof mine);
    memcpy(mine_short, all_short[rank], sizeof mine_short);
    MPI_Comm other;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &other));
    for (int turn = 0; turn < 2; turn++) {
        MPI_Comm comm = turn ? other : MPI_COMM_WORLD;
        blocking(comm, LENGTH);
        blocking(comm, size);
        requests(comm, LENGTH);
        types(comm);
    }
    MUST(MPI_Comm_free(&other));
    groups();
    return end();
}
