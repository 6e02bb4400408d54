// SPDX-License-Identifier: Apache-2.0 OR MIT
// Rank 0 prints where each rank is: its host, its number there, and which ranks its messages found
// under that number (the programs of this directory are run by the stage hosts, with arguments).
#include "../check.h"
#include <unistd.h>

typedef struct {
    char host[64];
    int rank, pmi_rank, local, pmi_local, shared;
} Place;

static int number(const char *name) {
    const char *text = getenv(name);
    CHECK(text != NULL, "no %s", name);
    return atoi(text);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm near;
    MUST(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &near));
    Place mine = {.rank = rank, .pmi_rank = number("PMI_RANK")};
    mine.pmi_local = number("MPI_LOCALRANKID");
    gethostname(mine.host, sizeof mine.host - 1);
    MUST(MPI_Comm_rank(near, &mine.local));
    MUST(MPI_Comm_size(near, &mine.shared));
    EQUAL(mine.shared, number("MPI_LOCALNRANKS"));
    EQUAL(mine.pmi_rank, rank);
    EQUAL(mine.pmi_local, mine.local);

    // Which program of the command line it is, its argument says.
    int *program = NULL, flag = 0;
    MUST(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &program, &flag));
    CHECK(flag, "no MPI_APPNUM");
    EQUAL(*program, argc > 1 ? atoi(argv[1]) : 0);

    // Each rank hears of the one before it by its own message, and of all by a collective call.
    Place before, *all = calloc(size, sizeof *all);
    MUST(MPI_Sendrecv(&mine, sizeof mine, MPI_BYTE, (rank + 1) % size, 1, &before, sizeof before,
                      MPI_BYTE, (rank + size - 1) % size, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    EQUAL(before.rank, (rank + size - 1) % size);
    MUST(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE, MPI_COMM_WORLD));
    for (int i = 0; i < size; i++) EQUAL(all[i].rank, i);

    // The groups of both communicators name the same processes.
    MPI_Group world, group;
    int here = mine.local, there = -1;
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &world));
    MUST(MPI_Comm_group(near, &group));
    MUST(MPI_Group_translate_ranks(group, 1, &here, world, &there));
    EQUAL(there, rank);
    MUST(MPI_Group_free(&world));
    MUST(MPI_Group_free(&group));

    for (int i = 0; i < size && rank == 0; i++) printf("%s.%d ", all[i].host, all[i].local);
    if (rank == 0) puts("");
    free(all);
    MPI_Comm_free(&near);
    MPI_Finalize();
    return 0;
}
