// SPDX-License-Identifier: Apache-2.0 OR MIT
// Four ranks whose table may name schedules of our own (examples/schedules). The sum of these
// doubles shows in which order they were added: `schedules paired` expects (x0 + x2) + (x1 + x3),
// `schedules plain` expects (x0 + x1) + (x2 + x3).
#include "../check.h"

// The nonblocking calls always go by schedules.
static void sums(double expected) {
    double parts[4] = {1e16, 1.0, -1e16, 1.0}, mine[5], sum[5];
    MPI_Request request;
    for (int i = 0; i < 5; i++) {
        mine[i] = parts[rank];
        sum[i] = -1.0;
    }
    MUST(MPI_Iallreduce(mine, sum, 5, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    for (int i = 0; i < 5; i++)
        CHECK(sum[i] == expected, "it is %g", sum[i]);
    // In place the library sets the input aside.
    MUST(MPI_Iallreduce(MPI_IN_PLACE, mine, 5, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    for (int i = 0; i < 5; i++)
        CHECK(mine[i] == expected, "it is %g", mine[i]);
}

// The file's bcast is for root 0; here are other roots, too, and counts below its two pieces.
static void casts(void) {
    int values[1000];
    MPI_Request request;
    for (int root = 0; root < 4; root++) {
        for (int count = 0; count < 1000; count = 3 * count + 1) {
            for (int i = 0; i < 1000; i++)
                values[i] = rank == root ? i + root : -1;
            MUST(MPI_Ibcast(values, count, MPI_INT, root, MPI_COMM_WORLD, &request));
            MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
            for (int i = 0; i < 1000; i++)
                EQUAL(values[i], i < count || rank == root ? i + root : -1);
        }
    }
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    EQUAL(argc, 2);
    EQUAL(size, 4);
    for (int again = 0; again < 3; again++) {
        sums(strcmp(argv[1], "paired") == 0 ? 2.0 : 0.0);
        casts();
    }
    return end();
}
