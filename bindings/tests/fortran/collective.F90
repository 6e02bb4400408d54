! SPDX-License-Identifier: Apache-2.0 OR MIT
! Every collective routine, blocking, nonblocking and persistent, against what one process computes.
!
! A value that rank `i` has at place `k` is 100 * i + k, so a serial loop says who must have what.
#include "face.h"
#include "checks.h"
program collective
  use checks
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer, parameter :: blocking = 1, nonblocking = 2, again = 3
  character(len=11), parameter :: names(3) = ['blocking   ', 'nonblocking', 'persistent ']
  integer :: rank, ranks, ierror, root, form, i, k
  HANDLE(MPI_Request) :: request

  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  do form = blocking, again
    do root = 0, ranks - 1
      call barrier()
      call broadcast()
      call gathers()
      call scatters()
      call to_root()
    end do
    call to_all_gathers()
    call all_to_all()
    call reductions()
    call scans()
  end do
  call in_place()
  call operations()
  call MPI_Finalize(ierror)
  if (rank == 0) print '(a)', 'ok'

contains

  ! Lets a request of either kind end; a persistent one runs twice.
  subroutine complete()
    call expect_equal(ierror, MPI_SUCCESS, names(form))
    if (form == blocking) return
    if (form == again) then
      call MPI_Start(request, ierror)
      call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
      call MPI_Start(request, ierror)
    end if
    call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
    if (form == again) call MPI_Request_free(request, ierror)
    call expect(request == MPI_REQUEST_NULL, 'the request ended')
  end subroutine

  integer function of(owner, place)
    integer, intent(in) :: owner, place
    of = 100 * owner + place
  end function

  subroutine barrier()
    select case (form)
    case (blocking); call MPI_Barrier(MPI_COMM_WORLD, ierror)
    case (nonblocking); call MPI_Ibarrier(MPI_COMM_WORLD, request, ierror)
    case (again); call MPI_Barrier_init(MPI_COMM_WORLD, MPI_INFO_NULL, request, ierror)
    end select
    call complete()
  end subroutine

  subroutine broadcast()
    double precision :: values(3)
    values = rank
    if (rank == root) values = [1.5d0, 2.5d0, root + 0.25d0]
    select case (form)
    case (blocking)
      call MPI_Bcast(values, 3, MPI_DOUBLE_PRECISION, root, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Ibcast(values, 3, MPI_DOUBLE_PRECISION, root, MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Bcast_init(values, 3, MPI_DOUBLE_PRECISION, root, MPI_COMM_WORLD, MPI_INFO_NULL, &
        request, ierror)
    end select
    call complete()
    call expect(all(values == [1.5d0, 2.5d0, root + 0.25d0]), 'MPI_Bcast')
  end subroutine

  ! Rank i gives i + 1 values in the second case, and there is a gap before each.
  subroutine gathers()
    integer :: mine(ranks), got(3 * ranks), counts(ranks), places(ranks), wanted(3 * ranks)
    integer :: several(ranks * (ranks + 3)), expected(ranks * (ranks + 3))
    mine = [(of(rank, k), k = 1, ranks)]
    got = -1
    wanted = -1
    if (rank == root) wanted(1:ranks) = [(of(i, 1), i = 0, ranks - 1)]
    select case (form)
    case (blocking)
      call MPI_Gather(mine, 1, MPI_INTEGER, got, 1, MPI_INTEGER, root, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Igather(mine, 1, MPI_INTEGER, got, 1, MPI_INTEGER, root, MPI_COMM_WORLD, request, &
        ierror)
    case (again)
      call MPI_Gather_init(mine, 1, MPI_INTEGER, got, 1, MPI_INTEGER, root, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, wanted, 'MPI_Gather')

    counts = [(i + 1, i = 0, ranks - 1)]
    places = [(i * (ranks + 1) + 1, i = 0, ranks - 1)]
    several = -1
    expected = -1
    if (rank == root) then
      do i = 0, ranks - 1
        do k = 1, i + 1
          expected(places(i + 1) + k) = of(i, k)
        end do
      end do
    end if
    select case (form)
    case (blocking)
      call MPI_Gatherv(mine, rank + 1, MPI_INTEGER, several, counts, places, MPI_INTEGER, root, &
        MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Igatherv(mine, rank + 1, MPI_INTEGER, several, counts, places, MPI_INTEGER, root, &
        MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Gatherv_init(mine, rank + 1, MPI_INTEGER, several, counts, places, MPI_INTEGER, &
        root, MPI_COMM_WORLD, MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(several, expected, 'MPI_Gatherv')
  end subroutine

  subroutine scatters()
    integer :: all(2 * ranks), got(2 * ranks), counts(ranks), places(ranks)
    all = -1
    if (rank == root) all = [(of(root, k), k = 1, 2 * ranks)]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Scatter(all, 2, MPI_INTEGER, got, 2, MPI_INTEGER, root, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iscatter(all, 2, MPI_INTEGER, got, 2, MPI_INTEGER, root, MPI_COMM_WORLD, request, &
        ierror)
    case (again)
      call MPI_Scatter_init(all, 2, MPI_INTEGER, got, 2, MPI_INTEGER, root, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got(1:2), [of(root, 2 * rank + 1), of(root, 2 * rank + 2)], 'MPI_Scatter')
    counts = [(i, i = 1, ranks)]
    places = [(ranks - i, i = 1, ranks)]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Scatterv(all, counts, places, MPI_INTEGER, got, rank + 1, MPI_INTEGER, root, &
        MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iscatterv(all, counts, places, MPI_INTEGER, got, rank + 1, MPI_INTEGER, root, &
        MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Scatterv_init(all, counts, places, MPI_INTEGER, got, rank + 1, MPI_INTEGER, root, &
        MPI_COMM_WORLD, MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got(1:rank + 1), [(of(root, ranks - rank - 1 + k), k = 1, rank + 1)], &
      'MPI_Scatterv')
  end subroutine

  subroutine to_root()
    integer :: mine(2), got(2)
    mine = [of(rank, 1), of(rank, 2)]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Reduce(mine, got, 2, MPI_INTEGER, MPI_SUM, root, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Ireduce(mine, got, 2, MPI_INTEGER, MPI_SUM, root, MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Reduce_init(mine, got, 2, MPI_INTEGER, MPI_SUM, root, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    if (rank /= root) return
    call expect_all(got, [sum([(of(i, 1), i = 0, ranks - 1)]), &
      sum([(of(i, 2), i = 0, ranks - 1)])], 'MPI_Reduce')
  end subroutine

  subroutine to_all_gathers()
    integer :: mine(ranks), got(ranks * ranks), wanted(ranks * ranks), counts(ranks)
    integer :: places(ranks)
    mine = [(of(rank, k), k = 1, ranks)]
    wanted = [((of(i, k), k = 1, ranks), i = 0, ranks - 1)]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Allgather(mine, ranks, MPI_INTEGER, got, ranks, MPI_INTEGER, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iallgather(mine, ranks, MPI_INTEGER, got, ranks, MPI_INTEGER, MPI_COMM_WORLD, &
        request, ierror)
    case (again)
      call MPI_Allgather_init(mine, ranks, MPI_INTEGER, got, ranks, MPI_INTEGER, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, wanted, 'MPI_Allgather')
    counts = [(ranks - i, i = 0, ranks - 1)]
    places = [(i * ranks, i = 0, ranks - 1)]
    do i = 0, ranks - 1
      wanted(i * ranks + ranks - i + 1:(i + 1) * ranks) = -1
    end do
    got = -1
    select case (form)
    case (blocking)
      call MPI_Allgatherv(mine, ranks - rank, MPI_INTEGER, got, counts, places, MPI_INTEGER, &
        MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iallgatherv(mine, ranks - rank, MPI_INTEGER, got, counts, places, MPI_INTEGER, &
        MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Allgatherv_init(mine, ranks - rank, MPI_INTEGER, got, counts, places, MPI_INTEGER, &
        MPI_COMM_WORLD, MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, wanted, 'MPI_Allgatherv')
  end subroutine

  subroutine all_to_all()
    integer :: mine(ranks), got(ranks), wanted(ranks), counts(ranks), places(ranks), bytes(ranks)
    HANDLE(MPI_Datatype) :: types(ranks)
    mine = [(of(rank, k), k = 1, ranks)]
    wanted = [(of(i, rank + 1), i = 0, ranks - 1)]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Alltoall(mine, 1, MPI_INTEGER, got, 1, MPI_INTEGER, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Ialltoall(mine, 1, MPI_INTEGER, got, 1, MPI_INTEGER, MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Alltoall_init(mine, 1, MPI_INTEGER, got, 1, MPI_INTEGER, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, wanted, 'MPI_Alltoall')
    counts = 1
    places = [(i, i = 0, ranks - 1)]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Alltoallv(mine, counts, places, MPI_INTEGER, got, counts, places, MPI_INTEGER, &
        MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Ialltoallv(mine, counts, places, MPI_INTEGER, got, counts, places, MPI_INTEGER, &
        MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Alltoallv_init(mine, counts, places, MPI_INTEGER, got, counts, places, &
        MPI_INTEGER, MPI_COMM_WORLD, MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, wanted, 'MPI_Alltoallv')
    bytes = 4 * places
    types = MPI_INTEGER
    got = -1
    select case (form)
    case (blocking)
      call MPI_Alltoallw(mine, counts, bytes, types, got, counts, bytes, types, MPI_COMM_WORLD, &
        ierror)
    case (nonblocking)
      call MPI_Ialltoallw(mine, counts, bytes, types, got, counts, bytes, types, MPI_COMM_WORLD, &
        request, ierror)
    case (again)
      call MPI_Alltoallw_init(mine, counts, bytes, types, got, counts, bytes, types, &
        MPI_COMM_WORLD, MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, wanted, 'MPI_Alltoallw')
  end subroutine

  subroutine reductions()
    integer :: mine(ranks), got(ranks), totals(ranks), counts(ranks), all(ranks * (ranks + 1) / 2)
    mine = [(of(rank, k), k = 1, ranks)]
    totals = [(sum([(of(i, k), i = 0, ranks - 1)]), k = 1, ranks)]
    select case (form)
    case (blocking)
      call MPI_Allreduce(mine, got, ranks, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iallreduce(mine, got, ranks, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Allreduce_init(mine, got, ranks, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got, totals, 'MPI_Allreduce')
    got = -1
    select case (form)
    case (blocking)
      call MPI_Reduce_scatter_block(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Ireduce_scatter_block(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, request, &
        ierror)
    case (again)
      call MPI_Reduce_scatter_block_init(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_equal(got(1), totals(rank + 1), 'MPI_Reduce_scatter_block')
    counts = [(i, i = 1, ranks)]
    all = [(of(rank, k), k = 1, size(all))]
    got = -1
    select case (form)
    case (blocking)
      call MPI_Reduce_scatter(all, got, counts, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Ireduce_scatter(all, got, counts, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, request, &
        ierror)
    case (again)
      call MPI_Reduce_scatter_init(all, got, counts, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, &
        MPI_INFO_NULL, request, ierror)
    end select
    call complete()
    call expect_all(got(1:rank + 1), [(sum([(of(i, rank * (rank + 1) / 2 + k), i = 0, ranks - 1)]), &
      k = 1, rank + 1)], 'MPI_Reduce_scatter')
  end subroutine

  subroutine scans()
    integer :: mine, got
    mine = of(rank, 1)
    got = -1
    select case (form)
    case (blocking)
      call MPI_Scan(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iscan(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Scan_init(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &
        request, ierror)
    end select
    call complete()
    call expect_equal(got, sum([(of(i, 1), i = 0, rank)]), 'MPI_Scan')
    got = -1
    select case (form)
    case (blocking)
      call MPI_Exscan(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    case (nonblocking)
      call MPI_Iexscan(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, request, ierror)
    case (again)
      call MPI_Exscan_init(mine, got, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &
        request, ierror)
    end select
    call complete()
    if (rank > 0) call expect_equal(got, sum([(of(i, 1), i = 0, rank - 1)]), 'MPI_Exscan')
  end subroutine

  subroutine in_place()
    integer :: values(ranks), totals(ranks), nothing
    form = blocking
    totals = [(sum([(of(i, k), i = 0, ranks - 1)]), k = 1, ranks)]
    values = [(of(rank, k), k = 1, ranks)]
    call MPI_Allreduce(MPI_IN_PLACE, values, ranks, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    call expect_all(values, totals, 'MPI_Allreduce in place')
    values = -1
    values(rank + 1) = rank
    call MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, 1, MPI_INTEGER, &
      MPI_COMM_WORLD, ierror)
    call expect_all(values, [(i, i = 0, ranks - 1)], 'MPI_Allgather in place')
    values = [(of(rank, k), k = 1, ranks)]
    call MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, 1, MPI_INTEGER, &
      MPI_COMM_WORLD, ierror)
    call expect_all(values, [(of(i, rank + 1), i = 0, ranks - 1)], 'MPI_Alltoall in place')
    values = [(of(rank, k), k = 1, ranks)]
    if (rank == 0) then
      call MPI_Reduce(MPI_IN_PLACE, values, ranks, MPI_INTEGER, MPI_SUM, 0, MPI_COMM_WORLD, ierror)
      call expect_all(values, totals, 'MPI_Reduce in place')
      values(1) = 7
      call MPI_Scatter(values, 1, MPI_INTEGER, MPI_IN_PLACE, 1, MPI_INTEGER, 0, MPI_COMM_WORLD, &
        ierror)
      call expect_equal(values(1), 7, 'MPI_Scatter in place')
    else
      call MPI_Reduce(values, nothing, ranks, MPI_INTEGER, MPI_SUM, 0, MPI_COMM_WORLD, ierror)
      call MPI_Scatter(nothing, 1, MPI_INTEGER, values, 1, MPI_INTEGER, 0, MPI_COMM_WORLD, ierror)
      call expect_equal(values(1), totals(rank + 1), 'MPI_Scatter to another')
    end if
    values(1) = rank + 1
    call MPI_Scan(MPI_IN_PLACE, values, 1, MPI_INTEGER, MPI_PROD, MPI_COMM_WORLD, ierror)
    call expect_equal(values(1), product([(i, i = 1, rank + 1)]), 'MPI_Scan in place')
  end subroutine

  ! Types that only Fortran has.
  subroutine operations()
    logical :: flags(2), got(2)
    complex :: z, total
    double precision :: pairs(2), best(2)
    real :: most
    integer :: numbers(2), least(2), common
    flags = [rank == 0, .true.]
    call MPI_Allreduce(flags, got, 2, MPI_LOGICAL, MPI_LAND, MPI_COMM_WORLD, ierror)
    call expect((got(1) .eqv. ranks == 1) .and. got(2), 'MPI_LAND of logicals')
    call MPI_Allreduce(flags, got, 2, MPI_LOGICAL, MPI_LOR, MPI_COMM_WORLD, ierror)
    call expect(all(got), 'MPI_LOR of logicals')
    call MPI_Allreduce(flags, got, 2, MPI_LOGICAL, MPI_LXOR, MPI_COMM_WORLD, ierror)
    call expect(got(1) .and. (got(2) .eqv. mod(ranks, 2) == 1), 'MPI_LXOR of logicals')
    z = cmplx(rank, -rank)
    call MPI_Allreduce(z, total, 1, MPI_COMPLEX, MPI_SUM, MPI_COMM_WORLD, ierror)
    call expect(total == cmplx(ranks * (ranks - 1) / 2, -ranks * (ranks - 1) / 2), 'complex sum')
    call MPI_Allreduce(real(rank), most, 1, MPI_REAL, MPI_MAX, MPI_COMM_WORLD, ierror)
    call expect(most == ranks - 1, 'MPI_MAX of reals')
    pairs = [dble(mod(rank, 2)), dble(rank)]
    call MPI_Allreduce(pairs, best, 1, MPI_2DOUBLE_PRECISION, MPI_MAXLOC, MPI_COMM_WORLD, ierror)
    call expect(best(2) == min(1, ranks - 1), 'MPI_MAXLOC of MPI_2DOUBLE_PRECISION')
    numbers = [-rank, rank]
    call MPI_Allreduce(numbers, least, 1, MPI_2INTEGER, MPI_MINLOC, MPI_COMM_WORLD, ierror)
    call expect_all(least, [1 - ranks, ranks - 1], 'MPI_MINLOC of MPI_2INTEGER')
    call MPI_Allreduce(ibset(255, 8 + rank), common, 1, MPI_INTEGER, MPI_BAND, MPI_COMM_WORLD, &
      ierror)
    if (ranks > 1) call expect_equal(common, 255, 'MPI_BAND')
  end subroutine
end program
