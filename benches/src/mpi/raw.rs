// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C functions of MPI that the benchmarks call, with the handles and constants of the
//! standard ABI, which fixes their values.
//!
//! `build.rs` reads this file: every function named here gets its place in the stub that the
//! benchmarks are linked against, so there is no second list.

use std::ffi::{c_char, c_int, c_void};

macro_rules! handles {
    ($($name:ident)*) => {$(
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(transparent)]
        pub struct $name(pub usize);
    )*};
}

handles!(Comm Datatype Op Request Info Group Session Errhandler Win);

pub const WORLD: Comm = Comm(0x101);
pub const INT: Datatype = Datatype(0x209);
pub const FLOAT: Datatype = Datatype(0x210);
pub const DOUBLE: Datatype = Datatype(0x214);
pub const LONG_LONG: Datatype = Datatype(0x20b);
pub const AINT: Datatype = Datatype(0x201);
pub const CHAR: Datatype = Datatype(0x243);
pub const SUM: Op = Op(0x021);
pub const MIN: Op = Op(0x022);
pub const MAX: Op = Op(0x023);
pub const REQUEST_NULL: Request = Request(0x180);
pub const INFO_NULL: Info = Info(0x130);
pub const ERRORS_ARE_FATAL: Errhandler = Errhandler(0x141);
pub const IN_PLACE: *const c_void = std::ptr::without_provenance(1);
pub const LOCK_SHARED: c_int = 302;
pub const THREAD_MULTIPLE: c_int = 4096;
pub const MAX_LIBRARY_VERSION_STRING: usize = 8192;
pub const MAX_PROCESSOR_NAME: usize = 256;

unsafe extern "C" {
    pub fn MPI_Init(argc: *mut c_int, argv: *mut *mut *mut c_char) -> c_int;
    pub fn MPI_Init_thread(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        required: c_int,
        provided: *mut c_int,
    ) -> c_int;
    pub fn MPI_Finalize() -> c_int;
    pub fn MPI_Session_init(info: Info, handler: Errhandler, session: *mut Session) -> c_int;
    pub fn MPI_Session_finalize(session: *mut Session) -> c_int;
    pub fn MPI_Group_from_session_pset(
        session: Session,
        name: *const c_char,
        group: *mut Group,
    ) -> c_int;
    pub fn MPI_Group_free(group: *mut Group) -> c_int;
    pub fn MPI_Comm_create_from_group(
        group: Group,
        tag: *const c_char,
        info: Info,
        handler: Errhandler,
        comm: *mut Comm,
    ) -> c_int;
    pub fn MPI_Comm_free(comm: *mut Comm) -> c_int;
    pub fn MPI_Comm_rank(comm: Comm, rank: *mut c_int) -> c_int;
    pub fn MPI_Comm_size(comm: Comm, size: *mut c_int) -> c_int;
    pub fn MPI_Comm_split(comm: Comm, colour: c_int, key: c_int, new: *mut Comm) -> c_int;
    pub fn MPI_Comm_set_info(comm: Comm, info: Info) -> c_int;
    pub fn MPI_Comm_get_info(comm: Comm, info: *mut Info) -> c_int;
    pub fn MPI_Info_create(info: *mut Info) -> c_int;
    pub fn MPI_Info_free(info: *mut Info) -> c_int;
    pub fn MPI_Info_set(info: Info, key: *const c_char, value: *const c_char) -> c_int;
    pub fn MPI_Info_get_string(
        info: Info,
        key: *const c_char,
        length: *mut c_int,
        value: *mut c_char,
        flag: *mut c_int,
    ) -> c_int;
    pub fn MPI_Wtime() -> f64;
    pub fn MPI_Get_library_version(text: *mut c_char, length: *mut c_int) -> c_int;
    pub fn MPI_Get_processor_name(text: *mut c_char, length: *mut c_int) -> c_int;

    pub fn MPI_Send(
        buffer: *const c_void,
        count: c_int,
        datatype: Datatype,
        to: c_int,
        tag: c_int,
        comm: Comm,
    ) -> c_int;
    pub fn MPI_Recv(
        buffer: *mut c_void,
        count: c_int,
        datatype: Datatype,
        from: c_int,
        tag: c_int,
        comm: Comm,
        status: *mut c_void,
    ) -> c_int;
    pub fn MPI_Isend(
        buffer: *const c_void,
        count: c_int,
        datatype: Datatype,
        to: c_int,
        tag: c_int,
        comm: Comm,
        request: *mut Request,
    ) -> c_int;
    pub fn MPI_Irecv(
        buffer: *mut c_void,
        count: c_int,
        datatype: Datatype,
        from: c_int,
        tag: c_int,
        comm: Comm,
        request: *mut Request,
    ) -> c_int;
    pub fn MPI_Send_init(
        buffer: *const c_void,
        count: c_int,
        datatype: Datatype,
        to: c_int,
        tag: c_int,
        comm: Comm,
        request: *mut Request,
    ) -> c_int;
    pub fn MPI_Recv_init(
        buffer: *mut c_void,
        count: c_int,
        datatype: Datatype,
        from: c_int,
        tag: c_int,
        comm: Comm,
        request: *mut Request,
    ) -> c_int;
    pub fn MPI_Start(request: *mut Request) -> c_int;
    pub fn MPI_Startall(count: c_int, requests: *mut Request) -> c_int;
    pub fn MPI_Wait(request: *mut Request, status: *mut c_void) -> c_int;
    pub fn MPI_Waitall(count: c_int, requests: *mut Request, statuses: *mut c_void) -> c_int;
    pub fn MPI_Test(request: *mut Request, flag: *mut c_int, status: *mut c_void) -> c_int;
    pub fn MPI_Request_free(request: *mut Request) -> c_int;

    pub fn MPI_Comm_group(comm: Comm, group: *mut Group) -> c_int;
    pub fn MPI_Group_incl(
        group: Group,
        count: c_int,
        ranks: *const c_int,
        new: *mut Group,
    ) -> c_int;
    pub fn MPI_Get_address(place: *const c_void, address: *mut isize) -> c_int;
    pub fn MPI_Win_create(
        base: *mut c_void,
        size: isize,
        unit: c_int,
        info: Info,
        comm: Comm,
        win: *mut Win,
    ) -> c_int;
    pub fn MPI_Win_allocate(
        size: isize,
        unit: c_int,
        info: Info,
        comm: Comm,
        base: *mut c_void,
        win: *mut Win,
    ) -> c_int;
    pub fn MPI_Win_create_dynamic(info: Info, comm: Comm, win: *mut Win) -> c_int;
    pub fn MPI_Win_attach(win: Win, base: *mut c_void, size: isize) -> c_int;
    pub fn MPI_Win_detach(win: Win, base: *const c_void) -> c_int;
    pub fn MPI_Win_free(win: *mut Win) -> c_int;
    pub fn MPI_Win_fence(assert: c_int, win: Win) -> c_int;
    pub fn MPI_Win_post(group: Group, assert: c_int, win: Win) -> c_int;
    pub fn MPI_Win_start(group: Group, assert: c_int, win: Win) -> c_int;
    pub fn MPI_Win_complete(win: Win) -> c_int;
    pub fn MPI_Win_wait(win: Win) -> c_int;
    pub fn MPI_Win_lock(kind: c_int, rank: c_int, assert: c_int, win: Win) -> c_int;
    pub fn MPI_Win_unlock(rank: c_int, win: Win) -> c_int;
    pub fn MPI_Win_lock_all(assert: c_int, win: Win) -> c_int;
    pub fn MPI_Win_unlock_all(win: Win) -> c_int;
    pub fn MPI_Win_flush(rank: c_int, win: Win) -> c_int;
    pub fn MPI_Win_flush_local(rank: c_int, win: Win) -> c_int;
    pub fn MPI_Put(
        origin: *const c_void,
        origin_count: c_int,
        origin_type: Datatype,
        target: c_int,
        displacement: isize,
        target_count: c_int,
        target_type: Datatype,
        win: Win,
    ) -> c_int;
    pub fn MPI_Get(
        origin: *mut c_void,
        origin_count: c_int,
        origin_type: Datatype,
        target: c_int,
        displacement: isize,
        target_count: c_int,
        target_type: Datatype,
        win: Win,
    ) -> c_int;
    pub fn MPI_Accumulate(
        origin: *const c_void,
        origin_count: c_int,
        origin_type: Datatype,
        target: c_int,
        displacement: isize,
        target_count: c_int,
        target_type: Datatype,
        op: Op,
        win: Win,
    ) -> c_int;
    pub fn MPI_Get_accumulate(
        origin: *const c_void,
        origin_count: c_int,
        origin_type: Datatype,
        result: *mut c_void,
        result_count: c_int,
        result_type: Datatype,
        target: c_int,
        displacement: isize,
        target_count: c_int,
        target_type: Datatype,
        op: Op,
        win: Win,
    ) -> c_int;
    pub fn MPI_Fetch_and_op(
        origin: *const c_void,
        result: *mut c_void,
        datatype: Datatype,
        target: c_int,
        displacement: isize,
        op: Op,
        win: Win,
    ) -> c_int;
    pub fn MPI_Compare_and_swap(
        origin: *const c_void,
        compare: *const c_void,
        result: *mut c_void,
        datatype: Datatype,
        target: c_int,
        displacement: isize,
        win: Win,
    ) -> c_int;
}

/// The three functions of a collective: they differ in what follows the communicator.
macro_rules! collective {
    ($blocking:ident, $immediate:ident, $persistent:ident; $($name:ident: $type:ty),*) => {
        unsafe extern "C" {
            pub fn $blocking($($name: $type,)* comm: Comm) -> c_int;
            pub fn $immediate($($name: $type,)* comm: Comm, request: *mut Request) -> c_int;
            pub fn $persistent(
                $($name: $type,)* comm: Comm, info: Info, request: *mut Request
            ) -> c_int;
        }
    };
}

collective!(MPI_Barrier, MPI_Ibarrier, MPI_Barrier_init;);
collective!(MPI_Bcast, MPI_Ibcast, MPI_Bcast_init;
    buffer: *mut c_void, count: c_int, datatype: Datatype, root: c_int);
collective!(MPI_Allgather, MPI_Iallgather, MPI_Allgather_init;
    send: *const c_void, send_count: c_int, send_type: Datatype,
    receive: *mut c_void, receive_count: c_int, receive_type: Datatype);
collective!(MPI_Allgatherv, MPI_Iallgatherv, MPI_Allgatherv_init;
    send: *const c_void, send_count: c_int, send_type: Datatype,
    receive: *mut c_void, receive_counts: *const c_int, displacements: *const c_int,
    receive_type: Datatype);
collective!(MPI_Allreduce, MPI_Iallreduce, MPI_Allreduce_init;
    send: *const c_void, receive: *mut c_void, count: c_int, datatype: Datatype, op: Op);
collective!(MPI_Alltoall, MPI_Ialltoall, MPI_Alltoall_init;
    send: *const c_void, send_count: c_int, send_type: Datatype,
    receive: *mut c_void, receive_count: c_int, receive_type: Datatype);
collective!(MPI_Alltoallv, MPI_Ialltoallv, MPI_Alltoallv_init;
    send: *const c_void, send_counts: *const c_int, send_displacements: *const c_int,
    send_type: Datatype, receive: *mut c_void, receive_counts: *const c_int,
    receive_displacements: *const c_int, receive_type: Datatype);
collective!(MPI_Alltoallw, MPI_Ialltoallw, MPI_Alltoallw_init;
    send: *const c_void, send_counts: *const c_int, send_displacements: *const c_int,
    send_types: *const Datatype, receive: *mut c_void, receive_counts: *const c_int,
    receive_displacements: *const c_int, receive_types: *const Datatype);
collective!(MPI_Gather, MPI_Igather, MPI_Gather_init;
    send: *const c_void, send_count: c_int, send_type: Datatype,
    receive: *mut c_void, receive_count: c_int, receive_type: Datatype, root: c_int);
collective!(MPI_Gatherv, MPI_Igatherv, MPI_Gatherv_init;
    send: *const c_void, send_count: c_int, send_type: Datatype,
    receive: *mut c_void, receive_counts: *const c_int, displacements: *const c_int,
    receive_type: Datatype, root: c_int);
collective!(MPI_Reduce, MPI_Ireduce, MPI_Reduce_init;
    send: *const c_void, receive: *mut c_void, count: c_int, datatype: Datatype, op: Op,
    root: c_int);
collective!(MPI_Reduce_scatter, MPI_Ireduce_scatter, MPI_Reduce_scatter_init;
    send: *const c_void, receive: *mut c_void, counts: *const c_int, datatype: Datatype, op: Op);
collective!(MPI_Reduce_scatter_block, MPI_Ireduce_scatter_block, MPI_Reduce_scatter_block_init;
    send: *const c_void, receive: *mut c_void, count: c_int, datatype: Datatype, op: Op);
collective!(MPI_Scatter, MPI_Iscatter, MPI_Scatter_init;
    send: *const c_void, send_count: c_int, send_type: Datatype,
    receive: *mut c_void, receive_count: c_int, receive_type: Datatype, root: c_int);
collective!(MPI_Scatterv, MPI_Iscatterv, MPI_Scatterv_init;
    send: *const c_void, send_counts: *const c_int, displacements: *const c_int,
    send_type: Datatype, receive: *mut c_void, receive_count: c_int, receive_type: Datatype,
    root: c_int);
