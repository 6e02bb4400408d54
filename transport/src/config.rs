// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The knob table: every environment variable that changes how Strait works, once. From it come
//! the readers, the page docs/knobs.md, and the warning about names that are not in it.
//!
//! A threshold is no knob but a number of the protocol's cost table; a knob names who needs it.
//! Not here: the variables between mpiexec and its ranks (bootstrap/contract.rs).
#![forbid(unsafe_code)]

use crate::bootstrap::contract;
use crate::error::{Error, Kind, Result};
use std::fmt::Write as _;

/// All names begin so.
pub const PREFIX: &str = "STRAIT_";

/// What a knob's value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A whole number.
    Number,
    /// `on` or `off` (also 1, 0, yes, no, true, false), or `auto`, which is as good as nothing.
    Switch,
    /// Names, separated by commas.
    List,
    /// Any text.
    Text,
}

/// Who turns a knob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// For speed on a machine that the defaults do not fit.
    Tuning,
    /// To find a fault.
    Debugging,
}

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Name without the prefix.
    pub name: &'static str,
    /// Form of its value.
    pub value: Value,
    /// What holds when it is not set.
    pub default: &'static str,
    /// Unit of a number.
    pub unit: &'static str,
    /// Who turns it.
    pub scope: Scope,
    /// First version that has it.
    pub since: &'static str,
    /// What it does, and who needs it.
    pub text: &'static str,
}

/// Every knob.
pub const KNOBS: &[Knob] = &[
    Knob {
        name: "BOARDS",
        value: Value::Switch,
        default: "on",
        unit: "",
        scope: Scope::Debugging,
        since: "0.1",
        text: "Whether blocking collectives of a communicator whose ranks share a host go over its \
               board in shared memory. Off makes them of messages, as between hosts: for tests and \
               measurements. All ranks must say the same.",
    },
    Knob {
        name: "CHECK",
        value: Value::List,
        default: "",
        unit: "",
        scope: Scope::Debugging,
        since: "0.1",
        text: "Checks that cost something: `handles` tells at MPI_Finalize which requests, \
               communicators, datatypes, windows and other objects a rank did not free.",
    },
    Knob {
        name: "HUGE_PAGES",
        value: Value::Switch,
        default: "on",
        unit: "",
        scope: Scope::Debugging,
        since: "0.1",
        text: "Whether buffers that long messages of one host use again and again are collapsed \
               into huge pages (MADV_COLLAPSE, Linux 6.1), which halves the time of a copy through \
               the kernel. Off is for measurements, and where huge pages are scarce.",
    },
    Knob {
        name: "HWLOC_LIBRARY",
        value: Value::Text,
        default: "libhwloc.so.15",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Name or path of the hwloc that `strait info --topology` and STRAIT_TOPOLOGY use: \
               for a site's own build. hwloc 2 only. Ranks never open it.",
    },
    Knob {
        name: "KEEP_GOING",
        value: Value::Switch,
        default: "off",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Whether the other ranks go on when one is lost: `mpiexec --keep-going` sets it for \
               all ranks, and does its part; under another launcher set it together with that \
               launcher's own option (docs/fault-tolerance.md).",
    },
    Knob {
        name: "LANES",
        value: Value::List,
        default: "shm,ucx,ofi,tcp",
        unit: "",
        scope: Scope::Debugging,
        since: "0.1",
        text: "Which lanes may be used: shm, ucx, ofi (libfabric), tcp. `tcp`, `ofi` or `ucx` \
               alone is used between ranks of one host, too: for tests, and to tell a fault of \
               shared memory from one of the program. Beside tcp, ucx and ofi are used where \
               there is a fabric's card (docs/ucx.md, docs/ofi.md). All ranks must say the same.",
    },
    Knob {
        name: "OFI_LIBRARY",
        value: Value::Text,
        default: "libfabric.so.1",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Name or path of the libfabric to open: for a site's own build, or another than the \
               system's.",
    },
    Knob {
        name: "OFI_PROVIDER",
        value: Value::Text,
        default: "chosen",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Provider of libfabric to use, by its name in fi_info, also one over software such \
               as `tcp;ofi_rxm`: where the choice is wrong, and for measurements. All ranks must \
               say the same.",
    },
    Knob {
        name: "PEER_READ",
        value: Value::Switch,
        default: "on",
        unit: "",
        scope: Scope::Debugging,
        since: "0.1",
        text: "Whether long messages may be read straight from the sender's memory \
               (process_vm_readv). Off copies them through shared memory, as where the kernel \
               forbids such reads: for tests, and under tools that cannot follow these reads.",
    },
    Knob {
        name: "PMIX_LIBRARY",
        value: Value::Text,
        default: "found",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Name or path of the PMIx library by which ranks join Open MPI's mpirun and \
               `srun --mpi=pmix`: where neither the launcher nor the loader knows it.",
    },
    Knob {
        name: "PROGRESS",
        value: Value::Switch,
        default: "auto",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Whether a thread of its own makes progress while a rank computes, so that long \
               messages and nonblocking collectives go on (docs/progress.md). By default it is \
               started by the first of these, where the ranks of the host leave a core idle. A \
               window whose ranks reach it by messages has that thread in any case.",
    },
    Knob {
        name: "REPRODUCIBLE",
        value: Value::Text,
        default: "off",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "`run` or `layout`: reductions that depend on the order of their operands give the \
               same bits in each run with so many ranks, wherever these are. `exact`: \
               floating-point sums give the same bits in any order, rounded once \
               (docs/reproducible.md). All ranks must say the same.",
    },
    Knob {
        name: "RMA_BYTES",
        value: Value::Number,
        default: "by fabric",
        unit: "bytes",
        scope: Scope::Tuning,
        since: "0.1",
        text: "From so many bytes on MPI_Put and MPI_Get go by the writes and reads of a fabric \
               (ofi, ucx) where the target is reached by one; shorter ones go by messages. By \
               default all do over hardware, those of 65536 bytes over libfabric's software, and \
               none over UCX's sockets.",
    },
    Knob {
        name: "SPIN_US",
        value: Value::Number,
        default: "50",
        unit: "microseconds",
        scope: Scope::Tuning,
        since: "0.1",
        text: "How long a waiting thread spins before it yields and sleeps, where each rank has a \
               core. Less saves power and leaves hyperthreads to others; more answers faster after \
               long waits. With more ranks than cores nobody spins.",
    },
    Knob {
        name: "TCP_INTERFACE",
        value: Value::Text,
        default: "chosen",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Name, address or subnet of the network interface that TCP connections use: for \
               hosts with several networks. Several, separated by commas, are used at the same \
               time, and one goes on when another breaks (docs/tcp.md); all hosts need them, in \
               the same order.",
    },
    Knob {
        name: "TCP_PORTS",
        value: Value::Text,
        default: "any",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Ports that ranks may listen on, such as 5000-5100: for firewalls that let these \
               through; mpiexec -ports sets it. Each rank of a host needs one: over TCP, \
               libfabric's software over IP, and UCX's (which leaves the last one free).",
    },
    Knob {
        name: "TOPOLOGY",
        value: Value::Text,
        default: "",
        unit: "",
        scope: Scope::Debugging,
        since: "0.1",
        text: "Another machine for `strait info --topology` and `mpiexec --report-bindings` to \
               show (nothing is bound then): an XML file of hwloc, a directory with a copy of \
               /sys, or a synthetic string such as `pack:2 numa:2 core:8 pu:2` (docs/mpiexec.md).",
    },
    Knob {
        name: "TUNING",
        value: Value::Text,
        default: "",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "A file with rules that say which algorithm serves a collective (docs/selection.md). \
               They come before the shipped ones. All ranks must name the same rules.",
    },
    Knob {
        name: "UCX_LIBRARY",
        value: Value::Text,
        default: "libucp.so.0",
        unit: "",
        scope: Scope::Tuning,
        since: "0.1",
        text: "Name or path of the UCX to open: for a site's own build, or another than the \
               system's. UCX's own settings (`UCX_TLS`, `UCX_NET_DEVICES`...) hold as for any \
               program.",
    },
];

/// Variables that are set by one part of Strait for another.
const INTERNAL: &[&str] = &[
    contract::ENV_JOB,
    contract::ENV_SOCKET,
    contract::ENV_RANK,
    contract::ENV_SIZE,
    contract::ENV_NODE_FD,
    "STRAIT_APPNUM",
    "STRAIT_CC",
    "STRAIT_CXX",
    "STRAIT_LOADED_IN",
];

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::new(Kind::Config(text)))
}

/// The text of a knob, if it is set and not empty.
///
/// # Panics
/// If there is no such knob.
pub fn text(name: &str) -> Result<Option<String>> {
    assert!(KNOBS.iter().any(|knob| knob.name == name), "{name} is in the table");
    match std::env::var(format!("{PREFIX}{name}")) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(_) => refuse(format!("{PREFIX}{name} is not text")),
    }
}

/// The value of a number.
pub fn number(name: &str) -> Result<Option<u64>> {
    text(name)?.map(|text| parse_number(name, &text)).transpose()
}

/// The value of a switch.
pub fn switch(name: &str) -> Result<Option<bool>> {
    match text(name)? {
        Some(text) if !text.eq_ignore_ascii_case("auto") => parse_switch(name, &text).map(Some),
        _ => Ok(None),
    }
}

fn parse_number(name: &str, text: &str) -> Result<u64> {
    text.parse().or_else(|_| refuse(format!("{PREFIX}{name} is {text}, which is no whole number")))
}

fn parse_switch(name: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "1" | "yes" | "true" => Ok(true),
        "off" | "0" | "no" | "false" => Ok(false),
        _ => refuse(format!("{PREFIX}{name} is {text}, which is neither on nor off")),
    }
}

/// A line for each variable that begins like ours and is not ours, with the name that was perhaps
/// meant. `names` are the names in the environment.
pub fn strangers(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = names.filter_map(|name| stranger(&name)).collect();
    lines.sort();
    lines
}

fn stranger(name: &str) -> Option<String> {
    let short = name.strip_prefix(PREFIX)?;
    if INTERNAL.contains(&name) || KNOBS.iter().any(|knob| knob.name == short) {
        return None;
    }
    let nearest =
        KNOBS.iter().map(|knob| (strsim::damerau_levenshtein(short, knob.name), knob.name));
    let meant = nearest.min().filter(|(distance, known)| *distance <= known.len().div_ceil(3));
    Some(match meant {
        Some((_, known)) => {
            format!("{name} is no variable of Strait; did you mean {PREFIX}{known}?")
        }
        None => format!("{name} is no variable of Strait; `strait params` lists them"),
    })
}

/// The table as a page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Knobs\n\n@generated from transport/src/config.rs; do not edit.\n\n\
         | variable | value | default | for | since | what it does |\n|---|---|---|---|---|---|\n",
    );
    for knob in KNOBS {
        let unit = if knob.unit.is_empty() { String::new() } else { format!(", {}", knob.unit) };
        let value = format!("{:?}{unit}", knob.value).to_lowercase();
        let scope = format!("{:?}", knob.scope).to_lowercase();
        let _ = writeln!(
            page,
            "| `{PREFIX}{}` | {value} | {} | {scope} | {} | {} |",
            knob.name, knob.default, knob.since, knob.text
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused_by_name() {
        assert_eq!(parse_number("SPIN_US", "17").unwrap(), 17);
        assert!(parse_number("SPIN_US", "-1").unwrap_err().to_string().contains("STRAIT_SPIN_US"));
        assert!(parse_switch("PEER_READ", "Yes").unwrap());
        assert!(!parse_switch("PEER_READ", "off").unwrap());
        assert!(parse_switch("PEER_READ", "maybe").is_err());
    }

    #[test]
    fn unknown_names_are_told_with_a_suggestion() {
        let names = ["STRAIT_LANE", "STRAIT_JOB", "STRAIT_SPIN_US", "HOME", "STRAIT_QUUX_CORGE"];
        let lines = strangers(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("did you mean STRAIT_LANES?"));
        assert!(lines[1].contains("strait params"));
    }

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/knobs.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(page, markdown(), "BLESS=1 cargo test writes docs/knobs.md anew");
    }

    #[test]
    fn the_table_is_small_and_sorted() {
        assert!(KNOBS.len() <= 40);
        assert!(KNOBS.is_sorted_by_key(|knob| knob.name));
    }
}
