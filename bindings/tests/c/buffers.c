// SPDX-License-Identifier: Apache-2.0 OR MIT
// Buffers for buffered sends that are attached to a session or to a communicator (MPI-4.1), and
// the attribute functions of MPI-1.
// ranks: 1 2 4
#include "check.h"

#define ROOM (16 * (sizeof(int) + MPI_BSEND_OVERHEAD))

static int deleted;

static int delete_it(MPI_Comm comm, int keyval, void *value, void *extra) {
    (void)comm, (void)keyval, (void)value;
    deleted += *(int *)extra;
    return MPI_SUCCESS;
}

static void exchange(MPI_Comm comm, int messages) {
    int right = (rank + 1) % size, left = (rank + size - 1) % size, got = -1;
    for (int i = 0; i < messages; i++) {
        int value = rank * 100 + i;
        MUST(MPI_Bsend(&value, 1, MPI_INT, right, i, comm));
    }
    for (int i = messages; i-- > 0;) {
        MUST(MPI_Recv(&got, 1, MPI_INT, left, i, comm, MPI_STATUS_IGNORE));
        EQUAL(got, left * 100 + i);
    }
}

static void sessions(void) {
    MPI_Session session;
    MPI_Group group;
    MPI_Comm comm, copy;
    MPI_Request request;
    void *space = malloc(ROOM), *back = NULL;
    int bytes = 0, value = 1;
    MPI_Count many = 0;
    MUST(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    MUST(MPI_Group_from_session_pset(session, "mpi://WORLD", &group));
    MUST(MPI_Comm_create_from_group(group, "buffers", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm));
    MUST(MPI_Comm_dup(comm, &copy));
    MUST(MPI_Session_attach_buffer(session, space, ROOM));
    // Once only.
    CHECK(MPI_Session_attach_buffer(session, space, ROOM) != MPI_SUCCESS, "attached twice");
    exchange(comm, 8);
    MUST(MPI_Session_flush_buffer(session));
    exchange(copy, 8);
    MUST(MPI_Session_iflush_buffer(session, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MUST(MPI_Session_detach_buffer(session, &back, &bytes));
    CHECK(back == space, "another buffer came back");
    EQUAL(bytes, ROOM);
    // Without it there is no room for a send.
    CHECK(MPI_Bsend(&value, 1, MPI_INT, rank, 0, comm) != MPI_SUCCESS, "a send without a buffer");
    MUST(MPI_Session_attach_buffer_c(session, MPI_BUFFER_AUTOMATIC, 0));
    exchange(comm, 40);
    MUST(MPI_Session_detach_buffer_c(session, &back, &many));
    MUST(MPI_Group_free(&group));
    MUST(MPI_Comm_free(&copy));
    MUST(MPI_Comm_free(&comm));
    MUST(MPI_Session_finalize(&session));
    CHECK(session == MPI_SESSION_NULL, "the session is left");
    free(space);
}

// The communicator's buffer comes before the process's.
static void communicators(void) {
    MPI_Comm comm;
    void *space = malloc(ROOM), *back = NULL;
    int bytes = 0;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    MUST(MPI_Comm_attach_buffer(comm, space, ROOM));
    exchange(comm, 8);
    MUST(MPI_Comm_flush_buffer(comm));
    MUST(MPI_Comm_detach_buffer(comm, &back, &bytes));
    CHECK(back == space, "another buffer came back");
    MUST(MPI_Comm_free(&comm));
    free(space);
}

// The names that MPI 2 replaced.
static void old_attributes(void) {
    int keyval = MPI_KEYVAL_INVALID, extra = 10, value = 42, flag = 0, *found = NULL;
    MPI_Comm comm, copy;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    MUST(MPI_Keyval_create(MPI_DUP_FN, delete_it, &keyval, &extra));
    CHECK(keyval != MPI_KEYVAL_INVALID, "no keyval");
    MUST(MPI_Attr_get(comm, keyval, &found, &flag));
    EQUAL(flag, 0);
    MUST(MPI_Attr_put(comm, keyval, &value));
    MUST(MPI_Comm_dup(comm, &copy));
    MUST(MPI_Attr_get(copy, keyval, &found, &flag));
    EQUAL(flag, 1);
    CHECK(found == &value, "another value");
    MUST(MPI_Attr_delete(comm, keyval));
    EQUAL(deleted, 10);
    MUST(MPI_Comm_free(&copy));
    EQUAL(deleted, 20);
    MUST(MPI_Keyval_free(&keyval));
    EQUAL(keyval, MPI_KEYVAL_INVALID);
    MUST(MPI_Attr_get(MPI_COMM_WORLD, MPI_TAG_UB, &found, &flag));
    CHECK(flag && *found >= 32767, "MPI_TAG_UB");
    MUST(MPI_Comm_free(&comm));
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    sessions();
    communicators();
    old_attributes();
    return end();
}
