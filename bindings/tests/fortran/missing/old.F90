! SPDX-License-Identifier: Apache-2.0 OR MIT
! Routines of MPI-1 that the standard removed: no face has them.
! names: mpi_type_struct
#include "../face.h"
program old
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: made, ierror
  call MPI_Type_struct(1, [1], [0], [MPI_INTEGER], made, ierror)
end program
