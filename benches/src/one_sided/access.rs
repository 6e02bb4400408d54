// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One access and its completion.

use super::operation::{Operation, Parts, Place, bring, is_brought};
use super::window::{Window, part};
use crate::buffer::Buffer;
use crate::options::Sync;
use crate::point_to_point::exchange::{Exchange, Role, Setting};
use std::ffi::c_int;
use std::marker::PhantomData;

/// Accesses of one kind, each completed before the next.
pub struct Turns<O> {
    setting: Setting,
    sync: Sync,
    window: Window,
    local: Buffer,
    result: Buffer,
    _expected: Buffer,
    parts: Parts,
    /// Since the memory was filled.
    turns: u64,
    kind: PhantomData<O>,
}

/// What is usual where nothing else is asked for.
fn sync_of(setting: &Setting) -> Sync {
    setting.sync.unwrap_or(Sync::Flush)
}

impl<O: Operation> Turns<O> {
    #[inline]
    fn access(&self) {
        let Window { win, base, .. } = self.window;
        let place = Place { win, peer: self.setting.peer as c_int, displacement: base };
        // SAFETY: the buffers are ours; every turn ends with the access complete.
        self.window.origin(|| unsafe { O::call(place, self.parts) });
    }

    /// Whether this rank accesses the other one's memory.
    fn is_origin(&self) -> bool {
        match self.setting.role {
            Role::First => true,
            Role::Second => Window::is_mutual(self.sync),
            Role::Idle => false,
        }
    }
}

impl<O: Operation> Exchange for Turns<O> {
    fn new(setting: &Setting) -> Turns<O> {
        let sync = sync_of(setting);
        let room = setting.size.max(8);
        let (local, result, expected) = (Buffer::new(room), Buffer::new(room), Buffer::new(room));
        let parts = Parts {
            local: part(&local, 0, setting),
            result: part(&result, 0, setting),
            expected: part(&expected, 0, setting),
        };
        Turns {
            setting: *setting,
            sync,
            window: Window::new(setting, room, sync),
            local,
            result,
            _expected: expected,
            parts,
            turns: 0,
            kind: PhantomData,
        }
    }

    #[inline]
    fn turn(&mut self) {
        self.turns += 1;
        let is_mutual = Window::is_mutual(self.sync);
        match self.setting.role {
            Role::First => {
                self.access();
                if is_mutual {
                    self.window.target();
                }
            }
            Role::Second if is_mutual => {
                self.window.target();
                self.access();
            }
            _ => {}
        }
    }

    fn fill(&mut self, round: u64) {
        let Setting { world, datatype, size, .. } = self.setting;
        self.turns = 0;
        bring::<O>(&mut self.local.bytes_mut()[..size], datatype, round, world.rank);
        let memory = &mut self.window.bytes_mut()[..size];
        match O::FETCHES && !O::SUMS {
            // What is got, or found by compare and swap, is what the target brought.
            true => bring::<O>(memory, datatype, round, world.rank),
            false => memory.fill(0),
        }
        self.result.bytes_mut().fill(0);
    }

    fn holds(&self, round: u64) -> bool {
        let Setting { world, peer, datatype, size, .. } = self.setting;
        // The target has no other way to know that the origin is done.
        world.barrier();
        let is = |bytes: &[u8], from, times| {
            is_brought::<O>(&bytes[..size], datatype, round, from, times)
        };
        let came = !self.is_origin()
            || !O::FETCHES
            || match O::SUMS {
                true => is(self.result.bytes(), world.rank, self.turns - 1),
                false => is(self.result.bytes(), peer, 1),
            };
        let is_target = self.setting.role == Role::Second || Window::is_mutual(self.sync);
        let went = !is_target
            || match (O::FETCHES, O::SUMS) {
                // It is as it was: nothing was to be changed.
                (true, false) => is(self.window.bytes(), world.rank, 1),
                (_, true) => is(self.window.bytes(), peer, self.turns),
                (false, false) => is(self.window.bytes(), peer, 1),
            };
        let holds = came && went;
        // Nobody goes on to fill before all have looked.
        world.barrier();
        holds
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        let halves = if Window::is_mutual(sync_of(setting)) { 2.0 } else { 1.0 };
        vec![seconds * 1e6 / halves]
    }
}
