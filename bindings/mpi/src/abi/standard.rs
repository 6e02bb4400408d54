// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The standard ABI (MPI 5.0): pointer-sized handles, canonical constants.
