// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agreements of one communicator, numbered in the order of the calls.
#![forbid(unsafe_code)]

use super::WINDOW;
use super::consensus::Consensus;
use super::wire::{Agreement, Verdict};
use std::collections::BTreeMap;
use strait_transport::envelope::Peer;
use strait_transport::peers::Peers;

/// The agreements, and who of the members is gone.
pub(super) struct Ledger {
    members: Peers,
    me: u32,
    gone: Vec<bool>,
    /// The number of the next agreement that this process starts.
    next: u32,
    agreements: BTreeMap<u32, Consensus<Verdict>>,
}

impl Ledger {
    pub(super) fn new(members: Peers, me: u32) -> Ledger {
        let gone = vec![false; members.len()];
        Ledger { members, me, gone, next: 0, agreements: BTreeMap::new() }
    }

    pub(super) fn peer(&self, member: u32) -> Peer {
        self.members.at(member as usize)
    }

    /// Members that are not known to be gone, and are not this process.
    pub(super) fn unseen(&self) -> impl Iterator<Item = u32> + use<> {
        let me = self.me;
        let unseen: Vec<u32> =
            (0..).zip(&self.gone).filter(|(_, gone)| !**gone).map(|(member, _)| member).collect();
        unseen.into_iter().filter(move |member| *member != me)
    }

    pub(super) fn lose(&mut self, member: u32) {
        self.gone[member as usize] = true;
        self.agreements.values_mut().for_each(|agreement| agreement.lose(member));
    }

    fn agreement(&mut self, number: u32) -> &mut Consensus<Verdict> {
        let (count, me) = (self.members.len() as u32, self.me);
        let gone = &self.gone;
        self.agreements.entry(number).or_insert_with(|| {
            let mut fresh = Consensus::new(count, me);
            let lost = (0..).zip(gone).filter(|(_, gone)| **gone).map(|(member, _)| member);
            lost.for_each(|member| fresh.lose(member));
            fresh
        })
    }

    /// This process takes part in the next one; `None` if the one a window before is undecided.
    pub(super) fn start(&mut self, own: Verdict) -> Option<u32> {
        let number = self.next;
        if let Some(before) = number.checked_sub(WINDOW)
            && self.agreements.get(&before).is_some_and(|one| one.decided().is_none())
        {
            return None;
        }
        self.next += 1;
        self.agreement(number).start(own);
        self.forget();
        Some(number)
    }

    pub(super) fn decided(&self, number: u32) -> Option<&Verdict> {
        self.agreements.get(&number)?.decided()
    }

    pub(super) fn hear(&mut self, from: Peer, message: Agreement) {
        let Some(member) = self.members.position(from) else { return };
        let oldest = self.agreements.keys().next().copied().unwrap_or(0);
        // What was forgotten is decided everywhere; what is far ahead makes no sense.
        if message.number < oldest && message.number < self.next
            || message.number > self.next + WINDOW
        {
            return;
        }
        self.agreement(message.number).hear(member as u32, message.message);
        self.forget();
    }

    /// Forgets what all who live have decided: what lies a window before a decided one.
    fn forget(&mut self) {
        let decided = self.agreements.iter().rev().find(|(_, one)| one.decided().is_some());
        let Some(before) = decided.and_then(|(number, _)| number.checked_sub(WINDOW)) else {
            return;
        };
        self.agreements = self.agreements.split_off(&(before + 1));
    }

    /// What is to be sent, and to whom.
    pub(super) fn take_messages(&mut self, context: u32) -> Vec<(Peer, Agreement)> {
        let mut all = Vec::new();
        for (number, agreement) in &mut self.agreements {
            for (to, message) in agreement.take_messages() {
                let message = Agreement { context, number: *number, message };
                all.push((self.members.at(to as usize), message));
            }
        }
        all
    }
}
