! SPDX-License-Identifier: Apache-2.0 OR MIT
! What a test says when something is not as it should be.
module checks
  implicit none
contains
  subroutine expect(is_right, what)
    logical, intent(in) :: is_right
    character(len=*), intent(in) :: what
    if (is_right) return
    write (0, '(2a)') 'not right: ', what
    stop 1
  end subroutine

  subroutine expect_equal(found, expected, what)
    integer, intent(in) :: found, expected
    character(len=*), intent(in) :: what
    if (found == expected) return
    write (0, '(2a,i0,a,i0)') what, ': found ', found, ', expected ', expected
    stop 1
  end subroutine

  subroutine expect_all(found, expected, what)
    integer, intent(in) :: found(:), expected(:)
    character(len=*), intent(in) :: what
    if (size(found) == size(expected)) then
      if (all(found == expected)) return
    end if
    write (0, '(2a,*(1x,i0))') what, ': found', found
    write (0, '(a,*(1x,i0))') '  expected', expected
    stop 1
  end subroutine
end module
