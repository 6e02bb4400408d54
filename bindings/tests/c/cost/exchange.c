// SPDX-License-Identifier: Apache-2.0 OR MIT
// Ours only: what short messages cost is counted while this runs (tools/xtask/src/suite/cost.rs).
//
// Two ranks exchange messages of 8 bytes: rounds of a window of immediate sends and receives with
// Waitall, and blocking sends and receives. Prints nothing but `ok`.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WINDOW = 32 };

static void window(int rank, int tag) {
  static char buffer[WINDOW][8];
  MPI_Request requests[WINDOW];
  for (int i = 0; i < WINDOW; i++) {
    if (rank == 0)
      MPI_Isend(buffer[i], 8, MPI_CHAR, 1, tag, MPI_COMM_WORLD, &requests[i]);
    else
      MPI_Irecv(buffer[i], 8, MPI_CHAR, 0, tag, MPI_COMM_WORLD, &requests[i]);
  }
  MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 100;
  int provided, rank;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  char out[8] = "message", in[8];
  for (int round = 0; round < rounds; round++) {
    window(rank, 1);
    if (rank == 0) {
      MPI_Send(out, 8, MPI_CHAR, 1, 2, MPI_COMM_WORLD);
      MPI_Recv(in, 8, MPI_CHAR, 1, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(in, 8, MPI_CHAR, 0, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(out, 8, MPI_CHAR, 0, 3, MPI_COMM_WORLD);
    }
    // The reader of the trace of system calls counts what lies between two of these.
    if (round == rounds / 2 || round == rounds - 1) (void)!write(-1, "mark", 4);
  }
  if (rank == 0) puts("ok");
  MPI_Finalize();
  return 0;
}
