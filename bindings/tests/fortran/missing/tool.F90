! SPDX-License-Identifier: Apache-2.0 OR MIT
! The tools interface is C's only: a call of it must fail before the program runs.
! names: mpi_t_init_thread
#include "../face.h"
program tool
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: provided, ierror
  call MPI_T_init_thread(MPI_THREAD_SINGLE, provided, ierror)
end program
