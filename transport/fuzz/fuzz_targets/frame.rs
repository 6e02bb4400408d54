// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The decoder of TCP frames: any stream, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_transport::fuzzing::frame(data));
