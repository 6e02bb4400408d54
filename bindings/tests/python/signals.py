# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Waits for signals: `interrupt` says how often ^C came to this rank, `uncaught` does not catch it,
`wait` only waits, `work` adds numbers for a second. Each rank says when it is ready."""

import sys
import time

from mpi4py import MPI

comm = MPI.COMM_WORLD


def work_until(end):
    """Neither sleeps long nor sits in MPI: connections that others wait for are made meanwhile."""
    while time.monotonic() < end:
        comm.Iprobe()
        time.sleep(0.01)


comm.Barrier()
print("ready", flush=True)
limit = time.monotonic() + 40
if sys.argv[1] == "wait":
    comm.recv(source=MPI.ANY_SOURCE, tag=7)
if sys.argv[1] == "uncaught":
    work_until(limit)
if sys.argv[1] == "interrupt":
    count = 0
    while time.monotonic() < limit:
        try:
            work_until(limit)
        except KeyboardInterrupt:
            count += 1
            limit = time.monotonic() + 0.5
    print("interrupts", count, flush=True)
if sys.argv[1] == "work":
    total = 0
    for step in range(100):
        total = comm.allreduce(step) + total
        time.sleep(0.01)
    print("total", total, flush=True)
