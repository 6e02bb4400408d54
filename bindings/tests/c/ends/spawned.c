// SPDX-License-Identifier: Apache-2.0 OR MIT
// Ends of jobs that spawned others. The first word says which:
//   outlive   the parents disconnect and end, the children go on a while and say "still here"
//   fail      the children disconnect, and one exits with 5 after MPI_Finalize
//   abort     a child calls MPI_Abort while the parents wait for it
//   kill      a child is killed while the parents wait for it
//   orphan    a parent is killed while the children wait for it
//   lost      a child is killed; the parents get the error, and go on without
//   finalize  nobody disconnects: a long message is under way while both sides finalize
//   stay      parents and children wait for each other for ever
#include "../check.h"

#include <signal.h>
#include <unistd.h>

static void wait_for(MPI_Comm inter) {
    int got;
    MPI_Recv(&got, 1, MPI_INT, 0, 1, inter, MPI_STATUS_IGNORE);
}

static char big[4 << 20];

static int child(const char *how, MPI_Comm parent) {
    if (!strcmp(how, "finalize")) {
        MPI_Request request;
        MUST(MPI_Irecv(big, sizeof big, MPI_BYTE, 0, 2, parent, &request));
        if (rank == 0) MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        if (rank == 0) EQUAL(differs(big, sizeof big, 3), -1);
        if (rank != 0) MUST(MPI_Cancel(&request));
        if (rank != 0) MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        return MPI_Finalize();
    }
    if (!strcmp(how, "outlive") || !strcmp(how, "fail")) {
        MUST(MPI_Comm_disconnect(&parent));
        if (*how == 'o') {
            usleep(700000);
            printf("still here %d\n", rank);
        }
        MPI_Finalize();
        return *how == 'f' && rank == 1 ? 5 : 0;
    }
    MPI_Barrier(parent);
    if (rank == 0 && !strcmp(how, "abort")) MPI_Abort(MPI_COMM_WORLD, 7);
    if (rank == 0 && (!strcmp(how, "kill") || !strcmp(how, "lost"))) raise(SIGKILL);
    wait_for(parent);
    return 0;
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    char *how = argv[1], *words[] = {how, NULL};
    MPI_Comm parent, inter;
    MPI_Comm_get_parent(&parent);
    if (parent != MPI_COMM_NULL) return child(how, parent);
    MUST(MPI_Comm_spawn(argv[0], words, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter,
                        MPI_ERRCODES_IGNORE));
    if (!strcmp(how, "outlive") || !strcmp(how, "fail")) {
        MUST(MPI_Comm_disconnect(&inter));
    } else if (!strcmp(how, "finalize")) {
        MPI_Request request;
        fill(big, sizeof big, 3);
        if (rank == 0) MUST(MPI_Isend(big, sizeof big, MPI_BYTE, 0, 2, inter, &request));
        if (rank == 0) MUST(MPI_Request_free(&request));
    } else {
        MPI_Barrier(inter);
        if (rank == 0 && !strcmp(how, "stay")) puts("waiting"), fflush(stdout);
        if (rank == 0 && !strcmp(how, "orphan")) raise(SIGKILL);
        if (!strcmp(how, "lost")) {
            int got;
            MPI_Comm_set_errhandler(inter, MPI_ERRORS_RETURN);
            int code = MPI_Recv(&got, 1, MPI_INT, 0, 1, inter, MPI_STATUS_IGNORE);
            EQUAL(class_of(code), MPI_ERR_PROC_ABORTED);
            MPI_Comm_free(&inter);
        } else {
            wait_for(inter);
        }
    }
    return end();
}
