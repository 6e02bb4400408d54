// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starts one process as fast as posix_spawn does, with three things posix_spawn cannot do: the
//! parent-death signal with its re-check, a processor set, and a restored descriptor limit.
//!
//! The child is made by clone(CLONE_VM | CLONE_VFORK): it runs on a stack of its own in our memory
//! while the only thread of mpiexec is suspended, until execve or _exit.
//!
//! Invariants of the child (`child` below):
//! 1. It calls system-call wrappers only: no allocation, no lock, no panic, no destructor.
//! 2. All it reads was built before the clone and is not changed while it runs.
//! 3. It writes one word of shared memory, the errno of the step that failed.
//! 4. No signal handler of ours can run in it: mpiexec installs none (signals come by signalfd).

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Bytes of the child's stack: the deepest user is the C library's execve wrapper.
const STACK_BYTES: usize = 64 * 1024;

/// What does not differ between ranks.
pub struct Spawner {
    stack: *mut c_void,
    parent: libc::pid_t,
    mask: libc::sigset_t,
    limit: Option<libc::rlimit>,
}

/// What differs.
pub struct Start<'a> {
    /// The file to execute.
    pub path: &'a CStr,
    /// Its arguments.
    pub argv: &'a [CString],
    /// Its environment, in two parts.
    pub env: [&'a [CString]; 2],
    /// Where it runs.
    pub directory: Option<&'a CStr>,
    /// Its standard input; `None` inherits ours.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Its standard output and error.
    pub outputs: [BorrowedFd<'a>; 2],
    /// Descriptors that keep their numbers through execve.
    pub kept: [BorrowedFd<'a>; 2],
    /// Its processors.
    pub processors: Option<&'a [u32]>,
}

/// A step of the child that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// chdir.
    Directory,
    /// sched_setaffinity.
    Affinity,
    /// execve.
    Execute,
    /// clone itself, or a descriptor.
    Process,
}

/// What the child sees.
struct Image {
    path: *const c_char,
    argv: *const *const c_char,
    env: *const *const c_char,
    directory: *const c_char,
    stdin: c_int,
    outputs: [c_int; 2],
    kept: [c_int; 2],
    processors: Option<libc::cpu_set_t>,
    parent: libc::pid_t,
    mask: libc::sigset_t,
    limit: Option<libc::rlimit>,
    failed: Cell<Option<(Step, c_int)>>,
}

impl Spawner {
    /// Prepares. `mask` is the signal mask that the ranks get, `limit` their descriptor limit.
    ///
    /// # Errors
    /// No memory for a stack.
    pub fn new(mask: libc::sigset_t, limit: Option<libc::rlimit>) -> io::Result<Spawner> {
        // SAFETY: a fresh anonymous mapping; no existing memory is touched.
        let stack = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if stack == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: getpid cannot fail and touches no memory.
        let parent = unsafe { libc::getpid() };
        Ok(Spawner { stack, parent, mask, limit })
    }

    /// Starts a process and returns its id.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub fn start(&self, start: &Start<'_>) -> Result<u32, (Step, io::Error)> {
        let argv = pointers(&[start.argv]);
        let env = pointers(&start.env);
        let image = Image {
            path: start.path.as_ptr(),
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            directory: start.directory.map_or(ptr::null(), CStr::as_ptr),
            stdin: start.stdin.map_or(-1, |fd| fd.as_raw_fd()),
            outputs: start.outputs.map(|fd| fd.as_raw_fd()),
            kept: start.kept.map(|fd| fd.as_raw_fd()),
            processors: start.processors.map(processor_set),
            parent: self.parent,
            mask: self.mask,
            limit: self.limit,
            failed: Cell::new(None),
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the end of a mapping of STACK_BYTES, one past its last byte.
        let top = unsafe { self.stack.byte_add(STACK_BYTES) };
        // SAFETY: `child` keeps the invariants in the head of this file; its stack is mapped, used
        // by nobody else (CLONE_VFORK suspends us until the child has left it), and `image` with
        // all it points to outlives the call.
        let pid = unsafe { libc::clone(child, top, flags, (&raw const image).cast_mut().cast()) };
        if pid < 0 {
            return Err((Step::Process, io::Error::last_os_error()));
        }
        if let Some((step, errno)) = image.failed.get() {
            // SAFETY: our own child, which has ended: this only removes it.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            return Err((step, io::Error::from_raw_os_error(errno)));
        }
        Ok(pid.unsigned_abs())
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; no child runs on it, since `start` returns after they left.
        unsafe { libc::munmap(self.stack, STACK_BYTES) };
    }
}

fn pointers(parts: &[&[CString]]) -> Vec<*const c_char> {
    let all = parts.iter().flat_map(|part| part.iter()).map(|text| text.as_ptr());
    all.chain([ptr::null()]).collect()
}

fn processor_set(processors: &[u32]) -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in processors.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as u32) {
        // SAFETY: `set` is ours, and the index is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(*cpu as usize, &mut set) };
    }
    set
}

/// The child. Returns only what _exit would be given.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `start` passes a pointer to an Image that lives until we leave its memory.
    let image = unsafe { &*argument.cast::<Image>() };
    let step = prepare(image).err().unwrap_or_else(|| {
        // SAFETY: three valid, NULL-terminated C arrays; on success this does not return.
        unsafe { libc::execve(image.path, image.argv, image.env) };
        Step::Execute
    });
    image.failed.set(Some((step, errno())));
    // SAFETY: ends this process without destructors, which belong to the parent.
    unsafe { libc::_exit(127) }
}

fn errno() -> c_int {
    // SAFETY: the address of this thread's errno; the suspended parent does not use it.
    unsafe { *libc::__errno_location() }
}

/// Everything before execve.
fn prepare(image: &Image) -> Result<(), Step> {
    let ok = |result: c_int, step: Step| if result < 0 { Err(step) } else { Ok(()) };
    // SAFETY: sets an attribute of this process only.
    ok(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }, Step::Process)?;
    // The parent may have died before the line above: then nobody would ever kill us.
    // SAFETY: getppid cannot fail.
    if unsafe { libc::getppid() } != image.parent {
        // SAFETY: ends this process; nobody is left to be told.
        unsafe { libc::_exit(127) };
    }
    if let Some(limit) = &image.limit {
        // SAFETY: reads one rlimit; changes this process only.
        ok(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) }, Step::Process)?;
    }
    if !image.directory.is_null() {
        // SAFETY: a valid C string.
        ok(unsafe { libc::chdir(image.directory) }, Step::Directory)?;
    }
    if let Some(set) = &image.processors {
        // SAFETY: a set of the stated size; changes this process only.
        let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
        ok(result, Step::Affinity)?;
    }
    // The sources are above 2 (the runtime keeps 0 to 2 open), so no copy destroys a later source.
    for (source, target) in [image.stdin, image.outputs[0], image.outputs[1]].into_iter().zip(0..) {
        if source >= 0 {
            // SAFETY: the descriptor table is this process's own copy.
            ok(unsafe { libc::dup2(source, target) }, Step::Process)?;
        }
    }
    for fd in image.kept {
        // SAFETY: clears close-on-exec in this process's own table.
        ok(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }, Step::Process)?;
    }
    // Rust's runtime ignores SIGPIPE in mpiexec; an ignored signal would stay so through execve.
    // SAFETY: sets a disposition of this process only (no CLONE_SIGHAND).
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: reads one signal set; changes this process only.
    ok(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &image.mask, ptr::null_mut()) }, Step::Process)
}
