// SPDX-License-Identifier: Apache-2.0 OR MIT
// A receive whose owner is away: posted, then no call of MPI for a while. Whatever was posted
// before it or arrives before its message, each message lands where it belongs; and with Strait on
// one host a long one is there when its owner comes back.
#define _GNU_SOURCE
#include "check.h"

#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 24
#define LONGEST (1 << 20)

// What may come between: nothing, a message before it, an earlier wildcard, an earlier twin, a
// cancelled receive, a buffer that is too long.
enum { PLAIN, BEFORE, WILD, TWIN, CANCELLED, LONG, KINDS };

struct place {
    long pid, address;
    char host[MPI_MAX_PROCESSOR_NAME];
};

static void nap(void) {
    struct timespec t = {0, 200000};
    nanosleep(&t, NULL);
}

// Whether this rank may read the memory of its partner, without which nobody can copy for it.
// (Hosts of the tests are namespaces: the kernel would let it read there, too.)
static int may_read(const struct place *own, const struct place *from) {
    char byte;
    if (strcmp(own->host, from->host)) return 0;
    struct iovec here = {&byte, 1}, there = {(void *)from->address, 1};
    return process_vm_readv((pid_t)from->pid, &here, 1, &there, 1, 0) == 1;
}

static int is_ours(void) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(text, &length);
    const char *lanes = getenv("STRAIT_LANES");
    int away = lanes && (strstr(lanes, "tcp") || strstr(lanes, "ofi") || strstr(lanes, "ucx"));
    return strstr(text, "Strait") != NULL && !away;
}

static void receive(int other, int round, size_t bytes, int kind, int filled) {
    static unsigned char buffer[LONGEST + 4096], first[LONGEST], dropped[LONGEST];
    unsigned seed = (unsigned)round;
    MPI_Request request, earlier = MPI_REQUEST_NULL;
    MPI_Status status;
    int count, cancelled;
    memset(buffer, 0xd7, sizeof buffer);
    if (kind == WILD)
        MUST(MPI_Irecv(first, LONGEST, MPI_BYTE, MPI_ANY_SOURCE, 5, MPI_COMM_WORLD, &earlier));
    if (kind == TWIN) MUST(MPI_Irecv(first, LONGEST, MPI_BYTE, other, 5, MPI_COMM_WORLD, &earlier));
    if (kind == CANCELLED) {
        MUST(MPI_Irecv(dropped, LONGEST, MPI_BYTE, other, 5, MPI_COMM_WORLD, &request));
        MUST(MPI_Cancel(&request));
        MUST(MPI_Wait(&request, &status));
        MUST(MPI_Test_cancelled(&status, &cancelled));
        CHECK(cancelled, "nothing was sent in round %d", round);
    }
    int room = (int)(kind == LONG ? bytes + 4096 : bytes);
    MUST(MPI_Irecv(buffer, room, MPI_BYTE, other, 5, MPI_COMM_WORLD, &request));
    MUST(MPI_Send(NULL, 0, MPI_BYTE, other, 6, MPI_COMM_WORLD));
    // Pieces come from the end and from the beginning, so all of it is looked at.
    const volatile unsigned char *seen = buffer;
    int present = 0;
    for (int i = 0; filled && (kind == PLAIN || kind >= CANCELLED) && !present && i < 50000; i++) {
        nap();
        present = 1;
        for (size_t at = 0; at < bytes && present; at += 512)
            present = seen[at] == byte_of(seed, at);
    }
    if (filled && (kind == PLAIN || kind >= CANCELLED))
        CHECK(present, "round %d, kind %d, %zu bytes: nobody has filled it", round, kind, bytes);
    for (int i = 0; i < 5; i++) nap();
    if (kind == WILD || kind == TWIN) {
        MUST(MPI_Wait(&earlier, &status));
        MUST(MPI_Get_count(&status, MPI_BYTE, &count));
        EQUAL(count, bytes);
        EQUAL(differs(first, bytes, seed), -1);
        seed += 1000;
    } else if (kind == BEFORE) {
        MUST(MPI_Wait(&request, &status));
        MUST(MPI_Get_count(&status, MPI_BYTE, &count));
        EQUAL(count, 3);
        for (size_t at = 3; at < sizeof buffer; at++) EQUAL(buffer[at], 0xd7);
        MUST(MPI_Irecv(buffer, room, MPI_BYTE, other, 5, MPI_COMM_WORLD, &request));
    }
    MUST(MPI_Wait(&request, &status));
    MUST(MPI_Get_count(&status, MPI_BYTE, &count));
    EQUAL(count, bytes);
    EQUAL(differs(buffer, bytes, seed), -1);
    for (size_t at = bytes; at < sizeof buffer; at++) EQUAL(buffer[at], 0xd7);
}

static void send(int other, int round, size_t bytes, int kind) {
    static unsigned char buffer[LONGEST], second[LONGEST];
    MPI_Request request, more;
    fill(buffer, bytes, (unsigned)round);
    fill(second, bytes, (unsigned)round + 1000);
    MUST(MPI_Recv(NULL, 0, MPI_BYTE, other, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    if (kind == BEFORE) MUST(MPI_Send("abc", 3, MPI_BYTE, other, 5, MPI_COMM_WORLD));
    if (round % 2 && kind != WILD && kind != TWIN) {
        MUST(MPI_Send(buffer, (int)bytes, MPI_BYTE, other, 5, MPI_COMM_WORLD));
        return;
    }
    MUST(MPI_Isend(buffer, (int)bytes, MPI_BYTE, other, 5, MPI_COMM_WORLD, &request));
    if (kind == WILD || kind == TWIN) {
        MUST(MPI_Isend(second, (int)bytes, MPI_BYTE, other, 5, MPI_COMM_WORLD, &more));
        MUST(MPI_Wait(&more, MPI_STATUS_IGNORE));
    }
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
}

int main(int argc, char **argv) {
    static const size_t lengths[] = {LONGEST, 128 << 10, 300001, 200000};
    begin(&argc, &argv);
    int other = rank ^ 1;
    if (other < size) {
        struct place mine = {(long)getpid(), (long)&lengths, ""}, theirs;
        int length;
        MUST(MPI_Get_processor_name(mine.host, &length));
        MUST(MPI_Sendrecv(&mine, sizeof mine, MPI_BYTE, other, 1, &theirs, sizeof theirs, MPI_BYTE,
                          other, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        int filled = is_ours() && may_read(&mine, &theirs);
        for (int round = 0; round < ROUNDS; round++) {
            size_t bytes = lengths[round / KINDS];
            if (rank % 2)
                send(other, round, bytes, round % KINDS);
            else
                receive(other, round, bytes, round % KINDS, filled);
        }
    }
    return end();
}
