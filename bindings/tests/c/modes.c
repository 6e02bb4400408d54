// SPDX-License-Identifier: Apache-2.0 OR MIT
// Every mode of sending, and the whole family of Wait and Test.
#include "check.h"

#define MANY 24

static int peer; // my partner: pairs (0,1), (2,3), ...; the last of an odd number talks to itself

static void modes(void) {
    int out[4] = {rank, 1, 2, 3}, in[4];
    MPI_Request request;
    MPI_Status status;
    size_t room = 10 * (sizeof out + MPI_BSEND_OVERHEAD);
    void *space = malloc(room), *detached = NULL;
    int detached_size = 0;
    MUST(MPI_Buffer_attach(space, room));
    for (int mode = 0; mode < 8; mode++) {
        memset(in, 0, sizeof in);
        MUST(MPI_Irecv(in, 4, MPI_INT, peer, mode, MPI_COMM_WORLD, &request));
        MPI_Request sent = MPI_REQUEST_NULL;
        // A ready send needs the receive to be posted already.
        if (mode % 4 == 3) MPI_Barrier(MPI_COMM_WORLD);
        switch (mode) {
        case 0: MUST(MPI_Send(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD)); break;
        case 1: MUST(MPI_Ssend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD)); break;
        case 2: MUST(MPI_Bsend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD)); break;
        case 3: MUST(MPI_Rsend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD)); break;
        case 4: MUST(MPI_Isend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD, &sent)); break;
        case 5: MUST(MPI_Issend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD, &sent)); break;
        case 6: MUST(MPI_Ibsend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD, &sent)); break;
        case 7: MUST(MPI_Irsend(out, 4, MPI_INT, peer, mode, MPI_COMM_WORLD, &sent)); break;
        }
        MUST(MPI_Wait(&request, &status));
        MUST(MPI_Wait(&sent, MPI_STATUS_IGNORE));
        CHECK(request == MPI_REQUEST_NULL && sent == MPI_REQUEST_NULL, "mode %d", mode);
        EQUAL(in[0], peer);
        EQUAL(in[3], 3);
        EQUAL(status.MPI_SOURCE, peer);
        EQUAL(status.MPI_TAG, mode);
    }
    MUST(MPI_Buffer_detach(&detached, &detached_size));
    CHECK(detached == space, "another buffer came back");
    EQUAL(detached_size, room);
    free(space);
}

// A synchronous send does not complete before its receive was posted.
static void synchronous(void) {
    int value = rank, flag = 0, got = -1;
    MPI_Request request;
    if (peer == rank) return;
    MUST(MPI_Issend(&value, 1, MPI_INT, peer, 77, MPI_COMM_WORLD, &request));
    for (int i = 0; i < 200; i++) {
        MUST(MPI_Test(&request, &flag, MPI_STATUS_IGNORE));
        EQUAL(flag, 0);
    }
    // Nobody receives before everybody has looked.
    MUST(MPI_Sendrecv(&value, 1, MPI_INT, peer, 78, &got, 1, MPI_INT, peer, 78, MPI_COMM_WORLD,
                      MPI_STATUS_IGNORE));
    MUST(MPI_Recv(&got, 1, MPI_INT, peer, 77, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    EQUAL(got, peer);
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
}

static int in[MANY], out[MANY];
static MPI_Request requests[2 * MANY];

static void post(void) {
    for (int i = 0; i < MANY; i++) {
        out[i] = 1000 * rank + i;
        in[i] = -1;
        MUST(MPI_Irecv(&in[i], 1, MPI_INT, peer, i, MPI_COMM_WORLD, &requests[i]));
    }
    for (int i = 0; i < MANY; i++) {
        int tag = MANY - 1 - i;
        MUST(MPI_Isend(&out[tag], 1, MPI_INT, peer, tag, MPI_COMM_WORLD, &requests[MANY + i]));
    }
}

static void arrived(void) {
    for (int i = 0; i < MANY; i++) EQUAL(in[i], 1000 * peer + i);
    for (int i = 0; i < 2 * MANY; i++)
        CHECK(requests[i] == MPI_REQUEST_NULL, "request %d is left", i);
}

static void waits(void) {
    static MPI_Status statuses[2 * MANY];
    int indices[2 * MANY], flag, done, index, total;

    post();
    MUST(MPI_Waitall(2 * MANY, requests, statuses));
    arrived();
    for (int i = 0; i < MANY; i++) EQUAL(statuses[i].MPI_TAG, i);

    post();
    for (total = 0; total < 2 * MANY; total++) {
        MUST(MPI_Waitany(2 * MANY, requests, &index, statuses));
        CHECK(index >= 0 && index < 2 * MANY, "index %d", index);
        if (index < MANY) EQUAL(statuses[0].MPI_TAG, index);
    }
    arrived();
    MUST(MPI_Waitany(2 * MANY, requests, &index, statuses));
    EQUAL(index, MPI_UNDEFINED);

    post();
    for (total = 0; total < 2 * MANY; total += done) {
        MUST(MPI_Waitsome(2 * MANY, requests, &done, indices, statuses));
        CHECK(done > 0, "Waitsome came back with nothing");
        for (int i = 0; i < done; i++)
            if (indices[i] < MANY) EQUAL(statuses[i].MPI_TAG, indices[i]);
    }
    arrived();
    MUST(MPI_Waitsome(2 * MANY, requests, &done, indices, statuses));
    EQUAL(done, MPI_UNDEFINED);

    post();
    for (flag = 0; !flag;) MUST(MPI_Testall(2 * MANY, requests, &flag, MPI_STATUSES_IGNORE));
    arrived();

    post();
    for (total = 0; total < 2 * MANY; total += flag)
        MUST(MPI_Testany(2 * MANY, requests, &index, &flag, MPI_STATUS_IGNORE));
    arrived();

    post();
    for (total = 0; total < 2 * MANY; total += done)
        MUST(MPI_Testsome(2 * MANY, requests, &done, indices, MPI_STATUSES_IGNORE));
    arrived();
}

// Looking at a request does not complete it; freeing one does not stop its message.
static void looking(void) {
    int got = -1, value = 5 + rank, flag = 0;
    MPI_Request request, other;
    MPI_Status status;
    MUST(MPI_Irecv(&got, 1, MPI_INT, peer, 9, MPI_COMM_WORLD, &request));
    MUST(MPI_Isend(&value, 1, MPI_INT, peer, 9, MPI_COMM_WORLD, &other));
    MUST(MPI_Request_free(&other));
    CHECK(other == MPI_REQUEST_NULL, "a freed request is not null");
    while (!flag) MUST(MPI_Request_get_status(request, &flag, &status));
    CHECK(request != MPI_REQUEST_NULL, "get_status freed the request");
    EQUAL(got, 5 + peer);
    MUST(MPI_Test(&request, &flag, &status));
    EQUAL(flag, 1);
    EQUAL(status.MPI_SOURCE, peer);

    // A receive that nothing matches can be cancelled.
    MUST(MPI_Irecv(&got, 1, MPI_INT, peer, 9999, MPI_COMM_WORLD, &request));
    MUST(MPI_Cancel(&request));
    MUST(MPI_Wait(&request, &status));
    MUST(MPI_Test_cancelled(&status, &flag));
    EQUAL(flag, 1);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    peer = rank ^ 1;
    if (peer >= size) peer = rank;
    if (peer != rank) modes(); else for (int i = 0; i < 2; i++) MPI_Barrier(MPI_COMM_WORLD);
    synchronous();
    waits();
    looking();
    return end();
}
