// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Peers of other jobs: who proves what to whom, and where they listen (crate::outside).
//!
//! A connection with one of them has the handshake of all others; job, key and ranks in it are
//! those of an introduction. The caller takes the first one that named the peer, the other side
//! knows it by the tag of the hello.
#![forbid(unsafe_code)]

use super::TcpLane;
use super::address::Address;
use super::auth::{Acceptor, HELLO_BYTES, Identity, Nonce, Refusal};
use crate::envelope::Peer;
use crate::error::{Error, Kind, Result};
use crate::lane::by_rank::ByRank;
use crate::lane::directory::Directory;
use crate::outside::Introduction;

/// What the lane knows of other jobs.
#[derive(Default)]
pub struct Outside {
    circles: Vec<Circle>,
    routes: ByRank<Route>,
}

/// An introduction, as connections need it.
struct Circle {
    identity: Identity,
    /// Place -> peer, for those of other jobs.
    members: ByRank<Peer>,
}

/// The way to a peer.
struct Route {
    circle: usize,
    place: u32,
    address: Address,
    precedes: bool,
}

/// The directory of a lane that serves other jobs alone.
pub struct NoDirectory;

impl Directory for NoDirectory {
    fn publish(&self, _bytes: &[u8]) {}

    fn lookup(&self, _peer: Peer) -> Option<Vec<u8>> {
        None
    }
}

impl TcpLane {
    /// From now on these are peers.
    ///
    /// # Errors
    /// An address is none of this lane's kind; nobody was introduced then.
    pub fn introduce(&mut self, introduction: &Introduction) -> Result<()> {
        let wrong =
            || Error::new(Kind::Bootstrap("a process of another job has no address".into()));
        let decode = |bytes: &Vec<u8>| Address::decode(bytes).ok_or_else(wrong);
        let addresses = introduction.outsiders.iter().map(|other| decode(&other.address));
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        let identity = Identity {
            job: introduction.name,
            key: introduction.key,
            rank: introduction.me,
            size: introduction.size,
            ..self.identity.clone()
        };
        let members = introduction.outsiders.iter().map(|other| (other.place, other.peer));
        let circle = self.outside.circles.len();
        self.outside.circles.push(Circle { identity, members: members.collect() });
        for (other, address) in introduction.outsiders.iter().zip(addresses) {
            let (place, precedes) = (other.place, other.precedes);
            let route = Route { circle, place, address, precedes };
            self.outside.routes.entry(other.peer.0).or_insert(route);
        }
        Ok(())
    }

    /// Where this lane listens, for others: without its further rails.
    pub fn address_for_others(&self) -> Vec<u8> {
        Address::new(self.address.socket, self.address.listener).encode()
    }

    /// Whether there is such a peer besides this process.
    pub(super) fn is_known(&self, peer: Peer) -> bool {
        peer.0 != self.identity.rank
            && (peer.0 < self.identity.size || self.outside.routes.contains_key(&peer.0))
    }

    /// Whether a peer comes before this process in the order that both know.
    pub(super) fn precedes(&self, peer: Peer) -> bool {
        match self.outside.routes.get(&peer.0) {
            Some(route) => route.precedes,
            None => peer.0 < self.identity.rank,
        }
    }

    /// Who this process is for a peer, and who the peer is there.
    pub(super) fn identity_for(&self, peer: Peer) -> (&Identity, u32) {
        match self.outside.routes.get(&peer.0) {
            Some(route) => (&self.outside.circles[route.circle].identity, route.place),
            None => (&self.identity, peer.0),
        }
    }

    /// Where a peer listens, if that is known by now.
    pub(super) fn address_of(&self, peer: Peer) -> Option<Vec<u8>> {
        match self.outside.routes.get(&peer.0) {
            Some(route) => Some(route.address.encode()),
            None => self.directory.lookup(peer),
        }
    }

    /// Reads a hello: of this job, or of an introduction, whose number is the last answer.
    pub(super) fn recognise(
        &self,
        hello: &[u8; HELLO_BYTES],
        nonce: Nonce,
    ) -> std::result::Result<(Acceptor, Peer, Option<usize>), Refusal> {
        let listener = &self.address.listener;
        match Acceptor::new(&self.identity, listener, hello, nonce) {
            Ok(acceptor) => {
                let from = Peer(acceptor.from());
                return Ok((acceptor, from, None));
            }
            Err(refusal) if self.outside.circles.is_empty() => return Err(refusal),
            Err(_) => {}
        }
        for (number, circle) in self.outside.circles.iter().enumerate().rev() {
            if let Ok(acceptor) = Acceptor::new(&circle.identity, listener, hello, nonce) {
                let from = circle.members.get(&acceptor.from()).copied();
                let from = from.ok_or(Refusal::NotOfThisJob)?;
                return Ok((acceptor, from, Some(number)));
            }
        }
        Err(Refusal::NotOfThisJob)
    }

    /// Who this process is in an introduction, or in its job.
    pub(super) fn identity_in(&self, circle: Option<usize>) -> &Identity {
        circle.map_or(&self.identity, |number| &self.outside.circles[number].identity)
    }
}
