// SPDX-License-Identifier: Apache-2.0 OR MIT
// Files: what an open refuses, sizes, pointers and views, bytes that arrive, handlers.
// Ours only: which class an error has differs between libraries.
#include "check.h"
#include <unistd.h>

static char path[256];

static void name_file(void) {
    const char *folder = getenv("TMPDIR");
    if (rank == 0)
        snprintf(path, sizeof path, "%s/mpi-files-%ld", folder ? folder : "/tmp", (long)getpid());
    MUST(MPI_Bcast(path, sizeof path, MPI_CHAR, 0, MPI_COMM_WORLD));
}

static int opened(int mode) {
    MPI_File file = MPI_FILE_NULL;
    int code = MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file);
    if (code != MPI_SUCCESS) return class_of(code);
    MUST(MPI_File_close(&file));
    CHECK(file == MPI_FILE_NULL, "the handle stays");
    return MPI_SUCCESS;
}

static void refusals(void) {
    EQUAL(opened(MPI_MODE_RDONLY), MPI_ERR_NO_SUCH_FILE);
    EQUAL(opened(0), MPI_ERR_AMODE);
    EQUAL(opened(MPI_MODE_CREATE), MPI_ERR_AMODE);
    EQUAL(opened(MPI_MODE_RDONLY | MPI_MODE_CREATE), MPI_ERR_AMODE);
    EQUAL(opened(MPI_MODE_RDWR | MPI_MODE_WRONLY), MPI_ERR_AMODE);
    EQUAL(opened(MPI_MODE_RDWR | MPI_MODE_SEQUENTIAL), MPI_ERR_AMODE);
    // All fail when one differs, and nobody waits for ever.
    int mode = rank == 0 ? MPI_MODE_RDWR : MPI_MODE_WRONLY;
    if (size > 1) EQUAL(opened(mode | MPI_MODE_CREATE), MPI_ERR_NOT_SAME);
    EQUAL(opened(MPI_MODE_WRONLY | MPI_MODE_CREATE | MPI_MODE_EXCL), MPI_SUCCESS);
    EQUAL(opened(MPI_MODE_WRONLY | MPI_MODE_CREATE | MPI_MODE_EXCL), MPI_ERR_FILE_EXISTS);
    EQUAL(opened(MPI_MODE_WRONLY | MPI_MODE_CREATE), MPI_SUCCESS);
    MPI_Barrier(MPI_COMM_WORLD);
    int gone = MPI_SUCCESS;
    if (rank == 0) {
        MUST(MPI_File_delete(path, MPI_INFO_NULL));
        gone = class_of(MPI_File_delete(path, MPI_INFO_NULL));
        EQUAL(gone, MPI_ERR_NO_SUCH_FILE);
    }
}

enum { PIECE = 1000 };

static void bytes_arrive(void) {
    MPI_File file;
    MPI_Comm twin;
    MPI_Status status;
    MPI_Offset bytes, at;
    unsigned char out[PIECE], in[PIECE + 50];
    int count, mode = MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE, found;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &twin));
    MUST(MPI_File_open(twin, path, mode, MPI_INFO_NULL, &file));
    MUST(MPI_Comm_free(&twin));
    MUST(MPI_File_get_amode(file, &found));
    EQUAL(found, mode);
    fill(out, PIECE, rank);
    MUST(MPI_File_write_at(file, (MPI_Offset)rank * PIECE, out, PIECE, MPI_BYTE, &status));
    MUST(MPI_Get_count(&status, MPI_BYTE, &count));
    EQUAL(count, PIECE);
    MUST(MPI_File_sync(file));
    MPI_Barrier(MPI_COMM_WORLD);
    int next = (rank + 1) % size;
    MUST(MPI_File_read_at(file, (MPI_Offset)next * PIECE, in, PIECE, MPI_BYTE, &status));
    EQUAL(differs(in, PIECE, next), -1);
    MUST(MPI_File_get_size(file, &bytes));
    EQUAL(bytes, size * PIECE);

    // The end of the file ends a read; the pointer stands there.
    MUST(MPI_File_seek(file, -10, MPI_SEEK_END));
    MUST(MPI_File_read(file, in, 50, MPI_BYTE, &status));
    MUST(MPI_Get_count(&status, MPI_BYTE, &count));
    EQUAL(count, 10);
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, size * PIECE);
    EQUAL(class_of(MPI_File_seek(file, -1, MPI_SEEK_SET)), MPI_ERR_ARG);
    MUST(MPI_File_seek(file, -4, MPI_SEEK_CUR));
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, size * PIECE - 4);
    MPI_Barrier(MPI_COMM_WORLD);

    MUST(MPI_File_preallocate(file, 10));
    MUST(MPI_File_get_size(file, &bytes));
    EQUAL(bytes, size * PIECE);
    MUST(MPI_File_set_size(file, 7));
    MUST(MPI_File_get_size(file, &bytes));
    EQUAL(bytes, 7);
    if (size > 1) EQUAL(class_of(MPI_File_set_size(file, rank)), MPI_ERR_NOT_SAME);
    MUST(MPI_File_close(&file));
    EQUAL(opened(MPI_MODE_RDONLY), MPI_ERR_NO_SUCH_FILE);
}

static void views(void) {
    MPI_File file;
    MPI_Status status;
    MPI_Datatype column, pair, etype, filetype;
    MPI_Offset disp, at;
    char name[MPI_MAX_DATAREP_STRING];
    int count, mode = MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE;
    int out[12], in[12], both[2 * 8];
    MUST(MPI_Type_vector(4, 1, 3, MPI_INT, &column));
    MUST(MPI_Type_commit(&column));
    MUST(MPI_Type_contiguous(2, MPI_INT, &pair));
    MUST(MPI_Type_commit(&pair));
    MUST(MPI_File_open(MPI_COMM_SELF, path, mode | MPI_MODE_UNIQUE_OPEN, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 5, MPI_INT, pair, "native", MPI_INFO_NULL));
    MUST(MPI_File_get_view(file, &disp, &etype, &filetype, name));
    EQUAL(disp, 5);
    CHECK(etype == MPI_INT && strcmp(name, "native") == 0, "%s", name);
    CHECK(filetype != pair, "a view hands out types of its own");
    MUST(MPI_Type_size(filetype, &count));
    EQUAL(count, 2 * sizeof(int));
    MUST(MPI_Type_free(&filetype));
    MUST(MPI_File_get_byte_offset(file, 3, &at));
    EQUAL(at, 5 + 3 * (int)sizeof(int));

    // From a column of one array to another column: side by side in the file.
    for (int i = 0; i < 12; i++) out[i] = 100 * rank + i, in[i] = -1;
    MUST(MPI_File_write_at(file, 2, out, 1, column, &status));
    MUST(MPI_Get_count(&status, column, &count));
    EQUAL(count, 1);
    MUST(MPI_File_seek(file, 2, MPI_SEEK_SET));
    MUST(MPI_File_read(file, in + 1, 1, column, MPI_STATUS_IGNORE));
    for (int i = 0; i < 12; i++) EQUAL(in[i], i % 3 == 1 ? 100 * rank + i - 1 : -1);
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 6);
    MUST(MPI_File_seek(file, 0, MPI_SEEK_END));
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 6);
    MUST(MPI_File_read_at(file, 0, both, 16, MPI_INT, &status));
    MUST(MPI_Get_count(&status, MPI_INT, &count));
    EQUAL(count, 6);
    EQUAL(both[2], 100 * rank);
    EQUAL(both[5], 100 * rank + 9);
    EQUAL(class_of(MPI_File_set_view(file, 0, pair, MPI_INT, "native", MPI_INFO_NULL)),
          MPI_ERR_TYPE);
    EQUAL(class_of(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "mine", MPI_INFO_NULL)),
          MPI_ERR_UNSUPPORTED_DATAREP);
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&column));
    MUST(MPI_Type_free(&pair));
}

// Every rank takes pieces where the shared pointer stands: none twice, none left out.
static void shared_pointer(void) {
    enum { EACH = 20 };
    MPI_File file;
    MPI_Offset at;
    MPI_Status status;
    int value, count, seen[10 * EACH] = {0};
    int mode = MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE;
    MUST(MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 3, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    for (int i = 0; i < EACH; i++) {
        value = EACH * rank + i;
        MUST(MPI_File_write_shared(file, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MUST(MPI_File_get_position_shared(file, &at));
    EQUAL(at, EACH * size);
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 0);
    for (int i = 0; i < EACH * size; i++) {
        MUST(MPI_File_read_at(file, i, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
        CHECK(value >= 0 && value < EACH * size, "%d was written by nobody", value);
        EQUAL(seen[value]++, 0);
    }
    MUST(MPI_File_seek_shared(file, -size, MPI_SEEK_END));
    MUST(MPI_File_read_shared(file, &value, 1, MPI_INT, &status));
    MUST(MPI_Get_count(&status, MPI_INT, &count));
    EQUAL(count, 1);
    EQUAL(class_of(MPI_File_seek_shared(file, -1, MPI_SEEK_SET)), MPI_ERR_ARG);
    if (size > 1) EQUAL(class_of(MPI_File_seek_shared(file, rank, MPI_SEEK_SET)), MPI_ERR_NOT_SAME);
    MUST(MPI_File_read_shared(file, &value, 1, MPI_INT, &status)); // at the end
    MUST(MPI_Get_count(&status, MPI_INT, &count));
    EQUAL(count, 0);
    MUST(MPI_File_close(&file));
}

static void directions(void) {
    MPI_File file;
    MPI_Offset at;
    char byte = 'x';
    int create = MPI_MODE_CREATE | MPI_MODE_WRONLY;
    MUST(MPI_File_open(MPI_COMM_WORLD, path, create, MPI_INFO_NULL, &file));
    MUST(MPI_File_write_at(file, 41, &byte, 1, MPI_CHAR, MPI_STATUS_IGNORE));
    EQUAL(class_of(MPI_File_read_at(file, 0, &byte, 1, MPI_CHAR, MPI_STATUS_IGNORE)),
          MPI_ERR_ACCESS);
    MUST(MPI_File_close(&file));
    MUST(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file));
    EQUAL(class_of(MPI_File_write(file, &byte, 1, MPI_CHAR, MPI_STATUS_IGNORE)),
          MPI_ERR_READ_ONLY);
    EQUAL(class_of(MPI_File_set_size(file, 0)), MPI_ERR_READ_ONLY);
    MUST(MPI_File_close(&file));
    int append = MPI_MODE_APPEND | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE;
    MUST(MPI_File_open(MPI_COMM_WORLD, path, append, MPI_INFO_NULL, &file));
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 42);
    MUST(MPI_File_close(&file));
}

// Everybody writes the same place; in atomic mode what remains is one rank's, whole.
static void atomic_mode(void) {
    enum { BYTES = 300000 };
    MPI_File file;
    unsigned char *bytes = malloc(BYTES);
    int flag = -1, mode = MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE;
    MUST(MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file));
    MUST(MPI_File_get_atomicity(file, &flag));
    EQUAL(flag, 0);
    MUST(MPI_File_set_atomicity(file, 1));
    MUST(MPI_File_get_atomicity(file, &flag));
    EQUAL(flag, 1);
    for (int round = 0; round < 5; round++) {
        memset(bytes, rank + 1, BYTES);
        MUST(MPI_File_write_at(file, 0, bytes, BYTES, MPI_BYTE, MPI_STATUS_IGNORE));
        MUST(MPI_File_read_at(file, 0, bytes, BYTES, MPI_BYTE, MPI_STATUS_IGNORE));
        for (int i = 1; i < BYTES; i++) EQUAL(bytes[i], bytes[0]);
        CHECK(bytes[0] >= 1 && bytes[0] <= size, "%d was written by nobody", bytes[0]);
    }
    MUST(MPI_File_close(&file));
    free(bytes);
}

static MPI_File blamed;
static int handled;

static void handler(MPI_File *file, int *code, ...) {
    blamed = *file;
    handled = class_of(*code);
}

static void handlers(void) {
    MPI_File file;
    MPI_Errhandler mine, found;
    int mode = MPI_MODE_WRONLY | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE;
    MUST(MPI_File_get_errhandler(MPI_FILE_NULL, &found));
    CHECK(found == MPI_ERRORS_RETURN, "the errors of files return unless one asks");
    MUST(MPI_File_create_errhandler(handler, &mine));
    MUST(MPI_File_set_errhandler(MPI_FILE_NULL, mine));
    EQUAL(opened(MPI_MODE_RDONLY), MPI_ERR_NO_SUCH_FILE);
    EQUAL(handled, MPI_ERR_NO_SUCH_FILE);
    CHECK(blamed == MPI_FILE_NULL, "an open that fails has no file");
    MUST(MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file)); // inherits it
    MUST(MPI_File_set_errhandler(MPI_FILE_NULL, MPI_ERRORS_RETURN));
    MUST(MPI_File_get_errhandler(file, &found));
    CHECK(found == mine, "a new file has the handler of MPI_FILE_NULL");
    MUST(MPI_Errhandler_free(&found));
    MUST(MPI_Errhandler_free(&mine));
    EQUAL(class_of(MPI_File_seek(file, -1, MPI_SEEK_SET)), MPI_ERR_ARG);
    EQUAL(handled, MPI_ERR_ARG);
    CHECK(blamed == file, "the handler is told which file");
    MUST(MPI_File_call_errhandler(file, MPI_ERR_IO));
    EQUAL(handled, MPI_ERR_IO);
    MPI_File closed = file;
    MUST(MPI_File_close(&file));
    EQUAL(class_of(MPI_File_sync(MPI_FILE_NULL)), MPI_ERR_FILE);
    EQUAL(class_of(MPI_File_sync(closed)), MPI_ERR_FILE);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    name_file();
    refusals();
    MPI_Barrier(MPI_COMM_WORLD);
    bytes_arrive();
    char shared[sizeof path];
    strcpy(shared, path);
    snprintf(path + strlen(path), sizeof path - strlen(path), "-%d", rank);
    views();
    strcpy(path, shared);
    MPI_Barrier(MPI_COMM_WORLD);
    shared_pointer();
    directions();
    atomic_mode();
    handlers();
    return end();
}
