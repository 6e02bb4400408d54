// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blocking neighbourhood collectives (MPI-5.0 sections 8.6 and 8.7).

use crate::abi::{Abi, Counts};
use crate::api::collective::{launch_now, never};
use crate::collective::build::Rows;
use crate::collective::neighborhood;
use std::ffi::{c_int, c_void};

pub unsafe fn MPI_Neighbor_allgather<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Neighbor_allgather", comm, never, |entry, comm| {
        // SAFETY: arrays have an element for each neighbour, says the caller.
        unsafe {
            neighborhood::allgather::<A>(
                entry,
                comm,
                (sendbuf, sendcount, sendtype),
                Rows::Even((recvbuf, recvcount, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Neighbor_allgatherv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Neighbor_allgatherv", comm, never, |entry, comm| {
        // SAFETY: arrays have an element for each neighbour, says the caller.
        unsafe {
            neighborhood::allgather::<A>(
                entry,
                comm,
                (sendbuf, sendcount, sendtype),
                Rows::Listed((recvbuf, recvcounts, displs, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Neighbor_alltoall<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Neighbor_alltoall", comm, never, |entry, comm| {
        // SAFETY: arrays have an element for each neighbour, says the caller.
        unsafe {
            neighborhood::alltoall::<A>(
                entry,
                comm,
                Rows::Even((sendbuf, sendcount, sendtype)),
                Rows::Even((recvbuf, recvcount, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Neighbor_alltoallv<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: Counts,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Neighbor_alltoallv", comm, never, |entry, comm| {
        // SAFETY: arrays have an element for each neighbour, says the caller.
        unsafe {
            neighborhood::alltoall::<A>(
                entry,
                comm,
                Rows::Listed((sendbuf, sendcounts, sdispls, sendtype)),
                Rows::Listed((recvbuf, recvcounts, rdispls, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Neighbor_alltoallw<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: *const isize,
    sendtypes: *const A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: *const isize,
    recvtypes: *const A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Neighbor_alltoallw", comm, never, |entry, comm| {
        // SAFETY: arrays have an element for each neighbour, says the caller.
        unsafe {
            neighborhood::alltoall::<A>(
                entry,
                comm,
                Rows::Mixed((sendbuf, sendcounts, Counts::Long(sdispls.cast()), sendtypes)),
                Rows::Mixed((recvbuf, recvcounts, Counts::Long(rdispls.cast()), recvtypes)),
            )
        }
    })
}
