// SPDX-License-Identifier: Apache-2.0 OR MIT
// Layouts of user memory: a derived datatype, and the same thing as a list of runs that does not
// come from MPI. What a buffer must hold is computed from the runs and compared with memcmp, gaps
// included, so neither a byte too few nor a byte too many goes unseen.
#ifndef LAYOUT_H
#define LAYOUT_H

#include "../check.h"

struct run {
    size_t at, bytes;
};

struct layout {
    MPI_Datatype type;
    int count;
    int named;        // the type is MPI's own and must not be freed
    size_t extent;    // bytes of the buffer
    struct run *runs; // in the order of the type map
    int length;
};

// Draws from a seed: the same seed gives the same numbers everywhere.
static inline uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t draw(uint64_t *state) {
    return mixed(*state += 0x632be59bd9b4e019u);
}

static inline void add_run(struct layout *layout, size_t at, size_t bytes) {
    if (layout->length % 256 == 0)
        layout->runs = realloc(layout->runs, (layout->length + 256) * sizeof *layout->runs);
    layout->runs[layout->length++] = (struct run){at, bytes};
    if (at + bytes > layout->extent) layout->extent = at + bytes;
}

static MPI_Datatype element_type(int base) {
    return base == 1 ? MPI_BYTE : base == 4 ? MPI_INT32_T : MPI_DOUBLE;
}

// Equal blocks at a fixed distance, and a shorter one at the end if the count asks for it.
static void vector(struct layout *layout, int count, int base, uint64_t *random) {
    int block = 1 + draw(random) % 64;
    if (block < count / 2048 + 1) block = count / 2048 + 1;
    int blocks = count / block, rest = count % block, stride = block + 1 + draw(random) % 16;
    MPI_Datatype type = element_type(base), whole;
    for (int i = 0; i < blocks; i++)
        add_run(layout, (size_t)i * stride * base, (size_t)block * base);
    if (rest > 0) add_run(layout, (size_t)blocks * stride * base, (size_t)rest * base);
    if (rest == 0 && draw(random) % 2) {
        // The same runs as many items of a type with a gap at its end.
        MPI_Datatype item;
        MUST(MPI_Type_contiguous(block, type, &item));
        MUST(MPI_Type_create_resized(item, 0, (MPI_Aint)stride * base, &layout->type));
        MUST(MPI_Type_free(&item));
        layout->count = blocks;
        return;
    }
    MUST(MPI_Type_vector(blocks, block, stride, type, &whole));
    int lengths[2] = {1, rest};
    MPI_Aint places[2] = {0, (MPI_Aint)blocks * stride * base};
    MPI_Datatype types[2] = {whole, type};
    MUST(MPI_Type_create_struct(2, lengths, places, types, &layout->type));
    MUST(MPI_Type_free(&whole));
}

// Blocks of any length at any distance; half of the time the later ones lie in front.
static void indexed(struct layout *layout, int count, int base, uint64_t *random) {
    int most = 1 + draw(random) % 200, blocks = 0, left = count, at = 0;
    int *lengths = malloc(most * sizeof *lengths), *places = malloc(most * sizeof *places);
    MPI_Aint *bytes = malloc(most * sizeof *bytes);
    while (blocks < most && left > 0) {
        int usual = 2 * (count / most) + 1, length = draw(random) % (usual + 1);
        if (length > left || blocks == most - 1) length = left;
        lengths[blocks] = length;
        at += draw(random) % 32;
        places[blocks++] = at;
        at += length;
        left -= length;
    }
    if (draw(random) % 2)
        for (int i = 0; i < blocks / 2; i++) {
            int other = blocks - 1 - i, length = lengths[i], place = places[i];
            lengths[i] = lengths[other], places[i] = places[other];
            lengths[other] = length, places[other] = place;
        }
    for (int i = 0; i < blocks; i++) {
        bytes[i] = (MPI_Aint)places[i] * base;
        add_run(layout, bytes[i], (size_t)lengths[i] * base);
    }
    MPI_Datatype type = element_type(base);
    if (draw(random) % 2)
        MUST(MPI_Type_indexed(blocks, lengths, places, type, &layout->type));
    else
        MUST(MPI_Type_create_hindexed(blocks, lengths, bytes, type, &layout->type));
    free(lengths);
    free(places);
    free(bytes);
}

static void discard(struct layout *layout) {
    if (!layout->named) MUST(MPI_Type_free(&layout->type));
    free(layout->runs);
}

// A plain part, a vector and an indexed part, one behind another, in this order or turned.
static void structure(struct layout *layout, int count, int base, uint64_t *random) {
    int lengths[3] = {count / 5, 1, 1};
    MPI_Aint places[3];
    MPI_Datatype types[3] = {element_type(base)};
    struct layout parts[3] = {{.count = 1}, {.count = 1}, {.count = 1}};
    int half = (count - lengths[0]) / 2;
    add_run(&parts[0], 0, (size_t)lengths[0] * base);
    vector(&parts[1], half, base, random);
    indexed(&parts[2], count - lengths[0] - half, base, random);
    size_t place = draw(random) % 40, turned = draw(random) % 2;
    for (int i = 0; i < 3; i++) {
        int part = turned ? 2 - i : i;
        places[part] = place;
        place += parts[part].extent + draw(random) % 40;
    }
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < parts[i].length; j++)
            add_run(layout, places[i] + parts[i].runs[j].at, parts[i].runs[j].bytes);
        if (i > 0) types[i] = parts[i].type;
        if (i > 0) lengths[i] = parts[i].count;
    }
    MUST(MPI_Type_create_struct(3, lengths, places, types, &layout->type));
    free(parts[0].runs);
    discard(&parts[1]);
    discard(&parts[2]);
}

// A layout of `count` elements of `base` bytes, chosen by the seed.
static struct layout make_layout(int count, int base, uint64_t seed) {
    struct layout layout = {.count = 1};
    uint64_t random = seed;
    switch (draw(&random) % 6) {
    case 0:
        MUST(MPI_Type_contiguous(count, element_type(base), &layout.type));
        add_run(&layout, 0, (size_t)count * base);
        break;
    case 1: vector(&layout, count, base, &random); break;
    case 2: indexed(&layout, count, base, &random); break;
    case 3: structure(&layout, count, base, &random); break;
    default:
        layout.type = element_type(base);
        layout.count = count;
        layout.named = 1;
        add_run(&layout, 0, (size_t)count * base);
    }
    if (!layout.named) MUST(MPI_Type_commit(&layout.type));
    return layout;
}

// The memory of a layout whose first `bytes` bytes are the message of this seed. Everything else
// is `gap`.
static unsigned char *image(const struct layout *layout, size_t bytes, uint64_t seed, int gap) {
    unsigned char *memory = malloc(layout->extent + 1);
    uint64_t *stream = malloc(bytes + sizeof *stream);
    memset(memory, gap, layout->extent + 1);
    for (size_t i = 0; i * sizeof *stream < bytes; i++) stream[i] = mixed(seed + i);
    size_t done = 0;
    for (int i = 0; i < layout->length && done < bytes; i++) {
        size_t now = layout->runs[i].bytes < bytes - done ? layout->runs[i].bytes : bytes - done;
        memcpy(memory + layout->runs[i].at, (char *)stream + done, now);
        done += now;
    }
    free(stream);
    return memory;
}

#endif
