// SPDX-License-Identifier: Apache-2.0 OR MIT
// Neighbourhood collectives on grids (with borders, with one and two places that wrap), graphs and
// distributed graphs with double edges and edges to oneself: blocking, nonblocking, persistent.
#include "check.h"

#define MOST 64
#define GAP (-7)

static MPI_Comm comm;
static int in_degree, out_degree, sources[MOST], targets[MOST];

// What a rank sends along its edge: so that every edge has its own numbers.
static int value(int from, int edge, int k) { return from * 10000 + edge * 100 + k; }

// Whether edge `e` is followed by the standard's order: the edge of the sender that ends here.
// On a grid what goes down comes from above; elsewhere the j-th edge is the j-th edge.
static int is_grid;
static int edges_of[MOST][MOST], degrees[MOST];

static int edge_of_sender(int l) {
    if (is_grid) return l ^ 1;
    int before = 0, seen = 0;
    for (int i = 0; i < l; i++) before += sources[i] == sources[l];
    for (int k = 0; k < degrees[sources[l]]; k++)
        if (edges_of[sources[l]][k] == rank && seen++ == before) return k;
    CHECK(0, "nobody sends along edge %d", l);
    return -1;
}

// Everybody learns everybody's outgoing edges.
static void learn(void) {
    static int mine[MOST];
    for (int k = 0; k < MOST; k++) mine[k] = k < out_degree ? targets[k] : -9;
    MUST(MPI_Allgather(mine, MOST, MPI_INT, edges_of, MOST, MPI_INT, comm));
    MUST(MPI_Allgather(&out_degree, 1, MPI_INT, degrees, 1, MPI_INT, comm));
}

static void finish(MPI_Request *request, int way) {
    if (way == 0) return;
    if (way == 2) MUST(MPI_Start(request));
    MUST(MPI_Wait(request, MPI_STATUS_IGNORE));
    if (way == 2) {
        MUST(MPI_Start(request));
        MUST(MPI_Wait(request, MPI_STATUS_IGNORE));
        MUST(MPI_Request_free(request));
    }
}

static void expect(const int *got, int l, int n, int edge) {
    for (int k = 0; k < n; k++) {
        int wanted = sources[l] == MPI_PROC_NULL ? GAP : value(sources[l], edge, k);
        CHECK(got[k] == wanted, "edge %d from %d, item %d: %d, not %d", l, sources[l], k, got[k],
              wanted);
    }
}

static void clear(int *buffer, int n) {
    for (int i = 0; i < n; i++) buffer[i] = GAP;
}

// Equal blocks of n items.
static void even(int n, int way) {
    static int out[MOST * 100], in[MOST * 100];
    MPI_Request r;
    for (int k = 0; k < n; k++) out[k] = value(rank, 0, k);
    clear(in, MOST * 100);
    if (way == 0) MUST(MPI_Neighbor_allgather(out, n, MPI_INT, in, n, MPI_INT, comm));
    if (way == 1) MUST(MPI_Ineighbor_allgather(out, n, MPI_INT, in, n, MPI_INT, comm, &r));
    if (way == 2)
        MUST(MPI_Neighbor_allgather_init(out, n, MPI_INT, in, n, MPI_INT, comm, MPI_INFO_NULL, &r));
    finish(&r, way);
    for (int l = 0; l < in_degree; l++) expect(in + l * n, l, n, 0);
    EQUAL(in[in_degree * n], GAP);

    for (int e = 0; e < out_degree; e++)
        for (int k = 0; k < n; k++) out[e * n + k] = value(rank, e, k);
    clear(in, MOST * 100);
    if (way == 0) MUST(MPI_Neighbor_alltoall(out, n, MPI_INT, in, n, MPI_INT, comm));
    if (way == 1) MUST(MPI_Ineighbor_alltoall(out, n, MPI_INT, in, n, MPI_INT, comm, &r));
    if (way == 2)
        MUST(MPI_Neighbor_alltoall_init(out, n, MPI_INT, in, n, MPI_INT, comm, MPI_INFO_NULL, &r));
    finish(&r, way);
    for (int l = 0; l < in_degree; l++)
        expect(in + l * n, l, n, sources[l] == MPI_PROC_NULL ? 0 : edge_of_sender(l));
    EQUAL(in[in_degree * n], GAP);
}

// Items from one rank: by rank for allgatherv, by rank and edge for alltoallv and w.
static int length(int from, int edge) { return from == MPI_PROC_NULL ? 2 : (from + 2 * edge) % 5; }

static void uneven(int way) {
    static int out[MOST * 16], in[MOST * 16];
    int counts[MOST], places[MOST], to_counts[MOST], to_places[MOST];
    MPI_Aint far[MOST], to_far[MOST];
    MPI_Datatype types[MOST], to_types[MOST];
    MPI_Request r;
    int mine = length(rank, 0);
    // Blocks lie in reverse order, eight items apart.
    for (int l = 0; l < in_degree; l++) {
        counts[l] = length(sources[l], 0);
        places[l] = 8 * (in_degree - 1 - l);
    }
    for (int k = 0; k < mine; k++) out[k] = value(rank, 0, k);
    clear(in, MOST * 16);
    if (way == 0)
        MUST(MPI_Neighbor_allgatherv(out, mine, MPI_INT, in, counts, places, MPI_INT, comm));
    if (way == 1)
        MUST(MPI_Ineighbor_allgatherv(out, mine, MPI_INT, in, counts, places, MPI_INT, comm, &r));
    if (way == 2)
        MUST(MPI_Neighbor_allgatherv_init(out, mine, MPI_INT, in, counts, places, MPI_INT, comm,
                                          MPI_INFO_NULL, &r));
    finish(&r, way);
    for (int l = 0; l < in_degree; l++) {
        expect(in + places[l], l, counts[l], 0);
        EQUAL(in[places[l] + counts[l]], GAP);
    }

    for (int l = 0; l < in_degree; l++) {
        int edge = sources[l] == MPI_PROC_NULL ? 0 : edge_of_sender(l);
        counts[l] = length(sources[l], edge);
        far[l] = (MPI_Aint)sizeof(int) * places[l];
        types[l] = MPI_INT;
    }
    for (int e = 0; e < out_degree; e++) {
        to_counts[e] = targets[e] == MPI_PROC_NULL ? 3 : length(rank, e);
        to_places[e] = 8 * e;
        to_far[e] = (MPI_Aint)sizeof(int) * to_places[e];
        to_types[e] = MPI_INT;
        for (int k = 0; k < to_counts[e]; k++) out[to_places[e] + k] = value(rank, e, k);
    }
    for (int mixed = 0; mixed < 2; mixed++) {
        clear(in, MOST * 16);
        if (way == 0 && !mixed)
            MUST(MPI_Neighbor_alltoallv(out, to_counts, to_places, MPI_INT, in, counts, places,
                                        MPI_INT, comm));
        if (way == 1 && !mixed)
            MUST(MPI_Ineighbor_alltoallv(out, to_counts, to_places, MPI_INT, in, counts, places,
                                         MPI_INT, comm, &r));
        if (way == 2 && !mixed)
            MUST(MPI_Neighbor_alltoallv_init(out, to_counts, to_places, MPI_INT, in, counts, places,
                                             MPI_INT, comm, MPI_INFO_NULL, &r));
        if (way == 0 && mixed)
            MUST(MPI_Neighbor_alltoallw(out, to_counts, to_far, to_types, in, counts, far, types,
                                        comm));
        if (way == 1 && mixed)
            MUST(MPI_Ineighbor_alltoallw(out, to_counts, to_far, to_types, in, counts, far, types,
                                         comm, &r));
        if (way == 2 && mixed)
            MUST(MPI_Neighbor_alltoallw_init(out, to_counts, to_far, to_types, in, counts, far,
                                             types, comm, MPI_INFO_NULL, &r));
        finish(&r, way);
        for (int l = 0; l < in_degree; l++) {
            int edge = sources[l] == MPI_PROC_NULL ? 0 : edge_of_sender(l);
            expect(in + places[l], l, counts[l], edge);
            EQUAL(in[places[l] + counts[l]], GAP);
        }
    }
}

static void all(void) {
    learn();
    for (int way = 0; way < 3; way++) {
        even(1, way);
        even(100, way);
        uneven(way);
    }
    MUST(MPI_Comm_free(&comm));
}

static void grid(int dimensions, const int *places, const int *wraps) {
    MUST(MPI_Cart_create(MPI_COMM_WORLD, dimensions, places, wraps, 0, &comm));
    is_grid = 1;
    in_degree = out_degree = 2 * dimensions;
    for (int d = 0; d < dimensions; d++)
        MUST(MPI_Cart_shift(comm, d, 1, &sources[2 * d], &sources[2 * d + 1]));
    memcpy(targets, sources, sizeof targets);
    all();
}

// Each rank to the next ones, to the next one twice, and to itself.
static void graph(void) {
    static int ones[MOST];
    for (int i = 0; i < MOST; i++) ones[i] = 1;
    int n = 0;
    targets[n++] = (rank + 1) % size;
    targets[n++] = rank;
    if (size > 2) targets[n++] = (rank + 2) % size;
    targets[n++] = (rank + 1) % size;
    out_degree = n;
    n = 0;
    if (size > 2) sources[n++] = (rank + size - 2) % size;
    sources[n++] = (rank + size - 1) % size;
    sources[n++] = (rank + size - 1) % size;
    sources[n++] = rank;
    in_degree = n;
    is_grid = 0;
    MUST(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, in_degree, sources, ones,
                                        out_degree, targets, ones, MPI_INFO_NULL, 0,
                                        &comm));
    all();
    // Nobody has a neighbour.
    in_degree = out_degree = 0;
    MUST(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 0, sources, ones, 0, targets, ones,
                                        MPI_INFO_NULL, 0, &comm));
    all();
    // A star.
    int index[MOST], edges[2 * MOST];
    for (int i = 0; i < size; i++) {
        index[i] = size - 1 + i;
        if (i > 0) {
            edges[i - 1] = i;
            edges[size - 2 + i] = 0;
        }
    }
    MUST(MPI_Graph_create(MPI_COMM_WORLD, size, index, edges, 0, &comm));
    in_degree = out_degree = rank == 0 ? size - 1 : 1;
    for (int k = 0; k < in_degree; k++) sources[k] = rank == 0 ? k + 1 : 0;
    memcpy(targets, sources, sizeof targets);
    all();
}

static void errors(void) {
    int class, out = 1, in[MOST];
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    int code = MPI_Neighbor_allgather(&out, 1, MPI_INT, in, 1, MPI_INT, MPI_COMM_WORLD);
    MUST(MPI_Error_class(code, &class));
    EQUAL(class, MPI_ERR_TOPOLOGY);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    for (int wrap = 0; wrap < 2; wrap++) {
        int line[1] = {size}, wraps[3] = {wrap, !wrap, 1};
        grid(1, line, wraps);
        int plane[2] = {0, 0}, space[3] = {0, 0, 1};
        MUST(MPI_Dims_create(size, 2, plane));
        grid(2, plane, wraps);
        MUST(MPI_Dims_create(size, 3, space));
        grid(3, space, wraps);
    }
    graph();
    errors();
    return end();
}
