# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Heat flows along a rod. Each rank owns a piece and exchanges its edge cells with its
neighbours before every step; at the end the pieces are compared with one rank's computation."""

import numpy as np
from mpi4py import MPI

CELLS, STEPS = 1000, 200


def step(rod):
    """One step; the first and the last cell are the neighbours'."""
    rod[1:-1] += 0.25 * (rod[:-2] - 2 * rod[1:-1] + rod[2:])


comm = MPI.COMM_WORLD
left = comm.rank - 1 if comm.rank > 0 else MPI.PROC_NULL
right = comm.rank + 1 if comm.rank < comm.size - 1 else MPI.PROC_NULL
whole = np.sin(np.arange(CELLS) / 10.0)

# My piece, with a cell at each end for what the neighbours send. Outside of the rod it is 0.
edges = [CELLS * rank // comm.size for rank in range(comm.size + 1)]
first, last = edges[comm.rank], edges[comm.rank + 1]
piece = np.zeros(last - first + 2)
piece[1:-1] = whole[first:last]
for _ in range(STEPS):
    comm.Sendrecv(piece[1:2], dest=left, recvbuf=piece[-1:], source=right)
    comm.Sendrecv(piece[-2:-1], dest=right, recvbuf=piece[:1], source=left)
    step(piece)

result = np.empty(CELLS) if comm.rank == 0 else None
counts = np.diff(edges)
comm.Gatherv(piece[1:-1], [result, counts], root=0)
if comm.rank == 0:
    alone = np.zeros(CELLS + 2)
    alone[1:-1] = whole
    for _ in range(STEPS):
        step(alone)
    word = "agrees" if np.allclose(result, alone[1:-1], rtol=0, atol=1e-12) else "DISAGREES"
    print(f"halo exchange on {comm.size} ranks {word} with one rank alone")
