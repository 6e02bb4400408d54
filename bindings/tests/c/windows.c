// SPDX-License-Identifier: Apache-2.0 OR MIT
// Windows as objects: memory that ranks share, attributes, handlers, what making one refuses.
// Ours only: which class an error has differs between libraries.
#include "check.h"

enum { PIECE = 1000 };

static int piece(int of) { return of == 1 ? 0 : PIECE + of; }

// What each rank stores, all the others load, one after another without gaps.
static void shared_memory(void) {
    MPI_Comm host;
    MPI_Win win;
    unsigned char *mine, *theirs, *first = NULL;
    MPI_Aint bytes, before = 0;
    int unit, mates, me;
    MUST(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
    MUST(MPI_Comm_size(host, &mates));
    MUST(MPI_Comm_rank(host, &me));
    MUST(MPI_Win_allocate_shared(piece(me), me + 1, MPI_INFO_NULL, host, &mine, &win));
    for (int i = 0; i < piece(me); i++) EQUAL(mine[i], 0);
    MUST(MPI_Win_fence(0, win));
    fill(mine, piece(me), me);
    MUST(MPI_Win_fence(0, win));
    for (int of = 0; of < mates; of++) {
        MUST(MPI_Win_shared_query(win, of, &bytes, &unit, &theirs));
        EQUAL(bytes, piece(of));
        EQUAL(unit, of + 1);
        if (of == 0) first = theirs;
        CHECK(theirs == first + before, "rank %d does not follow its predecessor", of);
        CHECK(of != me || theirs == mine, "another address of one's own memory");
        EQUAL(differs(theirs, bytes, of), -1);
        before += bytes;
    }
    MUST(MPI_Win_shared_query(win, MPI_PROC_NULL, &bytes, &unit, &theirs));
    CHECK(theirs == first && bytes == piece(0), "MPI_PROC_NULL is not the first one");
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    first[before - 1 - me * (before / mates)] ^= 0xff; // everybody may write everywhere
    MUST(MPI_Comm_free(&host));
    MUST(MPI_Win_free(&win));
    CHECK(win == MPI_WIN_NULL, "the handle stays");

    // Nobody asks for anything.
    MUST(MPI_Win_allocate_shared(0, 1, MPI_INFO_NULL, MPI_COMM_SELF, &mine, &win));
    MUST(MPI_Win_shared_query(win, 0, &bytes, &unit, &theirs));
    EQUAL(bytes, 0);
    MUST(MPI_Win_free(&win));
}

static int deletes;

static int delete(MPI_Win win, int key, void *value, void *extra) {
    (void)win, (void)key, (void)extra;
    deletes = 10 * deletes + *(int *)value;
    return MPI_SUCCESS;
}

static void expect(MPI_Win win, void *base, long bytes, int unit, int flavor) {
    void *value = NULL;
    int flag = 0;
    MUST(MPI_Win_get_attr(win, MPI_WIN_BASE, &value, &flag));
    CHECK(flag && value == base, "MPI_WIN_BASE is %p, not %p", value, base);
    MUST(MPI_Win_get_attr(win, MPI_WIN_SIZE, &value, &flag));
    EQUAL(*(MPI_Aint *)value, bytes);
    MUST(MPI_Win_get_attr(win, MPI_WIN_DISP_UNIT, &value, &flag));
    EQUAL(*(int *)value, unit);
    MUST(MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &value, &flag));
    EQUAL(*(int *)value, flavor);
    MUST(MPI_Win_get_attr(win, MPI_WIN_MODEL, &value, &flag));
    EQUAL(*(int *)value, MPI_WIN_UNIFIED);
}

static void attributes(void) {
    int one = 1, two = 2, first, second, flag = -1, length;
    char memory[64], name[MPI_MAX_OBJECT_NAME];
    char *own;
    void *value = NULL;
    MPI_Win win;
    MPI_Group group, world;
    MUST(MPI_Win_allocate(100 * rank, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &own, &win));
    memset(own, rank, 100 * rank);
    expect(win, own, 100 * rank, 4, MPI_WIN_FLAVOR_ALLOCATE);
    MUST(MPI_Win_free(&win));

    MUST(MPI_Win_create(memory, sizeof memory, 8, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    expect(win, memory, sizeof memory, 8, MPI_WIN_FLAVOR_CREATE);
    MUST(MPI_Win_create_keyval(MPI_WIN_NULL_COPY_FN, delete, &first, NULL));
    MUST(MPI_Win_create_keyval(MPI_WIN_NULL_COPY_FN, delete, &second, NULL));
    MUST(MPI_Win_get_attr(win, first, &value, &flag));
    EQUAL(flag, 0);
    MUST(MPI_Win_set_attr(win, first, &one));
    MUST(MPI_Win_set_attr(win, second, &two));
    MUST(MPI_Win_get_attr(win, second, &value, &flag));
    CHECK(flag && value == &two, "the attribute is lost");
    MUST(MPI_Win_free_keyval(&first));
    MUST(MPI_Win_get_group(win, &group));
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &world));
    MUST(MPI_Group_compare(group, world, &flag));
    EQUAL(flag, MPI_IDENT);
    MUST(MPI_Group_free(&group));
    MUST(MPI_Group_free(&world));
    MUST(MPI_Win_get_name(win, name, &length));
    EQUAL(length, 0);
    MUST(MPI_Win_set_name(win, "mine"));
    MUST(MPI_Win_get_name(win, name, &length));
    CHECK(length == 4 && strcmp(name, "mine") == 0, "it is called %s", name);
    MUST(MPI_Win_free(&win)); // the last one first
    EQUAL(deletes, 21);
    MUST(MPI_Win_free_keyval(&second));
}

static void dynamic(void) {
    char memory[64];
    MPI_Win win;
    MUST(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    MUST(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
    expect(win, MPI_BOTTOM, 0, 1, MPI_WIN_FLAVOR_DYNAMIC);
    MUST(MPI_Win_attach(win, memory, 32));
    MUST(MPI_Win_attach(win, memory + 32, 32));
    EQUAL(class_of(MPI_Win_attach(win, memory + 31, 2)), MPI_ERR_RMA_ATTACH);
    MUST(MPI_Win_detach(win, memory));
    EQUAL(class_of(MPI_Win_detach(win, memory)), MPI_ERR_RMA_ATTACH);
    MUST(MPI_Win_attach(win, memory, 32));
    MUST(MPI_Win_free(&win));
}

static MPI_Win blamed;
static int handled;

static void handler(MPI_Win *win, int *code, ...) {
    blamed = *win;
    handled = class_of(*code);
}

static void errors(void) {
    MPI_Comm twin;
    MPI_Win win;
    MPI_Errhandler mine, found;
    MPI_Aint bytes;
    int unit;
    char memory[8], *base;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &twin));
    MUST(MPI_Comm_set_errhandler(twin, MPI_ERRORS_RETURN));
    MUST(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    // One rank's mistake is everybody's error: nobody waits for ever.
    int last = rank == size - 1;
    EQUAL(class_of(MPI_Win_create(memory, last ? -1 : 8, 1, MPI_INFO_NULL, twin, &win)),
          MPI_ERR_SIZE);
    EQUAL(class_of(MPI_Win_create(memory, 8, last ? 0 : 1, MPI_INFO_NULL, twin, &win)),
          MPI_ERR_DISP);
    MPI_Aint huge = (MPI_Aint)1 << 60;
    EQUAL(class_of(MPI_Win_allocate(huge, 1, MPI_INFO_NULL, twin, &base, &win)), MPI_ERR_NO_MEM);

    MUST(MPI_Win_create(memory, 8, 1, MPI_INFO_NULL, twin, &win));
    MUST(MPI_Win_get_errhandler(win, &found));
    CHECK(found == MPI_ERRORS_ARE_FATAL, "errors of windows are fatal unless one asks");
    MUST(MPI_Win_create_errhandler(handler, &mine));
    MUST(MPI_Win_set_errhandler(win, mine));
    MUST(MPI_Errhandler_free(&mine));
    EQUAL(class_of(MPI_Win_attach(win, memory, 8)), MPI_ERR_RMA_FLAVOR);
    EQUAL(handled, MPI_ERR_RMA_FLAVOR);
    CHECK(blamed == win, "the handler is told which window");
    EQUAL(class_of(MPI_Win_shared_query(win, size, &bytes, &unit, &base)), MPI_ERR_RANK);
    MUST(MPI_Win_call_errhandler(win, MPI_ERR_OTHER));
    EQUAL(handled, MPI_ERR_OTHER);
    MPI_Win freed = win;
    MUST(MPI_Win_free(&win));
    EQUAL(class_of(MPI_Win_free(&win)), MPI_ERR_WIN);
    EQUAL(class_of(MPI_Win_fence(0, freed)), MPI_ERR_WIN);
    MUST(MPI_Comm_free(&twin));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    shared_memory();
    attributes();
    dynamic();
    errors();
    return end();
}
