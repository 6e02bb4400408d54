// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of the lane that the provider works on: frames to send, buffers to receive into, and a
//! context for each operation.
//!
//! Invariants:
//! 1. A context names its operation by its place, and is in use from post to completion.
//! 2. Nothing here moves or goes before the endpoint is closed.

use super::objects::{Objects, Registration};
use super::sys;
use crate::error::{Error, Kind, Result};
use memmap2::MmapMut;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr;

/// Frames that may be under way from this process: 1 to 4 MiB, as far as they were ever used.
pub const SEND_COUNT: usize = 64;
/// Reads of peers' memory that may be under way.
pub const GET_COUNT: usize = 64;
/// Buffers for many messages each, where the provider can do that ...
const MULTI_COUNT: usize = 4;
const MULTI_BYTES: usize = 512 * 1024;
/// ... and for one each where it cannot.
const SINGLE_COUNT: usize = 64;

/// What an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Frame of this number.
    Send(usize),
    /// Buffer of this number.
    Receive(usize),
    /// Read of this number.
    Get(usize),
}

/// The provider's while the operation is under way: `fi_context2`.
#[repr(C, align(64))]
struct Context(UnsafeCell<[u64; 8]>);

/// The memory.
pub struct Buffers {
    memory: MmapMut,
    contexts: Box<[Context]>,
    free_sends: Vec<usize>,
    frame_bytes: usize,
    receive_count: usize,
    receive_bytes: usize,
    registration: Option<Registration>,
}

impl Buffers {
    /// Makes it, and registers it where the provider wants that.
    ///
    /// # Errors
    /// No memory, or no registration.
    pub fn new(objects: &mut Objects) -> Result<Buffers> {
        let frame_bytes = objects.facts.frame_bytes;
        let (receive_count, receive_bytes) = match objects.facts.multi_receive {
            true => (MULTI_COUNT, MULTI_BYTES),
            false => (SINGLE_COUNT, frame_bytes),
        };
        let bytes = SEND_COUNT * frame_bytes + receive_count * receive_bytes;
        let mut memory = MmapMut::map_anon(bytes).map_err(|error| {
            Error::system("memory for libfabric", error.raw_os_error().unwrap_or(0))
        })?;
        let registration = match objects.facts.memory_mode & sys::FI_MR_LOCAL {
            0 => None,
            _ => {
                // Frames also stage short accesses to memory of peers.
                let access = sys::FI_SEND | sys::FI_RECV | sys::FI_READ | sys::FI_WRITE;
                // SAFETY: the lane forgets the registration before the memory goes (its drop).
                let made = unsafe { objects.register(memory.as_mut_ptr(), bytes, access) };
                Some(made.map_err(|why| {
                    let text = format!(
                        "libfabric's {} refuses to register {bytes} bytes of memory ({why}); the \
                         limit of locked memory (ulimit -l) may be too low",
                        objects.facts.provider
                    );
                    Error::new(Kind::Config(text))
                })?)
            }
        };
        let count = SEND_COUNT + receive_count + GET_COUNT;
        let contexts = (0..count).map(|_| Context(UnsafeCell::new([0; 8]))).collect();
        let free_sends = (0..SEND_COUNT).rev().collect();
        Ok(Buffers {
            memory,
            contexts,
            free_sends,
            frame_bytes,
            receive_count,
            receive_bytes,
            registration,
        })
    }

    /// At the end: the registration, to be closed.
    pub fn take_registration(&mut self) -> Option<Registration> {
        self.registration.take()
    }

    /// For every operation on these buffers.
    pub fn descriptor(&self) -> *mut c_void {
        self.registration.as_ref().map_or(ptr::null_mut(), Registration::descriptor)
    }

    /// The context of an operation.
    pub fn context(&self, role: Role) -> *mut c_void {
        let at = match role {
            Role::Send(number) => number,
            Role::Receive(number) => SEND_COUNT + number,
            Role::Get(number) => SEND_COUNT + self.receive_count + number,
        };
        self.contexts[at].0.get().cast()
    }

    /// The operation of a context; `None` if it is none of ours.
    pub fn role(&self, context: *mut c_void) -> Option<Role> {
        let offset = (context.addr()).wrapping_sub(self.contexts.as_ptr().addr());
        let at = offset / size_of::<Context>();
        if at >= self.contexts.len() || !offset.is_multiple_of(size_of::<Context>()) {
            return None;
        }
        let receives = SEND_COUNT..SEND_COUNT + self.receive_count;
        Some(match at {
            _ if at < receives.start => Role::Send(at),
            _ if at < receives.end => Role::Receive(at - receives.start),
            _ => Role::Get(at - receives.end),
        })
    }

    /// Takes a frame that is not under way.
    #[inline]
    pub fn take_send(&mut self) -> Option<usize> {
        self.free_sends.pop()
    }

    /// Gives one back.
    pub fn put_send(&mut self, number: usize) {
        debug_assert!(!self.free_sends.contains(&number));
        self.free_sends.push(number);
    }

    /// Frames under way, or about to be.
    pub fn sends_out(&self) -> usize {
        SEND_COUNT - self.free_sends.len()
    }

    /// A frame that was taken and is not under way.
    pub fn frame(&mut self, number: usize) -> &mut [u8] {
        let begin = number * self.frame_bytes;
        &mut self.memory[begin..begin + self.frame_bytes]
    }

    /// Where a frame lies, for the provider.
    pub fn frame_base(&mut self, number: usize) -> *mut u8 {
        // SAFETY: frames lie at the beginning of the memory.
        unsafe { self.memory.as_mut_ptr().add(number * self.frame_bytes) }
    }

    /// The buffers to receive into.
    pub fn receives(&self) -> std::ops::Range<usize> {
        0..self.receive_count
    }

    /// One of them, for the provider.
    pub fn receive(&mut self, number: usize) -> (*mut u8, usize) {
        let offset = SEND_COUNT * self.frame_bytes + number * self.receive_bytes;
        // SAFETY: receive buffers lie behind the frames, inside the memory.
        (unsafe { self.memory.as_mut_ptr().add(offset) }, self.receive_bytes)
    }

    /// The bytes of a message that arrived in this buffer: at `at`, if the provider says so, else
    /// at its beginning. `None` if that is not inside the buffer.
    pub fn arrived(&self, number: usize, at: *const c_void, bytes: usize) -> Option<&[u8]> {
        let begin = SEND_COUNT * self.frame_bytes + number * self.receive_bytes;
        let base = self.memory.as_ptr().addr() + begin;
        let offset = if at.is_null() { 0 } else { at.addr().checked_sub(base)? };
        let end = offset.checked_add(bytes).filter(|end| *end <= self.receive_bytes)?;
        Some(&self.memory[begin + offset..begin + end])
    }
}
