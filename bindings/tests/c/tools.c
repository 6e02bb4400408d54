// SPDX-License-Identifier: Apache-2.0 OR MIT
// The tool interface: what there is can be found by index and by name, texts are cut as the
// standard says, variables can be read before, between and after MPI_Init and MPI_Finalize,
// counters count what a session saw, and events tell what happened.
// Ours only: which variables and events there are is each library's own.
#include "check.h"

static void texts(void) {
    char name[64], little[4];
    int length = 0, index = -1, verbosity, bind, scope, count, number = 0;
    MPI_Datatype datatype;
    MPI_T_enum set;
    MUST(MPI_T_cvar_get_num(&number));
    CHECK(number > 0, "no control variables");
    for (int i = 0; i < number; i++) {
        length = 0;
        MUST(MPI_T_cvar_get_info(i, NULL, &length, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
        CHECK(length > 7 && length <= 64, "variable %d has a name of %d", i, length);
        int needed = length;
        length = sizeof name;
        MUST(MPI_T_cvar_get_info(i, name, &length, &verbosity, &datatype, &set, NULL, NULL, &bind,
                                 &scope));
        EQUAL(length, needed);
        EQUAL(strlen(name) + 1, needed);
        EQUAL(bind, MPI_T_BIND_NO_OBJECT);
        MUST(MPI_T_cvar_get_index(name, &index));
        EQUAL(index, i);
        length = sizeof little;
        MUST(MPI_T_cvar_get_info(i, little, &length, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
        EQUAL(length, 4);
        CHECK(strncmp(little, name, 3) == 0 && little[3] == 0, "%s", little);
    }
    EQUAL(MPI_T_cvar_get_info(number, name, &length, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
          MPI_T_ERR_INVALID_INDEX);
    EQUAL(MPI_T_cvar_get_index("nothing", &index), MPI_T_ERR_INVALID_NAME);

    MPI_T_cvar_handle handle;
    unsigned long long spin = 0;
    MUST(MPI_T_cvar_get_index("STRAIT_SPIN_US", &index));
    MUST(MPI_T_cvar_handle_alloc(index, NULL, &handle, &count));
    EQUAL(count, 1);
    MUST(MPI_T_cvar_read(handle, &spin));
    EQUAL(spin, getenv("STRAIT_SPIN_US") ? strtoull(getenv("STRAIT_SPIN_US"), NULL, 10) : 50);
    int initialized, code;
    MPI_Initialized(&initialized);
    code = MPI_T_cvar_write(handle, &spin);
    EQUAL(code, initialized ? MPI_T_ERR_CVAR_SET_NOT_NOW : MPI_SUCCESS);
    MUST(MPI_T_cvar_handle_free(&handle));
    CHECK(handle == MPI_T_CVAR_HANDLE_NULL, "the handle stays");
    EQUAL(MPI_T_cvar_handle_free(&handle), MPI_T_ERR_INVALID_HANDLE);
}

static void switches(void) {
    int index, count, value = -1, items, word;
    char name[16];
    int length = sizeof name;
    MPI_T_enum set = MPI_T_ENUM_NULL;
    MPI_T_cvar_handle handle;
    MUST(MPI_T_cvar_get_index("STRAIT_PEER_READ", &index));
    MUST(MPI_T_cvar_get_info(index, NULL, NULL, NULL, NULL, &set, NULL, NULL, NULL, NULL));
    MUST(MPI_T_enum_get_info(set, &items, NULL, NULL));
    EQUAL(items, 2);
    MUST(MPI_T_enum_get_item(set, 1, &value, name, &length));
    CHECK(value == 1 && strcmp(name, "on") == 0, "%d is %s", value, name);
    EQUAL(MPI_T_enum_get_item(set, 2, &value, name, &length), MPI_T_ERR_INVALID_ITEM);
    MUST(MPI_T_cvar_handle_alloc(index, NULL, &handle, &count));
    MUST(MPI_T_cvar_read(handle, &word));
    CHECK(word == 0 || word == 1, "it is %d", word);
    MUST(MPI_T_cvar_handle_free(&handle));
    MUST(MPI_T_cvar_get_index("STRAIT_LANES", &index));
    MUST(MPI_T_cvar_handle_alloc(index, NULL, &handle, &count));
    CHECK(count <= 256 && count > 8, "a text of %d", count);
    char *lanes = malloc(count);
    MUST(MPI_T_cvar_read(handle, lanes));
    const char *wanted = getenv("STRAIT_LANES");
    CHECK(strcmp(lanes, wanted ? wanted : "shm,ucx,ofi,tcp") == 0, "lanes are %s", lanes);
    free(lanes);
    MUST(MPI_T_cvar_handle_free(&handle));
}

static void categories(void) {
    int number, seen = 0, all, cvars, pvars, inner, events, list[64], changed = -1;
    MUST(MPI_T_category_get_num(&number));
    MUST(MPI_T_cvar_get_num(&all));
    for (int i = 0; i < number; i++) {
        MUST(MPI_T_category_get_info(i, NULL, NULL, NULL, NULL, &cvars, &pvars, &inner));
        MUST(MPI_T_category_get_num_events(i, &events));
        MUST(MPI_T_category_get_cvars(i, 64, list));
        MUST(MPI_T_category_get_pvars(i, 64, list));
        MUST(MPI_T_category_get_events(i, 64, list));
        MUST(MPI_T_category_get_categories(i, 64, list));
        CHECK(inner == 0 || list[0] < number, "no such category");
        seen += cvars;
    }
    EQUAL(seen, all); // each in one place
    MUST(MPI_T_category_changed(&changed));
    int found;
    MUST(MPI_T_category_get_index("strait_messages", &found));
    EQUAL(MPI_T_category_get_index("x", &found), MPI_T_ERR_INVALID_NAME);
}

static unsigned long long read_of(MPI_T_pvar_session session, MPI_T_pvar_handle handle) {
    unsigned long long value = ~0ull;
    MUST(MPI_T_pvar_read(session, handle, &value));
    return value;
}

static void send_one(void) {
    int got = -1;
    MUST(MPI_Sendrecv(&rank, 1, MPI_INT, (rank + 1) % size, 1, &got, 1, MPI_INT,
                      (rank + size - 1) % size, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    EQUAL(got, (rank + size - 1) % size);
}

static void counters(void) {
    int index, level, count, class, readonly, continuous, atomic;
    MPI_Datatype datatype;
    MPI_T_pvar_session session, other;
    MPI_T_pvar_handle sent, again, now;
    MUST(MPI_T_pvar_get_index("strait_eager_sent", MPI_T_PVAR_CLASS_COUNTER, &index));
    EQUAL(MPI_T_pvar_get_index("strait_eager_sent", MPI_T_PVAR_CLASS_LEVEL, &level),
          MPI_T_ERR_INVALID_NAME);
    MUST(MPI_T_pvar_get_info(index, NULL, NULL, NULL, &class, &datatype, NULL, NULL, NULL, NULL,
                             &readonly, &continuous, &atomic));
    CHECK(class == MPI_T_PVAR_CLASS_COUNTER && datatype == MPI_UNSIGNED_LONG_LONG, "another kind");
    EQUAL(readonly || continuous || atomic, 0);
    MUST(MPI_T_pvar_session_create(&session));
    MUST(MPI_T_pvar_session_create(&other));
    MUST(MPI_T_pvar_handle_alloc(session, index, NULL, &sent, &count));
    EQUAL(count, 1);
    MUST(MPI_T_pvar_handle_alloc(other, index, NULL, &again, &count));
    MUST(MPI_T_pvar_get_index("strait_requests_now", MPI_T_PVAR_CLASS_LEVEL, &level));
    MUST(MPI_T_pvar_handle_alloc(session, level, NULL, &now, &count));

    send_one(); // not started: not counted
    EQUAL(read_of(session, sent), 0);
    MUST(MPI_T_pvar_start(session, sent));
    for (int i = 0; i < 5; i++) send_one();
    CHECK(read_of(session, sent) >= (size > 1 ? 5 : 0), "%llu sent", read_of(session, sent));
    MUST(MPI_T_pvar_stop(session, sent));
    unsigned long long before = read_of(session, sent), value = 0;
    send_one();
    EQUAL(read_of(session, sent), before);
    EQUAL(read_of(other, again), 0);
    MUST(MPI_T_pvar_readreset(session, sent, &value));
    EQUAL(value, before);
    EQUAL(read_of(session, sent), 0);
    value = 1000;
    MUST(MPI_T_pvar_write(session, sent, &value));
    EQUAL(read_of(session, sent), 1000);
    MUST(MPI_T_pvar_start(session, MPI_T_PVAR_ALL_HANDLES)); // skips what cannot be started
    MUST(MPI_T_pvar_reset(session, MPI_T_PVAR_ALL_HANDLES));
    MUST(MPI_T_pvar_stop(session, MPI_T_PVAR_ALL_HANDLES));

    EQUAL(MPI_T_pvar_start(session, now), MPI_T_ERR_PVAR_NO_STARTSTOP);
    EQUAL(MPI_T_pvar_write(session, now, &value), MPI_T_ERR_PVAR_NO_WRITE);
    MPI_Request request;
    int in;
    unsigned long long idle = read_of(session, now);
    MUST(MPI_Irecv(&in, 1, MPI_INT, rank, 77, MPI_COMM_WORLD, &request));
    CHECK(read_of(session, now) == idle + 1, "a receive is a request");
    MUST(MPI_Send(&rank, 1, MPI_INT, rank, 77, MPI_COMM_WORLD));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));

    EQUAL(MPI_T_pvar_read(other, sent, &value), MPI_T_ERR_INVALID_HANDLE);
    MUST(MPI_T_pvar_handle_free(session, &sent));
    CHECK(sent == MPI_T_PVAR_HANDLE_NULL, "the handle stays");
    MUST(MPI_T_pvar_session_free(&session));
    MUST(MPI_T_pvar_session_free(&other));
    EQUAL(MPI_T_pvar_session_free(&other), MPI_T_ERR_INVALID_SESSION);
}

static int heard[4], freed, last_peer, last_tag;
static MPI_Count last_bytes, last_time;
static int number_of_barrier = -1;

static void listen(MPI_T_event_instance instance, MPI_T_event_registration registration,
                   MPI_T_cb_safety safety, void *data) {
    struct {
        int peer, tag;
        MPI_Count bytes;
    } all;
    int source = -1, first = -1;
    MPI_Count time = 0;
    (void)registration;
    EQUAL(safety, MPI_T_CB_REQUIRE_NONE);
    MUST(MPI_T_event_copy(instance, &all));
    MUST(MPI_T_event_read(instance, 0, &first));
    EQUAL(first, all.peer);
    EQUAL(MPI_T_event_read(instance, 3, &first), MPI_T_ERR_INVALID_INDEX);
    MUST(MPI_T_event_get_source(instance, &source));
    MUST(MPI_T_event_get_timestamp(instance, &time));
    EQUAL(source, 0);
    CHECK(time >= last_time, "time goes back");
    last_time = time;
    heard[*(int *)data]++;
    if (*(int *)data == 1) last_peer = all.peer, last_tag = all.tag, last_bytes = all.bytes;
    if (*(int *)data >= 2) CHECK(all.tag == size && all.peer >= 0, "call %d", all.peer);
    if (*(int *)data == 2) number_of_barrier = all.peer;
}

static void on_free(MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data) {
    (void)registration, (void)safety;
    freed += *(int *)data;
}

static void events(void) {
    static int places[4] = {0, 1, 2, 3};
    MPI_T_event_registration listeners[4];
    int number, elements, index, one = 1;
    const char *names[] = {"strait_unexpected_message", "strait_rendezvous_start",
                           "strait_collective_start", "strait_collective_end"};
    MUST(MPI_T_source_get_num(&number));
    EQUAL(number, 1);
    MPI_T_source_order order;
    MPI_Count ticks, most, now;
    MUST(MPI_T_source_get_info(0, NULL, NULL, NULL, NULL, &order, &ticks, &most, NULL));
    EQUAL(order, MPI_T_SOURCE_ORDERED);
    MUST(MPI_T_source_get_timestamp(0, &now));
    MUST(MPI_T_event_get_num(&number));
    EQUAL(number, 4);
    for (int i = 0; i < 4; i++) {
        MPI_Datatype types[3];
        MPI_Aint at[3];
        MPI_T_enum set;
        int items;
        elements = 3;
        MUST(MPI_T_event_get_index(names[i], &index));
        MUST(MPI_T_event_get_info(index, NULL, NULL, NULL, types, at, &elements, &set, NULL, NULL,
                                  NULL, NULL));
        EQUAL(elements, 3);
        CHECK(types[0] == MPI_INT && types[2] == MPI_COUNT && at[2] == 8, "another layout");
        MUST(MPI_T_enum_get_info(set, &items, NULL, NULL));
        EQUAL(items, 3);
        MUST(MPI_T_event_handle_alloc(index, NULL, MPI_INFO_NULL, &listeners[i]));
        MUST(MPI_T_event_register_callback(listeners[i], MPI_T_CB_REQUIRE_NONE, MPI_INFO_NULL,
                                           &places[i], listen));
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    EQUAL(heard[2], 1);
    EQUAL(heard[3], 1);
    MPI_Info names_of_calls;
    char name[64];
    char key[8];
    int flag, room = sizeof name;
    MUST(MPI_T_event_get_info(index, NULL, NULL, NULL, NULL, NULL, NULL, NULL, &names_of_calls,
                              NULL, NULL, NULL));
    snprintf(key, sizeof key, "%d", number_of_barrier);
    MUST(MPI_Info_get_string(names_of_calls, key, &room, name, &flag));
    CHECK(flag && strcmp(name, "MPI_Barrier") == 0, "call %s is %s", key, name);
    MUST(MPI_Info_free(&names_of_calls));

    MPI_Request request;
    int sum;
    MUST(MPI_Iallreduce(&one, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request));
    MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
    EQUAL(heard[2], 2);
    EQUAL(heard[3], 2);

    if (size > 1) {
        enum { LONG = 4 << 20 };
        char *buffer = malloc(LONG);
        memset(buffer, rank, LONG);
        if (rank == 0) {
            MUST(MPI_Send(&one, 1, MPI_INT, 1, 5, MPI_COMM_WORLD)); // nobody waits for it
            MUST(MPI_Barrier(MPI_COMM_WORLD));
            MUST(MPI_Send(buffer, LONG, MPI_CHAR, 1, 6, MPI_COMM_WORLD));
            EQUAL(heard[1], 1);
            CHECK(last_tag == 6 && last_bytes == LONG && last_peer == 1, "another message");
        } else {
            MUST(MPI_Barrier(MPI_COMM_WORLD));
            if (rank == 1) {
                int in;
                MUST(MPI_Probe(0, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
                CHECK(heard[0] >= 1, "nothing unexpected");
                MUST(MPI_Recv(&in, 1, MPI_INT, 0, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
                MUST(MPI_Recv(buffer, LONG, MPI_CHAR, 0, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            }
        }
        free(buffer);
    }
    MPI_Info hints;
    MUST(MPI_T_event_handle_get_info(listeners[0], &hints));
    MUST(MPI_Info_free(&hints));
    for (int i = 0; i < 4; i++) MUST(MPI_T_event_handle_free(listeners[i], &one, on_free));
    EQUAL(freed, 4);
    int before = heard[2];
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    EQUAL(heard[2], before); // nobody listens any more
    EQUAL(MPI_T_event_handle_free(listeners[0], NULL, NULL), MPI_T_ERR_INVALID_HANDLE);
}

int main(int argc, char **argv) {
    int level, number;
    EQUAL(MPI_T_cvar_get_num(&number), MPI_T_ERR_NOT_INITIALIZED);
    MUST(MPI_T_init_thread(MPI_THREAD_MULTIPLE, &level));
    MUST(MPI_T_init_thread(MPI_THREAD_SINGLE, &level));
    texts();
    begin(&argc, &argv);
    texts();
    switches();
    categories();
    counters();
    events();
    MUST(MPI_T_finalize());
    int done = end();
    texts(); // the other user is still there
    MUST(MPI_T_finalize());
    EQUAL(MPI_T_finalize(), MPI_T_ERR_NOT_INITIALIZED);
    return done;
}
