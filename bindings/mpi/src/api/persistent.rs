// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent collectives (MPI-5.0 section 6.13): the same calls, started again and again. The info
//! argument has no key that we know.

use crate::abi::{Abi, Counts};
use crate::api::collective::{How, launch};
use crate::collective::build::{self, Rows};
use crate::collective::reduction::{self, Operands};
use std::ffi::{c_int, c_void};
use strait_collectives::kind::Kind;

pub unsafe fn MPI_Barrier_init<A: Abi>(
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Barrier_init", comm, How::Init(request), |_, comm| Ok(build::barrier(comm)))
}

pub unsafe fn MPI_Bcast_init<A: Abi>(
    buffer: *mut c_void,
    count: i64,
    datatype: A::Handle,
    root: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Bcast_init", comm, How::Init(request), |entry, comm| {
        build::bcast::<A>(entry, comm, (buffer, count, datatype), root)
    })
}

pub unsafe fn MPI_Gather_init<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Gather_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::gather::<A>(
                entry,
                comm,
                (sendbuf, sendcount, sendtype),
                Rows::Even((recvbuf, recvcount, recvtype)),
                root,
            )
        }
    })
}

pub unsafe fn MPI_Gatherv_init<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Gatherv_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::gather::<A>(
                entry,
                comm,
                (sendbuf, sendcount, sendtype),
                Rows::Listed((recvbuf, recvcounts, displs, recvtype)),
                root,
            )
        }
    })
}

pub unsafe fn MPI_Scatter_init<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Scatter_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::scatter::<A>(
                entry,
                comm,
                Rows::Even((sendbuf, sendcount, sendtype)),
                (recvbuf, recvcount, recvtype),
                root,
            )
        }
    })
}

pub unsafe fn MPI_Scatterv_init<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    displs: Counts,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Scatterv_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::scatter::<A>(
                entry,
                comm,
                Rows::Listed((sendbuf, sendcounts, displs, sendtype)),
                (recvbuf, recvcount, recvtype),
                root,
            )
        }
    })
}

pub unsafe fn MPI_Allgather_init<A: Abi>(
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
    launch::<A>("MPI_Allgather_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::allgather::<A>(
                entry,
                comm,
                (sendbuf, sendcount, sendtype),
                Rows::Even((recvbuf, recvcount, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Allgatherv_init<A: Abi>(
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
    launch::<A>("MPI_Allgatherv_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::allgather::<A>(
                entry,
                comm,
                (sendbuf, sendcount, sendtype),
                Rows::Listed((recvbuf, recvcounts, displs, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Alltoall_init<A: Abi>(
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
    launch::<A>("MPI_Alltoall_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::alltoall::<A>(
                entry,
                comm,
                Rows::Even((sendbuf, sendcount, sendtype)),
                Rows::Even((recvbuf, recvcount, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Alltoallv_init<A: Abi>(
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
    launch::<A>("MPI_Alltoallv_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::alltoall::<A>(
                entry,
                comm,
                Rows::Listed((sendbuf, sendcounts, sdispls, sendtype)),
                Rows::Listed((recvbuf, recvcounts, rdispls, recvtype)),
            )
        }
    })
}

pub unsafe fn MPI_Alltoallw_init<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: Counts,
    sendtypes: *const A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: Counts,
    recvtypes: *const A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Alltoallw_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: arrays have an element for each rank, says the caller.
        unsafe {
            build::alltoall::<A>(
                entry,
                comm,
                Rows::Mixed((sendbuf, sendcounts, sdispls, sendtypes)),
                Rows::Mixed((recvbuf, recvcounts, rdispls, recvtypes)),
            )
        }
    })
}

pub unsafe fn MPI_Reduce_init<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    root: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Reduce_init", comm, How::Init(request), |entry, comm| {
        reduction::reduce::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            root,
        )
    })
}

pub unsafe fn MPI_Allreduce_init<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Allreduce_init", comm, How::Init(request), |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Allreduce,
        )
    })
}

pub unsafe fn MPI_Reduce_scatter_init<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Reduce_scatter_init", comm, How::Init(request), |entry, comm| {
        // SAFETY: the array has an element for each rank, says the caller.
        let counts = unsafe { reduction::counts(comm, recvcounts)? };
        let operands = Operands { send: sendbuf, receive: recvbuf, count: 0, datatype, op };
        reduction::reduce_scatter::<A>(entry, comm, counts, operands)
    })
}

pub unsafe fn MPI_Reduce_scatter_block_init<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    recvcount: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Reduce_scatter_block_init", comm, How::Init(request), |entry, comm| {
        let counts = vec![recvcount; comm.group.size()];
        let operands = Operands { send: sendbuf, receive: recvbuf, count: 0, datatype, op };
        reduction::reduce_scatter::<A>(entry, comm, counts, operands)
    })
}

pub unsafe fn MPI_Scan_init<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Scan_init", comm, How::Init(request), |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Scan,
        )
    })
}

pub unsafe fn MPI_Exscan_init<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Exscan_init", comm, How::Init(request), |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Exscan,
        )
    })
}
