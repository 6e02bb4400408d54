# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A pool of workers that mpi4py.futures spawns, or with -m mpi4py.futures finds among the ranks."""

import os
import sys

from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor


def square(x):
    return x * x


def who(_):
    return os.getpid(), MPI.COMM_WORLD.Get_size()


def fail(x):
    raise ValueError(f"no {x}")


if __name__ == "__main__":
    workers = int(sys.argv[1])
    with MPIPoolExecutor(max_workers=workers) as pool:
        pool.bootup(wait=True)
        assert pool.num_workers == workers, pool.num_workers
        assert list(pool.map(square, range(200), chunksize=7)) == [x * x for x in range(200)]
        # Long results go by rendezvous.
        assert [len(b) for b in pool.map(bytes, [5_000_000] * 4)] == [5_000_000] * 4
        try:
            pool.submit(fail, 7).result()
        except ValueError as error:
            assert str(error) == "no 7"
        else:
            raise AssertionError("an exception got lost")
        assert os.getpid() not in {pid for pid, _ in pool.map(who, range(20))}
    # A second pool, after the first has gone.
    with MPIPoolExecutor(max_workers=workers) as pool:
        assert pool.submit(square, 12).result() == 144
    print("ok")
