// SPDX-License-Identifier: Apache-2.0 OR MIT
// Wrong arguments under ERRORS_RETURN: the right error class, and the library works afterwards.
#include "check.h"

#define FAILS(call, wanted)                                                               \
    do {                                                                                  \
        int code = call;                                                                  \
        CHECK(class_of(code) == wanted, "%s: class %d, expected %s", #call,               \
              class_of(code), #wanted);                                                   \
    } while (0)

static void arguments(void) {
    int value = 1, out = 0;
    MPI_Request request;
    MPI_Status status;
    MPI_Comm comm = MPI_COMM_WORLD, other;
    FAILS(MPI_Send(&value, 1, MPI_INT, size, 0, comm), MPI_ERR_RANK);
    FAILS(MPI_Send(&value, 1, MPI_INT, -77, 0, comm), MPI_ERR_RANK);
    FAILS(MPI_Isend(&value, 1, MPI_INT, size + 5, 0, comm, &request), MPI_ERR_RANK);
    FAILS(MPI_Recv(&value, 1, MPI_INT, size, 0, comm, &status), MPI_ERR_RANK);
    FAILS(MPI_Send(&value, 1, MPI_INT, 0, -50, comm), MPI_ERR_TAG);
    FAILS(MPI_Send(&value, 1, MPI_INT, 0, MPI_ANY_TAG, comm), MPI_ERR_TAG);
    FAILS(MPI_Recv(&value, 1, MPI_INT, 0, -50, comm, &status), MPI_ERR_TAG);
    FAILS(MPI_Send(&value, -1, MPI_INT, 0, 0, comm), MPI_ERR_COUNT);
    FAILS(MPI_Bcast(&value, -1, MPI_INT, 0, comm), MPI_ERR_COUNT);
    FAILS(MPI_Send(&value, 1, MPI_DATATYPE_NULL, 0, 0, comm), MPI_ERR_TYPE);
    FAILS(MPI_Bcast(&value, 1, MPI_DATATYPE_NULL, 0, comm), MPI_ERR_TYPE);
    FAILS(MPI_Bcast(&value, 1, MPI_INT, size, comm), MPI_ERR_ROOT);
    FAILS(MPI_Reduce(&value, &out, 1, MPI_INT, MPI_SUM, -9, comm), MPI_ERR_ROOT);
    FAILS(MPI_Allreduce(&value, &out, 1, MPI_INT, MPI_OP_NULL, comm), MPI_ERR_OP);
    // Errors of a null communicator are raised on the world (older MPI) or on self (MPI 4).
    FAILS(MPI_Send(&value, 1, MPI_INT, 0, 0, MPI_COMM_NULL), MPI_ERR_COMM);
    FAILS(MPI_Comm_rank(MPI_COMM_NULL, &out), MPI_ERR_COMM);
    FAILS(MPI_Comm_dup(MPI_COMM_NULL, &other), MPI_ERR_COMM);
    FAILS(MPI_Group_rank(MPI_GROUP_NULL, &out), MPI_ERR_GROUP);
    MPI_Datatype type = MPI_INT, made;
    MUST(MPI_Type_contiguous(2, MPI_INT, &made));
    // Not committed: it may be used to build, but not to send.
    FAILS(MPI_Send(&value, 1, made, 0, 0, comm), MPI_ERR_TYPE);
    MUST(MPI_Type_free(&made));
    int code = MPI_Type_free(&type);
    CHECK(code != MPI_SUCCESS, "a predefined type was freed");
}

static int errors;

static void count_error(MPI_Comm *comm, int *code, ...) {
    (void)comm, (void)code;
    errors++;
}

static void truncated(void) {
    int peer = rank ^ 1, big[100] = {0}, small[50] = {0};
    if (peer >= size) return;
    // A short message, and one of each larger kind.
    int lengths[] = {100, 5000, 100000};
    for (int l = 0; l < 3; l++) {
        int n = lengths[l];
        int *out = calloc(n, sizeof *out), *in = calloc(n, sizeof *in);
        MPI_Request request;
        MPI_Status status;
        MUST(MPI_Isend(out, n, MPI_INT, peer, 1, MPI_COMM_WORLD, &request));
        in[n / 2] = 12345;
        FAILS(MPI_Recv(in, n / 2, MPI_INT, peer, 1, MPI_COMM_WORLD, &status), MPI_ERR_TRUNCATE);
        EQUAL(in[n / 2], 12345); // nothing is written behind the buffer
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        free(out);
        free(in);
    }
    // In a list the status says which one, and the others are well.
    MPI_Request requests[3];
    MPI_Status statuses[3];
    MUST(MPI_Irecv(small, 50, MPI_INT, peer, 2, MPI_COMM_WORLD, &requests[0]));
    MUST(MPI_Irecv(big, 100, MPI_INT, peer, 3, MPI_COMM_WORLD, &requests[1]));
    int out[100] = {0};
    MUST(MPI_Send(out, 60, MPI_INT, peer, 2, MPI_COMM_WORLD));
    MUST(MPI_Isend(out, 100, MPI_INT, peer, 3, MPI_COMM_WORLD, &requests[2]));
    FAILS(MPI_Waitall(3, requests, statuses), MPI_ERR_IN_STATUS);
    EQUAL(class_of(statuses[0].MPI_ERROR), MPI_ERR_TRUNCATE);
    for (int i = 1; i < 3; i++) {
        if (statuses[i].MPI_ERROR == MPI_ERR_PENDING)
            MUST(MPI_Wait(&requests[i], MPI_STATUS_IGNORE));
        else
            EQUAL(statuses[i].MPI_ERROR, MPI_SUCCESS);
    }
    // Some of a list: the handler of their communicator hears of it, too.
    MPI_Comm other;
    MPI_Errhandler counting;
    MUST(MPI_Comm_dup(MPI_COMM_SELF, &other));
    MUST(MPI_Comm_create_errhandler(count_error, &counting));
    MUST(MPI_Comm_set_errhandler(other, counting));
    MUST(MPI_Errhandler_free(&counting));
    MUST(MPI_Irecv(small, 50, MPI_INT, 0, 4, other, &requests[0]));
    MUST(MPI_Send(out, 60, MPI_INT, 0, 4, other));
    int count = -1, index = -1;
    FAILS(MPI_Waitsome(1, requests, &count, &index, statuses), MPI_ERR_IN_STATUS);
    EQUAL(count, 1);
    EQUAL(errors, 1);
    EQUAL(class_of(statuses[0].MPI_ERROR), MPI_ERR_TRUNCATE);
    MUST(MPI_Comm_free(&other));
}

static void words(void) {
    char text[MPI_MAX_ERROR_STRING];
    int length = 0, class = 0, code = 0;
    // The text of a code that was just returned tells more than its class.
    code = MPI_Send(&length, 1, MPI_INT, size + 98765, 0, MPI_COMM_WORLD);
    CHECK(class_of(code) == MPI_ERR_RANK, "class %d", class_of(code));
    char number[16];
    snprintf(number, sizeof number, "%d", size + 98765);
    MUST(MPI_Error_string(code, text, &length));
    CHECK(strstr(text, number) != NULL, "'%s'", text);
    MUST(MPI_Error_string(MPI_ERR_TRUNCATE, text, &length));
    CHECK(length > 5 && (size_t)length == strlen(text), "'%s'", text);
    MUST(MPI_Add_error_class(&class));
    MUST(MPI_Add_error_code(class, &code));
    MUST(MPI_Add_error_string(code, "the moon is full"));
    MUST(MPI_Error_string(code, text, &length));
    CHECK(strcmp(text, "the moon is full") == 0, "'%s'", text);
    EQUAL(class_of(code), class);
    CHECK(class > MPI_ERR_LASTCODE, "class %d", class);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    MUST(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MUST(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    arguments();
    truncated();
    words();
    return end();
}
