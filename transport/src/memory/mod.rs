// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory with limits: buffers for what arrives before it is asked for; copies of a few bytes.
pub mod copy;
pub mod pool;
