// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The environment of the ranks: ours by the user's rules, then what tells a rank who it is, then
//! what makes Python and mpi4py find our library.
//!
//! Variables of an outer job never pass: a rank of a job inside a job would believe the outer one.
#![forbid(unsafe_code)]

use super::request::{EnvRules, Inherit};
use crate::prefix::{MPICH_FACE, Prefix};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use strait_transport::bootstrap::contract;
use strait_transport::lane::tcp::interface::ENV_INTERFACE;

/// Variables by name.
pub type Variables = BTreeMap<OsString, OsString>;

/// Names that describe an outer job, ours or another launcher's.
const OUTER_JOB: &[&str] = &[
    contract::ENV_JOB,
    contract::ENV_SOCKET,
    contract::ENV_RANK,
    contract::ENV_SIZE,
    contract::ENV_NODE_FD,
    contract::ENV_PROGRAM,
    contract::ENV_NAMES,
    contract::ENV_PARENT,
    contract::ENV_KEEP_GOING,
    "PMI_FD",
    "PMI_PORT",
    "PMI_ID",
    "PMI_RANK",
    "PMI_SIZE",
    "PMI_SPAWNED",
    "PMI_KVS",
    "HYDI_CONTROL_FD",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "PMIX_NAMESPACE",
    "PMIX_RANK",
    "PMIX_SERVER_URI2",
    "PMIX_SERVER_URI21",
    "PMIX_SERVER_URI3",
    "PMIX_SERVER_URI4",
    "PMIX_SERVER_URI41",
    "PMIX_SERVER_URI5",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
];

/// What all ranks of the job are told.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// Job identity in hex.
    pub job: String,
    /// Name of the abstract socket.
    pub socket: String,
    /// Name of that of the mpiexec that keeps the names of ports.
    pub names: String,
    /// Ranks of the job.
    pub size: u32,
    /// Ranks of this host.
    pub local_size: u32,
    /// The address by which other hosts reach this one, if that is known.
    pub address: Option<std::net::Ipv4Addr>,
    /// Descriptor of the node memory in the ranks.
    pub node_fd: i32,
}

/// The environment of a program, without what differs between its ranks.
pub fn of_program(
    ours: &Variables,
    all: &EnvRules,
    own: &EnvRules,
    prefix: Option<&Prefix>,
) -> Variables {
    let inherit = own.inherit.as_ref().or(all.inherit.as_ref()).unwrap_or(&Inherit::All);
    let mut variables: Variables = match inherit {
        Inherit::All => ours.clone(),
        Inherit::None => Variables::new(),
        Inherit::List(names) => ours
            .iter()
            .filter(|(name, _)| names.iter().any(|wanted| OsStr::new(wanted) == name.as_os_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    };
    for name in OUTER_JOB {
        variables.remove(OsStr::new(name));
    }
    for (name, value) in all.set.iter().chain(&own.set) {
        match value.as_ref().or_else(|| ours.get(name)) {
            Some(value) => drop(variables.insert(name.clone(), value.clone())),
            None => drop(variables.remove(name)),
        }
    }
    for_python(&mut variables, prefix);
    // Debian's libfabric brings PSM's library, which would catch SIGSEGV in every program: it
    // writes a file to the working directory and makes an exit with code 1 of it.
    variables.entry(NO_PSM_HANDLER.into()).or_insert_with(|| "1".into());
    variables
}

/// The variable that keeps PSM's library from catching signals.
const NO_PSM_HANDLER: &str = "IPATH_NO_BACKTRACE";

/// What Python and mpi4py's loader need; values of the user stay.
///
/// - The wheel's loader searches the venv before LD_LIBRARY_PATH, so that an `mpich` wheel in the
///   same venv would win; MPI4PY_MPIABI=mpich skips that search (and an import of ctypes), and the
///   dynamic loader then resolves libmpi.so.12 by LD_LIBRARY_PATH.
/// - MPI4PY_LIBMPI says the same to whoever unsets MPI4PY_MPIABI.
/// - A module built from source needs libmpi_abi.so.1 by the dynamic loader alone.
/// - Lines are assembled here, so unbuffered Python is safe, and nothing is lost when a rank dies.
pub fn for_python(variables: &mut Variables, prefix: Option<&Prefix>) {
    let name = OsString::from("PYTHONUNBUFFERED");
    variables.entry(name).or_insert_with(|| "1".into());
    let Some(prefix) = prefix else { return };
    let Some(library) = prefix.library(MPICH_FACE) else { return };
    let chosen = ["MPI4PY_LIBMPI", "MPI4PY_MPIABI"];
    if !chosen.iter().any(|name| variables.contains_key(OsStr::new(name))) {
        variables.insert("MPI4PY_LIBMPI".into(), library.into());
        variables.insert("MPI4PY_MPIABI".into(), "mpich".into());
    }
    let ours = prefix.lib();
    let path = variables.entry("LD_LIBRARY_PATH".into()).or_default();
    if std::env::split_paths(path.as_os_str()).next().as_deref() != Some(&ours) {
        let mut longer = ours.into_os_string();
        if !path.is_empty() {
            longer.push(":");
            longer.push(path.as_os_str());
        }
        *path = longer;
    }
}

/// `NAME=VALUE` for execve. Names and values come from our own environment or from arguments, so
/// they hold no NUL byte.
pub fn block(variables: &Variables) -> Vec<CString> {
    let entry = |(name, value): (&OsString, &OsString)| {
        let mut bytes = name.clone().into_vec();
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        CString::new(bytes).ok()
    };
    variables.iter().filter_map(entry).collect()
}

/// A rank of this host.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// Its rank in the job.
    pub rank: u32,
    /// Its number on this host.
    pub local_rank: u32,
    /// The number of its program.
    pub program: usize,
}

/// What tells one rank who it is: our own names, and hydra's, which programs look at. `pmi_fd` is
/// where another MPI library would speak PMI.
pub fn of_rank(facts: &JobFacts, who: Who, pmi_fd: i32) -> Vec<CString> {
    let (size, rank) = (facts.size, who.rank);
    let mut pairs = vec![
        (contract::ENV_JOB, facts.job.clone()),
        (contract::ENV_SOCKET, facts.socket.clone()),
        (contract::ENV_NAMES, facts.names.clone()),
        (contract::ENV_RANK, rank.to_string()),
        (contract::ENV_SIZE, size.to_string()),
        (contract::ENV_NODE_FD, facts.node_fd.to_string()),
        (contract::ENV_PROGRAM, who.program.to_string()),
        ("PMI_RANK", rank.to_string()),
        ("PMI_SIZE", size.to_string()),
        ("PMI_FD", pmi_fd.to_string()),
        ("MPI_LOCALRANKID", who.local_rank.to_string()),
        ("MPI_LOCALNRANKS", facts.local_size.to_string()),
    ];
    if let Some(address) = facts.address {
        pairs.push((ENV_INTERFACE, address.to_string()));
    }
    pairs.iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn rules_are_applied_in_order() {
        let outer = [("PMI_RANK", "7"), ("PMIX_RANK", "7"), ("STRAIT_JOB", "old")];
        let ours = variables(&[&[("A", "1"), ("B", "2")], &outer[..]].concat());
        let mut all = EnvRules::default();
        all.set.push(("C".into(), Some("3".into())));
        all.set.push(("B".into(), None));
        let mut own = EnvRules { inherit: Some(Inherit::None), ..EnvRules::default() };
        own.set.push(("C".into(), Some("4".into())));
        let got = of_program(&ours, &all, &own, None);
        let always = [("IPATH_NO_BACKTRACE", "1"), ("PYTHONUNBUFFERED", "1")];
        assert_eq!(got, variables(&[&[("B", "2"), ("C", "4")], &always[..]].concat()));
        let got = of_program(&ours, &EnvRules::default(), &EnvRules::default(), None);
        assert_eq!(got, variables(&[&[("A", "1"), ("B", "2")], &always[..]].concat()));
    }
}
