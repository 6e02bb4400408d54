// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Peers of other jobs: how they come into the table (crate::outside).

use super::Worker;
use crate::bootstrap::Job;
use crate::envelope::name_outsider;
use crate::error::Result;
use crate::outside::Introduction;

impl Worker {
    /// Makes this process reachable for other jobs; where, is the answer.
    ///
    /// # Errors
    /// The system refuses a socket, or a variable names an interface that is not there.
    ///
    /// # Panics
    /// If this is a simulated worker.
    pub fn open_to_others(&mut self, job: &Job) -> Result<Vec<u8>> {
        let sleepers = self.sleepers.as_ref().expect("a simulated worker has no other jobs");
        Ok(self.lanes.open_to_others(job, sleepers)?.address_for_others())
    }

    /// From now on the processes of an introduction are peers.
    ///
    /// # Errors
    /// As [`Worker::open_to_others`]; an address is none.
    ///
    /// # Panics
    /// As there; also if an outsider has the number of a process of this job.
    pub fn introduce(&mut self, job: &Job, introduction: &Introduction) -> Result<()> {
        let sleepers = self.sleepers.as_ref().expect("a simulated worker has no other jobs");
        self.lanes.open_to_others(job, sleepers)?.introduce(introduction)?;
        for other in &introduction.outsiders {
            assert!(other.peer.0 >= job.size, "peers of the job are not introduced");
            name_outsider(job.size, other.peer, other.rank);
            self.core.endpoints.grow(other.peer.0 as usize + 1);
        }
        Ok(())
    }
}
