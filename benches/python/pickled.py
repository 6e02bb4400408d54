# SPDX-License-Identifier: Apache-2.0 OR MIT
"""One-way time of a pickled dict between two ranks: comm.send and comm.recv of mpi4py, in
microseconds, as one line of JSON on rank 0. The median of 11 rounds of 2000 exchanges."""

import json
import statistics

from mpi4py import MPI

ROUNDS, EXCHANGES = 11, 2000
comm = MPI.COMM_WORLD
rank, size = comm.Get_rank(), comm.Get_size()
if size != 2:
    raise SystemExit(f"pickled.py: 2 ranks are needed, not {size}")
message = {"a": 7, "b": 3.14}


def one_way() -> float:
    comm.barrier()
    began = MPI.Wtime()
    for _ in range(EXCHANGES):
        if rank == 0:
            comm.send(message, dest=1, tag=11)
            got = comm.recv(source=1, tag=11)
        else:
            got = comm.recv(source=0, tag=11)
            comm.send(got, dest=0, tag=11)
    seconds = MPI.Wtime() - began
    if got != message:
        raise SystemExit(f"pickled.py: rank {rank} received {got!r} in place of {message!r}")
    return seconds / EXCHANGES / 2 * 1e6


one_way()
times = [one_way() for _ in range(ROUNDS)]
if rank == 0:
    print(json.dumps({"us": statistics.median(times)}))
