// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accesses: one call each, and which bytes it should have moved.

use crate::datatype::Type;
use crate::mpi::raw::*;
use crate::mpi::{Part, check};
use crate::pattern::{Seed, fill, fill_numbers, holds};
use std::ffi::c_int;

/// Where an access goes.
#[derive(Clone, Copy)]
pub struct Place {
    pub win: Win,
    pub peer: c_int,
    pub displacement: isize,
}

/// Memory of the origin.
#[derive(Clone, Copy)]
pub struct Parts {
    pub local: Part,
    /// What was there before.
    pub result: Part,
    /// What compare and swap expects.
    pub expected: Part,
}

/// One kind of access.
pub trait Operation {
    /// Whether data goes to the origin.
    const FETCHES: bool;
    /// Whether elements are added up.
    const SUMS: bool = false;

    /// # Safety
    /// The parts lie in memory of ours that nothing else uses until the access is complete; the
    /// window is valid, and an epoch is open.
    unsafe fn call(place: Place, parts: Parts);
}

/// `MPI_Put`.
pub struct Put;
/// `MPI_Get`.
pub struct Get;
/// `MPI_Accumulate`.
pub struct Accumulate;
/// `MPI_Get_accumulate`.
pub struct GetAccumulate;
/// `MPI_Fetch_and_op`.
pub struct FetchAndOp;
/// `MPI_Compare_and_swap`.
pub struct CompareAndSwap;

impl Operation for Put {
    const FETCHES: bool = false;

    #[inline]
    unsafe fn call(place: Place, parts: Parts) {
        let Place { win, peer, displacement } = place;
        let Part { start, count, datatype } = parts.local;
        // SAFETY: the caller's promise.
        check(unsafe {
            MPI_Put(start.cast(), count, datatype, peer, displacement, count, datatype, win)
        });
    }
}

impl Operation for Get {
    const FETCHES: bool = true;

    #[inline]
    unsafe fn call(place: Place, parts: Parts) {
        let Place { win, peer, displacement } = place;
        let Part { start, count, datatype } = parts.result;
        // SAFETY: the caller's promise.
        check(unsafe {
            MPI_Get(start.cast(), count, datatype, peer, displacement, count, datatype, win)
        });
    }
}

impl Operation for Accumulate {
    const FETCHES: bool = false;
    const SUMS: bool = true;

    #[inline]
    unsafe fn call(place: Place, parts: Parts) {
        let Place { win, peer, displacement } = place;
        let Part { start, count, datatype } = parts.local;
        let start = start.cast();
        // SAFETY: the caller's promise.
        check(unsafe {
            MPI_Accumulate(start, count, datatype, peer, displacement, count, datatype, SUM, win)
        });
    }
}

impl Operation for GetAccumulate {
    const FETCHES: bool = true;
    const SUMS: bool = true;

    #[inline]
    unsafe fn call(place: Place, parts: Parts) {
        let Place { win, peer, displacement: at } = place;
        let Part { start, count, datatype: ty } = parts.local;
        let (start, result) = (start.cast(), parts.result.start.cast());
        // SAFETY: the caller's promise.
        check(unsafe {
            MPI_Get_accumulate(start, count, ty, result, count, ty, peer, at, count, ty, SUM, win)
        });
    }
}

impl Operation for FetchAndOp {
    const FETCHES: bool = true;
    const SUMS: bool = true;

    #[inline]
    unsafe fn call(place: Place, parts: Parts) {
        let Place { win, peer, displacement } = place;
        let (start, result) = (parts.local.start.cast(), parts.result.start.cast());
        // SAFETY: the caller's promise.
        check(unsafe { MPI_Fetch_and_op(start, result, LONG_LONG, peer, displacement, SUM, win) });
    }
}

impl Operation for CompareAndSwap {
    const FETCHES: bool = true;

    #[inline]
    unsafe fn call(place: Place, parts: Parts) {
        let Place { win, peer, displacement } = place;
        let (start, result) = (parts.local.start.cast(), parts.result.start.cast());
        let expected = parts.expected.start.cast();
        // SAFETY: the caller's promise.
        check(unsafe {
            MPI_Compare_and_swap(start, expected, result, LONG_LONG, peer, displacement, win)
        });
    }
}

/// The elements that a rank brings to a round.
pub fn bring<O: Operation>(bytes: &mut [u8], datatype: Type, round: u64, from: usize) {
    match O::SUMS {
        // Eight bytes of a long are two small numbers, whose sums carry nothing over.
        true => fill_numbers(bytes, numbers(datatype), round, from),
        false => fill(bytes, Seed::new(round, from, 0)),
    }
}

/// Whether these are `times` of them: added up, or just there.
pub fn is_brought<O: Operation>(
    bytes: &[u8],
    datatype: Type,
    round: u64,
    from: usize,
    times: u64,
) -> bool {
    if !O::SUMS {
        return holds(bytes, Seed::new(round, from, 0));
    }
    let mut once = vec![0; bytes.len()];
    fill_numbers(&mut once, numbers(datatype), round, from);
    let four = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).expect("four bytes");
    bytes.chunks_exact(4).zip(once.chunks_exact(4)).all(|(is, one)| match datatype {
        Type::Float => f32::from_ne_bytes(four(is)) == f32::from_ne_bytes(four(one)) * times as f32,
        _ => {
            i64::from(i32::from_ne_bytes(four(is)))
                == i64::from(i32::from_ne_bytes(four(one))) * times as i64
        }
    })
}

/// What sums are made of.
fn numbers(datatype: Type) -> Type {
    match datatype {
        Type::Char => Type::Int,
        other => other,
    }
}
