// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_bw`: megabytes a second one way, with a window of MPI_Isend against a window of
//! MPI_Irecv, and a message of four bytes back for each window.
//!
//! Not measured: a steady stream, since each window is waited for; and unless `-b multiple` is
//! given all messages share one buffer at each side, which is then in the caches.

use super::exchange::{Exchange, Role, Setting, measure};
use super::window::Window;
use crate::benchmark::{Benchmark, Family};
use crate::buffer::Buffer;
use crate::datatype::Type;
use crate::mpi::Part;

const TAG: i32 = 100;
const ANSWER: i32 = 101;

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Bandwidth Test";
    Benchmark::new("osu_bw", title, Family::Bandwidth, measure::<OneWay>)
}

pub struct OneWay {
    setting: Setting,
    window: Window,
    answer: Answer,
}

/// Four bytes that say that a window has come.
pub struct Answer {
    _memory: Buffer,
    part: Part,
}

impl Answer {
    pub fn new() -> Answer {
        let memory = Buffer::new(4);
        let part = memory.part(0, 4, Type::Char);
        Answer { _memory: memory, part }
    }

    #[inline]
    pub fn send(&mut self, setting: &Setting) {
        // SAFETY: the memory is ours and lives; the call ends before it is used again.
        unsafe { setting.world.send(self.part, setting.peer, ANSWER) };
    }

    #[inline]
    pub fn receive(&mut self, setting: &Setting) {
        // SAFETY: as above.
        unsafe { setting.world.receive(self.part, setting.peer, ANSWER) };
    }
}

impl Exchange for OneWay {
    fn new(setting: &Setting) -> OneWay {
        OneWay { setting: *setting, window: Window::new(setting), answer: Answer::new() }
    }

    #[inline]
    fn turn(&mut self) {
        match self.setting.role {
            Role::First => {
                self.window.post_sends(self.setting.peer, TAG);
                self.window.wait();
                self.answer.receive(&self.setting);
            }
            Role::Second => {
                self.window.post_receives(self.setting.peer, TAG);
                self.window.wait();
                self.answer.send(&self.setting);
            }
            Role::Idle => {}
        }
    }

    fn fill(&mut self, round: u64) {
        match self.setting.role {
            Role::First => self.window.fill(round, self.setting.world.rank),
            _ => self.window.wipe(),
        }
    }

    fn holds(&self, round: u64) -> bool {
        self.setting.role != Role::Second || self.window.holds(round, self.setting.peer)
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        vec![setting.bandwidth(seconds, 1)]
    }
}
