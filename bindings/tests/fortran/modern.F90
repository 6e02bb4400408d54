! SPDX-License-Identifier: Apache-2.0 OR MIT
! What only mpi_f08 has: no ierror, large counts, handles that convert, keywords, profiling names.
! faces: F08
#include "checks.h"
program modern
  use checks
  use, intrinsic :: iso_c_binding, only: c_loc, c_associated, C_PTR
  use mpi_f08
  implicit none
  integer :: rank, ranks

  call MPI_Init()
  call MPI_Comm_rank(comm=MPI_COMM_WORLD, rank=rank)
  call MPI_Comm_size(MPI_COMM_WORLD, size=ranks)
  call large()
  call statuses()
  call handles()
  call profiling()
  call automatic()
  call MPI_Finalize()
  if (rank == 0) print '(a)', 'ok'

contains

  subroutine large()
    integer(kind=MPI_COUNT_KIND) :: two, count, lower, extent, counts(ranks), many
    integer(kind=MPI_ADDRESS_KIND) :: places(ranks)
    integer :: got(2), all(ranks), i
    type(MPI_Status) :: status
    type(MPI_Datatype) :: huge_type
    two = 2
    call MPI_Sendrecv([rank, 5], two, MPI_INTEGER, rank, 1, got, two, MPI_INTEGER, rank, 1, &
      MPI_COMM_WORLD, status)
    call MPI_Get_count(status, MPI_INTEGER, count)
    call expect(count == 2 .and. all_equal(got, [rank, 5]), 'a large count of two')
    many = 3 * 2_MPI_COUNT_KIND**30
    call MPI_Type_contiguous(many, MPI_INTEGER, huge_type)
    call MPI_Type_size(huge_type, count)
    call expect(count == 4 * many, 'the size of a large type')
    call MPI_Type_get_extent(huge_type, lower, extent)
    call expect(lower == 0 .and. extent == 4 * many, 'the extent of a large type')
    call MPI_Type_free(huge_type)
    counts = 1
    places = [(i, i = 0, ranks - 1)]
    call MPI_Allgatherv(rank, 1_MPI_COUNT_KIND, MPI_INTEGER, all, counts, places, MPI_INTEGER, &
      MPI_COMM_WORLD)
    call expect_all(all, [(i, i = 0, ranks - 1)], 'MPI_Allgatherv with large counts')
  end subroutine

  logical function all_equal(a, b)
    integer, intent(in) :: a(:), b(:)
    all_equal = all(a == b)
  end function

  subroutine statuses()
    type(MPI_Status) :: status, again
    integer :: old(MPI_STATUS_SIZE), count
    logical :: flag
    call MPI_Status_set_elements(status, MPI_INTEGER, 9)
    call MPI_Status_set_cancelled(status, .true.)
    status%MPI_SOURCE = 3
    status%MPI_TAG = 4
    status%MPI_ERROR = 0
    call MPI_Status_f082f(status, old)
    call MPI_Status_f2f08(old, again)
    call MPI_Get_elements(again, MPI_INTEGER, count)
    call MPI_Test_cancelled(again, flag)
    call expect(count == 9 .and. flag .and. again%MPI_SOURCE == 3 .and. again%MPI_TAG == 4, &
      'a status there and back')
    call expect_all(old(1:2), [3, 4], 'an old status')
  end subroutine

  subroutine handles()
    type(MPI_Comm) :: comm
    type(MPI_Op), parameter :: ops(2) = [MPI_SUM, MPI_MAX]
    comm%MPI_VAL = MPI_COMM_SELF%MPI_VAL
    call expect(comm == MPI_COMM_SELF, '== of handles')
    call expect(comm /= MPI_COMM_WORLD, '/= of handles')
    call expect(all(ops /= MPI_OP_NULL), '/= of arrays of handles')
  end subroutine

  subroutine profiling()
    integer :: total
    call PMPI_Allreduce(1, total, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD)
    call expect_equal(total, ranks, 'PMPI_Allreduce')
    call expect(PMPI_Wtime() > 0, 'PMPI_Wtime')
  end subroutine

  ! A buffer that the library keeps is named by the variable that asked for it.
  subroutine automatic()
    type(C_PTR) :: place
    integer :: size, got
    call MPI_Comm_attach_buffer(MPI_COMM_WORLD, MPI_BUFFER_AUTOMATIC, 0)
    call MPI_Bsend(rank, 1, MPI_INTEGER, rank, 2, MPI_COMM_WORLD)
    call MPI_Recv(got, 1, MPI_INTEGER, rank, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE)
    call expect_equal(got, rank, 'through an automatic buffer')
    call MPI_Comm_detach_buffer(MPI_COMM_WORLD, place, size)
    call expect(c_associated(place, c_loc(MPI_BUFFER_AUTOMATIC)), 'MPI_BUFFER_AUTOMATIC')
  end subroutine
end program
