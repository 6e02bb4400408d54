// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_latency_persistent`: as `osu_latency`, with requests made once by MPI_Send_init and
//! MPI_Recv_init, and MPI_Start and MPI_Wait for each message.
//!
//! Not measured: making and freeing the requests.

use super::exchange::{Exchange, Role, Setting, measure};
use super::window::Window;
use crate::benchmark::{Benchmark, Family};

const TAG: i32 = 1;

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Latency Persistent Test";
    Benchmark::new("osu_latency_persistent", title, Family::Latency, measure::<Persistent>)
}

struct Persistent {
    setting: Setting,
    out: Window,
    back: Window,
}

impl Exchange for Persistent {
    fn new(setting: &Setting) -> Persistent {
        let one = Setting { window: 1, ..*setting };
        let (mut out, mut back) = (Window::new(&one), Window::new(&one));
        if setting.role != Role::Idle {
            out.prepare_sends(setting.peer, TAG);
            back.prepare_receives(setting.peer, TAG);
        }
        Persistent { setting: *setting, out, back }
    }

    #[inline]
    fn turn(&mut self) {
        let (first, second) = match self.setting.role {
            Role::First => (&mut self.out, &mut self.back),
            Role::Second => (&mut self.back, &mut self.out),
            Role::Idle => return,
        };
        first.start_one();
        first.wait_one();
        second.start_one();
        second.wait_one();
    }

    fn fill(&mut self, round: u64) {
        self.out.fill(round, self.setting.world.rank);
        self.back.wipe();
    }

    fn holds(&self, round: u64) -> bool {
        self.setting.role == Role::Idle || self.back.holds(round, self.setting.peer)
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        vec![setting.latency(seconds)]
    }
}
