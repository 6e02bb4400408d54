# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A process with a progress thread forks between the start and the end of long transfers: nothing
is lost, Python does not warn of a fork beside threads, and the thread is there again afterwards."""

import os
import warnings

os.environ["STRAIT_PROGRESS"] = "on"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
warnings.simplefilter("error")

import numpy  # noqa: E402
from mpi4py import MPI  # noqa: E402


def threads():
    return len(os.listdir("/proc/self/task"))


comm = MPI.COMM_WORLD
right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
sent = numpy.arange(1 << 18, dtype="i4") + comm.rank
got = numpy.empty_like(sent)
assert threads() == 2, threads()
for turn in range(20):
    requests = [comm.Irecv(got, left, turn), comm.Isend(sent, right, turn)]
    child = os.fork()
    if child == 0:
        os._exit(0 if threads() == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0, "the child has threads"
    assert threads() == 2, threads()
    MPI.Request.Waitall(requests)
    assert (got - left == numpy.arange(1 << 18)).all()
comm.Barrier()
MPI.Finalize()
assert threads() == 1, threads()
