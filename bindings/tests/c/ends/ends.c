// SPDX-License-Identifier: Apache-2.0 OR MIT
// Ends in the way that its first argument names, for the tests of mpiexec's report:
//     well | exit CODE RANK | return CODE RANK | segv RANK | kill RANK | abort CODE RANK
//     abortall CODE | truncate | badrank | early | late | release | finalize CODE RANK
//     giveup RANK | leak
// Where one rank ends alone, the others wait in a barrier; in a receive from it for finalize; in a
// receive that returns errors for giveup, after which they call MPI_Abort.
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rank, size;

static int is(const char *word, const char *wanted) {
    return strcmp(word, wanted) == 0;
}

static void truncated(void) {
    double numbers[10] = {0};
    if (rank == 0) MPI_Send(numbers, 10, MPI_DOUBLE, 1, 7, MPI_COMM_WORLD);
    if (rank == 1) MPI_Recv(numbers, 5, MPI_DOUBLE, 0, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void alone(const char *how, int code) {
    volatile int *nowhere = NULL;
    // The others have time to reach their barrier, where the report should find them.
    usleep(200000);
    if (is(how, "exit")) exit(code);
    if (is(how, "segv")) *nowhere = 1;
    if (is(how, "kill")) kill(getpid(), SIGKILL);
    if (is(how, "abort")) MPI_Abort(MPI_COMM_WORLD, code);
}

// One rank finalizes and returns a code while the others wait for its message.
static int finalized(int code, int who) {
    if (rank != who) MPI_Recv(&code, 1, MPI_INT, who, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    usleep(200000);
    MPI_Finalize();
    return code;
}

// One rank dies; the others see the error and end the job themselves, as Python programs do.
static void given_up(int who) {
    int value;
    if (rank == who) alone("kill", 0);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Recv(&value, 1, MPI_INT, who, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "well";
    int first = argc > 2 ? atoi(argv[2]) : 0, second = argc > 3 ? atoi(argv[3]) : 0;
    if (is(how, "early")) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (is(how, "leak")) setenv("STRAIT_CHECK", "handles", 1);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Barrier(MPI_COMM_WORLD);
    int value = 1, who = is(how, "segv") || is(how, "kill") ? first : second;
    if (is(how, "truncate")) truncated();
    if (is(how, "badrank")) MPI_Send(&value, 1, MPI_INT, 99, 0, MPI_COMM_WORLD);
    if (is(how, "abortall")) MPI_Abort(MPI_COMM_WORLD, first);
    if (is(how, "finalize")) return finalized(first, second);
    if (is(how, "giveup")) given_up(first);
    int lonely = is(how, "exit") || is(how, "segv") || is(how, "kill") || is(how, "abort");
    if (lonely && rank == who) alone(how, first);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Comm twin;
    MPI_Comm_dup(MPI_COMM_WORLD, &twin);
    if (is(how, "leak")) {
        static int never;
        MPI_Datatype pair;
        MPI_Request request;
        MPI_Comm_set_name(twin, "twin");
        MPI_Type_contiguous(2, MPI_INT, &pair);
        MPI_Irecv(&never, 1, MPI_INT, rank, 7, twin, &request);
    }
    MPI_Finalize();
    if (is(how, "late")) MPI_Barrier(MPI_COMM_WORLD);
    if (is(how, "release")) printf("%s\n", MPI_Comm_free(&twin) ? "refused" : "accepted");
    if (is(how, "return") && rank == second) return first;
    return 0;
}
