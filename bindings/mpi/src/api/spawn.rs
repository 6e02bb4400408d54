// SPDX-License-Identifier: Apache-2.0 OR MIT
//! More processes while a job runs (MPI-5.0 section 11.8): the root asks mpiexec, which starts a
//! job of its own for them; their MPI_Init calls a port of the root's.

use crate::abi::Abi;
use crate::agreement::Circle;
use crate::api::arguments::{root as root_of, string};
use crate::api::communicator::{give_comm, info_of};
use crate::api::dynamic::open_port;
use crate::entry::{Entry, on_comm};
use crate::error::{MpiError, Result, advise, class, error, make};
use crate::meeting::{Party, establish_outside};
use crate::object::comm::CommRef;
use crate::object::info::InfoData;
use crate::port::{Line, Port};
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use strait_transport::bootstrap::contract::{Ask, SPAWN_OPTION, SPAWN_VERSION};
use strait_transport::bootstrap::service::{self, Request};

/// One program of a spawn.
struct Program {
    /// How many processes may be started.
    most: c_int,
    /// How many will be.
    count: c_int,
    /// The command and its arguments.
    words: Vec<Vec<u8>>,
    info: InfoData,
}

/// An array of C strings that ends with NULL, or is NULL.
///
/// # Safety
/// It is what it says.
unsafe fn arguments(argv: *const *mut c_char) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut at = argv;
    // SAFETY: every element up to the NULL is readable, says the caller.
    while !at.is_null() && !unsafe { *at }.is_null() {
        // SAFETY: as above, and each is a C string.
        let word = unsafe { CStr::from_ptr(*at) };
        found.push(word.to_bytes().to_vec());
        // SAFETY: the NULL was not there yet.
        at = unsafe { at.add(1) };
    }
    found
}

/// How many processes `soft` allows, at most `most` (MPI-5.0 section 11.8.4): a list of numbers and
/// of `a:b` or `a:b:c`.
fn soft_count(soft: &str, most: c_int) -> Option<c_int> {
    let mut best = None;
    for part in soft.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let numbers: Option<Vec<i64>> = part.split(':').map(|n| n.trim().parse().ok()).collect();
        let (first, last, step) = match numbers?[..] {
            [only] => (only, only, 1),
            [first, last] => (first, last, 1),
            [first, last, step] if step != 0 => (first, last, step),
            _ => return None,
        };
        // The largest member that is no more than `most`.
        let most = i64::from(most);
        let candidate = match step > 0 {
            true if first > most => continue,
            true => first + (last.min(most) - first).max(-1) / step * step,
            false if first <= most => first,
            false => {
                let steps = (first - most + (-step) - 1) / -step;
                first + steps * step
            }
        };
        let is_member = if step > 0 {
            (first..=last).contains(&candidate)
        } else {
            (last..=first).contains(&candidate)
        };
        if is_member && candidate >= 0 {
            best = best.max(Some(candidate as c_int));
        }
    }
    best
}

/// One program from its arguments.
///
/// # Safety
/// As MPI_Comm_spawn says.
unsafe fn program<A: Abi>(
    entry: &Entry,
    command: *const c_char,
    argv: *const *mut c_char,
    most: c_int,
    info: A::Handle,
) -> Result<Program> {
    // SAFETY: the caller's promise.
    let command = unsafe { string(command)? };
    if command.is_empty() {
        return error(class::ARG, "the command to spawn is empty");
    }
    if most <= 0 {
        return error(class::ARG, format!("maxprocs is {most}; it must be at least 1"));
    }
    let info = info_of::<A>(entry, info)?;
    let count = match info.get("soft") {
        None => most,
        Some(soft) => match soft_count(soft, most) {
            Some(count) if count > 0 => count,
            _ => {
                let text = format!("the info key soft is `{soft}`: no number from 1 to {most}");
                return error(class::INFO_VALUE, text);
            }
        },
    };
    let mut words = vec![command.into_bytes()];
    // SAFETY: the caller's promise.
    words.extend(unsafe { arguments(argv) });
    Ok(Program { most, count, words, info })
}

/// What mpiexec is asked (tools/src/mpiexec/spawned.rs reads it).
fn request_of(entry: &Entry, programs: &[Program], port: &str) -> Vec<Vec<u8>> {
    let number = |n: usize| n.to_string().into_bytes();
    let folder = std::env::current_dir().unwrap_or_default();
    let mut words = vec![
        SPAWN_VERSION.to_vec(),
        folder.into_os_string().into_encoded_bytes(),
        port.as_bytes().to_vec(),
        service::names_socket(&entry.job).unwrap_or_default().into_bytes(),
        number(programs.len()),
    ];
    for program in programs {
        words.push(number(program.count as usize));
        words.push(number(program.words.len()));
        words.extend(program.words.iter().cloned());
        words.push(number(program.info.len()));
        for (key, value) in program.info.iter() {
            words.extend([key.as_bytes().to_vec(), value.as_bytes().to_vec()]);
        }
    }
    words
}

fn not_spawned(problem: impl std::fmt::Display) -> Box<MpiError> {
    make(class::SPAWN, format!("no processes could be started: {problem}"))
}

/// Asks mpiexec, or starts one where this process has none of ours.
fn ask(entry: &mut Entry, request: &[Vec<u8>]) -> Result<Request> {
    if let Some(open) = Request::send(&entry.job, Ask::Spawn, request).map_err(not_spawned)? {
        return Ok(open);
    }
    let Some(program) = mpiexec_beside_us() else {
        return Err(advise(
            class::SPAWN,
            "this process has no mpiexec that could start others, and there is none beside its \
             library",
            "start the program with Strait's mpiexec, or keep bin and lib of the installation \
             together",
        ));
    };
    let (ours, theirs) = UnixStream::pair().map_err(not_spawned)?;
    let mut command = Command::new(&program);
    // It leaves a child that goes on, so that nobody has to wait for it.
    command.arg(SPAWN_OPTION).arg("detached").stdin(Stdio::from(OwnedFd::from(theirs)));
    let status = entry.outside(|| command.status());
    drop(command);
    match status {
        Ok(status) if status.success() => {
            Request::over(ours.into(), None, request).map_err(not_spawned)
        }
        Ok(status) => Err(not_spawned(format!("{} ended with {status}", program.display()))),
        Err(problem) => Err(not_spawned(format!("{}: {problem}", program.display()))),
    }
}

/// `<prefix>/bin/mpiexec`, if this library is in `<prefix>/lib`.
fn mpiexec_beside_us() -> Option<PathBuf> {
    let mut found: libc::Dl_info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    let own: fn() -> Option<PathBuf> = mpiexec_beside_us;
    // SAFETY: writes one record, ours; any address may be asked for.
    if unsafe { libc::dladdr(own as *const libc::c_void, &mut found) } == 0
        || found.dli_fname.is_null()
    {
        return None;
    }
    // SAFETY: the loader keeps this C string as long as the library is loaded, which we are.
    let name = unsafe { CStr::from_ptr(found.dli_fname) };
    let library = PathBuf::from(name.to_str().ok()?).canonicalize().ok()?;
    let program = library.parent()?.parent()?.join("bin/mpiexec");
    program.is_file().then_some(program)
}

/// The root's part: starts them, and waits for their call.
fn start(entry: &mut Entry, programs: Result<Vec<Program>>) -> Result<Line> {
    let programs = programs?;
    let port = open_port(entry)?;
    let line = start_and_accept(entry, &programs, &port);
    entry.ports.remove(&port);
    line
}

fn start_and_accept(entry: &mut Entry, programs: &[Program], port: &str) -> Result<Line> {
    let request = request_of(entry, programs, port);
    let mut open = ask(entry, &request)?;
    let command = String::from_utf8_lossy(&programs[0].words[0]).into_owned();
    let mut is_started = false;
    Port::accept(entry, port, || match open.look() {
        Ok(None) => Ok(()),
        Ok(Some(answer)) => match &answer[..] {
            [word] if word == b"started" && !is_started => {
                is_started = true;
                Ok(())
            }
            [word, text] if word == b"failed" => {
                error(class::SPAWN, String::from_utf8_lossy(text).into_owned())
            }
            _ => error(class::SPAWN, "mpiexec is of another version than the library"),
        },
        Err(_) if is_started => Err(advise(
            class::SPAWN,
            format!("the processes of `{command}` ended before all of them had called MPI_Init"),
            "a spawned program must call MPI_Init, and load the same MPI library",
        )),
        Err(problem) => Err(not_spawned(problem)),
    })
}

/// Both functions, once the root has read its arguments.
///
/// # Safety
/// `codes` is MPI_ERRCODES_IGNORE, or has an element for each process that the root asked for.
unsafe fn spawn<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    root: c_int,
    programs: Result<Vec<Program>>,
    (newcomm, codes): (*mut A::Handle, *mut c_int),
) -> Result {
    if comm.is_inter() {
        return error(class::COMM, "the communicator must be an intracommunicator");
    }
    let leader = root_of(comm, root)? as usize;
    let circle = Circle::of_local_group(comm);
    // How many codes each member gets: those of each program that will be there, and all.
    let mut numbers = [0; 4];
    let split: Vec<(c_int, c_int)> =
        programs.iter().flatten().map(|program| (program.count, program.most)).collect();
    if circle.me == leader {
        numbers = (split.len() as u32).to_le_bytes();
    }
    circle.bcast(entry, leader, &mut numbers)?;
    let flat = split.iter().flat_map(|(count, most)| [count.to_le_bytes(), most.to_le_bytes()]);
    let mut bytes: Vec<u8> = flat.flatten().collect();
    bytes.resize(8 * u32::from_le_bytes(numbers) as usize, 0);
    circle.bcast(entry, leader, &mut bytes)?;
    let line = match circle.me == leader {
        true => start(entry, programs),
        false => error(class::INTERN, "only the root has a line"),
    };
    let party = Party { group: &comm.group, leader, circle: &circle };
    let handler = comm.errhandler.borrow().clone();
    let new = establish_outside(entry, &party, line, handler);
    if !A::is_errcodes_ignore(codes) && !codes.is_null() {
        let word = |b: &[u8]| i32::from_le_bytes(b.try_into().expect("four bytes"));
        let mut at = codes;
        for pair in bytes.chunks_exact(8) {
            let count = if new.is_ok() { word(&pair[..4]) } else { 0 };
            for place in 0..word(&pair[4..]) {
                let code = if place < count { class::SUCCESS } else { class::SPAWN };
                // SAFETY: as many as the root asked for, says the caller.
                unsafe { *at = A::error_out(code) };
                // SAFETY: as above; one past the last at most.
                at = unsafe { at.add(1) };
            }
        }
    }
    // SAFETY: this function's own conditions.
    unsafe { give_comm::<A>(entry, Some(new?), newcomm)? };
    Ok(())
}

pub unsafe fn MPI_Comm_spawn<A: Abi>(
    command: *const c_char,
    argv: *const *mut c_char,
    maxprocs: c_int,
    info: A::Handle,
    root: c_int,
    comm: A::Handle,
    intercomm: *mut A::Handle,
    array_of_errcodes: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Comm_spawn", comm, |entry, comm| {
        let programs = match comm.rank as c_int == root {
            // SAFETY: this function's own conditions.
            true => unsafe { program::<A>(entry, command, argv, maxprocs, info) }.map(|p| vec![p]),
            false => Ok(Vec::new()),
        };
        // SAFETY: this function's own conditions.
        unsafe { spawn::<A>(entry, comm, root, programs, (intercomm, array_of_errcodes)) }
    })
}

pub unsafe fn MPI_Comm_spawn_multiple<A: Abi>(
    count: c_int,
    array_of_commands: *const *mut c_char,
    array_of_argv: *const *mut *mut c_char,
    array_of_maxprocs: *const c_int,
    array_of_info: *const A::Handle,
    root: c_int,
    comm: A::Handle,
    intercomm: *mut A::Handle,
    array_of_errcodes: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Comm_spawn_multiple", comm, |entry, comm| {
        let one = |at: usize| {
            // SAFETY: the arrays have `count` elements at the root, says the caller; that of
            // arguments may be MPI_ARGVS_NULL, which is NULL.
            unsafe {
                let argv = match array_of_argv.is_null() {
                    true => std::ptr::null(),
                    false => (*array_of_argv.add(at)).cast_const(),
                };
                let (command, info) = (*array_of_commands.add(at), *array_of_info.add(at));
                program::<A>(entry, command, argv, *array_of_maxprocs.add(at), info)
            }
        };
        let programs = match comm.rank as c_int == root {
            true if count <= 0 => {
                error(class::COUNT, format!("the count is {count}; it must be at least 1"))
            }
            true => (0..count as usize).map(one).collect(),
            false => Ok(Vec::new()),
        };
        // SAFETY: this function's own conditions.
        unsafe { spawn::<A>(entry, comm, root, programs, (intercomm, array_of_errcodes)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_is_the_largest_number_that_is_allowed() {
        assert_eq!(soft_count("3", 4), Some(3));
        assert_eq!(soft_count("5", 4), None);
        assert_eq!(soft_count("1:9", 4), Some(4));
        assert_eq!(soft_count("1:9:2", 4), Some(3));
        assert_eq!(soft_count("2, 8, 3:3", 7), Some(3));
        assert_eq!(soft_count("9:0:-3", 4), Some(3));
        assert_eq!(soft_count("4:1:-1", 9), Some(4));
        assert_eq!(soft_count("0:2:5", 4), Some(0));
        assert_eq!(soft_count("some", 4), None);
        assert_eq!(soft_count("1:4:0", 4), None);
    }
}
