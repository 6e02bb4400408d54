// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long transfers: a loan is sent as an active message of UCX's rendezvous with its announcement as
//! header, and the receiver fetches it, by whatever is best between the two (remote reads of a
//! card, copies by the kernel, packets).

use super::UcxPort;
use super::landing::{Landing, Lent, Note, on_got, on_returned};
use super::objects::{LENT, status_of};
use super::params;
use super::sys::{
    UCP_AM_SEND_FLAG_RNDV, UCP_OP_ATTR_FIELD_CALLBACK, UCP_OP_ATTR_FIELD_USER_DATA, UCS_INPROGRESS,
    UCS_OK,
};
use crate::envelope::Peer;
use crate::lane::fabric::port::{Posted, Sink};
use crate::lane::{Get, Loan, RemoteRange};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Loans at a time: beyond it messages are sent in fragments.
const LOANS_MAX: usize = 1024;

/// Memory of ours that is lent.
struct Loaned {
    base: *const u8,
    bytes: usize,
    /// The announcement, which UCX may read until the end, and the note for that end.
    sent: Option<(Box<[u8]>, Box<Note>)>,
    /// The message is over.
    taken_back: bool,
    /// Its peer is lost: UCX may never be done with it.
    orphan: bool,
}

/// All of it, by token.
#[derive(Default)]
pub(super) struct Loans(HashMap<u64, Loaned>);

impl Loans {
    pub(super) fn lend(&mut self, token: u64, base: *const u8, bytes: usize) -> Option<Loan> {
        let has_room = self.0.len() < LOANS_MAX && bytes > 0;
        match self.0.entry(token) {
            Entry::Vacant(_) if !has_room => return None,
            Entry::Vacant(entry) => {
                let loaned = Loaned { base, bytes, sent: None, taken_back: false, orphan: false };
                entry.insert(loaned);
            }
            Entry::Occupied(_) => {}
        }
        // Its name is the token; there is no key.
        Some(Loan { range: RemoteRange { address: token, bytes, key: 0 }, must_end: true })
    }

    /// It was not announced yet.
    pub(super) fn travels(&self, token: u64) -> bool {
        self.0.get(&token).is_some_and(|loaned| loaned.sent.is_none())
    }

    pub(super) fn take_back(&mut self, token: u64) {
        if let Some(loaned) = self.0.get_mut(&token) {
            loaned.taken_back = true;
            if loaned.sent.is_none() {
                self.0.remove(&token);
            }
        }
    }

    /// UCX is done with it.
    fn end(&mut self, token: u64) {
        if let Some(loaned) = self.0.get_mut(&token) {
            loaned.sent = None;
            if loaned.taken_back {
                self.0.remove(&token);
            }
        }
    }

    pub(super) fn are_over(&self) -> bool {
        self.0.values().all(|loaned| loaned.sent.is_none() || loaned.orphan)
    }
}

impl Landing {
    /// Nothing has happened.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
            && self.returned.is_empty()
            && self.got.is_empty()
            && self.broken.is_empty()
    }
}

impl UcxPort {
    pub(super) fn send_loan(&mut self, peer: Peer, to: u64, head: &[u8], token: u64) -> Posted {
        let landing = self.objects.landing;
        let endpoint = self.objects.endpoint(to);
        let Some(loaned) = self.loans.0.get_mut(&token) else { return Posted::Longer };
        if endpoint.is_null() {
            return Posted::No("its endpoint is closed".into());
        }
        let head: Box<[u8]> = head.into();
        let mut note = Box::new(Note { landing, peer, token });
        let mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
        let mut params = params(mask, UCP_AM_SEND_FLAG_RNDV);
        params.cb.send = on_returned;
        params.user_data = (&raw mut *note).cast();
        // SAFETY: the endpoint is open; header and note stay until the callback, and so does the
        // memory: its message is not over before the receiver has fetched or declined it.
        let answer = unsafe {
            let send = self.objects.library.am_send;
            let base = loaned.base.cast();
            send(endpoint, LENT, head.as_ptr().cast(), head.len(), base, loaned.bytes, &params)
        };
        match status_of(answer) {
            UCS_INPROGRESS => {
                loaned.sent = Some((head, note));
                Posted::Yes
            }
            UCS_OK => Posted::Yes,
            failed => Posted::No(self.objects.library.words(failed)),
        }
    }

    /// # Safety
    /// As `Lane::get`.
    pub(super) unsafe fn begin_get(
        &mut self,
        peer: Peer,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get {
        let landing = self.objects.landing;
        // SAFETY: nobody else has the landing.
        let lent = unsafe { (*landing).lent.remove(&(peer, from.address)) };
        match lent {
            None => Get::Refused,
            Some(Lent::Here(body)) if body.len() >= from.bytes => {
                // SAFETY: the caller's promise.
                unsafe { into.copy_from_nonoverlapping(body.as_ptr(), from.bytes) };
                Get::Done
            }
            Some(Lent::Here(_)) => Get::Refused,
            Some(Lent::There(descriptor, bytes)) if bytes != from.bytes => {
                // UCX fetches all or nothing.
                // SAFETY: the descriptor is ours, and not used afterwards.
                unsafe { (self.objects.library.am_release)(self.objects.worker, descriptor) };
                Get::Refused
            }
            Some(Lent::There(descriptor, bytes)) => {
                let note = Box::into_raw(Box::new(Note { landing, peer, token }));
                let mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
                let mut params = params(mask, 0);
                params.cb.recv_am = on_got;
                params.user_data = note.cast();
                // SAFETY: the descriptor is UCX's from here on; the memory is as the caller
                // promised, and the note stays until the callback.
                let answer = unsafe {
                    let receive = self.objects.library.am_receive;
                    receive(self.objects.worker, descriptor, into.cast(), bytes, &params)
                };
                let status = status_of(answer);
                if status == UCS_INPROGRESS {
                    self.gets.insert(note, true);
                    return Get::Begun;
                }
                // SAFETY: UCX calls back only for what is in progress.
                drop(unsafe { Box::from_raw(note) });
                if status == UCS_OK { Get::Done } else { Get::Refused }
            }
        }
    }

    pub(super) fn decline_lent(&mut self, peer: Peer, token: u64) {
        // SAFETY: nobody else has the landing.
        let lent = unsafe { (*self.objects.landing).lent.remove(&(peer, token)) };
        if let Some(Lent::There(descriptor, _)) = lent {
            // SAFETY: the descriptor is ours, and not used afterwards.
            unsafe { (self.objects.library.am_release)(self.objects.worker, descriptor) };
        }
    }

    /// A peer is gone: its endpoint is closed, and with it what is under way there.
    pub(super) fn abandon_gets(&mut self, peer: Peer) -> Vec<u64> {
        self.objects.close_endpoint(peer);
        // SAFETY: nobody else has the landing. Descriptors that nobody fetched go with their
        // worker.
        unsafe { (*self.objects.landing).lent.retain(|(owner, _), _| *owner != peer) };
        for frame in self.under_way.iter_mut().filter(|to| **to == Some(peer)) {
            *frame = None;
            self.orphans += 1;
        }
        for loaned in self.loans.0.values_mut() {
            loaned.orphan |= loaned.sent.as_ref().is_some_and(|(_, note)| note.peer == peer);
        }
        let mut tokens = Vec::new();
        for (note, waits) in &mut self.gets {
            // SAFETY: notes of gets live until their callback.
            let note = unsafe { &**note };
            if note.peer == peer && std::mem::replace(waits, false) {
                tokens.push(note.token);
            }
        }
        tokens
    }

    /// Hands on what happened besides frames.
    #[cold]
    pub(super) fn settle(&mut self, sink: &mut dyn Sink) {
        let landing = self.objects.landing;
        // SAFETY: nobody else has the landing; each list is taken in one step.
        let (sent, returned, got, broken) = unsafe {
            (
                std::mem::take(&mut (*landing).sent),
                std::mem::take(&mut (*landing).returned),
                std::mem::take(&mut (*landing).got),
                std::mem::take(&mut (*landing).broken),
            )
        };
        for (number, peer, status) in sent {
            self.free.push(number);
            if self.under_way[number].take().is_none() {
                self.orphans -= 1;
            }
            match status {
                UCS_OK => sink.settled(),
                failed => sink.failed(peer, self.objects.library.words(failed)),
            }
        }
        for token in returned {
            self.loans.end(token);
            sink.settled();
        }
        for (note, status) in got {
            let waits = self.gets.remove(&note).unwrap_or(false);
            // SAFETY: its callback was called: it is ours again.
            let note = unsafe { Box::from_raw(note) };
            if waits {
                let end = if status == UCS_OK { Get::Done } else { Get::Refused };
                sink.fetched(note.token, end);
            }
        }
        for (peer, status) in broken {
            sink.failed(peer, self.objects.library.words(status));
        }
    }
}

impl Drop for UcxPort {
    fn drop(&mut self) {
        self.leave_all();
        // UCX works on frames, loans and notes until its worker is gone.
        self.objects.close();
        for note in self.gets.keys() {
            // SAFETY: made by `begin_get`, and nobody calls back any more.
            drop(unsafe { Box::from_raw(*note) });
        }
    }
}
