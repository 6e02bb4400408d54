// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spawning: tables of texts, which end at a blank one in Fortran and at a null pointer in C
//! (MPI-5.0 section 11.8.2).
//!
//! Only the root's texts are read; what the other ranks pass need not be there.
#![allow(clippy::missing_safety_doc, reason = "Fortran's interfaces say what may be passed")]

use std::ffi::{CString, c_char, c_int};
use std::ptr::null_mut;

use crate::exports::{Handle, PMPI_Comm_rank};
use crate::handle::{Handles, handle, integer};
use crate::own::level;
use crate::{sentinel, text};

/// Texts as C wants them: pointers to each, and a null pointer.
struct Texts {
    pointers: Vec<*mut c_char>,
    /// What they point to.
    _kept: Vec<CString>,
}

impl Texts {
    fn new(kept: Vec<CString>) -> Texts {
        let mut pointers: Vec<_> = kept.iter().map(|text| text.as_ptr().cast_mut()).collect();
        pointers.push(null_mut());
        Texts { pointers, _kept: kept }
    }

    /// Every `stride`-th text of a table, up to the first that is blank.
    ///
    /// # Safety
    /// There is a blank one.
    unsafe fn until_blank(first: *const c_char, length: usize, stride: usize) -> Texts {
        let mut kept = Vec::new();
        loop {
            let place = first.wrapping_add(kept.len() * stride * length);
            // SAFETY: no blank one came before it.
            let text = unsafe { text::trimmed(place, length) };
            // Texts without length are all blank.
            if text.is_empty() {
                return Texts::new(kept);
            }
            kept.push(text);
        }
    }
}

fn is_root(comm: Handle, root: c_int) -> bool {
    let mut rank = -1;
    // SAFETY: the place is ours.
    let result = unsafe { PMPI_Comm_rank(comm, &raw mut rank) };
    result == 0 && rank == root
}

pub unsafe fn mpi_comm_spawn<const PLAIN: bool>(
    command: *mut c_char,
    argv: *mut c_char,
    maxprocs: *mut c_int,
    info: *mut c_int,
    root: *mut c_int,
    comm: *mut c_int,
    intercomm: *mut c_int,
    array_of_errcodes: *mut c_int,
    command_len: usize,
    argv_len: usize,
) -> c_int {
    let mut made: Handle = 0;
    // SAFETY: the interface.
    unsafe {
        let (comm, root, info) = (handle(*comm), *root, handle(*info));
        let (mut arguments, mut name) = (None, CString::default());
        if is_root(comm, root) {
            name = text::trimmed(command, command_len);
            if !sentinel::is_no_arguments(argv) {
                arguments = Some(Texts::until_blank(argv, argv_len, 1));
            }
        }
        let argv = arguments.as_mut().map_or(null_mut(), |texts| texts.pointers.as_mut_ptr());
        let codes = sentinel::errcodes(array_of_errcodes);
        let place = &raw mut made;
        let name = name.as_ptr();
        let result = level!(
            MPI_Comm_spawn | PMPI_Comm_spawn(name, argv, *maxprocs, info, root, comm, place, codes)
        );
        if result == 0 {
            *intercomm = integer(made);
        }
        result
    }
}

pub unsafe fn mpi_comm_spawn_multiple<const PLAIN: bool>(
    count: *mut c_int,
    array_of_commands: *mut c_char,
    array_of_argv: *mut c_char,
    array_of_maxprocs: *mut c_int,
    array_of_info: *mut c_int,
    root: *mut c_int,
    comm: *mut c_int,
    intercomm: *mut c_int,
    array_of_errcodes: *mut c_int,
    array_of_commands_len: usize,
    array_of_argv_len: usize,
) -> c_int {
    let mut made: Handle = 0;
    // SAFETY: the interface.
    unsafe {
        let (comm, root) = (handle(*comm), *root);
        let known = if is_root(comm, root) { *count } else { 0 };
        let programs = usize::try_from(known).unwrap_or(0);
        let one = |i: usize| {
            let place = array_of_commands.wrapping_add(i * array_of_commands_len);
            text::trimmed(place, array_of_commands_len)
        };
        let mut commands = Texts::new((0..programs).map(one).collect());
        let has_arguments = programs > 0 && !sentinel::is_no_arguments(array_of_argv);
        let mut arguments: Vec<Texts> = match has_arguments {
            true => (0..programs)
                .map(|i| {
                    let first = array_of_argv.wrapping_add(i * array_of_argv_len);
                    Texts::until_blank(first, array_of_argv_len, programs)
                })
                .collect(),
            false => Vec::new(),
        };
        let mut tables: Vec<_> =
            arguments.iter_mut().map(|texts| texts.pointers.as_mut_ptr()).collect();
        let argv = if has_arguments { tables.as_mut_ptr() } else { null_mut() };
        let mut infos = Handles::read(array_of_info, known.into());
        let codes = sentinel::errcodes(array_of_errcodes);
        let result = level!(
            MPI_Comm_spawn_multiple
                | PMPI_Comm_spawn_multiple(
                    *count,
                    commands.pointers.as_mut_ptr(),
                    argv,
                    array_of_maxprocs,
                    infos.as_mut_ptr(),
                    root,
                    comm,
                    &raw mut made,
                    codes
                )
        );
        if result == 0 {
            *intercomm = integer(made);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_goes_by_columns() {
        // Two programs with (count,*) arguments of three characters: "a", "b" and "cd".
        let table = b"a  cd b        ";
        let of = |i: usize| {
            let first = table[i * 3..].as_ptr().cast();
            // SAFETY: both programs' texts end within the table.
            let texts = unsafe { Texts::until_blank(first, 3, 2) };
            assert!(texts.pointers.last().is_some_and(|last| last.is_null()));
            texts._kept
        };
        assert_eq!(of(0), [c"a".to_owned(), c"b".to_owned()]);
        assert_eq!(of(1), [c"cd".to_owned()]);
    }
}
