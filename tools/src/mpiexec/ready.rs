// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One wait on an epoll: all that loops here do with it.
#![forbid(unsafe_code)]

use rustix::event::Timespec;
use rustix::event::epoll;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// Descriptors told of by one wait; the next one tells of the others.
const EVENTS_MAX: usize = 64;

/// The tokens of what is ready within this time; none after it, or when a signal ended the wait.
pub fn ready(epoll: &OwnedFd, timeout: Option<&Timespec>) -> Vec<u64> {
    let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
    match epoll::wait(epoll, &mut events, timeout) {
        Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
        Err(_) => Vec::new(),
    }
}
