// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A token goes round the ranks once and collects their numbers: Rust over the standard C ABI.
//!
//! The ABI fixes the values of the predefined handles, so that a few declarations are enough and
//! the program runs with every library that has this ABI.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Comm(usize);

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Datatype(usize);

const COMM_WORLD: Comm = Comm(0x101);
const INT: Datatype = Datatype(0x209);

unsafe extern "C" {
    fn MPI_Init(argc: *mut c_int, argv: *mut *mut *mut c_char) -> c_int;
    fn MPI_Comm_rank(comm: Comm, rank: *mut c_int) -> c_int;
    fn MPI_Comm_size(comm: Comm, size: *mut c_int) -> c_int;
    fn MPI_Send(
        buffer: *const c_void,
        count: c_int,
        datatype: Datatype,
        to: c_int,
        tag: c_int,
        comm: Comm,
    ) -> c_int;
    fn MPI_Recv(
        buffer: *mut c_void,
        count: c_int,
        datatype: Datatype,
        from: c_int,
        tag: c_int,
        comm: Comm,
        status: *mut c_void,
    ) -> c_int;
    fn MPI_Finalize() -> c_int;
}

/// How many ranks the token passed, and the sum of their numbers.
type Token = [c_int; 2];

fn send(token: &Token, to: c_int) {
    // SAFETY: the buffer holds two ints and lives until the call returns, which is when a
    // blocking send has finished with it.
    unsafe { MPI_Send(token.as_ptr().cast(), 2, INT, to, 0, COMM_WORLD) };
}

fn receive(from: c_int) -> Token {
    let mut token = [0; 2];
    // SAFETY: the buffer has room for two ints and is not used elsewhere; a null status is
    // MPI_STATUS_IGNORE in this ABI.
    unsafe { MPI_Recv(token.as_mut_ptr().cast(), 2, INT, from, 0, COMM_WORLD, ptr::null_mut()) };
    token
}

fn main() {
    let (mut rank, mut size) = (0, 0);
    // SAFETY: MPI allows null arguments here, and this is the first call.
    unsafe { MPI_Init(ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: both pointers are to ints of ours.
    unsafe { MPI_Comm_rank(COMM_WORLD, &mut rank) };
    // SAFETY: as above.
    unsafe { MPI_Comm_size(COMM_WORLD, &mut size) };
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    if rank == 0 {
        send(&[1, 0], right);
        let [ranks, sum] = receive(left);
        println!("the token passed {ranks} ranks and collected {sum}");
    } else {
        let [ranks, sum] = receive(left);
        send(&[ranks + 1, sum + rank], right);
    }
    // SAFETY: no other MPI call follows, in no thread.
    unsafe { MPI_Finalize() };
}
