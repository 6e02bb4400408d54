// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tool information interface, MPI_T (MPI-5.0 chapter 15): knobs as control variables, counters
//! as performance variables, categories, events.
//!
//! It works before MPI_Init and after MPI_Finalize, and with any thread, so its state has a lock of
//! its own. The order of locks: the entry lock first; no callback runs under either.
//!
//! Not here: how C calls it (api/tool*.rs).

pub mod event;
pub mod variable;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Canonical error codes of the interface.
pub mod code {
    #![allow(missing_docs)]
    pub const NOT_INITIALIZED: i32 = 1003;
    pub const INVALID: i32 = 1006;
    pub const INVALID_INDEX: i32 = 1007;
    pub const INVALID_ITEM: i32 = 1008;
    pub const INVALID_SESSION: i32 = 1009;
    pub const INVALID_HANDLE: i32 = 1010;
    pub const INVALID_NAME: i32 = 1011;
    pub const CVAR_SET_NOT_NOW: i32 = 1014;
    pub const CVAR_SET_NEVER: i32 = 1015;
    pub const PVAR_NO_WRITE: i32 = 1016;
    pub const PVAR_NO_STARTSTOP: i32 = 1017;
}

/// How a call of the interface ends: these errors go to no handler.
pub type Answer<T = ()> = Result<T, i32>;

/// A performance variable as one session sees it.
#[derive(Clone, Copy, Debug)]
pub struct PvarHandle {
    /// The session.
    pub session: usize,
    /// The variable.
    pub index: usize,
    /// Counted while it ran before.
    pub counted: u64,
    /// What the counter was when it was started, while it runs.
    pub since: Option<u64>,
}

/// Everything that users made.
#[derive(Default)]
pub struct Tool {
    /// MPI_T_init_thread less MPI_T_finalize.
    pub users: usize,
    next: usize,
    /// Variable of each handle.
    pub cvars: HashMap<usize, usize>,
    /// Sessions.
    pub sessions: HashMap<usize, ()>,
    /// Performance variables.
    pub pvars: HashMap<usize, PvarHandle>,
    /// Who listens to events.
    pub registrations: HashMap<usize, event::Registration>,
}

static TOOL: Mutex<Option<Tool>> = Mutex::new(None);

/// The state, whether or not the interface is in use.
pub struct Held(MutexGuard<'static, Option<Tool>>);

impl std::ops::Deref for Held {
    type Target = Tool;
    fn deref(&self) -> &Tool {
        self.0.as_ref().expect("`lock` made it")
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Tool {
        self.0.as_mut().expect("`lock` made it")
    }
}

/// The state, for as long as the result lives.
pub fn lock() -> Held {
    let mut held = TOOL.lock().unwrap_or_else(PoisonError::into_inner);
    held.get_or_insert_default();
    Held(held)
}

impl Tool {
    /// A number that no handle has: small, so that it is no address.
    pub fn number(&mut self) -> usize {
        // Above the constants that are handles.
        self.next += 1;
        self.next + 0xff
    }
}

/// A number as a handle.
pub fn handle(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

/// Sets of names for numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enum {
    /// Off and on.
    Switch,
    /// Elements of events about messages.
    Message,
    /// Elements of events about collective calls.
    Collective,
}

impl Enum {
    /// Every set; its place plus one is its handle.
    pub const ALL: [Enum; 3] = [Enum::Switch, Enum::Message, Enum::Collective];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Enum::Switch => "strait_switch",
            Enum::Message => "strait_message_elements",
            Enum::Collective => "strait_collective_elements",
        }
    }

    /// The names; their places are the numbers.
    pub fn items(self) -> &'static [&'static str] {
        match self {
            Enum::Switch => &["off", "on"],
            Enum::Message => &["peer", "tag", "bytes"],
            Enum::Collective => &["call", "ranks", "context"],
        }
    }

    /// Its handle.
    pub fn handle(self) -> *mut c_void {
        handle(1 + self as usize)
    }

    /// By its handle.
    pub fn of(number: *const c_void) -> Option<Enum> {
        Enum::ALL.into_iter().find(|set| set.handle().cast_const() == number)
    }
}

/// Variables and events that belong together.
pub struct Category {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub text: &'static str,
    /// Places of control variables.
    pub cvars: fn() -> Vec<usize>,
    /// Places of performance variables.
    pub pvars: fn() -> Vec<usize>,
    /// Places of events.
    pub events: &'static [usize],
    /// Places of categories within.
    pub categories: &'static [usize],
}

/// Every category.
pub const CATEGORIES: &[Category] = &[
    Category {
        name: "strait",
        text: "All of Strait.",
        cvars: Vec::new,
        pvars: Vec::new,
        events: &[],
        categories: &[1, 2, 3, 4],
    },
    Category {
        name: "strait_tuning",
        text: "Knobs for speed on machines that the defaults do not fit.",
        cvars: || variable::knobs(strait_transport::config::Scope::Tuning),
        pvars: Vec::new,
        events: &[],
        categories: &[],
    },
    Category {
        name: "strait_debugging",
        text: "Knobs to find a fault.",
        cvars: || variable::knobs(strait_transport::config::Scope::Debugging),
        pvars: Vec::new,
        events: &[],
        categories: &[],
    },
    Category {
        name: "strait_messages",
        text: "What the messages of this process did.",
        cvars: Vec::new,
        pvars: || (0..variable::PVARS.len()).collect(),
        events: &[event::UNEXPECTED, event::RENDEZVOUS],
        categories: &[],
    },
    Category {
        name: "strait_collectives",
        text: "Collective calls of this process.",
        cvars: Vec::new,
        pvars: Vec::new,
        events: &[event::COLLECTIVE_START, event::COLLECTIVE_END],
        categories: &[],
    },
];
