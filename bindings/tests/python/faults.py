# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A rank dies; the others shrink their communicator and go on. mpi4py's wheel has no methods for
this with libmpi.so.12, so the library's functions are called beside it. Run it under
mpiexec --keep-going."""

import ctypes
import os
import signal
import sys

from mpi4py import MPI

lib = ctypes.CDLL("libmpi.so.12")
PROC_FAILED, REVOKED = 101, 103


def call(name, comm, *arguments):
    return getattr(lib, name)(ctypes.c_int(MPI._handleof(comm)), *arguments)


def shrink(comm):
    new = MPI.Comm()
    handle = ctypes.c_int()
    assert call("MPIX_Comm_shrink", comm, ctypes.byref(handle)) == 0
    ctypes.c_int.from_address(MPI._addressof(new)).value = handle.value
    return MPI.Intracomm(new)


comm = MPI.COMM_WORLD.Dup()
rank, size, victim = comm.rank, comm.size, 1
flag = ctypes.c_int(1)
assert call("MPIX_Comm_agree", comm, ctypes.byref(flag)) == 0 and flag.value == 1
if rank == victim:
    os.kill(os.getpid(), signal.SIGKILL)
try:
    comm.recv(source=victim)
    sys.exit("a message came from a dead rank")
except MPI.Exception as error:
    assert error.Get_error_class() == PROC_FAILED, error
call("MPIX_Comm_agree", comm, ctypes.byref(flag))
assert call("MPIX_Comm_revoke", comm) == 0
try:
    comm.barrier()
    sys.exit("a barrier of a revoked communicator")
except MPI.Exception as error:
    assert error.Get_error_class() == REVOKED, error
rest = shrink(comm)
comm.Free()
assert rest.size == size - 1
assert rest.allreduce(rank) == sum(range(size)) - victim
assert rest.allgather("x" * 1000) == ["x" * 1000] * (size - 1)
if rest.rank == 0:
    print("ok")
rest.Free()
