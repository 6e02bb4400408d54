// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accepting and connecting, and which of two simultaneous connections serves a pair.
//!
//! Both ranks of a pair may connect at the same time. The acceptor of a connection decides, after
//! the proofs, whether it welcomes or declines it:
//!
//! 1. It declines if the pair has its connection, or if it is connecting itself and its own rank is
//!    the lower one: the connection that the lower rank initiated wins.
//! 2. Otherwise it welcomes, and from then on does not connect itself. A connection of its own that
//!    is under way is left alone until the peer (the lower rank) declines it.
//! 3. No message is written before welcome, therefore none is lost or doubled by the choice.
//!
//! The lower rank welcomes only while it is not connecting, and does not connect after it welcomed;
//! so at most one connection of a pair is ever welcomed.
//!
//! A stranger costs one descriptor, no memory to speak of, 96 bytes and 2 s, and one line on
//! standard error. Not here: what is proved (auth.rs).
#![forbid(unsafe_code)]

use super::address::Address;
use super::auth::{Acceptor, HELLO_BYTES, Initiator, Mismatch, PROOF_BYTES, Refusal};
use super::connection::{Connection, Intake, Phase};
use super::connections::ConnectionId;
use super::frame::Control;
use super::link::LinkState;
use super::poll::{self, Poller};
use super::ports::Ports;
use super::rails::rail_of;
use super::{LISTENER, TcpLane};
use crate::envelope::Peer;
use crate::error::Result;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long another host may take to accept a connection.
pub const CALL_TIME: Duration = Duration::from_secs(30);
/// How long a connection may stay without a good hello.
pub const STRANGER_TIME_MAX: Duration = Duration::from_secs(2);
/// Connections without a good hello at a time; the oldest goes. Ranks say hello as they connect.
const STRANGERS_MAX: usize = 256;
/// Connections accepted by one poll.
const ACCEPTS_MAX: usize = 64;
/// Connections that the kernel completes before we accept them (it takes no more than its own
/// limit, 4096 by default): every rank of a large job may call the same one at the same time.
const LISTEN_BACKLOG: i32 = 4096;
/// Hellos sent to one peer that were cut off before it answered.
const ATTEMPTS_MAX: u32 = 5;
/// A declined connection means that the peer's own is under way; if it is not seen for this long,
/// call again.
pub const AWAIT_TIME: Duration = Duration::from_secs(10);
/// Pause of accepting when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Source addresses that are reported; strangers from more are dropped silently.
const REPORTED_MAX: usize = 16;

/// Makes the listening socket, on this address and a port of these only, and registers it.
pub fn listen(
    poller: &Poller,
    token: u64,
    ip: Ipv4Addr,
    ports: Ports,
) -> Result<(OwnedFd, SocketAddrV4)> {
    let error = |what: &str, errno| poll::system(format!("{what} on {ip}"), errno);
    let socket = socket().map_err(|errno| error("cannot make a socket", errno))?;
    if ports != Ports::ANY {
        // A port of the range may have served a job a moment ago.
        sockopt::set_socket_reuseaddr(&socket, true)
            .map_err(|errno| error("cannot set up a socket", errno))?;
    }
    let mut bound = false;
    for port in ports.from(std::process::id() as u16) {
        match rustix::net::bind(&socket, &SocketAddrV4::new(ip, port)) {
            Ok(()) => bound = true,
            Err(Errno::ADDRINUSE) if ports != Ports::ANY => continue,
            Err(errno) => return Err(error("cannot bind a socket", errno)),
        }
        break;
    }
    if !bound {
        return Err(ports.all_taken(ip));
    }
    rustix::net::listen(&socket, LISTEN_BACKLOG).map_err(|errno| error("cannot listen", errno))?;
    poller
        .add(socket.as_fd(), token, false)
        .map_err(|errno| error("cannot watch the listening socket", errno))?;
    let address = rustix::net::getsockname(&socket)
        .map_err(|errno| error("cannot find the port of the listening socket", errno))?;
    match SocketAddr::try_from(address) {
        Ok(SocketAddr::V4(address)) => Ok((socket, address)),
        _ => Err(error("cannot find the address of the listening socket", Errno::AFNOSUPPORT)),
    }
}

fn socket() -> std::result::Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let protocol = Some(ipproto::TCP);
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, protocol)
}

/// Whether an address is on the host that listens on `own`.
pub fn is_here(own: &Ipv4Addr, address: &Ipv4Addr) -> bool {
    address.is_loopback() || address == own
}

impl TcpLane {
    /// Sets what every connection has. No user timeout: the kernel would also count the time in
    /// which a live peer that computes leaves its window closed (docs/tcp.md).
    fn tune(&self, socket: &OwnedFd, peer: &Ipv4Addr) -> std::result::Result<(), Errno> {
        sockopt::set_tcp_nodelay(socket, true)?;
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, Duration::from_secs(30))?;
        sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
        sockopt::set_tcp_keepcnt(socket, 3)?;
        if is_here(self.address.socket.ip(), peer) {
            // Within a host there is no congestion to control, but bbr would pace what is sent. A
            // kernel always has this algorithm, and lets anybody choose it.
            let _ = sockopt::set_tcp_congestion(socket, "reno");
        }
        if let Some(bytes) = self.socket_bytes {
            sockopt::set_socket_send_buffer_size(socket, bytes)?;
            sockopt::set_socket_recv_buffer_size(socket, bytes)?;
        }
        Ok(())
    }

    /// Accepts who knocks at the listening socket of this rail.
    pub(super) fn accept(&mut self, at: usize) {
        for _ in 0..ACCEPTS_MAX {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let others = self.rails.as_ref().map_or(&[][..], |rails| rails.listeners());
            let listener = others.get(at.wrapping_sub(1)).unwrap_or(&self.listener);
            match rustix::net::acceptfrom_with(listener, flags) {
                Ok((socket, address)) => {
                    let address = address.and_then(|any| match SocketAddr::try_from(any) {
                        Ok(SocketAddr::V4(address)) => Some(address),
                        _ => None,
                    });
                    let unknown = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
                    self.admit_stranger(socket, address.unwrap_or(unknown));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    return self.pause_accepting();
                }
                // The connection failed before it was accepted; the next one is another.
                Err(_) => {}
            }
        }
    }

    fn admit_stranger(&mut self, socket: OwnedFd, address: SocketAddrV4) {
        if self.tune(&socket, address.ip()).is_err() {
            return;
        }
        if self.strangers.len() >= STRANGERS_MAX {
            self.make_room_for_stranger();
        }
        let id =
            self.connections.insert(|id| Connection::new(id, socket, address, Phase::Accepted));
        self.strangers.push_back((Instant::now() + STRANGER_TIME_MAX, id));
        self.register(id);
        self.handshake(id);
    }

    #[cold]
    fn make_room_for_stranger(&mut self) {
        let connections = &mut self.connections;
        self.strangers.retain(|(_, id)| connections.get_mut(*id).is_some_and(|c| c.is_stranger()));
        if self.strangers.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = self.strangers.pop_front()
        {
            self.drop_stranger(oldest);
        }
    }

    /// No descriptors are left: leaves the others in the kernel's queue for a while.
    #[cold]
    fn pause_accepting(&mut self) {
        for (_, listener) in self.listeners() {
            self.poller.remove(listener);
        }
        self.accept_again_at = Some(Instant::now() + ACCEPT_PAUSE);
    }

    /// Accepts again after a pause.
    pub(super) fn resume_accepting(&mut self) {
        let mut add = |(token, listener)| match self.poller.add(listener, token, false) {
            Ok(()) | Err(Errno::EXIST) => true,
            Err(_) => false,
        };
        let all = self.listeners().into_iter().all(&mut add);
        self.accept_again_at = (!all).then(|| Instant::now() + ACCEPT_PAUSE);
    }

    /// The listening sockets and their tokens.
    fn listeners(&self) -> Vec<(u64, BorrowedFd<'_>)> {
        let others = self.rails.as_ref().map_or(&[][..], |rails| rails.listeners());
        let all = std::iter::once(&self.listener).chain(others);
        (0..).zip(all).map(|(at, each)| (LISTENER - at, each.as_fd())).collect()
    }

    pub(super) fn register(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if let Err(errno) = self.poller.add(connection.socket.as_fd(), id.token(), false) {
            self.ended(id, Some(errno));
        }
    }

    /// Cuts who has not said hello for too long. A hello that came meanwhile counts, however long
    /// this process did not look.
    pub(super) fn cut_strangers(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.strangers.front().copied() {
            let is_stranger =
                |lane: &mut TcpLane| lane.connections.get_mut(id).is_some_and(|c| c.is_stranger());
            if is_stranger(self) {
                if deadline > now {
                    return;
                }
                self.handshake(id);
                if is_stranger(self) {
                    self.drop_stranger(id);
                }
            }
            self.strangers.pop_front();
        }
    }

    /// Drops a connection that is not of this job, and says so in one line.
    #[cold]
    pub(super) fn drop_stranger(&mut self, id: ConnectionId) {
        let Some(connection) = self.close_connection(id) else { return };
        let address = connection.address;
        let ip = IpAddr::V4(*address.ip());
        if self.reported.contains(&ip) || self.reported.len() >= REPORTED_MAX {
            return;
        }
        self.reported.push(ip);
        let line = format!(
            "strait: rank {} on {} dropped a connection from {address}: it is not of this job",
            Peer(self.identity.rank),
            self.host
        );
        (self.report)(&line);
    }

    /// Calls a peer, or notes that its address is not there yet.
    pub(super) fn dial(&mut self, peer: Peer) {
        let Some(blob) = self.address_of(peer) else {
            self.await_address(peer);
            return;
        };
        let Some(address) = Address::decode(&blob) else {
            let why = "it does not use TCP, as this rank does; all ranks need the same \
                       STRAIT_LANES, and hosts alike";
            return self.lose(peer, why.into());
        };
        if self.has_rails_with(&address) {
            return self.begin_rails(peer, &address);
        }
        let link = self.links.entry(peer.0).or_default();
        link.attempts += 1;
        let attempt = link.attempts;
        let nonce = match nonce() {
            Ok(nonce) => nonce,
            Err(error) => return self.lose(peer, error.to_string()),
        };
        let (me, to) = self.identity_for(peer);
        let initiator = Initiator::new(me, to, attempt, &address.listener, nonce);
        let hello = *initiator.hello();
        let socket = match self.connect(None, address.socket) {
            Ok(socket) => socket,
            Err(errno) => return self.lose(peer, self.unreachable(address.socket, errno)),
        };
        let phase = Phase::Dialing(Box::new(initiator));
        let id = self.connections.insert(|id| Connection::new(id, socket, address.socket, phase));
        if !is_here(self.address.socket.ip(), address.socket.ip()) {
            // What a firewall drops is not waited for as long as the kernel would.
            self.calls.push_back((Instant::now() + CALL_TIME, id));
            self.set_timer();
        }
        let link = self.links.entry(peer.0).or_default();
        link.state = LinkState::Dialing(id);
        link.dial = Some(id);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.peer = Some(peer);
        }
        self.register(id);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.say(&self.poller, &hello);
        }
    }

    /// Why a call failed.
    pub(super) fn unreachable(&self, address: SocketAddrV4, errno: Errno) -> String {
        if errno == Errno::CONNREFUSED {
            return format!(
                "nobody listens at its address {address} any more: its process has ended"
            );
        }
        let own = self.address.socket.ip();
        let text = std::io::Error::from_raw_os_error(errno.raw_os_error());
        let mut why = format!("connecting from {own} to its address {address} failed: {text}");
        if matches!(errno, Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH) {
            why += &format!(
                ". A firewall or a missing route may lie between the two hosts: all TCP ports \
                 between them must be open, or {} must name a network that both are in",
                super::interface::ENV_INTERFACE
            );
        }
        why
    }

    /// A call has had its time: if the other host's kernel has not answered it, nobody will. A peer
    /// that was reached and only computes is waited for.
    pub(super) fn end_call(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let is_dialing = matches!(connection.phase, Phase::Dialing(_));
        if is_dialing && rustix::net::getpeername(&connection.socket).is_err() {
            self.ended(id, Some(Errno::TIMEDOUT));
        }
    }

    /// `own`: from this address; else from the one that the kernel chooses.
    pub(super) fn connect(
        &self,
        own: Option<Ipv4Addr>,
        address: SocketAddrV4,
    ) -> std::result::Result<OwnedFd, Errno> {
        let socket = socket()?;
        self.tune(&socket, address.ip())?;
        if let Some(own) = own {
            rustix::net::bind(&socket, &SocketAddrV4::new(own, 0))?;
        }
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // Where nobody listens, the kernel may have chosen the called port for our own end, and
        // connected the socket to itself.
        match rustix::net::getsockname(&socket)?.try_into() {
            Ok(SocketAddr::V4(own)) if own == address => Err(Errno::CONNREFUSED),
            _ => Ok(socket),
        }
    }

    /// Takes the handshake as far as the bytes go.
    pub(super) fn handshake(&mut self, id: ConnectionId) {
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return };
            if !connection.is_shaking_hands() {
                return;
            }
            match connection.take_in() {
                Intake::Waiting => return,
                Intake::Ended(errno) => return self.ended(id, errno),
                Intake::Foreign => return self.refuse(id, Refusal::Foreign),
                Intake::Complete => {}
            }
            let bytes = *connection.handshake();
            match std::mem::replace(&mut connection.phase, Phase::Leaving) {
                Phase::Accepted => self.hear_hello(id, &bytes),
                Phase::Challenged(acceptor) => self.hear_proof(id, &acceptor, &bytes),
                Phase::Dialing(initiator) => self.hear_challenge(id, &initiator, &bytes),
                // take_in is called in no other phase.
                other => connection.phase = other,
            }
        }
    }

    fn hear_hello(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(hello) = bytes.first_chunk::<HELLO_BYTES>() else { return };
        let Ok(nonce) = nonce() else { return self.ended(id, Some(Errno::IO)) };
        let (acceptor, from, circle) = match self.recognise(hello, nonce) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(id, refusal),
        };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.circle = circle;
        }
        let rail = rail_of(acceptor.attempt());
        if let Some(rail) = rail {
            if circle.is_some() || !self.hear_rail_hello(from, acceptor.attempt(), id) {
                return self.refuse(id, Refusal::NotOfThisJob);
            }
            return self.challenge(id, acceptor, from, Some(rail as u8));
        }
        let link = self.links.entry(from.0).or_default();
        if acceptor.attempt() <= link.heard {
            return self.refuse(id, Refusal::NotOfThisJob);
        }
        link.heard = acceptor.attempt();
        let older = link.incoming.replace(id);
        self.challenge(id, acceptor, from, None);
        if let Some(older) = older {
            self.close_connection(older);
        }
    }

    fn challenge(&mut self, id: ConnectionId, acceptor: Acceptor, from: Peer, rail: Option<u8>) {
        let challenge = *acceptor.challenge();
        if let Some(connection) = self.connections.get_mut(id) {
            connection.peer = Some(from);
            connection.rail = rail;
            connection.phase = Phase::Challenged(Box::new(acceptor));
            connection.say(&self.poller, &challenge);
        }
    }

    fn hear_proof(&mut self, id: ConnectionId, acceptor: &Acceptor, bytes: &[u8]) {
        let Some(proof) = bytes.first_chunk::<PROOF_BYTES>() else { return };
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (Some(peer), circle) = (connection.peer, connection.circle) else { return };
        let checked = acceptor.check(self.identity_in(circle), proof);
        let is_rail = rail_of(acceptor.attempt()).is_some();
        if is_rail && checked == Ok(None) {
            return self.rail_proved(peer, acceptor.attempt(), id);
        }
        let link = self.links.entry(peer.0).or_default();
        if !is_rail {
            link.incoming = None;
        }
        match checked {
            Err(refusal) => {
                self.refuse(id, refusal);
                self.reconsider(peer);
            }
            Ok(Some(mismatch)) => self.part_ways(peer, id, mismatch),
            Ok(None) => {
                let state = link.state;
                let lower = self.precedes(peer);
                let welcome = match state {
                    LinkState::Idle | LinkState::Unaddressed | LinkState::Awaiting => true,
                    LinkState::Dialing(_) => lower,
                    LinkState::Open(_)
                    | LinkState::Railed
                    | LinkState::Departed
                    | LinkState::Lost => false,
                };
                if welcome { self.welcome(peer, id) } else { self.decline(id) }
            }
        }
    }

    fn hear_challenge(&mut self, id: ConnectionId, initiator: &Initiator, bytes: &[u8; 80]) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(peer) = connection.peer else { return };
        let answer = initiator.answer(self.identity_for(peer).0, bytes);
        let Some(connection) = self.connections.get_mut(id) else { return };
        match answer {
            Err(refusal) => {
                // Put back, so that who looks at the phase finds the call that failed.
                connection.phase = Phase::Proved;
                self.refuse(id, refusal);
            }
            Ok((proof, mismatch)) => {
                connection.phase = Phase::Proved;
                connection.say(&self.poller, &proof);
                if let Some(mismatch) = mismatch {
                    self.part_ways(peer, id, mismatch);
                }
            }
        }
    }

    fn welcome(&mut self, peer: Peer, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.say(&self.poller, &Control::Welcome.encode());
        }
        self.open(peer, id);
    }

    pub(super) fn decline(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::Leaving;
            connection.goodbye_said = true;
            connection.say(&self.poller, &Control::Decline.encode());
        }
    }

    /// Our call was declined: the peer's own is under way, or here already.
    pub(super) fn declined(&mut self, id: ConnectionId) {
        let Some(connection) = self.close_connection(id) else { return };
        let Some(peer) = connection.peer else { return };
        let link = self.links.entry(peer.0).or_default();
        if link.state == LinkState::Dialing(id) {
            link.state = LinkState::Awaiting;
            self.awaiting.push_back((Instant::now() + AWAIT_TIME, peer));
        }
    }

    /// The other end of a handshake is not who it should be.
    fn refuse(&mut self, id: ConnectionId, refusal: Refusal) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (address, phase) = (connection.address, &connection.phase);
        match (phase, connection.peer) {
            (Phase::Dialing(_) | Phase::Proved, Some(peer)) => {
                let reason = format!("at its address {address} somebody answers: {refusal}");
                let rail = connection.rail;
                self.close_connection(id);
                if let Some(rail) = rail {
                    return self.rail_refused(peer, usize::from(rail), reason);
                }
                if self.links.get(&peer.0).is_some_and(|l| l.state == LinkState::Dialing(id)) {
                    self.lose(peer, reason);
                }
            }
            _ => self.drop_stranger(id),
        }
    }

    /// The peer is of this job and runs another library. Both sides say so; the connection stays
    /// until the peer has read what it needs for that.
    fn part_ways(&mut self, peer: Peer, id: ConnectionId, theirs: Mismatch) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::Leaving;
            connection.peer = None;
        }
        let me = &self.identity;
        self.lose(
            peer,
            format!(
                "it runs another build of Strait (wire version {}, build {:016x}) than rank {} on \
                 {} (wire version {}, build {:016x}); all processes of a job must load one and the \
                 same",
                theirs.version,
                theirs.build,
                Peer(me.rank),
                self.host,
                me.version,
                me.build
            ),
        );
    }
}

impl Connection {
    fn is_stranger(&self) -> bool {
        matches!(self.phase, Phase::Accepted)
    }

    /// Whether it reads pieces of the handshake, not frames.
    pub fn is_shaking_hands(&self) -> bool {
        matches!(self.phase, Phase::Accepted | Phase::Challenged(_) | Phase::Dialing(_))
    }
}

/// Whether another call to the same peer makes sense.
pub fn may_call_again(attempts: u32) -> bool {
    attempts < ATTEMPTS_MAX
}

/// Random bytes used once.
pub fn nonce() -> Result<[u8; 16]> {
    crate::outside::random()
}
