// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small exchanges among the members of a group while communicators are made: who is in, which
//! context. Linear over the lowest member; data of users goes through schedules instead.

use crate::entry::Entry;
use crate::error::{Result, class, error, make};
use crate::object::comm::Comm;
use crate::object::request::finished;
use crate::object::shared_memory::{self, Mapping};
use std::io;
use strait_transport::envelope::{Envelope, Pattern, Peer};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::{SendMode, Sent};

/// First tag of exchanges that users' tags name (create_group, intercomm_create): above all tags of
/// collective calls.
pub const USER_TAG_BASE: u32 = 0x4000_0000;

/// The members of an exchange, and what its messages carry.
#[derive(Clone)]
pub struct Circle {
    /// Index -> peer.
    pub members: Vec<Peer>,
    /// This process's index.
    pub me: usize,
    /// Where its messages go.
    pub context: u32,
    tag: u32,
    /// Members are numbered differently on both sides: what messages of each carry as their source.
    pair: Option<[u32; 2]>,
}

impl Circle {
    /// All of a communicator: its group, or the union of both groups (the first one's members
    /// first). Uses up one collective tag.
    pub fn of_comm(comm: &Comm) -> Circle {
        let (context, tag) = (comm.collective_context(), comm.next_collective_tag());
        let mut circle = Circle::new(comm.group.members.to_vec(), comm.rank as usize, context, tag);
        if let Some(remote) = &comm.remote {
            if comm.local_first {
                circle.members.extend(remote.members.iter());
            } else {
                circle.me += remote.size();
                let mut members = remote.members.to_vec();
                members.extend(circle.members);
                circle.members = members;
            }
        }
        circle
    }

    /// The local group of a communicator.
    pub fn of_local_group(comm: &Comm) -> Circle {
        let tag = comm.next_collective_tag();
        let context = if comm.is_inter() { comm.local_context } else { comm.collective_context() };
        Circle::new(comm.group.members.to_vec(), comm.rank as usize, context, tag)
    }

    /// These peers on this context and tag.
    pub fn new(members: Vec<Peer>, me: usize, context: u32, tag: u32) -> Circle {
        Circle { members, me, context, tag, pair: None }
    }

    /// Two processes, each of which sees itself as member 0 and the other as member 1. Both know
    /// what the messages of each carry as their source.
    pub fn pair(
        (me, other): (Peer, Peer),
        (mine, theirs): (u32, u32),
        context: u32,
        tag: u32,
    ) -> Circle {
        Circle { members: vec![me, other], me: 0, context, tag, pair: Some([mine, theirs]) }
    }

    /// Starts to send bytes to a member; nothing is sent on a revoked communicator, and
    /// [`Circle::finish`] says so. The bytes live until [`Circle::finish`].
    pub fn post_send(&self, entry: &mut Entry, to: usize, bytes: &[u8]) -> Option<RequestId> {
        if entry.is_revoked(self.context) {
            // Another member may wait in an earlier call: this must not be its answer.
            return None;
        }
        let source = self.source(self.me);
        let envelope = Envelope { context: self.context, source, tag: self.tag };
        let payload = Payload::Contiguous { base: bytes.as_ptr().cast_mut(), bytes: bytes.len() };
        // SAFETY: the caller waits for the request before the bytes go away.
        match unsafe { entry.worker.send(self.members[to], envelope, payload, SendMode::Standard) }
        {
            Sent::Done => None,
            Sent::Pending(id) => Some(id),
        }
    }

    /// Starts to receive bytes from a member. As [`Circle::post_send`].
    pub fn post_receive(&self, entry: &mut Entry, from: usize, bytes: &mut [u8]) -> RequestId {
        let source = self.source(from);
        let pattern = Pattern { context: self.context, source, tag: self.tag };
        let payload = Payload::Contiguous { base: bytes.as_mut_ptr(), bytes: bytes.len() };
        // SAFETY: the caller waits for the request before the bytes go away.
        unsafe { entry.worker.receive(Some(self.members[from]), pattern, payload) }
    }

    /// What a member's messages carry as their source.
    fn source(&self, member: usize) -> u32 {
        self.pair.map_or(member as u32, |sources| sources[member])
    }

    /// Waits for requests of this exchange; the first error wins.
    pub fn finish(&self, entry: &mut Entry, requests: &[RequestId]) -> Result {
        let mut result = Ok(());
        if entry.is_revoked(self.context) {
            // Since these were posted nobody has come by who would end them.
            entry.end_revoked(self.context);
            result = error(class::REVOKED, "the communicator was revoked");
        }
        for &id in requests {
            entry.wait_until(|rt| rt.worker.is_complete(id));
            let completion = entry.worker.take(id).expect("a complete request");
            if let Some(error) = finished(completion, true).error {
                result = result.and(Err(error));
            }
        }
        result.and(entry.let_messages_leave())
    }

    /// All members' bytes, in order; every member gives as many.
    pub fn allgather(&self, entry: &mut Entry, mine: &[u8]) -> Result<Vec<u8>> {
        let each = mine.len();
        let mut all = vec![0; each * self.members.len()];
        if self.me == 0 {
            all[..each].copy_from_slice(mine);
            let mut requests = Vec::new();
            for (i, slot) in all.chunks_mut(each.max(1)).enumerate().skip(1) {
                requests.push(self.post_receive(entry, i, slot));
            }
            self.finish(entry, &requests)?;
        } else {
            let sent = self.post_send(entry, 0, mine);
            self.finish(entry, sent.as_slice())?;
        }
        self.bcast(entry, 0, &mut all)?;
        Ok(all)
    }

    /// All members' bytes, one after another; members may give different numbers of them.
    pub fn allgatherv(&self, entry: &mut Entry, mine: &[u8]) -> Result<Vec<u8>> {
        let lengths = self.allgather(entry, &(mine.len() as u64).to_le_bytes())?;
        let length = |c: &[u8]| u64::from_le_bytes(c.try_into().expect("eight bytes")) as usize;
        let lengths: Vec<usize> = lengths.chunks_exact(8).map(length).collect();
        let mut all = vec![0; lengths.iter().sum()];
        if self.me == 0 {
            let (own, mut rest) = all.split_at_mut(mine.len());
            own.copy_from_slice(mine);
            let mut requests = Vec::new();
            for (member, &length) in lengths.iter().enumerate().skip(1) {
                let (slot, more) = rest.split_at_mut(length);
                requests.push(self.post_receive(entry, member, slot));
                rest = more;
            }
            self.finish(entry, &requests)?;
        } else {
            let sent = self.post_send(entry, 0, mine);
            self.finish(entry, sent.as_slice())?;
        }
        self.bcast(entry, 0, &mut all)?;
        Ok(all)
    }

    /// The root's bytes for all.
    pub fn bcast(&self, entry: &mut Entry, root: usize, bytes: &mut [u8]) -> Result {
        let mut requests = Vec::new();
        if self.me == root {
            for to in (0..self.members.len()).filter(|&to| to != root) {
                requests.extend(self.post_send(entry, to, bytes));
            }
        } else {
            requests.push(self.post_receive(entry, root, bytes));
        }
        self.finish(entry, &requests)
    }

    /// How a collective call stands: fails on all members when it failed on one, otherwise gives
    /// every member's words. Each member's own error says the cause; the others name the member.
    pub fn settle<T, const N: usize>(
        &self,
        entry: &mut Entry,
        mine: Result<T>,
        words: [i64; N],
    ) -> Result<(T, Vec<[i64; N]>)> {
        let code = mine.as_ref().err().map_or(0, |error| error.code);
        let mut bytes = code.to_le_bytes().to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let each = bytes.len();
        let all = self.allgather(entry, &bytes)?;
        let mine = mine?;
        let mut words_of_all = Vec::with_capacity(self.members.len());
        for (rank, said) in all.chunks_exact(each).enumerate() {
            let (code, words) = said.split_at(size_of_val(&code));
            let code = i32::from_le_bytes(code.try_into().expect("four bytes"));
            if code != 0 {
                let what = crate::api::describe(Some(entry), code);
                return error(code, format!("the call failed on rank {rank} of the group: {what}"));
            }
            let mut numbers = [0; N];
            for (number, bytes) in numbers.iter_mut().zip(words.chunks_exact(size_of::<i64>())) {
                *number = i64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            }
            words_of_all.push(numbers);
        }
        Ok((mine, words_of_all))
    }

    /// One zeroed memory for all members, which are on one host; the first one makes it. Fails on
    /// all or none.
    pub fn share(&self, entry: &mut Entry, bytes: usize) -> Result<Mapping> {
        let failed = |problem: io::Error| {
            let code = match problem.raw_os_error() {
                Some(libc::ENOMEM | libc::ENOSPC | libc::EFBIG | libc::EINVAL) => class::NO_MEM,
                _ => class::RMA_SHARED,
            };
            make(code, format!("{bytes} bytes of memory cannot be shared: {problem}"))
        };
        let mut made = Ok((None, [0; 4]));
        if self.me == 0 {
            made = shared_memory::create(bytes)
                .and_then(|file| Ok((shared_memory::address_of(&file)?, file)))
                .map(|(address, file)| (Some(file), address))
                .map_err(failed);
        }
        let address = made.as_ref().map_or([0; 4], |(_, address)| *address);
        let ((file, _), addresses) = self.settle(entry, made, address)?;
        let mapped = match &file {
            Some(file) => Mapping::shared(file, bytes),
            None => {
                shared_memory::open(addresses[0]).and_then(|file| Mapping::shared(&file, bytes))
            }
        };
        // The first one's descriptor stays open until all have answered.
        Ok(self.settle(entry, mapped.map_err(failed), [])?.0)
    }

    /// Returns when all members have called.
    pub fn barrier(&self, entry: &mut Entry) -> Result {
        // A dissemination: in round k, to the member 2^k further.
        let p = self.members.len();
        let mut distance = 1;
        while distance < p {
            let mut requests = Vec::from_iter(self.post_send(entry, (self.me + distance) % p, &[]));
            let from = (self.me + p - distance % p) % p;
            requests.push(self.post_receive(entry, from, &mut []));
            self.finish(entry, &requests)?;
            distance *= 2;
        }
        Ok(())
    }
}
