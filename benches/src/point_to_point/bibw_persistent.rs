// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_bibw_persistent`: as `osu_bibw`, with requests made once, and MPI_Startall for each
//! window.
//!
//! Not measured: making and freeing the requests.

use super::bibw::tags;
use super::exchange::{Exchange, Role, Setting, measure};
use super::window::Window;
use crate::benchmark::{Benchmark, Family};

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Bi-Directional Bandwidth Persistent Test";
    Benchmark::new("osu_bibw_persistent", title, Family::Bandwidth, measure::<Persistent>)
}

struct Persistent {
    setting: Setting,
    out: Window,
    back: Window,
}

impl Exchange for Persistent {
    fn new(setting: &Setting) -> Persistent {
        let (mut out, mut back) = (Window::new(setting), Window::new(setting));
        if setting.role != Role::Idle {
            let [out_tag, back_tag] = tags(setting);
            out.prepare_sends(setting.peer, out_tag);
            back.prepare_receives(setting.peer, back_tag);
        }
        Persistent { setting: *setting, out, back }
    }

    #[inline]
    fn turn(&mut self) {
        if self.setting.role == Role::Idle {
            return;
        }
        self.back.start();
        self.out.start();
        self.out.wait();
        self.back.wait();
    }

    fn fill(&mut self, round: u64) {
        self.out.fill(round, self.setting.world.rank);
        self.back.wipe();
    }

    fn holds(&self, round: u64) -> bool {
        self.setting.role == Role::Idle || self.back.holds(round, self.setting.peer)
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        vec![setting.bandwidth(seconds, 2)]
    }
}
