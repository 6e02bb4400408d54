// SPDX-License-Identifier: Apache-2.0 OR MIT
// Preloaded between a benchmark and MPI, it flips a bit of what some calls have received, so that
// the suite can see whether validation sees it. Built by `cargo xtask test bench`.
//
// The spoilt byte is the last one of the message, of those that have 64 bytes or more: shorter
// ones are the benchmarks' own talk.
#include <mpi.h>

#define SMALLEST 64

// The last receive buffer that was given to MPI and has not been spoilt since.
static unsigned char *pending;
static int pending_bytes;
// What a persistent request writes to; the benchmarks have one at a time.
static unsigned char *persistent;
static int persistent_bytes;

static int bytes_of(int count, MPI_Datatype type) {
    int size = 0;
    PMPI_Type_size(type, &size);
    return count * size;
}

static void spoil(void *buffer, int bytes) {
    if (buffer && bytes >= SMALLEST) ((unsigned char *)buffer)[bytes - 1] ^= 1;
}

static void later(void *buffer, int bytes) {
    pending = buffer;
    pending_bytes = bytes;
}

static void now(void) {
    spoil(pending, pending_bytes);
    pending = 0;
}

int MPI_Recv(void *buffer, int count, MPI_Datatype type, int source, int tag, MPI_Comm comm,
             MPI_Status *status) {
    int code = PMPI_Recv(buffer, count, type, source, tag, comm, status);
    spoil(buffer, bytes_of(count, type));
    return code;
}

int MPI_Irecv(void *buffer, int count, MPI_Datatype type, int source, int tag, MPI_Comm comm,
              MPI_Request *request) {
    later(buffer, bytes_of(count, type));
    return PMPI_Irecv(buffer, count, type, source, tag, comm, request);
}

int MPI_Waitall(int count, MPI_Request requests[], MPI_Status statuses[]) {
    int code = PMPI_Waitall(count, requests, statuses);
    now();
    return code;
}

int MPI_Allreduce(const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op,
                  MPI_Comm comm) {
    int code = PMPI_Allreduce(send, receive, count, type, op, comm);
    spoil(receive, bytes_of(count, type));
    return code;
}

int MPI_Iallgather(const void *send, int send_count, MPI_Datatype send_type, void *receive,
                   int count, MPI_Datatype type, MPI_Comm comm, MPI_Request *request) {
    later(receive, bytes_of(count, type));
    return PMPI_Iallgather(send, send_count, send_type, receive, count, type, comm, request);
}

int MPI_Bcast_init(void *buffer, int count, MPI_Datatype type, int root, MPI_Comm comm,
                   MPI_Info info, MPI_Request *request) {
    int rank;
    PMPI_Comm_rank(comm, &rank);
    persistent = rank == root ? 0 : buffer;
    persistent_bytes = bytes_of(count, type);
    return PMPI_Bcast_init(buffer, count, type, root, comm, info, request);
}

int MPI_Start(MPI_Request *request) {
    later(persistent, persistent_bytes);
    return PMPI_Start(request);
}

int MPI_Wait(MPI_Request *request, MPI_Status *status) {
    int code = PMPI_Wait(request, status);
    now();
    return code;
}
