// SPDX-License-Identifier: Apache-2.0 OR MIT
// Persistent requests that live for many rounds: as many channels as ranks, each from one rank to
// another, started again in every round with other bytes.
#ifndef CHANNELS_H
#define CHANNELS_H

#include "transfer.h"

#define EPOCH 16
#define CHANNEL_TAG 100

struct channel {
    int from, to, bytes;
    struct layout in, out;
    unsigned char *got, *sent;
    MPI_Request receive, send;
};

struct channels {
    struct channel *list;
    int length;
};

static void close_channels(struct channels *channels) {
    for (int i = 0; i < channels->length; i++) {
        struct channel *c = &channels->list[i];
        if (c->receive != MPI_REQUEST_NULL) MUST(MPI_Request_free(&c->receive));
        if (c->send != MPI_REQUEST_NULL) MUST(MPI_Request_free(&c->send));
        discard(&c->in);
        discard(&c->out);
        free(c->got);
        free(c->sent);
    }
    free(channels->list);
    *channels = (struct channels){0};
}

// Other channels for the epoch that begins with this round.
static void renew(struct world *world, struct channels *channels, int number) {
    close_channels(channels);
    uint64_t random = mixed(world->seed + 77) + number / EPOCH;
    channels->length = size;
    channels->list = calloc(size, sizeof *channels->list);
    for (int i = 0; i < size; i++) {
        struct channel *c = &channels->list[i];
        c->from = draw(&random) % size;
        c->to = draw(&random) % size;
        c->bytes = length_drawn(&random, 18);
        c->in = make_layout(c->bytes, 1, draw(&random));
        c->out = make_layout(c->bytes, 1, draw(&random));
        c->got = malloc(c->in.extent + 1);
        c->sent = malloc(c->out.extent + 1);
        c->receive = c->send = MPI_REQUEST_NULL;
        if (c->to == rank)
            MUST(MPI_Recv_init(c->got, c->in.count, c->in.type, c->from, CHANNEL_TAG + i,
                               world->comms[2], &c->receive));
        if (c->from == rank)
            MUST(MPI_Send_init(c->sent, c->out.count, c->out.type, c->to, CHANNEL_TAG + i,
                               world->comms[2], &c->send));
    }
}

static uint64_t channel_seed(const struct world *world, int number, int channel) {
    return mixed(mixed(world->seed + 99) + (uint64_t)number * 1024 + channel);
}

static void start_receives(struct world *world, struct channels *channels, int number) {
    for (int i = 0; i < channels->length; i++) {
        struct channel *c = &channels->list[i];
        if (c->to != rank) continue;
        memset(c->got, RECEIVE_GAP, c->in.extent + 1);
        MUST(MPI_Start(&c->receive));
    }
    (void)world;
    (void)number;
}

static void start_sends(struct world *world, struct channels *channels, int number) {
    MPI_Request *requests = malloc((channels->length + 1) * sizeof *requests);
    int count = 0;
    for (int i = 0; i < channels->length; i++) {
        struct channel *c = &channels->list[i];
        if (c->from != rank) continue;
        unsigned char *fresh = image(&c->out, c->bytes, channel_seed(world, number, i), SEND_GAP);
        memcpy(c->sent, fresh, c->out.extent);
        free(fresh);
        requests[count++] = c->send;
    }
    MUST(MPI_Startall(count, requests));
    free(requests);
}

static void finish(struct world *world, struct channels *channels, int number) {
    for (int i = 0; i < channels->length; i++) {
        struct channel *c = &channels->list[i];
        MPI_Status status;
        if (c->from == rank) {
            MUST(MPI_Wait(&c->send, MPI_STATUS_IGNORE));
            memset(c->sent, USED_UP, c->out.extent);
        }
        if (c->to != rank) continue;
        MUST(MPI_Wait(&c->receive, &status));
        EQUAL(status.MPI_SOURCE, c->from);
        EQUAL(status.MPI_TAG, CHANNEL_TAG + i);
        compare(&c->in, c->got, c->bytes, channel_seed(world, number, i));
        world->messages++;
        world->bytes += c->bytes;
    }
}

#endif
