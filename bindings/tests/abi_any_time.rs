// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a program may call before MPI_Init, through the generic bodies of both faces.

use std::ffi::{CStr, c_char, c_int};

use strait_mpi::abi::mpich::Mpich;
use strait_mpi::abi::standard::Standard;
use strait_mpi::abi::{Abi, HandleKind, Status};
use strait_mpi::api::*;

fn library_version<A: Abi>() -> String {
    let mut text = [0 as c_char; 8192];
    let mut length = -1;
    // SAFETY: the array is as long as both ABIs ask for.
    unsafe {
        assert_eq!(MPI_Get_library_version::<A>(text.as_mut_ptr(), &mut length), 0);
        let text = CStr::from_ptr(text.as_ptr()).to_str().expect("text").to_string();
        assert_eq!(text.len(), length as usize);
        text
    }
}

#[test]
fn versions() {
    for text in [library_version::<Mpich>(), library_version::<Standard>()] {
        assert!(text.starts_with("Strait "), "{text}");
        for other in ["MPICH", "Open MPI", "ch3:", "ch4:", "Intel", "\n"] {
            assert!(!text.contains(other), "{text}");
        }
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both places are writable.
    unsafe {
        assert_eq!(MPI_Get_version::<Mpich>(&mut major, &mut minor), 0);
        assert_eq!((major, minor), (5, 0));
        assert_eq!(MPI_Abi_get_version::<Mpich>(&mut major, &mut minor), 0);
        assert_eq!((major, minor), (-1, -1));
        assert_eq!(MPI_Abi_get_version::<Standard>(&mut major, &mut minor), 0);
        assert_eq!((major, minor), (1, 0));
        // An argument that is NULL is an error of class ARG, in the face's own number.
        assert_eq!(MPI_Get_version::<Mpich>(std::ptr::null_mut(), &mut minor), 12);
        assert_eq!(MPI_Get_version::<Standard>(std::ptr::null_mut(), &mut minor), 13);
    }
}

#[test]
fn time_moves_on() {
    // SAFETY: no arguments.
    unsafe {
        let before = MPI_Wtime::<Standard>();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let after = MPI_Wtime::<Mpich>();
        assert!(after - before >= 0.002);
        assert!(MPI_Wtick::<Standard>() > 0.0 && MPI_Wtick::<Standard>() < 0.01);
    }
}

#[test]
fn handles_as_integers() {
    for code in [0x101, 0xC000_0001, 0xFFFF_FFFE] {
        let mpich = Mpich::handle_out(HandleKind::Comm, code);
        let standard = Standard::handle_out(HandleKind::Comm, code);
        // SAFETY: only numbers.
        unsafe {
            let number = MPI_Comm_toint::<Mpich>(mpich);
            assert_eq!(number as u32, mpich);
            assert_eq!(MPI_Comm_fromint::<Mpich>(number), mpich);
            assert_eq!(MPI_Comm_f2c::<Mpich>(MPI_Comm_c2f::<Mpich>(mpich)), mpich);
            let number = MPI_Comm_toint::<Standard>(standard);
            assert_eq!(number as u32, code);
            assert_eq!(MPI_Comm_fromint::<Standard>(number), standard);
        }
    }
    // SAFETY: only numbers.
    unsafe {
        assert_eq!(MPI_File_toint::<Mpich>(0), 0);
        assert_eq!(MPI_File_toint::<Standard>(0x118), 0x118);
        let file = Mpich::file_out(0xC000_0003);
        assert_eq!(MPI_File_fromint::<Mpich>(MPI_File_toint::<Mpich>(file)), file);
    }
}

/// Sets and gets every field of a status, then sends it through Fortran and back.
unsafe fn status_fields<A: Abi>(any_source: c_int, truncate: c_int) {
    let mut space = [0u64; 4];
    let status: *mut A::Status = space.as_mut_ptr().cast();
    let mut value = 0;
    // SAFETY: the space is as large as the larger status, and a status after the first write.
    unsafe {
        A::status_write(status, &Status::EMPTY);
        A::status_write_error(status, 0);
        assert_eq!(MPI_Status_get_source::<A>(status, &mut value), 0);
        assert_eq!(value, any_source);
        assert_eq!(MPI_Status_set_source::<A>(status, 3), 0);
        assert_eq!(MPI_Status_set_tag::<A>(status, 77), 0);
        assert_eq!(MPI_Status_set_error::<A>(status, truncate), 0);
        assert_eq!(MPI_Status_set_cancelled::<A>(status, 1), 0);
        let mut fortran = [0 as c_int; 8];
        let mut back = [0u64; 4];
        let back: *mut A::Status = back.as_mut_ptr().cast();
        assert_eq!(MPI_Status_c2f::<A>(status, fortran.as_mut_ptr()), 0);
        assert_eq!(MPI_Status_f2c::<A>(fortran.as_ptr(), back), 0);
        MPI_Status_get_source::<A>(back, &mut value);
        assert_eq!(value, 3);
        MPI_Status_get_tag::<A>(back, &mut value);
        assert_eq!(value, 77);
        MPI_Status_get_error::<A>(back, &mut value);
        assert_eq!(value, truncate);
        MPI_Test_cancelled::<A>(back, &mut value);
        assert_eq!(value, 1);
    }
}

#[test]
fn fields_of_a_status() {
    // SAFETY: the function has no conditions of its own.
    unsafe {
        status_fields::<Mpich>(-2, 14);
        status_fields::<Standard>(-1, 15);
    }
}

#[test]
fn addresses() {
    let place = [0u8; 16];
    let mut address = 0;
    // SAFETY: both pointers are to live locals.
    unsafe {
        assert_eq!(MPI_Get_address::<Mpich>(place[4..].as_ptr().cast(), &mut address), 0);
        assert_eq!(address, place.as_ptr() as isize + 4);
        assert_eq!(MPI_Aint_diff::<Mpich>(address, place.as_ptr() as isize), 4);
        assert_eq!(MPI_Aint_add::<Standard>(address, 3), address + 3);
    }
}

#[test]
fn fortran_booleans() {
    for size in [1usize, 2, 4, 8, 16] {
        let (mut yes, mut no) = ([9u8; 16], [9u8; 16]);
        let mut is_set = 0;
        let places = (yes.as_mut_ptr().cast(), no.as_mut_ptr().cast());
        // SAFETY: 16 bytes are enough for every size.
        unsafe {
            let result = MPI_Abi_get_fortran_booleans::<Standard>(
                size as c_int,
                places.0,
                places.1,
                &mut is_set,
            );
            assert_eq!((result, is_set), (0, 1));
            let same = MPI_Abi_set_fortran_booleans::<Standard>(size as c_int, places.0, places.1);
            let swapped =
                MPI_Abi_set_fortran_booleans::<Standard>(size as c_int, places.1, places.0);
            assert_eq!((same, swapped), (0, 62));
        }
        assert_eq!(yes[..size].iter().map(|b| u32::from(*b)).sum::<u32>(), 1);
        assert!(no[..size].iter().all(|byte| *byte == 0) && yes[size..].iter().all(|b| *b == 9));
    }
    // SAFETY: the size is refused before anything is written.
    let refused = unsafe {
        let (place, mut is_set) = (std::ptr::null_mut(), 0);
        MPI_Abi_get_fortran_booleans::<Mpich>(3, place, place, &mut is_set)
    };
    assert_eq!(refused, 12);
}
