// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What travels: headers and their codec.
pub mod header;
