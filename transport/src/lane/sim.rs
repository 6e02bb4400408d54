// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A seeded in-memory network with virtual time, for tests: delays, full links, stalls and deaths.
//!
//! Invariants:
//! 1. Messages of a pair (from, to) arrive in the order in which they were accepted, whole.
//! 2. Messages of different pairs overtake each other as the seed says.
//! 3. Nothing happens by itself: time moves only in [`SimNet::advance`], and the same seed with the
//!    same calls gives the same run.
//! 4. A link holds at most `capacity` messages; beyond that, or while it is stalled, or now and
//!    then because the seed says so, it is full.
//!
//! All workers live in one thread; `get` reads the sender's memory directly.

use super::{Bulk, Capabilities, Get, Inbox, Lane, RemoteRange};
use crate::envelope::Peer;
use crate::error::{Error, Kind, Submit};
use crate::protocol::share::{CELL_COUNT, Cell, Unit};
use crate::wire::header::Header;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// A small generator (xorshift with a multiply), so that a run depends on its seed only.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From any seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `bound` (which is not zero).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a simulated network is like.
#[derive(Clone, Debug)]
pub struct SimPlan {
    /// Workers.
    pub size: u32,
    /// Seed of everything.
    pub seed: u64,
    /// Messages that a link holds.
    pub capacity: usize,
    /// Longest delay of a message, in steps of time.
    pub delay_max: u64,
    /// A link stalls once in so many messages (0: never) ...
    pub stall_one_in: u64,
    /// ... for at most so long.
    pub stall_max: u64,
    /// A send is refused once in so many times though there is room (0: never).
    pub full_one_in: u64,
    /// Largest short body.
    pub short_bytes_max: usize,
    /// Largest fragment body.
    pub fragment_bytes_max: usize,
    /// As in `Capabilities`.
    pub piece_bytes_max: usize,
    /// Largest bulk body (0: no such way).
    pub bulk_bytes_max: usize,
    /// Whether get works; `refuse_get` makes it advertised and then refused.
    pub get: bool,
    /// Advertise get, and refuse it when it is tried.
    pub refuse_get: bool,
}

struct Parcel {
    due: u64,
    header: Header,
    body: Vec<u8>,
}

#[derive(Default)]
struct Link {
    parcels: VecDeque<Parcel>,
    stalled_until: u64,
    last_due: u64,
}

struct State {
    plan: SimPlan,
    random: Random,
    now: u64,
    links: Vec<Link>,
    dead: Vec<bool>,
    /// `told[to * size + dead]`: `to` knows.
    told: Vec<bool>,
    spare: Vec<Vec<u8>>,
}

/// The network: make one lane of it for each worker.
#[derive(Clone)]
pub struct SimNet(Arc<Mutex<State>>, Arc<Vec<Vec<Cell>>>);

impl SimNet {
    /// A network without traffic.
    pub fn new(plan: SimPlan) -> SimNet {
        let size = plan.size as usize;
        let random = Random::new(plan.seed);
        let links = (0..size * size).map(|_| Link::default()).collect();
        let (dead, told) = (vec![false; size], vec![false; size * size]);
        let state = State { plan, random, now: 0, links, dead, told, spare: Vec::new() };
        let cells = |_| (0..CELL_COUNT).map(|_| Cell::default()).collect();
        SimNet(Arc::new(Mutex::new(state)), Arc::new((0..size).map(cells).collect()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the simulation is one thread")
    }

    /// The lane of one worker.
    pub fn lane(&self, me: Peer) -> SimLane {
        let size = self.state().plan.size;
        assert!(me.0 < size);
        SimLane { net: self.clone(), me, size }
    }

    /// Time goes on.
    pub fn advance(&self, steps: u64) {
        self.state().now += steps;
    }

    /// Messages under way between living workers.
    pub fn in_flight(&self) -> usize {
        let state = self.state();
        let size = state.plan.size as usize;
        let alive = |at: usize| !state.dead[at / size] && !state.dead[at % size];
        let links = state.links.iter().enumerate();
        links.filter(|(at, _)| alive(*at)).map(|(_, link)| link.parcels.len()).sum()
    }

    /// This worker dies. What it has sent may still arrive, up to a random message of each link.
    pub fn kill(&self, peer: Peer) {
        let mut state = self.state();
        let size = state.plan.size as usize;
        state.dead[peer.0 as usize] = true;
        for to in 0..size {
            let at = peer.0 as usize * size + to;
            let kept = state.links[at].parcels.len() as u64 + 1;
            let kept = state.random.below(kept) as usize;
            state.links[at].parcels.truncate(kept);
        }
    }
}

/// One worker's end.
pub struct SimLane {
    net: SimNet,
    me: Peer,
    size: u32,
}

impl SimLane {
    /// Whose lane it is.
    pub fn me(&self) -> Peer {
        self.me
    }

    /// Workers of the network.
    pub fn size(&self) -> u32 {
        self.size
    }

    fn submit(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        let mut state = self.net.state();
        let state = &mut *state;
        if state.dead[peer.0 as usize] {
            return Submit::Lost;
        }
        let link = &mut state.links[self.me.0 as usize * self.size as usize + peer.0 as usize];
        let (plan, random) = (&state.plan, &mut state.random);
        if link.parcels.len() >= plan.capacity
            || link.stalled_until > state.now
            || (plan.full_one_in > 0 && random.one_in(plan.full_one_in))
        {
            return Submit::Full;
        }
        if plan.stall_one_in > 0 && random.one_in(plan.stall_one_in) {
            link.stalled_until = state.now + random.below(plan.stall_max + 1);
        }
        let due = (state.now + random.below(plan.delay_max + 1)).max(link.last_due);
        link.last_due = due;
        let mut body = state.spare.pop().unwrap_or_default();
        body.clear();
        body.resize(bytes, 0xa5);
        fill(&mut body);
        link.parcels.push_back(Parcel { due, header: *header, body });
        Submit::Sent
    }
}

impl Lane for SimLane {
    fn capabilities(&mut self, _peer: Peer) -> Capabilities {
        let plan = &self.net.state().plan;
        Capabilities {
            short_bytes_max: plan.short_bytes_max,
            fragment_bytes_max: plan.fragment_bytes_max,
            piece_bytes_max: plan.piece_bytes_max,
            bulk_bytes_max: plan.bulk_bytes_max,
            get: plan.get || plan.refuse_get,
            get_later: false,
            latency_ns: 500,
            fragment_bytes_per_us: 2_000,
            get_ns: 500,
            get_bytes_per_us: 8_000,
            get_written_bytes_per_us: 0,
            share: Unit { shift: 3 },
        }
    }

    fn short(&mut self, peer: Peer, header: &Header, body: &[u8]) -> Submit {
        assert!(body.len() <= self.net.state().plan.short_bytes_max);
        assert_eq!(body.len(), header.body as usize);
        self.submit(peer, header, body.len(), &mut |into| into.copy_from_slice(body))
    }

    fn fragment(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        assert!(bytes <= self.net.state().plan.fragment_bytes_max);
        assert_eq!(bytes, header.body as usize);
        self.submit(peer, header, bytes, fill)
    }

    /// The lead is a message, and so is each piece that is taken: some bytes, perhaps none.
    fn bulk(
        &mut self,
        peer: Peer,
        lead: Option<(&Header, &[u8])>,
        header: &Header,
        body: &[u8],
    ) -> Bulk {
        assert!(body.len() <= self.net.state().plan.bulk_bytes_max && header.comes_in_pieces());
        assert_eq!(body.len(), header.body as usize);
        if let Some((lead, bytes)) = lead {
            match self.submit(peer, lead, bytes.len(), &mut |into| into.copy_from_slice(bytes)) {
                Submit::Full => return Bulk::Full,
                Submit::Lost => return Bulk::Lost,
                Submit::Sent => {}
            }
        }
        let taken = self.net.state().random.below(body.len() as u64 + 1) as usize;
        // A connection has room for a whole body more often than not.
        let taken = if taken.is_multiple_of(3) { taken } else { body.len() };
        if taken == 0 {
            return Bulk::Took(0);
        }
        let (header, piece) = (header.piece(taken), &body[..taken]);
        match self.submit(peer, &header, taken, &mut |into| into.copy_from_slice(piece)) {
            Submit::Sent => Bulk::Took(taken),
            Submit::Lost => Bulk::Lost,
            Submit::Full if lead.is_some() => Bulk::Took(0),
            Submit::Full => Bulk::Full,
        }
    }

    unsafe fn get(&mut self, peer: Peer, from: RemoteRange, into: *mut u8, _token: u64) -> Get {
        let state = self.net.state();
        if state.dead[peer.0 as usize] {
            let reason = "it died in the simulation".to_owned();
            return Get::Lost(Error::new(Kind::PeerLost { peer, reason }));
        }
        if state.plan.refuse_get || !state.plan.get {
            return Get::Refused;
        }
        // SAFETY: all workers share this process; the range is a pending send of `peer`, whose
        // memory the test keeps until the send ends. `into` is writable by the caller's promise.
        unsafe { std::ptr::copy(from.address as usize as *const u8, into, from.bytes) };
        Get::Done
    }

    unsafe fn put(&mut self, peer: Peer, from: *const u8, to: RemoteRange) -> Get {
        let mut state = self.net.state();
        if state.dead[peer.0 as usize] {
            let reason = "it died in the simulation".to_owned();
            return Get::Lost(Error::new(Kind::PeerLost { peer, reason }));
        }
        let one_in = state.plan.full_one_in;
        if state.plan.refuse_get || (one_in > 0 && state.random.one_in(2 * one_in)) {
            return Get::Refused;
        }
        // SAFETY: all workers share this process; the range is a receive that `peer` lent to us by
        // its cell, `from` is readable by the caller's promise.
        unsafe { std::ptr::copy(from, to.address as usize as *mut u8, to.bytes) };
        Get::Done
    }

    fn cells(&self, owner: Peer) -> Option<&[Cell]> {
        self.net.1.get(owner.0 as usize).map(Vec::as_slice)
    }

    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        let size = self.size as usize;
        let me = self.me.0 as usize;
        let mut count = 0;
        let first = self.net.state().random.below(size as u64) as usize;
        for from in (0..size).map(|i| (first + i) % size) {
            let at = from * size + me;
            while count < budget {
                let mut state = self.net.state();
                let now = state.now;
                let parcels = &mut state.links[at].parcels;
                let due = parcels.front().is_some_and(|parcel| parcel.due <= now);
                let Some(parcel) = due.then(|| parcels.pop_front()).flatten() else { break };
                drop(state);
                inbox.message(Peer(from as u32), &parcel.header, &parcel.body);
                self.net.state().spare.push(parcel.body);
                count += 1;
            }
            let mut state = self.net.state();
            let over = state.dead[from] && state.links[at].parcels.is_empty();
            if over && !std::mem::replace(&mut state.told[me * size + from], true) {
                drop(state);
                let peer = Peer(from as u32);
                let reason = "it died in the simulation".to_owned();
                inbox.lost(peer, Error::new(Kind::PeerLost { peer, reason }));
            }
        }
        count
    }

    fn is_flushed(&self) -> bool {
        true
    }
}
