! SPDX-License-Identifier: Apache-2.0 OR MIT
! Memory from the library, windows, files.
#include "face.h"
#include "checks.h"
program memory
  use checks
  use, intrinsic :: iso_c_binding, only: C_PTR, c_f_pointer
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: rank, ranks, next, previous, ierror, i

  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  next = mod(rank + 1, ranks)
  previous = mod(rank + ranks - 1, ranks)
  call allocated()
  call window()
  call shared()
  call file()
  call MPI_Finalize(ierror)
  if (rank == 0) print '(a)', 'ok'

contains

  subroutine allocated()
#if defined(FACE_MPIF)
    integer(kind=MPI_ADDRESS_KIND) :: place
#else
    type(C_PTR) :: place
    integer, pointer :: numbers(:)
#endif
    call MPI_Alloc_mem(400_MPI_ADDRESS_KIND, MPI_INFO_NULL, place, ierror)
    call expect_equal(ierror, MPI_SUCCESS, 'MPI_Alloc_mem')
#if !defined(FACE_MPIF)
    call c_f_pointer(place, numbers, [100])
    numbers = [(i, i = 1, 100)]
    call MPI_Allreduce(MPI_IN_PLACE, numbers, 100, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    call expect_all(numbers, [(i * ranks, i = 1, 100)], 'a sum in allocated memory')
    call MPI_Free_mem(numbers, ierror)
    call expect_equal(ierror, MPI_SUCCESS, 'MPI_Free_mem')
#endif
  end subroutine

  subroutine window()
    integer :: memory(10), got, one
    integer(kind=MPI_ADDRESS_KIND) :: size, base, value
    logical :: flag
    HANDLE(MPI_Win) :: win
    memory = 0
    call MPI_Win_create(memory, 40_MPI_ADDRESS_KIND, 4, MPI_INFO_NULL, MPI_COMM_WORLD, win, ierror)
    call MPI_Win_get_attr(win, MPI_WIN_SIZE, size, flag, ierror)
    call expect(flag .and. size == 40, 'MPI_WIN_SIZE')
    call MPI_Win_get_attr(win, MPI_WIN_DISP_UNIT, value, flag, ierror)
    call expect(flag .and. value == 4, 'MPI_WIN_DISP_UNIT')
    call MPI_Get_address(memory, base, ierror)
    call MPI_Win_get_attr(win, MPI_WIN_BASE, value, flag, ierror)
    call expect(flag .and. value == base, 'MPI_WIN_BASE')
    call MPI_Win_fence(0, win, ierror)
    call MPI_Put(rank, 1, MPI_INTEGER, next, 2_MPI_ADDRESS_KIND, 1, MPI_INTEGER, win, ierror)
    call MPI_Win_fence(0, win, ierror)
    call MPI_F_sync_reg(memory)
    call expect_equal(memory(3), previous, 'MPI_Put')
    one = 1
    call MPI_Accumulate(one, 1, MPI_INTEGER, 0, 0_MPI_ADDRESS_KIND, 1, MPI_INTEGER, MPI_SUM, win, &
      ierror)
    call MPI_Win_fence(0, win, ierror)
    call MPI_Get(got, 1, MPI_INTEGER, 0, 0_MPI_ADDRESS_KIND, 1, MPI_INTEGER, win, ierror)
    call MPI_Win_fence(0, win, ierror)
    call MPI_F_sync_reg(got)
    call expect_equal(got, ranks, 'MPI_Accumulate and MPI_Get')
    call MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win, ierror)
    call MPI_Fetch_and_op(one, got, MPI_INTEGER, 0, 1_MPI_ADDRESS_KIND, MPI_SUM, win, ierror)
    call MPI_Win_unlock(0, win, ierror)
    call MPI_F_sync_reg(got)
    call expect(got >= 0 .and. got < ranks, 'MPI_Fetch_and_op')
    call MPI_Win_free(win, ierror)
    call expect(win == MPI_WIN_NULL, 'MPI_Win_free')
  end subroutine

  subroutine shared()
#if !defined(FACE_MPIF)
    type(C_PTR) :: place
    integer, pointer :: numbers(:)
    integer(kind=MPI_ADDRESS_KIND) :: size
    integer :: unit
    HANDLE(MPI_Comm) :: node
    HANDLE(MPI_Win) :: win
    call MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, node, ierror)
    call MPI_Win_allocate_shared(8_MPI_ADDRESS_KIND, 4, MPI_INFO_NULL, node, place, win, ierror)
    call c_f_pointer(place, numbers, [2])
    call MPI_Win_fence(0, win, ierror)
    numbers = [rank, -rank]
    call MPI_Win_fence(0, win, ierror)
    call MPI_Win_shared_query(win, 0, size, unit, place, ierror)
    call expect(size == 8 .and. unit == 4, 'MPI_Win_shared_query')
    call c_f_pointer(place, numbers, [2])
    call MPI_Comm_rank(node, i, ierror)
    call expect_all(numbers, [rank - i, i - rank], 'what another rank stored')
    call MPI_Win_fence(0, win, ierror)
    call MPI_Win_free(win, ierror)
    call MPI_Comm_free(node, ierror)
#endif
  end subroutine

  subroutine file()
    character(len=200) :: name
    character(len=MPI_MAX_DATAREP_STRING) :: datarep
    integer :: count, numbers(3), got(3), length
    integer(kind=MPI_OFFSET_KIND) :: offset, size
    STATUS :: status STATUS_DIM
    HANDLE(MPI_File) :: handle
    HANDLE(MPI_Datatype) :: every
    call get_environment_variable('STRAIT_TEST_FILE', name, length)
    call expect(length > 0, 'the test stage names a file')
    call MPI_File_open(MPI_COMM_WORLD, name, MPI_MODE_CREATE + MPI_MODE_RDWR + &
      MPI_MODE_DELETE_ON_CLOSE, MPI_INFO_NULL, handle, ierror)
    call expect_equal(ierror, MPI_SUCCESS, 'MPI_File_open')
    ! Number k of rank r is at place r + k * ranks.
    call MPI_Type_vector(3, 1, ranks, MPI_INTEGER, every, ierror)
    call MPI_Type_commit(every, ierror)
    offset = 4 * rank
    call MPI_File_set_view(handle, offset, MPI_INTEGER, every, 'native  ', MPI_INFO_NULL, ierror)
    call expect_equal(ierror, MPI_SUCCESS, 'MPI_File_set_view')
    numbers = [(100 * rank + i, i = 0, 2)]
    call MPI_File_write_all(handle, numbers, 3, MPI_INTEGER, status, ierror)
    call MPI_Get_count(status, MPI_INTEGER, count, ierror)
    call expect_equal(count, 3, 'MPI_File_write_all')
    call MPI_File_sync(handle, ierror)
    call MPI_Barrier(MPI_COMM_WORLD, ierror)
    offset = 0
    call MPI_File_set_view(handle, offset, MPI_INTEGER, MPI_INTEGER, 'native', MPI_INFO_NULL, &
      ierror)
    call MPI_File_get_view(handle, size, every, every, datarep, ierror)
    call expect(datarep == 'native', 'MPI_File_get_view: ' // datarep)
    do i = 0, 2
      offset = next + i * ranks
      call MPI_File_read_at(handle, offset, got(i + 1), 1, MPI_INTEGER, MPI_STATUS_IGNORE, ierror)
    end do
    call expect_all(got, [(100 * next + i, i = 0, 2)], 'MPI_File_read_at')
    call MPI_File_get_size(handle, size, ierror)
    call expect(size == 12 * ranks, 'MPI_File_get_size')
    call MPI_File_close(handle, ierror)
    call expect(handle == MPI_FILE_NULL, 'MPI_File_close')
    call MPI_File_open(MPI_COMM_WORLD, name, MPI_MODE_RDONLY, MPI_INFO_NULL, handle, ierror)
    call expect(ierror /= MPI_SUCCESS, 'the file is gone')
  end subroutine
end program
