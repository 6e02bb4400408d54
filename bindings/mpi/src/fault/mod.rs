// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What goes on when a process is lost: who is known to be gone, which communicators are revoked,
//! what their members agree on (the ULFM chapter of the standard to come; MPIX_Comm_*).
//!
//! Messages about this travel in a context of their own ([`CONTEXT`]) and are served whenever this
//! process makes progress, like requests to windows: a member hears of a revocation in whatever
//! call it waits, and answers for agreements that it has left.
//!
//! Invariants:
//! 1. Who hears first that a communicator is revoked tells all members, then acts on it. So when
//!    one living member knows, all living members will, whoever dies meanwhile.
//! 2. Ledgers stay when their communicators are freed: others may still ask what was decided.
//! 3. An agreement may be forgotten when a later one, [`WINDOW`] further, is decided here: then all
//!    who live have decided it.
//!
//! Not here: how members agree (consensus.rs), the bytes (wire.rs), the functions (api/fault.rs).

pub mod consensus;
mod ledger;
pub mod wire;

use crate::abi::{Code, Status};
use crate::entry::Entry;
use crate::error::{MpiError, Result, class, make};
use crate::object::comm::{Comm, CommRef};
use crate::object::request::{Finished, Request, Transfer};
use crate::runtime::Runtime;
use ledger::Ledger;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::error::IS_LOST;
use strait_transport::node::RankState;
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::{SendMode, Sent};
use wire::{Note, Verdict};

/// The context of these messages; below those of communicators that are made.
const CONTEXT: u32 = 7;
/// First context of communicators that are made, and how many each has.
const MADE: u32 = 8;
const SPAN: u32 = 4;
/// Most agreements of one communicator that are under way at a member.
pub const WINDOW: u32 = 16;
/// Calls between two looks at who has finalized, where nobody tells of it.
const TURNS_PER_LOOK: u32 = 64;

/// Whether ranks go on when one has failed (`mpiexec --keep-going`).
static KEEPS_GOING: AtomicBool = AtomicBool::new(false);

/// Whether ranks go on when one has failed.
pub fn keeps_going() -> bool {
    KEEPS_GOING.load(Ordering::Relaxed)
}

/// Settled once, by MPI_Init.
pub fn keep_going(keeps: bool) {
    KEEPS_GOING.store(keeps, Ordering::Relaxed);
}

/// The error class of an operation that needs a process that is lost.
pub fn class_of_loss() -> i32 {
    if keeps_going() { class::PROC_FAILED } else { class::PROC_ABORTED }
}

/// A message that is being received.
struct Incoming {
    id: RequestId,
    from: Peer,
    bytes: Box<[u8]>,
}

/// What the runtime knows of failures.
#[derive(Default)]
pub struct Faults {
    /// Processes that are lost, in the order in which we heard of it.
    lost: Vec<Peer>,
    /// Losses of the worker that were taken over, and ends that the launcher had told of.
    losses_seen: u32,
    ends_seen: u32,
    turns: u32,
    /// Contexts of communicators that are revoked.
    revoked: HashSet<u32>,
    /// Living communicators by context.
    comms: HashMap<u32, Weak<Comm>>,
    ledgers: HashMap<u32, Ledger>,
    /// Messages about agreements of communicators for which there is no ledger yet.
    early: HashMap<u32, Vec<(Peer, wire::Agreement)>>,
    incoming: Vec<Incoming>,
    outgoing: Vec<(RequestId, Box<[u8]>)>,
    /// Agreements that wait here.
    waiting: u32,
}

/// The first context of a communicator that one of its contexts belongs to.
fn base_of(context: u32) -> u32 {
    if context >= MADE { context & !(SPAN - 1) } else { context & !1 }
}

/// All contexts of a communicator.
fn contexts_of(base: u32) -> Range<u32> {
    base..base + if base >= MADE { SPAN } else { 2 }
}

/// The error of whoever uses a revoked communicator.
#[cold]
pub fn revoked(comm: &Comm) -> Box<MpiError> {
    let mut error = make(class::REVOKED, format!("{} was revoked", comm.describe()));
    error.help = "MPIX_Comm_shrink makes a communicator of those who are left";
    error
}

impl Comm {
    /// An error if the communicator is revoked.
    #[inline]
    pub fn check(&self) -> Result {
        if self.is_revoked() { Err(revoked(self)) } else { Ok(()) }
    }
}

impl Runtime {
    /// A communicator that messages about it can name.
    pub fn register_comm(&mut self, comm: &CommRef) {
        let context = comm.context;
        self.faults.comms.retain(|_, comm| comm.strong_count() > 0);
        self.faults.comms.insert(context, Rc::downgrade(comm));
        if self.faults.revoked.contains(&context) {
            self.revoke(comm);
        }
    }

    /// Processes that are lost, in the order in which we heard of it.
    pub fn lost(&mut self) -> &[Peer] {
        self.note_losses();
        &self.faults.lost
    }

    /// Takes over what the worker knows; whether there was anything new.
    fn note_losses(&mut self) -> bool {
        let (losses, _) = self.worker.losses();
        if losses == self.faults.losses_seen {
            return false;
        }
        self.faults.losses_seen = losses;
        let news = self.worker.lost();
        self.faults.lost.extend(news.into_iter().map(|(peer, _)| peer));
        true
    }

    /// The members of a communicator that are lost, in the order in which we heard of it; of both
    /// groups of an intercommunicator.
    pub fn failed_in<'a>(&'a self, comm: &'a Comm) -> impl Iterator<Item = Peer> + 'a {
        let is_in = |peer: &Peer| {
            let in_group = |members: &strait_transport::peers::Peers| members.position(*peer);
            in_group(&comm.group.members)
                .or_else(|| comm.remote.as_ref().and_then(|remote| in_group(&remote.members)))
                .is_some()
        };
        self.faults.lost.iter().copied().filter(is_in)
    }

    /// Whether a receive from any source must not be waited for: a member is lost whose loss was
    /// not acknowledged.
    #[inline]
    pub fn has_unacknowledged(&self, comm: &Comm) -> bool {
        self.has_failures() && self.count_unacknowledged(comm)
    }

    #[cold]
    fn count_unacknowledged(&self, comm: &Comm) -> bool {
        self.failed_in(comm).count() > comm.acknowledged.get()
    }

    /// Whether ranks go on although somebody is lost.
    #[inline]
    pub fn has_failures(&self) -> bool {
        !self.faults.lost.is_empty() && keeps_going()
    }

    /// Whether the wait for this transfer is interrupted by the loss of a possible sender.
    #[inline]
    pub fn is_interrupted(&self, transfer: &Transfer) -> bool {
        !self.faults.lost.is_empty()
            && transfer.receive
            && self.worker.is_open_to_all(transfer.id)
            && self.has_unacknowledged(&transfer.comm)
    }

    /// The error of a receive or probe from any source that is interrupted.
    #[cold]
    pub fn interruption(&self, comm: &Comm, code: i32) -> Box<MpiError> {
        let newest = self.failed_in(comm).last().unwrap_or(self.me());
        let text = format!(
            "peer {newest}{IS_LOST}a message from any source of {} may never come",
            comm.describe()
        );
        let mut error = make(code, text);
        error.help = "MPIX_Comm_failure_ack (or MPIX_Comm_ack_failed) says that it is known";
        error
    }

    /// Whether a context is one of a revoked communicator.
    pub fn is_revoked(&self, context: u32) -> bool {
        !self.faults.revoked.is_empty() && self.faults.revoked.contains(&base_of(context))
    }

    /// Ends what was posted in the contexts of a revoked communicator since it was revoked.
    #[cold]
    pub fn end_revoked(&mut self, context: u32) {
        self.worker.revoke(contexts_of(base_of(context)));
    }

    /// Revokes a communicator: all members hear of it from us (invariant 1).
    #[cold]
    pub fn revoke(&mut self, comm: &Comm) {
        if comm.revoke() {
            return;
        }
        self.faults.revoked.insert(comm.context);
        let note = Note::Revoke(comm.context).to_bytes();
        let all = crate::collective::group(comm).peers;
        for peer in all.iter() {
            self.tell(peer, &note);
        }
        self.end_revoked(comm.context);
    }

    /// Somebody revoked the communicator of this context.
    fn hear_of_revocation(&mut self, context: u32) {
        match self.faults.comms.get(&context).and_then(Weak::upgrade) {
            Some(comm) => self.revoke(&comm),
            // It is being made here, or was freed.
            None => drop(self.faults.revoked.insert(context)),
        }
    }

    /// Whether a process sends nothing any more: it is lost, or past MPI_Finalize.
    fn is_gone(&self, peer: Peer) -> bool {
        let (node, first) = (&self.job.node, self.job.first_local_rank);
        let local = peer.0.wrapping_sub(first);
        let has_ended = match local < self.job.local_size {
            true => node.record(local).state() == RankState::Finalized,
            false => node.has_far_ended(peer.0),
        };
        has_ended || self.faults.lost.contains(&peer)
    }

    /// Sends a few bytes to a process that is not gone.
    fn tell(&mut self, to: Peer, bytes: &[u8]) {
        if to == self.me() || self.is_gone(to) {
            return;
        }
        let bytes: Box<[u8]> = bytes.into();
        let envelope = Envelope { context: CONTEXT, source: self.me().0, tag: 0 };
        let base = bytes.as_ptr().cast_mut();
        let payload = Payload::Contiguous { base, bytes: bytes.len() };
        // SAFETY: the bytes are kept in `outgoing` until the send has ended.
        let sent = unsafe { self.worker.send(to, envelope, payload, SendMode::Standard) };
        if let Sent::Pending(id) = sent {
            self.faults.outgoing.push((id, bytes));
        }
    }

    /// Whether messages about failures leave this process still.
    pub fn tells_of_faults(&self) -> bool {
        !self.faults.outgoing.is_empty()
    }

    /// Does what others ask about failures; returns how much that was.
    #[inline]
    pub fn serve_faults(&mut self) -> usize {
        let faults = &self.faults;
        let is_quiet = faults.incoming.is_empty()
            && faults.outgoing.is_empty()
            && faults.waiting == 0
            && faults.losses_seen == self.worker.losses().0;
        if is_quiet && !self.worker.has_unexpected() {
            return 0;
        }
        self.serve_faults_now()
    }

    #[inline(never)]
    fn serve_faults_now(&mut self) -> usize {
        let mut done = usize::from(self.look_for_ends());
        let all = Pattern { context: CONTEXT, source: ANY, tag: ANY };
        while let Some((message, arrival)) = self.worker.claim(all) {
            let mut bytes = vec![0; arrival.bytes].into_boxed_slice();
            let payload = Payload::Contiguous { base: bytes.as_mut_ptr(), bytes: bytes.len() };
            // SAFETY: the bytes are kept until the receive has ended.
            let id = unsafe { self.worker.receive_claimed(message, payload) };
            // Not what the envelope says: each job numbers those of others for itself.
            let from = arrival.peer;
            self.faults.incoming.push(Incoming { id, from, bytes });
            done += 1;
        }
        // In the order in which they came; what is not here yet does not hold up the rest.
        let mut index = 0;
        while index < self.faults.incoming.len() {
            let Some(end) = self.worker.take(self.faults.incoming[index].id) else {
                index += 1;
                continue;
            };
            let Incoming { from, bytes, .. } = self.faults.incoming.remove(index);
            done += 1;
            match wire::Note::from_bytes(&bytes[..end.bytes.min(bytes.len())]) {
                Some(Note::Revoke(context)) => self.hear_of_revocation(context),
                Some(Note::Agree(agreement)) => self.hear_of_agreement(from, agreement),
                None => {}
            }
        }
        if !self.faults.outgoing.is_empty() {
            let worker = &mut self.worker;
            self.faults.outgoing.retain(|(id, _)| worker.take(*id).is_none());
        }
        if !self.faults.revoked.is_empty() && self.worker.has_unexpected() {
            done += self.take_away_revoked();
        }
        done
    }

    /// What comes for revoked communicators that are not freed here is received into nothing.
    #[cold]
    fn take_away_revoked(&mut self) -> usize {
        let faults = &self.faults;
        let is_here =
            |context: &&u32| faults.comms.get(context).is_some_and(|comm| comm.strong_count() > 0);
        let contexts: Vec<u32> = faults.revoked.iter().filter(is_here).copied().collect();
        contexts.into_iter().map(|base| self.worker.take_away(contexts_of(base))).sum()
    }

    /// Looks who is gone, if there may be news; whether there was any.
    pub fn look_for_ends(&mut self) -> bool {
        let has_losses = self.note_losses();
        self.faults.turns = self.faults.turns.wrapping_add(1);
        let ends = self.job.node.losses();
        let is_due = self.faults.waiting > 0
            && (ends != self.faults.ends_seen || self.faults.turns.is_multiple_of(TURNS_PER_LOOK));
        if has_losses || is_due {
            self.faults.ends_seen = ends;
            return self.tell_ledgers_of_ends() || has_losses;
        }
        false
    }
}

/// What members of a communicator agree on: started by [`Runtime::start_agreement`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AgreementId {
    context: u32,
    number: u32,
}

impl Runtime {
    fn ledger(&mut self, comm: &Comm) -> &mut Ledger {
        let context = comm.context;
        if !self.faults.ledgers.contains_key(&context) {
            let group = crate::collective::group(comm);
            let mut ledger = Ledger::new(group.peers, group.me);
            for member in ledger.unseen() {
                if self.is_gone(ledger.peer(member)) {
                    ledger.lose(member);
                }
            }
            for (from, agreement) in self.faults.early.remove(&context).unwrap_or_default() {
                ledger.hear(from, agreement);
            }
            self.faults.ledgers.insert(context, ledger);
        }
        self.faults.ledgers.get_mut(&context).expect("just made")
    }

    /// This process takes part in the next agreement of a communicator, and brings this. `None`:
    /// too many are under way; make progress first.
    pub fn start_agreement(&mut self, comm: &Comm, own: Verdict) -> Option<AgreementId> {
        self.note_losses();
        let ledger = self.ledger(comm);
        let number = ledger.start(own)?;
        self.faults.waiting += 1;
        self.send_agreements(comm.context);
        Some(AgreementId { context: comm.context, number })
    }

    /// What was decided; asked once when it is.
    pub fn take_decision(&mut self, id: AgreementId) -> Option<Verdict> {
        let verdict = self.faults.ledgers.get(&id.context)?.decided(id.number).cloned()?;
        self.faults.waiting -= 1;
        Some(verdict)
    }

    /// Whether it is decided.
    pub fn is_decided(&self, id: AgreementId) -> bool {
        let ledger = self.faults.ledgers.get(&id.context);
        ledger.is_some_and(|ledger| ledger.decided(id.number).is_some())
    }

    fn hear_of_agreement(&mut self, from: Peer, agreement: wire::Agreement) {
        let context = agreement.context;
        match self.faults.ledgers.get_mut(&context) {
            Some(ledger) => {
                ledger.hear(from, agreement);
                self.send_agreements(context);
            }
            None => self.faults.early.entry(context).or_default().push((from, agreement)),
        }
    }

    fn tell_ledgers_of_ends(&mut self) -> bool {
        let contexts: Vec<u32> = self.faults.ledgers.keys().copied().collect();
        let mut any = false;
        for context in contexts {
            let unseen = self.faults.ledgers[&context].unseen();
            let peer = |member| self.faults.ledgers[&context].peer(member);
            let gone: Vec<u32> = unseen.filter(|member| self.is_gone(peer(*member))).collect();
            any |= !gone.is_empty();
            if let Some(ledger) = self.faults.ledgers.get_mut(&context) {
                gone.into_iter().for_each(|member| ledger.lose(member));
            }
            self.send_agreements(context);
        }
        any
    }

    fn send_agreements(&mut self, context: u32) {
        let Some(ledger) = self.faults.ledgers.get_mut(&context) else { return };
        for (to, message) in ledger.take_messages(context) {
            self.tell(to, &Note::Agree(message).to_bytes());
        }
    }
}

/// What there is to tell of a receive from any source that waits on, although one of those who
/// might send is lost: the request stays as it is.
pub fn interrupted(entry: &Entry, code: Code) -> Option<(Finished, CommRef)> {
    let transfer = match entry.requests.get(code)? {
        Request::Transfer(transfer) => transfer,
        Request::Persistent(persistent) => match &persistent.active {
            Some(Request::Transfer(transfer)) => transfer,
            _ => return None,
        },
        _ => return None,
    };
    if entry.worker.is_complete(transfer.id) || !entry.is_interrupted(transfer) {
        return None;
    }
    let error = entry.interruption(&transfer.comm, class::PROC_FAILED_PENDING);
    let ended = Finished { status: Status::EMPTY, error: Some(error) };
    Some((ended, transfer.comm.clone()))
}
