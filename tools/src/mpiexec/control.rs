// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The abstract socket that processes of the job connect to in MPI_Init (the contract is in
//! strait_transport::bootstrap::contract).
//!
//! Invariants:
//! 1. A connection of another user is closed before a byte of it is read, unless it comes from a
//!    process below us: what root's mpiexec started may have become somebody else meanwhile.
//! 2. After the descriptor was passed, nothing is ever written: any byte would kill the process.
//!    Requests have connections of their own (job/services.rs).
//! 3. A connection stays open until the process closes it or mpiexec ends; its end tells us that
//!    the MPI process is gone even when it is a grandchild.

use super::tree;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use std::collections::HashMap;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_transport::bootstrap::contract::{Ask, HELLO_BYTES, Hello};

/// How long a process may take from connect to its hello: long, since a crowded host may keep it
/// from running between the two.
const HELLO_TIME: Duration = Duration::from_secs(30);
/// Connections that the kernel holds while we are busy starting ranks: all of a large job.
const BACKLOG: i32 = 4096;

/// A connection, by the token that it is watched under.
struct Connection {
    socket: OwnedFd,
    bytes: [u8; HELLO_BYTES],
    filled: usize,
    deadline: Instant,
    rank: Option<u32>,
}

/// What a readable connection turned out to be.
#[derive(Debug)]
pub enum Heard {
    /// Not complete yet, or nothing of interest.
    Nothing,
    /// A process of this local rank joined.
    Joined(u32),
    /// The process of this local rank that had joined is gone, or has closed its connection.
    Left(u32),
    /// Somebody asks for something, over this connection, which is no longer ours.
    Asks(Ask, OwnedFd),
}

/// The socket and its connections.
pub struct Control {
    listener: OwnedFd,
    connections: HashMap<u64, Connection>,
    next: u64,
    /// The ranks of this host, with their numbers on it.
    local_of: HashMap<u32, u32>,
}

impl Control {
    /// Listens under an abstract name.
    ///
    /// # Errors
    /// The name is taken, or no descriptors are left.
    pub fn listen(name: &str, ranks: &[u32]) -> rustix::io::Result<Control> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&listener, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let local_of = ranks.iter().copied().zip(0..).collect();
        Ok(Control { listener, connections: HashMap::new(), next: 0, local_of })
    }

    /// Accepts one connection; its key and its descriptor are for the caller's epoll.
    pub fn accept(&mut self) -> Option<(u64, BorrowedFd<'_>)> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(_) => return None,
            };
            if !is_ours(&socket) {
                continue;
            }
            let key = self.next;
            self.next += 1;
            let deadline = Instant::now() + HELLO_TIME;
            let connection =
                Connection { socket, bytes: [0; HELLO_BYTES], filled: 0, deadline, rank: None };
            let connection = self.connections.entry(key).or_insert(connection);
            return Some((key, connection.socket.as_fd()));
        }
    }

    /// A connection is readable.
    pub fn serve(&mut self, key: u64, node: BorrowedFd<'_>) -> Heard {
        let Some(connection) = self.connections.get_mut(&key) else { return Heard::Nothing };
        let mut rest = [0_u8; HELLO_BYTES];
        let wanted = if connection.rank.is_some() { 1 } else { HELLO_BYTES - connection.filled };
        match rustix::net::recv(&connection.socket, &mut rest[..wanted], RecvFlags::empty()) {
            Ok((0, _)) => {}
            Ok(_) if connection.rank.is_some() => return Heard::Nothing,
            Ok((count, _)) => {
                let filled = connection.filled;
                connection.bytes[filled..filled + count].copy_from_slice(&rest[..count]);
                connection.filled += count;
                if connection.filled < HELLO_BYTES {
                    return Heard::Nothing;
                }
                if let Some(ask) = Ask::decode(&connection.bytes) {
                    let taken = self.connections.remove(&key);
                    return taken.map_or(Heard::Nothing, |asks| Heard::Asks(ask, asks.socket));
                }
                let hello = Hello::decode(&connection.bytes);
                let local_rank = hello.and_then(|hello| self.local_of.get(&hello.rank).copied());
                if let (Some(hello), Some(local_rank)) = (hello, local_rank)
                    && (!hello.wants_descriptor || pass(&connection.socket, node).is_ok())
                {
                    connection.rank = Some(local_rank);
                    return Heard::Joined(local_rank);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => return Heard::Nothing,
            Err(_) => {}
        }
        let gone = self.connections.remove(&key).and_then(|connection| connection.rank);
        gone.map_or(Heard::Nothing, Heard::Left)
    }

    /// When `on_time` wants to be called.
    pub fn next_time(&self) -> Option<Instant> {
        let waiting = self.connections.values().filter(|connection| connection.rank.is_none());
        waiting.map(|connection| connection.deadline).min()
    }

    /// Closes connections that never said hello. One that did, while we were kept from running, is
    /// no stranger: to close it would kill the rank.
    pub fn on_time(&mut self, now: Instant) {
        self.connections.retain(|_, connection| {
            let is_known = connection.rank.is_some() || now < connection.deadline;
            is_known || super::port::is_readable(&connection.socket)
        });
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn is_ours(socket: &OwnedFd) -> bool {
    let ours = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(socket).is_ok_and(|peer| {
        peer.uid == ours || peer.uid.is_root() || tree::is_below_us(peer.pid.as_raw_pid())
    })
}

/// One byte with the descriptor.
fn pass(socket: &OwnedFd, node: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let descriptors = [node];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(b"n")], &mut ancillary, flags).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};

    /// Both are past their time; who said hello meanwhile is served, the other one is a stranger.
    #[test]
    fn a_late_hello_is_a_hello() {
        let name = format!("strait-test-hello-{}", std::process::id());
        let mut control = Control::listen(&name, &[3, 5]).expect("the name is free");
        let connect = || {
            let address = SocketAddr::from_abstract_name(&name).expect("a name");
            UnixStream::connect_addr(&address).expect("somebody listens")
        };
        let (mut late, mut silent) = (connect(), connect());
        let (first, _) = control.accept().expect("two have connected");
        assert!(control.accept().is_some());
        late.write_all(&Hello { rank: 5, wants_descriptor: false }.encode()).expect("open");
        control.on_time(Instant::now() + 2 * HELLO_TIME);
        let heard = control.serve(first, std::io::stdin().as_fd());
        assert!(matches!(heard, Heard::Joined(1)), "{heard:?}");
        assert_eq!(silent.read(&mut [0]).expect("closed"), 0);
    }
}
