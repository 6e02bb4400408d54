// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nonblocking collectives (MPI-5.0 section 6.12): the same calls behind a request.

use crate::abi::{Abi, Counts};
use crate::api::collective::{How, launch};
use crate::collective::build::{self, Rows};
use crate::collective::reduction::{self, Operands};
use std::ffi::{c_int, c_void};
use strait_collectives::kind::Kind;

pub unsafe fn MPI_Ibarrier<A: Abi>(comm: A::Handle, request: *mut A::Handle) -> c_int {
    launch::<A>("MPI_Ibarrier", comm, How::Request(request), |_, comm| Ok(build::barrier(comm)))
}

pub unsafe fn MPI_Ibcast<A: Abi>(
    buffer: *mut c_void,
    count: i64,
    datatype: A::Handle,
    root: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ibcast", comm, How::Request(request), |entry, comm| {
        build::bcast::<A>(entry, comm, (buffer, count, datatype), root)
    })
}

pub unsafe fn MPI_Igather<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Igather", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Igatherv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Igatherv", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Iscatter<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iscatter", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Iscatterv<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    displs: Counts,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iscatterv", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Iallgather<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iallgather", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Iallgatherv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iallgatherv", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Ialltoall<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ialltoall", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Ialltoallv<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: Counts,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ialltoallv", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Ialltoallw<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: Counts,
    sendtypes: *const A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: Counts,
    recvtypes: *const A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ialltoallw", comm, How::Request(request), |entry, comm| {
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

pub unsafe fn MPI_Ireduce<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    root: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ireduce", comm, How::Request(request), |entry, comm| {
        reduction::reduce::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            root,
        )
    })
}

pub unsafe fn MPI_Iallreduce<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iallreduce", comm, How::Request(request), |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Allreduce,
        )
    })
}

pub unsafe fn MPI_Ireduce_scatter<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ireduce_scatter", comm, How::Request(request), |entry, comm| {
        // SAFETY: the array has an element for each rank, says the caller.
        let counts = unsafe { reduction::counts(comm, recvcounts)? };
        let operands = Operands { send: sendbuf, receive: recvbuf, count: 0, datatype, op };
        reduction::reduce_scatter::<A>(entry, comm, counts, operands)
    })
}

pub unsafe fn MPI_Ireduce_scatter_block<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    recvcount: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Ireduce_scatter_block", comm, How::Request(request), |entry, comm| {
        let counts = vec![recvcount; comm.group.size()];
        let operands = Operands { send: sendbuf, receive: recvbuf, count: 0, datatype, op };
        reduction::reduce_scatter::<A>(entry, comm, counts, operands)
    })
}

pub unsafe fn MPI_Iscan<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iscan", comm, How::Request(request), |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Scan,
        )
    })
}

pub unsafe fn MPI_Iexscan<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    launch::<A>("MPI_Iexscan", comm, How::Request(request), |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Exscan,
        )
    })
}
