// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The key-value space of launchers that speak PMIx: Open MPI's mpirun and prterun, and
//! `srun --mpi=pmix`. PMIx's wire is its own affair, so its library is opened where such a launcher
//! is found, and asked by its C interface.
//!
//! Invariants:
//! 1. Only the process that the launcher meant connects to it: a process that a rank starts
//!    inherits the rank's variables, and is kept off by [`keyspace::hold_place`].
//! 2. A value that the library hands out is copied and freed at once.
//! 3. No rank joins where its values of an earlier program lie about (PMIx 5 keeps them, 4.2 does
//!    not): addresses of then would be taken for those of now.
//! 4. Nothing waits for ever for one value: a question has a time limit, which the library keeps.
//!
//! Not here: what the space is used for (keyspace.rs); groups, events, spawning.

mod library;
pub mod sys;

use super::keyspace::{self, Joined, KeySpace};
use crate::error::{Error, Kind, Result};
use library::Library;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use sys::{pmix_info_t, pmix_proc_t, pmix_value_data, pmix_value_t};

/// How long the library may look for a value of another process.
const GET_SECONDS: c_int = 60;

/// What a rank that has joined puts first.
const KEY_OF_PRESENCE: &CStr = c"strait-here";

/// The variables of a process that a PMIx launcher started.
const ENV_JOB: &str = "PMIX_NAMESPACE";
const ENV_RANK: &str = "PMIX_RANK";
/// Where its server listens: one variable for each version that the server understands.
const ENV_SERVER: &[&str] = &[
    "PMIX_SERVER_URI5",
    "PMIX_SERVER_URI41",
    "PMIX_SERVER_URI4",
    "PMIX_SERVER_URI3",
    "PMIX_SERVER_URI21",
    "PMIX_SERVER_URI2",
];
/// Processes in the job, where Open MPI's mpirun says it.
const ENV_SIZE: &str = "OMPI_COMM_WORLD_SIZE";

struct Client {
    library: Library,
    me: pmix_proc_t,
}

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::new(Kind::Bootstrap(text)))
}

/// Joins, if the environment names a PMIx server and the job is one of several processes.
pub(super) fn join(variable: &dyn Fn(&str) -> Option<String>) -> Result<Joined> {
    let (Some(job), Some(rank)) = (variable(ENV_JOB), variable(ENV_RANK)) else {
        return Ok(Joined::Nobody);
    };
    let is_alone = variable(ENV_SIZE).is_some_and(|size| size.trim() == "1");
    if is_alone || !ENV_SERVER.iter().any(|name| variable(name).is_some()) {
        return Ok(Joined::Nobody);
    }
    let Some(place) = keyspace::hold_place(&job, &rank)? else {
        return Ok(keyspace::not_meant(ENV_JOB, &job, &rank));
    };
    let library = Library::open(variable)?;
    let mut client = Client::begin(library)?;
    let (rank, size) = (client.me.rank, client.size()?);
    if size < 2 {
        client.finalize()?;
        return Ok(Joined::Nobody);
    }
    if rank >= size {
        return refuse(format!("the launcher calls this process rank {rank} of {size}"));
    }
    client.come_once()?;
    let joined = keyspace::join(Box::new(client), rank, size)?;
    // For the life of the process.
    std::mem::forget(place);
    Ok(joined)
}

impl KeySpace for Client {
    fn local_ranks(&mut self) -> Result<Vec<u32>> {
        let value = self.ask(self.all(), sys::PMIX_LOCAL_PEERS, &[patience()])?;
        let Some(Value::Text(text)) = value else {
            return refuse(
                "the launcher does not say which ranks share a host (PMIX_LOCAL_PEERS)\n  help: \
                 start the program with the mpiexec of Strait"
                    .to_owned(),
            );
        };
        let numbers = text.split(',').map(|word| word.trim().parse::<u32>());
        let Ok(mut ranks) = numbers.collect::<std::result::Result<Vec<u32>, _>>() else {
            return refuse(format!("the launcher lists the ranks of this host as `{text}`"));
        };
        ranks.sort_unstable();
        Ok(ranks)
    }

    fn hosts_of_ranks(&mut self) -> Result<Option<Vec<u32>>> {
        let Some(names) = self.names_of_hosts() else { return Ok(None) };
        let mut host_of: Vec<Option<u32>> = vec![None; self.size()? as usize];
        for (name, host) in names.split(',').zip(0..) {
            for rank in self.ranks_on(&c_string(name)?) {
                let Some(place) = host_of.get_mut(rank as usize) else { return Ok(None) };
                *place = Some(host);
            }
        }
        // A launcher that leaves some out has told nothing.
        Ok(host_of.into_iter().collect())
    }

    fn value_bytes_max(&self) -> usize {
        // PMIx sets no limit.
        usize::MAX
    }

    fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let (key, text) = (c_string(key)?, c_string(value)?);
        let data = pmix_value_data { string: text.as_ptr().cast_mut() };
        let mut value = pmix_value_t { r#type: sys::PMIX_STRING, data };
        // SAFETY: a key and a value of type PMIX_STRING that live through the call; the library
        // copies both, and changes neither.
        let status = unsafe { (self.library.put)(sys::PMIX_GLOBAL, key.as_ptr(), &mut value) };
        self.check("PMIx_Put", status)
    }

    fn fence(&mut self) -> Result<()> {
        // SAFETY: the library is initialised.
        let status = unsafe { (self.library.commit)() };
        self.check("PMIx_Commit", status)?;
        // SAFETY: no list of processes means all of the job, no list of wishes none.
        let status = unsafe { (self.library.fence)(ptr::null(), 0, ptr::null(), 0) };
        self.check("PMIx_Fence", status)
    }

    fn get(&mut self, owner: u32, key: &str) -> Result<Option<String>> {
        let process = pmix_proc_t { rank: owner, ..self.me };
        match self.ask(process, &c_string(key)?, &[patience()])? {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Number(_)) | None => Ok(None),
        }
    }

    fn finalize(&mut self) -> Result<()> {
        // SAFETY: the library is initialised, and nothing is asked of it after this.
        let status = unsafe { (self.library.finalize)(ptr::null(), 0) };
        self.check("PMIx_Finalize", status)
    }

    fn abort(&mut self, code: i32) {
        let text = c"a rank asked for the end of the job";
        // SAFETY: a constant text; no list of processes means all of the job. If the launcher does
        // not hear it, our end tells it.
        unsafe { (self.library.abort)(code, text.as_ptr(), ptr::null_mut(), 0) };
    }
}

/// A value that we can read.
enum Value {
    Text(String),
    Number(u32),
}

impl Client {
    fn begin(library: Library) -> Result<Client> {
        let nobody = pmix_proc_t { nspace: [0; sys::PMIX_MAX_NSLEN + 1], rank: 0 };
        let mut client = Client { library, me: nobody };
        // SAFETY: the process that it fills in is ours, and there are no wishes.
        let status = unsafe { (library.init)(&mut client.me, ptr::null_mut(), 0) };
        client.check("PMIx_Init", status)?;
        Ok(client)
    }

    fn size(&mut self) -> Result<u32> {
        match self.ask(self.all(), sys::PMIX_JOB_SIZE, &[patience()])? {
            Some(Value::Number(size)) => Ok(size),
            _ => refuse("the launcher does not say how many processes the job has".to_owned()),
        }
    }

    /// The hosts of the job, with commas between them.
    fn names_of_hosts(&self) -> Option<String> {
        let mut found: *mut c_char = ptr::null_mut();
        // SAFETY: the name of our job, ended by zero; `found` is set to a string that is ours then.
        let status = unsafe { (self.library.resolve_nodes)(self.me.nspace.as_ptr(), &mut found) };
        if status != sys::PMIX_SUCCESS || found.is_null() {
            return None;
        }
        // SAFETY: a string that ends with zero and is ours.
        let copied = unsafe { CStr::from_ptr(found) }.to_string_lossy().into_owned();
        // SAFETY: PMIx makes its strings by malloc, and its own users free them so.
        unsafe { libc::free(found.cast()) };
        Some(copied)
    }

    /// The ranks of the job on a host; none if the launcher does not say.
    fn ranks_on(&self, host: &CStr) -> Vec<u32> {
        let (mut found, mut count) = (ptr::null_mut::<pmix_proc_t>(), 0_usize);
        let job = self.me.nspace.as_ptr();
        let resolve = self.library.resolve_peers;
        // SAFETY: two names, ended by zero; `found` is set to so many processes, ours then.
        let status = unsafe { resolve(host.as_ptr(), job, &mut found, &mut count) };
        if status != sys::PMIX_SUCCESS || found.is_null() {
            return Vec::new();
        }
        // SAFETY: as many processes as the library said, in memory that nobody else has.
        let processes = unsafe { std::slice::from_raw_parts(found, count) };
        let ranks = processes.iter().map(|process| process.rank).collect();
        // SAFETY: PMIx makes its lists by malloc, and its own macros free them so.
        unsafe { libc::free(found.cast()) };
        ranks
    }

    /// All processes of the job.
    fn all(&self) -> pmix_proc_t {
        pmix_proc_t { rank: sys::PMIX_RANK_WILDCARD, ..self.me }
    }

    /// Refuses the second program of a rank (invariant 3).
    fn come_once(&mut self) -> Result<()> {
        let at_once = pmix_value_data { flag: true };
        let at_once = wish(sys::PMIX_IMMEDIATE, sys::PMIX_BOOL, at_once);
        // A launcher that does not know this wish answers what it likes: then nothing is known.
        if let Ok(Some(_)) = self.ask(self.me, KEY_OF_PRESENCE, &[at_once, patience()]) {
            return refuse(format!(
                "rank {} ran a program with MPI before\n  help: {}",
                self.me.rank,
                keyspace::ONE_PROGRAM
            ));
        }
        self.put(&KEY_OF_PRESENCE.to_string_lossy(), "1")
    }

    /// A value of a process, or of the job; `None` if it is not there in time.
    fn ask(
        &self,
        process: pmix_proc_t,
        key: &CStr,
        wishes: &[pmix_info_t],
    ) -> Result<Option<Value>> {
        let (list, count) = (wishes.as_ptr(), wishes.len());
        let mut found: *mut pmix_value_t = ptr::null_mut();
        // SAFETY: process, key and wishes live through the call; `found` is set to a value that is
        // ours then.
        let status = unsafe { (self.library.get)(&process, key.as_ptr(), list, count, &mut found) };
        match status {
            sys::PMIX_SUCCESS if !found.is_null() => {}
            sys::PMIX_SUCCESS | sys::PMIX_ERR_NOT_FOUND | sys::PMIX_ERR_TIMEOUT => return Ok(None),
            _ => return self.check("PMIx_Get", status).map(|()| None),
        }
        // SAFETY: the library filled it in, and nobody else has it.
        let value = unsafe { take(found) };
        match value {
            Some(value) => Ok(Some(value)),
            None => refuse(format!("the launcher's {} has a strange type", key.to_string_lossy())),
        }
    }

    fn check(&self, what: &str, status: c_int) -> Result<()> {
        if status == sys::PMIX_SUCCESS {
            return Ok(());
        }
        refuse(format!("the launcher refused {what}: {}", self.library.words(status)))
    }
}

/// Copies a value and frees it. `None` for a type that we never ask for, whose parts stay.
///
/// # Safety
/// `found` points to a value from the library that nobody else uses.
unsafe fn take(found: *mut pmix_value_t) -> Option<Value> {
    // SAFETY: the caller's promise; a value always has a type.
    let kind = unsafe { (*found).r#type };
    let value = match kind {
        sys::PMIX_STRING => {
            // SAFETY: the member that belongs to this type.
            let text = unsafe { (*found).data.string };
            if text.is_null() {
                return None;
            }
            // SAFETY: a string that ends with zero and is ours.
            let copied = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
            // SAFETY: PMIx makes its strings by malloc, and its own macros free them so.
            unsafe { libc::free(text.cast()) };
            Some(Value::Text(copied))
        }
        // SAFETY: the member that belongs to this type.
        sys::PMIX_UINT32 => Some(Value::Number(unsafe { (*found).data.uint32 })),
        _ => None,
    };
    // SAFETY: PMIx makes its values by malloc, and its own macros free them so.
    unsafe { libc::free(found.cast()) };
    value
}

/// A wish about a question.
fn wish(name: &CStr, kind: u16, data: pmix_value_data) -> pmix_info_t {
    pmix_info_t { key: key_of(name), flags: 0, value: pmix_value_t { r#type: kind, data } }
}

/// ... that it has a time limit.
fn patience() -> pmix_info_t {
    wish(sys::PMIX_TIMEOUT, sys::PMIX_INT, pmix_value_data { integer: GET_SECONDS })
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).or_else(|_| refuse(format!("a zero byte in `{text}`")))
}

/// A key in the room that a wish has for it.
fn key_of(text: &CStr) -> [c_char; sys::PMIX_MAX_KEYLEN + 1] {
    let mut key = [0; sys::PMIX_MAX_KEYLEN + 1];
    for (to, from) in key.iter_mut().zip(text.to_bytes()) {
        *to = from.cast_signed() as c_char;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(set: &[(&str, &str)]) -> Result<Joined> {
        let variable = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        join(&variable)
    }

    #[test]
    fn nobody_where_no_server_is_named_or_the_job_is_of_one() {
        let server = ("PMIX_SERVER_URI4", "x;tcp4://127.0.0.1:1");
        let process = [("PMIX_NAMESPACE", "pmix-test-1"), ("PMIX_RANK", "0")];
        for set in [
            &[][..],
            &process[..],
            &[process[0], server][..],
            &[process[0], process[1], server, (ENV_SIZE, "1")][..],
        ] {
            assert!(matches!(joined(set), Ok(Joined::Nobody)), "{set:?}");
        }
    }

    #[test]
    fn what_a_rank_starts_is_not_the_rank() {
        let job = format!("pmix-test-{}", std::process::id());
        let place = keyspace::hold_place(&job, "3").expect("a name").expect("it is free");
        let set = [(ENV_JOB, job.as_str()), (ENV_RANK, "3"), ("PMIX_SERVER_URI4", "x")];
        assert!(matches!(joined(&set), Ok(Joined::NotMeant(why)) if why.contains("rank 3")));
        drop(place);
    }

    #[test]
    fn values_are_copied_and_freed() {
        let of = |kind, data| {
            // SAFETY: malloc gives room for one value, or null, which the test refuses.
            let value: *mut pmix_value_t =
                unsafe { libc::malloc(size_of::<pmix_value_t>()) }.cast();
            assert!(!value.is_null());
            // SAFETY: fresh memory of that size.
            unsafe { value.write(pmix_value_t { r#type: kind, data }) };
            // SAFETY: nobody else has it.
            unsafe { take(value) }
        };
        // SAFETY: a constant string.
        let string = unsafe { libc::strdup(c"0,1,2".as_ptr()) };
        let text = of(sys::PMIX_STRING, pmix_value_data { string });
        assert!(matches!(text, Some(Value::Text(text)) if text == "0,1,2"));
        let number = of(sys::PMIX_UINT32, pmix_value_data { uint32: 7 });
        assert!(matches!(number, Some(Value::Number(7))));
        assert!(of(sys::PMIX_INT, pmix_value_data { integer: 7 }).is_none());
    }
}
