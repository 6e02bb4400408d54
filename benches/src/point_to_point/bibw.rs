// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_bibw`: megabytes a second of both directions together: each rank posts a window of
//! MPI_Irecv, then one of MPI_Isend, and waits for both.
//!
//! Not measured: what one direction alone would reach (that is `osu_bw`). There is no answer:
//! the other side's window is one.

use super::exchange::{Exchange, Role, Setting, measure};
use super::window::Window;
use crate::benchmark::{Benchmark, Family};

/// What the first rank of a pair sends, and what it receives.
pub const TAGS: [i32; 2] = [100, 10];

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Bi-Directional Bandwidth Test";
    Benchmark::new("osu_bibw", title, Family::Bandwidth, measure::<BothWays>)
}

/// The tags of what this rank sends and receives.
pub fn tags(setting: &Setting) -> [i32; 2] {
    let [there, back] = TAGS;
    if setting.role == Role::First { [there, back] } else { [back, there] }
}

struct BothWays {
    setting: Setting,
    out: Window,
    back: Window,
    tags: [i32; 2],
}

impl Exchange for BothWays {
    fn new(setting: &Setting) -> BothWays {
        let (out, back) = (Window::new(setting), Window::new(setting));
        BothWays { setting: *setting, out, back, tags: tags(setting) }
    }

    #[inline]
    fn turn(&mut self) {
        if self.setting.role == Role::Idle {
            return;
        }
        let [out, back] = self.tags;
        self.back.post_receives(self.setting.peer, back);
        self.out.post_sends(self.setting.peer, out);
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
