// SPDX-License-Identifier: Apache-2.0 OR MIT
// Random sequences of blocking collectives on several communicators, with random skew between the
// ranks, random roots, sizes, types and operations (also ones that do not commute), in place or
// not, against answers that every rank computes by itself. Communicators come and go.
// An argument is the seed, a second one the number of calls.
// ranks: 1 2 3 4 5 7 8 16
// seconds: 240
#include "check.h"
#include <unistd.h>

#define COMMS 5

static uint64_t shared_state, own_state;

static uint32_t next_of(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}
// The same at all ranks; ours alone.
static uint32_t pick(uint32_t n) { return next_of(&shared_state) % n; }
static uint32_t own(uint32_t n) { return next_of(&own_state) % n; }

static void skew(void) {
    switch (own(40)) {
    case 0: usleep(own(3000)); break;
    case 1: case 2: case 3: for (volatile uint32_t i = own(20000); i > 0; i--) {} break;
    default: break;
    }
}

static MPI_Op ours[2];
// Two words: one after another, and with a gap between them.
static MPI_Datatype pair, gapped;
enum { GAP = 3 };

// Elements are pairs of words; `step` is the distance of the two words.
static uint32_t *place(void *base, size_t element, int half, int step) {
    return (uint32_t *)base + element * (size_t)(step + 1) + (size_t)(half * step);
}

// Affine maps x -> a x + b over 32-bit integers: composition does not commute.
static void compose(void *in, void *inout, int *n, MPI_Datatype *type) {
    int step = *type == gapped ? GAP : 1;
    for (int i = 0; i < *n; i++) {
        uint32_t *left[2], *right[2];
        for (int h = 0; h < 2; h++)
            left[h] = place(in, (size_t)i, h, step), right[h] = place(inout, (size_t)i, h, step);
        *right[1] = *left[0] * *right[1] + *left[1];
        *right[0] *= *left[0];
    }
}
// Sums that do commute, by a function of ours.
static void add(void *in, void *inout, int *n, MPI_Datatype *type) {
    int step = *type == gapped ? GAP : 1;
    for (int i = 0; i < *n; i++)
        for (int h = 0; h < 2; h++)
            *place(inout, (size_t)i, h, step) += *place(in, (size_t)i, h, step);
}

typedef struct {
    MPI_Comm comm;
    int size, rank;
    int members[64]; // ranks in MPI_COMM_WORLD
} Comm;
static Comm comms[COMMS];

static void learn(Comm *c) {
    MPI_Group mine, world;
    int numbers[64];
    MPI_Comm_size(c->comm, &c->size);
    MPI_Comm_rank(c->comm, &c->rank);
    for (int i = 0; i < c->size; i++) numbers[i] = i;
    MPI_Comm_group(c->comm, &mine);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_translate_ranks(mine, c->size, numbers, world, c->members);
    MPI_Group_free(&mine);
    MPI_Group_free(&world);
}

// The word at place `i` of what a rank of the world brings to call `call`.
static uint32_t word(unsigned call, int who, size_t i) {
    uint64_t x = call * 0x9e3779b97f4a7c15u + (uint64_t)who * 0xbf58476d1ce4e5b9u + i * 77;
    return (uint32_t)(x ^ (x >> 31));
}

static uint32_t *space(size_t elements, int step) {
    size_t words = elements * (size_t)(step + 1) + 4;
    uint32_t *memory = malloc(words * sizeof *memory);
    for (size_t i = 0; i < words; i++) memory[i] = 0xdeadbeef;
    return memory;
}

static void bring(void *base, unsigned call, int who, size_t first, size_t n, size_t at,
                  int step) {
    for (size_t i = 0; i < n; i++)
        for (int h = 0; h < 2; h++)
            *place(base, at + i, h, step) = word(call, who, 2 * (first + i) + h);
}

static void check_moved(void *base, unsigned call, int who, size_t first, size_t n, size_t at,
                        int step) {
    for (size_t i = 0; i < n; i++)
        for (int h = 0; h < 2; h++)
            EQUAL(*place(base, at + i, h, step), word(call, who, 2 * (first + i) + h));
}

// What members `from .. to` give together for element `i`, by operation `op`.
static void combined(const Comm *c, unsigned call, int op, int from, int to, size_t i,
                     uint32_t result[2]) {
    for (int m = from; m < to; m++) {
        uint32_t a = word(call, c->members[m], 2 * i), b = word(call, c->members[m], 2 * i + 1);
        if (m == from) {
            result[0] = a, result[1] = b;
        } else if (op == 0) {
            result[1] = result[0] * b + result[1], result[0] *= a;
        } else if (op == 3) {
            result[0] = a > result[0] ? a : result[0], result[1] = b > result[1] ? b : result[1];
        } else {
            result[0] += a, result[1] += b;
        }
    }
}

static void check_combined(const Comm *c, void *base, unsigned call, int op, int from, int to,
                           size_t first, size_t n, int step) {
    for (size_t i = 0; i < n; i++) {
        uint32_t wanted[2];
        combined(c, call, op, from, to, first + i, wanted);
        for (int h = 0; h < 2; h++) EQUAL(*place(base, i, h, step), wanted[h]);
    }
}

static size_t some_count(void) {
    static const uint32_t limits[] = {1, 2, 4, 15, 40, 130, 600, 2100, 5000, 30000};
    return pick(limits[pick(sizeof limits / sizeof *limits)] + 1);
}

static void reduction(Comm *c, unsigned call, int kind, int root, size_t n) {
    // 0: compose, 1: our sum, 2: MPI_SUM, 3: MPI_MAX on single words.
    int op = (int)pick(4), step = op < 2 && pick(3) == 0 ? GAP : 1, in_place = pick(3) == 0;
    MPI_Op with = op < 2 ? ours[op] : op == 2 ? MPI_SUM : MPI_MAX;
    MPI_Datatype type = op >= 2 ? MPI_UINT32_T : step == 1 ? pair : gapped;
    int p = c->size, me = c->rank, is_root = me == root;
    int each = op >= 2 ? 2 : 1, count = (int)n * each;
    uint32_t *in = space(n * (size_t)p, step), *out = space(n * (size_t)p, step);
    int *counts = malloc((size_t)p * sizeof *counts);
    size_t first = 0, mine = n, total = n;
    if (kind == 8 || kind == 9) {
        total = 0;
        for (int m = 0; m < p; m++) {
            size_t own_count = kind == 8 ? n : pick((uint32_t)n + 1);
            counts[m] = (int)own_count * each;
            if (m < me) first += own_count;
            if (m == me) mine = own_count;
            total += own_count;
        }
    }
    int places = in_place && (kind != 5 || is_root);
    bring(places ? out : in, call, c->members[me], 0, total, 0, step);
    void *send = places ? MPI_IN_PLACE : in;
    switch (kind) {
    case 5:
        MUST(MPI_Reduce(send, out, count, type, with, root, c->comm));
        if (is_root) check_combined(c, out, call, op, 0, p, 0, n, step);
        break;
    case 6:
        MUST(MPI_Allreduce(send, out, count, type, with, c->comm));
        check_combined(c, out, call, op, 0, p, 0, n, step);
        break;
    case 7:
        MUST(MPI_Scan(send, out, count, type, with, c->comm));
        check_combined(c, out, call, op, 0, me + 1, 0, n, step);
        break;
    case 8:
        MUST(MPI_Reduce_scatter_block(send, out, count, type, with, c->comm));
        check_combined(c, out, call, op, 0, p, first, mine, step);
        break;
    case 9:
        MUST(MPI_Reduce_scatter(send, out, counts, type, with, c->comm));
        check_combined(c, out, call, op, 0, p, first, mine, step);
        break;
    default:
        MUST(MPI_Exscan(send, out, count, type, with, c->comm));
        if (me > 0) check_combined(c, out, call, op, 0, me, 0, n, step);
    }
    free(counts);
    free(in);
    free(out);
}

static void movement(Comm *c, unsigned call, int kind, int root, size_t n) {
    int step = pick(3) == 0 ? GAP : 1, in_place = pick(3) == 0, p = c->size, me = c->rank;
    // Either side may have the gaps, and each rank decides for itself.
    int out_step = own(2) ? step : 1, in_step = own(2) ? step : 1, is_root = me == root;
    size_t all = n * (size_t)p;
    if (in_place) in_step = out_step;
    uint32_t *in = space(all, in_step), *out = space(all, out_step);
    MPI_Datatype from = in_step == 1 ? pair : gapped, into = out_step == 1 ? pair : gapped;
    int count = (int)n, self = c->members[me];
    switch (kind) {
    case 0:
        MUST(MPI_Barrier(c->comm));
        break;
    case 1:
        if (is_root) bring(out, call, self, 0, n, 0, out_step);
        MUST(MPI_Bcast(out, count, into, root, c->comm));
        check_moved(out, call, c->members[root], 0, n, 0, out_step);
        break;
    case 2: {
        int places = in_place && is_root;
        bring(places ? out : in, call, self, 0, n, places ? n * (size_t)me : 0, in_step);
        MUST(MPI_Gather(places ? MPI_IN_PLACE : in, count, from, out, count, into, root, c->comm));
        for (int m = 0; is_root && m < p; m++)
            check_moved(out, call, c->members[m], 0, n, n * (size_t)m, out_step);
        break;
    }
    case 3: {
        int places = in_place && is_root;
        if (is_root) bring(in, call, self, 0, all, 0, in_step);
        MUST(MPI_Scatter(in, count, from, places ? MPI_IN_PLACE : out, count, into, root, c->comm));
        size_t first = n * (size_t)me;
        if (places) check_moved(in, call, self, first, n, first, in_step);
        else check_moved(out, call, c->members[root], first, n, 0, out_step);
        break;
    }
    case 4:
        bring(in_place ? out : in, call, self, 0, n, in_place ? n * (size_t)me : 0, in_step);
        MUST(MPI_Allgather(in_place ? MPI_IN_PLACE : in, count, from, out, count, into, c->comm));
        for (int m = 0; m < p; m++)
            check_moved(out, call, c->members[m], 0, n, n * (size_t)m, out_step);
        break;
    default:
        bring(in_place ? out : in, call, self, 0, all, 0, in_step);
        MUST(MPI_Alltoall(in_place ? MPI_IN_PLACE : in, count, from, out, count, into, c->comm));
        for (int m = 0; m < p; m++)
            check_moved(out, call, c->members[m], n * (size_t)me, n, n * (size_t)m, out_step);
    }
    free(in);
    free(out);
}

static void renew(Comm *c, int how) {
    if (c->comm != MPI_COMM_NULL) MUST(MPI_Comm_free(&c->comm));
    switch (how) {
    case 0: MUST(MPI_Comm_dup(MPI_COMM_WORLD, &c->comm)); break;
    case 1: MUST(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &c->comm)); break;
    case 2: MUST(MPI_Comm_split(MPI_COMM_WORLD, rank / 3, rank, &c->comm)); break;
    default: MUST(MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? MPI_UNDEFINED : 0, rank, &c->comm));
    }
    if (c->comm != MPI_COMM_NULL) learn(c);
}

int main(int argc, char **argv) {
    begin(&argc, &argv);
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    unsigned calls = argc > 2 ? (unsigned)atoi(argv[2]) : 1000;
    shared_state = seed, own_state = seed * 1000003u + (unsigned)rank;
    MUST(MPI_Op_create(compose, 0, &ours[0]));
    MUST(MPI_Op_create(add, 1, &ours[1]));
    MUST(MPI_Type_contiguous(2, MPI_UINT32_T, &pair));
    MUST(MPI_Type_vector(2, 1, GAP, MPI_UINT32_T, &gapped));
    MUST(MPI_Type_commit(&pair));
    MUST(MPI_Type_commit(&gapped));
    for (int i = 0; i < COMMS; i++) comms[i].comm = MPI_COMM_NULL;
    comms[0].comm = MPI_COMM_WORLD;
    learn(&comms[0]);
    for (unsigned call = 0; call < calls; call++) {
        snprintf(standing, sizeof standing, " in call %u of seed %u", call, seed);
        if (call % 100 == 0)
            for (int i = 1; i < COMMS; i++) renew(&comms[i], (int)pick(4));
        Comm *c = &comms[pick(COMMS)];
        int kind = (int)pick(12), root_of = (int)pick(1 << 20), repeat = pick(8) == 0 ? 20 : 1;
        size_t n = some_count();
        // A split has members that make other calls: their common numbers go on from here.
        uint64_t after = shared_state;
        for (int i = 0; i < repeat && c->comm != MPI_COMM_NULL; i++) {
            shared_state = after;
            size_t count = n * (size_t)c->size > 200000 ? n / (size_t)c->size : n;
            skew();
            if (kind >= 5 && kind <= 10) reduction(c, call, kind, root_of % c->size, count);
            else movement(c, call, kind, root_of % c->size, count);
        }
        shared_state = after * 2862933555777941757u + 3037000493u;
    }
    for (int i = 1; i < COMMS; i++)
        if (comms[i].comm != MPI_COMM_NULL) MUST(MPI_Comm_free(&comms[i].comm));
    // More communicators than there is room for: all in use, one after another, none left over.
    standing[0] = 0;
    enum { MANY = 300 };
    MPI_Comm many[MANY];
    for (int i = 0; i < MANY; i++) {
        int sum = 0;
        MUST(MPI_Comm_dup(MPI_COMM_WORLD, &many[i]));
        MUST(MPI_Allreduce(&i, &sum, 1, MPI_INT, MPI_SUM, many[i]));
        EQUAL(sum, i * size);
    }
    for (int i = 0; i < MANY; i++) {
        int sum = 0;
        MUST(MPI_Allreduce(&i, &sum, 1, MPI_INT, MPI_SUM, many[(i * 7) % MANY]));
        EQUAL(sum, i * size);
        MUST(MPI_Barrier(many[(i * 7) % MANY]));
    }
    for (int i = 0; i < MANY; i++) MUST(MPI_Comm_free(&many[i]));
    for (int i = 0; i < 1000; i++) {
        MPI_Comm comm;
        MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
        MUST(MPI_Barrier(comm));
        MUST(MPI_Comm_free(&comm));
    }
    MPI_Op_free(&ours[0]);
    MPI_Op_free(&ours[1]);
    MPI_Type_free(&pair);
    MPI_Type_free(&gapped);
    return end();
}
