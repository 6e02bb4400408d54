// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait info`: what is installed, and where it runs.
#![forbid(unsafe_code)]

use super::probe;
use super::topology::{self, Source};
use crate::mpiexec::allowed_processors;
use crate::prefix::{MPICH_FACE, Prefix, STANDARD_FACE};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Everything that is told, in the order it is told.
#[derive(Serialize)]
struct Info {
    version: &'static str,
    build: &'static str,
    prefix: Option<String>,
    libraries: Vec<Library>,
    lanes: &'static [&'static str],
    host: String,
    kernel: String,
    architecture: &'static str,
    processors_allowed: usize,
    processors_quota: Option<f64>,
}

#[derive(Serialize)]
struct Library {
    name: &'static str,
    what: &'static str,
    path: Option<String>,
}

/// The lanes that are compiled in.
const LANES: &[&str] = &["loopback", "shm", "ofi", "tcp"];

fn gather() -> Info {
    let prefix = Prefix::of_this_executable();
    let library = |name: &'static str, what: &'static str| Library {
        name,
        what,
        path: prefix
            .as_ref()
            .and_then(|prefix| prefix.library(name))
            .map(|path| path.display().to_string()),
    };
    Info {
        version: crate::VERSION,
        build: strait_transport::node::BUILD_ID,
        prefix: prefix.as_ref().map(|prefix| prefix.root().display().to_string()),
        libraries: vec![
            library(STANDARD_FACE, "standard ABI (MPI 5.0)"),
            library(MPICH_FACE, "MPICH ABI (the mpi4py wheel)"),
        ],
        lanes: LANES,
        host: host(),
        kernel: probe::kernel(),
        architecture: std::env::consts::ARCH,
        processors_allowed: allowed_processors().len(),
        processors_quota: probe::quota(),
    }
}

/// What to tell.
#[derive(Args)]
pub struct Options {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    /// Draw what this host is made of: packages, NUMA nodes, caches, cores, cards. STRAIT_TOPOLOGY
    /// (an XML file of hwloc, a synthetic string) draws another machine.
    #[arg(long)]
    topology: bool,
    #[command(flatten)]
    drawing: Topology,
}

/// What to draw.
#[derive(Args)]
pub struct Topology {
    /// With --topology: so many ranks in the drawing, where mpiexec would bind them.
    #[arg(short = 'n', long, default_value_t = 0, requires = "topology")]
    pub ranks: u32,
    /// With -n: mpiexec's -bind-to.
    #[arg(long, requires = "topology")]
    pub bind_to: Option<String>,
    /// With -n: mpiexec's -map-by.
    #[arg(long, requires = "topology")]
    pub map_by: Option<String>,
    /// With --topology: who is asked about this host.
    #[arg(long, value_enum, default_value = "auto", requires = "topology")]
    pub from: Source,
}

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    match options.topology {
        true => topology::run(&options.drawing, options.json),
        false => facts(options.json),
    }
}

pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn facts(json: bool) -> ExitCode {
    let info = gather();
    if json {
        let text = serde_json::to_string_pretty(&info).expect("strings and numbers become JSON");
        super::print(&format!("{text}\n"));
        return ExitCode::SUCCESS;
    }
    let mut text = format!("Strait {}  build {}\n", info.version, info.build);
    text.push_str(&format!("prefix      {}\n", info.prefix.as_deref().unwrap_or("unknown")));
    for library in &info.libraries {
        let path = library.path.as_deref().unwrap_or("not installed here");
        text.push_str(&format!("library     {:16} {}: {path}\n", library.name, library.what));
    }
    text.push_str(&format!("lanes       {}\n", info.lanes.join(", ")));
    text.push_str(&format!("host        {}  {}  {}\n", info.host, info.kernel, info.architecture));
    let quota = info.processors_quota.map_or(String::new(), |quota| format!(", quota {quota:.2}"));
    text.push_str(&format!("processors  {} allowed{quota}\n", info.processors_allowed));
    super::print(&text);
    ExitCode::SUCCESS
}
