// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Datatypes: meaning, constructors, flattening, packing. (First landing: predefined contiguous
//! ones; the rest of the engine replaces this file.)

use std::sync::{Arc, LazyLock};
use strait_transport::payload::Payload;

/// A datatype.
#[derive(Debug)]
pub struct Type {
    size: usize,
}

impl Type {
    /// Packed bytes of one element.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether it is one of the standard's own.
    pub fn is_predefined(&self) -> bool {
        true
    }

    /// `count` elements at `base`.
    pub fn payload(self: &Arc<Type>, base: *mut u8, count: i64) -> Payload {
        Payload::Contiguous { base, bytes: self.size * count as usize }
    }
}

static SIZES: LazyLock<Vec<Option<Arc<Type>>>> = LazyLock::new(|| {
    let mut table = vec![None; 0x100];
    for (code, size) in [
        (0x07, 1),
        (0x08, 2),
        (0x09, 4),
        (0x0a, 8),
        (0x0b, 8),
        (0x0d, 4),
        (0x0e, 8),
        (0x10, 4),
        (0x14, 8),
        (0x43, 1),
        (0x44, 1),
        (0x45, 1),
        (0x47, 1),
        (0x40, 1),
        (0x50, 4),
        (0x58, 8),
    ] {
        table[code] = Some(Arc::new(Type { size }));
    }
    table
});

/// The predefined datatype of a canonical code.
pub fn predefined(code: u32) -> Option<&'static Arc<Type>> {
    SIZES.get(code.checked_sub(0x200)? as usize)?.as_ref()
}
