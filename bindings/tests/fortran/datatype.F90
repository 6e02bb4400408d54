! SPDX-License-Identifier: Apache-2.0 OR MIT
! Derived types: made, described, sent, packed; addresses relative to MPI_BOTTOM; types of Fortran.
#include "face.h"
#include "checks.h"
program datatype
  use checks
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: rank, ranks, ierror, i
  HANDLE(MPI_Datatype) :: made

  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  call vectors()
  call lists()
  call blocks()
  call structures()
  call bottom()
  call description()
  call packing()
  call names()
  call fortran_types()
  call MPI_Finalize(ierror)
  if (rank == 0) print '(a)', 'ok'

contains

  ! Sends one element of the type to ourselves, to see which of 1 to n arrive and where.
  subroutine arrive(wanted, what)
    integer, intent(in) :: wanted(:)
    character(len=*), intent(in) :: what
    integer :: from(size(wanted)), to(size(wanted))
    HANDLE(MPI_Request) :: request
    from = [(i, i = 1, size(from))]
    to = 0
    call MPI_Type_commit(made, ierror)
    call MPI_Irecv(to, 1, made, rank, 1, MPI_COMM_WORLD, request, ierror)
    call MPI_Send(from, 1, made, rank, 1, MPI_COMM_WORLD, ierror)
    call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
    call MPI_F_sync_reg(to)
    call expect_all(to, wanted, what)
    call MPI_Type_free(made, ierror)
    call expect(made == MPI_DATATYPE_NULL, 'MPI_Type_free')
  end subroutine

  subroutine vectors()
    call MPI_Type_contiguous(3, MPI_INTEGER, made, ierror)
    call arrive([1, 2, 3, 0], 'MPI_Type_contiguous')
    call MPI_Type_vector(3, 1, 2, MPI_INTEGER, made, ierror)
    call arrive([1, 0, 3, 0, 5, 0], 'MPI_Type_vector')
    call MPI_Type_create_hvector(2, 2, 12_MPI_ADDRESS_KIND, MPI_INTEGER, made, ierror)
    call arrive([1, 2, 0, 4, 5, 0], 'MPI_Type_create_hvector')
  end subroutine

  subroutine lists()
    call MPI_Type_indexed(2, [1, 2], [3, 0], MPI_INTEGER, made, ierror)
    call arrive([1, 2, 0, 4], 'MPI_Type_indexed')
    call MPI_Type_create_hindexed(2, [1, 2], [12_MPI_ADDRESS_KIND, 0_MPI_ADDRESS_KIND], &
      MPI_INTEGER, made, ierror)
    call arrive([1, 2, 0, 4], 'MPI_Type_create_hindexed')
    call MPI_Type_create_indexed_block(2, 2, [4, 1], MPI_INTEGER, made, ierror)
    call arrive([0, 2, 3, 0, 5, 6], 'MPI_Type_create_indexed_block')
    call MPI_Type_create_hindexed_block(2, 1, [4_MPI_ADDRESS_KIND, 16_MPI_ADDRESS_KIND], &
      MPI_INTEGER, made, ierror)
    call arrive([0, 2, 0, 0, 5, 0], 'MPI_Type_create_hindexed_block')
  end subroutine

  ! Arrays of Fortran go by columns, and starts count from zero.
  subroutine blocks()
    call MPI_Type_create_subarray(2, [3, 4], [2, 2], [1, 2], MPI_ORDER_FORTRAN, MPI_INTEGER, &
      made, ierror)
    call arrive([0, 0, 0, 0, 0, 0, 0, 8, 9, 0, 11, 12], 'MPI_Type_create_subarray')
    call MPI_Type_create_darray(2, 1, 1, [6], [MPI_DISTRIBUTE_CYCLIC], &
      [MPI_DISTRIBUTE_DFLT_DARG], [2], MPI_ORDER_FORTRAN, MPI_INTEGER, made, ierror)
    call arrive([0, 2, 0, 4, 0, 6], 'MPI_Type_create_darray')
  end subroutine

  subroutine structures()
    type :: particle
      sequence
      double precision :: place(3)
      integer :: charge, kind
      logical :: is_fixed
      character(len=4) :: name
    end type
    type(particle) :: ours(4), theirs(4)
    integer(kind=MPI_ADDRESS_KIND) :: places(4), first, second, lower, extent
    integer :: size
    HANDLE(MPI_Datatype) :: inner
    HANDLE(MPI_Request) :: request
    call MPI_Get_address(ours(1)%place, places(1), ierror)
    call MPI_Get_address(ours(1)%charge, places(2), ierror)
    call MPI_Get_address(ours(1)%is_fixed, places(3), ierror)
    call MPI_Get_address(ours(1)%name, places(4), ierror)
    call MPI_Get_address(ours(2)%place, second, ierror)
    first = places(1)
    do i = 1, 4
      places(i) = MPI_Aint_diff(places(i), first)
    end do
    call MPI_Type_create_struct(4, [3, 2, 1, 4], places, &
      [MPI_DOUBLE_PRECISION, MPI_INTEGER, MPI_LOGICAL, MPI_CHARACTER], inner, ierror)
    call MPI_Type_create_resized(inner, 0_MPI_ADDRESS_KIND, MPI_Aint_diff(second, first), made, &
      ierror)
    call MPI_Type_commit(made, ierror)
    call MPI_Type_get_extent(made, lower, extent, ierror)
    call expect(lower == 0 .and. extent == second - first, 'MPI_Type_get_extent')
    call MPI_Type_size(made, size, ierror)
    call expect_equal(size, 3 * 8 + 2 * 4 + 4 + 4, 'MPI_Type_size')
    do i = 1, 4
      ours(i) = particle([1d0 * i, 2d0 * i, rank + 0.5d0], i, -i, mod(i, 2) == 0, 'ab' // &
        achar(48 + i))
    end do
    call MPI_Irecv(theirs, 4, made, mod(rank + ranks - 1, ranks), 2, MPI_COMM_WORLD, request, &
      ierror)
    call MPI_Send(ours, 4, made, mod(rank + 1, ranks), 2, MPI_COMM_WORLD, ierror)
    call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
    do i = 1, 4
      call expect(all(theirs(i)%place == &
        [1d0 * i, 2d0 * i, mod(rank + ranks - 1, ranks) + 0.5d0]), 'places of particles')
      call expect(theirs(i)%charge == i .and. theirs(i)%kind == -i, 'numbers of particles')
      call expect(theirs(i)%is_fixed .eqv. mod(i, 2) == 0, 'logicals of particles')
      call expect(theirs(i)%name == 'ab' // achar(48 + i), 'names of particles')
    end do
    call MPI_Type_free(inner, ierror)
    call MPI_Type_free(made, ierror)
  end subroutine

  ! Two variables that are not neighbours are one message.
  subroutine bottom()
    integer :: number, got_number
    double precision :: value, got_value
    integer(kind=MPI_ADDRESS_KIND) :: places(2), zero
    HANDLE(MPI_Datatype) :: from, to
    number = 10 + rank
    value = 0.5d0 + rank
    got_number = -1
    got_value = -1
    call MPI_Get_address(MPI_BOTTOM, zero, ierror)
    call expect(zero == 0, 'the address of MPI_BOTTOM')
    call MPI_Get_address(number, places(1), ierror)
    call MPI_Get_address(value, places(2), ierror)
    call MPI_Type_create_struct(2, [1, 1], places, [MPI_INTEGER, MPI_DOUBLE_PRECISION], from, &
      ierror)
    call MPI_Get_address(got_number, places(1), ierror)
    call MPI_Get_address(got_value, places(2), ierror)
    call MPI_Type_create_struct(2, [1, 1], places, [MPI_INTEGER, MPI_DOUBLE_PRECISION], to, ierror)
    call MPI_Type_commit(from, ierror)
    call MPI_Type_commit(to, ierror)
    call MPI_Sendrecv(MPI_BOTTOM, 1, from, mod(rank + 1, ranks), 3, MPI_BOTTOM, 1, to, &
      mod(rank + ranks - 1, ranks), 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
    call expect_equal(ierror, MPI_SUCCESS, 'MPI_Sendrecv at MPI_BOTTOM')
    call MPI_F_sync_reg(got_number)
    call MPI_F_sync_reg(got_value)
    call expect_equal(got_number, 10 + mod(rank + ranks - 1, ranks), 'a number at MPI_BOTTOM')
    call expect(got_value == 0.5d0 + mod(rank + ranks - 1, ranks), 'a value at MPI_BOTTOM')
    call MPI_Type_free(from, ierror)
    call MPI_Type_free(to, ierror)
  end subroutine

  subroutine description()
    integer :: integers, addresses, types, combiner, numbers(5)
    integer(kind=MPI_ADDRESS_KIND) :: places(2)
    HANDLE(MPI_Datatype) :: inner(2)
    call MPI_Type_create_struct(2, [3, 4], [8_MPI_ADDRESS_KIND, 0_MPI_ADDRESS_KIND], &
      [MPI_REAL, MPI_COMPLEX], made, ierror)
    call MPI_Type_get_envelope(made, integers, addresses, types, combiner, ierror)
    call expect_equal(combiner, MPI_COMBINER_STRUCT, 'the combiner of a structure')
    call expect_all([integers, addresses, types], [3, 2, 2], 'MPI_Type_get_envelope')
    call MPI_Type_get_contents(made, 3, 2, 2, numbers, places, inner, ierror)
    call expect_all(numbers(1:3), [2, 3, 4], 'the integers of MPI_Type_get_contents')
    call expect(all(places == [8, 0]), 'the addresses of MPI_Type_get_contents')
    call expect(inner(1) == MPI_REAL .and. inner(2) == MPI_COMPLEX, 'the types of it')
    call MPI_Type_free(made, ierror)
    call MPI_Type_get_envelope(MPI_INTEGER, integers, addresses, types, combiner, ierror)
    call expect_equal(combiner, MPI_COMBINER_NAMED, 'the combiner of a name')
  end subroutine

  subroutine packing()
    character(len=64) :: buffer
    integer :: position, size, number
    integer(kind=MPI_ADDRESS_KIND) :: place, long
    real :: value
    call MPI_Pack_size(1, MPI_REAL, MPI_COMM_WORLD, size, ierror)
    call expect_equal(size, 4, 'MPI_Pack_size')
    position = 0
    call MPI_Pack(77, 1, MPI_INTEGER, buffer, 64, position, MPI_COMM_WORLD, ierror)
    call MPI_Pack(2.5, 1, MPI_REAL, buffer, 64, position, MPI_COMM_WORLD, ierror)
    call expect_equal(position, 8, 'the position after MPI_Pack')
    position = 0
    call MPI_Unpack(buffer, 64, position, number, 1, MPI_INTEGER, MPI_COMM_WORLD, ierror)
    call MPI_Unpack(buffer, 64, position, value, 1, MPI_REAL, MPI_COMM_WORLD, ierror)
    call expect(number == 77 .and. value == 2.5, 'MPI_Unpack')
    place = 0
    call MPI_Pack_external('external32', 258, 1, MPI_INTEGER, buffer, 64_MPI_ADDRESS_KIND, place, &
      ierror)
    call expect(buffer(1:4) == achar(0) // achar(0) // achar(1) // achar(2), 'MPI_Pack_external')
    call MPI_Pack_external_size('external32 ', 3, MPI_INTEGER, long, ierror)
    call expect(place == 4 .and. long == 12, 'MPI_Pack_external_size')
  end subroutine

  subroutine names()
    character(len=MPI_MAX_OBJECT_NAME) :: name
    character(len=6) :: short
    integer :: length
    call MPI_Type_get_name(MPI_DOUBLE_PRECISION, name, length, ierror)
    call expect_equal(length, 20, 'the length of a name')
    call expect(name == 'MPI_DOUBLE_PRECISION', 'a name is blank to its end: ' // name)
    call MPI_Type_dup(MPI_INTEGER, made, ierror)
    call MPI_Type_set_name(made, ' a number   ', ierror)
    call MPI_Type_get_name(made, name, length, ierror)
    call expect(name == ' a number' .and. length == 9, 'blanks at the end of a name: ' // name)
    call MPI_Type_get_name(made, short, length, ierror)
    call expect(short == ' a num', 'a name that is too long is cut: ' // short)
    call MPI_Type_free(made, ierror)
  end subroutine

  subroutine fortran_types()
    integer, parameter :: long = selected_int_kind(15), exact = selected_real_kind(12, 200)
    integer(kind=long) :: numbers(2), most(2)
    real(kind=exact) :: value, total
    complex(kind=exact) :: z, sum_of_z
    integer :: size
    call MPI_Type_create_f90_integer(15, made, ierror)
    numbers = [-10_long**14 * (rank + 1), 10_long**14 * rank]
    call MPI_Allreduce(numbers, most, 2, made, MPI_MAX, MPI_COMM_WORLD, ierror)
    call expect(all(most == [-10_long**14, 10_long**14 * (ranks - 1)]), 'an integer of 15 digits')
    call MPI_Type_create_f90_real(12, 200, made, ierror)
    value = 10._exact**150 * (rank + 1)
    call MPI_Allreduce(value, total, 1, made, MPI_MAX, MPI_COMM_WORLD, ierror)
    call expect(total == 10._exact**150 * ranks, 'a real up to 10**200')
    call MPI_Type_create_f90_complex(12, 200, made, ierror)
    z = cmplx(rank, 1, exact)
    call MPI_Allreduce(z, sum_of_z, 1, made, MPI_SUM, MPI_COMM_WORLD, ierror)
    call expect(sum_of_z == cmplx(ranks * (ranks - 1) / 2, ranks, exact), 'a complex of that kind')
    call MPI_Type_match_size(MPI_TYPECLASS_REAL, 8, made, ierror)
    call MPI_Type_size(made, size, ierror)
    call expect_equal(size, 8, 'MPI_Type_match_size')
#if !defined(FACE_MPIF)
    call MPI_Sizeof(value, size, ierror)
    call expect_equal(size, 8, 'MPI_Sizeof a real')
    call MPI_Sizeof(numbers, size, ierror)
    call expect_equal(size, 8, 'MPI_Sizeof an array')
    call MPI_Sizeof((1.0, 2.0), size, ierror)
    call expect_equal(size, 8, 'MPI_Sizeof a complex')
    call MPI_Sizeof(1_1, size, ierror)
    call expect_equal(size, 1, 'MPI_Sizeof a short integer')
#endif
  end subroutine
end program
