// SPDX-License-Identifier: Apache-2.0 OR MIT
// Ranks die one after the other, or two at once, amid whatever they do then; those who are left
// revoke, agree, shrink and go on, until one is left. `rounds SEED`, under mpiexec --keep-going.
#include "fault.h"

#define LONGEST (1 << 16)
// Steps between two agreements on whether all went well.
#define BLOCK 4

static uint64_t state;

// Xorshift: the same numbers at all who have come as far.
static unsigned below(unsigned bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 11) % bound;
}

static long in[LONGEST], out[LONGEST * 8];

// A ring in which some receive from any source.
static int ring(MPI_Comm comm, int me, int count, int length, int tag) {
    int next = (me + 1) % count, before = (me + count - 1) % count;
    int from = below(2) ? MPI_ANY_SOURCE : before;
    MPI_Request requests[2];
    MPI_Status statuses[2];
    int code = MPI_Irecv(out, length, MPI_LONG, from, tag, comm, &requests[0]);
    if (code) return code;
    code = MPI_Isend(in, length, MPI_LONG, next, tag, comm, &requests[1]);
    if (code) {
        // Then nobody may be left to send to us.
        MPIX_Comm_revoke(comm);
        requests[1] = MPI_REQUEST_NULL;
    }
    for (;;) {
        int ended = MPI_Waitall(2, requests, statuses);
        if (!ended) return code;
        EQUAL(class_of(ended), MPI_ERR_IN_STATUS);
        for (int i = 0; i < 2; i++) {
            int class = class_of(statuses[i].MPI_ERROR);
            int is_pending = class == MPIX_ERR_PROC_FAILED_PENDING;
            if (is_pending) {
                CHECK(requests[i] != MPI_REQUEST_NULL, "it is pending");
                MPIX_Comm_revoke(comm);
                code = MPIX_ERR_PROC_FAILED;
            } else if (class != MPI_SUCCESS && class != MPI_ERR_PENDING) {
                code = statuses[i].MPI_ERROR;
            }
        }
        if (requests[0] == MPI_REQUEST_NULL && requests[1] == MPI_REQUEST_NULL) return code;
    }
}

// A sum that is said to be right is that of all.
static int sum(MPI_Comm comm, int count, int length) {
    int code = MPI_Allreduce(in, out, length, MPI_LONG, MPI_SUM, comm);
    if (!code) EQUAL(out[0], count);
    if (!code) EQUAL(out[length - 1], count);
    return code;
}

static int behind_a_request(MPI_Comm comm, int length) {
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    int code = MPI_Iallreduce(in, out, length, MPI_LONG, MPI_SUM, comm, &requests[0]);
    int other = MPI_Ibcast(in, length, MPI_LONG, 0, comm, &requests[1]);
    if (code || other) MPIX_Comm_revoke(comm);
    int first = MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    if (first) MPIX_Comm_revoke(comm);
    int second = MPI_Wait(&requests[1], MPI_STATUS_IGNORE);
    return code ? code : other ? other : first ? first : second;
}

// Makes a communicator of it, uses that, and frees it.
static int parts(MPI_Comm comm, int me) {
    MPI_Comm part = MPI_COMM_NULL;
    int code = MPI_Comm_split(comm, me % 2, me, &part), all_have_it = !code, sum = 0;
    // Nobody may wait in it for one who got an error and left.
    if (code) MPIX_Comm_revoke(comm);
    int other = MPIX_Comm_agree(comm, &all_have_it);
    if (!all_have_it) {
        if (part != MPI_COMM_NULL) MPI_Comm_free(&part);
        return code ? code : other ? other : MPIX_ERR_PROC_FAILED;
    }
    code = MPI_Allreduce(&me, &sum, 1, MPI_INT, MPI_SUM, part);
    // Others of the part may wait in it.
    if (code) MPIX_Comm_revoke(part);
    MPI_Comm_free(&part);
    return code;
}

static int agreement(MPI_Comm comm, int me) {
    int flag = ~(1 << me);
    int code = MPIX_Comm_agree(comm, &flag);
    CHECK(!(flag & 1 << me), "our own bit is cleared");
    return code;
}

static int step(MPI_Comm comm, int me, int count, int number) {
    static const int lengths[] = {1, 16, 700, 5000, LONGEST};
    int length = lengths[below(5)], root = (int)below((unsigned)count);
    // Agreements do not end with a revocation: all come to the same number of them. So they are
    // made where nobody has left the block yet.
    switch (below(number % BLOCK == 0 ? 9 : 7)) {
    case 0: return sum(comm, count, length);
    case 1: return MPI_Bcast(in, length, MPI_LONG, root, comm);
    case 2: return MPI_Reduce(in, out, length, MPI_LONG, MPI_MAX, root, comm);
    case 3: return MPI_Allgather(in, length, MPI_LONG, out, length, MPI_LONG, comm);
    case 4: return MPI_Alltoall(in, length / 8, MPI_LONG, out, length / 8, MPI_LONG, comm);
    case 5: return ring(comm, me, count, length, number);
    case 6: return behind_a_request(comm, length);
    case 7: return parts(comm, me);
    default: return agreement(comm, me);
    }
}

// Blocks of steps, until somebody had an error in one; all agree whether that is so.
static void work_on(MPI_Comm comm, int me, int count, uint64_t seed) {
    state = seed | 1;
    for (int i = 0; i < 8; i++) below(2);
    for (int number = 0, flag = 1; flag; number += BLOCK) {
        for (int i = 0; flag && i < BLOCK; i++) {
            snprintf(standing, sizeof standing, " of %d, step %d", count, number + i);
            flag = !lost_or_revoked(step(comm, me, count, (number + i) % 1000));
        }
        // The others wait for nobody who has left.
        if (!flag) MUST(MPIX_Comm_revoke(comm));
        lost_or_revoked(MPIX_Comm_agree(comm, &flag));
    }
}

int main(int argc, char **argv) {
    begin_faults(&argc, &argv);
    uint64_t seed = argc > 1 ? (uint64_t)atoll(argv[1]) : 1;
    MPI_Comm comm = work;
    uint64_t turn = 0;
    for (int i = 0; i < LONGEST; i++) in[i] = 1;
    for (int count = size; count > 1;) {
        int me, left;
        MPI_Comm_rank(comm, &me);
        state = (seed * 0x9e3779b97f4a7c15u + (uint64_t)count * 0xbf58476d1ce4e5b9u) | 1;
        for (int i = 0; i < 8; i++) below(2);
        int deaths = count > 2 ? 1 + (int)below(2) : 1;
        int first = (int)below((unsigned)count), second = (first + 1) % count;
        long when = 100 + below(30000), later = below(2) ? when : 100 + below(30000);
        if (me == first) die_in(when);
        if (me == second && deaths == 2) die_in(later);
        do {
            work_on(comm, me, count, seed * 0x9e3779b97f4a7c15u + turn++ * 0xbf58476d1ce4e5b9u);
            comm = rest_of(comm);
            MPI_Comm_rank(comm, &me);
            MPI_Comm_size(comm, &left);
            deaths -= count - left;
            count = left;
            // The second one may be among us still.
        } while (deaths > 0);
        EQUAL(deaths, 0);
    }
    MUST(MPI_Comm_free(&comm));
    // Nobody may be left that does not end in order.
    MPI_Finalize();
    puts("ok");
    return 0;
}
