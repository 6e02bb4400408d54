// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two jobs become one: ports, connections, names (MPI-5.0 sections 11.9 and 11.10).

use crate::abi::Abi;
use crate::agreement::Circle;
use crate::api::arguments::{out, put_string, string};
use crate::api::communicator::{give_comm, info_of};
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{MpiError, Result, advise, class, error, make};
use crate::meeting::{Party, establish_outside};
use crate::object::comm::{Comm, CommRef};
use crate::object::group::Group;
use crate::port::{Line, Port};
use std::ffi::{c_char, c_int};
use std::os::fd::BorrowedFd;
use strait_transport::bootstrap::contract::Ask;
use strait_transport::bootstrap::service::Request;

/// Opens a port of this process; its name.
pub(crate) fn open_port(entry: &mut Entry) -> Result<String> {
    let ip = entry.outer_ip()?;
    let port = Port::open(ip)?;
    let name = port.name();
    entry.ports.insert(name.clone(), port);
    Ok(name)
}

pub unsafe fn MPI_Open_port<A: Abi>(info: A::Handle, port_name: *mut c_char) -> c_int {
    on_process::<A>("MPI_Open_port", |entry| {
        info_of::<A>(entry, info)?;
        let into = out(port_name, "port_name")?;
        let name = open_port(entry)?;
        // SAFETY: the array has MPI_MAX_PORT_NAME bytes, says the caller.
        unsafe { put_string(&name, into, A::LIMITS.port_name) };
        Ok(())
    })
}

pub unsafe fn MPI_Close_port<A: Abi>(port_name: *const c_char) -> c_int {
    on_process::<A>("MPI_Close_port", |entry| {
        // SAFETY: a C string, says the caller.
        let name = unsafe { string(port_name)? };
        match entry.ports.remove(&name) {
            Some(_) => Ok(()),
            None => Err(advise(
                class::PORT,
                format!("the port `{name}` is not open in this process"),
                "pass a name that MPI_Open_port gave to this process, and close it once",
            )),
        }
    })
}

/// The root's part of an accept or a connect, and what all members do with it.
fn meet(
    entry: &mut Entry,
    comm: &CommRef,
    root: c_int,
    line: impl FnOnce(&mut Entry) -> Result<Line>,
) -> Result<Comm> {
    if comm.is_inter() {
        return error(class::COMM, "the communicator must be an intracommunicator");
    }
    let leader = crate::api::arguments::root(comm, root)? as usize;
    let circle = Circle::of_local_group(comm);
    let line = match circle.me == leader {
        true => line(entry),
        false => error(class::INTERN, "only the root has a line"),
    };
    let party = Party { group: &comm.group, leader, circle: &circle };
    let handler = comm.errhandler.borrow().clone();
    establish_outside(entry, &party, line, handler)
}

/// A port name, which matters at the root alone.
///
/// # Safety
/// At the root `name` is null or a C string.
unsafe fn root_string(comm: &CommRef, root: c_int, name: *const c_char) -> Result<String> {
    if comm.rank as c_int != root {
        return Ok(String::new());
    }
    // SAFETY: the caller's promise.
    unsafe { string(name) }
}

pub unsafe fn MPI_Comm_accept<A: Abi>(
    port_name: *const c_char,
    info: A::Handle,
    root: c_int,
    comm: A::Handle,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_accept", comm, |entry, comm| {
        // SAFETY: a C string at the root, says the caller.
        let name = unsafe { root_string(comm, root, port_name) };
        let info = info_of::<A>(entry, info);
        let new = meet(entry, comm, root, |entry| {
            info?;
            Port::accept(entry, &name?, || Ok(()))
        })?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newcomm)? };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_connect<A: Abi>(
    port_name: *const c_char,
    info: A::Handle,
    root: c_int,
    comm: A::Handle,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_connect", comm, |entry, comm| {
        // SAFETY: a C string at the root, says the caller.
        let name = unsafe { root_string(comm, root, port_name) };
        let info = info_of::<A>(entry, info);
        let new = meet(entry, comm, root, |entry| {
            info?;
            Line::call(entry, &name?)
        })?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newcomm)? };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_join<A: Abi>(fd: c_int, intercomm: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Comm_join", |entry| {
        // SAFETY: F_GETFD on a number that may not be open answers EBADF and does nothing else.
        if fd < 0 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return error(class::ARG, format!("the descriptor {fd} is not open"));
        }
        // SAFETY: it is open, and the user keeps it so during the call.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        let line = Line::beside(socket)
            .map_err(|problem| make(class::OTHER, format!("the socket {fd}: {problem}")))?;
        let me = entry.me();
        let group = Group::new(vec![me], me);
        let comm_self = entry.comm_self.clone();
        let circle = Circle::of_local_group(&comm_self);
        let party = Party { group: &group, leader: 0, circle: &circle };
        let handler = comm_self.errhandler.borrow().clone();
        let new = establish_outside(entry, &party, Ok(line), handler)?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), intercomm)? };
        Ok(())
    })
}

/// What mpiexec answers about a name; a process without mpiexec keeps its own.
fn ask_names(entry: &mut Entry, words: &[&str]) -> Result<Vec<String>> {
    let request: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let failed = |problem: strait_transport::error::Error| -> Box<MpiError> {
        make(class::SERVICE, format!("mpiexec, which keeps the names, is out of reach: {problem}"))
    };
    match Request::send(&entry.job, Ask::Names, &request).map_err(failed)? {
        Some(mut request) => {
            let answer = entry.outside(|| request.wait()).map_err(failed)?;
            Ok(answer.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
        }
        None => Ok(entry.universe.names.serve(words)),
    }
}

/// A sentence for what mpiexec refused.
fn refused<T>(code: i32, answer: &[String], otherwise: String) -> Result<T> {
    match answer {
        [word, text] if word == "failed" => error(code, text.clone()),
        _ => error(code, otherwise),
    }
}

/// Has mpiexec change its names; `otherwise`: why it did not, if it does not say so itself.
fn change_names(entry: &mut Entry, words: &[&str], otherwise: String) -> Result {
    let answer = ask_names(entry, words)?;
    match answer.first().map(String::as_str) {
        Some("ok") => Ok(()),
        _ => refused(class::SERVICE, &answer, otherwise),
    }
}

pub unsafe fn MPI_Publish_name<A: Abi>(
    service_name: *const c_char,
    info: A::Handle,
    port_name: *const c_char,
) -> c_int {
    on_process::<A>("MPI_Publish_name", |entry| {
        info_of::<A>(entry, info)?;
        // SAFETY: C strings, says the caller.
        let (service, port) = unsafe { (string(service_name)?, string(port_name)?) };
        let otherwise = format!("the name `{service}` is published already: unpublish it first");
        change_names(entry, &["publish", &service, &port], otherwise)
    })
}

pub unsafe fn MPI_Unpublish_name<A: Abi>(
    service_name: *const c_char,
    info: A::Handle,
    port_name: *const c_char,
) -> c_int {
    on_process::<A>("MPI_Unpublish_name", |entry| {
        info_of::<A>(entry, info)?;
        // SAFETY: C strings, says the caller.
        let (service, port) = unsafe { (string(service_name)?, string(port_name)?) };
        let otherwise = format!("the name `{service}` is not published with this port");
        change_names(entry, &["unpublish", &service, &port], otherwise)
    })
}

pub unsafe fn MPI_Lookup_name<A: Abi>(
    service_name: *const c_char,
    info: A::Handle,
    port_name: *mut c_char,
) -> c_int {
    on_process::<A>("MPI_Lookup_name", |entry| {
        info_of::<A>(entry, info)?;
        let into = out(port_name, "port_name")?;
        // SAFETY: a C string, says the caller.
        let service = unsafe { string(service_name)? };
        let answer = ask_names(entry, &["lookup", &service])?;
        match &answer[..] {
            [word, port] if word == "ok" => {
                // SAFETY: the array has MPI_MAX_PORT_NAME bytes, says the caller.
                unsafe { put_string(port, into, A::LIMITS.port_name) };
                Ok(())
            }
            _ => refused(
                class::NAME,
                &answer,
                format!("nobody has published the name `{service}` under this mpiexec"),
            ),
        }
    })
}

/// The communicator handle of the parents, if processes of another job spawned this one.
pub(crate) fn meet_parents(entry: &mut Entry) -> Result {
    let Some(port) = strait_transport::bootstrap::service::parent_port(&entry.job) else {
        return Ok(());
    };
    let world = entry.world.clone();
    let new = meet(entry, &world, 0, |entry| Line::call(entry, &port))?;
    *new.name.borrow_mut() = "MPI_COMM_PARENT".into();
    let comm = std::rc::Rc::new(new);
    let code = entry.comms.insert(comm.clone());
    if let Some(code) = code {
        comm.code.set(code);
        // Messages about failures can name it from now on.
        entry.register_comm(&comm);
    }
    entry.parent = code;
    Ok(())
}
