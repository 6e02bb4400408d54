// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_latency`: half of the time that a message takes to go there with MPI_Send and another
//! one to come back, the receiver already waiting in MPI_Recv.
//!
//! Not measured: a message that nobody waits for, or one among others; and the buffers are
//! always the same ones, so they are in the caches.

use super::exchange::{Exchange, Role, Setting, measure};
use crate::benchmark::{Benchmark, Family};
use crate::buffer::Buffer;
use crate::mpi::Part;
use crate::pattern::{Seed, fill, holds};

const TAG: i32 = 1;

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Latency Test";
    Benchmark::new("osu_latency", title, Family::Latency, measure::<PingPong>)
}

pub struct PingPong {
    setting: Setting,
    out: Buffer,
    back: Buffer,
    out_part: Part,
    back_part: Part,
}

impl Exchange for PingPong {
    fn new(setting: &Setting) -> PingPong {
        let (out, back) = (Buffer::new(setting.size), Buffer::new(setting.size));
        let out_part = out.part(0, setting.size, setting.datatype);
        let back_part = back.part(0, setting.size, setting.datatype);
        PingPong { setting: *setting, out, back, out_part, back_part }
    }

    #[inline]
    fn turn(&mut self) {
        let Setting { world, peer, .. } = self.setting;
        // SAFETY: both buffers are ours and live; the calls end before they are used again.
        unsafe {
            match self.setting.role {
                Role::First => {
                    world.send(self.out_part, peer, TAG);
                    world.receive(self.back_part, peer, TAG);
                }
                Role::Second => {
                    world.receive(self.back_part, peer, TAG);
                    world.send(self.out_part, peer, TAG);
                }
                Role::Idle => {}
            }
        }
    }

    fn fill(&mut self, round: u64) {
        fill(self.out.bytes_mut(), Seed::new(round, self.setting.world.rank, 0));
        self.back.bytes_mut().fill(0);
    }

    fn holds(&self, round: u64) -> bool {
        let right = Seed::new(round, self.setting.peer, 0);
        self.setting.role == Role::Idle || holds(self.back.bytes(), right)
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        vec![setting.latency(seconds)]
    }
}
