! SPDX-License-Identifier: Apache-2.0 OR MIT
! A program of mpi_f08 that calls a library with mpif.h: both see one MPI_STATUS_IGNORE each.
program project
  use mpi_f08
  implicit none
  interface
    subroutine ring(comm, value)
      integer :: comm, value
    end subroutine
  end interface
  integer :: rank, ranks, value, total
  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks)
  value = rank
  call ring(MPI_COMM_WORLD%MPI_VAL, value)
  if (value /= mod(rank + ranks - 1, ranks)) error stop 'the ring passed something else'
  call MPI_Reduce(value, total, 1, MPI_INTEGER, MPI_SUM, 0, MPI_COMM_WORLD)
  if (rank == 0) print '(a,i0)', 'sum ', total
  call MPI_Finalize()
end program
