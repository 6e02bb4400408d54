// SPDX-License-Identifier: Apache-2.0 OR MIT
// Files whose values have other sizes than memory: "external32" and a representation of our own;
// reads of views with holes at the end of a file; what a view and a split access refuse.
// Ours only: others scale no filetypes, call no conversion functions, count what lies behind the
// end of a file, and refuse less.
#include "check.h"
#include <unistd.h>

static char path[256];
static const int TEMPORARY = MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE;

static int count_in(MPI_Status *status, MPI_Datatype type) {
    int count = -1;
    MUST(MPI_Get_count(status, type, &count));
    return count;
}

static void external(void) {
    static const unsigned char wanted[] = {0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe};
    MPI_File file;
    MPI_Status status;
    MPI_Datatype every_second;
    MPI_Aint extent;
    MPI_Offset at;
    long out[3] = {1, -2, 3}, in[4];
    unsigned char bytes[64];
    MUST(MPI_Type_vector(2, 1, 2, MPI_LONG, &every_second));
    MUST(MPI_Type_commit(&every_second));
    MUST(MPI_File_open(MPI_COMM_SELF, path, TEMPORARY, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 0, MPI_LONG, every_second, "external32", MPI_INFO_NULL));
    MUST(MPI_File_get_type_extent(file, MPI_LONG, &extent));
    EQUAL(extent, 4);
    MUST(MPI_File_get_type_extent(file, every_second, &extent));
    EQUAL(extent, 12);
    MUST(MPI_File_get_byte_offset(file, 2, &at));
    EQUAL(at, 12);
    MUST(MPI_File_write(file, out, 2, MPI_LONG, &status));
    EQUAL(count_in(&status, MPI_LONG), 2);
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 2);
    MUST(MPI_File_read_at(file, 0, in, 4, MPI_LONG, &status));
    EQUAL(count_in(&status, MPI_LONG), 2);
    EQUAL(in[0], 1);
    EQUAL(in[1], -2);
    MUST(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    MUST(MPI_File_read_at(file, 0, bytes, 64, MPI_BYTE, &status));
    EQUAL(count_in(&status, MPI_BYTE), sizeof wanted);
    for (size_t i = 0; i < sizeof wanted; i++) EQUAL(bytes[i], wanted[i]);
    // The file ends within a value: it is not read.
    MUST(MPI_File_set_size(file, 6));
    MUST(MPI_File_set_view(file, 0, MPI_LONG, MPI_LONG, "external32", MPI_INFO_NULL));
    in[1] = 99;
    MUST(MPI_File_read_at(file, 0, in, 2, MPI_LONG, &status));
    EQUAL(count_in(&status, MPI_LONG), 1);
    EQUAL(in[0], 1);
    EQUAL(in[1], 99);
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&every_second));
}

static int extents_asked, reads, writes;
static int marker;

// Each value takes its size and a byte more, in which there is a cross.
static int wider(MPI_Datatype type, MPI_Aint *extent, void *extra) {
    int bytes;
    CHECK(extra == &marker, "the state is another one");
    MPI_Type_size(type, &bytes);
    *extent = bytes + 1;
    extents_asked++;
    return MPI_SUCCESS;
}

static int write_wide(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position,
                      void *extra) {
    CHECK(type == MPI_INT && extra == &marker, "the arguments are others");
    int *from = (int *)user + position;
    for (int i = 0; i < count; i++) {
        char *to = (char *)file + 5 * i;
        memcpy(to, from + i, 4);
        to[4] = 'x';
    }
    writes++;
    return MPI_SUCCESS;
}

static int read_wide(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position,
                     void *extra) {
    CHECK(type == MPI_INT && extra == &marker, "the arguments are others");
    int *to = (int *)user + position;
    for (int i = 0; i < count; i++) memcpy(to + i, (char *)file + 5 * i, 4);
    reads++;
    return MPI_SUCCESS;
}

static void own_representation(void) {
    MPI_File file;
    MPI_Status status;
    MPI_Aint extent;
    MPI_Offset bytes;
    char name[MPI_MAX_DATAREP_STRING], raw[20];
    int out[3] = {7, 8, 9}, in[4] = {0};
    MUST(MPI_Register_datarep("crossed", read_wide, write_wide, wider, &marker));
    EQUAL(class_of(MPI_Register_datarep("crossed", read_wide, write_wide, wider, &marker)),
          MPI_ERR_DUP_DATAREP);
    EQUAL(class_of(MPI_Register_datarep("native", read_wide, write_wide, wider, &marker)),
          MPI_ERR_DUP_DATAREP);
    MUST(MPI_File_open(MPI_COMM_SELF, path, TEMPORARY, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "crossed", MPI_INFO_NULL));
    MUST(MPI_File_get_view(file, &bytes, &(MPI_Datatype){0}, &(MPI_Datatype){0}, name));
    CHECK(strcmp(name, "crossed") == 0, "%s", name);
    MUST(MPI_File_get_type_extent(file, MPI_INT, &extent));
    EQUAL(extent, 5);
    MUST(MPI_File_write(file, out, 3, MPI_INT, &status));
    EQUAL(count_in(&status, MPI_INT), 3);
    MUST(MPI_File_get_size(file, &bytes));
    EQUAL(bytes, 15);
    MUST(MPI_File_read_at(file, 1, in, 4, MPI_INT, &status));
    EQUAL(count_in(&status, MPI_INT), 2);
    EQUAL(in[0], 8);
    EQUAL(in[1], 9);
    MUST(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    MUST(MPI_File_read(file, raw, 20, MPI_BYTE, &status));
    EQUAL(count_in(&status, MPI_BYTE), 15);
    EQUAL(raw[4], 'x');
    CHECK(extents_asked > 0 && reads == 1 && writes == 1, "%d %d %d", extents_asked, reads, writes);
    MUST(MPI_File_close(&file));
}

// Short and long runs, which are read together and one by one.
static void ends(int run) {
    MPI_File file;
    MPI_Status status;
    MPI_Datatype view;
    MPI_Offset at;
    int bytes = 10 * run + run / 2;
    unsigned char *all = malloc((size_t)bytes), *in = malloc((size_t)bytes);
    fill(all, (size_t)bytes, 5);
    memset(in, 0, (size_t)bytes);
    MUST(MPI_Type_vector(2, run, 2 * run, MPI_BYTE, &view));
    MUST(MPI_Type_commit(&view));
    MUST(MPI_File_open(MPI_COMM_SELF, path, TEMPORARY, MPI_INFO_NULL, &file));
    MUST(MPI_File_write(file, all, bytes, MPI_BYTE, &status));
    MUST(MPI_File_set_view(file, 0, MPI_BYTE, view, "native", MPI_INFO_NULL));
    MUST(MPI_File_seek(file, run, MPI_SEEK_SET));
    MUST(MPI_File_read(file, in, 8 * run, MPI_BYTE, &status));
    // The view is of runs 0, 2, 3, 5, 6, 8, 9, 11...: the file ends within run 10, a hole.
    EQUAL(count_in(&status, MPI_BYTE), 6 * run);
    static const int places[] = {2, 3, 5, 6, 8, 9};
    for (int i = 0; i < 6; i++)
        CHECK(memcmp(in + i * run, all + places[i] * run, (size_t)run) == 0, "run %d", i);
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 7 * run);
    MUST(MPI_File_set_size(file, 5 * run + 3));
    MUST(MPI_File_seek(file, 0, MPI_SEEK_END));
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, 3 * run + 3);
    MUST(MPI_File_read_at(file, 0, in, 8 * run, MPI_BYTE, &status));
    EQUAL(count_in(&status, MPI_BYTE), 3 * run + 3);
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&view));
    free(all);
    free(in);
}

// The shared pointer moves on by what all ranks ask for.
static void shared_position(void) {
    MPI_File file;
    MPI_Request request;
    MPI_Offset at;
    int some[64] = {0}, total = size * (size + 1) / 2;
    char name[sizeof path];
    strcpy(name, path);
    MUST(MPI_Bcast(name, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD));
    MUST(MPI_File_open(MPI_COMM_WORLD, name, TEMPORARY, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 4, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    MUST(MPI_File_write_ordered(file, some, rank + 1, MPI_INT, MPI_STATUS_IGNORE));
    MUST(MPI_File_get_position_shared(file, &at));
    EQUAL(at, total);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_File_iwrite_shared(file, some, 1, MPI_INT, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_File_get_position_shared(file, &at));
    EQUAL(at, total + size);
    MUST(MPI_File_close(&file));
}

// The file ends amid what all ranks read together: each gets what there is of its share.
static void end_for_all(int buffered) {
    enum { PIECE = 64, PIECES = 2000 };
    MPI_File file;
    MPI_Status status;
    MPI_Datatype piece, view;
    MPI_Offset at;
    MPI_Info info;
    char name[sizeof path];
    int stride = PIECE * size, end = stride * (PIECES / 2) + PIECE * (size / 2) + 5, wanted = 0;
    unsigned char *in = malloc(PIECE * PIECES), *all = malloc((size_t)end);
    strcpy(name, path);
    MUST(MPI_Bcast(name, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD));
    MUST(MPI_Info_create(&info));
    MUST(MPI_Info_set(info, "collective_buffering", buffered ? "true" : "false"));
    MUST(MPI_File_open(MPI_COMM_WORLD, name, TEMPORARY, info, &file));
    MUST(MPI_Info_free(&info));
    fill(all, (size_t)end, 3);
    if (rank == 0) MUST(MPI_File_write_at(file, 0, all, end, MPI_BYTE, &status));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Type_contiguous(PIECE, MPI_BYTE, &piece));
    MUST(MPI_Type_create_resized(piece, 0, stride, &view));
    MUST(MPI_Type_commit(&view));
    MUST(MPI_File_set_view(file, rank * PIECE, MPI_BYTE, view, "native", MPI_INFO_NULL));
    MUST(MPI_File_read_all(file, in, PIECE * PIECES, MPI_BYTE, &status));
    for (int i = 0; i < PIECES; i++)
        for (int b = 0; b < PIECE; b++) {
            int place = i * stride + rank * PIECE + b;
            if (place < end) EQUAL(in[wanted++], all[place]);
        }
    EQUAL(count_in(&status, MPI_BYTE), wanted);
    MUST(MPI_File_get_position(file, &at));
    EQUAL(at, wanted);
    // One rank's mistake is everybody's error, and nobody waits for ever.
    if (size > 1 && buffered) {
        int count = rank == 0 ? -1 : PIECE;
        EQUAL(class_of(MPI_File_read_all(file, in, count, MPI_BYTE, &status)), MPI_ERR_COUNT);
    }
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&piece));
    MUST(MPI_Type_free(&view));
    free(in);
    free(all);
}

static void refusals(void) {
    MPI_File file;
    MPI_Datatype back, over;
    int lengths[] = {1, 1}, backwards[] = {3, 0}, out = 0;
    MPI_Status status;
    MUST(MPI_Type_indexed(2, lengths, backwards, MPI_INT, &back));
    MUST(MPI_Type_create_resized(MPI_INT, 0, 2, &over));
    MUST(MPI_Type_commit(&back));
    MUST(MPI_Type_commit(&over));
    MUST(MPI_File_open(MPI_COMM_SELF, path, TEMPORARY, MPI_INFO_NULL, &file));
    EQUAL(class_of(MPI_File_set_view(file, 0, MPI_INT, back, "native", MPI_INFO_NULL)),
          MPI_ERR_TYPE);
    EQUAL(class_of(MPI_File_set_view(file, 0, MPI_INT, over, "native", MPI_INFO_NULL)),
          MPI_ERR_TYPE);
    EQUAL(class_of(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "none", MPI_INFO_NULL)),
          MPI_ERR_UNSUPPORTED_DATAREP);
    MUST(MPI_File_write_all_begin(file, &out, 1, MPI_INT));
    EQUAL(class_of(MPI_File_read_all_begin(file, &out, 1, MPI_INT)), MPI_ERR_OTHER);
    EQUAL(class_of(MPI_File_read_all_end(file, &out, &status)), MPI_ERR_OTHER);
    MUST(MPI_File_write_all_end(file, &out, &status));
    EQUAL(class_of(MPI_File_write_all_end(file, &out, &status)), MPI_ERR_OTHER);
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&back));
    MUST(MPI_Type_free(&over));
}

int main(int argc, char **argv) {
    const char *folder = getenv("TMPDIR");
    begin(&argc, &argv);
    snprintf(path, sizeof path, "%s/mpi-formats-%ld", folder ? folder : "/tmp", (long)getpid());
    external();
    ends(8);
    ends(100000);
    own_representation();
    shared_position();
    end_for_all(1);
    end_for_all(0);
    refusals();
    return end();
}
