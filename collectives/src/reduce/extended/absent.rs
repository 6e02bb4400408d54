// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `long double` is another format here; `supports` refuses to compute with it.

use super::Long;

/// Whether this machine computes with `long double`.
pub const AVAILABLE: bool = false;

/// Never called.
pub fn add(_left: Long, _right: Long) -> Long {
    unreachable!("refused by `supports`")
}

/// Never called.
pub fn multiply(_left: Long, _right: Long) -> Long {
    unreachable!("refused by `supports`")
}
