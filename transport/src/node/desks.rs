// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the desks of boards lie (lane::shm::desk says what is in them).

use super::Node;

impl Node {
    /// Where some desks, one behind the other, begin.
    pub(crate) fn desk_base(&self, first: u32, count: u32) -> *const u8 {
        let end = first.checked_add(count).filter(|end| *end <= self.layout.desk_count());
        assert!(end.is_some(), "desks of this node");
        self.at(self.layout.desk_offset(first))
    }
}
