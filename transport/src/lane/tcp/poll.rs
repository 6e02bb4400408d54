// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Readiness of many sockets and one timer behind one descriptor, and the few system calls for
//! which there is no safe wrapper. The only file of the lane with unsafe code.
//!
//! Level-triggered: what a bounded poll leaves is reported again. Write interest is registered
//! only while something is queued. The timer is there from the start, since deadlines also matter
//! when the process has no descriptors left.

use super::interface::Interface;
use crate::error::Error;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Token of the timer. Others are chosen by who registers.
pub const TIMER: u64 = u64::MAX;
/// Events taken from the kernel at once.
pub const EVENTS_MAX: usize = 64;

/// One event.
pub type Event = epoll::Event;

/// What an event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// Reading makes sense: bytes, the end, or an error.
    pub read: bool,
    /// Writing makes sense.
    pub write: bool,
}

/// The set.
pub struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
}

impl Poller {
    /// An empty set.
    pub fn new() -> crate::error::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| system("cannot make an epoll descriptor", errno))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(|errno| system("cannot make a timer", errno))?;
        let poller = Poller { epoll, timer };
        poller
            .add(poller.timer.as_fd(), TIMER, false)
            .map_err(|errno| system("cannot watch a timer", errno))?;
        Ok(poller)
    }

    /// Readable whenever `wait` would find something.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Adds a socket.
    pub fn add(&self, socket: BorrowedFd<'_>, token: u64, write: bool) -> Result<(), Errno> {
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), interest(write))
    }

    /// Changes whether writing interests.
    pub fn change(&self, socket: BorrowedFd<'_>, token: u64, write: bool) -> Result<(), Errno> {
        epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(token), interest(write))
    }

    /// Takes a socket out.
    pub fn remove(&self, socket: BorrowedFd<'_>) {
        // It fails only for a socket that is not in the set.
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Looks, without waiting. Returns how many of `events` were filled.
    #[inline]
    pub fn wait(&self, events: &mut [Event; EVENTS_MAX]) -> usize {
        // An interrupted look saw nothing; other errors cannot happen with a live descriptor.
        epoll::wait(&self.epoll, events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0)
    }

    /// Makes the timer ready after `delay` (`None`: never).
    pub fn set_timer(&self, delay: Option<Duration>) -> Result<(), Errno> {
        // Zero would disarm.
        let delay = delay.map_or(Duration::ZERO, |delay| delay.max(Duration::from_micros(1)));
        let value =
            Timespec { tv_sec: delay.as_secs() as i64, tv_nsec: delay.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).map(|_| ())
    }
}

/// What an event says. A hang-up or an error is found out by reading.
pub fn readiness(event: &Event) -> (u64, Readiness) {
    let (flags, token) = (event.flags, event.data.u64());
    let end = epoll::EventFlags::ERR | epoll::EventFlags::HUP | epoll::EventFlags::RDHUP;
    let read = flags.intersects(epoll::EventFlags::IN | end);
    (token, Readiness { read, write: flags.contains(epoll::EventFlags::OUT) })
}

/// An event that says nothing, to fill arrays with.
pub fn no_event() -> Event {
    Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }
}

/// A failed system call.
#[cold]
pub fn system(what: impl Into<String>, errno: Errno) -> Error {
    Error::system(what, errno.raw_os_error())
}

fn interest(write: bool) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    if write { read | epoll::EventFlags::OUT } else { read }
}

/// Bytes that the kernel holds for the peer's kernel: not sent, or not acknowledged.
pub fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> usize {
    const OPCODE: rustix::ioctl::Opcode = libc::TIOCOUTQ as rustix::ioctl::Opcode;
    // SAFETY: TIOCOUTQ (SIOCOUTQ for sockets) writes one int and reads nothing.
    let getter = unsafe { rustix::ioctl::Getter::<OPCODE, libc::c_int>::new() };
    // SAFETY: as above; the getter's output is that int.
    let bytes = unsafe { rustix::ioctl::ioctl(socket, getter) };
    // A socket that cannot say it any more holds nothing that could still arrive.
    bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0))
}

/// What the kernel knows of the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signs {
    /// Bytes that it holds for the other kernel.
    pub unacknowledged: usize,
    /// How long ago the other kernel acknowledged anything, or answered.
    pub since_acknowledgement: Duration,
    /// How often the oldest bytes were sent again in vain.
    pub retransmits: u8,
    /// How often it asked in vain for room.
    pub probes: u8,
}

/// Asks for them. A kernel that does not tell is one where nothing is wrong.
pub fn signs(socket: BorrowedFd<'_>) -> Signs {
    // SAFETY: the structure has numbers only, for which all bits may be zero.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut bytes = size_of::<libc::tcp_info>() as libc::socklen_t;
    let into = (&raw mut info).cast::<libc::c_void>();
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: it writes at most `bytes` bytes, which is the size of `info`.
    let answer = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, into, &mut bytes) };
    let unacknowledged = if answer == 0 { unacknowledged_bytes(socket) } else { 0 };
    Signs {
        unacknowledged,
        since_acknowledgement: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        retransmits: info.tcpi_retransmits,
        probes: info.tcpi_probes,
    }
}

/// Closing the socket resets its connection and drops what it still holds.
pub fn drop_unsent(socket: BorrowedFd<'_>) {
    // It fails only for what is no socket; then the kernel goes on in vain for a while.
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// The interfaces of this host that are up and have an IPv4 address.
pub fn interfaces() -> crate::error::Result<Vec<Interface>> {
    let mut head: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: on success it stores the head of a list that freeifaddrs takes back.
    if unsafe { libc::getifaddrs(&mut head) } != 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        return Err(Error::system("cannot list the network interfaces", errno));
    }
    let mut found = Vec::new();
    let mut next = head;
    // SAFETY: `next` is null or an entry of the list, which lives until freeifaddrs below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 {
            continue;
        }
        // SAFETY: the address is null or a sockaddr of at least its family's field.
        let family = unsafe { entry.ifa_addr.as_ref() }.map(|address| address.sa_family);
        if family != Some(libc::AF_INET as libc::sa_family_t) {
            continue;
        }
        // SAFETY: the family says that it is a sockaddr_in; it may be unaligned for that type.
        let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
        // SAFETY: the name is a string that lives as long as the entry.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        let name = name.to_string_lossy().into_owned();
        let address = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
        found.push(Interface { name, address });
    }
    // SAFETY: `head` came from getifaddrs, is freed once, and nothing borrows from it.
    unsafe { libc::freeifaddrs(head) };
    Ok(found)
}
