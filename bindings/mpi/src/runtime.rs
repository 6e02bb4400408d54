// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Init to Finalize: the one runtime of the process, made by MPI_Init, behind the entry lock.

use crate::abi::{Abi, Code, HandleKind};
use crate::entry::Entry;
use crate::error::{Result, advise, class, error};
use crate::handle::Slab;
use crate::lock::EntryLock;
use crate::object::attribute::Keyval;
use crate::object::comm::{COMM_SELF, COMM_WORLD, Comm, CommRef};
use crate::object::datatype::DatatypeRef;
use crate::object::errhandler::{ErrhandlerRef, UserErrhandler};
use crate::object::file::FileRef;
use crate::object::file_view::UserRepresentation;
use crate::object::group::Group;
use crate::object::info::InfoData;
use crate::object::op::UserOp;
use crate::object::request::{BsendBuffer, Request};
use crate::object::session::Session;
use crate::object::window::WinRef;
use crate::port::Port;
use crate::progress_thread;
use crate::universe::{self, Universe};
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use strait_transport::bootstrap::{self, Job, Origin};
use strait_transport::envelope::Peer;
use strait_transport::node::RankState;
use strait_transport::peers::Peers;
use strait_transport::worker::{MessageId, Sleeper, Worker};

/// Before MPI_Init.
pub const BEFORE: u8 = 0;
/// Between MPI_Init and MPI_Finalize.
pub const RUNNING: u8 = 1;
/// After MPI_Finalize.
pub const FINALIZED: u8 = 2;
/// In a child that a running process forked: it has no MPI of its own.
pub const FORKED: u8 = 3;

/// Canonical thread levels.
pub const THREAD_MULTIPLE: i32 = 4096;

/// Where the process stands.
pub static STATE: AtomicU8 = AtomicU8::new(BEFORE);
/// The entry lock.
pub static LOCK: EntryLock = EntryLock::new();
/// Threads that sleep inside a blocking call; and [`TOOLS`], so that the end of a call looks at one
/// word for both.
pub static SLEEPING: AtomicU32 = AtomicU32::new(0);
/// In [`SLEEPING`]: a tool listens to events.
pub const TOOLS: u32 = 1 << 31;

/// Threads that sleep inside a blocking call.
pub fn sleepers() -> u32 {
    SLEEPING.load(Ordering::Relaxed) & !TOOLS
}

/// Whether a tool listens to events.
#[inline]
pub fn tools_listen() -> bool {
    SLEEPING.load(Ordering::Relaxed) & TOOLS != 0
}

/// The runtime's place. Touched only with [`LOCK`] held (or, in MPI_Init, before anybody can).
pub struct Place(UnsafeCell<Option<Box<Runtime>>>);
// SAFETY: access is serialised by LOCK, see above.
unsafe impl Sync for Place {}
/// The one place.
pub static PLACE: Place = Place(UnsafeCell::new(None));

impl Place {
    /// The runtime.
    ///
    /// # Safety
    /// The caller holds [`LOCK`] and makes no second reference while it uses this one.
    #[inline]
    pub unsafe fn pointer(&self) -> *mut Runtime {
        // SAFETY: the caller holds the lock, so nobody writes the option now.
        match unsafe { &mut *self.0.get() } {
            Some(runtime) => &raw mut **runtime,
            None => std::ptr::null_mut(),
        }
    }
}

/// A claimed message behind an MPI_Message.
pub struct ClaimedMessage {
    /// The transport's handle.
    pub id: MessageId,
    /// Where it was claimed.
    pub comm: CommRef,
}

/// Everything that lives from Init to Finalize.
pub struct Runtime {
    /// The job.
    pub job: Job,
    /// The engine.
    pub worker: Worker,
    /// For threads that sleep.
    pub sleeper: Sleeper,
    /// Thread level that was granted, canonical.
    pub thread_level: i32,
    /// The thread that called Init.
    pub main_thread: std::thread::ThreadId,
    /// MPI_COMM_WORLD.
    pub world: CommRef,
    /// MPI_COMM_SELF.
    pub comm_self: CommRef,
    /// Dynamic communicators.
    pub comms: Slab<CommRef>,
    /// Dynamic groups.
    pub groups: Slab<Group>,
    /// Dynamic datatypes.
    pub datatypes: Slab<DatatypeRef>,
    /// Handle objects of predefined datatypes, made when somebody hangs something on one.
    pub predefined_datatypes: HashMap<Code, DatatypeRef>,
    /// Users' operations.
    pub ops: Slab<Rc<UserOp>>,
    /// Requests.
    pub requests: Slab<Request>,
    /// Claimed messages.
    pub messages: Slab<ClaimedMessage>,
    /// Info objects.
    pub infos: Slab<InfoData>,
    /// Sessions.
    pub sessions: Slab<Session>,
    /// Open files.
    pub files: Slab<FileRef>,
    /// Users' data representations.
    pub representations: Vec<Rc<UserRepresentation>>,
    /// What MPI_FILE_NULL holds: the handler of new files, and of calls that name no file.
    pub file_errhandler: ErrhandlerRef,
    /// Windows.
    pub windows: Slab<WinRef>,
    /// Windows whose members send requests.
    pub served: Vec<WinRef>,
    /// Users' error handlers.
    pub errhandlers: Slab<Rc<UserErrhandler>>,
    /// Keyvals by number.
    pub keyvals: HashMap<i32, Rc<Keyval>>,
    /// Next dynamic keyval.
    pub next_keyval: i32,
    /// Schedules of collective calls that were made before.
    pub schedules: strait_collectives::select::Cache,
    /// Sizes of predefined types, for messages that are one run of bytes.
    pub contiguous_sizes: crate::datatype::ContiguousSizes,
    /// Where collectives at boards keep what they read from others; empty before the first.
    pub scratch: Vec<u8>,
    /// Requests whose work advances with progress.
    pub active: Vec<Code>,
    /// Active requests that the user freed: removed when their work ends.
    pub orphans: Vec<Code>,
    /// The process's buffer for buffered sends.
    pub bsend: Option<BsendBuffer>,
    /// Codes and classes that users added: text by number, and the class of each code.
    pub user_errors: crate::object::user_error::UserErrors,
    /// Processes of other jobs, and what is agreed with them.
    pub universe: Universe,
    /// Ports that are open, by name.
    pub ports: HashMap<String, Port>,
    /// The communicator with the processes that spawned this one's job.
    pub parent: Option<Code>,
    /// What is known of failures.
    pub faults: crate::fault::Faults,
    next_context: u32,
}

/// Contexts of MPI_COMM_WORLD and MPI_COMM_SELF; dynamic ones start above.
const WORLD_CONTEXT: u32 = 2;
const SELF_CONTEXT: u32 = 4;
/// Low bits of a context: which of a communicator's contexts.
pub const CONTEXT_SPAN: u32 = 4;

impl Runtime {
    fn new(job: Job, worker: Worker, thread_level: i32) -> Runtime {
        let me = Peer(job.rank);
        let all = match job.node.is_ordered() {
            true => (0..job.size).map(|rank| Peer(job.node.process_of(rank))).collect(),
            false => Peers::range(0, job.size),
        };
        let world = Comm::new(WORLD_CONTEXT, Group::new(all, me), None, ErrhandlerRef::Fatal);
        world.code.set(COMM_WORLD);
        *world.name.borrow_mut() = "MPI_COMM_WORLD".into();
        let comm_self =
            Comm::new(SELF_CONTEXT, Group::new(vec![me], me), None, ErrhandlerRef::Fatal);
        comm_self.code.set(COMM_SELF);
        *comm_self.name.borrow_mut() = "MPI_COMM_SELF".into();
        Runtime {
            sleeper: worker.sleeper(),
            job,
            worker,
            thread_level,
            main_thread: std::thread::current().id(),
            world: Rc::new(world),
            comm_self: Rc::new(comm_self),
            comms: Slab::new(HandleKind::Comm),
            groups: Slab::new(HandleKind::Group),
            datatypes: Slab::new(HandleKind::Datatype),
            predefined_datatypes: HashMap::new(),
            ops: Slab::new(HandleKind::Op),
            requests: Slab::new(HandleKind::Request),
            messages: Slab::new(HandleKind::Message),
            infos: Slab::new(HandleKind::Info),
            sessions: Slab::new(HandleKind::Session),
            files: Slab::new(HandleKind::File),
            representations: Vec::new(),
            file_errhandler: ErrhandlerRef::Return,
            windows: Slab::new(HandleKind::Win),
            served: Vec::new(),
            errhandlers: Slab::new(HandleKind::Errhandler),
            keyvals: HashMap::new(),
            next_keyval: crate::object::attribute::FIRST_KEYVAL,
            schedules: Default::default(),
            contiguous_sizes: crate::datatype::ContiguousSizes::new(),
            scratch: Vec::new(),
            active: Vec::new(),
            orphans: Vec::new(),
            bsend: None,
            user_errors: Default::default(),
            universe: Default::default(),
            ports: HashMap::new(),
            parent: None,
            faults: Default::default(),
            next_context: 0,
        }
    }

    /// This process.
    pub fn me(&self) -> Peer {
        Peer(self.job.rank)
    }

    /// A process of this job that is known to be dead, if there is one: that mpiexec sees, too.
    pub fn any_lost(&mut self) -> Option<Peer> {
        let size = self.job.size;
        self.lost().iter().find(|peer| peer.0 < size).copied()
    }

    /// Whether a peer is known to be dead.
    pub fn is_lost(&mut self, peer: Option<Peer>) -> bool {
        peer.is_some_and(|peer| self.lost().contains(&peer))
    }

    /// A communicator by code.
    #[inline]
    pub fn comm(&self, code: Code) -> Option<&CommRef> {
        match code {
            COMM_WORLD => Some(&self.world),
            COMM_SELF => Some(&self.comm_self),
            _ => self.comms.get(code),
        }
    }

    /// A context that no other process of the job proposes: this process's index, then a counter.
    /// The members of a new communicator take the one that their rank 0 proposes
    /// (docs/decisions/0001-context-ids.md). Never reused.
    pub fn propose_context(&mut self) -> Result<u32> {
        let numbers = universe::CONTEXT_FIRST / CONTEXT_SPAN - SELF_CONTEXT;
        let per_process = numbers / self.job.size.max(1);
        if self.next_context >= per_process {
            return error(
                class::OTHER,
                format!("no communication context is left: this process made {per_process}"),
            );
        }
        let number = self.job.rank * per_process + self.next_context;
        self.next_context += 1;
        Ok(2 * SELF_CONTEXT + number * CONTEXT_SPAN)
    }
}

/// What MPI_Init found out.
pub struct Started {
    /// Granted thread level, canonical.
    pub provided: i32,
}

/// Joins the job and makes the runtime.
///
/// # Errors
/// Whatever [`bootstrap::attach`] says; a second library in this process.
pub fn start<A: Abi>(required: i32) -> Result<Started> {
    claim_process::<A>()?;
    let job = bootstrap::attach()?;
    if let Origin::Singleton { reason: Some(reason) } = &job.origin {
        eprintln!("strait: note: {reason}; this process runs as a job of one");
    }
    crate::leaks::is_asked()?;
    crate::fault::keep_going(strait_transport::config::switch("KEEP_GOING")?.unwrap_or(false));
    crate::collective::reproducible::settle()?;
    let wants_thread = strait_transport::config::switch("PROGRESS")?;
    if let Some(file) = strait_transport::config::text("TUNING")? {
        strait_collectives::select::load(file.as_ref()).map_err(|refused| {
            let help = "docs/selection.md describes the file that STRAIT_TUNING names";
            advise(class::OTHER, refused.to_string(), help)
        })?;
    }
    let worker = Worker::new(&job)?;
    job.node.register_call_names(crate::entry::BLOCKING_CALLS);
    let provided = required.clamp(0, THREAD_MULTIPLE);
    install_panic_hook(&job);
    let record_rank = job.local_rank;
    let mut runtime = Runtime::new(job, worker, provided);
    for comm in [runtime.world.clone(), runtime.comm_self.clone()] {
        runtime.register_comm(&comm);
    }
    runtime.job.node.record(record_rank).set_state(RankState::Running);
    // SAFETY: STATE is not RUNNING yet, so no call enters; MPI_Init itself may be called by only
    // one thread.
    unsafe { *PLACE.0.get() = Some(Box::new(runtime)) };
    LOCK.bias_to_me();
    let (before, after) = (progress_thread::before_fork, progress_thread::after_fork);
    // SAFETY: the child's handler is async-signal-safe: one store. The others run in this process,
    // which may do anything; they need no lock that the forking thread can hold.
    unsafe { libc::pthread_atfork(Some(before), Some(after), Some(mark_forked)) };
    // SYNC(runtime.state): publishes the runtime to the Acquire load in Entry::open.
    STATE.store(RUNNING, Ordering::Release);
    match wants_thread {
        None => progress_thread::leave_open(),
        Some(false) => {}
        Some(true) => {
            if let Some(mut entry) = Entry::open("MPI_Init") {
                progress_thread::start(&mut entry)?;
            }
        }
    }
    Ok(Started { provided })
}

/// In a forked child: MPI is not there (its rings are not mapped, the rank is its parent's).
unsafe extern "C" fn mark_forked() {
    if STATE.load(Ordering::Relaxed) == RUNNING {
        STATE.store(FORKED, Ordering::Relaxed);
    }
}

/// Refuses when the other library is already initialised in this process: each embeds a core.
fn claim_process<A: Abi>() -> Result {
    const CLAIM: &str = "STRAIT_LOADED_IN";
    let me = format!("{} {}", std::process::id(), A::SONAME);
    if let Ok(other) = std::env::var(CLAIM)
        && let Some((pid, soname)) = other.split_once(' ')
        && pid == std::process::id().to_string()
        && soname != A::SONAME
    {
        return Err(advise(
            class::OTHER,
            format!("{} and {soname} are both initialised in this process", A::SONAME),
            "build all parts of the program against the same one: e.g. rebuild mpi4py with \
             MPICC=<prefix>/bin/mpicc to use libmpi_abi.so.1 everywhere",
        ));
    }
    // SAFETY: the standard asks that MPI_Init runs before other threads use the environment.
    unsafe { std::env::set_var(CLAIM, me) };
    Ok(())
}

/// A panic of ours is a bug of ours: say so where mpiexec finds it, then abort.
fn install_panic_hook(job: &Job) {
    let (node, local, rank) = (job.node.clone(), job.local_rank, job.world_rank);
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|l| format!("{}:{}", l.file(), l.line()));
        let why = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|s| s.to_string())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let text = format!(
            "internal error of Strait on rank {rank} at {}: {why}",
            place.unwrap_or_default()
        );
        node.record(local).leave_report(&text);
        eprintln!("strait: {text}");
    }));
}

/// Takes the runtime down. The caller has completed all communication.
///
/// # Safety
/// The caller holds [`LOCK`] and uses no reference into the runtime afterwards.
pub unsafe fn stop() {
    // SYNC(runtime.state): later calls see FINALIZED before they look at the runtime.
    STATE.store(FINALIZED, Ordering::Release);
    // SAFETY: the caller's promise.
    let runtime = unsafe { (*PLACE.0.get()).take() };
    if let Some(mut runtime) = runtime {
        runtime.worker.end();
        // Whoever calls a port from now on is refused at once.
        runtime.ports.clear();
        runtime.job.node.record(runtime.job.local_rank).set_state(RankState::Finalized);
        bootstrap::finalize(&runtime.job);
        // Deliberately not unmapped or freed: user memory may still be referenced by requests that
        // were never completed, and the process is about to end.
        std::mem::forget(runtime);
    }
}
