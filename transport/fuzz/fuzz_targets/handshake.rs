// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The messages of the TCP handshake, invented and changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_transport::fuzzing::handshake(data));
