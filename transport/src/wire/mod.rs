// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What travels: headers and their codec.
#![forbid(unsafe_code)]

pub mod codec;
pub mod header;
