// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From bytes to counts: MPI_Get_count, MPI_Get_elements and MPI_Status_set_elements.

use super::{Body, Type};
use std::sync::Arc;

impl Type {
    /// Whole elements in `bytes` packed bytes; nothing if there is a rest.
    pub fn count_of(&self, bytes: i64) -> Option<i64> {
        match self.size() {
            0 => (bytes == 0).then_some(0),
            size => (bytes % size == 0).then_some(bytes / size),
        }
    }

    /// Basic elements in `bytes` packed bytes; nothing if the last one is cut.
    pub fn elements_of(&self, bytes: i64) -> Option<i64> {
        if self.size() == 0 {
            return (bytes == 0).then_some(0);
        }
        if let Some(one) = self.bounds.element_bytes {
            return (bytes % one == 0).then_some(bytes / one);
        }
        let mut rest = bytes % self.size();
        let whole = (bytes / self.size()).checked_mul(self.elements())?;
        let partial = self.partial_elements(&mut rest);
        (rest == 0).then_some(whole.checked_add(partial)?)
    }

    /// Packed bytes of so many basic elements; nothing if that does not fit in 64 bits.
    pub fn bytes_of_elements(&self, elements: i64) -> Option<i64> {
        if self.elements() == 0 {
            return (elements == 0).then_some(0);
        }
        if let Some(one) = self.bounds.element_bytes {
            return elements.checked_mul(one);
        }
        let whole = (elements / self.elements()).checked_mul(self.size())?;
        whole.checked_add(self.partial_bytes(&mut (elements % self.elements())))
    }

    /// Basic elements that fit in fewer bytes than one element has; `bytes` becomes the rest.
    fn partial_elements(&self, bytes: &mut i64) -> i64 {
        let mut found = 0;
        self.children(&mut |child, copies| {
            if *bytes == 0 || child.size() == 0 {
                return *bytes > 0;
            }
            let whole = copies.min(*bytes / child.size());
            found += whole * child.elements();
            *bytes -= whole * child.size();
            if whole < copies {
                found += child.partial_elements(bytes);
                return false;
            }
            true
        });
        for part in self.parts() {
            if *bytes < part.bytes() {
                break;
            }
            *bytes -= part.bytes();
            found += 1;
        }
        found
    }

    /// Packed bytes of fewer basic elements than one element has; `elements` becomes 0.
    fn partial_bytes(&self, elements: &mut i64) -> i64 {
        let mut found = 0;
        self.children(&mut |child, copies| {
            if *elements == 0 || child.elements() == 0 {
                return *elements > 0;
            }
            let whole = copies.min(*elements / child.elements());
            found += whole * child.size();
            *elements -= whole * child.elements();
            if whole < copies {
                found += child.partial_bytes(elements);
                return false;
            }
            true
        });
        for part in self.parts() {
            if *elements == 0 {
                break;
            }
            *elements -= 1;
            found += part.bytes();
        }
        found
    }

    fn parts(&self) -> &[super::Part] {
        match &self.body {
            Body::Named { parts } => parts,
            _ => &[],
        }
    }

    /// Children in the order of the type map with the number of copies, until `f` says no more.
    fn children(&self, f: &mut dyn FnMut(&Arc<Type>, i64) -> bool) {
        match &self.body {
            Body::Named { .. } | Body::Marker => {}
            Body::Same { child } => {
                f(child, 1);
            }
            Body::Strided { child, count, length, .. } => {
                f(child, count * length);
            }
            Body::Blocks { child, blocks } => {
                f(child, blocks.iter().map(|block| block.1).sum());
            }
            Body::Struct { fields } => {
                for (_, length, child) in fields {
                    if !f(child, *length) {
                        break;
                    }
                }
            }
        }
    }
}
