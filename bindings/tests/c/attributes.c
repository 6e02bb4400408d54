// SPDX-License-Identifier: Apache-2.0 OR MIT
// Attributes with their callbacks, info objects, error handlers of the user.
#include "check.h"

static int copies, deletes, handled;

static int copy(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag) {
    (void)comm, (void)key;
    copies++;
    *(void **)out = (char *)in + *(int *)extra;
    *flag = 1;
    return MPI_SUCCESS;
}

static int delete(MPI_Comm comm, int key, void *value, void *extra) {
    (void)comm, (void)key, (void)value, (void)extra;
    deletes++;
    return MPI_SUCCESS;
}

static int refuse(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag) {
    (void)comm, (void)key, (void)extra, (void)in, (void)out;
    *flag = 0;
    return MPI_SUCCESS;
}

static void attributes(void) {
    int key, other, flag = 0, step = 3;
    int *bound = NULL;
    char *value = NULL, place[8];
    MPI_Comm twin;
    MUST(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &bound, &flag));
    CHECK(flag && *bound >= 32767, "TAG_UB");
    MUST(MPI_Comm_create_keyval(copy, delete, &key, &step));
    MUST(MPI_Comm_create_keyval(refuse, delete, &other, NULL));
    MUST(MPI_Comm_get_attr(MPI_COMM_WORLD, key, &value, &flag));
    EQUAL(flag, 0);
    MUST(MPI_Comm_set_attr(MPI_COMM_WORLD, key, place));
    MUST(MPI_Comm_set_attr(MPI_COMM_WORLD, other, place));
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &twin));
    EQUAL(copies, 1);
    MUST(MPI_Comm_get_attr(twin, key, &value, &flag));
    EQUAL(flag, 1);
    CHECK(value == place + 3, "the copy function's answer is not kept");
    MUST(MPI_Comm_get_attr(twin, other, &value, &flag));
    EQUAL(flag, 0);
    MUST(MPI_Comm_delete_attr(MPI_COMM_WORLD, key));
    EQUAL(deletes, 1);
    MUST(MPI_Comm_free(&twin));
    EQUAL(deletes, 2);
    MUST(MPI_Comm_set_attr(MPI_COMM_WORLD, other, place + 1)); // replaces, which deletes
    EQUAL(deletes, 3);
    MUST(MPI_Comm_delete_attr(MPI_COMM_WORLD, other));
    EQUAL(deletes, 4);
    MUST(MPI_Comm_free_keyval(&key));
    MUST(MPI_Comm_free_keyval(&other));
    EQUAL(key, MPI_KEYVAL_INVALID);

    // Types have attributes too.
    MPI_Datatype type, copied;
    MUST(MPI_Type_create_keyval(MPI_TYPE_DUP_FN, MPI_TYPE_NULL_DELETE_FN, &key, NULL));
    MUST(MPI_Type_contiguous(3, MPI_INT, &type));
    MUST(MPI_Type_set_attr(type, key, place));
    MUST(MPI_Type_dup(type, &copied));
    MUST(MPI_Type_get_attr(copied, key, &value, &flag));
    CHECK(flag && value == place, "DUP_FN did not copy");
    MUST(MPI_Type_free(&type));
    MUST(MPI_Type_free(&copied));
    MUST(MPI_Type_free_keyval(&key));
}

static void info(void) {
    MPI_Info info, twin;
    char key[MPI_MAX_INFO_KEY + 1], value[64];
    int flag = 0, n = -1, length = 0;
    MUST(MPI_Info_create(&info));
    MUST(MPI_Info_set(info, "colour", "blue"));
    MUST(MPI_Info_set(info, "shape", "round"));
    MUST(MPI_Info_set(info, "colour", "green"));
    MUST(MPI_Info_get_nkeys(info, &n));
    EQUAL(n, 2);
    MUST(MPI_Info_get_nthkey(info, 0, key));
    CHECK(strcmp(key, "colour") == 0, "key 0 is '%s'", key);
    MUST(MPI_Info_get_valuelen(info, "colour", &length, &flag));
    EQUAL(flag, 1);
    EQUAL(length, 5);
    MUST(MPI_Info_dup(info, &twin));
    MUST(MPI_Info_delete(info, "colour"));
    MUST(MPI_Info_get(info, "colour", 63, value, &flag));
    EQUAL(flag, 0);
    MUST(MPI_Info_get(twin, "colour", 63, value, &flag));
    CHECK(flag && strcmp(value, "green") == 0, "'%s'", value);
    MUST(MPI_Info_free(&info));
    MUST(MPI_Info_free(&twin));
    CHECK(info == MPI_INFO_NULL, "a freed info is not null");
}

static void handle(MPI_Comm *comm, int *code, ...) {
    (void)comm;
    handled = class_of(*code);
}

static void handlers(void) {
    MPI_Errhandler mine, got;
    MPI_Comm twin;
    int value = 0;
    MUST(MPI_Comm_create_errhandler(handle, &mine));
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &twin));
    MUST(MPI_Comm_set_errhandler(twin, mine));
    MUST(MPI_Comm_get_errhandler(twin, &got));
    CHECK(got == mine, "another handler came back");
    MUST(MPI_Errhandler_free(&got));
    MUST(MPI_Errhandler_free(&mine)); // the communicator keeps it
    // What the call answers after a handler of the user came back, libraries see differently.
    (void)MPI_Send(&value, 1, MPI_INT, size + 3, 0, twin);
    EQUAL(handled, MPI_ERR_RANK);
    handled = 0;
    MUST(MPI_Comm_call_errhandler(twin, MPI_ERR_OTHER));
    EQUAL(handled, MPI_ERR_OTHER);
    MUST(MPI_Comm_free(&twin));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    attributes();
    info();
    handlers();
    return end();
}
