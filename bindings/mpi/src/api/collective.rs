// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blocking collectives (MPI-5.0 chapter 6), and what they share with the others: arguments become
//! a call (`collective/`), and the call runs now, behind a request, or whenever it is started.
//!
//! A collective takes its tag before it looks at its arguments, so that an error that only some
//! ranks see does not shift the tags of later calls.

use crate::abi::{Abi, Counts, HandleKind};
use crate::api::arguments::handle;
use crate::api::point_to_point_persistent::persistent;
use crate::collective::board::{self, quick};
use crate::collective::build::{self, Rows};
use crate::collective::reduction::{self, Operands};
use crate::collective::{Call, Running, reproducible};
use crate::entry::{Entry, on_comm};
use crate::error::Result;
use crate::object::comm::CommRef;
use crate::object::request::{Finished, Request, Work};
use crate::progress_thread;
use crate::runtime::tools_listen;
use crate::tool::event;
use std::ffi::{c_int, c_void};
use strait_collectives::kind::Kind;

/// How a collective call is to run.
pub(crate) enum How<A: Abi> {
    /// Behind a request.
    Request(*mut A::Handle),
    /// Whenever the persistent request is started.
    Init(*mut A::Handle),
}

/// Around every collective that is not blocking.
pub(crate) fn launch<A: Abi>(
    name: &'static str,
    comm: A::Handle,
    how: How<A>,
    build: impl FnOnce(&Entry, &CommRef) -> Result<Call>,
) -> c_int {
    on_comm::<A>(name, comm, |entry, comm| {
        comm.check()?;
        let tag = comm.next_collective_tag();
        let call = build(entry, comm)?;
        match how {
            How::Request(request) => {
                let active = start(entry, name, comm, tag, &call)?;
                let is_active = matches!(active, Request::Work(_));
                let code = entry.requests.insert(active);
                // SAFETY: `request` is writable, says the caller of the C function.
                unsafe { *request = handle::<A>(HandleKind::Request, code)? };
                entry.active.extend(code.filter(|_| is_active));
                Ok(())
            }
            How::Init(request) => {
                let owner = comm.clone();
                // Starts need not come in one order at all ranks: all use the tag of the init.
                let start = move |entry: &mut Entry| start(entry, name, &owner, tag, &call);
                // SAFETY: as above.
                unsafe { persistent::<A>(entry, comm, start, request) }
            }
        }
    })
}

/// Around every blocking collective. `quick` does the ordinary call at a board, or answers that
/// something about it is out of the ordinary, and has done nothing.
#[inline(always)]
pub(crate) fn launch_now<A: Abi>(
    name: &'static str,
    comm: A::Handle,
    quick: impl FnOnce(&mut Entry, &CommRef, u64) -> Option<Result>,
    build: impl FnOnce(&Entry, &CommRef) -> Result<Call>,
) -> c_int {
    on_comm::<A>(name, comm, |entry, comm| {
        comm.check()?;
        board::settle(entry, comm)?;
        let tag = comm.next_collective_tag();
        let listens = tools_listen();
        if listens {
            event::collective(event::COLLECTIVE_START, name, comm);
        }
        let result = match quick(entry, comm, comm.collective_count.get()) {
            Some(result) => result,
            None => run_now(entry, comm, tag, build),
        };
        if listens {
            event::collective(event::COLLECTIVE_END, name, comm);
        }
        result
    })
}

#[inline(never)]
fn run_now(
    entry: &mut Entry,
    comm: &CommRef,
    tag: u32,
    build: impl FnOnce(&Entry, &CommRef) -> Result<Call>,
) -> Result {
    let number = comm.collective_count.get();
    let call = match build(entry, comm) {
        Ok(call) => call,
        Err(error) => {
            board::pass(entry, comm, number);
            return Err(error);
        }
    };
    if !reproducible::goes_by_messages(&call) && board::run(entry, comm, number, &call)?.is_some() {
        return Ok(());
    }
    match Running::new(entry, comm, tag, &call)? {
        Some(running) => running.finish(entry),
        None => Ok(()),
    }
}

/// No call is ordinary.
pub(crate) fn never(_: &mut Entry, _: &CommRef, _: u64) -> Option<Result> {
    None
}

/// Starts a call; what can be done at once is done.
fn start(
    entry: &mut Entry,
    name: &'static str,
    comm: &CommRef,
    tag: u32,
    call: &Call,
) -> Result<Request> {
    comm.check()?;
    let Some(mut running) = Running::new(entry, comm, tag, call)? else {
        return Ok(Request::Done(Finished::EMPTY));
    };
    if tools_listen() {
        event::collective(event::COLLECTIVE_START, name, comm);
        running.name = Some(name);
    }
    Ok(match running.advance(entry) {
        Some(finished) => Request::ended(&running, finished),
        None => {
            progress_thread::wanted(entry);
            Request::Work(Box::new(running))
        }
    })
}

pub unsafe fn MPI_Barrier<A: Abi>(comm: A::Handle) -> c_int {
    launch_now::<A>("MPI_Barrier", comm, quick::barrier, |_, comm| Ok(build::barrier(comm)))
}

pub unsafe fn MPI_Bcast<A: Abi>(
    buffer: *mut c_void,
    count: i64,
    datatype: A::Handle,
    root: c_int,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        // SAFETY: the buffer is the caller's promise.
        unsafe { quick::bcast::<A>(entry, comm, number, (buffer, count, datatype), root) }
    };
    launch_now::<A>("MPI_Bcast", comm, quick, |entry, comm| {
        build::bcast::<A>(entry, comm, (buffer, count, datatype), root)
    })
}

pub unsafe fn MPI_Gather<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let send = (sendbuf, sendcount, sendtype);
        let receive = (recvbuf.cast_const(), recvcount, recvtype);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::gather::<A>(entry, comm, number, send, receive, root) }
    };
    launch_now::<A>("MPI_Gather", comm, quick, |entry, comm| {
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

pub unsafe fn MPI_Gatherv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Gatherv", comm, never, |entry, comm| {
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

pub unsafe fn MPI_Scatter<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let send = (sendbuf, sendcount, sendtype);
        let receive = (recvbuf.cast_const(), recvcount, recvtype);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::scatter::<A>(entry, comm, number, send, receive, root) }
    };
    launch_now::<A>("MPI_Scatter", comm, quick, |entry, comm| {
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

pub unsafe fn MPI_Scatterv<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    displs: Counts,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    root: c_int,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Scatterv", comm, never, |entry, comm| {
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

pub unsafe fn MPI_Allgather<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let send = (sendbuf, sendcount, sendtype);
        let receive = (recvbuf.cast_const(), recvcount, recvtype);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::all_to_all::<A>(entry, comm, number, send, receive, Kind::Allgather) }
    };
    launch_now::<A>("MPI_Allgather", comm, quick, |entry, comm| {
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

pub unsafe fn MPI_Allgatherv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    displs: Counts,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Allgatherv", comm, never, |entry, comm| {
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

pub unsafe fn MPI_Alltoall<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let send = (sendbuf, sendcount, sendtype);
        let receive = (recvbuf.cast_const(), recvcount, recvtype);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::all_to_all::<A>(entry, comm, number, send, receive, Kind::Alltoall) }
    };
    launch_now::<A>("MPI_Alltoall", comm, quick, |entry, comm| {
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

pub unsafe fn MPI_Alltoallv<A: Abi>(
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
    launch_now::<A>("MPI_Alltoallv", comm, never, |entry, comm| {
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

pub unsafe fn MPI_Alltoallw<A: Abi>(
    sendbuf: *const c_void,
    sendcounts: Counts,
    sdispls: Counts,
    sendtypes: *const A::Handle,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    rdispls: Counts,
    recvtypes: *const A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Alltoallw", comm, never, |entry, comm| {
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

pub unsafe fn MPI_Reduce<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    root: c_int,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let operands = (sendbuf, recvbuf, count, datatype, op);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::reduce::<A>(entry, comm, number, operands, root) }
    };
    launch_now::<A>("MPI_Reduce", comm, quick, |entry, comm| {
        reduction::reduce::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            root,
        )
    })
}

pub unsafe fn MPI_Allreduce<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let operands = (sendbuf, recvbuf, count, datatype, op);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::reduce_all::<A>(entry, comm, number, operands, Kind::Allreduce) }
    };
    launch_now::<A>("MPI_Allreduce", comm, quick, |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Allreduce,
        )
    })
}

pub unsafe fn MPI_Reduce_scatter<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    recvcounts: Counts,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Reduce_scatter", comm, never, |entry, comm| {
        // SAFETY: the array has an element for each rank, says the caller.
        let counts = unsafe { reduction::counts(comm, recvcounts)? };
        let operands = Operands { send: sendbuf, receive: recvbuf, count: 0, datatype, op };
        reduction::reduce_scatter::<A>(entry, comm, counts, operands)
    })
}

pub unsafe fn MPI_Reduce_scatter_block<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    recvcount: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
) -> c_int {
    launch_now::<A>("MPI_Reduce_scatter_block", comm, never, |entry, comm| {
        let counts = vec![recvcount; comm.group.size()];
        let operands = Operands { send: sendbuf, receive: recvbuf, count: 0, datatype, op };
        reduction::reduce_scatter::<A>(entry, comm, counts, operands)
    })
}

pub unsafe fn MPI_Scan<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let operands = (sendbuf, recvbuf, count, datatype, op);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::reduce_all::<A>(entry, comm, number, operands, Kind::Scan) }
    };
    launch_now::<A>("MPI_Scan", comm, quick, |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Scan,
        )
    })
}

pub unsafe fn MPI_Exscan<A: Abi>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
    comm: A::Handle,
) -> c_int {
    let quick = |entry: &mut Entry, comm: &CommRef, number: u64| {
        let operands = (sendbuf, recvbuf, count, datatype, op);
        // SAFETY: the buffers are the caller's promise.
        unsafe { quick::reduce_all::<A>(entry, comm, number, operands, Kind::Exscan) }
    };
    launch_now::<A>("MPI_Exscan", comm, quick, |entry, comm| {
        reduction::reduce_all::<A>(
            entry,
            comm,
            Operands { send: sendbuf, receive: recvbuf, count, datatype, op },
            Kind::Exscan,
        )
    })
}
