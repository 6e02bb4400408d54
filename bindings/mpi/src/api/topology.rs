// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual topologies (MPI-5.0 chapter 8): no communicator has one yet, and that can be asked.

use crate::abi::Abi;
use crate::api::arguments::{UNDEFINED, out};
use crate::entry::on_comm;
use std::ffi::c_int;

pub unsafe fn MPI_Topo_test<A: Abi>(comm: A::Handle, status: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Topo_test", comm, |_, comm| {
        let found = match &*comm.topology.borrow() {
            None => UNDEFINED,
            Some(topology) => match *topology {},
        };
        // SAFETY: writable, says the caller.
        unsafe { *out(status, "status")? = found };
        Ok(())
    })
}
