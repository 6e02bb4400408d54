// SPDX-License-Identifier: Apache-2.0 OR MIT
// Ports, names and sockets: two halves of a job meet as if they were two jobs.
// ranks: 2 3 4 7
#include "united.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static MPI_Comm half;
static int side;

// By a name: the first half publishes, the second looks it up. Where names are not kept (jobs on
// several hosts, other launchers), by telling.
static void by_name(void) {
    int has_names = one_host() && getenv("STRAIT_NAMES");
    char port[MPI_MAX_PORT_NAME] = "", found[MPI_MAX_PORT_NAME] = "";
    MPI_Comm inter;
    if (rank == 0) {
        MUST(MPI_Open_port(MPI_INFO_NULL, port));
    }
    if (rank == 0 && has_names) {
        MUST(MPI_Publish_name("strait ocean", MPI_INFO_NULL, port));
        EQUAL(class_of(MPI_Publish_name("strait ocean", MPI_INFO_NULL, port)), MPI_ERR_SERVICE);
    }
    memcpy(found, port, sizeof found);
    MUST(MPI_Bcast(found, has_names ? 0 : MPI_MAX_PORT_NAME, MPI_CHAR, 0, MPI_COMM_WORLD));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (side == 0) {
        MUST(MPI_Comm_accept(port, MPI_INFO_NULL, 0, half, &inter));
    } else {
        int me;
        MUST(MPI_Comm_rank(half, &me));
        if (me == 0 && has_names) MUST(MPI_Lookup_name("strait ocean", MPI_INFO_NULL, found));
        MUST(MPI_Comm_connect(found, MPI_INFO_NULL, 0, half, &inter));
    }
    unite(inter, side);
    MUST(MPI_Comm_disconnect(&inter));
    EQUAL(inter == MPI_COMM_NULL, 1);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0 && has_names) {
        EQUAL(class_of(MPI_Unpublish_name("strait ocean", MPI_INFO_NULL, "else")),
              MPI_ERR_SERVICE);
        MUST(MPI_Unpublish_name("strait ocean", MPI_INFO_NULL, port));
        EQUAL(class_of(MPI_Unpublish_name("strait ocean", MPI_INFO_NULL, port)), MPI_ERR_SERVICE);
        EQUAL(class_of(MPI_Lookup_name("strait ocean", MPI_INFO_NULL, found)), MPI_ERR_NAME);
    }
    if (rank == 0) {
        MUST(MPI_Close_port(port));
        EQUAL(class_of(MPI_Close_port(port)), MPI_ERR_PORT);
    }
}

// The last rank accepts twice at one port; roots are not rank 0.
static void twice(void) {
    char port[MPI_MAX_PORT_NAME] = "";
    int last = size - 1, here;
    if (rank == last) MUST(MPI_Open_port(MPI_INFO_NULL, port));
    MUST(MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, last, MPI_COMM_WORLD));
    MUST(MPI_Comm_size(half, &here));
    for (int round = 0; round < 2; round++) {
        MPI_Comm inter;
        if (side == 1)
            MUST(MPI_Comm_accept(port, MPI_INFO_NULL, here - 1, half, &inter));
        else
            MUST(MPI_Comm_connect(port, MPI_INFO_NULL, here - 1, half, &inter));
        talk_across(inter, side);
        MUST(MPI_Comm_disconnect(&inter));
    }
    if (rank == last) MUST(MPI_Close_port(port));
}

// Names of no port, and of one that is closed: an error for all who ask.
static void refused(void) {
    char port[MPI_MAX_PORT_NAME] = "";
    MPI_Comm inter = MPI_COMM_NULL;
    EQUAL(class_of(MPI_Comm_connect("no port", MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter)),
          MPI_ERR_PORT);
    EQUAL(class_of(MPI_Comm_accept("no port", MPI_INFO_NULL, size - 1, MPI_COMM_WORLD, &inter)),
          MPI_ERR_PORT);
    if (rank == 0) {
        MUST(MPI_Open_port(MPI_INFO_NULL, port));
        MUST(MPI_Close_port(port));
    }
    EQUAL(class_of(MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter)),
          MPI_ERR_PORT);
    EQUAL(class_of(MPI_Comm_connect(port, MPI_INFO_NULL, size, MPI_COMM_WORLD, &inter)),
          MPI_ERR_ROOT);
    EQUAL(class_of(MPI_Comm_join(-1, &inter)), MPI_ERR_ARG);
    MPI_Comm parent = MPI_COMM_WORLD;
    MUST(MPI_Comm_get_parent(&parent));
    EQUAL(parent == MPI_COMM_NULL, 1);
}

// Ranks 0 and 1 have a socket.
static void joined(void) {
    if (!one_host() || rank > 1) return;
    int socket_ = socket(AF_INET, SOCK_STREAM, 0), port = 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    if (rank == 0) {
        EQUAL(bind(socket_, (struct sockaddr *)&at, sizeof at), 0);
        EQUAL(listen(socket_, 1), 0);
        EQUAL(getsockname(socket_, (struct sockaddr *)&at, &bytes), 0);
        port = at.sin_port;
        MUST(MPI_Send(&port, 1, MPI_INT, 1, 0, MPI_COMM_WORLD));
        int taken = accept(socket_, NULL, NULL);
        close(socket_);
        socket_ = taken;
    } else {
        MUST(MPI_Recv(&port, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        at.sin_port = (in_port_t)port;
        EQUAL(connect(socket_, (struct sockaddr *)&at, sizeof at), 0);
    }
    CHECK(socket_ >= 0, "no socket");
    MPI_Comm inter;
    MUST(MPI_Comm_join(socket_, &inter));
    unite(inter, rank);
    MUST(MPI_Comm_disconnect(&inter));
    // The socket is as it was: nothing of MPI's is left in it, and it still waits.
    char letter = rank ? 'b' : 'a', other = 0;
    EQUAL(write(socket_, &letter, 1), 1);
    EQUAL(read(socket_, &other, 1), 1);
    EQUAL(other, rank ? 'a' : 'b');
    close(socket_);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    MUST(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MUST(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    side = rank >= (size + 1) / 2;
    MUST(MPI_Comm_split(MPI_COMM_WORLD, side, rank, &half));
    refused();
    by_name();
    twice();
    joined();
    MUST(MPI_Comm_free(&half));
    return end();
}
