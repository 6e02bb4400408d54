// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Checking and translating the arguments that many functions share.

use crate::abi::{Abi, Code, HandleKind};
use crate::datatype::Type;
use crate::entry::Entry;
use crate::error::{Result, advise, class, error};
use crate::object::comm::{Comm, CommRef};
use crate::object::datatype::DATATYPE_NULL;
use crate::object::op::OpRef;
use crate::runtime::Runtime;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::payload::Payload;

/// Canonical MPI_ANY_SOURCE.
pub const ANY_SOURCE: c_int = -1;
/// Canonical MPI_ANY_TAG.
pub const ANY_TAG: c_int = -2;
/// Canonical MPI_PROC_NULL.
pub const PROC_NULL: c_int = -3;
/// Canonical MPI_ROOT.
pub const ROOT: c_int = -4;
/// MPI_UNDEFINED in both ABIs.
pub const UNDEFINED: c_int = -32766;
/// The largest tag (MPI_TAG_UB).
pub const TAG_UB: c_int = c_int::MAX;

impl Runtime {
    /// The type behind a datatype handle.
    #[inline]
    pub fn type_of(&self, code: Code) -> Option<&Arc<Type>> {
        match crate::datatype::predefined(code) {
            Some(ty) => Some(ty),
            None => self.datatypes.get(code).map(|d| &d.ty),
        }
    }
}

/// A datatype that may be used in communication.
#[inline]
pub fn committed_type<A: Abi>(entry: &Entry, handle: A::Handle) -> Result<&Arc<Type>> {
    let code = A::handle_in(HandleKind::Datatype, handle);
    if let Some(ty) = crate::datatype::predefined(code) {
        return Ok(ty);
    }
    match entry.datatypes.get(code) {
        Some(object) if object.committed.get() => Ok(&object.ty),
        Some(_) => Err(advise(
            class::TYPE,
            "the datatype is not committed",
            "call MPI_Type_commit before the first communication with it",
        )),
        None => bad_type(code),
    }
}

#[cold]
fn bad_type<T>(code: Code) -> Result<T> {
    if code == DATATYPE_NULL {
        error(class::TYPE, "the datatype is MPI_DATATYPE_NULL")
    } else {
        error(class::TYPE, format!("{code:#x} is not a datatype (freed, or of another mpi.h)"))
    }
}

/// Any datatype, committed or not.
pub fn any_type<A: Abi>(entry: &Entry, handle: A::Handle) -> Result<Arc<Type>> {
    let code = A::handle_in(HandleKind::Datatype, handle);
    match entry.type_of(code) {
        Some(ty) => Ok(ty.clone()),
        None => bad_type(code),
    }
}

/// A user's buffer as a payload.
#[inline]
pub fn payload<A: Abi>(
    entry: &Entry,
    buffer: *const c_void,
    count: i64,
    datatype: A::Handle,
) -> Result<Payload> {
    if count < 0 {
        return error(class::COUNT, format!("the count is {count}; it must not be negative"));
    }
    let ty = committed_type::<A>(entry, datatype)?;
    if buffer.is_null() && count > 0 && ty.size() > 0 && ty.is_predefined() {
        return error(class::BUFFER, format!("the buffer is NULL but the count is {count}"));
    }
    Ok(ty.payload(buffer as *mut u8, count))
}

/// An operation argument.
pub fn operation<A: Abi>(entry: &Entry, handle: A::Handle) -> Result<OpRef> {
    let code = A::handle_in(HandleKind::Op, handle);
    if (0x21..0x40).contains(&code) {
        return Ok(OpRef::Predefined(code));
    }
    match entry.ops.get(code) {
        Some(op) => Ok(OpRef::User(op.clone())),
        None => error(class::OP, format!("{code:#x} is not an operation")),
    }
}

/// The tag of a message that is sent.
#[inline]
pub fn send_tag<A: Abi>(tag: c_int) -> Result<u32> {
    let tag = A::tag_in(tag);
    if tag < 0 {
        return error(class::TAG, format!("the tag is {tag}; it must be 0 to {TAG_UB}"));
    }
    Ok(tag as u32)
}

#[cold]
fn bad_rank<T>(comm: &Comm, what: &str, rank: c_int) -> Result<T> {
    let size = comm.target_group().size();
    let mut e = crate::error::make(
        class::RANK,
        format!("the {what} is {rank}, but {} has ranks 0 to {}", comm.describe(), size - 1),
    );
    if size == 1 && std::env::var_os("STRAIT_RANK").is_none() {
        e.help = "this process was not started by mpiexec, so the size is 1; run the program with \
                  mpiexec -n N";
    }
    Err(e)
}

/// Where a message goes: `None` for MPI_PROC_NULL.
#[inline]
pub fn destination<A: Abi>(comm: &CommRef, rank: c_int) -> Result<Option<Peer>> {
    comm.check()?;
    if let Some(peer) = comm.peer(rank) {
        return Ok(Some(peer));
    }
    match A::rank_in(rank) {
        PROC_NULL => Ok(None),
        _ => bad_rank(comm, "destination", rank),
    }
}

/// What an outgoing message says of itself.
#[inline]
pub fn envelope(comm: &Comm, tag: u32) -> Envelope {
    Envelope { context: comm.context, source: comm.rank, tag }
}

/// What a receive accepts; `None` for MPI_PROC_NULL.
#[inline]
pub fn pattern<A: Abi>(
    comm: &CommRef,
    source: c_int,
    tag: c_int,
) -> Result<Option<(Option<Peer>, Pattern)>> {
    comm.check()?;
    let tag = match A::tag_in(tag) {
        ANY_TAG => ANY,
        t if t >= 0 => t as u32,
        t => return error(class::TAG, format!("the tag is {t}; it must be 0 to {TAG_UB}")),
    };
    let context = comm.context;
    if let Some(peer) = comm.peer(source) {
        return Ok(Some((Some(peer), Pattern { context, source: source as u32, tag })));
    }
    match A::rank_in(source) {
        ANY_SOURCE => Ok(Some((None, Pattern { context, source: ANY, tag }))),
        PROC_NULL => Ok(None),
        _ => bad_rank(comm, "source", source),
    }
}

/// A root of a rooted collective on an intracommunicator.
pub fn root(comm: &CommRef, rank: c_int) -> Result<u32> {
    if rank >= 0 && (rank as usize) < comm.group.size() {
        return Ok(rank as u32);
    }
    let last = comm.group.size() - 1;
    error(class::ROOT, format!("the root is {rank}, but {} has ranks 0 to {last}", comm.describe()))
}

/// A string argument; not UTF-8 is taken by replacement.
///
/// # Safety
/// `text` is null or a C string.
pub unsafe fn string(text: *const c_char) -> Result<String> {
    if text.is_null() {
        return error(class::ARG, "a string argument is NULL");
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Copies a text into a user's array of `limit` bytes, always terminated; returns its length.
///
/// # Safety
/// `into` has `limit` writable bytes.
pub unsafe fn put_string(text: &str, into: *mut c_char, limit: usize) -> c_int {
    let mut length = text.len().min(limit - 1);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    // SAFETY: length < limit.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), into, length);
        *into.add(length) = 0;
    }
    length as c_int
}

/// An out-pointer that must not be null.
pub fn out<T>(pointer: *mut T, name: &str) -> Result<*mut T> {
    if pointer.is_null() {
        return error(class::ARG, format!("the argument {name} is NULL"));
    }
    Ok(pointer)
}

/// A dynamic code as the caller's handle, or an error when all codes of the kind are in use.
pub fn handle<A: Abi>(kind: HandleKind, code: Option<Code>) -> Result<A::Handle> {
    match code {
        Some(code) => Ok(A::handle_out(kind, code)),
        None => {
            error(class::OTHER, format!("no {kind:?} handle is left: too many are alive at once"))
        }
    }
}
