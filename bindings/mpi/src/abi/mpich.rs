// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MPICH ABI: int handles, its own constants.
