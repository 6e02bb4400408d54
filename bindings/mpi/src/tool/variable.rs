// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Control variables are the knobs of the environment; performance variables the worker's counters.

use super::{Answer, Enum, code};
use crate::abi::Code;
use crate::runtime::{BEFORE, STATE};
use std::sync::atomic::Ordering;
use strait_transport::config::{self, KNOBS, Knob, PREFIX, Scope, Value};
use strait_transport::counters::Counters;

/// Canonical codes of datatypes.
pub const INT: Code = 0x209;
/// MPI_UNSIGNED_LONG_LONG
pub const UNSIGNED_LONG_LONG: Code = 0x20f;
/// MPI_CHAR
pub const CHAR: Code = 0x243;
/// MPI_COUNT
pub const COUNT: Code = 0x202;

/// Bytes of a text, its end included.
pub const TEXT_BYTES: usize = 256;

/// Places of the knobs that such people turn.
pub fn knobs(scope: Scope) -> Vec<usize> {
    (0..KNOBS.len()).filter(|at| KNOBS[*at].scope == scope).collect()
}

/// Knobs that all processes must set alike.
const ALIKE: &[&str] = &["BOARDS", "LANES", "REPRODUCIBLE", "TUNING"];

/// Whether all processes must set a knob alike.
pub fn is_alike(knob: &Knob) -> bool {
    ALIKE.contains(&knob.name)
}

/// The name of a control variable: that of the environment.
pub fn name(knob: &Knob) -> String {
    format!("{PREFIX}{}", knob.name)
}

/// Datatype, set of names and number of elements of a knob's value.
pub fn form(knob: &Knob) -> (Code, Option<Enum>, usize) {
    match knob.value {
        Value::Number => (UNSIGNED_LONG_LONG, None, 1),
        Value::Switch => (INT, Some(Enum::Switch), 1),
        Value::List | Value::Text => (CHAR, None, TEXT_BYTES),
    }
}

/// A knob's value as its bytes.
pub fn read(knob: &Knob) -> Vec<u8> {
    match knob.value {
        Value::Number => {
            let set = config::number(knob.name).ok().flatten();
            set.or_else(|| knob.default.parse().ok()).unwrap_or(0).to_ne_bytes().into()
        }
        Value::Switch => {
            let set = config::switch(knob.name).ok().flatten();
            i32::from(set.unwrap_or(knob.default == "on")).to_ne_bytes().into()
        }
        Value::List | Value::Text => {
            let text = config::text(knob.name).ok().flatten();
            let mut bytes = text.unwrap_or_else(|| knob.default.into()).into_bytes();
            bytes.truncate(TEXT_BYTES - 1);
            bytes.resize(TEXT_BYTES, 0);
            bytes
        }
    }
}

/// Sets a knob, which is possible before MPI_Init only: it reads them once.
pub fn write(knob: &Knob, bytes: &[u8]) -> Answer {
    // SYNC(runtime.state): pairs with the Release store that publishes the runtime.
    if STATE.load(Ordering::Acquire) != BEFORE {
        return Err(code::CVAR_SET_NOT_NOW);
    }
    let text = match knob.value {
        Value::Number => {
            let number: [u8; 8] = bytes.try_into().map_err(|_| code::INVALID)?;
            u64::from_ne_bytes(number).to_string()
        }
        Value::Switch => {
            let number: [u8; 4] = bytes.try_into().map_err(|_| code::INVALID)?;
            let items = Enum::Switch.items();
            let item = usize::try_from(i32::from_ne_bytes(number)).ok();
            item.and_then(|item| items.get(item)).ok_or(code::INVALID)?.to_string()
        }
        Value::List | Value::Text => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8(bytes[..end].to_vec()).map_err(|_| code::INVALID)?
        }
    };
    // SAFETY: MPI is not initialised; a program that sets variables before that does not read the
    // environment in other threads meanwhile, as with setenv.
    unsafe { std::env::set_var(name(knob), text) };
    Ok(())
}

/// What a performance variable is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// It only grows; handles count from their start.
    Counter,
    /// It is what it is now.
    Level,
    /// The most that it ever was.
    HighWatermark,
}

impl Class {
    /// Canonical MPI_T_PVAR_CLASS_*.
    pub fn code(self) -> i32 {
        match self {
            Class::Level => 2,
            Class::HighWatermark => 5,
            Class::Counter => 7,
        }
    }
}

/// A performance variable.
pub struct Pvar {
    /// Its name.
    pub name: &'static str,
    /// What it tells.
    pub text: &'static str,
    /// What it is.
    pub class: Class,
    /// Its value.
    pub value: fn(&Counters) -> u64,
}

const fn counter(name: &'static str, text: &'static str, value: fn(&Counters) -> u64) -> Pvar {
    Pvar { name, text, class: Class::Counter, value }
}

const fn level(name: &'static str, text: &'static str, value: fn(&Counters) -> u64) -> Pvar {
    Pvar { name, text, class: Class::Level, value }
}

/// Every performance variable.
pub const PVARS: &[Pvar] = &[
    counter("strait_eager_sent", "Eager messages sent.", |c| c.eager_sent),
    counter("strait_announced_sent", "Messages sent by rendezvous.", |c| c.announced_sent),
    counter(
        "strait_announced_for_credit",
        "Messages sent by rendezvous only because the receiver had no room for more eager ones.",
        |c| c.announced_for_credit,
    ),
    counter(
        "strait_unexpected",
        "Eager messages that arrived before their receive was posted.",
        |c| c.unexpected,
    ),
    counter("strait_fetched", "Messages read from the sender's memory.", |c| c.fetched),
    counter("strait_shared", "Of these: messages of which the sender wrote a part.", |c| c.shared),
    counter("strait_offers", "Receives that were offered to their senders.", |c| c.offers),
    counter(
        "strait_offers_accepted",
        "Messages written into receives that their receivers had offered.",
        |c| c.offers_accepted,
    ),
    counter("strait_fetch_refused", "Reads of a peer's memory that failed.", |c| c.fetch_refused),
    counter("strait_remote_writes", "Puts by the writes of a fabric.", |c| c.remote_writes),
    counter("strait_remote_reads", "Gets by the reads of a fabric.", |c| c.remote_reads),
    counter("strait_fragments_sent", "Fragments of long messages sent.", |c| c.fragments_sent),
    counter("strait_full", "Times that a lane had no room.", |c| c.full),
    level("strait_requests_now", "Requests of the transport that exist.", |c| c.requests as u64),
    level("strait_posted_now", "Receives that wait for a message.", |c| c.posted as u64),
    level("strait_unexpected_now", "Messages that wait for a receive.", |c| {
        c.unexpected_now as u64
    }),
    level("strait_parked_bytes_now", "Bytes of such messages.", |c| c.parked_bytes as u64),
    Pvar {
        name: "strait_parked_bytes_most",
        text: "The most memory that messages without a receive ever took.",
        class: Class::HighWatermark,
        value: |c| c.parked_bytes_most as u64,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_has_a_value_of_its_form() {
        for knob in KNOBS {
            let (datatype, _, count) = form(knob);
            let size = match datatype {
                INT => 4,
                UNSIGNED_LONG_LONG => 8,
                _ => 1,
            };
            assert_eq!(read(knob).len(), size * count, "{}", knob.name);
        }
        assert!(ALIKE.iter().all(|name| KNOBS.iter().any(|knob| knob.name == *name)));
        let both = knobs(Scope::Tuning).len() + knobs(Scope::Debugging).len();
        assert_eq!(both, KNOBS.len());
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<&str> = PVARS.iter().map(|pvar| pvar.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PVARS.len());
    }
}
