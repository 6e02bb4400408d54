! SPDX-License-Identifier: Apache-2.0 OR MIT
! Procedures of the user that the library calls: operations, attributes, error handlers,
! generalized requests.
#include "face.h"
#include "checks.h"
module procedures
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: copies = 0, deletes = 0, errors = 0, last_error = 0, frees = 0, cancels = 0
  integer(kind=MPI_ADDRESS_KIND) :: last_deleted = 0

contains

  ! a * b for 2 by 2 matrices, which does not commute.
#if defined(FACE_F08)
  subroutine multiply(invec, inoutvec, len, datatype)
    use, intrinsic :: iso_c_binding, only: C_PTR, c_f_pointer
    type(C_PTR), value :: invec, inoutvec
    integer :: len
    type(MPI_Datatype) :: datatype
    integer, pointer :: a(:, :, :), b(:, :, :)
    integer :: i, size
    call c_f_pointer(invec, a, [2, 2, len])
    call c_f_pointer(inoutvec, b, [2, 2, len])
#else
  subroutine multiply(a, b, len, datatype)
    integer :: len, datatype
    integer :: a(2, 2, len), b(2, 2, len)
    integer :: i, size, ierror
#endif
    call MPI_Type_size(datatype, size &
#if !defined(FACE_F08)
      , ierror &
#endif
      )
    if (size /= 16) stop 2
    do i = 1, len
      b(:, :, i) = matmul(a(:, :, i), b(:, :, i))
    end do
  end subroutine

  subroutine copy(oldcomm, comm_keyval, extra_state, attribute_val_in, attribute_val_out, flag, &
      ierror)
    HANDLE(MPI_Comm) :: oldcomm
    integer :: comm_keyval, ierror
    integer(kind=MPI_ADDRESS_KIND) :: extra_state, attribute_val_in, attribute_val_out
    logical :: flag
    copies = copies + 1
    flag = extra_state == 1000 .and. oldcomm == MPI_COMM_SELF .and. &
      comm_keyval /= MPI_KEYVAL_INVALID
    attribute_val_out = attribute_val_in + extra_state
    ierror = MPI_SUCCESS
  end subroutine

  subroutine delete(comm, comm_keyval, attribute_val, extra_state, ierror)
    HANDLE(MPI_Comm) :: comm
    integer :: comm_keyval, ierror
    integer(kind=MPI_ADDRESS_KIND) :: attribute_val, extra_state
    deletes = deletes + 1
    last_deleted = attribute_val
    ierror = MPI_SUCCESS
    if (extra_state /= 1000 .or. comm == MPI_COMM_NULL) ierror = MPI_ERR_OTHER
    if (attribute_val == -1) ierror = MPI_ERR_ARG
    if (comm_keyval == MPI_KEYVAL_INVALID) ierror = MPI_ERR_OTHER
  end subroutine

  subroutine handler(comm, error_code)
    HANDLE(MPI_Comm) :: comm
    integer :: error_code
    errors = errors + 1
    last_error = error_code
    if (comm == MPI_COMM_NULL) last_error = -1
  end subroutine

  subroutine query(extra_state, status, ierror)
    integer(kind=MPI_ADDRESS_KIND) :: extra_state
    STATUS :: status STATUS_DIM
    integer :: ierror
    call MPI_Status_set_elements(status, MPI_INTEGER, int(extra_state), ierror)
    call MPI_Status_set_cancelled(status, cancels > 0, ierror)
    SOURCE_OF(status) = 5
    TAG_OF(status) = 6
    ierror = MPI_SUCCESS
  end subroutine

  subroutine release(extra_state, ierror)
    integer(kind=MPI_ADDRESS_KIND) :: extra_state
    integer :: ierror
    frees = frees + 1
    ierror = MPI_SUCCESS
    if (extra_state /= 3) ierror = MPI_ERR_OTHER
  end subroutine

  subroutine cancel(extra_state, complete, ierror)
    integer(kind=MPI_ADDRESS_KIND) :: extra_state
    logical :: complete
    integer :: ierror
    if (.not. complete .and. extra_state == 3) cancels = cancels + 1
    ierror = MPI_SUCCESS
  end subroutine
end module

program callback
  use checks
  use procedures
  implicit none
  integer :: rank, ranks, ierror

  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  call operation()
  call attributes()
  call predefined()
  call handlers()
  call codes()
  call generalized()
  call MPI_Finalize(ierror)
  if (rank == 0) print '(a)', 'ok'

contains

  subroutine operation()
    integer :: mine(2, 2, 3), got(2, 2, 3), wanted(2, 2), next(2, 2), i
    logical :: commutes
    HANDLE(MPI_Datatype) :: matrix
    HANDLE(MPI_Op) :: op
    call MPI_Type_contiguous(4, MPI_INTEGER, matrix, ierror)
    call MPI_Type_commit(matrix, ierror)
    call MPI_Op_create(multiply, .false., op, ierror)
    call MPI_Op_commutative(op, commutes, ierror)
    call expect(.not. commutes, 'MPI_Op_commutative')
    do i = 1, 3
      mine(:, :, i) = reshape([1, i, rank + 1, 0], [2, 2])
    end do
    call MPI_Allreduce(mine, got, 3, matrix, op, MPI_COMM_WORLD, ierror)
    do i = 1, 3
      call serial(i, ranks - 1, wanted)
      call expect_all(reshape(got(:, :, i), [4]), reshape(wanted, [4]), 'a product of matrices')
    end do
    call MPI_Scan(mine, got, 3, matrix, op, MPI_COMM_WORLD, ierror)
    call serial(2, rank, wanted)
    call expect_all(reshape(got(:, :, 2), [4]), reshape(wanted, [4]), 'products up to a rank')
    next = reshape([2, 0, 1, 1], [2, 2])
    wanted = matmul(mine(:, :, 1), next)
    call MPI_Reduce_local(mine, next, 1, matrix, op, ierror)
    call expect_all(reshape(next, [4]), reshape(wanted, [4]), 'MPI_Reduce_local')
    call MPI_Op_free(op, ierror)
    call expect(op == MPI_OP_NULL, 'MPI_Op_free')
    call MPI_Type_free(matrix, ierror)
  end subroutine

  subroutine serial(i, last, product)
    integer, intent(in) :: i, last
    integer, intent(out) :: product(2, 2)
    integer :: r
    product = reshape([1, 0, 0, 1], [2, 2])
    do r = 0, last
      product = matmul(product, reshape([1, i, r + 1, 0], [2, 2]))
    end do
  end subroutine

  subroutine attributes()
    integer :: keyval, plain
    integer(kind=MPI_ADDRESS_KIND) :: value
    logical :: flag
    HANDLE(MPI_Comm) :: other
    HANDLE(MPI_Errhandler) :: before
    call MPI_Comm_create_keyval(copy, delete, keyval, 1000_MPI_ADDRESS_KIND, ierror)
    call MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN, plain, &
      0_MPI_ADDRESS_KIND, ierror)
    value = -123456789012_MPI_ADDRESS_KIND
    call MPI_Comm_set_attr(MPI_COMM_SELF, keyval, value, ierror)
    call MPI_Comm_set_attr(MPI_COMM_SELF, plain, 7_MPI_ADDRESS_KIND, ierror)
    call MPI_Comm_dup(MPI_COMM_SELF, other, ierror)
    call expect_equal(copies, 1, 'copies of an attribute')
    call MPI_Comm_get_attr(other, keyval, value, flag, ierror)
    call expect(flag .and. value == -123456788012_MPI_ADDRESS_KIND, 'a copied attribute')
    call MPI_Comm_get_attr(other, plain, value, flag, ierror)
    call expect(.not. flag, 'MPI_COMM_NULL_COPY_FN')
    call expect(value == -123456788012_MPI_ADDRESS_KIND, 'no attribute, no value')
    call MPI_Comm_delete_attr(other, keyval, ierror)
    call expect_equal(deletes, 1, 'deleted by MPI_Comm_delete_attr')
    call MPI_Comm_set_attr(other, keyval, -1_MPI_ADDRESS_KIND, ierror)
    call MPI_Comm_get_errhandler(MPI_COMM_SELF, before, ierror)
    call MPI_Comm_set_errhandler(other, MPI_ERRORS_RETURN, ierror)
    call MPI_Comm_delete_attr(other, keyval, ierror)
    call expect(ierror /= MPI_SUCCESS, 'a delete procedure may refuse')
    call MPI_Errhandler_free(before, ierror)
    call MPI_Comm_set_attr(other, keyval, 5_MPI_ADDRESS_KIND, ierror)
    call MPI_Comm_delete_attr(other, keyval, ierror)
    call MPI_Comm_free(other, ierror)
    call MPI_Comm_delete_attr(MPI_COMM_SELF, keyval, ierror)
    call expect(last_deleted == -123456789012_MPI_ADDRESS_KIND, 'what was deleted last')
    call MPI_Comm_delete_attr(MPI_COMM_SELF, plain, ierror)
    call MPI_Comm_free_keyval(keyval, ierror)
    call expect_equal(keyval, MPI_KEYVAL_INVALID, 'MPI_Comm_free_keyval')
    call MPI_Comm_free_keyval(plain, ierror)
    call duplicated()
  end subroutine

  subroutine duplicated()
    integer :: keyval
    integer(kind=MPI_ADDRESS_KIND) :: value
    logical :: flag
    HANDLE(MPI_Datatype) :: other, third
    call MPI_Type_create_keyval(MPI_TYPE_DUP_FN, MPI_TYPE_NULL_DELETE_FN, keyval, &
      0_MPI_ADDRESS_KIND, ierror)
    call MPI_Type_dup(MPI_REAL, other, ierror)
    call MPI_Type_set_attr(other, keyval, 11_MPI_ADDRESS_KIND, ierror)
    call MPI_Type_dup(other, third, ierror)
    call MPI_Type_get_attr(third, keyval, value, flag, ierror)
    call expect(flag .and. value == 11, 'MPI_TYPE_DUP_FN')
    call MPI_Type_free(other, ierror)
    call MPI_Type_free(third, ierror)
    call MPI_Type_free_keyval(keyval, ierror)
  end subroutine

  subroutine predefined()
    integer(kind=MPI_ADDRESS_KIND) :: value
    logical :: flag
    call MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, value, flag, ierror)
    call expect(flag .and. value >= 32767, 'MPI_TAG_UB')
    call MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_WTIME_IS_GLOBAL, value, flag, ierror)
    call expect(flag .and. (value == 0 .or. value == 1), 'MPI_WTIME_IS_GLOBAL')
    call MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_IO, value, flag, ierror)
    call expect(flag .and. (value == MPI_ANY_SOURCE .or. value == rank), 'MPI_IO')
  end subroutine

  subroutine handlers()
    integer :: class, value
    HANDLE(MPI_Errhandler) :: ours, found
    HANDLE(MPI_Comm) :: other
    call MPI_Comm_dup(MPI_COMM_WORLD, other, ierror)
    call MPI_Comm_create_errhandler(handler, ours, ierror)
    call MPI_Comm_set_errhandler(other, ours, ierror)
    call MPI_Comm_get_errhandler(other, found, ierror)
    call expect(found == ours, 'MPI_Comm_get_errhandler')
    call MPI_Errhandler_free(found, ierror)
    call MPI_Errhandler_free(ours, ierror)
    call expect(ours == MPI_ERRHANDLER_NULL, 'MPI_Errhandler_free')
    value = 1
    call MPI_Send(value, 1, MPI_INTEGER, ranks, 0, other, ierror)
    call expect_equal(errors, 1, 'the error handler was called')
    call expect_equal(last_error, ierror, 'with the code that is returned')
    call MPI_Error_class(ierror, class, ierror)
    call expect_equal(class, MPI_ERR_RANK, 'MPI_Error_class')
    call MPI_Comm_call_errhandler(other, MPI_ERR_TAG, ierror)
    call expect(errors == 2 .and. last_error == MPI_ERR_TAG, 'MPI_Comm_call_errhandler')
    call MPI_Comm_free(other, ierror)
    call MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN, ierror)
    call MPI_Send(value, -1, MPI_INTEGER, 0, 0, MPI_COMM_SELF, ierror)
    call MPI_Error_class(ierror, class, ierror)
    call expect_equal(class, MPI_ERR_COUNT, 'MPI_ERRORS_RETURN')
  end subroutine

  subroutine codes()
    integer :: class, code, length
    character(len=MPI_MAX_ERROR_STRING) :: text
    call MPI_Error_string(MPI_ERR_TRUNCATE, text, length, ierror)
    call expect(length > 10 .and. len_trim(text) == length, 'MPI_Error_string')
    call MPI_Add_error_class(class, ierror)
    call MPI_Add_error_code(class, code, ierror)
    call MPI_Add_error_string(code, 'the sky fell  ', ierror)
    call MPI_Error_string(code, text, length, ierror)
    call expect(text == 'the sky fell' .and. length == 12, 'MPI_Add_error_string: ' // text)
  end subroutine

  subroutine generalized()
    integer :: count
    logical :: flag
    HANDLE(MPI_Request) :: request
    STATUS :: status STATUS_DIM
    call MPI_Grequest_start(query, release, cancel, 3_MPI_ADDRESS_KIND, request, ierror)
    call MPI_Test(request, flag, status, ierror)
    call expect(.not. flag, 'a generalized request before its end')
    call MPI_Cancel(request, ierror)
    call expect_equal(cancels, 1, 'the cancel procedure')
    call MPI_Grequest_complete(request, ierror)
    call MPI_Wait(request, status, ierror)
    call expect_equal(frees, 1, 'the free procedure')
    call expect(request == MPI_REQUEST_NULL, 'a generalized request after its end')
    call MPI_Get_elements(status, MPI_INTEGER, count, ierror)
    call expect_equal(count, 3, 'the elements of the query procedure')
    call MPI_Test_cancelled(status, flag, ierror)
    call expect(flag, 'MPI_Test_cancelled of a generalized request')
    call expect(SOURCE_OF(status) == 5 .and. TAG_OF(status) == 6, 'the status it filled')
  end subroutine
end program
