// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lane over TCP: one connection per pair of processes that talk, made when first needed.
//!
//! Invariants:
//! 1. Nothing that a socket delivers is parsed before its sender has proved that it holds the key
//!    of the job (auth.rs); a stranger is dropped and the job does not notice.
//! 2. One connection serves a pair, whoever calls first (listen.rs); messages wait for it in order.
//! 3. No call blocks. What a socket does not take is queued, within a bound; then the answer is
//!    `Full`.
//! 4. Memory grows with the peers that talk, never with the size of the job.
//! 5. The descriptor of [`TcpLane::epoll_fd`] is readable whenever `poll` has something to do,
//!    deadlines included, except for what [`TcpLane::has_work`] tells. Whoever was told that the
//!    lane is not flushed is woken to ask again.
//! 6. A peer is reported as lost once, after all its messages; a goodbye is not a loss.
//!
//! Not here: sleeping; the choice between lanes; encryption (docs/tcp.md).

pub mod address;
pub mod auth;
mod connection;
mod connections;
pub mod frame;
mod hot;
pub mod interface;
mod link;
mod listen;
mod outside;
mod poll;
pub mod ports;
mod progress;
pub mod rails;
mod send_queue;
mod transmit;

use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Result, Submit};
use crate::lane::directory::{Directory, NodeDirectory};
use crate::lane::{Bulk, Capabilities, FINALIZED, Get, Inbox, Lane, RemoteRange, is_answer};
use crate::protocol::share::Unit;
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header, MessageKind};
use address::Address;
use auth::Identity;
use connections::{ConnectionId, Connections};
use hot::Hot;
use link::{Link, LinkState, Links};
use outside::{NoDirectory, Outside};
use poll::Poller;
use ports::Ports;
use rails::{RAILS_MAX, Rails};
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Largest body of a short message, which is received whole before it is delivered: beyond it the
/// copy that this takes costs more than the second system call of a bulk message.
pub const SHORT_BYTES_MAX: usize = 16 * 1024;
/// Largest body of a fragment: a system call of some microseconds per 40 of copying.
pub const FRAGMENT_BYTES_MAX: usize = 128 * 1024;
/// Largest body of a bulk message. Fewer system calls are faster (1 MiB by one: 150 us, by eight:
/// 190 us), but other messages of the pair wait behind it.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that wait for one socket at most: seven fragments, or 1 ms of a 10 Gbit/s link.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes received at once that have no place of their own; one buffer for all connections.
const RECEIVE_BYTES: usize = 128 * 1024;
/// The same where a bulk message is expected: its headers and little more, so that the rest of the
/// body lands where it belongs.
const EXPECT_BYTES: usize = 512;

/// Token of the listening socket; those of other rails come before it.
const LISTENER: u64 = u64::MAX - 1;
const OTHER_LISTENERS: u64 = LISTENER - (rails::RAILS_MAX as u64 - 1);

/// What a lane needs to know.
pub struct Settings {
    /// This process and its job.
    pub identity: Identity,
    /// Name of this host, for messages to people.
    pub host: String,
    /// The address to listen on.
    pub ip: Ipv4Addr,
    /// Other ones, which make several rails of this and the first (rails/).
    pub other_ips: Vec<Ipv4Addr>,
    /// All of them by place, nearest first; in their order if it is empty.
    pub nearest: Vec<u8>,
    /// ... at one of these ports.
    pub ports: Ports,
    /// Size of the sockets' buffers; `None` lets the kernel adapt them.
    pub socket_bytes: Option<usize>,
    /// Takes the line about a dropped stranger.
    pub report: Box<dyn FnMut(&str) + Send>,
}

impl Settings {
    /// Those of a process on its own host, as tests and [`TcpLane::new`] begin.
    pub fn new(rank: u32, size: u32, job: [u8; 16], key: [u8; 32]) -> Settings {
        let build = build();
        Settings {
            identity: Identity { job, key, rank, size, build, version: auth::WIRE_VERSION },
            host: "localhost".into(),
            ip: Ipv4Addr::LOCALHOST,
            other_ips: Vec::new(),
            nearest: Vec::new(),
            ports: Ports::ANY,
            socket_bytes: None,
            report: Box::new(|line| eprintln!("{line}")),
        }
    }
}

/// Names the build in a hello: processes of one job must agree on it.
fn build() -> u64 {
    env!("STRAIT_BUILD_ID").bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The lane.
pub struct TcpLane {
    identity: Identity,
    host: String,
    directory: Box<dyn Directory>,
    report: Box<dyn FnMut(&str) + Send>,
    socket_bytes: Option<usize>,
    address: Address,
    listener: OwnedFd,
    poller: Poller,
    connections: Connections,
    links: Links,
    /// What a lane with several addresses has besides.
    rails: Option<Box<Rails>>,
    /// Peers of other jobs.
    outside: Outside,
    /// Connections without a good hello, oldest first, and until when they may stay so.
    strangers: VecDeque<(Instant, ConnectionId)>,
    /// Source addresses whose strangers have been reported.
    reported: Vec<IpAddr>,
    /// Peers whose address was not there, and when to look again.
    unaddressed: Vec<Peer>,
    look_up_at: Option<Instant>,
    look_up_pause: Duration,
    /// Peers whose own call is awaited, and until when.
    awaiting: VecDeque<(Instant, Peer)>,
    /// Our calls to other hosts, and until when each may stay without an answer.
    calls: VecDeque<(Instant, ConnectionId)>,
    accept_again_at: Option<Instant>,
    timer_due: Cell<Option<Instant>>,
    /// When to wake who waits for acknowledgements, of which the kernel says nothing by itself.
    flush_look_at: Cell<Option<Instant>>,
    /// Connections with received bytes that the budget left.
    backlog: VecDeque<ConnectionId>,
    losses: VecDeque<(Peer, Error)>,
    /// Ends that the directory had counted at our last look.
    ends_seen: u32,
    /// Peers that it says are dead, and until when what they sent last may still come.
    dying: Vec<(Instant, Peer)>,
    /// Connections that are looked at without asking the kernel which are ready.
    hot: Hot,
    /// Connections that hold short messages back until the next poll.
    holding: Vec<ConnectionId>,
    /// Counts polls.
    turn: u32,
    /// What changed without a message, and may be what somebody waits for.
    settled: usize,
    receive_buffer: Vec<u8>,
    scratch: Vec<u8>,
    closing: bool,
}

impl TcpLane {
    /// The lane of this process of a job; its address is published in the node's memory.
    ///
    /// # Errors
    /// `STRAIT_TCP_INTERFACE` names nothing, no port of `STRAIT_TCP_PORTS` is free, or the system
    /// refuses a socket.
    pub fn new(job: &Job) -> Result<TcpLane> {
        let ip = interface::of_job(job)?;
        let own = Settings::new(job.rank, job.size, job.node.plan().job, job.key);
        let ports = Ports::from_environment()?;
        let mut settings = Settings { host: job.host.clone(), ip, ports, ..own };
        if job.local_size < job.size {
            let all = interface::several_of_job()?;
            settings.other_ips = all.iter().skip(1).map(|each| each.address).collect();
            let names: Vec<_> = all.into_iter().map(|each| each.name).collect();
            settings.nearest = rails::near::order(&names);
        }
        TcpLane::with_directory(settings, Box::new(NodeDirectory::new(job)))
    }

    /// A lane for peers of other jobs alone: those of this one have another.
    ///
    /// # Errors
    /// As [`TcpLane::new`].
    pub fn for_others(job: &Job) -> Result<TcpLane> {
        let ip = interface::of_job(job)?;
        let own = Settings::new(job.rank, job.size, job.node.plan().job, job.key);
        let ports = Ports::from_environment()?;
        let settings = Settings { host: job.host.clone(), ip, ports, ..own };
        TcpLane::with_directory(settings, Box::new(NoDirectory))
    }

    /// Listens, and publishes the address.
    ///
    /// # Errors
    /// The system refuses a socket.
    pub fn with_directory(settings: Settings, directory: Box<dyn Directory>) -> Result<TcpLane> {
        let poller = Poller::new()?;
        let (listener, socket) = listen::listen(&poller, LISTENER, settings.ip, settings.ports)?;
        let (others, rails) = listen_for_rails(&poller, socket, &settings)?;
        let address = Address { socket, listener: listen::nonce()?, others };
        directory.publish(&address.encode());
        Ok(TcpLane {
            identity: settings.identity,
            host: settings.host,
            directory,
            report: settings.report,
            socket_bytes: settings.socket_bytes,
            address,
            listener,
            poller,
            connections: Connections::default(),
            links: Links::default(),
            rails,
            outside: Outside::default(),
            strangers: VecDeque::new(),
            reported: Vec::new(),
            unaddressed: Vec::new(),
            look_up_at: None,
            look_up_pause: Duration::ZERO,
            awaiting: VecDeque::new(),
            calls: VecDeque::new(),
            accept_again_at: None,
            timer_due: Cell::new(None),
            flush_look_at: Cell::new(None),
            backlog: VecDeque::new(),
            losses: VecDeque::new(),
            ends_seen: 0,
            dying: Vec::new(),
            hot: Hot::default(),
            holding: Vec::new(),
            turn: 0,
            settled: 0,
            receive_buffer: Vec::new(),
            scratch: Vec::new(),
            closing: false,
        })
    }

    /// What to sleep on: readable when `poll` has something to do.
    pub fn epoll_fd(&self) -> BorrowedFd<'_> {
        self.poller.descriptor()
    }

    /// Whether `poll` has something to do that `epoll_fd` does not tell: do not sleep then.
    pub fn has_work(&self) -> bool {
        !self.backlog.is_empty()
            || !self.losses.is_empty()
            || self.directory.losses() != self.ends_seen
    }

    /// Whether messages wait for a connection to be made, which takes the peer's help.
    pub fn is_connecting(&self) -> bool {
        self.links.values().any(|link| !link.waiting.is_empty())
            || self.rails.as_ref().is_some_and(|rails| rails.is_connecting())
    }

    /// What has changed since the last call that ends a wait and is no message: messages left that
    /// waited for a connection or for room, or it is time to ask for acknowledgements again.
    /// Whoever polls for others wakes them for this, too.
    #[inline]
    pub fn take_settled(&mut self) -> usize {
        std::mem::take(&mut self.settled)
    }

    /// Whether short messages may be held back: the next poll, or `release`, sends them.
    #[inline]
    pub fn is_holding(&self) -> bool {
        !self.holding.is_empty()
    }

    /// Sends what is held back.
    pub fn release(&mut self) {
        for id in std::mem::take(&mut self.holding) {
            if let Some(connection) = self.connections.get_mut(id) {
                self.settled += usize::from(connection.flush(&self.poller));
            }
        }
    }

    /// Before somebody sleeps on the descriptor: the next poll asks the kernel.
    pub fn cool(&mut self) {
        self.hot.clear();
    }

    /// Says goodbye to every peer there is a connection to: the orderly end, after which the ends
    /// of connections are no losses. Poll until [`Lane::is_flushed`], then drop the lane.
    pub fn close(&mut self) {
        self.closing = true;
        for id in self.connections.ids() {
            self.say_goodbye(id);
        }
        self.close_rails();
    }

    /// Connections that exist now, strangers included.
    pub fn connection_count(&self) -> usize {
        self.connections.iter().count()
    }

    /// Where this lane listens.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The link to `peer`; if nothing was done yet, a call is begun.
    #[cold]
    #[inline(never)]
    fn call(&mut self, peer: Peer) -> LinkState {
        if !self.is_known(peer) {
            self.lose(peer, "the TCP lane reaches processes that it was told of only".into());
            return LinkState::Lost;
        }
        let link = self.links.entry(peer.0).or_default();
        // A call of the peer that is under way will do; if it fails, `reconsider` makes our own.
        if link.state == LinkState::Idle && link.incoming.is_none() {
            self.dial(peer);
        }
        self.links.entry(peer.0).or_default().state
    }

    /// A frame for a peer without an open connection.
    #[cold]
    fn submit_unconnected(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        match self.call(peer) {
            LinkState::Lost => return Submit::Lost,
            LinkState::Railed => return self.submit_rails(peer, header, bytes, fill),
            LinkState::Departed if is_answer(header) => return Submit::Sent,
            LinkState::Departed => {
                self.lose(peer, FINALIZED.into());
                return Submit::Lost;
            }
            _ => {}
        }
        let link: &mut Link = self.links.entry(peer.0).or_default();
        if link.waiting.len() + bytes > QUEUE_BYTES_MAX {
            return Submit::Full;
        }
        fill(link.waiting.reserve(bytes));
        Submit::Sent
    }

    #[inline]
    fn open_connection(&self, peer: Peer) -> Option<ConnectionId> {
        match self.links.get(&peer.0)?.state {
            LinkState::Open(id) => Some(id),
            _ => None,
        }
    }
}

/// Where a lane listens besides, and what it needs for that.
type Others = ([Option<SocketAddrV4>; RAILS_MAX - 1], Option<Box<Rails>>);

/// Listens on the addresses besides the first, if there are any.
fn listen_for_rails(poller: &Poller, first: SocketAddrV4, settings: &Settings) -> Result<Others> {
    let mut others = [None; RAILS_MAX - 1];
    let (mut own, mut listeners) = (vec![first], Vec::new());
    for (at, ip) in settings.other_ips.iter().take(others.len()).enumerate() {
        let token = LISTENER - 1 - at as u64;
        let (listener, socket) = listen::listen(poller, token, *ip, settings.ports)?;
        others[at] = Some(socket);
        own.push(socket);
        listeners.push(listener);
    }
    let nearest = match settings.nearest.len() == own.len() {
        true => settings.nearest.clone(),
        false => (0..own.len() as u8).collect(),
    };
    let rails = Rails::new(own, listeners, nearest);
    Ok((others, (!rails.listeners().is_empty()).then(|| Box::new(rails))))
}

/// The header of a body of `bytes`: its length is what frames the stream, whatever the caller put.
#[inline]
fn head(header: &Header, bytes: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(MessageKind::from_byte(header.kind).is_some() && header.reserved == 0);
    codec::encode(&Header { body: bytes as u32, ..*header })
}

impl Lane for TcpLane {
    fn capabilities(&mut self, _peer: Peer) -> Capabilities {
        Capabilities {
            short_bytes_max: SHORT_BYTES_MAX,
            fragment_bytes_max: FRAGMENT_BYTES_MAX,
            piece_bytes_max: FRAGMENT_BYTES_MAX,
            bulk_bytes_max: BULK_BYTES_MAX,
            get: false,
            get_later: false,
            // Loopback of the development machine, two cores (docs/tcp.md).
            latency_ns: 8_000,
            fragment_bytes_per_us: 6_000,
            get_ns: 0,
            get_bytes_per_us: 0,
            get_written_bytes_per_us: 0,
            share: Unit::NONE,
        }
    }

    #[inline]
    fn short(&mut self, peer: Peer, header: &Header, body: &[u8]) -> Submit {
        assert!(body.len() <= SHORT_BYTES_MAX, "a short message of {} bytes", body.len());
        let head = head(header, body.len());
        if let Some(id) = self.open_connection(peer)
            && let Some(connection) = self.connections.get_mut(id)
        {
            if connection.hold(self.turn, &head, body) {
                if connection.holds_enough() {
                    connection.flush(&self.poller);
                } else if connection.is_first_held() && !self.holding.contains(&id) {
                    self.holding.push(id);
                }
                return Submit::Sent;
            }
            return match connection.short(&self.poller, &head, body) {
                Submit::Lost => connection.refuse(is_answer(header)),
                answer => answer,
            };
        }
        self.submit_unconnected(peer, header, HEADER_BYTES + body.len(), &mut |into| {
            into[..HEADER_BYTES].copy_from_slice(&head);
            into[HEADER_BYTES..].copy_from_slice(body);
        })
    }

    fn fragment(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        assert!(bytes <= FRAGMENT_BYTES_MAX, "a fragment of {bytes} bytes");
        let head = head(header, bytes);
        let mut frame = |into: &mut [u8]| {
            into[..HEADER_BYTES].copy_from_slice(&head);
            fill(&mut into[HEADER_BYTES..]);
        };
        if let Some(id) = self.open_connection(peer)
            && let Some(connection) = self.connections.get_mut(id)
        {
            let bytes = HEADER_BYTES + bytes;
            return match connection.fragment(&self.poller, &mut self.scratch, bytes, &mut frame) {
                Submit::Lost => connection.refuse(is_answer(header)),
                answer => answer,
            };
        }
        self.submit_unconnected(peer, header, HEADER_BYTES + bytes, &mut frame)
    }

    fn bulk(
        &mut self,
        peer: Peer,
        lead: Option<(&Header, &[u8])>,
        header: &Header,
        body: &[u8],
    ) -> Bulk {
        assert!(body.len() <= BULK_BYTES_MAX && header.comes_in_pieces(), "{header:?}");
        if let Some(id) = self.open_connection(peer)
            && let Some(connection) = self.connections.get_mut(id)
        {
            let name = (header.kind, header.token);
            let head = self::head(header, body.len());
            let answer = match lead {
                None => connection.bulk(&self.poller, name, &[&head], body),
                Some((lead, bytes)) => {
                    let parts = [&self::head(lead, bytes.len())[..], bytes, &head];
                    connection.bulk(&self.poller, name, &parts, body)
                }
            };
            if answer == Bulk::Lost {
                // Nobody but its sender waits for this: the loss is reported.
                let _ = connection.refuse(false);
            }
            return answer;
        }
        match self.call(peer) {
            LinkState::Lost => Bulk::Lost,
            LinkState::Railed => self.bulk_rails(peer, lead, header, body),
            LinkState::Departed => {
                self.lose(peer, FINALIZED.into());
                Bulk::Lost
            }
            _ => Bulk::Full,
        }
    }

    unsafe fn get(&mut self, _peer: Peer, _from: RemoteRange, _into: *mut u8, _token: u64) -> Get {
        Get::Refused
    }

    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        self.progress(inbox, budget)
    }

    /// Also asks the kernel: bytes that the peer's kernel has not acknowledged would be dropped if
    /// this process ended while something it never read lies in its own sockets.
    fn is_flushed(&self) -> bool {
        let mut connections = self.connections.iter();
        if self.is_connecting()
            || !self.connections.iter().all(|connection| connection.has_sent_all())
            || self.rails.as_ref().is_some_and(|rails| !rails.is_flushed())
        {
            return false;
        }
        let acknowledged =
            connections.all(|each| poll::unacknowledged_bytes(each.socket.as_fd()) == 0);
        if !acknowledged {
            self.look_for_acknowledgements();
        }
        acknowledged
    }
}
