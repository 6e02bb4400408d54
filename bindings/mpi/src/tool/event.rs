// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events (MPI-5.0 section 15.3.8): what happened, kept until the call of MPI in which it happened
//! ends, and told then, when nothing of MPI is under way: callbacks may call what they like.
//!
//! Nothing is kept unless somebody listens. Messages get their time when the process makes
//! progress after them, since the transport reads no clock.

use super::variable::{COUNT, INT};
use super::{Enum, lock};
use crate::abi::Code;
use crate::entry::Entry;
use crate::object::comm::Comm;
use crate::runtime::{SLEEPING, TOOLS};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Instant;
use strait_transport::worker::Happening;

/// Place of the event "a message arrived before its receive".
pub const UNEXPECTED: usize = 0;
/// Place of the event "a rendezvous was begun".
pub const RENDEZVOUS: usize = 1;
/// Place of the event "a collective call began".
pub const COLLECTIVE_START: usize = 2;
/// Place of the event "a collective call ended".
pub const COLLECTIVE_END: usize = 3;

/// Calls of collectives; their places are the numbers in events.
pub const CALLS: &[&str] = &[
    "MPI_Allgather",
    "MPI_Allgather_init",
    "MPI_Allgatherv",
    "MPI_Allgatherv_init",
    "MPI_Allreduce",
    "MPI_Allreduce_init",
    "MPI_Alltoall",
    "MPI_Alltoall_init",
    "MPI_Alltoallv",
    "MPI_Alltoallv_init",
    "MPI_Alltoallw",
    "MPI_Alltoallw_init",
    "MPI_Barrier",
    "MPI_Barrier_init",
    "MPI_Bcast",
    "MPI_Bcast_init",
    "MPI_Exscan",
    "MPI_Exscan_init",
    "MPI_Gather",
    "MPI_Gather_init",
    "MPI_Gatherv",
    "MPI_Gatherv_init",
    "MPI_Iallgather",
    "MPI_Iallgatherv",
    "MPI_Iallreduce",
    "MPI_Ialltoall",
    "MPI_Ialltoallv",
    "MPI_Ialltoallw",
    "MPI_Ibarrier",
    "MPI_Ibcast",
    "MPI_Iexscan",
    "MPI_Igather",
    "MPI_Igatherv",
    "MPI_Ineighbor_allgather",
    "MPI_Ineighbor_allgatherv",
    "MPI_Ineighbor_alltoall",
    "MPI_Ineighbor_alltoallv",
    "MPI_Ineighbor_alltoallw",
    "MPI_Ireduce",
    "MPI_Ireduce_scatter",
    "MPI_Ireduce_scatter_block",
    "MPI_Iscan",
    "MPI_Iscatter",
    "MPI_Iscatterv",
    "MPI_Neighbor_allgather",
    "MPI_Neighbor_allgather_init",
    "MPI_Neighbor_allgatherv",
    "MPI_Neighbor_allgatherv_init",
    "MPI_Neighbor_alltoall",
    "MPI_Neighbor_alltoall_init",
    "MPI_Neighbor_alltoallv",
    "MPI_Neighbor_alltoallv_init",
    "MPI_Neighbor_alltoallw",
    "MPI_Neighbor_alltoallw_init",
    "MPI_Reduce",
    "MPI_Reduce_init",
    "MPI_Reduce_scatter",
    "MPI_Reduce_scatter_block",
    "MPI_Reduce_scatter_block_init",
    "MPI_Reduce_scatter_init",
    "MPI_Scan",
    "MPI_Scan_init",
    "MPI_Scatter",
    "MPI_Scatter_init",
    "MPI_Scatterv",
    "MPI_Scatterv_init",
];

/// A kind of event. Each has three elements: two numbers of type MPI_INT and one of type MPI_COUNT.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// When it happens.
    pub text: &'static str,
    /// What the elements are called.
    pub elements: Enum,
}

/// Every kind, by place.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "strait_unexpected_message",
        text: "An eager message arrived before its receive: rank in MPI_COMM_WORLD, tag, bytes.",
        elements: Enum::Message,
    },
    Kind {
        name: "strait_rendezvous_start",
        text: "A message was announced to its receiver: rank in MPI_COMM_WORLD, tag, bytes.",
        elements: Enum::Message,
    },
    Kind {
        name: "strait_collective_start",
        text: "A collective call began, or a persistent one was started: number of the call (the \
               info of this event has the name of each), ranks, context of the communicator.",
        elements: Enum::Collective,
    },
    Kind {
        name: "strait_collective_end",
        text: "It ended here: the same.",
        elements: Enum::Collective,
    },
];

/// Datatype and displacement of each element.
pub const ELEMENTS: [(Code, isize); 3] = [(INT, 0), (INT, 4), (COUNT, 8)];

/// Events that wait to be told at most.
const WAITING_MAX: usize = 65_536;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Place of its kind.
    pub kind: usize,
    /// Nanoseconds of the source's clock.
    pub time: i64,
    /// Its elements.
    pub values: ([c_int; 2], i64),
}

impl Instance {
    /// The bytes of an element.
    pub fn element(&self, index: usize) -> Option<Vec<u8>> {
        let ([first, second], third) = self.values;
        Some(match index {
            0 => first.to_ne_bytes().into(),
            1 => second.to_ne_bytes().into(),
            2 => third.to_ne_bytes().into(),
            _ => return None,
        })
    }
}

/// A function of the user, as an address, and what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Callback {
    /// Its address.
    pub function: usize,
    /// What it is given.
    pub user_data: usize,
}

/// Somebody who listens.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Place of the kind.
    pub kind: usize,
    /// By canonical safety level: what the function promises to be.
    pub callbacks: std::collections::BTreeMap<c_int, Callback>,
    /// Told of events that had no room: a function, or 0.
    pub dropped_handler: usize,
    /// Of those not told yet.
    pub dropped: i64,
}

/// What waits to be told.
static WAITING: std::sync::Mutex<Vec<Instance>> = std::sync::Mutex::new(Vec::new());

thread_local! {
    /// The event that a callback of this thread is being told of.
    static CURRENT: Cell<Option<Instance>> = const { Cell::new(None) };
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// The event that is being told, if `handle` is its handle.
pub fn current(handle: *const c_void) -> Option<Instance> {
    CURRENT.get().filter(|_| handle == instance_handle())
}

fn instance_handle() -> *const c_void {
    std::ptr::without_provenance(0x10)
}

/// Nanoseconds of the one source.
pub fn now() -> i64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed().as_nanos() as i64
}

/// Somebody began or ceased to listen.
pub fn note_listeners() {
    let listens = lock().registrations.values().any(|one| !one.callbacks.is_empty());
    match listens {
        true => SLEEPING.fetch_or(TOOLS, Ordering::Relaxed),
        false => SLEEPING.fetch_and(!TOOLS, Ordering::Relaxed),
    };
    if let Some(mut entry) = Entry::open("MPI_T_event_register_callback") {
        entry.worker.keep_notes(listens);
    }
}

fn keep(instances: impl IntoIterator<Item = Instance>) -> usize {
    let mut waiting = WAITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut dropped = 0;
    for instance in instances {
        match waiting.len() < WAITING_MAX {
            true => waiting.push(instance),
            false => dropped += 1,
        }
    }
    dropped
}

/// What the transport kept.
#[cold]
pub fn collect(entry: &mut Entry) {
    entry.worker.keep_notes(true);
    let (notes, dropped) = entry.worker.take_notes();
    if notes.is_empty() && dropped == 0 {
        return;
    }
    let time = now();
    let instance = |note: &strait_transport::worker::Note| {
        let kind = match note.happening {
            Happening::Unexpected => UNEXPECTED,
            Happening::Announced => RENDEZVOUS,
        };
        let numbers = [entry.job.node.rank_of(note.peer) as c_int, note.envelope.tag as c_int];
        Instance { kind, time, values: (numbers, note.bytes as i64) }
    };
    let lost = keep(notes.iter().map(instance)) as i64 + dropped as i64;
    if lost > 0 {
        let tool = &mut *lock();
        let of_messages = |one: &&mut Registration| one.kind <= RENDEZVOUS;
        tool.registrations.values_mut().filter(of_messages).for_each(|one| one.dropped += lost);
    }
}

/// A collective call began or ended.
#[cold]
pub fn collective(kind: usize, call: &str, comm: &Comm) {
    let number = CALLS.iter().position(|known| *known == call);
    let numbers = [number.map_or(-1, |at| at as c_int), comm.group.size() as c_int];
    let values = (numbers, i64::from(comm.context));
    if keep([Instance { kind, time: now(), values }]) > 0 {
        let tool = &mut *lock();
        let of_kind = |one: &&mut Registration| one.kind == kind;
        tool.registrations.values_mut().filter(of_kind).for_each(|one| one.dropped += 1);
    }
}

/// At the end of a call: tells what happened. Callbacks run without any lock.
#[cold]
pub fn deliver(entry: &mut Entry) {
    if IS_TELLING.get() {
        return;
    }
    let waiting =
        std::mem::take(&mut *WAITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let mut told = Vec::new();
    {
        let tool = &mut *lock();
        for (&handle, one) in &mut tool.registrations {
            let dropped = std::mem::take(&mut one.dropped);
            told.push((handle, one.clone(), dropped));
        }
    }
    told.sort_by_key(|(handle, ..)| *handle);
    IS_TELLING.set(true);
    entry.outside(|| {
        for instance in &waiting {
            CURRENT.set(Some(*instance));
            for (handle, one, _) in told.iter().filter(|(_, one, _)| one.kind == instance.kind) {
                if let Some(callback) = one.callbacks.values().next() {
                    tell(*handle, *callback);
                }
            }
        }
        CURRENT.set(None);
        for (handle, one, dropped) in told.iter().filter(|(.., dropped)| *dropped > 0) {
            if one.dropped_handler != 0 {
                tell_dropped(*handle, one, *dropped);
            }
        }
    });
    IS_TELLING.set(false);
}

/// MPI_T_CB_REQUIRE_NONE in both ABIs: nothing of MPI is under way when a callback runs.
const REQUIRE_NONE: c_int = 0;

fn tell(registration: usize, callback: Callback) {
    type Function = unsafe extern "C" fn(*const c_void, *mut c_void, c_int, *mut c_void);
    // SAFETY: the user passed a function of this type to MPI_T_event_register_callback.
    let function = unsafe { std::mem::transmute::<usize, Function>(callback.function) };
    let (registration, user_data) =
        (super::handle(registration), std::ptr::with_exposed_provenance_mut(callback.user_data));
    // SAFETY: its arguments are handles, and what the user wants to be given.
    unsafe { function(instance_handle(), registration, REQUIRE_NONE, user_data) }
}

fn tell_dropped(registration: usize, one: &Registration, dropped: i64) {
    type Function = unsafe extern "C" fn(i64, *mut c_void, c_int, c_int, *mut c_void);
    // SAFETY: the user passed a function of this type to MPI_T_event_set_dropped_handler.
    let function = unsafe { std::mem::transmute::<usize, Function>(one.dropped_handler) };
    let data = one.callbacks.values().next().map_or(0, |callback| callback.user_data);
    let (registration, user_data) =
        (super::handle(registration), std::ptr::with_exposed_provenance_mut(data));
    // SAFETY: as above.
    unsafe { function(dropped, registration, 0, REQUIRE_NONE, user_data) }
}

/// A registration is gone: the user's function for that, if there is one.
///
/// # Safety
/// The function is null, or one that MPI_T_event_handle_free takes.
pub unsafe fn tell_freed(registration: usize, function: *const c_void, user_data: *mut c_void) {
    if function.is_null() {
        return;
    }
    type Function = unsafe extern "C" fn(*mut c_void, c_int, *mut c_void);
    // SAFETY: the user passed a function of this type to MPI_T_event_handle_free.
    let function = unsafe { std::mem::transmute::<*const c_void, Function>(function) };
    // SAFETY: as above.
    unsafe { function(super::handle(registration), REQUIRE_NONE, user_data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_lie_where_the_table_says() {
        let instance = Instance { kind: UNEXPECTED, time: 0, values: ([3, -1], 1 << 40) };
        let bytes: Vec<u8> = (0..3).flat_map(|index| instance.element(index).unwrap()).collect();
        assert_eq!(bytes.len(), 16);
        assert_eq!(instance.element(3), None);
        let mut at = 0;
        for (index, (_, displacement)) in ELEMENTS.iter().enumerate() {
            assert_eq!(at, *displacement);
            at += instance.element(index).unwrap().len() as isize;
        }
    }

    #[test]
    fn calls_are_sorted_and_distinct() {
        assert!(CALLS.is_sorted() && CALLS.contains(&"MPI_Ineighbor_alltoallw"));
    }
}
