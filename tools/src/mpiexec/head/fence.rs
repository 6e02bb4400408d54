// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fences of ranks that bring another MPI library, over several hosts: agents bring what their
//! ranks put (pmi/), and when the last one has come, all get all of it.
//!
//! Every host keeps all values, as hydra's proxies do: those libraries ask for most of them.
#![forbid(unsafe_code)]

use super::Head;
use crate::mpiexec::wire::{self, Command, Kind};

/// A fence that not all hosts have come to.
#[derive(Debug, Default)]
pub(super) struct Fence {
    came: usize,
    values: Vec<Vec<(String, String)>>,
}

impl Fence {
    /// Keeps a host's values until all have come.
    pub(super) fn keep(&mut self, values: Vec<(String, String)>) {
        self.values.push(values);
    }
}

impl Head<'_> {
    /// The ranks of one more host wait.
    pub(super) fn come_to_fence(&mut self) {
        self.fence.came += 1;
        if self.fence.came < self.agents.len() {
            return;
        }
        let values = std::mem::take(&mut self.fence).values.into_iter().map(Command::Values);
        for command in values.chain([Command::FenceEnds]) {
            let body = wire::json(&command);
            for index in 0..self.agents.len() {
                self.send(index, Kind::Command, &body);
            }
        }
    }
}
