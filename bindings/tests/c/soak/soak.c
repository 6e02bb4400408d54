// SPDX-License-Identifier: Apache-2.0 OR MIT
// A long run of random messages, all of them checked: lengths from 0 to 8 MiB, tags, wildcards,
// every mode of sending, probes, persistent requests, derived datatypes.
//     soak SEED SECONDS [FIRST-ROUND [THREADS]]
// Rank 0 says which round it is in, and at the end `ok`. A seed and a round make the same messages
// again, whatever the machine; what differs is their timing.
// With THREADS each rank runs that many schedules at once under MPI_THREAD_MULTIPLE.
#include "channels.h"
#include <pthread.h>
#include <time.h>

static double begun, seconds;
static int first_round;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

// KiB of this process that are in memory.
static long resident(void) {
    long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &all, &pages) != 2) pages = 0;
    if (file != NULL) fclose(file);
    return pages * 4;
}

// As much as the buffered messages of this round need, and not a byte more.
static void attach(struct world *world, const struct round *round, void *space[2]) {
    for (int comm = 0; comm < 2; comm++) {
        size_t bytes = 0;
        for (int i = 0; i < round->length; i++) {
            const struct message *m = &round->list[i];
            int buffered = m->mode == BSEND || m->mode == IBSEND || m->mode == BSEND_INIT;
            if (!buffered || m->from != rank || m->comm != comm) continue;
            bytes += (size_t)m->count * m->base + MPI_BSEND_OVERHEAD;
        }
        space[comm] = bytes > 0 ? malloc(bytes) : NULL;
        if (bytes > 0) MUST(MPI_Comm_attach_buffer(world->comms[comm], space[comm], bytes));
    }
}

static void detach(struct world *world, void *space[2]) {
    for (int comm = 0; comm < 2; comm++) {
        void *back = NULL;
        int bytes = 0;
        if (space[comm] == NULL) continue;
        MUST(MPI_Comm_detach_buffer(world->comms[comm], &back, &bytes));
        CHECK(back == space[comm], "another buffer came back");
        free(space[comm]);
    }
}

// Waits for everything that was started, by the call that the round says.
static void wait_for(struct pendings *p, MPI_Status *statuses, int how) {
    MPI_Request *requests = malloc((p->length + 1) * sizeof *requests);
    MPI_Status *some = malloc((p->length + 1) * sizeof *some);
    int *indices = malloc((p->length + 1) * sizeof *indices), index = 0, count = 0;
    for (int i = 0; i < p->length; i++) requests[i] = p->list[i].request;
    switch (how) {
    case 0:
        for (int left = p->length; left > 0; left--) {
            MUST(MPI_Waitany(p->length, requests, &index, &some[0]));
            CHECK(index >= 0 && index < p->length, "index %d", index);
            statuses[index] = some[0];
        }
        break;
    case 1:
    case 2:
        for (int left = p->length; left > 0; left -= count) {
            if (how == 1) MUST(MPI_Waitsome(p->length, requests, &count, indices, some));
            else MUST(MPI_Testsome(p->length, requests, &count, indices, some));
            CHECK(count >= 0, "count %d", count);
            for (int i = 0; i < count; i++) statuses[indices[i]] = some[i];
        }
        break;
    default: MUST(MPI_Waitall(p->length, requests, statuses));
    }
    for (int i = 0; i < p->length; i++)
        if (p->list[i].persistent) MUST(MPI_Request_free(&requests[i]));
    free(requests);
    free(some);
    free(indices);
}

// Says whether rank 0 wants to stop; nobody goes on before all have posted their receives.
static int meet(struct world *world, const struct round *round) {
    int mine[2] = {rank == 0 && now() - begun > seconds, round->number}, all[2] = {0, 0};
    if (round->seed % 3 == 0) {
        MPI_Request request;
        int done = 0;
        MUST(MPI_Iallreduce(mine, all, 2, MPI_INT, MPI_MAX, world->comms[2], &request));
        while (!done) MUST(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    } else {
        MUST(MPI_Allreduce(mine, all, 2, MPI_INT, MPI_MAX, world->comms[2]));
    }
    EQUAL(all[1], round->number);
    return all[0];
}

static int one_round(struct world *world, struct channels *channels, int number) {
    struct round round = make_round(world->seed, number);
    struct pendings posted = {0};
    void *space[2];
    stand_at(world, &round, -1);
    start_receives(world, channels, number);
    for (int i = 0; i < round.length; i++) {
        struct message *m = &round.list[i];
        if (m->mode != EXCHANGE && m->manner == EARLY && m->to == rank)
            post(world, &round, m, &posted);
    }
    attach(world, &round, space);
    int stop = meet(world, &round);
    start_sends(world, channels, number);
    for (int i = 0; i < round.length; i++) {
        struct message *m = &round.list[i];
        stand_at(world, &round, m->index);
        if (m->mode == EXCHANGE) {
            if (m->from == rank || m->to == rank) exchange(world, &round, m);
            continue;
        }
        if (m->from == rank) start_send(world, m, &posted);
        if (m->to == rank && m->manner == INLINE) receive_now(world, &round, m);
    }
    for (int i = 0; i < round.length; i++) {
        struct message *m = &round.list[i];
        stand_at(world, &round, m->index);
        if (m->mode != EXCHANGE && m->manner == LATE && m->to == rank)
            receive_now(world, &round, m);
    }
    stand_at(world, &round, -1);
    MPI_Status *statuses = malloc((posted.length + 1) * sizeof *statuses);
    wait_for(&posted, statuses, round.seed / 3 % 4);
    for (int i = 0; i < posted.length; i++) {
        struct pending *p = &posted.list[i];
        if (p->receives != NULL)
            arrived(world, &round, p->receives, &statuses[i], &p->layout, p->memory);
        use_up(&p->layout, p->memory);
    }
    finish(world, channels, number);
    detach(world, space);
    for (int i = 0; i < round.length; i++) {
        const struct message *m = &round.list[i];
        CHECK(m->mode == EXCHANGE || m->to != rank || m->taken, "message %d did not come", i);
    }
    free(statuses);
    free(posted.list);
    free(round.list);
    return stop;
}

static void *run(void *argument) {
    struct world *world = argument;
    struct channels channels = {0};
    double said = 0;
    int number = first_round;
    for (int stop = 0; !stop; number++) {
        if (rank == 0 && world->thread == 0 && now() - said > 1) {
            printf("round %d\n", number);
            fflush(stdout);
            said = now();
        }
        if (number == first_round || number % EPOCH == 0) renew(world, &channels, number);
        stop = one_round(world, &channels, number);
    }
    close_channels(&channels);
    return NULL;
}

static void open_worlds(struct world *worlds, int threads, uint64_t seed) {
    for (int i = 0; i < threads; i++) {
        worlds[i] = (struct world){.seed = seed + i, .thread = i};
        MUST(MPI_Comm_dup(MPI_COMM_WORLD, &worlds[i].comms[0]));
        MUST(MPI_Comm_split(MPI_COMM_WORLD, 0, -rank, &worlds[i].comms[1]));
        MUST(MPI_Comm_dup(MPI_COMM_WORLD, &worlds[i].comms[2]));
    }
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    seconds = argc > 2 ? atof(argv[2]) : 1;
    first_round = argc > 3 ? atoi(argv[3]) : 0;
    int threads = argc > 4 ? atoi(argv[4]) : 1, provided = 0;
    MPI_Init_thread(&argc, &argv, threads > 1 ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    CHECK(threads == 1 || provided == MPI_THREAD_MULTIPLE, "provided is %d", provided);
    begun = now();
    struct world *worlds = malloc(threads * sizeof *worlds);
    pthread_t *others = malloc(threads * sizeof *others);
    open_worlds(worlds, threads, seed);
    for (int i = 1; i < threads; i++) pthread_create(&others[i], NULL, run, &worlds[i]);
    run(&worlds[0]);
    unsigned long long mine[2] = {0, 0}, all[2] = {0, 0};
    for (int i = 0; i < threads; i++) {
        if (i > 0) pthread_join(others[i], NULL);
        mine[0] += worlds[i].messages, mine[1] += worlds[i].bytes;
        for (int j = 0; j < 3; j++) MUST(MPI_Comm_free(&worlds[i].comms[j]));
    }
    free(worlds);
    free(others);
    long memory = resident(), most = 0;
    MUST(MPI_Reduce(mine, all, 2, MPI_UNSIGNED_LONG_LONG, MPI_SUM, 0, MPI_COMM_WORLD));
    MUST(MPI_Reduce(&memory, &most, 1, MPI_LONG, MPI_MAX, 0, MPI_COMM_WORLD));
    if (rank == 0)
        printf("%llu messages, %.1f MiB, %ld MiB in memory at most at the end\n", all[0],
               all[1] / 1048576.0, most / 1024);
    return end();
}
