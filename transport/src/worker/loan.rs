// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of announced messages that a lane has lent to their receivers: its end.

use super::Worker;
use crate::request::Stage;

impl Worker {
    /// Memory whose message is no longer announced is taken back from its peer.
    pub(super) fn take_back_loans(&mut self) {
        let mut lent = std::mem::take(&mut self.core.lent);
        lent.retain(|id| {
            let slot = self.core.requests.get(*id);
            let stays =
                slot.is_some_and(|slot| matches!(slot.stage, Stage::Announced | Stage::Queued));
            if !stays {
                self.lanes.take_back(id.token());
            }
            stays
        });
        self.core.lent = lent;
    }
}
