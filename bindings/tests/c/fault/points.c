// SPDX-License-Identifier: Apache-2.0 OR MIT
// A rank dies at one of many points; the others get the errors that they should get, shrink their
// communicator and compute on it. `points CASE [SEED]`; run under mpiexec --keep-going.
#include "fault.h"

#define LONG (8 << 20)

static int victim;
static long delay;

// Those who need the dead rank for a message hear that it is lost.
static int receive_from_it(void) {
    if (rank == victim) die();
    int got;
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, victim, 0, work, MPI_STATUS_IGNORE)),
          MPIX_ERR_PROC_FAILED);
    MPI_Request request;
    MUST(MPI_Irecv(&got, 1, MPI_INT, victim, 0, work, &request));
    EQUAL(class_of(MPI_Wait(&request, MPI_STATUS_IGNORE)), MPIX_ERR_PROC_FAILED);
    CHECK(request == MPI_REQUEST_NULL, "the request has ended");
    // Others are reached as before.
    if (size > 2) {
        int next = rank, before = rank;
        do next = (next + 1) % size;
        while (next == victim);
        do before = (before + size - 1) % size;
        while (before == victim);
        MUST(MPI_Sendrecv(&rank, 1, MPI_INT, next, 1, &got, 1, MPI_INT, before, 1, work,
                          MPI_STATUS_IGNORE));
        EQUAL(got, before);
    }
    MPI_Group failed, all;
    int count, of_group = 0, of_comm;
    MUST(MPIX_Comm_get_failed(work, &failed));
    MUST(MPI_Group_size(failed, &count));
    EQUAL(count, 1);
    MUST(MPI_Comm_group(work, &all));
    MUST(MPI_Group_translate_ranks(failed, 1, &of_group, all, &of_comm));
    EQUAL(of_comm, victim);
    MUST(MPI_Group_free(&failed));
    MUST(MPI_Group_free(&all));
    return 1;
}

static int send_to_it(void) {
    if (rank == victim) die();
    EQUAL(class_of(MPI_Ssend(&rank, 1, MPI_INT, victim, 0, work)), MPIX_ERR_PROC_FAILED);
    char *bytes = calloc(1, LONG);
    EQUAL(class_of(MPI_Send(bytes, LONG, MPI_BYTE, victim, 0, work)), MPIX_ERR_PROC_FAILED);
    free(bytes);
    return 1;
}

// Long messages in both directions, amid which it dies.
static int long_messages(void) {
    char *out = malloc(LONG), *in = malloc(LONG);
    memset(out, rank, LONG);
    if (rank == victim) die_in(delay * 20);
    for (int round = 0;; round++) {
        int code = MPI_SUCCESS;
        if (rank == victim) {
            for (int other = 0; other < size; other++) {
                if (other == rank) continue;
                MPI_Sendrecv(out, LONG, MPI_BYTE, other, 2, in, LONG, MPI_BYTE, other, 2, work,
                             MPI_STATUS_IGNORE);
            }
        } else {
            code = MPI_Sendrecv(out, LONG, MPI_BYTE, victim, 2, in, LONG, MPI_BYTE, victim, 2, work,
                                MPI_STATUS_IGNORE);
        }
        if (code) {
            EQUAL(class_of(code), MPIX_ERR_PROC_FAILED);
            break;
        }
        if (rank != victim) EQUAL(in[LONG - 1], victim);
    }
    free(in);
    free(out);
    return 1;
}

// A receive from any source is interrupted until the loss is acknowledged; its request stays.
static int any_source(void) {
    if (rank == victim) {
        usleep(delay);
        die();
    }
    int got = -1, found = 0;
    MPI_Request request;
    MPI_Status status;
    MUST(MPI_Irecv(&got, 1, MPI_INT, MPI_ANY_SOURCE, 3, work, &request));
    EQUAL(class_of(MPI_Wait(&request, &status)), MPIX_ERR_PROC_FAILED_PENDING);
    CHECK(request != MPI_REQUEST_NULL, "the request is pending");
    int other;
    EQUAL(class_of(MPI_Recv(&other, 1, MPI_INT, MPI_ANY_SOURCE, 4, work, &status)),
          MPIX_ERR_PROC_FAILED);
    EQUAL(class_of(MPI_Probe(MPI_ANY_SOURCE, 4, work, &status)), MPIX_ERR_PROC_FAILED_PENDING);
    EQUAL(class_of(MPI_Iprobe(MPI_ANY_SOURCE, 4, work, &found, &status)),
          MPIX_ERR_PROC_FAILED_PENDING);
    int acknowledged = -1;
    MUST(MPIX_Comm_ack_failed(work, 0, &acknowledged));
    EQUAL(acknowledged, 0);
    if (rank % 2) {
        MUST(MPIX_Comm_failure_ack(work));
    } else {
        MUST(MPIX_Comm_ack_failed(work, size, &acknowledged));
        EQUAL(acknowledged, 1);
    }
    MPI_Group group;
    int count;
    MUST(MPIX_Comm_failure_get_acked(work, &group));
    MUST(MPI_Group_size(group, &count));
    EQUAL(count, 1);
    MUST(MPI_Group_free(&group));
    MUST(MPI_Test(&request, &found, &status));
    EQUAL(found, 0);
    // Nobody sends before all have looked.
    int flag = 1;
    MUST(MPIX_Comm_agree(work, &flag));
    int next = rank;
    do next = (next + 1) % size;
    while (next == victim);
    MUST(MPI_Send(&rank, 1, MPI_INT, next, 3, work));
    MUST(MPI_Wait(&request, &status));
    EQUAL(got, status.MPI_SOURCE);
    CHECK(got != victim, "from %d", got);
    return 1;
}

// Who gets an error in a collective call leaves and revokes, so that nobody stays behind.
#define UNTIL_ERROR(call)                                     \
    for (;;) {                                                \
        if (lost_or_revoked(call)) {                          \
            MPIX_Comm_revoke(work);                           \
            break;                                            \
        }                                                     \
    }

static int barrier(void) {
    if (rank == victim) die();
    UNTIL_ERROR(MPI_Barrier(work));
    return 1;
}

static int collectives(void) {
    static long in[1 << 17], out[1 << 17];
    static const int counts[] = {1, 10, 1000, 5000, 1 << 17};
    if (rank == victim) die_in(delay * 10);
    for (int i = 0;; i++) {
        int count = counts[i % 5], root = i % size, code;
        switch (i % 4) {
        case 0: code = MPI_Allreduce(in, out, count, MPI_LONG, MPI_SUM, work); break;
        case 1: code = MPI_Bcast(in, count, MPI_LONG, root, work); break;
        case 2: code = MPI_Reduce(in, out, count, MPI_LONG, MPI_MAX, root, work); break;
        default:
            code = MPI_Allgather(in, count / size, MPI_LONG, out, count / size, MPI_LONG, work);
        }
        if (lost_or_revoked(code)) break;
    }
    MPIX_Comm_revoke(work);
    return 1;
}

static int behind_requests(void) {
    static long in[5000], out[5000];
    if (rank == victim) die_in(delay * 5);
    for (;;) {
        MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        MPI_Status statuses[2];
        int code = MPI_Iallreduce(in, out, 5000, MPI_LONG, MPI_SUM, work, &requests[0]);
        if (!code) code = MPI_Ibarrier(work, &requests[1]);
        if (code) {
            lost_or_revoked(code);
            // What was started still ends, now or when the communicator is revoked.
            MPIX_Comm_revoke(work);
        }
        int ended = MPI_Waitall(2, requests, statuses);
        if (ended) {
            EQUAL(class_of(ended), MPI_ERR_IN_STATUS);
            lost_or_revoked(statuses[0].MPI_ERROR);
            lost_or_revoked(statuses[1].MPI_ERROR);
        }
        if (code || ended) break;
    }
    MPIX_Comm_revoke(work);
    return 1;
}

// A second one dies while the others shrink.
static int shrinking(void) {
    int second = (victim + 1) % size;
    if (rank == victim) die();
    if (rank == second) die_in(delay / 4);
    UNTIL_ERROR(MPI_Barrier(work));
    if (rank != second) return 2;
    for (MPI_Comm new = work;;) {
        MPI_Comm old = new;
        MPIX_Comm_shrink(old, &new);
        int flag = 1;
        MPIX_Comm_agree(new, &flag);
    }
}

// Agreements until these members are gone, then five more: all who live see the same results, and
// the same errors.
static int agree_without(int gone, int deaths) {
    int rounds = 0, without = 0, count;
    unsigned seen = 1;
    // All end in the same round, or some would wait for ever.
    for (; without < 5; rounds++) {
        int flag = ~(1 << rank);
        int code = MPIX_Comm_agree(work, &flag);
        lost_or_revoked(code);
        CHECK(!(flag & 1 << rank), "our own bit is cleared");
        seen = (seen * 31 + (unsigned)flag) * 31 + (unsigned)class_of(code);
        without += (flag & gone) == gone;
        if (rounds % 3 == 0) MUST(MPIX_Comm_failure_ack(work));
    }
    MPI_Comm rest;
    MUST(MPIX_Comm_shrink(work, &rest));
    MUST(MPI_Comm_size(rest, &count));
    EQUAL(count, size - deaths);
    unsigned mine[2] = {seen, (unsigned)rounds}, *all = malloc(count * sizeof mine);
    MUST(MPI_Allgather(mine, 2, MPI_UNSIGNED, all, 2, MPI_UNSIGNED, rest));
    for (int other = 0; other < count; other++) {
        CHECK(!memcmp(all + 2 * other, mine, sizeof mine), "survivor %d saw the same", other);
    }
    free(all);
    MUST(MPI_Comm_free(&rest));
    return deaths;
}

static int agreeing(void) {
    if (rank == victim) die_in(delay);
    return agree_without(1 << victim, 1);
}

// The coordinator of the agreements dies, and at once who would follow it.
static int two_at_once(void) {
    if (rank < 2) die_in(delay);
    return agree_without(3, 2);
}

// The same behind requests, several under way at once.
static int agreeing_behind_requests(void) {
    if (rank == victim) die_in(delay);
    for (int round = 0; round < 20 || rank == victim; round++) {
        int flags[5];
        MPI_Request requests[5];
        MPI_Status statuses[5];
        for (int i = 0; i < 5; i++) {
            flags[i] = ~(1 << (rank + i));
            MUST(MPIX_Comm_iagree(work, &flags[i], &requests[i]));
        }
        int code = MPI_Waitall(5, requests, statuses);
        for (int i = 0; i < 5; i++) {
            if (code) lost_or_revoked(statuses[i].MPI_ERROR);
            CHECK(!(flags[i] & 1 << (rank + i)), "our own bit is cleared");
        }
    }
    MPI_Comm new;
    MPI_Request request;
    MUST(MPIX_Comm_ishrink(work, &new, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MUST(MPI_Comm_free(&new));
    return 1;
}

// Who leaves right after an agreement leaves nobody behind who has not heard of it.
static int last_words(void) {
    if (rank == victim) die_in(delay / 2);
    for (int round = 0; round < 50 || rank == victim; round++) {
        int flag = 1;
        lost_or_revoked(MPIX_Comm_agree(work, &flag));
        EQUAL(flag, 1);
    }
    int first = rank == (victim == 0);
    MPI_Finalize();
    if (first) puts("ok");
    exit(0);
}

// Nobody dies: the first one revokes what the others wait in.
static int revoked(void) {
    int got, kind = rank % 6;
    MPI_Request request;
    MPI_Status status;
    char *bytes = calloc(1, LONG);
    if (rank == 0) {
        usleep(delay);
        MUST(MPIX_Comm_revoke(work));
    } else if (kind == 1) {
        EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, 0, 9, work, &status)), MPIX_ERR_REVOKED);
    } else if (kind == 2) {
        EQUAL(class_of(MPI_Barrier(work)), MPIX_ERR_REVOKED);
    } else if (kind == 3) {
        EQUAL(class_of(MPI_Ssend(&rank, 1, MPI_INT, 0, 9, work)), MPIX_ERR_REVOKED);
    } else if (kind == 4) {
        EQUAL(class_of(MPI_Send(bytes, LONG, MPI_BYTE, 0, 9, work)), MPIX_ERR_REVOKED);
    } else if (kind == 5) {
        EQUAL(class_of(MPI_Probe(MPI_ANY_SOURCE, 9, work, &status)), MPIX_ERR_REVOKED);
    } else {
        MUST(MPI_Ibarrier(work, &request));
        EQUAL(class_of(MPI_Wait(&request, &status)), MPIX_ERR_REVOKED);
    }
    EQUAL(class_of(MPI_Irecv(&got, 1, MPI_INT, 0, 9, work, &request)), MPIX_ERR_REVOKED);
    EQUAL(class_of(MPI_Comm_dup(work, &(MPI_Comm){MPI_COMM_NULL})), MPIX_ERR_REVOKED);
    free(bytes);
    // The world is another communicator.
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    return 0;
}

// The last third of the ranks is lost: somebody else kills them all when told that we are ready.
static int without_a_host(void) {
    int lost = size / 3, got;
    if (rank == 0) {
        puts("ready");
        fflush(stdout);
    }
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, size - 1, 0, work, MPI_STATUS_IGNORE)),
          MPIX_ERR_PROC_FAILED);
    return lost;
}

// Where errors are fatal, whoever needs the dead rank ends, too, and nobody else.
static int fatal(void) {
    int needs = (victim + 1) % size, got;
    if (rank == needs) MUST(MPI_Comm_set_errhandler(work, MPI_ERRORS_ARE_FATAL));
    if (rank == victim) die();
    if (rank == needs) {
        MPI_Recv(&got, 1, MPI_INT, victim, 0, work, MPI_STATUS_IGNORE);
        CHECK(0, "the error was not fatal");
    }
    EQUAL(class_of(MPI_Recv(&got, 1, MPI_INT, needs, 0, work, MPI_STATUS_IGNORE)),
          MPIX_ERR_PROC_FAILED);
    return 2;
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {
    {"receive", receive_from_it},
    {"send", send_to_it},
    {"long", long_messages},
    {"any", any_source},
    {"barrier", barrier},
    {"collectives", collectives},
    {"requests", behind_requests},
    {"shrink", shrinking},
    {"agree", agreeing},
    {"two", two_at_once},
    {"iagree", agreeing_behind_requests},
    {"last", last_words},
    {"fatal", fatal},
    {"host", without_a_host},
    {"revoke", revoked},
};

int main(int argc, char **argv) {
    begin_faults(&argc, &argv);
    CHECK(argc > 1, "name a case");
    unsigned seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    // Of three seeds one takes the lowest member, the coordinator of agreements, at any size.
    victim = (int)(seed * 5 + 2) % size;
    delay = 200 + seed * 7919 % 9000;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!strcmp(cases[i].name, argv[1])) return end_of_survivors(cases[i].run());
    }
    CHECK(0, "there is no case %s", argv[1]);
    return 1;
}
