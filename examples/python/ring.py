# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A token goes round the ranks once and collects their numbers."""

from mpi4py import MPI

comm = MPI.COMM_WORLD
right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size

if comm.rank == 0:
    comm.send([0], dest=right)
    token = comm.recv(source=left)
    print(f"the token passed {len(token)} ranks and collected {sum(token)}")
else:
    token = comm.recv(source=left)
    comm.send([*token, comm.rank], dest=right)
