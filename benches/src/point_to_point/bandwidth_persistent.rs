// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_bw_persistent`: as `osu_bw`, with requests made once, and MPI_Startall for each window.
//!
//! Not measured: making and freeing the requests.

use super::bandwidth::Answer;
use super::exchange::{Exchange, Role, Setting, measure};
use super::window::Window;
use crate::benchmark::{Benchmark, Family};

const TAG: i32 = 100;

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Bandwidth Persistent Test";
    Benchmark::new("osu_bw_persistent", title, Family::Bandwidth, measure::<Persistent>)
}

struct Persistent {
    setting: Setting,
    window: Window,
    answer: Answer,
}

impl Exchange for Persistent {
    fn new(setting: &Setting) -> Persistent {
        let mut window = Window::new(setting);
        match setting.role {
            Role::First => window.prepare_sends(setting.peer, TAG),
            Role::Second => window.prepare_receives(setting.peer, TAG),
            Role::Idle => {}
        }
        Persistent { setting: *setting, window, answer: Answer::new() }
    }

    #[inline]
    fn turn(&mut self) {
        if self.setting.role == Role::Idle {
            return;
        }
        self.window.start();
        self.window.wait();
        match self.setting.role {
            Role::First => self.answer.receive(&self.setting),
            _ => self.answer.send(&self.setting),
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
