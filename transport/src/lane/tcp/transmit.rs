// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What goes to a socket in one system call. No room is no error: nothing was sent.
#![forbid(unsafe_code)]

use crate::wire::header::HEADER_BYTES;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;
use std::os::fd::OwnedFd;

/// A body up to this is copied behind its header to be sent.
const JOINED_BODY_MAX: usize = 224;

/// Sends what the socket takes of a header and a body: joined if they are small, because a list of
/// parts costs the kernel more than the copy costs us.
#[inline]
pub fn send_short(
    socket: &OwnedFd,
    head: &[u8; HEADER_BYTES],
    body: &[u8],
) -> Result<usize, Errno> {
    if body.len() > JOINED_BODY_MAX {
        return send_parts(socket, &[IoSlice::new(head), IoSlice::new(body)]);
    }
    let mut frame = [0; HEADER_BYTES + JOINED_BODY_MAX];
    let frame = &mut frame[..HEADER_BYTES + body.len()];
    frame[..HEADER_BYTES].copy_from_slice(head);
    frame[HEADER_BYTES..].copy_from_slice(body);
    send_bytes(socket, frame)
}

/// Sends what the socket takes of these bytes.
#[inline]
pub fn send_bytes(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(errno),
    }
}

/// Sends what the socket takes of these parts.
#[inline]
pub fn send_parts(socket: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let mut nothing = SendAncillaryBuffer::default();
    match rustix::net::sendmsg(socket, parts, &mut nothing, SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(errno),
    }
}
