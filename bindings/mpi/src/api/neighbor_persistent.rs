// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent neighbourhood collectives (MPI-5.0 section 8.8): the same calls, whenever they are
//! started.

use crate::abi::{Abi, Counts};
use crate::api::collective::{How, launch};
use crate::collective::build::Rows;
use crate::collective::neighborhood;
use std::ffi::{c_int, c_void};

pub unsafe fn MPI_Neighbor_allgather_init<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Neighbor_allgather_init", comm, How::Init(request), |entry, comm| {
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

pub unsafe fn MPI_Neighbor_allgatherv_init<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Neighbor_allgatherv_init", comm, How::Init(request), |entry, comm| {
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

pub unsafe fn MPI_Neighbor_alltoall_init<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Neighbor_alltoall_init", comm, How::Init(request), |entry, comm| {
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

pub unsafe fn MPI_Neighbor_alltoallv_init<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: Counts,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Neighbor_alltoallv_init", comm, How::Init(request), |entry, comm| {
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

pub unsafe fn MPI_Neighbor_alltoallw_init<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: *const isize,
    sendtypes: *const A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: *const isize,
    recvtypes: *const A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Neighbor_alltoallw_init", comm, How::Init(request), |entry, comm| {
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
