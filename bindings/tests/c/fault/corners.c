// SPDX-License-Identifier: Apache-2.0 OR MIT
// Losses and revocations in places that programs come to less often: lists of requests, persistent
// ones, several threads, two groups, a communicator that is just being made. `corners CASE`; run
// under mpiexec --keep-going. Where one dies it is rank 1, and the last rank is not it.
#include "fault.h"
#include <pthread.h>

#define VICTIM 1

// Nobody goes on before the loss is known here.
static void hear_of_it(void) {
    int got;
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, VICTIM, 0, work, MPI_STATUS_IGNORE)),
          MPIX_ERR_PROC_FAILED);
}

static void is_pending(MPI_Request request, int code) {
    EQUAL(class_of(code), MPIX_ERR_PROC_FAILED_PENDING);
    CHECK(request != MPI_REQUEST_NULL, "the request is pending");
}

// Receives from any source in each call that completes requests.
static int lists(void) {
    if (rank == VICTIM) die();
    hear_of_it();
    int got[3] = {-1, -1, -1}, found = 0, index = -1, indices[3], count = 0;
    MPI_Request requests[3];
    MPI_Status statuses[3], status;
    MUST(MPI_Irecv(&got[0], 1, MPI_INT, MPI_ANY_SOURCE, 3, work, &requests[0]));
    MUST(MPI_Recv_init(&got[1], 1, MPI_INT, MPI_ANY_SOURCE, 6, work, &requests[1]));
    MUST(MPI_Start(&requests[1]));
    MUST(MPI_Irecv(&got[2], 1, MPI_INT, rank, 7, work, &requests[2]));
    MUST(MPI_Send(&rank, 1, MPI_INT, rank, 7, work));
    EQUAL(class_of(MPI_Waitall(3, requests, statuses)), MPI_ERR_IN_STATUS);
    is_pending(requests[0], statuses[0].MPI_ERROR);
    is_pending(requests[1], statuses[1].MPI_ERROR);
    EQUAL(statuses[2].MPI_ERROR, MPI_SUCCESS);
    CHECK(requests[2] == MPI_REQUEST_NULL, "it has ended");
    EQUAL(got[2], rank);
    int code = MPI_Waitany(3, requests, &index, &status);
    CHECK(index == 0 || index == 1, "index %d", index);
    is_pending(requests[index], code);
    code = MPI_Testany(3, requests, &index, &found, &status);
    CHECK(index == 0 || index == 1, "index %d", index);
    is_pending(requests[index], code);
    EQUAL(class_of(MPI_Waitsome(3, requests, &count, indices, statuses)), MPI_ERR_IN_STATUS);
    EQUAL(count, 2);
    for (int i = 0; i < count; i++) is_pending(requests[indices[i]], statuses[i].MPI_ERROR);
    EQUAL(class_of(MPI_Testsome(3, requests, &count, indices, statuses)), MPI_ERR_IN_STATUS);
    EQUAL(count, 2);
    EQUAL(class_of(MPI_Testall(3, requests, &found, statuses)), MPI_ERR_IN_STATUS);
    is_pending(requests[0], statuses[0].MPI_ERROR);
    is_pending(requests[1], statuses[1].MPI_ERROR);
    // Once it is acknowledged they wait, and end as others do.
    MUST(MPIX_Comm_failure_ack(work));
    MUST(MPI_Testall(3, requests, &found, statuses));
    EQUAL(found, 0);
    MUST(MPI_Send(&rank, 1, MPI_INT, rank, 3, work));
    MUST(MPI_Send(&rank, 1, MPI_INT, rank, 6, work));
    MUST(MPI_Waitall(3, requests, statuses));
    EQUAL(got[0] + got[1], 2 * rank);
    MUST(MPI_Start(&requests[1]));
    MUST(MPI_Cancel(&requests[1]));
    MUST(MPI_Wait(&requests[1], &status));
    MUST(MPI_Test_cancelled(&status, &found));
    EQUAL(found, 1);
    MUST(MPI_Request_free(&requests[1]));
    return 1;
}

// What is persistent, and what is buffered, towards one who is lost.
static int persistent(void) {
    if (rank == VICTIM) die();
    hear_of_it();
    int got, sent = rank;
    MPI_Request requests[2];
    MPI_Status statuses[2];
    MUST(MPI_Recv_init(&got, 1, MPI_INT, VICTIM, 1, work, &requests[0]));
    MUST(MPI_Ssend_init(&sent, 1, MPI_INT, VICTIM, 1, work, &requests[1]));
    for (int round = 0; round < 3; round++) {
        // A start may tell of it at once.
        int code = MPI_Startall(2, requests);
        if (!code) code = MPI_Waitall(2, requests, statuses);
        if (class_of(code) == MPI_ERR_IN_STATUS) {
            EQUAL(class_of(statuses[0].MPI_ERROR), MPIX_ERR_PROC_FAILED);
            EQUAL(class_of(statuses[1].MPI_ERROR), MPIX_ERR_PROC_FAILED);
        } else {
            EQUAL(class_of(code), MPIX_ERR_PROC_FAILED);
        }
    }
    MUST(MPI_Request_free(&requests[0]));
    MUST(MPI_Request_free(&requests[1]));
    char room[1000 + MPI_BSEND_OVERHEAD], *back;
    int bytes;
    MUST(MPI_Buffer_attach(room, sizeof room));
    int code = MPI_Bsend(&sent, 1, MPI_INT, VICTIM, 2, work);
    CHECK(!code || class_of(code) == MPIX_ERR_PROC_FAILED, "class %d", class_of(code));
    // Also what the dead one will never take is given up.
    MUST(MPI_Buffer_detach(&back, &bytes));
    return 1;
}

// Two groups agree, hear of a loss, and shrink.
static int two_groups(void) {
    MPI_Comm half, both, rest;
    int side = rank % 2, flag = side ? 6 : 3, count, local, remote, sum = 0, one = 1;
    MUST(MPI_Comm_split(work, side, rank, &half));
    MUST(MPI_Intercomm_create(half, 0, work, 1 - side, 0, &both));
    MUST(MPI_Comm_set_errhandler(both, MPI_ERRORS_RETURN));
    MUST(MPIX_Comm_agree(both, &flag));
    EQUAL(flag, side ? 3 : 6);
    MUST(MPI_Comm_remote_size(both, &remote));
    MUST(MPI_Comm_size(both, &local));
    if (rank == VICTIM) die();
    hear_of_it();
    // Those of the other group name it by its rank there.
    if (!side) {
        int got;
        EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, 0, 0, both, MPI_STATUS_IGNORE)),
              MPIX_ERR_PROC_FAILED);
    }
    flag = side ? 6 : 3;
    EQUAL(class_of(MPIX_Comm_agree(both, &flag)), MPIX_ERR_PROC_FAILED);
    EQUAL(flag, side ? 3 : 6);
    MPI_Group failed;
    MUST(MPIX_Comm_get_failed(both, &failed));
    MUST(MPI_Group_size(failed, &count));
    EQUAL(count, 1);
    MUST(MPI_Group_free(&failed));
    MUST(MPIX_Comm_failure_ack(both));
    MUST(MPIX_Comm_agree(both, &flag));
    MUST(MPIX_Comm_revoke(both));
    EQUAL(class_of(MPI_Barrier(both)), MPIX_ERR_REVOKED);
    MUST(MPIX_Comm_shrink(both, &rest));
    MUST(MPI_Comm_size(rest, &count));
    EQUAL(count, side ? local - 1 : local);
    MUST(MPI_Comm_remote_size(rest, &count));
    EQUAL(count, side ? remote : remote - 1);
    MUST(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, rest));
    EQUAL(sum, count);
    MUST(MPI_Comm_free(&rest));
    MUST(MPI_Comm_free(&both));
    MUST(MPI_Comm_free(&half));
    return 1;
}

// Rank 0 revokes a communicator that the others may still be making.
static int newborn(void) {
    for (int round = 0; round < 50; round++) {
        MPI_Comm new, next;
        MUST(MPI_Comm_dup(work, &new));
        if (rank == 0) MUST(MPIX_Comm_revoke(new));
        int code, flag = 1, is_revoked = 0;
        do code = MPI_Barrier(new);
        while (!code);
        EQUAL(class_of(code), MPIX_ERR_REVOKED);
        MUST(MPIX_Comm_is_revoked(new, &is_revoked));
        EQUAL(is_revoked, 1);
        MUST(MPIX_Comm_agree(new, &flag));
        MUST(MPIX_Comm_shrink(new, &next));
        MUST(MPI_Comm_free(&new));
        MUST(MPIX_Comm_is_revoked(next, &is_revoked));
        EQUAL(is_revoked, 0);
        MUST(MPI_Barrier(next));
        MUST(MPI_Comm_free(&next));
    }
    return 0;
}

static MPI_Comm theirs;

// What a thread waits in, while the first one is away from MPI.
static void *wait_for_it(void *unused) {
    int got;
    MPI_Status status;
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, VICTIM, 5, work, &status)), MPIX_ERR_PROC_FAILED);
    return unused;
}

static void *wait_for_any(void *unused) {
    int got;
    MPI_Status status;
    // It hears of the loss, or of the revocation first.
    CHECK(lost_or_revoked(MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, 5, theirs, &status)),
          "no message came");
    return unused;
}

static void *agree_often(void *comm) {
    for (int round = 0; round < 20; round++) {
        int flag = ~(1 << rank);
        lost_or_revoked(MPIX_Comm_agree(*(MPI_Comm *)comm, &flag));
        CHECK(!(flag & 1 << rank), "our own bit is cleared");
    }
    return NULL;
}

static int threads(void) {
    pthread_t some[4];
    MPI_Comm comms[2];
    MUST(MPI_Comm_dup(work, &theirs));
    for (int i = 0; i < 2; i++) MUST(MPI_Comm_dup(work, &comms[i]));
    if (rank == VICTIM) die_in(3000);
    pthread_create(&some[0], NULL, wait_for_it, NULL);
    pthread_create(&some[1], NULL, wait_for_any, NULL);
    pthread_create(&some[2], NULL, agree_often, &comms[0]);
    pthread_create(&some[3], NULL, agree_often, &comms[1]);
    if (rank == VICTIM) pause();
    pthread_join(some[0], NULL);
    MUST(MPIX_Comm_revoke(theirs));
    for (int i = 1; i < 4; i++) pthread_join(some[i], NULL);
    for (int i = 0; i < 2; i++) MUST(MPI_Comm_free(&comms[i]));
    MUST(MPI_Comm_free(&theirs));
    return 1;
}

// Accesses to the memory of one who is lost end, with an error or not; those to others are right.
static int window(void) {
    int *memory, got = -1, value = 100 + rank;
    MPI_Win win;
    MUST(MPI_Win_allocate(sizeof(int) * 64, sizeof(int), MPI_INFO_NULL, work, &memory, &win));
    MUST(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
    memory[0] = rank;
    MUST(MPI_Win_fence(0, win));
    if (rank == VICTIM) die();
    hear_of_it();
    int target = rank == 0 ? size - 1 : 0;
    for (int round = 0; round < 20; round++) {
        int code = MPI_Win_lock(MPI_LOCK_SHARED, VICTIM, 0, win);
        if (!code) {
            MPI_Put(&value, 1, MPI_INT, VICTIM, 1, 1, MPI_INT, win);
            code = MPI_Win_unlock(VICTIM, win);
        }
        lost_or_revoked(code);
        if (target == VICTIM || target == rank) continue;
        MUST(MPI_Win_lock(MPI_LOCK_SHARED, target, 0, win));
        MUST(MPI_Get(&got, 1, MPI_INT, target, 0, 1, MPI_INT, win));
        MUST(MPI_Win_unlock(target, win));
        EQUAL(got, target);
    }
    return 1;
}

// Two jobs hear of revocations of what they share; agreements among them are refused.
static void between_jobs(MPI_Comm inter, int revokes) {
    int flag = 1, got;
    MPI_Comm new;
    MUST(MPI_Comm_set_errhandler(inter, MPI_ERRORS_RETURN));
    EQUAL(class_of(MPIX_Comm_agree(inter, &flag)), MPI_ERR_UNSUPPORTED_OPERATION);
    EQUAL(class_of(MPIX_Comm_shrink(inter, &new)), MPI_ERR_UNSUPPORTED_OPERATION);
    // Who comes out of it first may revoke it before others do.
    lost_or_revoked(MPI_Barrier(inter));
    if (revokes) MUST(MPIX_Comm_revoke(inter));
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, 0, 1, inter, MPI_STATUS_IGNORE)), MPIX_ERR_REVOKED);
}

static const char *program;

// Of a job that this one spawned a rank dies, and its others go on as ours would.
static int spawned(void) {
    char *words[] = {"spawned", NULL};
    MPI_Comm inter;
    MUST(MPI_Comm_spawn(program, words, 3, MPI_INFO_NULL, 0, work, &inter, MPI_ERRCODES_IGNORE));
    between_jobs(inter, 0);
    MUST(MPI_Comm_free(&inter));
    return 0;
}

static int child(MPI_Comm parents) {
    between_jobs(parents, rank == 0);
    if (rank == 2) die();
    int got, count;
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, 2, 0, work, MPI_STATUS_IGNORE)),
          MPIX_ERR_PROC_FAILED);
    MPI_Comm rest = rest_of(work);
    MPI_Comm_size(rest, &count);
    EQUAL(count, 2);
    MUST(MPI_Barrier(rest));
    return MPI_Finalize();
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {
    {"lists", lists},     {"persistent", persistent}, {"groups", two_groups},
    {"newborn", newborn}, {"threads", threads},       {"window", window},
    {"spawned", spawned},
};

int main(int argc, char **argv) {
    CHECK(argc > 1, "name a case");
    int provided;
    if (!strcmp(argv[1], "threads")) {
        MUST(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
        EQUAL(provided, MPI_THREAD_MULTIPLE);
        begin_started();
    } else {
        begin_faults(&argc, &argv);
    }
    program = argv[0];
    MPI_Comm parents;
    MPI_Comm_get_parent(&parents);
    if (parents != MPI_COMM_NULL) return child(parents);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!strcmp(cases[i].name, argv[1])) return end_of_survivors(cases[i].run());
    }
    CHECK(0, "there is no case %s", argv[1]);
    return 1;
}
