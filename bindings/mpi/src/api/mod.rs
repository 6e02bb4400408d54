// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The functions of MPI, a file per chapter.
