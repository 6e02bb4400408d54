! SPDX-License-Identifier: Apache-2.0 OR MIT
! Modules check arguments: a communicator where a datatype belongs, or too few.
! names: mpi_send mpi_comm_rank
! faces: F08
#include "../face.h"
program wrong
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: value, ierror
  call MPI_Send(value, 1, MPI_COMM_WORLD, 0, 0, MPI_COMM_WORLD, ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD)
end program
