! SPDX-License-Identifier: Apache-2.0 OR MIT
! Point to point: every mode, requests in arrays, indices from 1, statuses, probes.
#include "face.h"
#include "checks.h"
program point
  use checks
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: rank, ranks, next, previous, ierror

  call MPI_Init(ierror)
  call expect_equal(ierror, MPI_SUCCESS, 'MPI_Init')
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  next = mod(rank + 1, ranks)
  previous = mod(rank + ranks - 1, ranks)
  call ping_pong()
  call modes()
  call any_and_some()
  call all_at_once()
  call matched()
  call persistent()
  call sections()
  call nobody()
  call MPI_Finalize(ierror)
  call expect_equal(ierror, MPI_SUCCESS, 'MPI_Finalize')
  if (rank == 0) print '(a)', 'ok'

contains

  subroutine ping_pong()
    integer :: i, value, count
    double precision :: numbers(5)
    STATUS :: status STATUS_DIM
    if (ranks < 2 .or. rank > 1) return
    do i = 1, 10
      if (rank == 0) then
        call MPI_Send(i, 1, MPI_INTEGER, 1, i, MPI_COMM_WORLD, ierror)
        call MPI_Recv(value, 1, MPI_INTEGER, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &
          status, ierror)
        call expect_equal(value, 2 * i, 'pong')
        call expect_equal(SOURCE_OF(status), 1, 'MPI_SOURCE')
        call expect_equal(TAG_OF(status), 100 + i, 'MPI_TAG')
      else
        call MPI_Recv(value, 1, MPI_INTEGER, 0, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
        value = 2 * value
        call MPI_Send(value, 1, MPI_INTEGER, 0, 100 + i, MPI_COMM_WORLD, ierror)
      end if
    end do
    if (rank == 0) then
      numbers = [1d0, 2d0, 3d0, 4d0, 5d0]
      call MPI_Send(numbers, 3, MPI_DOUBLE_PRECISION, 1, 7, MPI_COMM_WORLD, ierror)
    else
      numbers = 0
      call MPI_Recv(numbers, 5, MPI_DOUBLE_PRECISION, 0, 7, MPI_COMM_WORLD, status, ierror)
      call MPI_Get_count(status, MPI_DOUBLE_PRECISION, count, ierror)
      call expect_equal(count, 3, 'MPI_Get_count')
      call MPI_Get_elements(status, MPI_DOUBLE_PRECISION, count, ierror)
      call expect_equal(count, 3, 'MPI_Get_elements')
      call expect(all(numbers == [1d0, 2d0, 3d0, 0d0, 0d0]), 'three numbers came')
    end if
  end subroutine

  subroutine modes()
    integer :: value, got, size
    integer :: buffer(4096)
    HANDLE(MPI_Request) :: requests(2)
    do value = 1, 4
      got = -1
      call MPI_Irecv(got, 1, MPI_INTEGER, previous, value, MPI_COMM_WORLD, requests(1), ierror)
      call MPI_Barrier(MPI_COMM_WORLD, ierror)
      select case (value)
      case (1)
        call MPI_Isend(value, 1, MPI_INTEGER, next, 1, MPI_COMM_WORLD, requests(2), ierror)
      case (2)
        call MPI_Issend(value, 1, MPI_INTEGER, next, 2, MPI_COMM_WORLD, requests(2), ierror)
      case (3)
        call MPI_Irsend(value, 1, MPI_INTEGER, next, 3, MPI_COMM_WORLD, requests(2), ierror)
      case (4)
        call MPI_Buffer_attach(buffer, 4 * 4096, ierror)
        call expect_equal(ierror, MPI_SUCCESS, 'MPI_Buffer_attach')
        call MPI_Ibsend(value, 1, MPI_INTEGER, next, 4, MPI_COMM_WORLD, requests(2), ierror)
      end select
      call MPI_Waitall(2, requests, MPI_STATUSES_IGNORE, ierror)
      call expect_equal(got, value, 'a mode of sending')
      call expect(all(requests == MPI_REQUEST_NULL), 'requests are null after MPI_Waitall')
    end do
    call detach(size)
    call expect_equal(size, 4 * 4096, 'MPI_Buffer_detach')
    got = -1
    call MPI_Sendrecv(rank, 1, MPI_INTEGER, next, 5, got, 1, MPI_INTEGER, previous, 5, &
      MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
    call expect_equal(got, previous, 'MPI_Sendrecv')
    got = rank
    call MPI_Sendrecv_replace(got, 1, MPI_INTEGER, next, 5, previous, 5, MPI_COMM_WORLD, &
      MPI_STATUS_IGNORE, ierror)
    call expect_equal(got, previous, 'MPI_Sendrecv_replace')
  end subroutine

  subroutine detach(size)
#if defined(FACE_F08)
    use, intrinsic :: iso_c_binding, only: C_PTR, c_associated
    type(C_PTR) :: place
#else
    integer :: place
#endif
    integer, intent(out) :: size
    call MPI_Buffer_detach(place, size, ierror)
#if defined(FACE_F08)
    call expect(c_associated(place), 'the detached buffer has an address')
#endif
  end subroutine

  ! Requests that end one by one are named by indices from 1.
  subroutine any_and_some()
    integer, parameter :: many = 4
    integer :: got(many), indices(many), i, index, outcount, seen
    logical :: flag, is_seen(many)
    HANDLE(MPI_Request) :: requests(many)
    STATUS :: status STATUS_DIM
    STATUS :: statuses STATUSES_DIM(many)

    call MPI_Testany(0, requests, index, flag, status, ierror)
    call expect(flag .and. index == MPI_UNDEFINED, 'MPI_Testany of none')
    do i = 1, many
      call MPI_Irecv(got(i), 1, MPI_INTEGER, rank, i, MPI_COMM_WORLD, requests(i), ierror)
    end do
    call MPI_Testany(many, requests, index, flag, status, ierror)
    call expect(.not. flag .and. index == MPI_UNDEFINED, 'MPI_Testany before anything came')
    call MPI_Testsome(many, requests, outcount, indices, statuses, ierror)
    call expect_equal(outcount, 0, 'MPI_Testsome before anything came')
    call MPI_Send(30, 1, MPI_INTEGER, rank, 3, MPI_COMM_WORLD, ierror)
    call MPI_Waitany(many, requests, index, status, ierror)
    call expect_equal(index, 3, 'the index of MPI_Waitany')
    call expect_equal(TAG_OF(status), 3, 'the tag of MPI_Waitany')
    call expect(requests(3) == MPI_REQUEST_NULL, 'the request of MPI_Waitany')
    call expect(requests(4) /= MPI_REQUEST_NULL, 'the other requests of MPI_Waitany')
    call MPI_Send(10, 1, MPI_INTEGER, rank, 1, MPI_COMM_WORLD, ierror)
    flag = .false.
    do while (.not. flag)
      call MPI_Testany(many, requests, index, flag, MPI_STATUS_IGNORE, ierror)
    end do
    call expect_equal(index, 1, 'the index of MPI_Testany')
    call MPI_Send(40, 1, MPI_INTEGER, rank, 4, MPI_COMM_WORLD, ierror)
    call MPI_Send(20, 1, MPI_INTEGER, rank, 2, MPI_COMM_WORLD, ierror)
    is_seen = .false.
    seen = 0
    do while (seen < 2)
      call MPI_Waitsome(many, requests, outcount, indices, statuses, ierror)
      call expect(outcount >= 1, 'MPI_Waitsome names one at least')
      do i = 1, outcount
        call expect_equal(TAG_AT(statuses, i), indices(i), 'a status of MPI_Waitsome')
        call expect_equal(SOURCE_AT(statuses, i), rank, 'a source of MPI_Waitsome')
        is_seen(indices(i)) = .true.
      end do
      seen = seen + outcount
    end do
    call expect(all(is_seen .eqv. [.false., .true., .false., .true.]), 'who was in MPI_Waitsome')
    call expect_all(got, [10, 20, 30, 40], 'what the requests received')
    call MPI_Waitsome(many, requests, outcount, indices, statuses, ierror)
    call expect_equal(outcount, MPI_UNDEFINED, 'MPI_Waitsome of null requests')
    call MPI_Waitany(many, requests, index, status, ierror)
    call expect_equal(index, MPI_UNDEFINED, 'MPI_Waitany of null requests')
  end subroutine

  ! More requests than lie on the stack of the library, and every status of them.
  subroutine all_at_once()
    integer, parameter :: many = 100
    integer :: got(many), sent(many), i
    logical :: flag
    HANDLE(MPI_Request) :: receives(many), sends(many)
    STATUS :: statuses STATUSES_DIM(many)
    got = -1
    do i = 1, many
      sent(i) = 1000 * rank + i
      call MPI_Irecv(got(i), 1, MPI_INTEGER, previous, i, MPI_COMM_WORLD, receives(i), ierror)
      call MPI_Isend(sent(i), 1, MPI_INTEGER, next, i, MPI_COMM_WORLD, sends(i), ierror)
    end do
    call MPI_Waitall(many, receives, statuses, ierror)
    do i = 1, many
      call expect_equal(got(i), 1000 * previous + i, 'one of many')
      call expect_equal(SOURCE_AT(statuses, i), previous, 'a source of many')
      call expect_equal(TAG_AT(statuses, i), i, 'a tag of many')
    end do
    flag = .false.
    do while (.not. flag)
      call MPI_Testall(many, sends, flag, MPI_STATUSES_IGNORE, ierror)
    end do
    call expect(all(sends == MPI_REQUEST_NULL), 'MPI_Testall')
  end subroutine

  subroutine matched()
    integer :: got
    logical :: flag
    HANDLE(MPI_Message) :: message
    HANDLE(MPI_Request) :: request
    STATUS :: status STATUS_DIM
    call MPI_Isend(rank, 1, MPI_INTEGER, next, 9, MPI_COMM_WORLD, request, ierror)
    call MPI_Mprobe(previous, 9, MPI_COMM_WORLD, message, status, ierror)
    call expect_equal(SOURCE_OF(status), previous, 'MPI_Mprobe')
    call expect(message /= MPI_MESSAGE_NULL, 'the message of MPI_Mprobe')
    call MPI_Mrecv(got, 1, MPI_INTEGER, message, MPI_STATUS_IGNORE, ierror)
    call expect_equal(got, previous, 'MPI_Mrecv')
    call expect(message == MPI_MESSAGE_NULL, 'the message after MPI_Mrecv')
    call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
    call MPI_Iprobe(MPI_ANY_SOURCE, 12, MPI_COMM_WORLD, flag, status, ierror)
    call expect(.not. flag, 'MPI_Iprobe of nothing')
    call MPI_Isend(rank, 1, MPI_INTEGER, next, 9, MPI_COMM_WORLD, request, ierror)
    call MPI_Probe(MPI_ANY_SOURCE, 9, MPI_COMM_WORLD, status, ierror)
    call expect_equal(SOURCE_OF(status), previous, 'MPI_Probe')
    call MPI_Recv(got, 1, MPI_INTEGER, previous, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
    call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
    call MPI_Irecv(got, 1, MPI_INTEGER, previous, 11, MPI_COMM_WORLD, request, ierror)
    call MPI_Cancel(request, ierror)
    call MPI_Wait(request, status, ierror)
    call MPI_Test_cancelled(status, flag, ierror)
    call expect(flag, 'MPI_Test_cancelled')
  end subroutine

  subroutine persistent()
    integer :: got, sent, i
    HANDLE(MPI_Request) :: requests(2)
    call MPI_Recv_init(got, 1, MPI_INTEGER, previous, 6, MPI_COMM_WORLD, requests(1), ierror)
    call MPI_Send_init(sent, 1, MPI_INTEGER, next, 6, MPI_COMM_WORLD, requests(2), ierror)
    do i = 1, 3
      sent = 10 * rank + i
      call MPI_F_sync_reg(sent)
      call MPI_Startall(2, requests, ierror)
      call MPI_Waitall(2, requests, MPI_STATUSES_IGNORE, ierror)
      call MPI_F_sync_reg(got)
      call expect_equal(got, 10 * previous + i, 'a persistent request')
      call expect(all(requests /= MPI_REQUEST_NULL), 'persistent requests stay')
    end do
    do i = 1, 2
      call MPI_Request_free(requests(i), ierror)
    end do
    call expect(all(requests == MPI_REQUEST_NULL), 'MPI_Request_free')
  end subroutine

  ! Sections with gaps may be passed to blocking routines: the compiler copies them.
  subroutine sections()
    integer :: matrix(4, 3), got(4, 3), column(3)
    HANDLE(MPI_Request) :: request
    matrix = reshape([11, 21, 31, 41, 12, 22, 32, 42, 13, 23, 33, 43], [4, 3])
    got = 0
    call MPI_Irecv(column, 3, MPI_INTEGER, previous, 8, MPI_COMM_WORLD, request, ierror)
    call MPI_Send(matrix(2, :), 3, MPI_INTEGER, next, 8, MPI_COMM_WORLD, ierror)
    call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
    call expect_all(column, [21, 22, 23], 'a row was sent')
    call MPI_Sendrecv(matrix(:, 2), 4, MPI_INTEGER, next, 8, got(1:4:3, 1:3:2), 4, MPI_INTEGER, &
      previous, 8, MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
    call expect_all(reshape(got, [12]), [12, 0, 0, 22, 0, 0, 0, 0, 32, 0, 0, 42], &
      'corners were received')
  end subroutine

  subroutine nobody()
    integer :: value, count
    logical :: flag
    STATUS :: status STATUS_DIM
    value = 5
    call MPI_Send(value, 1, MPI_INTEGER, MPI_PROC_NULL, 1, MPI_COMM_WORLD, ierror)
    call MPI_Recv(value, 1, MPI_INTEGER, MPI_PROC_NULL, 1, MPI_COMM_WORLD, status, ierror)
    call expect_equal(SOURCE_OF(status), MPI_PROC_NULL, 'the source of nobody')
    call expect_equal(TAG_OF(status), MPI_ANY_TAG, 'the tag of nobody')
    call MPI_Get_count(status, MPI_INTEGER, count, ierror)
    call expect(count == 0 .and. value == 5, 'nobody sent nothing')
    call MPI_Iprobe(MPI_PROC_NULL, 1, MPI_COMM_WORLD, flag, MPI_STATUS_IGNORE, ierror)
    call expect(flag, 'MPI_Iprobe of nobody')
  end subroutine
end program
