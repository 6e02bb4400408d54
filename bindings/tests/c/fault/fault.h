// SPDX-License-Identifier: Apache-2.0 OR MIT
// What the programs about lost ranks share: a rank that dies at a chosen time, survivors that
// shrink and compute.
#ifndef FAULT_H
#define FAULT_H

#include "../check.h"
#include <mpi-ext.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

static MPI_Comm work;

static inline void die(void) { kill(getpid(), SIGKILL); }

static inline void on_alarm(int number) {
    (void)number;
    die();
}

// Dies in so many microseconds, wherever it is then.
static inline void die_in(long microseconds) {
    struct itimerval when = {{0, 0}, {microseconds / 1000000, microseconds % 1000000 + 1}};
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &when, NULL);
}

// The error of a call that a lost or leaving rank may keep from its end: none, or one of these.
static inline int lost_or_revoked(int code) {
    int class = class_of(code), length = 0;
    char text[MPI_MAX_ERROR_STRING] = "";
    if (class != MPI_SUCCESS) MPI_Error_string(code, text, &length);
    CHECK(class == MPI_SUCCESS || class == MPIX_ERR_PROC_FAILED || class == MPIX_ERR_REVOKED,
          "class %d: %s", class, text);
    return class != MPI_SUCCESS;
}

// Of a program that has called MPI_Init.
static inline void begin_started(void) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MUST(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &work));
    // All are here before one dies. (Of a barrier some may not hear the end then.)
    int flag = 1;
    MUST(MPIX_Comm_agree(work, &flag));
    EQUAL(flag, 1);
}

static inline void begin_faults(int *argc, char ***argv) {
    MPI_Init(argc, argv);
    begin_started();
}

// A communicator of those who live, which all of them know to work; frees the old one.
static inline MPI_Comm rest_of(MPI_Comm old) {
    MPI_Comm new;
    for (;;) {
        MUST(MPIX_Comm_shrink(old, &new));
        MUST(MPI_Comm_free(&old));
        int flag = 1, mine = 0, sum = 0;
        mine = class_of(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, new)) == MPI_SUCCESS;
        // Somebody died meanwhile: those who got an error and those who did not agree on it.
        if (!mine) MPIX_Comm_revoke(new);
        flag = mine;
        int code = MPIX_Comm_agree(new, &flag);
        if (code == MPI_SUCCESS && flag) return new;
        MPIX_Comm_revoke(new);
        old = new;
    }
}

// The survivors compute together; `dead` of them died. The first one says that all is well.
static inline int end_of_survivors(int dead) {
    // Not before all have seen what they should see.
    int flag = 1;
    lost_or_revoked(MPIX_Comm_agree(work, &flag));
    EQUAL(flag, 1);
    MPIX_Comm_revoke(work);
    int is_revoked = 0;
    MUST(MPIX_Comm_is_revoked(work, &is_revoked));
    EQUAL(is_revoked, 1);
    EQUAL(class_of(MPI_Barrier(work)), MPIX_ERR_REVOKED);
    EQUAL(class_of(MPI_Send(NULL, 0, MPI_INT, 0, 0, work)), MPIX_ERR_REVOKED);
    MPI_Comm rest = rest_of(work);
    int count, place;
    MPI_Comm_size(rest, &count);
    MPI_Comm_rank(rest, &place);
    EQUAL(count, size - dead);
    for (int length = 1; length <= 100000; length *= 10) {
        long *mine = malloc(length * sizeof(long)), *sum = malloc(length * sizeof(long));
        for (int i = 0; i < length; i++) mine[i] = (long)place * i + 1;
        MUST(MPI_Allreduce(mine, sum, length, MPI_LONG, MPI_SUM, rest));
        for (int i = 0; i < length; i++) {
            EQUAL(sum[i], (long)count * (count - 1) / 2 * i + count);
        }
        free(mine);
        free(sum);
    }
    int from = (place + count - 1) % count, got = -1;
    MUST(MPI_Sendrecv(&place, 1, MPI_INT, (place + 1) % count, 5, &got, 1, MPI_INT, from, 5, rest,
                      MPI_STATUS_IGNORE));
    EQUAL(got, from);
    MUST(MPI_Barrier(rest));
    MUST(MPI_Comm_free(&rest));
    MPI_Finalize();
    if (place == 0) puts("ok");
    return 0;
}

#endif
