// SPDX-License-Identifier: Apache-2.0 OR MIT
// The messages of a round. Every rank computes the same list from the seed and the round's number,
// so a receiver knows what must come without being told.
//
// Why no round can block for ever:
// 1. All ranks walk the list in its order. Where a send blocks and its receive blocks, both do so
//    at the same place of the list, so the first unfinished place always has both its ranks.
// 2. A receive with a wildcard may get the message of another place. So the receives of a class
//    (what one pattern can match) are either all posted before the walk, where any mode of sending
//    is right, or all made after it, where the senders of the class do not block.
// 3. As many receives as messages in each class; nothing of a round is left for the next.
//
// Which message a wildcard got follows from the status: of one source and tag, the next that is
// missing, for messages do not overtake.
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "layout.h"

#define TAGS 3
#define BUFFERED_MOST (1 << 20)

enum mode {
    SEND, SSEND, BSEND, ISEND, ISSEND, IBSEND, SEND_INIT, SSEND_INIT, BSEND_INIT, // always legal
    RSEND, IRSEND, RSEND_INIT, // legal where the receive is known to be posted
    EXCHANGE // Sendrecv on both sides
};

enum style { NAMED, ANY_SOURCE, ANY_TAG, ANY_BOTH };
enum manner { EARLY, INLINE, LATE };

struct message {
    int index, from, to, comm, tag; // ranks of the world
    int base, count;                // elements and their size
    int back;                       // EXCHANGE: elements of the way back
    enum mode mode;
    enum style style;
    enum manner manner;
    uint64_t class; // equal for messages that one pattern can match
    uint64_t seed;
    int taken; // it has come
};

struct round {
    int number, length;
    uint64_t seed;
    struct message *list;
};

// Log-uniform lengths, many of them at a border of some protocol, some of them nothing.
static size_t length_drawn(uint64_t *random, int bits) {
    static const size_t borders[] = {32, 96, 1024, 4096, 8192, 16384, 65536, 262144};
    uint64_t kind = draw(random) % 16;
    size_t bytes = draw(random) & (((size_t)1 << (draw(random) % bits + 1)) - 1);
    if (kind == 0) return 0;
    if (kind < 4) bytes = borders[draw(random) % 8] + draw(random) % 3 - 1;
    size_t most = (size_t)1 << bits;
    return bytes > most ? most : bytes;
}

static void choose_class(struct message *m, uint64_t seed) {
    uint64_t place = mixed(seed + m->to * 64 + m->comm), kind = place % 8;
    m->style = kind < 4 ? NAMED : kind < 6 ? ANY_SOURCE : kind < 7 ? ANY_TAG : ANY_BOTH;
    uint64_t from = m->style == NAMED || m->style == ANY_TAG ? m->from + 1 : 0;
    uint64_t tag = m->style == NAMED || m->style == ANY_SOURCE ? m->tag + 1 : 0;
    m->class = mixed(place + from * 1000003 + tag * 7919);
    uint64_t how = (m->class >> 20) % 8;
    m->manner = how < 3 ? EARLY : how < 5 ? LATE : m->style == NAMED ? INLINE : EARLY;
    m->base = (m->class >> 40) % 4 == 0 ? 4 : (m->class >> 40) % 4 == 1 ? 8 : 1;
}

static enum mode choose_mode(const struct message *m, size_t bytes, uint64_t *random) {
    static const enum mode quiet[] = {BSEND,     ISEND,      ISSEND,    IBSEND,
                                      SEND_INIT, SSEND_INIT, BSEND_INIT};
    enum mode mode;
    // A blocking send to oneself needs a receive that is there already.
    if (m->manner == LATE || (m->manner == INLINE && m->from == m->to))
        mode = quiet[draw(random) % 7];
    else
        mode = draw(random) % (m->manner == EARLY ? 12 : 9);
    if (bytes > BUFFERED_MOST && (mode == BSEND || mode == IBSEND || mode == BSEND_INIT))
        mode = ISEND;
    return mode;
}

static struct message make_message(int index, uint64_t seed, int bits) {
    struct message m = {.index = index};
    uint64_t random = mixed(seed + 0x1000 + index);
    m.seed = draw(&random);
    m.from = draw(&random) % size;
    m.to = draw(&random) % size;
    m.tag = draw(&random) % TAGS;
    m.comm = draw(&random) % 2;
    size_t bytes = length_drawn(&random, bits);
    if (draw(&random) % 12 == 0) {
        // A communicator of its own, for it must not meet anybody's wildcard.
        m.mode = EXCHANGE;
        m.comm = 2;
        m.base = 1;
        m.count = bytes;
        m.back = length_drawn(&random, bits);
        return m;
    }
    choose_class(&m, seed);
    m.mode = choose_mode(&m, bytes, &random);
    m.count = bytes / m.base;
    return m;
}

static struct round make_round(uint64_t seed, int number) {
    struct round round = {.number = number, .seed = mixed(mixed(seed) + number)};
    // Half of the rounds are many small messages, one in four has a few of up to 8 MiB.
    uint64_t kind = round.seed % 8;
    int bits = kind < 4 ? 14 : kind < 6 ? 18 : 23;
    round.length = size * (kind < 4 ? 20 : kind < 6 ? 8 : 3);
    round.list = malloc(round.length * sizeof *round.list);
    for (int i = 0; i < round.length; i++) round.list[i] = make_message(i, round.seed, bits);
    return round;
}

// Elements of the longest message of a class: what a receive must have room for.
static int room_of(const struct round *round, const struct message *m) {
    int room = 0;
    for (int i = 0; i < round->length; i++) {
        const struct message *other = &round->list[i];
        if (other->mode == EXCHANGE || other->class != m->class || other->to != m->to) continue;
        if (other->count > room) room = other->count;
    }
    return room;
}

#endif
