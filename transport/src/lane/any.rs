// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lanes of a worker and the one dispatch: a `match` on the lane of the endpoint.
//!
//! The set is closed, so bodies can be inlined and the borrow checker sees through. `STRAIT_LANES`
//! (a list of names, allowed.rs) says which lanes may be used between processes; a worker's
//! messages to itself always use loopback, so `self` may be named and changes nothing. A lane that
//! no peer needs is not made: a job on one host opens no port.

pub use super::allowed::Allowed;
use super::choice;
use super::loopback::Loopback;
use super::ofi::OfiLane;
use super::remote::RemoteMemory;
use super::shm::ShmLane;
use super::sim::SimLane;
use super::tcp::TcpLane;
use super::ucx::UcxLane;
use super::{Bulk, Capabilities, Get, Inbox, Lane, Loan, RemoteRange};
use crate::bootstrap::Job;
use crate::envelope::{Envelope, Pattern, Peer};
use crate::error::{Result, Submit};
use crate::protocol::share::Cell;
use crate::wait::Sleepers;
use crate::wire::header::{Header, MessageKind};
use std::os::fd::BorrowedFd;

/// Which lane an endpoint uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneKind {
    /// A worker with itself.
    Loopback,
    /// A process of this host.
    Shm,
    /// A process of another host, or any other process if `STRAIT_LANES` forbids shared memory.
    Tcp,
    /// The same, where libfabric has a provider for it.
    Ofi,
    /// The same, where UCX has a transport for it.
    Ucx,
    /// The simulated network.
    Sim,
}

/// Which lane each peer has, without a table of them.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    me: u32,
    size: u32,
    first_local: u32,
    local_size: u32,
    own: LaneKind,
    local: LaneKind,
    outer: LaneKind,
}

impl Kinds {
    /// Those of the first process of a host, in a job of several (tests).
    #[cfg(test)]
    pub(crate) fn spread(size: u32, me: u32, local_size: u32, outer: LaneKind) -> Kinds {
        let (own, local) = (LaneKind::Loopback, LaneKind::Shm);
        Kinds { me, size, first_local: me, local_size, own, local, outer }
    }

    /// Peers, this process included.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The lane of a peer; those beyond the job are processes of others.
    pub fn of(&self, peer: u32) -> LaneKind {
        match peer {
            _ if peer == self.me => self.own,
            _ if peer.wrapping_sub(self.first_local) < self.local_size => self.local,
            _ if peer >= self.size => LaneKind::Tcp,
            _ => self.outer,
        }
    }
}

/// The lanes of one worker.
pub struct Lanes {
    loopback: Loopback,
    shm: Option<ShmLane>,
    tcp: Option<TcpLane>,
    ofi: Option<Box<OfiLane>>,
    ucx: Option<Box<UcxLane>>,
    sim: Option<SimLane>,
    /// Some peer is reached by a network: one look for all who ask on the way of a short message.
    has_network: bool,
    /// Polls until TCP is polled again, if there is shared memory too.
    network_due: u32,
}

/// Messages that one poll of one lane delivers at most: enough to amortise the poll, few enough
/// that replies leave soon.
const BUDGET: usize = 64;
/// The same where each poll of shared memory is a row of close looks.
const WATCHES_PER_NETWORK: u32 = 3;
/// Polls of shared memory between two of TCP: 16 polls cost about what one `epoll_wait` does.
const POLLS_PER_NETWORK: u32 = 16;

impl Lanes {
    /// The lanes of this process, and the kind for each peer.
    pub fn new(job: &Job, allowed: Allowed) -> Result<(Lanes, Kinds)> {
        let has_local_peers = job.local_size > 1;
        let is_spread = job.size > job.local_size;
        let needs_network = is_spread || (has_local_peers && !allowed.shm);
        let (ucx, ofi) =
            if needs_network { choice::fabric_lanes(job, allowed)? } else { (None, None) };
        let outer = match (&ucx, &ofi) {
            (Some(_), _) => LaneKind::Ucx,
            (_, Some(_)) => LaneKind::Ofi,
            _ if allowed.tcp || !needs_network => LaneKind::Tcp,
            _ => {
                let is_local =
                    |peer: &u32| peer.wrapping_sub(job.first_local_rank) < job.local_size;
                let far = (0..job.size).find(|peer| !is_local(peer));
                let near = (0..job.size).find(|peer| is_local(peer) && *peer != job.rank);
                let near = near.filter(|_| !allowed.shm);
                return Err(choice::unreachable(near.or(far).unwrap_or(0), near.is_some()));
            }
        };
        let kinds = Kinds {
            me: job.rank,
            size: job.size,
            first_local: job.first_local_rank,
            local_size: job.local_size,
            own: LaneKind::Loopback,
            local: if allowed.shm { LaneKind::Shm } else { outer },
            outer,
        };
        let has_shm = has_local_peers && allowed.shm;
        let shm = if has_shm { Some(ShmLane::new(job)?) } else { None };
        let has_tcp = needs_network && outer == LaneKind::Tcp;
        let tcp = if has_tcp { Some(TcpLane::new(job)?) } else { None };
        let loopback = Loopback::new(Peer(job.rank));
        let lanes = Lanes {
            loopback,
            shm,
            tcp,
            ofi,
            ucx,
            sim: None,
            has_network: needs_network,
            network_due: 0,
        };
        Ok((lanes, kinds))
    }

    /// The lane over TCP: it is made now, for processes of other jobs, if this job has none.
    pub(crate) fn open_to_others(
        &mut self,
        job: &Job,
        sleepers: &Sleepers,
    ) -> Result<&mut TcpLane> {
        if self.tcp.is_none() {
            let lane = TcpLane::for_others(job)?;
            sleepers.watch(lane.epoll_fd())?;
            self.tcp = Some(lane);
            self.has_network = true;
        }
        Ok(present(&mut self.tcp))
    }

    /// Lanes for a simulated worker: everything, itself included, goes over `sim` if
    /// `self_over_sim`, else its own messages use loopback.
    pub fn simulated(sim: SimLane, self_over_sim: bool) -> (Lanes, Kinds) {
        let me = sim.me();
        let kinds = Kinds {
            me: me.0,
            size: sim.size(),
            first_local: 0,
            local_size: 0,
            own: if self_over_sim { LaneKind::Sim } else { LaneKind::Loopback },
            local: LaneKind::Sim,
            outer: LaneKind::Sim,
        };
        let loopback = Loopback::new(me);
        (
            Lanes {
                loopback,
                shm: None,
                tcp: None,
                ofi: None,
                ucx: None,
                sim: Some(sim),
                has_network: false,
                network_due: 0,
            },
            kinds,
        )
    }

    #[inline]
    pub(crate) fn short(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        header: &Header,
        body: &[u8],
    ) -> Submit {
        match kind {
            LaneKind::Loopback => self.loopback.short(peer, header, body),
            LaneKind::Shm => present(&mut self.shm).short(peer, header, body),
            LaneKind::Ofi => present(&mut self.ofi).short(peer, header, body),
            LaneKind::Ucx => present(&mut self.ucx).short(peer, header, body),
            LaneKind::Tcp => present(&mut self.tcp).short(peer, header, body),
            LaneKind::Sim => present(&mut self.sim).short(peer, header, body),
        }
    }

    /// A plain message: eager, and nobody waits for an acknowledgement. `false`: no room, or the
    /// peer is lost; nothing was done.
    ///
    /// # Safety
    /// `base` is readable for `bytes` bytes, which are at most the lane's `short_bytes_max`.
    #[inline(always)]
    pub(crate) unsafe fn plain(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        envelope: Envelope,
        base: *const u8,
        bytes: usize,
    ) -> bool {
        if kind == LaneKind::Shm
            && let Some(shm) = &mut self.shm
            // SAFETY: the caller's promise.
            && unsafe { shm.plain(peer, envelope, base, bytes) }
        {
            return true;
        }
        // SAFETY: the caller's promise.
        unsafe { self.plain_by_short(kind, peer, envelope, base, bytes) }
    }

    /// As [`ShmLane::take_plain`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(crate) unsafe fn take_plain(
        &mut self,
        peer: Peer,
        wanted: Pattern,
        into: (*mut u8, usize),
        looks: u32,
    ) -> Option<(u32, usize)> {
        // SAFETY: the caller's promise.
        unsafe { self.shm.as_mut()?.take_plain(peer, wanted, into, looks) }
    }

    #[inline(never)]
    unsafe fn plain_by_short(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        envelope: Envelope,
        base: *const u8,
        bytes: usize,
    ) -> bool {
        let body: &[u8] = match bytes {
            0 => &[],
            // SAFETY: the caller's promise.
            _ => unsafe { std::slice::from_raw_parts(base, bytes) },
        };
        let header = Header::with_envelope(MessageKind::Eager, envelope, bytes);
        self.short(kind, peer, &header, body) == Submit::Sent
    }

    #[inline]
    pub(crate) fn fragment(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        match kind {
            LaneKind::Loopback => self.loopback.fragment(peer, header, bytes, fill),
            LaneKind::Shm => present(&mut self.shm).fragment(peer, header, bytes, fill),
            LaneKind::Ofi => present(&mut self.ofi).fragment(peer, header, bytes, fill),
            LaneKind::Ucx => present(&mut self.ucx).fragment(peer, header, bytes, fill),
            LaneKind::Tcp => present(&mut self.tcp).fragment(peer, header, bytes, fill),
            LaneKind::Sim => present(&mut self.sim).fragment(peer, header, bytes, fill),
        }
    }

    pub(crate) fn bulk(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        lead: Option<(&Header, &[u8])>,
        header: &Header,
        body: &[u8],
    ) -> Bulk {
        match kind {
            LaneKind::Loopback => self.loopback.bulk(peer, lead, header, body),
            LaneKind::Shm => present(&mut self.shm).bulk(peer, lead, header, body),
            LaneKind::Ofi => present(&mut self.ofi).bulk(peer, lead, header, body),
            LaneKind::Ucx => present(&mut self.ucx).bulk(peer, lead, header, body),
            LaneKind::Tcp => present(&mut self.tcp).bulk(peer, lead, header, body),
            LaneKind::Sim => present(&mut self.sim).bulk(peer, lead, header, body),
        }
    }

    /// # Safety
    /// As [`Lane::get`].
    pub(crate) unsafe fn get(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get {
        // SAFETY: the caller's promise is the condition of each lane's `get`.
        unsafe {
            match kind {
                LaneKind::Loopback => self.loopback.get(peer, from, into, token),
                LaneKind::Shm => present(&mut self.shm).get(peer, from, into, token),
                LaneKind::Ofi => present(&mut self.ofi).get(peer, from, into, token),
                LaneKind::Ucx => present(&mut self.ucx).get(peer, from, into, token),
                LaneKind::Tcp => present(&mut self.tcp).get(peer, from, into, token),
                LaneKind::Sim => present(&mut self.sim).get(peer, from, into, token),
            }
        }
    }

    /// # Safety
    /// As [`Lane::put`].
    pub(crate) unsafe fn put(
        &mut self,
        kind: LaneKind,
        peer: Peer,
        from: *const u8,
        to: RemoteRange,
    ) -> Get {
        // SAFETY: the caller's promise is the condition of each lane's `put`.
        unsafe {
            match kind {
                LaneKind::Loopback => self.loopback.put(peer, from, to),
                LaneKind::Shm => present(&mut self.shm).put(peer, from, to),
                LaneKind::Ofi => present(&mut self.ofi).put(peer, from, to),
                LaneKind::Ucx => present(&mut self.ucx).put(peer, from, to),
                LaneKind::Tcp => present(&mut self.tcp).put(peer, from, to),
                LaneKind::Sim => present(&mut self.sim).put(peer, from, to),
            }
        }
    }

    /// The lane as one that reaches memory of peers without them, if it is one.
    pub(crate) fn remote(&mut self, kind: LaneKind) -> Option<&mut dyn RemoteMemory> {
        match kind {
            LaneKind::Ofi => Some(&mut **present(&mut self.ofi)),
            LaneKind::Ucx => Some(&mut **present(&mut self.ucx)),
            LaneKind::Loopback | LaneKind::Shm | LaneKind::Tcp | LaneKind::Sim => None,
        }
    }

    /// As [`Lane::used`].
    pub(crate) fn used(&mut self, kind: LaneKind, base: *const u8, bytes: usize) {
        if kind == LaneKind::Shm {
            present(&mut self.shm).used(base, bytes);
        }
    }

    /// As [`Lane::lend`].
    pub(crate) fn lend(
        &mut self,
        kind: LaneKind,
        token: u64,
        base: *const u8,
        bytes: usize,
    ) -> Option<Loan> {
        match kind {
            LaneKind::Loopback => self.loopback.lend(token, base, bytes),
            LaneKind::Shm => present(&mut self.shm).lend(token, base, bytes),
            LaneKind::Ofi => present(&mut self.ofi).lend(token, base, bytes),
            LaneKind::Ucx => present(&mut self.ucx).lend(token, base, bytes),
            LaneKind::Tcp => present(&mut self.tcp).lend(token, base, bytes),
            LaneKind::Sim => present(&mut self.sim).lend(token, base, bytes),
        }
    }

    /// As [`Lane::take_back`].
    pub(crate) fn take_back(&mut self, token: u64) {
        if let Some(ofi) = &mut self.ofi {
            ofi.take_back(token);
        }
        if let Some(ucx) = &mut self.ucx {
            ucx.take_back(token);
        }
    }

    /// As [`Lane::cells`].
    pub(crate) fn cells(&self, kind: LaneKind, owner: Peer) -> Option<&[Cell]> {
        match kind {
            LaneKind::Loopback => self.loopback.cells(owner),
            LaneKind::Shm => self.shm.as_ref()?.cells(owner),
            LaneKind::Ofi => self.ofi.as_ref()?.cells(owner),
            LaneKind::Ucx => self.ucx.as_ref()?.cells(owner),
            LaneKind::Tcp => self.tcp.as_ref()?.cells(owner),
            LaneKind::Sim => self.sim.as_ref()?.cells(owner),
        }
    }

    pub(crate) fn capabilities(&mut self, kind: LaneKind, peer: Peer) -> Capabilities {
        match kind {
            LaneKind::Loopback => self.loopback.capabilities(peer),
            LaneKind::Shm => present(&mut self.shm).capabilities(peer),
            LaneKind::Ofi => present(&mut self.ofi).capabilities(peer),
            LaneKind::Ucx => present(&mut self.ucx).capabilities(peer),
            LaneKind::Tcp => present(&mut self.tcp).capabilities(peer),
            LaneKind::Sim => present(&mut self.sim).capabilities(peer),
        }
    }

    #[inline]
    pub(crate) fn poll<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        let mut count = 0;
        if let Some(shm) = &mut self.shm {
            count += shm.poll(inbox, BUDGET);
        }
        count += self.loopback.poll(inbox, BUDGET);
        if self.has_network {
            count += self.poll_network(inbox);
        }
        if let Some(sim) = &mut self.sim {
            count += sim.poll(inbox, BUDGET);
        }
        count
    }

    /// Whether messages come by shared memory, so that a look for those costs next to nothing.
    #[inline(always)]
    pub(crate) fn has_shm(&self) -> bool {
        self.shm.is_some()
    }

    /// Close looks at shared memory come between the polls: those of sockets come earlier.
    #[inline]
    pub(crate) fn hasten_network(&mut self) {
        self.network_due = self.network_due.min(WATCHES_PER_NETWORK);
    }

    /// Takes messages of this host, only where looking costs next to nothing.
    #[inline(always)]
    pub(crate) fn poll_news<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        self.shm.as_mut().map_or(0, |shm| shm.poll_news(inbox, BUDGET))
    }

    /// A poll of sockets is a system call: beside shared memory it is made now and then, and again
    /// at once while something comes.
    #[inline(never)]
    fn poll_network<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        if self.shm.is_some() && self.network_due > 0 {
            self.network_due -= 1;
            return 0;
        }
        let mut count = 0;
        if let Some(tcp) = &mut self.tcp {
            count += tcp.poll(inbox, BUDGET) + tcp.take_settled();
        }
        if let Some(ofi) = &mut self.ofi {
            count += ofi.poll(inbox, BUDGET) + ofi.take_settled();
        }
        if let Some(ucx) = &mut self.ucx {
            count += ucx.poll(inbox, BUDGET) + ucx.take_settled();
        }
        self.network_due = if count > 0 { 0 } else { POLLS_PER_NETWORK };
        count
    }

    #[inline(always)]
    pub(crate) fn has_network(&self) -> bool {
        self.has_network
    }

    /// Whether accepted messages wait for a connection that is being made.
    #[inline]
    pub(crate) fn is_connecting(&self) -> bool {
        self.has_network && self.tcp.as_ref().is_some_and(TcpLane::is_connecting)
    }

    /// Whether a lane holds short messages back until it is polled.
    #[inline]
    pub(crate) fn is_holding(&self) -> bool {
        self.has_network && self.is_network_holding()
    }

    #[inline(never)]
    fn is_network_holding(&self) -> bool {
        self.tcp.as_ref().is_some_and(TcpLane::is_holding)
            || self.ofi.as_ref().is_some_and(|ofi| ofi.is_holding())
            || self.ucx.as_ref().is_some_and(|ucx| ucx.is_holding())
    }

    /// Sends what is held back.
    pub(crate) fn release(&mut self) {
        if let Some(tcp) = &mut self.tcp {
            tcp.release();
        }
        if let Some(ofi) = &mut self.ofi {
            ofi.release();
        }
        if let Some(ucx) = &mut self.ucx {
            ucx.release();
        }
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.loopback.is_flushed()
            && self.shm.as_ref().is_none_or(Lane::is_flushed)
            && self.tcp.as_ref().is_none_or(Lane::is_flushed)
            && self.ofi.as_ref().is_none_or(|ofi| ofi.is_flushed())
            && self.ucx.as_ref().is_none_or(|ucx| ucx.is_flushed())
            && self.sim.as_ref().is_none_or(Lane::is_flushed)
    }

    /// Makes the sleepers wake for sockets too.
    pub(crate) fn watch(&self, sleepers: &Sleepers) -> Result<()> {
        let descriptors = self.network_descriptors();
        descriptors.into_iter().try_for_each(|descriptor| sleepers.watch(descriptor))
    }

    /// What becomes readable when a network has something to do.
    pub(crate) fn network_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let descriptors = [
            self.tcp.as_ref().map(TcpLane::epoll_fd),
            self.ofi.as_ref().and_then(|ofi| ofi.wait_fd()),
            self.ucx.as_ref().and_then(|ucx| ucx.wait_fd()),
        ];
        descriptors.into_iter().flatten().collect()
    }

    /// The next poll is one of networks, too.
    pub(crate) fn look_at_networks(&mut self) {
        self.network_due = 0;
        if let Some(tcp) = &mut self.tcp {
            tcp.cool();
        }
    }

    /// Whether networks have nothing to do before one of their descriptors is readable.
    pub(crate) fn may_leave_networks(&mut self) -> bool {
        !self.tcp.as_ref().is_some_and(TcpLane::has_work)
            && self.ofi.as_mut().is_none_or(|ofi| ofi.is_quiet())
            && self.ucx.as_mut().is_none_or(|ucx| ucx.is_quiet())
    }

    /// Once the bell is armed, before its fence: says which room this process will sleep for.
    pub(crate) fn wish(&self) {
        if let Some(shm) = &self.shm {
            shm.wish();
        }
    }

    /// Before the bell is armed: prepares for sleep.
    pub(crate) fn announce(&mut self, sleepers: &Sleepers) {
        if let Some(shm) = &mut self.shm {
            shm.announce(sleepers);
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.cool();
        }
    }

    /// After the bell was armed: nothing that a poll would find. What sockets have makes the epoll
    /// descriptor readable, so the sleep ends at once.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.loopback.is_flushed()
            && self.shm.as_mut().is_none_or(ShmLane::is_quiet)
            && self.may_leave_networks()
    }

    /// After the end: closes what leaves something behind in the system if its process just ends.
    pub(crate) fn end(&mut self) {
        (self.ofi, self.ucx) = (None, None);
    }

    /// The orderly end: tells the peers that the ends of connections are no losses.
    pub(crate) fn close(&mut self) {
        if let Some(tcp) = &mut self.tcp {
            tcp.close();
        }
        if let Some(ofi) = &mut self.ofi {
            ofi.close();
        }
        if let Some(ucx) = &mut self.ucx {
            ucx.close();
        }
    }
}

#[inline]
fn present<L>(lane: &mut Option<L>) -> &mut L {
    lane.as_mut().expect("an endpoint names only lanes that are there")
}
