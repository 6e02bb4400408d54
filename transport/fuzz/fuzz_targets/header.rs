// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The codec of message headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_transport::fuzzing::header(data));
