// SPDX-License-Identifier: Apache-2.0 OR MIT
// Two jobs, each with an mpiexec of its own: `serve FILE` writes the name of a port into FILE, and
// `call FILE` waits for it there. Both do everything that united groups can, twice.
#include "../united.h"

#include <unistd.h>

int main(int argc, char **argv) {
    begin(&argc, &argv);
    CHECK(argc == 3, "argc is %d", argc);
    int side = !strcmp(argv[1], "call");
    char port[MPI_MAX_PORT_NAME] = "", beside[4096];
    snprintf(beside, sizeof beside, "%s.new", argv[2]);
    if (rank == 0 && !side) {
        MUST(MPI_Open_port(MPI_INFO_NULL, port));
        FILE *file = fopen(beside, "w");
        CHECK(file, "%s", beside);
        fputs(port, file);
        fclose(file);
        EQUAL(rename(beside, argv[2]), 0);
    }
    if (rank == 0 && side) {
        FILE *file = NULL;
        for (int i = 0; i < 3000 && !file; i++) {
            usleep(10000);
            file = fopen(argv[2], "r");
        }
        CHECK(file && fgets(port, sizeof port, file), "%s", argv[2]);
        fclose(file);
    }
    for (int round = 0; round < 2; round++) {
        MPI_Comm inter;
        if (side)
            MUST(MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter));
        else
            MUST(MPI_Comm_accept(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &inter));
        unite(inter, side);
        MUST(MPI_Comm_disconnect(&inter));
    }
    return end();
}
