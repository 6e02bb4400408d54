# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Pi as the area under 4 / (1 + x * x): each rank adds its share of the strips, one sum of all."""

import numpy as np
from mpi4py import MPI

STRIPS = 1_000_000

comm = MPI.COMM_WORLD
middles = (np.arange(comm.rank, STRIPS, comm.size) + 0.5) / STRIPS
mine = np.array([np.sum(4.0 / (1.0 + middles * middles)) / STRIPS])
area = np.empty(1)
comm.Allreduce(mine, area, op=MPI.SUM)
if comm.rank == 0:
    print(f"pi is {area[0]:.8f} with {comm.size} ranks")
