// SPDX-License-Identifier: Apache-2.0 OR MIT
// Start and end, and what a process can learn about the job and the library.
#include "check.h"
#include <time.h>

int main(int argc, char **argv) {
    int flag = 7, version = 0, sub = 0, length = 0, provided = -1, isthread = 0;
    char text[MPI_MAX_LIBRARY_VERSION_STRING], name[MPI_MAX_PROCESSOR_NAME];

    // These may be called before MPI is initialised.
    MUST(MPI_Initialized(&flag));
    EQUAL(flag, 0);
    MUST(MPI_Finalized(&flag));
    EQUAL(flag, 0);
    MUST(MPI_Get_version(&version, &sub));
    CHECK(version >= 3, "version %d.%d", version, sub);
    MUST(MPI_Get_library_version(text, &length));
    EQUAL(strlen(text), length);
    CHECK(length > 0, "empty library version");

    MUST(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
    CHECK(provided >= MPI_THREAD_FUNNELED, "provided %d", provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    CHECK(rank >= 0 && rank < size, "rank %d of %d", rank, size);
    MUST(MPI_Initialized(&flag));
    EQUAL(flag, 1);
    MUST(MPI_Query_thread(&provided));
    CHECK(provided >= MPI_THREAD_FUNNELED, "provided %d", provided);
    MUST(MPI_Is_thread_main(&isthread));
    EQUAL(isthread, 1);

    int self_rank = -1, self_size = -1;
    MUST(MPI_Comm_rank(MPI_COMM_SELF, &self_rank));
    MUST(MPI_Comm_size(MPI_COMM_SELF, &self_size));
    EQUAL(self_rank, 0);
    EQUAL(self_size, 1);

    MUST(MPI_Get_processor_name(name, &length));
    CHECK(length > 0 && (size_t)length == strlen(name), "name '%s' length %d", name, length);

    double before = MPI_Wtime(), tick = MPI_Wtick();
    CHECK(tick > 0 && tick < 0.1, "tick %g", tick);
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    double passed = MPI_Wtime() - before;
    CHECK(passed > 0.015, "20 ms took %g s", passed);

    // Every rank is there once.
    int *ranks = calloc(size, sizeof *ranks);
    MUST(MPI_Allgather(&rank, 1, MPI_INT, ranks, 1, MPI_INT, MPI_COMM_WORLD));
    for (int i = 0; i < size; i++) EQUAL(ranks[i], i);
    free(ranks);

    void *memory = NULL;
    MUST(MPI_Alloc_mem(1 << 16, MPI_INFO_NULL, &memory));
    memset(memory, 1, 1 << 16);
    MUST(MPI_Free_mem(memory));

    MPI_Barrier(MPI_COMM_WORLD);
    int first = rank == 0;
    MUST(MPI_Finalize());
    MUST(MPI_Finalized(&flag));
    EQUAL(flag, 1);
    if (first) puts("ok");
    return 0;
}
