// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The hosts of a job: lists and files in the syntaxes of hydra and of Open MPI.
//!
//! Not here: which ranks each host gets (spread.rs).
#![forbid(unsafe_code)]

use super::failure::Failure;
use serde::{Deserialize, Serialize};

/// A host as the user named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name or address; for ssh also `user@host`.
    pub name: String,
    /// How many ranks it takes.
    pub slots: Option<u32>,
}

/// What starts an agent on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launcher {
    /// ssh.
    Auto,
    /// This program, with ssh's usual options.
    Ssh(String),
    /// `srun --overlap` inside an allocation.
    Srun,
    /// No other host: all agents are children of mpiexec, for tests.
    Fork,
    /// This program, with the host and our command as arguments.
    Program(String),
}

impl Launcher {
    /// What it is called, for people.
    pub fn name(&self) -> String {
        match self {
            Launcher::Auto => "ssh".to_owned(),
            Launcher::Srun => "srun".to_owned(),
            Launcher::Fork => "the agent".to_owned(),
            Launcher::Ssh(program) | Launcher::Program(program) => program.clone(),
        }
    }
}

/// Adds the hosts of a list: `a,b:4,node[01-16]`.
///
/// # Errors
/// A number that is none, brackets that do not close.
pub fn add_list(spelled: &str, list: &str, hosts: &mut Vec<Host>) -> Result<(), Failure> {
    for entry in split_outside_brackets(list) {
        add(spelled, entry, None, hosts)?;
    }
    Ok(())
}

/// Adds the hosts of a file: a host in each line, with `host:4` or `slots=4`; `#` begins a comment.
///
/// # Errors
/// A line that says something else.
pub fn add_file(spelled: &str, text: &str, hosts: &mut Vec<Host>) -> Result<(), Failure> {
    for (line, number) in text.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        let Some(entry) = words.next() else { continue };
        let place = format!("{spelled}, line {number}");
        let mut slots = None;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "slots" => slots = Some(count(&place, value)?),
                // A limit beside the slots (Open MPI), a weight, an interface (hydra).
                "max_slots" | "max-slots" | "binding" | "ifhn" => {}
                _ => {
                    return Err(Failure::usage(format!("{place}: unknown word '{word}'")).help(
                        "a line is a host, then slots=N or nothing: node1 slots=4, node1:4",
                    ));
                }
            }
        }
        add(&place, entry, slots, hosts)?;
    }
    Ok(())
}

/// The hosts of a Slurm allocation of several nodes, from its variables; `None` outside of one, and
/// in one of a single node, which needs no other host.
pub fn of_slurm(variable: &dyn Fn(&str) -> Option<String>) -> Option<Vec<Host>> {
    let list = variable("SLURM_JOB_NODELIST")?;
    let mut hosts = Vec::new();
    add_list("SLURM_JOB_NODELIST", &list, &mut hosts).ok().filter(|()| hosts.len() > 1)?;
    let slots = variable("SLURM_TASKS_PER_NODE").and_then(|text| repeated(&text));
    if let Some(slots) = slots.filter(|slots| slots.len() == hosts.len()) {
        for (host, count) in hosts.iter_mut().zip(slots) {
            host.slots = Some(count);
        }
    }
    Some(hosts)
}

/// `2(x3),1` is 2, 2, 2, 1.
fn repeated(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (number, times) = match part.split_once("(x") {
            Some((number, rest)) => (number, rest.strip_suffix(')')?.parse::<usize>().ok()?),
            None => (part, 1),
        };
        let number = number.trim().parse::<u32>().ok().filter(|number| *number > 0)?;
        numbers.extend(std::iter::repeat_n(number, times.min(65_536)));
    }
    Some(numbers)
}

fn add(place: &str, entry: &str, slots: Option<u32>, hosts: &mut Vec<Host>) -> Result<(), Failure> {
    let entry = entry.trim();
    let (names, own) = match entry.rsplit_once(':') {
        // More than one colon is an IPv6 address.
        Some((name, number)) if !name.contains(':') => (name, Some(count(place, number)?)),
        _ => (entry, None),
    };
    for name in expand(place, names)?.into_iter().filter(|name| !name.is_empty()) {
        let slots = slots.or(own);
        match hosts.last_mut().filter(|host| host.name == name) {
            Some(host) => host.slots = Some(host.slots.unwrap_or(1) + slots.unwrap_or(1)),
            // Named again after others: ranks follow the list.
            None => hosts.push(Host { name, slots }),
        }
    }
    Ok(())
}

fn count(place: &str, text: &str) -> Result<u32, Failure> {
    text.parse::<u32>().ok().filter(|count| (1..=65_536).contains(count)).ok_or_else(|| {
        Failure::usage(format!("{place}: '{text}' is no number of ranks"))
            .help("for example node1:4, or node1 slots=4 in a file")
    })
}

fn split_outside_brackets(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// SLURM's short form of many names: `node[1-3,07]-ib`.
fn expand(place: &str, text: &str) -> Result<Vec<String>, Failure> {
    let wrong = || Failure::usage(format!("{place}: '{text}' is no list of hosts"));
    let Some((before, rest)) = text.split_once('[') else {
        return if text.contains(']') { Err(wrong()) } else { Ok(vec![text.to_owned()]) };
    };
    let (inside, after) = rest.split_once(']').ok_or_else(wrong)?;
    let tails = expand(place, after)?;
    let mut names = Vec::new();
    for range in inside.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u64, u64) =
            (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if high < low || high - low > 65_536 {
            return Err(wrong());
        }
        for number in low..=high {
            for tail in &tails {
                names.push(format!("{before}{number:0width$}{tail}", width = first.len()));
            }
        }
    }
    Ok(names)
}

/// Whether a name means this host, which is called `own`.
pub fn is_here(name: &str, own: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or("").to_owned();
    matches!(name, "localhost" | "127.0.0.1" | "::1")
        || name == own
        || match name.parse::<std::net::IpAddr>() {
            // An address of ours is one that we can use.
            Ok(address) => std::net::UdpSocket::bind((address, 0)).is_ok(),
            Err(_) => short(name) == short(own),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<(String, Option<u32>)> {
        let mut hosts = Vec::new();
        add_list("-hosts", list, &mut hosts).expect(list);
        hosts.into_iter().map(|host| (host.name, host.slots)).collect()
    }

    #[test]
    fn lists() {
        let some = |name: &str, slots| (name.to_owned(), slots);
        assert_eq!(names("a,b:4"), [some("a", None), some("b", Some(4))]);
        assert_eq!(names("a,a,b"), [some("a", Some(2)), some("b", None)]);
        assert_eq!(names("a,b,a"), [some("a", None), some("b", None), some("a", None)]);
        assert_eq!(names("user@a:2, ::1"), [some("user@a", Some(2)), some("::1", None)]);
        let many = ["n08", "n09", "n10", "n2-ib"].map(|name| some(name, Some(2)));
        assert_eq!(names("n[08-10]:2,n[2]-ib:2"), many);
        assert_eq!(names("r[1-2]n[1-2]").len(), 4);
        for bad in ["a:x", "a:0", "n[1-", "n[2-1]", "n]1", "n[a-b]"] {
            assert!(add_list("-hosts", bad, &mut Vec::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_of_both_kinds() {
        let mut hosts = Vec::new();
        let text = "# hydra\nn1:4\n\nn2 slots=2 max_slots=8 # Open MPI\nn3\n";
        add_file("-f hosts", text, &mut hosts).expect("a file");
        let slots: Vec<_> = hosts.iter().map(|host| host.slots).collect();
        assert_eq!(slots, [Some(4), Some(2), None]);
        let error = add_file("-f hosts", "n1\nn2 cpus=3", &mut hosts).expect_err("a wrong word");
        assert!(error.text.contains("-f hosts, line 2: unknown word 'cpus=3'"), "{}", error.text);
    }

    #[test]
    fn allocations_of_slurm() {
        let found = |list: &str, tasks: &str| {
            let hosts = of_slurm(&|name| match name {
                "SLURM_JOB_NODELIST" => Some(list.to_owned()),
                "SLURM_TASKS_PER_NODE" => Some(tasks.to_owned()),
                _ => None,
            })?;
            Some(hosts.iter().map(|host| (host.name.clone(), host.slots)).collect::<Vec<_>>())
        };
        let some = |name: &str, slots| (name.to_owned(), slots);
        let three = [some("n1", Some(2)), some("n2", Some(2)), some("gpu07", Some(1))];
        assert_eq!(found("n[1-2],gpu07", "2(x2),1").expect("hosts"), three);
        // What does not fit is not believed.
        for tasks in ["2", "2(x", "", "0(x3)", "2(x2),1,1"] {
            let hosts = found("n[1-2],gpu07", tasks).expect("hosts");
            assert!(hosts.iter().all(|(_, slots)| slots.is_none()), "{tasks}");
        }
        assert_eq!(found("n1", "4"), None);
        assert_eq!(found("n[1", "4"), None);
        assert_eq!(repeated("16(x2),8"), Some(vec![16, 16, 8]));
        assert_eq!(found("a[001-128]", "1(x128)").expect("hosts")[127], some("a128", Some(1)));
    }
}
