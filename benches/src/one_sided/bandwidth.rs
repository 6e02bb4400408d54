// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many accesses, completed together.

use super::operation::{Operation, Parts, Place, Put, bring, is_brought};
use super::window::{Window, part};
use crate::buffer::Buffer;
use crate::options::Sync;
use crate::point_to_point::exchange::{Exchange, Role, Setting};
use std::ffi::c_int;
use std::marker::PhantomData;

/// Windows of accesses of one kind, to places side by side.
pub struct Windows<O> {
    setting: Setting,
    sync: Sync,
    window: Window,
    local: Buffer,
    result: Buffer,
    parts: Vec<Parts>,
    kind: PhantomData<O>,
}

impl<O: Operation> Windows<O> {
    fn with(setting: &Setting, sync: Sync) -> Windows<O> {
        let bytes = setting.size * setting.window;
        let (local, result) = (Buffer::new(bytes), Buffer::new(bytes));
        let parts = (0..setting.window).map(|index| {
            let at = index * setting.size;
            let (local, result) = (part(&local, at, setting), part(&result, at, setting));
            Parts { local, result, expected: local }
        });
        Windows {
            setting: *setting,
            sync,
            parts: parts.collect(),
            window: Window::new(setting, bytes, sync),
            local,
            result,
            kind: PhantomData,
        }
    }

    #[inline]
    fn accesses(&self) {
        let Window { win, base, .. } = self.window;
        let peer = self.setting.peer as c_int;
        for (index, parts) in self.parts.iter().enumerate() {
            let displacement = base + (index * self.setting.size) as isize;
            // SAFETY: the buffers are ours; every turn ends with the accesses complete.
            unsafe { O::call(Place { win, peer, displacement }, *parts) };
        }
    }

    fn is(&self, bytes: &[u8], round: u64, from: usize) -> bool {
        is_brought::<O>(bytes, self.setting.datatype, round, from, 1)
    }

    fn fill_all(&mut self, round: u64) {
        let Setting { world, datatype, .. } = self.setting;
        bring::<O>(self.local.bytes_mut(), datatype, round, world.rank);
        match O::FETCHES {
            true => bring::<O>(self.window.bytes_mut(), datatype, round, world.rank),
            false => self.window.bytes_mut().fill(0),
        }
        self.result.bytes_mut().fill(0);
    }

    /// Whether the bytes of the round are where they belong, at an origin, at a target, or both.
    fn holds_at(&self, round: u64, (is_origin, is_target): (bool, bool)) -> bool {
        let Setting { world, peer, .. } = self.setting;
        world.barrier();
        let right = match O::FETCHES {
            true => !is_origin || self.is(self.result.bytes(), round, peer),
            false => !is_target || self.is(self.window.bytes(), round, peer),
        };
        world.barrier();
        right
    }
}

impl<O: Operation> Exchange for Windows<O> {
    fn new(setting: &Setting) -> Windows<O> {
        Windows::with(setting, setting.sync.unwrap_or(Sync::Flush))
    }

    #[inline]
    fn turn(&mut self) {
        match self.setting.role {
            Role::First => self.window.origin(|| self.accesses()),
            Role::Second => self.window.target(),
            Role::Idle => {}
        }
    }

    fn fill(&mut self, round: u64) {
        self.fill_all(round);
    }

    fn holds(&self, round: u64) -> bool {
        let roles = (self.setting.role == Role::First, self.setting.role == Role::Second);
        self.holds_at(round, roles)
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        vec![setting.bandwidth(seconds, 1)]
    }
}

/// Both ranks put at the same time.
pub struct BothWays(Windows<Put>);

impl Exchange for BothWays {
    fn new(setting: &Setting) -> BothWays {
        BothWays(Windows::with(setting, setting.sync.unwrap_or(Sync::Pscw)))
    }

    #[inline]
    fn turn(&mut self) {
        let all = &self.0;
        if all.setting.role == Role::Idle {
            return;
        }
        match all.sync {
            Sync::Fence => all.window.origin(|| all.accesses()),
            _ => {
                all.window.post();
                all.window.origin(|| all.accesses());
                all.window.wait();
            }
        }
    }

    fn fill(&mut self, round: u64) {
        self.0.fill_all(round);
    }

    fn holds(&self, round: u64) -> bool {
        let works = self.0.setting.role != Role::Idle;
        self.0.holds_at(round, (works, works))
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        vec![setting.bandwidth(seconds, 2)]
    }
}
