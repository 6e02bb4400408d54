// SPDX-License-Identifier: Apache-2.0 OR MIT
// Groups and communicators: split, dup, idup, create, create_group, split_type, compare, names;
// messages of one communicator are not seen in another; many are made and freed.
#include "check.h"

static void compare(MPI_Comm a, MPI_Comm b, int wanted) {
    int result = -1;
    MUST(MPI_Comm_compare(a, b, &result));
    EQUAL(result, wanted);
}

static void split(void) {
    MPI_Comm half, none;
    int r, n, sum = 0;
    // Backwards: the key turns the order round.
    MUST(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half));
    MUST(MPI_Comm_rank(half, &r));
    MUST(MPI_Comm_size(half, &n));
    EQUAL(n, (size + (rank % 2 == 0)) / 2);
    EQUAL(r, n - 1 - rank / 2);
    MUST(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, half));
    int wanted = 0;
    for (int i = rank % 2; i < size; i += 2) wanted += i;
    EQUAL(sum, wanted);
    if (size > 2) compare(half, MPI_COMM_WORLD, MPI_UNEQUAL);
    MUST(MPI_Comm_split(half, r == 0 ? 0 : MPI_UNDEFINED, 0, &none));
    CHECK((none == MPI_COMM_NULL) == (r != 0), "rank %d of the half", r);
    if (none != MPI_COMM_NULL) MUST(MPI_Comm_free(&none));
    MUST(MPI_Comm_free(&half));
    CHECK(half == MPI_COMM_NULL, "a freed communicator is not null");

    MPI_Comm turned, node;
    MUST(MPI_Comm_split(MPI_COMM_WORLD, 0, -rank, &turned));
    if (size > 1) compare(turned, MPI_COMM_WORLD, MPI_SIMILAR);
    MUST(MPI_Comm_free(&turned));
    MUST(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    MUST(MPI_Comm_size(node, &n));
    CHECK(n >= 1 && n <= size, "%d ranks on this node", n);
    MUST(MPI_Comm_free(&node));
}

static void duplicates(void) {
    MPI_Comm twin, later;
    MPI_Request request;
    char name[MPI_MAX_OBJECT_NAME];
    int length = 0, got = -1, flag = 0;
    MUST(MPI_Comm_get_name(MPI_COMM_WORLD, name, &length));
    CHECK(strcmp(name, "MPI_COMM_WORLD") == 0, "it is called '%s'", name);
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &twin));
    MUST(MPI_Comm_idup(MPI_COMM_WORLD, &later, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    compare(twin, MPI_COMM_WORLD, MPI_CONGRUENT);
    compare(twin, later, MPI_CONGRUENT);
    compare(twin, twin, MPI_IDENT);
    MUST(MPI_Comm_set_name(twin, "the twin"));
    MUST(MPI_Comm_get_name(twin, name, &length));
    EQUAL(length, 8);
    CHECK(strcmp(name, "the twin") == 0, "it is called '%s'", name);

    // The same source and tag in three communicators: three messages that never mix.
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    MPI_Comm all[3] = {MPI_COMM_WORLD, twin, later};
    MPI_Request sends[3];
    int values[3];
    for (int i = 0; i < 3; i++) {
        values[i] = rank * 10 + i;
        MUST(MPI_Isend(&values[i], 1, MPI_INT, right, 4, all[i], &sends[i]));
    }
    for (int i = 2; i >= 0; i--) {
        MUST(MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, all[i],
                      MPI_STATUS_IGNORE));
        EQUAL(got, left * 10 + i);
    }
    MUST(MPI_Waitall(3, sends, MPI_STATUSES_IGNORE));
    // A freed communicator still delivers what was begun.
    MUST(MPI_Irecv(&got, 1, MPI_INT, left, 8, twin, &request));
    MUST(MPI_Isend(&values[0], 1, MPI_INT, right, 8, twin, &sends[0]));
    MUST(MPI_Comm_free(&twin));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MUST(MPI_Wait(&sends[0], MPI_STATUS_IGNORE));
    EQUAL(got, left * 10);
    MUST(MPI_Comm_test_inter(later, &flag));
    EQUAL(flag, 0);
    MUST(MPI_Comm_free(&later));
    // More than any table of contexts holds, unless they are used again.
    for (int i = 0; i < 3000; i++) {
        MUST(MPI_Comm_dup(MPI_COMM_SELF, &twin));
        MUST(MPI_Comm_free(&twin));
    }
}

static void groups(void) {
    MPI_Group world, some, rest, both, none;
    int n = -1, r = -1, result = -1, from[2] = {0, size - 1}, to[2];
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &world));
    MUST(MPI_Group_size(world, &n));
    EQUAL(n, size);
    int range[1][3] = {{size - 1, 0, -2}};
    MUST(MPI_Group_range_incl(world, 1, range, &some));
    MUST(MPI_Group_size(some, &n));
    EQUAL(n, (size + 1) / 2);
    MUST(MPI_Group_translate_ranks(world, 2, from, some, to));
    EQUAL(to[1], 0);
    EQUAL(to[0], size % 2 ? n - 1 : MPI_UNDEFINED);
    MUST(MPI_Group_difference(world, some, &rest));
    MUST(MPI_Group_union(rest, some, &both));
    MUST(MPI_Group_compare(both, world, &result));
    CHECK(result == MPI_SIMILAR || result == MPI_IDENT, "result %d", result);
    MUST(MPI_Group_intersection(rest, some, &none));
    MUST(MPI_Group_compare(none, MPI_GROUP_EMPTY, &result));
    EQUAL(result, MPI_IDENT);

    MPI_Comm comm, alone;
    MUST(MPI_Comm_create(MPI_COMM_WORLD, some, &comm));
    MUST(MPI_Group_rank(some, &r));
    CHECK((comm == MPI_COMM_NULL) == (r == MPI_UNDEFINED), "group rank %d", r);
    if (comm != MPI_COMM_NULL) {
        int mine = -1;
        MUST(MPI_Comm_rank(comm, &mine));
        EQUAL(mine, r);
        // Only the members call this.
        MUST(MPI_Comm_create_group(comm, some, 3, &alone));
        compare(alone, comm, MPI_CONGRUENT);
        MUST(MPI_Barrier(alone));
        MUST(MPI_Comm_free(&alone));
        MUST(MPI_Comm_free(&comm));
    }
    MPI_Group *all[] = {&world, &some, &rest, &both, &none};
    for (int i = 0; i < 5; i++)
        if (*all[i] != MPI_GROUP_EMPTY) MUST(MPI_Group_free(all[i]));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    split();
    duplicates();
    groups();
    return end();
}
