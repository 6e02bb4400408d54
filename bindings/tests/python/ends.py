# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Ends as its arguments say: exit CODE RANK | raise RANK | abort CODE RANK | kill RANK; the others
wait in a barrier, or, with the word `recv` in front, in a receive from that rank."""

import os
import signal
import sys
import time

from mpi4py import MPI

words = sys.argv[1:]
receives = words[0] == "recv"
how, *numbers = words[receives:]
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
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
if receives:
    comm.recv(source=numbers[-1])
comm.Barrier()
