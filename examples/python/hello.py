# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Every rank says who it is."""

from mpi4py import MPI

comm = MPI.COMM_WORLD
print(f"Hello from rank {comm.rank} of {comm.size} on {MPI.Get_processor_name()}")
