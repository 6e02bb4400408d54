// SPDX-License-Identifier: Apache-2.0 OR MIT
// What two groups that found each other can do: an intercommunicator, and what is made of it.
#ifndef UNITED_H
#define UNITED_H

#include "check.h"

// Messages across, short and long, each to each.
static inline void talk_across(MPI_Comm inter, int side) {
    int here, there, me;
    MUST(MPI_Comm_size(inter, &here));
    MUST(MPI_Comm_remote_size(inter, &there));
    MUST(MPI_Comm_rank(inter, &me));
    size_t sizes[] = {0, 8, 5000, 300000, 3 << 20};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t bytes = sizes[s];
        MPI_Request *requests = malloc(2 * there * sizeof *requests);
        char *out = malloc(bytes * there + 1), *in = malloc(bytes * there + 1);
        for (int other = 0; other < there; other++) {
            char *from = out + bytes * other;
            fill(from, bytes, 1000 * side + 10 * me + other);
            MUST(MPI_Irecv(in + bytes * other, (int)bytes, MPI_BYTE, other, s, inter,
                           &requests[other]));
            MUST(MPI_Isend(from, (int)bytes, MPI_BYTE, other, s, inter, &requests[there + other]));
        }
        MUST(MPI_Waitall(2 * there, requests, MPI_STATUSES_IGNORE));
        for (int other = 0; other < there; other++)
            EQUAL(differs(in + bytes * other, bytes, 1000 * (1 - side) + 10 * other + me), -1);
        free(requests);
        free(out);
        free(in);
    }
    int value = 100 * side + me, sum = -1, wanted = 0;
    MUST(MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, inter));
    for (int r = 0; r < there; r++) wanted += 100 * (1 - side) + r;
    EQUAL(sum, wanted);
}

// An intracommunicator of several jobs: collectives, and communicators made of it.
static inline void work_together(MPI_Comm whole) {
    int n, me;
    MUST(MPI_Comm_size(whole, &n));
    MUST(MPI_Comm_rank(whole, &me));
    int one = 1, sum = 0, data = me == n - 1 ? 77 : 0;
    MUST(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, whole));
    EQUAL(sum, n);
    MUST(MPI_Bcast(&data, 1, MPI_INT, n - 1, whole));
    EQUAL(data, 77);
    size_t bytes = 400000;
    char *all = malloc(bytes * n), *mine = malloc(bytes);
    fill(mine, bytes, me);
    MUST(MPI_Allgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, whole));
    for (int r = 0; r < n; r++) EQUAL(differs(all + bytes * r, bytes, r), -1);
    MUST(MPI_Barrier(whole));
    // A ring, from any source.
    MPI_Status status;
    int token = me, got = -1;
    MUST(MPI_Sendrecv(&token, 1, MPI_INT, (me + 1) % n, 5, &got, 1, MPI_INT, MPI_ANY_SOURCE, 5,
                      whole, &status));
    EQUAL(got, (me + n - 1) % n);
    EQUAL(status.MPI_SOURCE, got);
    free(all);
    free(mine);
    // Communicators of it: a copy, both copies at once, halves, those of one host, a group's.
    MPI_Comm copy, later, half, near, some;
    MPI_Request request;
    MUST(MPI_Comm_dup(whole, &copy));
    MUST(MPI_Comm_idup(whole, &later, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MUST(MPI_Comm_split(copy, me % 2, -me, &half));
    MUST(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, half));
    EQUAL(sum, me % 2 ? n / 2 : (n + 1) / 2);
    MUST(MPI_Comm_split_type(later, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &near));
    MUST(MPI_Allreduce(&me, &sum, 1, MPI_INT, MPI_SUM, near));
    MPI_Group group, odd;
    int range[1][3] = {{0, n - 1, 2}};
    MUST(MPI_Comm_group(whole, &group));
    MUST(MPI_Group_range_incl(group, 1, range, &odd));
    MUST(MPI_Comm_create(whole, odd, &some));
    EQUAL(some == MPI_COMM_NULL, me % 2);
    if (some != MPI_COMM_NULL) {
        MUST(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, some));
        EQUAL(sum, (n + 1) / 2);
        MUST(MPI_Comm_free(&some));
    }
    // A window: puts to the next one, by messages where memory is not shared.
    int cell = -1;
    MPI_Win window;
    MUST(MPI_Win_create(&cell, sizeof cell, sizeof cell, MPI_INFO_NULL, whole, &window));
    MUST(MPI_Win_fence(0, window));
    MUST(MPI_Put(&me, 1, MPI_INT, (me + 1) % n, 0, 1, MPI_INT, window));
    MUST(MPI_Win_fence(0, window));
    EQUAL(cell, (me + n - 1) % n);
    MUST(MPI_Win_free(&window));
    MUST(MPI_Group_free(&group));
    MUST(MPI_Group_free(&odd));
    MUST(MPI_Comm_free(&copy));
    MUST(MPI_Comm_free(&later));
    MUST(MPI_Comm_free(&half));
    MUST(MPI_Comm_free(&near));
}

// All of it; `side` is 0 in one group and 1 in the other.
static inline void unite(MPI_Comm inter, int side) {
    MPI_Comm whole, again;
    int flag = 0, n = 0, here, there, me;
    MUST(MPI_Comm_test_inter(inter, &flag));
    EQUAL(flag, 1);
    talk_across(inter, side);
    MUST(MPI_Comm_dup(inter, &again));
    talk_across(again, side);
    MUST(MPI_Comm_free(&again));
    MUST(MPI_Comm_size(inter, &here));
    MUST(MPI_Comm_remote_size(inter, &there));
    MUST(MPI_Intercomm_merge(inter, side, &whole));
    MUST(MPI_Comm_size(whole, &n));
    EQUAL(n, here + there);
    MUST(MPI_Comm_rank(inter, &me));
    int place;
    MUST(MPI_Comm_rank(whole, &place));
    EQUAL(place, side ? there + me : me);
    work_together(whole);
    // Back to two groups, over the whole as the bridge: they are of two jobs.
    MPI_Comm own;
    MUST(MPI_Comm_split(whole, side, 0, &own));
    MUST(MPI_Intercomm_create(own, 0, whole, side ? 0 : here, 9, &again));
    talk_across(again, side);
    MUST(MPI_Comm_disconnect(&again));
    MUST(MPI_Comm_free(&own));
    MUST(MPI_Comm_disconnect(&whole));
}

#endif
