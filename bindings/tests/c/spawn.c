// SPDX-License-Identifier: Apache-2.0 OR MIT
// Processes that processes start: how many, with which arguments, and what both sides do together.
// ranks: 1 2 3 4
// seconds: 120
#include "united.h"

#include <unistd.h>

static char *self;

// A child: what it finds, by what its arguments say.
static int child(int argc, char **argv, MPI_Comm parent) {
    int *appnum = NULL, flag = 0, n = 0;
    CHECK(argc >= 3 && !strcmp(argv[1], "child"), "argc is %d", argc);
    MUST(MPI_Comm_size(parent, &n));
    EQUAL(n, size);
    MUST(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &appnum, &flag));
    EQUAL(flag, 1);
    char name[MPI_MAX_OBJECT_NAME];
    MUST(MPI_Comm_get_name(parent, name, &n));
    if (!strcmp(argv[2], "unite")) {
        EQUAL(*appnum, 0);
        unite(parent, 1);
    } else if (!strcmp(argv[2], "where")) {
        // Working directory and environment are what the info object said.
        char folder[4096];
        CHECK(getcwd(folder, sizeof folder) && !strcmp(folder, "/"), "the folder is %s", folder);
        CHECK(getenv("STRAIT_TEST_WORD") && !strcmp(getenv("STRAIT_TEST_WORD"), "a b=c"), "env");
        EQUAL(size, 2);
    } else if (!strcmp(argv[2], "several")) {
        // Which program this is, and its own argument.
        EQUAL(*appnum, rank < 2 ? 0 : 1);
        EQUAL(atoi(argv[3]), *appnum + 40);
        EQUAL(size, 3);
        MUST(MPI_Barrier(parent));
    } else if (!strcmp(argv[2], "again")) {
        // A grandchild, unless this is one.
        int left = atoi(argv[3]);
        if (left > 0) {
            char word[2] = {(char)('0' + left - 1), 0};
            char *words[] = {"child", "again", word, NULL};
            MPI_Comm below;
            MUST(MPI_Comm_spawn(self, words, 1, MPI_INFO_NULL, size - 1, MPI_COMM_WORLD, &below,
                                MPI_ERRCODES_IGNORE));
            int told = rank ? 0 : 5, root = rank ? MPI_PROC_NULL : MPI_ROOT;
            MUST(MPI_Bcast(&told, 1, MPI_INT, root, below));
            MUST(MPI_Comm_disconnect(&below));
        }
        int got = 0;
        MUST(MPI_Bcast(&got, 1, MPI_INT, 0, parent));
        EQUAL(got, 5);
    }
    MUST(MPI_Comm_disconnect(&parent));
    MUST(MPI_Comm_get_parent(&parent));
    EQUAL(parent == MPI_COMM_NULL, 1);
    return MPI_Finalize();
}

// So many children, from each root, all over MPI_COMM_WORLD.
static void whole(int children, int root) {
    char *words[] = {"child", "unite", NULL};
    int codes[8] = {-1, -1, -1, -1, -1, -1, -1, -1}, n = 0;
    MPI_Comm inter;
    MUST(MPI_Comm_spawn(self, words, children, MPI_INFO_NULL, root, MPI_COMM_WORLD, &inter, codes));
    for (int i = 0; i < children; i++) EQUAL(codes[i], MPI_SUCCESS);
    EQUAL(codes[children], -1);
    MUST(MPI_Comm_remote_size(inter, &n));
    EQUAL(n, children);
    unite(inter, 0);
    MUST(MPI_Comm_disconnect(&inter));
}

// Each rank has a child of its own, all at a time.
static void alone(void) {
    char *words[] = {"child", "unite", NULL};
    MPI_Comm inter;
    MUST(MPI_Comm_spawn(self, words, 1, MPI_INFO_NULL, 0, MPI_COMM_SELF, &inter,
                        MPI_ERRCODES_IGNORE));
    unite(inter, 0);
    MUST(MPI_Comm_disconnect(&inter));
}

static void with_info(void) {
    char *words[] = {"child", "where", NULL};
    int codes[4] = {-1, -1, -1, -1}, n = 0;
    MPI_Info info;
    MPI_Comm inter;
    MUST(MPI_Info_create(&info));
    MUST(MPI_Info_set(info, "wdir", "/"));
    MUST(MPI_Info_set(info, "env", "STRAIT_TEST_WORD=a b=c"));
    MUST(MPI_Info_set(info, "soft", "1:2"));
    MUST(MPI_Comm_spawn(self, words, 4, info, 0, MPI_COMM_WORLD, &inter, codes));
    MUST(MPI_Comm_remote_size(inter, &n));
    EQUAL(n, 2);
    for (int i = 0; i < 4; i++) EQUAL(class_of(codes[i]), i < 2 ? MPI_SUCCESS : MPI_ERR_SPAWN);
    MUST(MPI_Comm_disconnect(&inter));
    MUST(MPI_Info_free(&info));
}

static void several(void) {
    char *commands[] = {self, self};
    char *first[] = {"child", "several", "40", NULL}, *second[] = {"child", "several", "41", NULL};
    char **arguments[] = {first, second};
    int counts[] = {2, 1}, codes[3] = {-1, -1, -1};
    MPI_Info infos[] = {MPI_INFO_NULL, MPI_INFO_NULL};
    MPI_Comm inter;
    MUST(MPI_Comm_spawn_multiple(2, commands, arguments, counts, infos, size - 1, MPI_COMM_WORLD,
                                 &inter, codes));
    for (int i = 0; i < 3; i++) EQUAL(codes[i], MPI_SUCCESS);
    MUST(MPI_Barrier(inter));
    MUST(MPI_Comm_disconnect(&inter));
}

static void generations(void) {
    char *words[] = {"child", "again", "2", NULL};
    MPI_Comm inter;
    MUST(MPI_Comm_spawn(self, words, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter,
                        MPI_ERRCODES_IGNORE));
    int told = rank ? 0 : 5, root = rank ? MPI_PROC_NULL : MPI_ROOT;
    MUST(MPI_Bcast(&told, 1, MPI_INT, root, inter));
    MUST(MPI_Comm_disconnect(&inter));
}

// What cannot be started is an error of all, and nobody waits for ever.
static void refused(void) {
    int codes[2] = {-1, -1};
    MPI_Comm inter = MPI_COMM_NULL;
    EQUAL(class_of(MPI_Comm_spawn("/no/such/program", MPI_ARGV_NULL, 2, MPI_INFO_NULL, 0,
                                  MPI_COMM_WORLD, &inter, codes)),
          MPI_ERR_SPAWN);
    EQUAL(class_of(codes[0]), MPI_ERR_SPAWN);
    EQUAL(class_of(codes[1]), MPI_ERR_SPAWN);
    EQUAL(class_of(MPI_Comm_spawn("/etc/passwd", MPI_ARGV_NULL, 1, MPI_INFO_NULL, size - 1,
                                  MPI_COMM_WORLD, &inter, MPI_ERRCODES_IGNORE)),
          MPI_ERR_SPAWN);
    // It can be executed, and ends without a word of MPI.
    EQUAL(class_of(MPI_Comm_spawn("/bin/true", MPI_ARGV_NULL, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD,
                                  &inter, codes)),
          MPI_ERR_SPAWN);
    EQUAL(class_of(MPI_Comm_spawn(self, MPI_ARGV_NULL, 0, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter,
                                  MPI_ERRCODES_IGNORE)),
          MPI_ERR_ARG);
    EQUAL(class_of(MPI_Comm_spawn(self, MPI_ARGV_NULL, 1, MPI_INFO_NULL, size, MPI_COMM_WORLD,
                                  &inter, MPI_ERRCODES_IGNORE)),
          MPI_ERR_ROOT);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    self = argv[0];
    MPI_Comm parent = MPI_COMM_NULL;
    MUST(MPI_Comm_get_parent(&parent));
    if (parent != MPI_COMM_NULL) return child(argc, argv, parent);
    MUST(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    if (!one_host() && getenv("STRAIT_NAMES")) {
        // Not built yet; the sentence says so, and nobody waits.
        MPI_Comm inter;
        EQUAL(class_of(MPI_Comm_spawn(self, MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD,
                                      &inter, MPI_ERRCODES_IGNORE)),
              MPI_ERR_SPAWN);
        return end();
    }
    refused();
    for (int children = 1; children <= 4; children++) whole(children, children % size);
    alone();
    with_info();
    several();
    generations();
    return end();
}
