! SPDX-License-Identifier: Apache-2.0 OR MIT
! A job starts others: with arguments, which are blank to their ends, and without; several programs.
! ranks: 1 2
#include "face.h"
#include "checks.h"
program spawn
  use checks
  USE_MPI
  implicit none
  INCLUDE_MPI
  integer :: rank, ierror
  character(len=400) :: self
  HANDLE(MPI_Comm) :: parent

  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_get_parent(parent, ierror)
  if (parent == MPI_COMM_NULL) then
    call get_command_argument(0, self)
    call one_program()
    call several_programs()
    if (rank == 0) print '(a)', 'ok'
  else
    call child()
  end if
  call MPI_Finalize(ierror)

contains

  ! Each child says what its first argument and the number of arguments are.
  subroutine child()
    character(len=40) :: first
    integer :: told(2)
    call get_command_argument(1, first)
    told = [command_argument_count(), len_trim(first)]
    call MPI_Send(told, 2, MPI_INTEGER, 0, 1, parent, ierror)
    call MPI_Comm_disconnect(parent, ierror)
  end subroutine

  subroutine told_by(children, place, wanted, what)
    HANDLE(MPI_Comm), intent(in) :: children
    integer, intent(in) :: place, wanted(2)
    character(len=*), intent(in) :: what
    integer :: told(2)
    if (rank /= 0) return
    call MPI_Recv(told, 2, MPI_INTEGER, place, 1, children, MPI_STATUS_IGNORE, ierror)
    call expect_all(told, wanted, what)
  end subroutine

  subroutine one_program()
    character(len=12) :: arguments(3)
    integer :: codes(2), count
    HANDLE(MPI_Comm) :: children
    arguments = [character(len=12) :: 'first one', 'second', ' ']
    codes = -1
    call MPI_Comm_spawn(self, arguments, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD, children, codes, ierror)
    call expect_all(codes, [MPI_SUCCESS, MPI_SUCCESS], 'the codes of MPI_Comm_spawn')
    call MPI_Comm_remote_size(children, count, ierror)
    call expect_equal(count, 2, 'the children of MPI_Comm_spawn')
    call told_by(children, 0, [2, 9], 'arguments of a child')
    call told_by(children, 1, [2, 9], 'arguments of the other child')
    call MPI_Comm_disconnect(children, ierror)
    call MPI_Comm_spawn(self, MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, children, &
      MPI_ERRCODES_IGNORE, ierror)
    call told_by(children, 0, [0, 0], 'MPI_ARGV_NULL')
    call MPI_Comm_disconnect(children, ierror)
  end subroutine

  ! Arguments of one program are a row.
  subroutine several_programs()
    character(len=400) :: commands(2)
    character(len=12) :: arguments(2, 3)
    integer :: codes(2)
    HANDLE(MPI_Comm) :: children
    HANDLE(MPI_Info) :: infos(2)
    commands = self
    infos = MPI_INFO_NULL
    arguments = ' '
    arguments(1, 1) = 'a'
    arguments(1, 2) = 'b'
    arguments(2, 1) = 'three'
    call MPI_Comm_spawn_multiple(2, commands, arguments, [1, 1], infos, 0, MPI_COMM_WORLD, children, &
      codes, ierror)
    call expect_all(codes, [MPI_SUCCESS, MPI_SUCCESS], 'the codes of MPI_Comm_spawn_multiple')
    call told_by(children, 0, [2, 1], 'arguments of the first program')
    call told_by(children, 1, [1, 5], 'arguments of the second program')
    call MPI_Comm_disconnect(children, ierror)
    call MPI_Comm_spawn_multiple(2, commands, MPI_ARGVS_NULL, [1, 1], infos, 0, MPI_COMM_WORLD, &
      children, MPI_ERRCODES_IGNORE, ierror)
    call told_by(children, 0, [0, 0], 'MPI_ARGVS_NULL')
    call told_by(children, 1, [0, 0], 'MPI_ARGVS_NULL of the second')
    call MPI_Comm_disconnect(children, ierror)
  end subroutine
end program
