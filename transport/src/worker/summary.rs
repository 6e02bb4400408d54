// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What waits, in a few lines for a person.

use super::Core;
use crate::envelope::Envelope;
use crate::request::{NO_PEER, Stage};
use std::fmt::Write as _;

impl Core {
    pub(super) fn pending_summary(&self) -> String {
        const SHOWN: usize = 8;
        let mut text = format!(
            "{} requests, {} posted receives, {} unexpected messages, {} peers wait for room",
            self.requests.live(),
            self.matching.posted_count(),
            self.matching.unexpected_count(),
            self.active.len(),
        );
        let pending = (0..self.requests.len())
            .filter_map(|index| self.requests.get(self.requests.id(index)))
            .filter(|slot| !matches!(slot.stage, Stage::Done(_)));
        for slot in pending.take(SHOWN) {
            let what = match slot.stage {
                Stage::Posted(_) => "receive waits for a message",
                Stage::Assembling | Stage::Granting { .. } => "receive is matched",
                Stage::Sharing { .. } | Stage::Receiving { .. } => "receive waits for data",
                Stage::Claimed(_) => "message is claimed and not received",
                Stage::Queued => "send waits for room",
                Stage::Fetching { .. } => "receive is being fetched",
                Stage::Accessing => "memory of a peer is accessed",
                Stage::Announced => "send waits for its receive",
                Stage::Streaming { .. } => "send hands data over",
                Stage::AwaitAck => "synchronous send waits for its receive",
                Stage::Free { .. } | Stage::Done(_) => continue,
            };
            let Envelope { context, source, tag } = slot.envelope;
            let _ = write!(text, "; {what} (context {context}, source {source}, tag {tag}");
            let _ = match slot.peer {
                NO_PEER => write!(text, ", any peer)"),
                peer => write!(text, ", peer {peer})"),
            };
        }
        text
    }
}
