// SPDX-License-Identifier: Apache-2.0 OR MIT
// Intercommunicators: made from two halves, point to point and collectives across, merged.
// ranks: 2 3 4 7
#include "check.h"

static MPI_Comm mine, inter;
static int side, my, here, there; // which half; my rank in it; its size and the other's

static void across(void) {
    int flag = 0, n = -1;
    MUST(MPI_Comm_test_inter(inter, &flag));
    EQUAL(flag, 1);
    MUST(MPI_Comm_size(inter, &n));
    EQUAL(n, here);
    MUST(MPI_Comm_remote_size(inter, &n));
    EQUAL(n, there);
    // Ranks name the other half.
    int to = my % there, value = 100 * side + my, got = -1;
    MPI_Request request;
    MPI_Status status;
    MUST(MPI_Isend(&value, 1, MPI_INT, to, 1, inter, &request));
    for (int from = 0; from < there; from++) {
        if (from % here != my) continue;
        MUST(MPI_Recv(&got, 1, MPI_INT, from, 1, inter, &status));
        EQUAL(got, 100 * (1 - side) + from);
        EQUAL(status.MPI_SOURCE, from);
    }
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
}

static void collect(void) {
    int value = 100 * side + my, sum = -1, wanted = 0;
    MUST(MPI_Barrier(inter));
    // Each half gets the other's sum.
    MUST(MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, inter));
    for (int r = 0; r < there; r++) wanted += 100 * (1 - side) + r;
    EQUAL(sum, wanted);

    int *all = malloc(there * sizeof *all);
    MUST(MPI_Allgather(&value, 1, MPI_INT, all, 1, MPI_INT, inter));
    for (int r = 0; r < there; r++) EQUAL(all[r], 100 * (1 - side) + r);
    int *out = malloc(there * sizeof *out);
    for (int r = 0; r < there; r++) out[r] = value * 10 + r;
    MUST(MPI_Alltoall(out, 1, MPI_INT, all, 1, MPI_INT, inter));
    for (int r = 0; r < there; r++) EQUAL(all[r], (100 * (1 - side) + r) * 10 + my);

    // From one rank of side 0 to all of side 1, and back.
    int root = side == 0 ? (my == here - 1 ? MPI_ROOT : MPI_PROC_NULL) : there - 1;
    int data = root == MPI_ROOT ? 4321 : -1;
    MUST(MPI_Bcast(&data, 1, MPI_INT, root, inter));
    EQUAL(data, side == 0 && root != MPI_ROOT ? -1 : 4321);
    MUST(MPI_Reduce(&value, &sum, 1, MPI_INT, MPI_MAX, root, inter));
    if (root == MPI_ROOT) EQUAL(sum, 100 + there - 1);
    MUST(MPI_Gather(&value, 1, MPI_INT, all, 1, MPI_INT, root, inter));
    for (int r = 0; root == MPI_ROOT && r < there; r++) EQUAL(all[r], 100 + r);
    MUST(MPI_Scatter(all, 1, MPI_INT, &sum, 1, MPI_INT, root, inter));
    if (side == 1) EQUAL(sum, value);
    free(all);
    free(out);
}

static void merge(void) {
    MPI_Comm whole, twin;
    int n = -1, r = -1, result = -1;
    MUST(MPI_Intercomm_merge(inter, side == 0, &whole)); // the side that says "high" comes last
    MUST(MPI_Comm_size(whole, &n));
    EQUAL(n, size);
    MUST(MPI_Comm_rank(whole, &r));
    EQUAL(r, side == 0 ? there + my : my);
    int one = 1, sum = 0;
    MUST(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, whole));
    EQUAL(sum, size);
    MUST(MPI_Comm_free(&whole));
    MUST(MPI_Comm_dup(inter, &twin));
    MUST(MPI_Comm_compare(inter, twin, &result));
    EQUAL(result, MPI_CONGRUENT);
    MUST(MPI_Barrier(twin));
    MUST(MPI_Comm_free(&twin));
    MPI_Group group;
    MUST(MPI_Comm_remote_group(inter, &group));
    MUST(MPI_Group_size(group, &n));
    EQUAL(n, there);
    MUST(MPI_Group_free(&group));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    // The halves are as unequal as they can be when the number is odd.
    side = rank >= (size + 2) / 3;
    MUST(MPI_Comm_split(MPI_COMM_WORLD, side, rank, &mine));
    MPI_Comm_rank(mine, &my);
    MPI_Comm_size(mine, &here);
    there = size - here;
    MUST(MPI_Intercomm_create(mine, 0, MPI_COMM_WORLD, side == 0 ? (size + 2) / 3 : 0, 12, &inter));
    across();
    collect();
    merge();
    MUST(MPI_Comm_free(&inter));
    MUST(MPI_Comm_free(&mine));
    return end();
}
