// SPDX-License-Identifier: Apache-2.0 OR MIT
// seconds: 120
// Data in files: views with holes against a plain array, collective, nonblocking, ordered and split
// accesses, "external32"; what is in the file is read by read(2) and not by the library alone.
#include "check.h"
#include <fcntl.h>
#include <unistd.h>

static char path[300];
static const int TEMPORARY = MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE;

static void name_file(void) {
    const char *folder = getenv("TMPDIR");
    if (rank == 0)
        snprintf(path, 256, "%s/mpi-data-%ld", folder ? folder : "/tmp", (long)getpid());
    MUST(MPI_Bcast(path, sizeof path, MPI_CHAR, 0, MPI_COMM_WORLD));
}

// The bytes of the file from the beginning; how many there are.
static long plainly(const char *name, void *into, size_t most) {
    int file = open(name, O_RDONLY);
    CHECK(file >= 0, "%s cannot be opened", name);
    long got = read(file, into, most);
    close(file);
    return got;
}

static int count_in(MPI_Status *status, MPI_Datatype type) {
    int count = -1;
    MUST(MPI_Get_count(status, type, &count));
    return count;
}

static unsigned random_below(unsigned *state, unsigned limit) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % limit;
}

enum { PLACES = 40, ELEMENTS = 30, SPACE = 2048 };

// A file of one's own, through random views, beside an array that is written the plain way.
static void random_views(void) {
    static unsigned char model[SPACE], found[SPACE], out[SPACE], in[SPACE];
    char own[sizeof path + 16];
    snprintf(own, sizeof own, "%s-%d", path, rank);
    unsigned state = 77u + (unsigned)rank;
    MPI_File file;
    MPI_Status status;
    MUST(MPI_File_open(MPI_COMM_SELF, own, TEMPORARY, MPI_INFO_NULL, &file));
    // What a file grows by in holes is undefined: it has its size from the beginning.
    memset(model, 0, sizeof model);
    MUST(MPI_File_write(file, model, SPACE, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int round = 0; round < 60; round++) {
        snprintf(standing, sizeof standing, " in round %d", round);
        int blocks = 1 + (int)random_below(&state, 5), lengths[5], at[5], next = 0, size = 0;
        int place[PLACES];
        for (int b = 0; b < blocks; b++) {
            at[b] = next + (int)random_below(&state, 4);
            lengths[b] = 1 + (int)random_below(&state, 4);
            for (int i = 0; i < lengths[b]; i++) place[size++] = at[b] + i;
            next = at[b] + lengths[b];
        }
        int extent = next + (int)random_below(&state, 5);
        MPI_Datatype type, view, memory;
        MUST(MPI_Type_indexed(blocks, lengths, at, MPI_SHORT, &type));
        MUST(MPI_Type_create_resized(type, 0, extent * (int)sizeof(short), &view));
        MUST(MPI_Type_commit(&view));
        MUST(MPI_Type_vector(ELEMENTS, 1, 3, MPI_SHORT, &memory));
        MUST(MPI_Type_commit(&memory));
        int disp = (int)random_below(&state, 20), offset = (int)random_below(&state, 60);
        MUST(MPI_File_set_view(file, disp, MPI_SHORT, view, "native", MPI_INFO_NULL));
        // Where etype k of the view lies.
#define BYTE_OF(k) (disp + (((k) / size) * extent + place[(k) % size]) * (int)sizeof(short))
        MPI_Offset byte;
        MUST(MPI_File_get_byte_offset(file, offset, &byte));
        EQUAL(byte, BYTE_OF(offset));
        fill(out, sizeof out, state);
        int strided = (int)random_below(&state, 2);
        for (int k = 0; k < ELEMENTS; k++)
            memcpy(model + BYTE_OF(offset + k), out + 2 * (strided ? 3 * k : k), 2);
        if (strided)
            MUST(MPI_File_write_at(file, offset, out, 1, memory, &status));
        else
            MUST(MPI_File_write_at(file, offset, out, ELEMENTS, MPI_SHORT, &status));
        EQUAL(count_in(&status, MPI_SHORT), ELEMENTS);
        EQUAL(plainly(own, found, SPACE), SPACE);
        for (int i = 0; i < SPACE; i++) EQUAL(found[i], model[i]);
        // Read elsewhere, up to the end of the file, by the pointer.
        int from = (int)random_below(&state, 300), there = 0;
        while (there < 400 && BYTE_OF(from + there) + 2 <= SPACE) there++;
        memset(in, 0xee, sizeof in);
        MUST(MPI_File_seek(file, from, MPI_SEEK_SET));
        MUST(MPI_File_read(file, in, there, MPI_SHORT, &status));
        EQUAL(count_in(&status, MPI_SHORT), there);
        for (int k = 0; k < there; k++)
            CHECK(memcmp(in + k * 2, model + BYTE_OF(from + k), 2) == 0, "element %d", k);
        CHECK(in[2 * there] == 0xee, "a read went on behind its end");
        MUST(MPI_File_get_position(file, &byte));
        EQUAL(byte, from + there);
        MUST(MPI_Type_free(&type));
        MUST(MPI_Type_free(&view));
        MUST(MPI_Type_free(&memory));
    }
    standing[0] = 0;
    MUST(MPI_File_close(&file));
}

enum { ROWS = 64, ROUNDS = 3 };

// Every rank has one column of a table of ints, written and read in all collective ways.
static void columns(int way) {
    MPI_File file;
    MPI_Status status;
    MPI_Request request;
    MPI_Datatype column, view;
    int out[ROWS], in[ROWS], *table = malloc(sizeof(int) * ROWS * (size_t)size * ROUNDS + 1);
    MUST(MPI_Type_contiguous(1, MPI_INT, &column));
    MUST(MPI_Type_create_resized(column, 0, size * (MPI_Aint)sizeof(int), &view));
    MUST(MPI_Type_commit(&view));
    MUST(MPI_File_open(MPI_COMM_WORLD, path, TEMPORARY, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, rank * (int)sizeof(int), MPI_INT, view, "native", MPI_INFO_NULL));
    for (int round = 0; round < ROUNDS; round++) {
        MPI_Offset offset = round * ROWS;
        for (int i = 0; i < ROWS; i++) out[i] = 1000000 * round + 1000 * rank + i;
        switch (way) {
        case 0: MUST(MPI_File_write_at_all(file, offset, out, ROWS, MPI_INT, &status)); break;
        case 1: MUST(MPI_File_write_all(file, out, ROWS, MPI_INT, &status)); break;
        case 2:
            MUST(MPI_File_iwrite_at_all(file, offset, out, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
            break;
        case 3:
            MUST(MPI_File_iwrite_all(file, out, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
            break;
        case 4:
            MUST(MPI_File_write_at_all_begin(file, offset, out, ROWS, MPI_INT));
            MUST(MPI_File_write_at_all_end(file, out, &status));
            break;
        case 5:
            MUST(MPI_File_write_all_begin(file, out, ROWS, MPI_INT));
            MUST(MPI_File_write_all_end(file, out, &status));
            break;
        case 6:
            MUST(MPI_File_iwrite_at(file, offset, out, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
            break;
        default:
            MUST(MPI_File_iwrite(file, out, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
        }
        EQUAL(count_in(&status, MPI_INT), ROWS);
    }
    MUST(MPI_File_sync(file));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    long bytes = (long)sizeof(int) * ROWS * size * ROUNDS;
    EQUAL(plainly(path, table, (size_t)bytes + 1), bytes);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < ROWS; i++)
            for (int r = 0; r < size; r++)
                EQUAL(table[(round * ROWS + i) * size + r], 1000000 * round + 1000 * r + i);
    MUST(MPI_File_seek(file, 0, MPI_SEEK_SET));
    for (int round = 0; round < ROUNDS; round++) {
        MPI_Offset offset = round * ROWS;
        memset(in, -1, sizeof in);
        switch (way) {
        case 0: MUST(MPI_File_read_at_all(file, offset, in, ROWS, MPI_INT, &status)); break;
        case 1: MUST(MPI_File_read_all(file, in, ROWS, MPI_INT, &status)); break;
        case 2:
            MUST(MPI_File_iread_at_all(file, offset, in, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
            break;
        case 3:
            MUST(MPI_File_iread_all(file, in, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
            break;
        case 4:
            MUST(MPI_File_read_at_all_begin(file, offset, in, ROWS, MPI_INT));
            MUST(MPI_File_read_at_all_end(file, in, &status));
            break;
        case 5:
            MUST(MPI_File_read_all_begin(file, in, ROWS, MPI_INT));
            MUST(MPI_File_read_all_end(file, in, &status));
            break;
        case 6:
            MUST(MPI_File_iread_at(file, offset, in, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
            break;
        default:
            MUST(MPI_File_iread(file, in, ROWS, MPI_INT, &request));
            MUST(MPI_Wait(&request, &status));
        }
        EQUAL(count_in(&status, MPI_INT), ROWS);
        for (int i = 0; i < ROWS; i++) EQUAL(in[i], 1000000 * round + 1000 * rank + i);
    }
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&column));
    MUST(MPI_Type_free(&view));
    free(table);
}

// Pieces of all ranks and a hole, again and again over several megabytes: nothing but the pieces
// changes, also where ranks have different numbers of them.
static void many_pieces(void) {
    enum { PIECE = 100, MOST = 9000 };
    MPI_File file;
    MPI_Status status;
    MPI_Datatype piece, view;
    int pieces = MOST - 100 * rank, stride = PIECE * (size + 1), bytes = pieces * PIECE;
    size_t whole = (size_t)stride * MOST;
    unsigned char *out = malloc((size_t)bytes), *all = malloc(whole + 1);
    fill(out, (size_t)bytes, (unsigned)rank);
    MUST(MPI_File_open(MPI_COMM_WORLD, path, TEMPORARY, MPI_INFO_NULL, &file));
    memset(all, '.', whole);
    if (rank == 0) MUST(MPI_File_write_at(file, 0, all, (int)whole, MPI_BYTE, &status));
    MUST(MPI_File_sync(file));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_File_sync(file));
    MUST(MPI_Type_contiguous(PIECE, MPI_BYTE, &piece));
    MUST(MPI_Type_create_resized(piece, 0, stride, &view));
    MUST(MPI_Type_commit(&view));
    MUST(MPI_File_set_view(file, rank * PIECE, MPI_BYTE, view, "native", MPI_INFO_NULL));
    // In two calls, the second of which begins within a piece.
    int first = bytes / 3 + 7;
    MUST(MPI_File_write_all(file, out, first, MPI_BYTE, &status));
    EQUAL(count_in(&status, MPI_BYTE), first);
    MUST(MPI_File_write_all(file, out + first, bytes - first, MPI_BYTE, &status));
    EQUAL(count_in(&status, MPI_BYTE), bytes - first);
    MUST(MPI_File_sync(file));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    EQUAL(plainly(path, all, whole + 1), whole);
    for (int i = 0; i < MOST; i++) {
        for (int r = 0; r <= size; r++) {
            unsigned char *at = all + (size_t)i * (size_t)stride + (size_t)r * PIECE;
            int there = r < size && i < MOST - 100 * r;
            for (int b = 0; b < PIECE; b++)
                EQUAL(at[b], there ? byte_of((unsigned)r, (size_t)i * PIECE + (size_t)b) : '.');
        }
    }
    memset(out, 0, (size_t)bytes);
    MUST(MPI_File_read_at_all(file, 0, out, rank == 1 ? 0 : bytes, MPI_BYTE, &status));
    EQUAL(count_in(&status, MPI_BYTE), rank == 1 ? 0 : bytes);
    if (rank != 1) EQUAL(differs(out, (size_t)bytes, (unsigned)rank), -1);
    MUST(MPI_File_close(&file));
    MUST(MPI_Type_free(&piece));
    MUST(MPI_Type_free(&view));
    free(out);
    free(all);
}

// Rank r writes r + 1 ints at the shared pointer, in the order of the ranks.
static void in_order(int split) {
    MPI_File file;
    MPI_Status status;
    int mode = MPI_MODE_RDWR | MPI_MODE_CREATE;
    int out[64], in[64], table[2 * 64 * 65 / 2], total = size * (size + 1) / 2;
    MUST(MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 8, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i <= rank; i++) out[i] = 10000 * round + 100 * rank + i;
        if (split) {
            MUST(MPI_File_write_ordered_begin(file, out, rank + 1, MPI_INT));
            MUST(MPI_File_write_ordered_end(file, out, &status));
        } else {
            MUST(MPI_File_write_ordered(file, out, rank + 1, MPI_INT, &status));
        }
        EQUAL(count_in(&status, MPI_INT), rank + 1);
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_File_read_at(file, 0, table, 2 * total, MPI_INT, &status));
    EQUAL(count_in(&status, MPI_INT), 2 * total);
    int *next = table;
    for (int round = 0; round < 2; round++)
        for (int r = 0; r < size; r++)
            for (int i = 0; i <= r; i++) EQUAL(*next++, 10000 * round + 100 * r + i);
    MUST(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
    for (int round = 0; round < 2; round++) {
        if (split) {
            MUST(MPI_File_read_ordered_begin(file, in, rank + 1, MPI_INT));
            MUST(MPI_File_read_ordered_end(file, in, &status));
        } else {
            MUST(MPI_File_read_ordered(file, in, rank + 1, MPI_INT, &status));
        }
        EQUAL(count_in(&status, MPI_INT), rank + 1);
        for (int i = 0; i <= rank; i++) EQUAL(in[i], 10000 * round + 100 * rank + i);
    }
    // Nonblocking at the shared pointer: each piece goes to one rank.
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
    MPI_Request request;
    MUST(MPI_File_iread_shared(file, in, 1, MPI_INT, &request));
    MUST(MPI_Wait(&request, &status));
    EQUAL(count_in(&status, MPI_INT), 1);
    int known = 0;
    for (int i = 0; i < size; i++) known |= table[i] == in[0];
    CHECK(known, "%d is not among the first pieces", in[0]);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_File_iwrite_shared(file, in, 1, MPI_INT, &request));
    MUST(MPI_Wait(&request, &status));
    EQUAL(count_in(&status, MPI_INT), 1);
    MUST(MPI_File_close(&file));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) MUST(MPI_File_delete(path, MPI_INFO_NULL));
}

static void big_endian(void) {
    static const unsigned char wanted[] = {0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfe, 0x3f, 0xf8, 0,
                                           0, 0, 0, 0, 0};
    MPI_File file;
    MPI_Status status;
    unsigned char bytes[64];
    int ints[2] = {0x102, -2}, back[2] = {0, 0};
    double one = 1.5, again = 0;
    MUST(MPI_File_open(MPI_COMM_WORLD, path, TEMPORARY, MPI_INFO_NULL, &file));
    MUST(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "external32", MPI_INFO_NULL));
    if (rank == 0) MUST(MPI_File_write_at(file, 0, ints, 2, MPI_INT, &status));
    MUST(MPI_File_set_view(file, 8, MPI_DOUBLE, MPI_DOUBLE, "external32", MPI_INFO_NULL));
    if (rank == 0) MUST(MPI_File_write_at(file, 0, &one, 1, MPI_DOUBLE, &status));
    MUST(MPI_File_sync(file));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    EQUAL(plainly(path, bytes, sizeof bytes), sizeof wanted);
    for (size_t i = 0; i < sizeof wanted; i++) EQUAL(bytes[i], wanted[i]);
    MUST(MPI_File_read_at_all(file, 0, &again, 1, MPI_DOUBLE, &status));
    EQUAL(count_in(&status, MPI_DOUBLE), 1);
    CHECK(again == one, "%g", again);
    MUST(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "external32", MPI_INFO_NULL));
    MUST(MPI_File_read_at(file, 0, back, 2, MPI_INT, &status));
    EQUAL(back[0], ints[0]);
    EQUAL(back[1], ints[1]);
    MUST(MPI_File_close(&file));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    name_file();
    random_views();
    for (int way = 0; way < 8; way++) {
        snprintf(standing, sizeof standing, " in way %d", way);
        columns(way);
        MUST(MPI_Barrier(MPI_COMM_WORLD));
    }
    standing[0] = 0;
    many_pieces();
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    in_order(0);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    in_order(1);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    big_endian();
    return end();
}
