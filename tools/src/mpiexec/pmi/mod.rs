// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process management interface, served: a program that brings another MPI library of MPICH's
//! family (MPICH, Intel MPI) asks mpiexec who it is and exchanges addresses through it.
//!
//! Each rank has a socket of its own (PMI_FD). What it says first chooses the dialect: PMI-1, lines
//! of text, or PMI-2, messages with their length before them. Both end in the same store of values
//! and the same fence. Our own library never speaks here: it finds mpiexec's memory first.
//!
//! In a job of several hosts each agent serves its ranks. When all of them wait at a fence, what
//! they put goes to mpiexec (head/fence.rs), which sends the values of all hosts to each of them
//! once all have come: a value is asked for where it is.
//!
//! Invariants:
//! 1. A client is served as a request comes, and never waited for; what it waits for (a fence, a
//!    value of its host) is answered when it is there.
//! 2. A client that says nonsense, or more than [`BYTES_MAX`] without an end, loses its socket.
//! 3. At a fence all clients wait, so nothing is put between its begin and its end.
//!
//! Not served: spawning, names.
#![forbid(unsafe_code)]

mod dialect;

use dialect::{Dialect, Request};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// Longest request.
const BYTES_MAX: usize = 64 * 1024;
/// Limits that clients are told.
const NAME_BYTES_MAX: usize = 256;
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 4096;

/// At the end of every good answer.
const OK: (&str, &str) = ("rc", "0");

/// What a look at a socket tells the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Nothing of interest.
    Nothing,
    /// This rank speaks PMI: it uses another MPI library.
    Began,
    /// This rank asks for the end of the job, with this code, and goes on until it is ended.
    Aborts(i32),
    /// Nobody holds the socket any more.
    Gone,
}

/// What a client waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wait {
    Fence,
    NodeValue(String),
}

/// A rank.
struct Client {
    socket: Option<OwnedFd>,
    bytes: Vec<u8>,
    dialect: Option<Dialect>,
    waits: Option<(Wait, Request)>,
    aborts: Option<i32>,
    finalized: bool,
}

/// What clients are told of the job.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// Name of the job and of its store.
    pub name: String,
    /// Ranks of the job.
    pub size: u32,
    /// The ranks of this host.
    pub ranks: Vec<u32>,
    /// Which ranks share a host, as [`mapping`] writes it.
    pub mapping: String,
    /// Numbers of the programs of a command line, by rank of this host.
    pub programs: Vec<usize>,
}

/// The server. It counts ranks from the first of this host.
pub struct Server {
    facts: JobFacts,
    clients: Vec<Client>,
    /// All ranks of this host came to a fence of several hosts.
    departs: bool,
    /// What was put, and what the last fence made visible.
    put: HashMap<String, String>,
    seen: HashMap<String, String>,
    node: HashMap<String, String>,
}

/// Which ranks share a host, in the words of PMI, from the number of each rank's host: runs of
/// hosts with equally many, which begin anew when they are at their end.
pub fn mapping(host_of: &[u32]) -> String {
    let mut runs: Vec<(u32, u32, u32)> = Vec::new();
    for block in host_of.chunk_by(|a, b| a == b) {
        let (host, count) = (block[0], block.len() as u32);
        match runs.last_mut() {
            Some((first, hosts, each)) if *each == count && host == *first + *hosts => *hosts += 1,
            _ => runs.push((host, 1, count)),
        }
    }
    let all = runs.len();
    let is_period = |length: &usize| {
        all.is_multiple_of(*length) && runs.chunks(*length).all(|chunk| *chunk == runs[..*length])
    };
    runs.truncate((1..=all).find(is_period).unwrap_or(all));
    let runs: Vec<String> =
        runs.iter().map(|(first, hosts, each)| format!(",({first},{hosts},{each})")).collect();
    format!("(vector{})", runs.concat())
}

/// A socket for a rank: our end and its end.
///
/// # Errors
/// No descriptors left.
pub fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

impl Server {
    /// For the ranks of this host, in their order.
    pub fn new(facts: JobFacts, sockets: Vec<OwnedFd>) -> Server {
        let client = |socket| Client {
            socket: Some(socket),
            bytes: Vec::new(),
            dialect: None,
            waits: None,
            aborts: None,
            finalized: false,
        };
        Server {
            facts,
            clients: sockets.into_iter().map(client).collect(),
            departs: false,
            put: HashMap::new(),
            seen: HashMap::new(),
            node: HashMap::new(),
        }
    }

    /// Whether this rank began and has not come to an orderly end.
    pub fn is_unfinished(&self, rank: u32) -> bool {
        let client = &self.clients[rank as usize];
        client.dialect.is_some() && !client.finalized
    }

    /// Something came from this rank.
    pub fn serve(&mut self, rank: u32) -> Said {
        let client = &mut self.clients[rank as usize];
        let Some(socket) = &client.socket else { return Said::Gone };
        let mut buffer = [0; 4096];
        match rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return self.drop_client(rank),
            Ok((count, _)) => client.bytes.extend_from_slice(&buffer[..count]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Said::Nothing,
            Err(_) => return self.drop_client(rank),
        }
        let was_new = client.dialect.is_none();
        loop {
            let client = &mut self.clients[rank as usize];
            match dialect::next(&mut client.dialect, &mut client.bytes) {
                Ok(Some(request)) => self.answer(rank, request),
                Ok(None) => break,
                Err(()) => return self.drop_client(rank),
            }
        }
        let client = &mut self.clients[rank as usize];
        if let Some(code) = client.aborts.take() {
            return Said::Aborts(code);
        }
        if client.bytes.len() > BYTES_MAX {
            return self.drop_client(rank);
        }
        if was_new && client.dialect.is_some() { Said::Began } else { Said::Nothing }
    }

    fn drop_client(&mut self, rank: u32) -> Said {
        self.clients[rank as usize].socket = None;
        Said::Gone
    }

    fn reply(&mut self, rank: u32, request: &Request, name: &str, pairs: &[(&str, &str)]) {
        let client = &mut self.clients[rank as usize];
        let (Some(dialect), Some(socket)) = (client.dialect, &client.socket) else { return };
        let bytes = dialect::encode(dialect, request, name, pairs);
        // A client asks one thing at a time, so its socket has room; if not, it is none of ours.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if rustix::net::send(socket, &bytes, flags) != Ok(bytes.len()) {
            client.socket = None;
        }
    }

    /// What this host brings to a fence that all its ranks have come to; once for each fence.
    pub fn take_departure(&mut self) -> Option<Vec<(String, String)>> {
        std::mem::take(&mut self.departs)
            .then(|| self.put.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Keeps values that ranks of all hosts brought to a fence.
    pub fn arrive(&mut self, values: Vec<(String, String)>) {
        self.put.extend(values);
    }

    /// All hosts have come: what was put is visible.
    pub fn end_fence(&mut self) {
        self.seen.extend(self.put.drain());
        self.wake(&Wait::Fence);
    }

    /// What is the same whenever it is asked: the answer's name and its pairs.
    fn fact(
        &self,
        rank: u32,
        command: &str,
    ) -> Option<(&'static str, Vec<(&'static str, String)>)> {
        let two = self.clients[rank as usize].dialect == Some(Dialect::Two);
        let (version, sub) = if two { ("2", "0") } else { ("1", "1") };
        let program = self.facts.programs[rank as usize].to_string();
        let size = self.facts.size.to_string();
        Some(match command {
            "init" => (
                "response_to_init",
                vec![("pmi_version", version.to_owned()), ("pmi_subversion", sub.to_owned())],
            ),
            "fullinit" => (
                "fullinit-response",
                vec![
                    ("pmi-version", version.to_owned()),
                    ("pmi-subversion", sub.to_owned()),
                    ("rank", self.facts.ranks[rank as usize].to_string()),
                    ("size", size),
                    ("appnum", program),
                    ("debugged", "FALSE".to_owned()),
                    ("pmiverbose", "FALSE".to_owned()),
                ],
            ),
            "get_maxes" => (
                "maxes",
                vec![
                    ("kvsname_max", NAME_BYTES_MAX.to_string()),
                    ("keylen_max", KEY_BYTES_MAX.to_string()),
                    ("vallen_max", VALUE_BYTES_MAX.to_string()),
                ],
            ),
            "get_universe_size" => ("universe_size", vec![("size", size)]),
            "get_appnum" => ("appnum", vec![("appnum", program)]),
            "get_my_kvsname" => ("my_kvsname", vec![("kvsname", self.facts.name.clone())]),
            "job-getid" => ("job-getid-response", vec![("jobid", self.facts.name.clone())]),
            _ => return None,
        })
    }

    fn answer(&mut self, rank: u32, request: Request) {
        if let Some((name, pairs)) = self.fact(rank, &request.command) {
            let pairs: Vec<(&str, &str)> =
                pairs.iter().map(|(key, value)| (*key, value.as_str())).chain([OK]).collect();
            return self.reply(rank, &request, name, &pairs);
        }
        match request.command.as_str() {
            "put" | "kvs-put" | "info-putnodeattr" => self.put(rank, &request),
            "get" | "kvs-get" | "info-getjobattr" | "info-getnodeattr" => self.get(rank, request),
            "barrier_in" | "kvs-fence" => self.fence(rank, request),
            "finalize" => {
                self.clients[rank as usize].finalized = true;
                let two = self.clients[rank as usize].dialect == Some(Dialect::Two);
                let name = if two { "finalize-response" } else { "finalize_ack" };
                self.reply(rank, &request, name, &[OK]);
            }
            "abort" => {
                let code = request.value("exitcode").and_then(|code| code.parse().ok());
                self.clients[rank as usize].aborts = Some(code.unwrap_or(1));
            }
            _ => self.refuse(rank, &request),
        }
    }

    fn refuse(&mut self, rank: u32, request: &Request) {
        let two = self.clients[rank as usize].dialect == Some(Dialect::Two);
        let text = "not_served_by_this_mpiexec";
        let name = match (two, request.command.as_str()) {
            (true, command) => format!("{command}-response"),
            (false, "spawn") => "spawn_result".to_owned(),
            (false, command) => format!("{}_result", command.trim_end_matches("_name")),
        };
        self.reply(rank, request, &name, &[("rc", "-1"), ("msg", text), ("errmsg", text)]);
    }

    fn put(&mut self, rank: u32, request: &Request) {
        let (key, value) = (request.value("key"), request.value("value"));
        let (Some(key), Some(value)) = (key, value) else { return self.refuse(rank, request) };
        let (key, value) = (key.to_owned(), value.to_owned());
        match request.command.as_str() {
            "put" => {
                self.put.insert(key, value);
                self.reply(rank, request, "put_result", &[OK, ("msg", "success")]);
            }
            "kvs-put" => {
                self.put.insert(key, value);
                self.reply(rank, request, "kvs-put-response", &[OK]);
            }
            _ => {
                self.node.insert(key.clone(), value);
                self.reply(rank, request, "info-putnodeattr-response", &[OK]);
                self.wake(&Wait::NodeValue(key));
            }
        }
    }

    /// Answers those who waited for this.
    fn wake(&mut self, what: &Wait) {
        for rank in 0..self.clients.len() as u32 {
            let client = &mut self.clients[rank as usize];
            if client.waits.as_ref().is_some_and(|(wait, _)| wait == what)
                && let Some((_, request)) = client.waits.take()
            {
                match what {
                    Wait::Fence if request.command == "barrier_in" => {
                        self.reply(rank, &request, "barrier_out", &[OK]);
                    }
                    Wait::Fence => self.reply(rank, &request, "kvs-fence-response", &[OK]),
                    Wait::NodeValue(_) => self.get(rank, request),
                }
            }
        }
    }

    fn get(&mut self, rank: u32, request: Request) {
        let key = request.value("key").unwrap_or_default().to_owned();
        let found = match (request.command.as_str(), key.as_str()) {
            ("get" | "info-getjobattr", "PMI_process_mapping") => Some(self.facts.mapping.clone()),
            ("info-getjobattr", "universeSize") => Some(self.facts.size.to_string()),
            ("get" | "kvs-get", _) => self.seen.get(&key).cloned(),
            ("info-getnodeattr", _) => self.node.get(&key).cloned(),
            _ => None,
        };
        if found.is_none()
            && request.command == "info-getnodeattr"
            && request.value("wait") == Some("TRUE")
        {
            self.clients[rank as usize].waits = Some((Wait::NodeValue(key), request));
            return;
        }
        let value = found.as_deref();
        if request.command == "get" {
            let pairs = match value {
                Some(value) => [("rc", "0"), ("msg", "success"), ("value", value)],
                None => [("rc", "-1"), ("msg", "no_such_key"), ("value", "unknown")],
            };
            return self.reply(rank, &request, "get_result", &pairs);
        }
        let name = format!("{}-response", request.command);
        match value {
            Some(value) => {
                let pairs = [("found", "TRUE"), ("value", value), ("rc", "0")];
                self.reply(rank, &request, &name, &pairs);
            }
            None => self.reply(rank, &request, &name, &[("found", "FALSE"), ("rc", "0")]),
        }
    }

    /// The last one to come makes visible what all have put, on one host; the last host does, on
    /// several.
    fn fence(&mut self, rank: u32, request: Request) {
        self.clients[rank as usize].waits = Some((Wait::Fence, request));
        let all = self.clients.iter().all(|client| matches!(client.waits, Some((Wait::Fence, _))));
        if all && self.clients.len() == self.facts.size as usize {
            self.end_fence();
        } else if all {
            self.departs = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvFlags, recv, send};

    /// The host of each rank, where hosts have so many in blocks.
    fn hosts_of(counts: &[u32]) -> Vec<u32> {
        let times = |(host, count): (u32, &u32)| std::iter::repeat_n(host, *count as usize);
        (0..).zip(counts).flat_map(times).collect()
    }

    struct Ranks {
        server: Server,
        ends: Vec<OwnedFd>,
    }

    impl Ranks {
        fn new(size: usize) -> Ranks {
            Ranks::on_a_host(&[size as u32], 0)
        }

        /// The ranks of a host, of those with so many ranks each.
        fn on_a_host(counts: &[u32], host: usize) -> Ranks {
            let (ours, ends) = (0..counts[host]).map(|_| pair().unwrap()).unzip();
            let first = counts[..host].iter().sum();
            let facts = JobFacts {
                name: "job".into(),
                size: counts.iter().sum(),
                ranks: (first..first + counts[host]).collect(),
                mapping: mapping(&hosts_of(counts)),
                programs: vec![0; counts[host] as usize],
            };
            Ranks { server: Server::new(facts, ours), ends }
        }

        fn say(&mut self, rank: u32, text: &str) -> (Said, String) {
            let end = &self.ends[rank as usize];
            assert_eq!(send(end, text.as_bytes(), SendFlags::empty()), Ok(text.len()));
            (self.server.serve(rank), self.heard(rank))
        }

        fn heard(&self, rank: u32) -> String {
            let mut buffer = [0; 1024];
            let got = recv(&self.ends[rank as usize], &mut buffer[..], RecvFlags::DONTWAIT);
            let count = got.map_or(0, |(count, _)| count);
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        }
    }

    /// A message of PMI-2.
    fn two(text: &str) -> String {
        format!("{:6}{text}", text.len())
    }

    #[test]
    fn ranks_exchange_addresses_in_lines() {
        let mut ranks = Ranks::new(2);
        let (said, reply) = ranks.say(0, "cmd=init pmi_version=1 pmi_subversion=1\n");
        assert_eq!(said, Said::Began);
        assert_eq!(reply, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
        let (said, reply) = ranks.say(0, "cmd=get_my_kvsname\n");
        assert_eq!((said, reply.as_str()), (Said::Nothing, "cmd=my_kvsname kvsname=job rc=0\n"));
        let mapping = ranks.say(0, "cmd=get kvsname=job key=PMI_process_mapping\n").1;
        assert_eq!(mapping, "cmd=get_result rc=0 msg=success value=(vector,(0,1,2))\n");
        assert!(ranks.say(0, "cmd=put kvsname=job key=a value=x=y\n").1.contains("rc=0"));
        // Nothing is visible, and nobody goes on, before all have come.
        assert!(ranks.say(1, "cmd=init pmi_version=1 pmi_subversion=1\n").1.contains("rc=0"));
        assert!(ranks.say(1, "cmd=get kvsname=job key=a\n").1.contains("rc=-1"));
        assert_eq!(ranks.say(0, "cmd=barrier_in\n").1, "");
        assert_eq!(ranks.say(1, "cmd=barr").1, "");
        assert_eq!(ranks.say(1, "ier_in\n").1, "cmd=barrier_out rc=0\n");
        assert_eq!(ranks.heard(0), "cmd=barrier_out rc=0\n");
        let got = ranks.say(1, "cmd=get kvsname=job key=a\n").1;
        assert_eq!(got, "cmd=get_result rc=0 msg=success value=x=y\n");
        let spawn = "mcmd=spawn\nnprocs=1\nexecname=x\nendcmd\n";
        assert!(ranks.say(1, spawn).1.starts_with("cmd=spawn_result rc=-1"));
        assert_eq!(ranks.say(0, "cmd=abort exitcode=7\n"), (Said::Aborts(7), String::new()));
        assert!(ranks.server.is_unfinished(1));
        assert_eq!(ranks.say(1, "cmd=finalize\n").1, "cmd=finalize_ack rc=0\n");
        assert!(!ranks.server.is_unfinished(1));
    }

    #[test]
    fn ranks_exchange_addresses_in_messages() {
        let mut ranks = Ranks::new(2);
        for rank in 0..2 {
            let reply = ranks.say(rank, "cmd=init pmi_version=2 pmi_subversion=0\n").1;
            assert_eq!(reply, "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n");
            let full = two(&format!("cmd=fullinit;pmirank={rank};threaded=FALSE;"));
            let reply = ranks.say(rank, &full).1;
            assert!(reply.contains(&format!("rank={rank};size=2;appnum=0;")), "{reply}");
        }
        assert!(ranks.say(0, &two("cmd=job-getid;")).1.contains("jobid=job;rc=0;"));
        // A semicolon in a value is doubled.
        let put = two("cmd=kvs-put;key=a;value=host:1;;2;thrid=7;");
        assert!(ranks.say(0, &put).1.ends_with("cmd=kvs-put-response;thrid=7;rc=0;"));
        assert_eq!(ranks.say(0, &two("cmd=kvs-fence;")).1, "");
        assert_eq!(ranks.say(1, &two("cmd=kvs-fence;")).1, two("cmd=kvs-fence-response;rc=0;"));
        assert_eq!(ranks.heard(0), two("cmd=kvs-fence-response;rc=0;"));
        let got = ranks.say(1, &two("cmd=kvs-get;jobid=job;srcid=-1;key=a;")).1;
        assert_eq!(got, two("cmd=kvs-get-response;found=TRUE;value=host:1;;2;rc=0;"));
        // A value of the host is waited for.
        assert_eq!(ranks.say(1, &two("cmd=info-getnodeattr;key=k;wait=TRUE;")).1, "");
        assert!(ranks.say(0, &two("cmd=info-putnodeattr;key=k;value=v;")).1.contains("rc=0"));
        assert!(ranks.heard(1).contains("found=TRUE;value=v;"));
    }

    #[test]
    fn mappings_are_runs_of_equal_hosts() {
        let blocks = |counts: &[u32]| mapping(&hosts_of(counts));
        assert_eq!(blocks(&[4]), "(vector,(0,1,4))");
        assert_eq!(blocks(&[2, 2, 2]), "(vector,(0,3,2))");
        assert_eq!(blocks(&[2, 2, 1]), "(vector,(0,2,2),(2,1,1))");
        assert_eq!(blocks(&[1, 3, 1]), "(vector,(0,1,1),(1,1,3),(2,1,1))");
        assert_eq!(mapping(&[0, 1, 0, 1]), "(vector,(0,2,1))");
        assert_eq!(mapping(&[0, 1, 2, 0]), "(vector,(0,3,1),(0,1,1))");
        assert_eq!(mapping(&[1, 0, 0, 1, 0, 0]), "(vector,(1,1,1),(0,1,2))");
    }

    #[test]
    fn hosts_meet_at_a_fence() {
        let mut hosts = [0, 1].map(|host| Ranks::on_a_host(&[2, 1], host));
        for (host, rank) in [(0, 0), (0, 1), (1, 0)] {
            let reply = hosts[host].say(rank, "cmd=init pmi_version=2 pmi_subversion=0\n").1;
            assert!(reply.contains("rc=0"), "{reply}");
        }
        let full = hosts[1].say(0, &two("cmd=fullinit;pmirank=2;threaded=FALSE;")).1;
        assert!(full.contains("rank=2;size=3;appnum=0;"), "{full}");
        let map = two("cmd=info-getjobattr;key=PMI_process_mapping;");
        assert!(hosts[1].say(0, &map).1.contains("value=(vector,(0,1,2),(1,1,1));"));
        let fence = two("cmd=kvs-fence;");
        assert!(hosts[0].say(1, &two("cmd=kvs-put;key=a;value=1;")).1.contains("rc=0"));
        assert!(hosts[1].say(0, &two("cmd=kvs-put;key=b;value=2;")).1.contains("rc=0"));
        hosts[0].say(0, &fence);
        assert_eq!(hosts[0].server.take_departure(), None);
        hosts[0].say(1, &fence);
        assert_eq!(hosts[0].heard(0), "");
        let first = hosts[0].server.take_departure().expect("all ranks of the host came");
        assert_eq!(first, [("a".to_owned(), "1".to_owned())]);
        assert_eq!(hosts[0].server.take_departure(), None);
        hosts[1].say(0, &fence);
        let second = hosts[1].server.take_departure().expect("all ranks of the host came");
        for host in &mut hosts {
            host.server.arrive(first.clone());
            host.server.arrive(second.clone());
            host.server.end_fence();
        }
        for (host, rank, key, value) in [(0, 0, "b", 2), (0, 1, "a", 1), (1, 0, "a", 1)] {
            assert_eq!(hosts[host].heard(rank), two("cmd=kvs-fence-response;rc=0;"));
            let get = two(&format!("cmd=kvs-get;jobid=job;srcid=-1;key={key};"));
            let got = hosts[host].say(rank, &get).1;
            assert!(got.contains(&format!("value={value};")), "{got}");
        }
    }

    #[test]
    fn nonsense_costs_the_socket() {
        for nonsense in ["GET / HTTP/1.1\n", "\n", "cmd=init pmi_version=9 pmi_subversion=0\n"] {
            let mut ranks = Ranks::new(1);
            assert_eq!(ranks.say(0, nonsense).0, Said::Gone, "{nonsense}");
        }
        let mut ranks = Ranks::new(1);
        ranks.say(0, "cmd=init pmi_version=2 pmi_subversion=0\n");
        assert_eq!(ranks.say(0, "  -1  ").0, Said::Gone);
        let mut ranks = Ranks::new(1);
        drop(ranks.ends.pop());
        assert_eq!(ranks.server.serve(0), Said::Gone);
    }
}
