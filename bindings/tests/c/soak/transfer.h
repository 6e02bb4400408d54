// SPDX-License-Identifier: Apache-2.0 OR MIT
// Sends and receives one message of the schedule in the way that it says, and checks what came.
#ifndef TRANSFER_H
#define TRANSFER_H

#include "schedule.h"

#define SEND_GAP 0x5a
#define RECEIVE_GAP 0xa5
#define USED_UP 0xee

// One run of the schedule: a thread, and communicators that nobody else uses.
struct world {
    uint64_t seed;
    int thread;
    MPI_Comm comms[3]; // one like the world, one with the ranks reversed, one for exchanges
    unsigned long long messages, bytes;
};

// A request that has not ended, and what it needs until then.
struct pending {
    MPI_Request request;
    struct layout layout;
    unsigned char *memory;
    const struct message *receives; // any message of the class, or NULL for a send
    int room;
    int persistent;
};

struct pendings {
    struct pending *list;
    int length;
};

static int rank_in(int comm, int world_rank) {
    return comm == 1 ? size - 1 - world_rank : world_rank;
}

static struct pending *append(struct pendings *pendings) {
    if (pendings->length % 64 == 0) {
        size_t bytes = (pendings->length + 64) * sizeof *pendings->list;
        pendings->list = realloc(pendings->list, bytes);
    }
    struct pending *last = &pendings->list[pendings->length++];
    memset(last, 0, sizeof *last);
    last->request = MPI_REQUEST_NULL;
    return last;
}

static void stand_at(const struct world *world, const struct round *round, int message) {
    snprintf(standing, sizeof standing, " in round %d, thread %d, message %d", round->number,
             world->thread, message);
}

// The memory may change as soon as a send is complete: whoever still reads it sends rubbish.
static void use_up(struct layout *layout, unsigned char *memory) {
    memset(memory, USED_UP, layout->extent);
    free(memory);
    discard(layout);
}

static void start_send(struct world *world, const struct message *m, struct pendings *pendings) {
    struct layout layout = make_layout(m->count, m->base, m->seed);
    unsigned char *memory = image(&layout, (size_t)m->count * m->base, m->seed, SEND_GAP);
    MPI_Comm comm = world->comms[m->comm];
    int to = rank_in(m->comm, m->to), persistent = 0;
    MPI_Request r = MPI_REQUEST_NULL;
#define ARGUMENTS memory, layout.count, layout.type, to, m->tag, comm
    switch (m->mode) {
    case SEND: MUST(MPI_Send(ARGUMENTS)); break;
    case SSEND: MUST(MPI_Ssend(ARGUMENTS)); break;
    case BSEND: MUST(MPI_Bsend(ARGUMENTS)); break;
    case RSEND: MUST(MPI_Rsend(ARGUMENTS)); break;
    case ISEND: MUST(MPI_Isend(ARGUMENTS, &r)); break;
    case ISSEND: MUST(MPI_Issend(ARGUMENTS, &r)); break;
    case IBSEND: MUST(MPI_Ibsend(ARGUMENTS, &r)); break;
    case IRSEND: MUST(MPI_Irsend(ARGUMENTS, &r)); break;
    case SEND_INIT: persistent = 1; MUST(MPI_Send_init(ARGUMENTS, &r)); break;
    case SSEND_INIT: persistent = 1; MUST(MPI_Ssend_init(ARGUMENTS, &r)); break;
    case BSEND_INIT: persistent = 1; MUST(MPI_Bsend_init(ARGUMENTS, &r)); break;
    case RSEND_INIT: persistent = 1; MUST(MPI_Rsend_init(ARGUMENTS, &r)); break;
    default: CHECK(0, "mode %d", m->mode);
    }
#undef ARGUMENTS
    if (persistent) MUST(MPI_Start(&r));
    if (r == MPI_REQUEST_NULL) {
        use_up(&layout, memory);
        return;
    }
    struct pending *p = append(pendings);
    p->request = r, p->layout = layout, p->memory = memory, p->persistent = persistent;
}

// The message that this status must belong to.
static struct message *next_of(struct round *round, int comm, const MPI_Status *status) {
    for (int i = 0; i < round->length; i++) {
        struct message *m = &round->list[i];
        if (m->mode == EXCHANGE || m->taken || m->to != rank || m->comm != comm) continue;
        if (m->tag == status->MPI_TAG && rank_in(comm, m->from) == status->MPI_SOURCE) return m;
    }
    CHECK(0, "nothing is missing from rank %d with tag %d", status->MPI_SOURCE, status->MPI_TAG);
    return NULL;
}

// Compares all of the buffer, gaps included, with what it must be.
static void compare(const struct layout *layout, const unsigned char *memory, size_t bytes,
                    uint64_t seed) {
    unsigned char *wanted = image(layout, bytes, seed, RECEIVE_GAP);
    if (memcmp(memory, wanted, layout->extent) != 0) {
        size_t at = 0;
        while (memory[at] == wanted[at]) at++;
        CHECK(0, "byte %zu of %zu in memory is %02x, expected %02x", at, layout->extent,
              memory[at], wanted[at]);
    }
    free(wanted);
}

// What was received into `memory` is the next message of its source and tag, whole and right.
static void arrived(struct world *world, struct round *round, const struct message *any,
                    const MPI_Status *status, const struct layout *layout,
                    const unsigned char *memory) {
    struct message *m = next_of(round, any->comm, status);
    stand_at(world, round, m->index);
    CHECK(m->class == any->class, "a receive got a message of another pattern");
    int elements = -1;
    MUST(MPI_Get_elements(status, element_type(m->base), &elements));
    EQUAL(elements, m->count);
    compare(layout, memory, (size_t)m->count * m->base, m->seed);
    m->taken = 1;
    world->messages++;
    world->bytes += (size_t)m->count * m->base;
}

static int source_of(const struct message *m) {
    int named = m->style == NAMED || m->style == ANY_TAG;
    return named ? rank_in(m->comm, m->from) : MPI_ANY_SOURCE;
}

static int tag_of(const struct message *m) {
    return m->style == NAMED || m->style == ANY_SOURCE ? m->tag : MPI_ANY_TAG;
}

// Posts a receive before the walk, persistent for one in four.
static void post(struct world *world, struct round *round, const struct message *m,
                 struct pendings *pendings) {
    struct pending *p = append(pendings);
    p->room = room_of(round, m);
    p->layout = make_layout(p->room, m->base, m->seed + 1);
    p->memory = image(&p->layout, 0, 0, RECEIVE_GAP);
    p->receives = m;
    p->persistent = m->seed % 4 == 0;
    MPI_Comm comm = world->comms[m->comm];
    if (!p->persistent) {
        MUST(MPI_Irecv(p->memory, p->layout.count, p->layout.type, source_of(m), tag_of(m), comm,
                       &p->request));
        return;
    }
    MUST(MPI_Recv_init(p->memory, p->layout.count, p->layout.type, source_of(m), tag_of(m), comm,
                       &p->request));
    MUST(MPI_Start(&p->request));
}

// Finds the message by a probe; answers its handle where the probe takes it out of the queue.
static MPI_Message look(const struct message *m, MPI_Comm comm, int how, MPI_Status *status) {
    MPI_Message handle = MPI_MESSAGE_NULL;
    int there = 0;
    switch (how) {
    case 0: MUST(MPI_Probe(source_of(m), tag_of(m), comm, status)); break;
    case 1:
        while (!there) MUST(MPI_Iprobe(source_of(m), tag_of(m), comm, &there, status));
        break;
    case 2: MUST(MPI_Mprobe(source_of(m), tag_of(m), comm, &handle, status)); break;
    default:
        while (!there) MUST(MPI_Improbe(source_of(m), tag_of(m), comm, &there, &handle, status));
    }
    return handle;
}

// Receives one message of the class of `m` and waits for it.
static void receive_now(struct world *world, struct round *round, const struct message *m) {
    uint64_t random = m->seed + 2, how = draw(&random) % 8;
    MPI_Comm comm = world->comms[m->comm];
    MPI_Status status;
    MPI_Message handle = MPI_MESSAGE_NULL;
    MPI_Request request;
    int source = source_of(m), tag = tag_of(m), count = room_of(round, m), there = 0;
    if (how < 4) {
        handle = look(m, comm, how, &status);
        source = status.MPI_SOURCE, tag = status.MPI_TAG;
        MUST(MPI_Get_count(&status, element_type(m->base), &count));
    }
    struct layout layout = make_layout(count, m->base, m->seed + 1);
    unsigned char *memory = image(&layout, 0, 0, RECEIVE_GAP);
    if (how == 2) {
        MUST(MPI_Mrecv(memory, layout.count, layout.type, &handle, &status));
    } else if (how == 3) {
        MUST(MPI_Imrecv(memory, layout.count, layout.type, &handle, &request));
        MUST(MPI_Wait(&request, &status));
    } else if (how == 4) {
        MUST(MPI_Irecv(memory, layout.count, layout.type, source, tag, comm, &request));
        while (!there) MUST(MPI_Test(&request, &there, &status));
    } else {
        MUST(MPI_Recv(memory, layout.count, layout.type, source, tag, comm, &status));
    }
    CHECK(handle == MPI_MESSAGE_NULL, "a received message has its handle still");
    arrived(world, round, m, &status, &layout, memory);
    free(memory);
    discard(&layout);
}

// Both ranks send and receive in one call; one in four in place.
static void exchange(struct world *world, struct round *round, const struct message *m) {
    int first = rank == m->from, other = first ? m->to : m->from;
    MPI_Comm comm = world->comms[m->comm];
    MPI_Status status;
    int gives = first ? m->count : m->back, takes = first ? m->back : m->count;
    if (m->from == m->to) takes = gives;
    uint64_t mine = m->seed + (first ? 0 : 1u << 24), theirs = m->seed + (first ? 1u << 24 : 0);
    if (m->from == m->to) theirs = mine;
    struct layout in = make_layout(takes, 1, theirs), out = make_layout(gives, 1, mine);
    if (m->seed % 4 == 0 && m->count == m->back) {
        unsigned char *memory = image(&in, takes, mine, RECEIVE_GAP);
        MUST(MPI_Sendrecv_replace(memory, in.count, in.type, other, 1, other, 1, comm, &status));
        compare(&in, memory, takes, theirs);
        free(memory);
    } else {
        unsigned char *memory = image(&in, 0, 0, RECEIVE_GAP);
        unsigned char *sent = image(&out, gives, mine, SEND_GAP);
        MUST(MPI_Sendrecv(sent, out.count, out.type, other, 1, memory, in.count, in.type, other, 1,
                          comm, &status));
        compare(&in, memory, takes, theirs);
        free(memory);
        free(sent);
    }
    discard(&in);
    discard(&out);
    EQUAL(status.MPI_SOURCE, other);
    world->messages++;
    world->bytes += takes;
    (void)round;
}

#endif
