// SPDX-License-Identifier: Apache-2.0 OR MIT
// Writes pieces of a file without end, all ranks in turn with a hole behind the last: collectively
// (in short runs that interleave) and alone. The file's name is the argument; it is there already.
// In each stretch of (ranks + 1) pieces, piece r belongs to rank r, which writes letter 'a' + r.
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 64, PIECES = 4000 };

int main(int argc, char **argv) {
    int rank, size;
    MPI_File file;
    MPI_Datatype piece, view;
    static char letters[PIECE * PIECES];
    alarm(50);
    MPI_Init(&argc, &argv);
    if (argc != 2) MPI_Abort(MPI_COMM_WORLD, 2);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    memset(letters, 'a' + rank, sizeof letters);
    MPI_Type_contiguous(PIECE, MPI_BYTE, &piece);
    MPI_Type_create_resized(piece, 0, PIECE * (size + 1), &view);
    MPI_Type_commit(&view);
    if (MPI_File_open(MPI_COMM_WORLD, argv[1], MPI_MODE_RDWR, MPI_INFO_NULL, &file))
        MPI_Abort(MPI_COMM_WORLD, 3);
    MPI_File_set_errhandler(file, MPI_ERRORS_ARE_FATAL);
    MPI_File_set_view(file, rank * PIECE, MPI_BYTE, view, "native", MPI_INFO_NULL);
    for (;;) {
        MPI_File_write_at_all(file, 0, letters, PIECE * PIECES, MPI_BYTE, MPI_STATUS_IGNORE);
        MPI_File_write_at(file, PIECE * (PIECES / 2), letters, PIECE * 10, MPI_BYTE,
                          MPI_STATUS_IGNORE);
    }
}
