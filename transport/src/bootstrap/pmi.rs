// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The key-value space of launchers that speak PMI-1: over an inherited socket the hydra of MPICH
//! and of Intel MPI, and `srun --mpi=pmi2`, whose plugin answers PMI-1, too; where the launcher
//! listens for us, hydra with `-pmi-port`.
//!
//! The protocol is lines of `key=value` words, one request and one answer at a time. What is put
//! becomes visible by the barrier, which is the only collective.
//!
//! Not here: what the space is used for (keyspace.rs); PMI-2's own syntax, which no launcher asks
//! for.

use super::inherited;
use super::keyspace::{self, Joined, KeySpace};
use crate::error::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Longest answer: a value of 4096 bytes and some words.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest request: some launchers (Slurm's plugin) read lines of 1024 bytes.
const REQUEST_BYTES_MAX: usize = 1024;
/// What a request to put has beside its value and the name of the space.
const PUT_WORDS_BYTES: usize = "cmd=put kvsname= key= value=\n".len() + KEY_BYTES_MAX;
/// Longest key of keyspace.rs.
const KEY_BYTES_MAX: usize = "strait-address-4294967295.63".len();
/// Values that launchers take which do not say how long they may be.
const VALUE_BYTES: usize = 256;

struct Pmi {
    socket: OwnedFd,
    rank: u32,
    size: u32,
    /// Name of the job's key-value space.
    space: String,
    /// Longest value, with the zero after it that the launcher may add.
    value_bytes_max: usize,
}

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::new(Kind::Bootstrap(text)))
}

/// Where hydra listens, and who we are there.
const ENV_PORT: &str = "PMI_PORT";
const ENV_ID: &str = "PMI_ID";

fn gone<T>() -> Result<T> {
    refuse(format!(
        "the launcher has closed its end of the PMI socket: it is gone, or this rank ran a program \
         with MPI before\n  help: {}",
        keyspace::ONE_PROGRAM
    ))
}

/// Joins, if the environment names a PMI socket or port and several processes.
pub(super) fn join(variable: &dyn Fn(&str) -> Option<String>) -> Result<Joined> {
    let number = |name: &str| variable(name).and_then(|text| text.trim().parse::<u32>().ok());
    let found = (variable("PMI_FD"), number("PMI_RANK"), number("PMI_SIZE"));
    let (Some(descriptor), Some(rank), Some(size)) = found else { return join_by_port(variable) };
    if size < 2 || rank >= size || variable("OMPI_COMM_WORLD_RANK").is_some() {
        return Ok(Joined::Nobody);
    }
    // A descriptor that is closed here is an error for who looks next: never N jobs of one.
    let is_socket = |fd: BorrowedFd<'_>| rustix::net::sockopt::socket_type(fd).is_ok();
    let raw = descriptor.trim().parse::<RawFd>().ok().filter(|raw| *raw > 2);
    let Some(socket) = raw.and_then(|raw| inherited(raw, is_socket)) else {
        return Ok(Joined::Nobody);
    };
    keyspace::join(Box::new(Pmi::begin(socket, rank, size)?), rank, size)
}

fn join_by_port(variable: &dyn Fn(&str) -> Option<String>) -> Result<Joined> {
    let (Some(port), Some(id)) = (variable(ENV_PORT), variable(ENV_ID)) else {
        return Ok(Joined::Nobody);
    };
    let Some(place) = keyspace::hold_place(&port, &id)? else {
        return Ok(keyspace::not_meant(ENV_PORT, &port, &id));
    };
    let (socket, rank, size) = call(&port, &id)?;
    let mut pmi = Pmi::begin(socket, rank, size)?;
    if size < 2 {
        pmi.finalize()?;
        return Ok(Joined::Nobody);
    }
    let joined = keyspace::join(Box::new(pmi), rank, size)?;
    // For the life of the process.
    std::mem::forget(place);
    Ok(joined)
}

/// Calls the launcher, which then says which rank of how many we are.
fn call(port: &str, id: &str) -> Result<(OwnedFd, u32, u32)> {
    let lost = |what: &str, why: &dyn std::fmt::Display| {
        refuse(format!(
            "{what} the launcher at {port} ({ENV_PORT}): {why}\n  help: start the program without \
             -pmi-port, or with the mpiexec of Strait"
        ))
    };
    let opened = TcpStream::connect(port).and_then(|socket| {
        socket.set_nodelay(true)?;
        writeln!(&socket, "cmd=initack pmiid={id}")?;
        Ok(socket)
    });
    let socket = match opened {
        Ok(socket) => socket,
        Err(why) => return lost("cannot call", &why),
    };
    let mut said = HashMap::new();
    // After the last line it says nothing before it is asked: nothing that is read ahead is lost.
    let mut lines = BufReader::new(&socket).take(LINE_BYTES_MAX as u64).lines();
    loop {
        let line = match lines.next() {
            Some(Ok(line)) => words(&line),
            Some(Err(why)) => return lost("cannot hear", &why),
            None => return lost("cannot hear", &"it has closed the connection"),
        };
        let is_last = line.get("cmd").is_some_and(|cmd| cmd == "set") && line.contains_key("debug");
        said.extend(line);
        if is_last {
            break;
        }
    }
    let number = |key: &str| said.get(key).and_then(|text| text.parse::<u32>().ok());
    match (number("rank"), number("size")) {
        (Some(rank), Some(size)) if rank < size => Ok((socket.into(), rank, size)),
        _ => lost("cannot understand", &"it says neither rank nor size"),
    }
}

impl Pmi {
    /// The host of each rank.
    fn nodes(&mut self) -> Result<Vec<u32>> {
        let mapping = self.get(0, "PMI_process_mapping")?.unwrap_or_default();
        match nodes_of(&mapping, self.size) {
            Some(nodes) => Ok(nodes),
            None => refuse(format!(
                "the launcher does not say which ranks share a host (PMI_process_mapping is \
                 `{mapping}`)\n  help: start the program with the mpiexec of Strait"
            )),
        }
    }
}

impl KeySpace for Pmi {
    fn local_ranks(&mut self) -> Result<Vec<u32>> {
        let nodes = self.nodes()?;
        let mine = nodes[self.rank as usize];
        Ok((0..self.size).filter(|rank| nodes[*rank as usize] == mine).collect())
    }

    fn hosts_of_ranks(&mut self) -> Result<Option<Vec<u32>>> {
        self.nodes().map(Some)
    }

    fn value_bytes_max(&self) -> usize {
        let room = REQUEST_BYTES_MAX.saturating_sub(PUT_WORDS_BYTES + self.space.len());
        room.min(self.value_bytes_max.saturating_sub(1))
    }

    fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let line = format!("cmd=put kvsname={} key={key} value={value}", self.space);
        self.ask(&line).map(drop)
    }

    fn fence(&mut self) -> Result<()> {
        self.ask("cmd=barrier_in").map(drop)
    }

    fn get(&mut self, _: u32, key: &str) -> Result<Option<String>> {
        let line = format!("cmd=get kvsname={} key={key}", self.space);
        let mut answer = self.exchange(&line)?;
        let found = answer.get("rc").is_none_or(|code| code == "0");
        Ok(answer.remove("value").filter(|_| found))
    }

    fn finalize(&mut self) -> Result<()> {
        self.ask("cmd=finalize").map(drop)
    }

    fn abort(&mut self, code: i32) {
        // If the launcher does not hear it, our end tells it.
        let _ = self.say(&format!("cmd=abort exitcode={code}"));
    }
}

impl Pmi {
    fn begin(socket: OwnedFd, rank: u32, size: u32) -> Result<Pmi> {
        let (space, value_bytes_max) = (String::new(), VALUE_BYTES);
        let mut pmi = Pmi { socket, rank, size, space, value_bytes_max };
        pmi.ask("cmd=init pmi_version=1 pmi_subversion=1")?;
        let limits = pmi.ask("cmd=get_maxes")?;
        if let Some(bytes) = limits.get("vallen_max").and_then(|text| text.parse().ok()) {
            pmi.value_bytes_max = bytes;
        }
        pmi.space = pmi.word("cmd=get_my_kvsname", "kvsname")?;
        Ok(pmi)
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
                Ok(0) => return gone(),
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
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => return gone(),
                Err(errno) => {
                    return Err(Error::system("cannot talk to the launcher", errno.raw_os_error()));
                }
            }
        }
        Ok(())
    }
}

/// The words of an answer.
fn words(line: &str) -> HashMap<String, String> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The host of each rank: `(vector,(first,hosts,ranks of each),...)`, from the beginning again when
/// it is at its end.
fn nodes_of(mapping: &str, size: u32) -> Option<Vec<u32>> {
    let mut rest = mapping.trim().strip_prefix("(vector,")?.strip_suffix(')')?;
    let blocks = blocks(&mut rest, size as usize)?;
    if !rest.is_empty() || blocks.is_empty() {
        return None;
    }
    let mut nodes = Vec::with_capacity(size as usize);
    while nodes.len() < size as usize {
        for [first, hosts, each] in &blocks {
            for host in 0..*hosts {
                let left = size as usize - nodes.len();
                nodes.extend(std::iter::repeat_n(first + host, left.min(*each as usize)));
            }
        }
    }
    Some(nodes)
}

/// A list of blocks (first host, number of hosts, ranks of each) or `[list]xN`, which is the list
/// so many times over; as many blocks as can matter to `size` ranks.
fn blocks(rest: &mut &str, size: usize) -> Option<Vec<[u32; 3]>> {
    let mut found = Vec::new();
    loop {
        if let Some(inside) = rest.strip_prefix('[') {
            *rest = inside;
            let list = blocks(rest, size)?;
            *rest = rest.strip_prefix("]x")?;
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let times: usize = rest[..end].parse().ok()?;
            *rest = &rest[end..];
            let room = size.saturating_sub(found.len());
            let all = times.checked_mul(list.len()).filter(|all| *all > 0)?;
            found.extend(list.iter().copied().cycle().take(all.min(room)));
        } else {
            let (block, after) = rest.strip_prefix('(')?.split_once(')')?;
            *rest = after;
            let mut numbers = block.split(',').map(|text| text.trim().parse::<u32>());
            let block = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
            if block[1] == 0 || block[2] == 0 || numbers.next().is_some() {
                return None;
            }
            found.extend((found.len() < size).then_some(block));
        }
        match rest.strip_prefix(',') {
            Some(more) => *rest = more,
            None => return Some(found),
        }
    }
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
        // As MPICH 5 writes it.
        assert_eq!(nodes("(vector,[(0,2,1)]x2)", 4), Some(vec![0, 1, 0, 1]));
        assert_eq!(nodes("(vector,[(0,1,2)]x2,(1,1,1))", 5), Some(vec![0, 0, 0, 0, 1]));
        assert_eq!(nodes("(vector,[(0,1,1),[(1,1,1)]x2]x1,(2,1,1))", 4), Some(vec![0, 1, 1, 2]));
        assert_eq!(nodes("(vector,[(0,1,1)]x4000000000)", 3), Some(vec![0; 3]));
        for text in [
            "",
            "(vector,)",
            "(vector,(0,1))",
            "(vector,(0,1,0))",
            "(matrix,(0,1,2))",
            "(vector,[(0,1,1)])",
            "(vector,[(0,1,1)]x)",
            "(vector,[(0,1,1)]x0)",
            "(vector,[(0,1,1)",
            "(vector,(0,1,1)])",
        ] {
            assert_eq!(nodes(text, 2), None, "{text}");
        }
    }

    #[test]
    fn a_closed_socket_is_told_in_words() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("sockets");
        drop(theirs);
        let error = Pmi::begin(ours.into(), 0, 2).map(drop).expect_err("nobody is there");
        assert!(error.to_string().contains(keyspace::ONE_PROGRAM), "{error}");
    }

    #[test]
    fn a_launcher_that_listens_tells_who_we_are() {
        use std::net::TcpListener;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").to_string();
        let answer = |text: &'static str| {
            std::thread::scope(|scope| {
                let caller = scope.spawn(|| call(&port, "1"));
                let (mut socket, _) = listener.accept().expect("a call");
                let mut line = String::new();
                BufReader::new(&socket).read_line(&mut line).expect("a line");
                assert_eq!(line, "cmd=initack pmiid=1\n");
                for piece in text.as_bytes().chunks(7) {
                    socket.write_all(piece).expect("it listens");
                }
                drop(socket);
                caller.join().expect("no panic").map(|(_, rank, size)| (rank, size))
            })
        };
        let sets = "cmd=initack rc=0\ncmd=set size=3\ncmd=set rank=1\ncmd=set debug=0\n";
        assert_eq!(answer(sets).expect("it answers"), (1, 3));
        let all = "cmd=initack rc=0 rank=2 size=3 debug=0\ncmd=set size=3\ncmd=set debug=0\n";
        assert_eq!(answer(all).expect("it answers"), (2, 3));
        let error = answer("cmd=initack rc=0 rank=1 size=3 debug=0\n").expect_err("cut off");
        assert!(error.to_string().contains("-pmi-port"), "{error}");
        assert!(answer("cmd=set size=1\ncmd=set rank=1\ncmd=set debug=0\n").is_err());
        drop(listener);
        assert!(call(&port, "1").expect_err("nobody").to_string().contains("cannot call"));
    }

    /// A launcher of two ranks, which are two threads here, and of short values: the key of the job
    /// needs two.
    #[test]
    fn two_ranks_share_a_memory_and_a_key() {
        use std::io::{BufRead, BufReader, Write};
        use std::os::unix::net::UnixStream;
        use std::sync::{Arc, Barrier, Mutex};
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
                        "get_maxes" => "cmd=maxes keylen_max=64 vallen_max=70".to_owned(),
                        "get_my_kvsname" => "cmd=my_kvsname kvsname=space".to_owned(),
                        "put" => {
                            let (key, value) = (asked["key"].clone(), asked["value"].clone());
                            assert!(value.len() < 70, "{key}: {value}");
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
                    let mut pmi = Pmi::begin(socket.into(), rank, 2).expect("answers");
                    let job = keyspace::make_job(&mut pmi, rank, 2).expect("joins");
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
        assert!(store.lock().expect("no panic").contains_key("strait-job.1"));
        drop(jobs);
        for server in servers {
            server.join().expect("the launcher does not panic");
        }
    }
}
