# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Ends as its arguments say: exit CODE RANK | raise RANK | abort CODE RANK; the others wait."""

import sys
import time

from mpi4py import MPI

how, *numbers = sys.argv[1:]
numbers = [int(number) for number in numbers]
comm = MPI.COMM_WORLD
comm.Barrier()
if comm.rank == numbers[-1]:
    time.sleep(0.2)
    if how == "exit":
        sys.exit(numbers[0])
    if how == "raise":
        raise ValueError("boom")
    if how == "abort":
        comm.Abort(numbers[0])
comm.Barrier()
