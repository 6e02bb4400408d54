// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the lane knows of its peers: where they are, whether they may be sent to, and their ends.
//!
//! Invariants:
//! 1. A peer is entered in the table of addresses when it is first needed.
//! 2. A peer is reported as lost once, after what had arrived from it by then.

use super::arrivals::Early;
use super::batch::Batch;
use super::frame::{self, FrameKind};
use super::port::Port;
use super::{Core, FabricLane, Settings};
use crate::envelope::Peer;
use crate::error::{Error, Kind, Submit};
use crate::lane::by_rank::ByRank;
use crate::lane::directory::{LOOK_UP_PAUSE_MAX, LOOK_UP_PAUSE_MIN};
use crate::lane::{FINALIZED, Get, Inbox};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Frames of messages that a peer may not have had yet. Libraries keep what comes and finds no
/// buffer, each in 16 KiB (`ofi_rxm`): so that this stays some megabytes a pair, however little the
/// receiver looks.
const WINDOW: u16 = 512;
/// After so many messages their sender is told, if no message tells it anyway.
pub(super) const TELL_AFTER: u16 = WINDOW / 2;

/// How long a peer that the launcher called dead may still be heard: its last messages are on
/// their way.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// What is known of a peer.
pub(super) struct State {
    pub(super) peer: u32,
    /// Its number in the table of addresses.
    pub(super) number: Option<u64>,
    pub(super) tag_out: u64,
    pub(super) tag_in: u64,
    /// The frame that the library did not take yet, and its bytes.
    pub(super) waiting: Option<(usize, usize)>,
    /// Messages to it, those of them that it has had, messages from it, and how many of those it
    /// was told of; all modulo 65536.
    pub(super) sent: u16,
    pub(super) had: u16,
    pub(super) seen: u16,
    pub(super) told: u16,
    /// Places of the next frame to it and from it, and what came before its place.
    pub(super) place_out: u32,
    pub(super) place_in: u32,
    pub(super) early: BTreeMap<u32, Early>,
    /// Messages since the poll of this number, and those that are held.
    pub(super) turn: u32,
    pub(super) burst: u16,
    pub(super) batch: Option<Batch>,
    /// No room at the last attempt: not tried again before the next poll.
    pub(super) full: bool,
    /// Something was sent to it, or came from it.
    pub(super) met: bool,
    /// We said goodbye to it, or are about to.
    pub(super) parted: bool,
    /// It said goodbye.
    pub(super) departed: bool,
    /// It has read our goodbye.
    pub(super) answered: bool,
    pub(super) lost: bool,
}

impl State {
    pub(super) fn new(settings: &Settings, peer: u32) -> State {
        let Settings { rank, job, key, .. } = settings;
        State {
            peer,
            number: None,
            tag_out: frame::tag(key, job, *rank, peer),
            tag_in: frame::tag(key, job, peer, *rank),
            waiting: None,
            sent: 0,
            had: 0,
            seen: 0,
            told: 0,
            place_out: 0,
            place_in: 0,
            early: BTreeMap::new(),
            turn: 0,
            burst: 0,
            batch: None,
            full: false,
            met: false,
            parted: false,
            departed: false,
            answered: false,
            lost: false,
        }
    }
}

impl State {
    /// What a frame of it says about counts, and that it came.
    #[inline]
    pub(super) fn take_count(&mut self, kind: FrameKind, seen: u16) {
        self.had = seen;
        self.seen = self.seen.wrapping_add(u16::from(kind == FrameKind::Message));
    }

    /// Whether it waits for a count that no message has told it. Said once a while.
    #[inline]
    pub(super) fn is_to_be_told(&mut self) -> bool {
        let due = self.seen.wrapping_sub(self.told) >= TELL_AFTER;
        if due {
            self.told = self.seen;
        }
        due
    }

    /// Whether it may be sent one more message: what it has not had is not more than a window.
    #[inline]
    fn has_window(&self) -> bool {
        self.sent.wrapping_sub(self.had) < WINDOW
    }
}

/// The peers there was any contact with. Most calls concern the peer of the last.
#[derive(Default)]
pub(super) struct States {
    list: Vec<State>,
    place: ByRank<u32>,
    last: Option<(u32, u32)>,
}

impl States {
    pub(super) fn get(&self, rank: u32) -> Option<&State> {
        let place = match self.last {
            Some((last, place)) if last == rank => place,
            _ => *self.place.get(&rank)?,
        };
        Some(&self.list[place as usize])
    }

    #[inline]
    fn get_or_make(&mut self, rank: u32, settings: &Settings) -> &mut State {
        let place = match self.last {
            Some((last, place)) if last == rank => place,
            _ => self.find_or_make(rank, settings),
        };
        &mut self.list[place as usize]
    }

    #[inline(never)]
    fn find_or_make(&mut self, rank: u32, settings: &Settings) -> u32 {
        let place = *self.place.entry(rank).or_insert_with(|| {
            self.list.push(State::new(settings, rank));
            self.list.len() as u32 - 1
        });
        self.last = Some((rank, place));
        place
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &State> {
        self.list.iter()
    }
}

impl Core {
    #[inline]
    pub(super) fn state(&mut self, peer: u32) -> &mut State {
        self.states.get_or_make(peer, &self.settings)
    }
}

impl<P: Port> FabricLane<P> {
    /// The number of a peer that may be sent a frame now.
    #[inline]
    pub(super) fn reach(&mut self, peer: Peer, answer: bool) -> std::result::Result<u64, Submit> {
        if let Some(state) = self.core.states.get(peer.0)
            && let Some(number) = state.number
            && !(state.full || state.lost || state.departed)
            && state.waiting.is_none()
            && state.has_window()
        {
            return Ok(number);
        }
        self.reach_first(peer, answer)
    }

    #[cold]
    #[inline(never)]
    fn reach_first(&mut self, peer: Peer, answer: bool) -> std::result::Result<u64, Submit> {
        let state = self.core.state(peer.0);
        if state.lost {
            return Err(Submit::Lost);
        }
        if state.departed {
            if answer {
                return Err(Submit::Sent);
            }
            self.lose(peer, FINALIZED.into());
            return Err(Submit::Lost);
        }
        if state.full || state.waiting.is_some() || !state.has_window() {
            // In the last case the peer's count wakes us.
            return Err(Submit::Full);
        }
        match self.look_up(peer) {
            Some(number) => Ok(number),
            None if self.core.state(peer.0).lost => Err(Submit::Lost),
            None => {
                self.core.stuck = true;
                Err(Submit::Full)
            }
        }
    }

    /// The number of a peer in the table of addresses, where it is entered when first needed.
    pub(super) fn look_up(&mut self, peer: Peer) -> Option<u64> {
        if let Some(number) = self.core.state(peer.0).number {
            return Some(number);
        }
        if self.core.look_up_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        let Some(blob) = self.core.directory.lookup(peer) else {
            self.core.look_up_at = Some(Instant::now() + self.core.look_up_pause);
            self.core.look_up_pause = (self.core.look_up_pause * 2).min(LOOK_UP_PAUSE_MAX);
            return None;
        };
        (self.core.look_up_at, self.core.look_up_pause) = (None, LOOK_UP_PAUSE_MIN);
        match self.port.enter(peer, &blob) {
            Ok(number) => {
                self.core.state(peer.0).number = Some(number);
                Some(number)
            }
            Err(reason) => {
                self.lose(peer, reason);
                None
            }
        }
    }

    /// Marks a peer as lost and reports it, once.
    pub(super) fn lose(&mut self, peer: Peer, reason: String) {
        let state = self.core.state(peer.0);
        if std::mem::replace(&mut state.lost, true) {
            return;
        }
        let (waiting, batch) = (state.waiting.take(), state.batch.take());
        state.early.clear();
        if let Some((number, _)) = waiting {
            self.port.put_frame(number);
            self.core.waiting.retain(|waiting| *waiting != peer.0);
        }
        if let Some(batch) = batch {
            self.port.put_frame(batch.number());
        }
        self.core.losses.push_back((peer, Error::new(Kind::PeerLost { peer, reason })));
    }

    /// Nothing works any more.
    #[cold]
    pub(super) fn break_down(&mut self, reason: &str) {
        let reason = format!("{} broke: {reason}", self.core.library);
        for peer in 0..self.core.settings.size {
            if peer != self.core.settings.rank {
                self.lose(Peer(peer), reason.clone());
            }
        }
    }

    /// Deaths that the launcher knows of, and losses that are due.
    pub(super) fn report_losses<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        if self.core.directory.losses() != self.core.losses_seen {
            self.core.losses_seen = self.core.directory.losses();
            let until = Instant::now() + LAST_WORDS;
            for peer in (0..self.core.settings.size).map(Peer) {
                let is_known = self.core.states.get(peer.0).is_some_and(|state| state.lost)
                    || self.core.dying.iter().any(|(_, dying)| *dying == peer);
                if !is_known && self.core.directory.is_lost(peer) {
                    self.core.dying.push((until, peer));
                }
            }
        }
        if !self.core.dying.is_empty() {
            let now = Instant::now();
            for (_, peer) in
                self.core.dying.extract_if(.., |(until, _)| *until <= now).collect::<Vec<_>>()
            {
                self.lose(peer, "its process ended".into());
            }
        }
        let mut count = 0;
        for (peer, error) in std::mem::take(&mut self.core.losses) {
            if self.core.has_unread(peer) {
                self.core.losses.push_back((peer, error));
                continue;
            }
            for token in self.abandon(peer) {
                inbox.fetched(token, Get::Lost(error.clone()));
                count += 1;
            }
            inbox.lost(peer, error);
            count += 1;
        }
        count
    }
}
