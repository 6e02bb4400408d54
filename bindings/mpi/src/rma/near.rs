// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses without messages: by load and store, or through the kernel.

use super::access::Remote;
use super::combine::Combine;
use crate::collective::area;
use crate::error::{Result, class, error};
use crate::object::window::Win;
use crate::runtime::Runtime;
use strait_collectives::reduce::Op;
use strait_transport::envelope::Peer;
use strait_transport::payload::Payload;

/// Packed bytes that go through the kernel at once, where they must be packed first.
const STAGE_BYTES: usize = 256 << 10;
/// Looks at an update lock before the core is offered to others.
const LOOKS: u32 = 64;
/// Offers before peers are looked at: the holder may be dead.
const OFFERS: u32 = 256;

/// Memory of a target.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// Mapped here from this address on.
    Here(*mut u8),
    /// Of another process, from this address on.
    There(Peer, u64),
}

impl Memory {
    /// # Safety
    /// The target exposes the bytes.
    unsafe fn read(self, runtime: &mut Runtime, at: i64, into: &mut [u8]) -> Result {
        match self {
            Memory::Here(base) => {
                let from = base.wrapping_offset(at as isize);
                // SAFETY: exposed, says the caller; a buffer of ours does not overlap it.
                unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
                Ok(())
            }
            Memory::There(peer, base) => {
                let address = base.wrapping_add_signed(at);
                let (bytes, into) = (into.len(), into.as_mut_ptr());
                // SAFETY: `into` has so many writable bytes.
                let read = unsafe { runtime.worker.read_memory(peer, address, bytes, into) };
                read.or_else(|error| not_there(runtime, peer, (address, bytes), error))
            }
        }
    }

    /// # Safety
    /// As [`Memory::read`].
    unsafe fn write(self, runtime: &mut Runtime, at: i64, from: &[u8]) -> Result {
        match self {
            Memory::Here(base) => {
                let into = base.wrapping_offset(at as isize);
                // SAFETY: as in `read`.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) };
                Ok(())
            }
            Memory::There(peer, base) => {
                let address = base.wrapping_add_signed(at);
                let (bytes, from) = (from.len(), from.as_ptr());
                // SAFETY: `from` has so many bytes; the target exposes the range.
                let written = unsafe { runtime.worker.write_memory(peer, address, bytes, from) };
                written.or_else(|error| not_there(runtime, peer, (address, bytes), error))
            }
        }
    }
}

/// The kernel refused an access: the peer is gone, or the memory is.
#[cold]
fn not_there(
    runtime: &mut Runtime,
    peer: Peer,
    (address, bytes): (u64, usize),
    what: strait_transport::error::Error,
) -> Result {
    runtime.worker.progress();
    if let Some(lost) = runtime.worker.loss_among([peer]) {
        return Err(lost.into());
    }
    let text = format!("{bytes} bytes at {address:#x} of process {peer}: {what}");
    error(class::RMA_RANGE, text)
}

/// # Safety
/// `origin` is readable, and the target exposes `remote`.
pub unsafe fn put(
    runtime: &mut Runtime,
    memory: Memory,
    origin: &Payload,
    remote: &Remote,
) -> Result {
    match memory {
        Memory::Here(base) => {
            // SAFETY: the caller's promise.
            unsafe { area::copy(origin, &remote.payload(base)) };
            Ok(())
        }
        Memory::There(..) => {
            let mut staged = Vec::new();
            each_piece(remote, STAGE_BYTES, |from, bytes, runs| {
                // SAFETY: the caller's promise.
                let packed = match unsafe { origin.rest(from) } {
                    [] => {
                        staged.resize(bytes, 0);
                        // SAFETY: as above.
                        unsafe { origin.pack(from, &mut staged) };
                        &staged[..]
                    }
                    rest => &rest[..bytes],
                };
                // SAFETY: as above.
                unsafe { scatter(runtime, memory, runs, packed) }
            })
        }
    }
}

/// # Safety
/// `into` is writable, and the target exposes `remote`.
pub unsafe fn get(
    runtime: &mut Runtime,
    memory: Memory,
    into: &Payload,
    remote: &Remote,
) -> Result {
    match memory {
        Memory::Here(base) => {
            // SAFETY: the caller's promise.
            unsafe { area::copy(&remote.payload(base), into) };
            Ok(())
        }
        Memory::There(..) => {
            let mut staged = Vec::new();
            each_piece(remote, STAGE_BYTES, |from, bytes, runs| {
                if let Payload::Contiguous { base, .. } = into {
                    let place = base.wrapping_add(from);
                    // SAFETY: a part of the user's buffer, which nobody else uses now.
                    let place = unsafe { std::slice::from_raw_parts_mut(place, bytes) };
                    // SAFETY: the caller's promise.
                    return unsafe { gather(runtime, memory, runs, place) };
                }
                staged.resize(bytes, 0);
                // SAFETY: as above.
                unsafe { gather(runtime, memory, runs, &mut staged)? };
                // SAFETY: as above.
                unsafe { into.unpack(from, &staged) };
                Ok(())
            })
        }
    }
}

/// Combines elements of the target with those of `origin` (none for MPI_NO_OP); what was there
/// before goes to `fetched`.
///
/// # Safety
/// As [`put`] and [`get`].
pub unsafe fn accumulate(
    runtime: &mut Runtime,
    (win, memory): (&Win, Memory),
    (origin, fetched): (&Payload, Option<&Payload>),
    combine: Combine,
    remote: &Remote,
) -> Result {
    // SAFETY: the caller's promise.
    if unsafe { accumulate_run(runtime, (win, memory), (origin, fetched), combine, remote)? } {
        return Ok(());
    }
    let (mut old, mut data) = (Vec::new(), Vec::new());
    each_piece(remote, combine.piece_bytes(), |from, bytes, runs| {
        old.resize(bytes, 0);
        data.resize(bytes, 0);
        if combine.op() != Op::NoOp {
            // SAFETY: the caller's promise.
            unsafe { origin.pack(from, &mut data) };
        }
        update(runtime, win, remote.rank, |runtime| {
            // SAFETY: as above.
            unsafe { gather(runtime, memory, runs, &mut old)? };
            if let Some(fetched) = fetched {
                // SAFETY: as above.
                unsafe { fetched.unpack(from, &old) };
            }
            if combine.op() == Op::NoOp {
                return Ok(());
            }
            combine.onto_packed(&mut old, &data);
            // SAFETY: as above.
            unsafe { scatter(runtime, memory, runs, &old) }
        })
    })
}

/// Elements side by side in mapped memory; `false`: they are not that.
///
/// # Safety
/// As [`accumulate`].
#[inline]
unsafe fn accumulate_run(
    runtime: &mut Runtime,
    (win, memory): (&Win, Memory),
    (origin, fetched): (&Payload, Option<&Payload>),
    combine: Combine,
    remote: &Remote,
) -> Result<bool> {
    let (Memory::Here(base), Some(bytes)) = (memory, remote.run_bytes()) else { return Ok(false) };
    let Payload::Contiguous { base: data, .. } = *origin else { return Ok(false) };
    let fetched = match fetched {
        Some(Payload::Contiguous { base, .. }) => *base,
        Some(_) => return Ok(false),
        None => std::ptr::null_mut(),
    };
    if !combine.is_plain() {
        return Ok(false);
    }
    let place = base.wrapping_offset(remote.at as isize);
    let mut from = 0;
    while from < bytes {
        let now = (bytes - from).min(combine.piece_bytes());
        let place = place.wrapping_add(from);
        update(runtime, win, remote.rank, |_| {
            if !fetched.is_null() {
                // SAFETY: the caller's promise: both have so many bytes.
                unsafe { std::ptr::copy(place, fetched.wrapping_add(from), now) };
            }
            if combine.op() != Op::NoOp {
                // SAFETY: as above.
                unsafe { combine.onto(place, data.wrapping_add(from), now) };
            }
            Ok(())
        })?;
        from += now;
    }
    Ok(true)
}

/// Stores the second of two elements where the first is; what was there goes to `fetched`.
///
/// # Safety
/// The target exposes `remote`, of as many bytes as each of the others.
pub unsafe fn swap(
    runtime: &mut Runtime,
    (win, memory): (&Win, Memory),
    (expected, new): (&[u8], &[u8]),
    fetched: &mut [u8],
    remote: &Remote,
) -> Result {
    update(runtime, win, remote.rank, |runtime| {
        // SAFETY: the caller's promise.
        unsafe { memory.read(runtime, remote.at, fetched)? };
        if fetched != expected {
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { memory.write(runtime, remote.at, new) }
    })
}

/// Calls `piece` with offset, length and runs of each part of the packed bytes.
pub fn each_piece(
    remote: &Remote,
    piece_bytes: usize,
    mut piece: impl FnMut(usize, usize, &[(i64, usize)]) -> Result,
) -> Result {
    let mut runs = Vec::new();
    for from in (0..remote.bytes).step_by(piece_bytes) {
        let bytes = piece_bytes.min(remote.bytes - from);
        runs.clear();
        remote.each_run(from, bytes, &mut |at, bytes| runs.push((at, bytes)));
        piece(from, bytes, &runs)?;
    }
    Ok(())
}

/// # Safety
/// The target exposes the runs, which have as many bytes as `into`.
pub unsafe fn gather(
    runtime: &mut Runtime,
    memory: Memory,
    runs: &[(i64, usize)],
    into: &mut [u8],
) -> Result {
    let mut rest = into;
    for &(at, bytes) in runs {
        let (now, later) = rest.split_at_mut(bytes);
        // SAFETY: the caller's promise.
        unsafe { memory.read(runtime, at, now)? };
        rest = later;
    }
    Ok(())
}

/// # Safety
/// As [`gather`].
pub unsafe fn scatter(
    runtime: &mut Runtime,
    memory: Memory,
    runs: &[(i64, usize)],
    from: &[u8],
) -> Result {
    let mut rest = from;
    for &(at, bytes) in runs {
        let (now, later) = rest.split_at(bytes);
        // SAFETY: the caller's promise.
        unsafe { memory.write(runtime, at, now)? };
        rest = later;
    }
    Ok(())
}

/// Runs bounded work with the update lock of a target that is on this host.
#[inline]
pub fn update(
    runtime: &mut Runtime,
    win: &Win,
    target: u32,
    work: impl FnOnce(&mut Runtime) -> Result,
) -> Result {
    let place = win.place(target).expect("an update of memory of this host");
    if !win.control.try_update(place) {
        await_update(runtime, win, place)?;
    }
    let result = work(runtime);
    win.control.end_update(place);
    result
}

#[cold]
fn await_update(runtime: &mut Runtime, win: &Win, place: usize) -> Result {
    let mut offers = 0;
    loop {
        for _ in 0..LOOKS {
            std::hint::spin_loop();
            if win.control.try_update(place) {
                return Ok(());
            }
        }
        std::thread::yield_now();
        offers += 1;
        if offers % OFFERS == 0 {
            runtime.worker.progress();
            if let Some(lost) = runtime.worker.loss_among(win.comm.group.members.iter()) {
                return Err(lost.into());
            }
        }
    }
}
