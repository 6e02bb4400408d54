// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins a job of another launcher that speaks PMI-1 over an inherited socket: the hydra of MPICH
//! and of Intel MPI, and `srun --mpi=pmi2`, whose plugin answers PMI-1, too.
//!
//! The protocol is lines of `key=value` words, one request and one answer at a time. What is
//! published becomes visible by the barrier, which is the only collective:
//!
//! 1. The first rank of each host makes the host's node memory and publishes where it is (process
//!    and descriptor); rank 0 publishes the identity and the key of the job. Barrier.
//! 2. All read both, and open the memory through `/proc`.
//! 3. Only if the job spans hosts: each publishes its TCP address when it has one. Barrier. The
//!    addresses of others are asked for when they are needed.
//!
//! Nobody of ours watches these processes: deaths are noticed by their peers (lane::shm::death).
//!
//! Not here: PMI-2's own syntax, PMIx, spawning.

use super::{Job, Origin, enter, from_hex, inherited};
use crate::error::{Error, Kind, Result};
use crate::node::{Claim, FAR_ADDRESS_BYTES_MAX, Node, NodePlan, RankState};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fmt::Write;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long the launcher has to pass on what was written before an abort.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long the first rank of a host waits for the others after the fence, and between two looks.
const OTHERS_TIME: Duration = Duration::from_secs(60);
const OTHERS_PAUSE: Duration = Duration::from_micros(100);

/// Longest answer: a value of 4096 bytes and some words.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The connection of this process, from MPI_Init on.
static CONNECTION: OnceLock<Mutex<Pmi>> = OnceLock::new();

/// How an attempt to join ended, when it did not fail.
pub(super) enum Joined {
    /// This process is a rank of such a job.
    Rank(Box<Job>),
    /// There is no such launcher, or its socket is not open here.
    Nobody,
}

struct Pmi {
    socket: OwnedFd,
    /// Name of the job's key-value space.
    space: String,
    finalized: bool,
}

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::new(Kind::Bootstrap(text)))
}

/// Joins, if the environment names a PMI socket and several processes.
pub(super) fn join(variable: &dyn Fn(&str) -> Option<String>) -> Result<Joined> {
    let number = |name: &str| variable(name).and_then(|text| text.trim().parse::<u32>().ok());
    let found = (variable("PMI_FD"), number("PMI_RANK"), number("PMI_SIZE"));
    let (Some(descriptor), Some(rank), Some(size)) = found else { return Ok(Joined::Nobody) };
    if size < 2 || rank >= size || variable("OMPI_COMM_WORLD_RANK").is_some() {
        return Ok(Joined::Nobody);
    }
    // A descriptor that is closed here is an error for who looks next: never N jobs of one.
    let is_socket = |fd: BorrowedFd<'_>| rustix::net::sockopt::socket_type(fd).is_ok();
    let raw = descriptor.trim().parse::<RawFd>().ok().filter(|raw| *raw > 2);
    let Some(socket) = raw.and_then(|raw| inherited(raw, is_socket)) else {
        return Ok(Joined::Nobody);
    };
    let mut pmi = Pmi { socket, space: String::new(), finalized: false };
    pmi.ask("cmd=init pmi_version=1 pmi_subversion=1")?;
    pmi.space = pmi.word("cmd=get_my_kvsname", "kvsname")?;
    let job = pmi.make_job(rank, size)?;
    if CONNECTION.set(Mutex::new(pmi)).is_err() {
        return refuse("this process joined a job before".to_owned());
    }
    Ok(Joined::Rank(Box::new(job)))
}

impl Pmi {
    fn make_job(&mut self, rank: u32, size: u32) -> Result<Job> {
        let mapping = self.get("PMI_process_mapping")?.unwrap_or_default();
        let (first, local_size) = place(&mapping, rank, size)?;
        let leads = rank == first;
        let mut made = None;
        let mut secret = [0; 48];
        if leads {
            // The others replace identity and key by those of rank 0.
            let (job, key) = ([0; 16], [0; 32]);
            let plan = NodePlan { job, key, size, first_local_rank: first, local_size };
            let node = Node::create(&plan)?;
            let place = format!("{}:{}", std::process::id(), node.descriptor().as_raw_fd());
            self.put(&format!("strait-node-{first}"), &place)?;
            made = Some(node);
        }
        if rank == 0 {
            getrandom::fill(&mut secret).map_err(|error| {
                Error::system("no random numbers", error.raw_os_error().unwrap_or(libc::EIO))
            })?;
            self.put("strait-job", &to_hex(&secret))?;
        }
        self.barrier()?;
        let shared = self.need("strait-job")?;
        let secret = from_hex(&shared).and_then(|bytes| <[u8; 48]>::try_from(bytes).ok());
        let Some(secret) = secret else {
            return refuse("rank 0 published what this build cannot read".to_owned());
        };
        let mut node = match made {
            Some(node) => node,
            None => open_of(&self.need(&format!("strait-node-{first}"))?)?,
        };
        let (job, key) = secret.split_at(16);
        node.adopt(job.try_into().expect("16 bytes"), key.try_into().expect("32 bytes"));
        let local_rank = rank - first;
        match node.record(local_rank).claim() {
            Claim::Won => {
                let job = enter(local_rank, node, Origin::Foreign)?;
                if leads {
                    await_others(&job)?;
                }
                Ok(job)
            }
            other => refuse(format!("rank {rank} is there already: {other:?}")),
        }
    }

    fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let line = format!("cmd=put kvsname={} key={key} value={value}", self.space);
        self.ask(&line).map(drop)
    }

    fn get(&mut self, key: &str) -> Result<Option<String>> {
        let line = format!("cmd=get kvsname={} key={key}", self.space);
        let mut answer = self.exchange(&line)?;
        let found = answer.get("rc").is_none_or(|code| code == "0");
        Ok(answer.remove("value").filter(|_| found))
    }

    fn need(&mut self, key: &str) -> Result<String> {
        match self.get(key)? {
            Some(value) => Ok(value),
            None => refuse(format!("the launcher lost what was published as {key}")),
        }
    }

    fn barrier(&mut self) -> Result<()> {
        self.ask("cmd=barrier_in").map(drop)
    }

    fn word(&mut self, line: &str, key: &str) -> Result<String> {
        let mut answer = self.ask(line)?;
        match answer.remove(key) {
            Some(value) => Ok(value),
            None => refuse(format!("the launcher answers `{line}` without {key}")),
        }
    }

    /// A request that must succeed.
    fn ask(&mut self, line: &str) -> Result<HashMap<String, String>> {
        let answer = self.exchange(line)?;
        match answer.get("rc").map(String::as_str) {
            // Some launchers answer without a code.
            None | Some("0") => Ok(answer),
            Some(code) => {
                let verb = line.split(' ').next().unwrap_or(line);
                let why = answer.get("msg").map_or("", String::as_str);
                refuse(format!("the launcher refused the PMI request {verb}: code {code} {why}"))
            }
        }
    }

    fn exchange(&mut self, line: &str) -> Result<HashMap<String, String>> {
        self.say(line)?;
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') && answer.len() < LINE_BYTES_MAX {
            let mut bytes = [0; 1024];
            match rustix::io::read(&self.socket, &mut bytes) {
                Ok(0) => return refuse("the launcher that started this job is gone".to_owned()),
                Ok(count) => answer.extend_from_slice(&bytes[..count]),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::system("cannot hear the launcher", errno.raw_os_error()));
                }
            }
        }
        Ok(words(&String::from_utf8_lossy(&answer)))
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let bytes = format!("{line}\n").into_bytes();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match rustix::io::write(&self.socket, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::system("cannot talk to the launcher", errno.raw_os_error()));
                }
            }
        }
        Ok(())
    }
}

fn with<T>(action: impl FnOnce(&mut Pmi) -> Result<T>) -> Option<T> {
    let mut pmi = CONNECTION.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    if pmi.finalized {
        return None;
    }
    action(&mut pmi).ok()
}

/// Publishes this process's address, and waits until all have; `false` without such a launcher.
pub(crate) fn publish_address(rank: u32, address: &[u8]) -> bool {
    with(|pmi| {
        pmi.put(&format!("strait-address-{rank}"), &to_hex(address))?;
        pmi.barrier()
    })
    .is_some()
}

/// The address of a rank, if it is there.
pub(crate) fn address(rank: u32) -> Option<Vec<u8>> {
    let text = with(|pmi| pmi.get(&format!("strait-address-{rank}")))??;
    from_hex(&text).filter(|bytes| (1..=FAR_ADDRESS_BYTES_MAX).contains(&bytes.len()))
}

/// Whether this process belongs to such a launcher.
pub(crate) fn is_joined() -> bool {
    CONNECTION.get().is_some()
}

/// The orderly end.
pub(super) fn finalize() {
    with(|pmi| {
        let answer = pmi.ask("cmd=finalize");
        pmi.finalized = true;
        answer.map(drop)
    });
}

/// Asks the launcher to end the job. It may end us at once.
pub(super) fn abort(code: i32) {
    // The launcher ends its helpers at once, with what they have read of our last words and not
    // passed on: they get a moment for it.
    std::thread::sleep(LAST_WORDS);
    with(|pmi| pmi.say(&format!("cmd=abort exitcode={code}")));
}

/// The words of an answer.
fn words(line: &str) -> HashMap<String, String> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The first rank of this rank's host, and how many it has.
fn place(mapping: &str, rank: u32, size: u32) -> Result<(u32, u32)> {
    let Some(nodes) = nodes_of(mapping, size) else {
        return refuse(format!(
            "the launcher does not say which ranks share a host (PMI_process_mapping is \
             `{mapping}`)\n  help: start the program with the mpiexec of Strait"
        ));
    };
    let mine = nodes[rank as usize];
    let is_mine = |other: &u32| *other == mine;
    let first = nodes.iter().position(is_mine).unwrap_or(0) as u32;
    let count = nodes.iter().filter(|other| is_mine(other)).count() as u32;
    if !nodes[first as usize..(first + count) as usize].iter().all(is_mine) {
        return refuse(
            "the ranks of a host are not consecutive, which Strait needs\n  help: srun \
             --distribution=block, or mpiexec's -map-by core"
                .to_owned(),
        );
    }
    Ok((first, count))
}

/// The host of each rank: `(vector,(first,hosts,ranks of each),...)`, from the beginning again when
/// it is at its end.
fn nodes_of(mapping: &str, size: u32) -> Option<Vec<u32>> {
    let body = mapping.trim().strip_prefix("(vector,")?.strip_suffix(')')?;
    let mut blocks = Vec::new();
    for block in body.split("),") {
        let block = block.trim_start_matches('(').trim_end_matches(')');
        let mut numbers = block.split(',').map(|text| text.trim().parse::<u32>());
        let (first, hosts, each) =
            (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        if each == 0 || hosts == 0 || numbers.next().is_some() {
            return None;
        }
        blocks.push((first, hosts, each));
    }
    let mut nodes = Vec::with_capacity(size as usize);
    while nodes.len() < size as usize {
        for (first, hosts, each) in &blocks {
            for host in 0..*hosts {
                let left = size as usize - nodes.len();
                nodes.extend(std::iter::repeat_n(first + host, left.min(*each as usize)));
            }
        }
    }
    Some(nodes)
}

/// The memory that another process of this host holds open: `process:descriptor`.
fn open_of(place: &str) -> Result<Node> {
    let (process, descriptor) = place.split_once(':').unwrap_or((place, ""));
    let path = format!("/proc/{process}/fd/{descriptor}");
    match rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(descriptor) => Node::open(descriptor),
        Err(errno) => refuse(format!(
            "cannot open the memory that the first rank of this host made ({path}: {errno})\n  \
             help: ranks of one host must be of one user and in one process namespace; or start \
             the program with the mpiexec of Strait"
        )),
    }
}

/// The others of this host open the memory through this process, which stays until they have: it
/// could have ended before the slowest of them came.
fn await_others(job: &Job) -> Result<()> {
    let begun = Instant::now();
    let is_absent = |rank: u32| job.node.record(rank).state() == RankState::Absent;
    while let Some(rank) = (0..job.local_size).find(|rank| is_absent(*rank)) {
        if begun.elapsed() > OTHERS_TIME {
            return refuse(format!(
                "rank {} of this host did not join within {} s",
                job.first_local_rank + rank,
                OTHERS_TIME.as_secs()
            ));
        }
        std::thread::sleep(OTHERS_PAUSE);
    }
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_of_launchers() {
        let nodes = |text: &str, size| nodes_of(text, size);
        assert_eq!(nodes("(vector,(0,1,4))", 4), Some(vec![0; 4]));
        assert_eq!(nodes("(vector,(0,2,2))", 4), Some(vec![0, 0, 1, 1]));
        assert_eq!(nodes("(vector,(0,1,3),(1,1,1))", 4), Some(vec![0, 0, 0, 1]));
        assert_eq!(nodes("(vector,(0,2,1))", 4), Some(vec![0, 1, 0, 1]));
        for text in ["", "(vector,)", "(vector,(0,1))", "(vector,(0,1,0))", "(matrix,(0,1,2))"] {
            assert_eq!(nodes(text, 2), None, "{text}");
        }
        assert_eq!(place("(vector,(0,2,2))", 3, 4).expect("blocks"), (2, 2));
        let error = place("(vector,(0,2,1))", 0, 4).expect_err("cyclic").to_string();
        assert!(error.contains("--distribution=block"), "{error}");
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(from_hex(&to_hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
    }

    /// A launcher of two ranks, which are two threads here.
    #[test]
    fn two_ranks_share_a_memory_and_a_key() {
        use std::io::{BufRead, BufReader, Write};
        use std::os::unix::net::UnixStream;
        use std::sync::{Arc, Barrier};
        let mapping = ("PMI_process_mapping".to_owned(), "(vector,(0,1,2))".to_owned());
        let store = Arc::new(Mutex::new(HashMap::from([mapping])));
        let barrier = Arc::new(Barrier::new(2));
        let serve = |socket: UnixStream| {
            let (store, barrier) = (store.clone(), barrier.clone());
            std::thread::spawn(move || {
                let reader = BufReader::new(socket.try_clone().expect("a socket"));
                for line in reader.lines() {
                    let asked = words(&line.expect("a line"));
                    let answer = match asked["cmd"].as_str() {
                        "init" => "cmd=response_to_init rc=0".to_owned(),
                        "get_my_kvsname" => "cmd=my_kvsname kvsname=space".to_owned(),
                        "put" => {
                            let (key, value) = (asked["key"].clone(), asked["value"].clone());
                            store.lock().expect("no panic").insert(key, value);
                            "cmd=put_result rc=0".to_owned()
                        }
                        "get" => match store.lock().expect("no panic").get(&asked["key"]) {
                            Some(value) => format!("cmd=get_result rc=0 value={value}"),
                            None => "cmd=get_result rc=-1".to_owned(),
                        },
                        "barrier_in" => {
                            barrier.wait();
                            "cmd=barrier_out rc=0".to_owned()
                        }
                        other => panic!("{other}"),
                    };
                    writeln!(&socket, "{answer}").expect("it listens");
                }
            })
        };
        let pairs = [(); 2].map(|()| UnixStream::pair().expect("sockets"));
        let (theirs, ours): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let servers: Vec<_> = theirs.into_iter().map(serve).collect();
        let ranks: Vec<_> = (0..2)
            .zip(ours)
            .map(|(rank, socket)| {
                std::thread::spawn(move || {
                    let mut pmi =
                        Pmi { socket: socket.into(), space: String::new(), finalized: false };
                    pmi.ask("cmd=init pmi_version=1 pmi_subversion=1").expect("an answer");
                    pmi.space = pmi.word("cmd=get_my_kvsname", "kvsname").expect("a name");
                    let job = pmi.make_job(rank, 2).expect("joins");
                    // The socket stays open until the other one has joined, too.
                    (job, pmi)
                })
            })
            .collect();
        let jobs: Vec<_> = ranks.into_iter().map(|rank| rank.join().expect("joins")).collect();
        assert_eq!(jobs[0].0.key, jobs[1].0.key);
        assert_ne!(jobs[0].0.key, [0; 32]);
        assert_eq!((jobs[0].0.local_rank, jobs[1].0.local_rank), (0, 1));
        jobs[0].0.node.record(0).publish_call(7);
        assert_eq!(jobs[1].0.node.record(0).call().call, 7);
        drop(jobs);
        for server in servers {
            server.join().expect("the launcher does not panic");
        }
    }
}
