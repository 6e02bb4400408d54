// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait info`: what is installed, and where it runs.
#![forbid(unsafe_code)]

use super::probe;
use crate::machine::Machine;
use crate::mpiexec::{BindTo, Cores, allowed_processors, binding_sets};
use crate::prefix::{MPICH_FACE, Prefix, STANDARD_FACE};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::Path;
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

/// How ranks are bound, as mpiexec's `-bind-to`.
#[derive(Clone, Copy, ValueEnum)]
enum Binding {
    None,
    Core,
    Hwthread,
}

/// What to tell.
#[derive(Args)]
pub struct Options {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    /// Draw what this host is made of: packages, NUMA nodes, caches, cores, cards.
    #[arg(long)]
    topology: bool,
    /// With --topology: so many ranks in the drawing, as mpiexec would bind them.
    #[arg(short = 'n', long, default_value_t = 0, requires = "topology")]
    ranks: u32,
    /// With -n: how they are bound.
    #[arg(long, value_enum, default_value = "core", requires = "topology")]
    bind_to: Binding,
}

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    if options.topology { topology(options) } else { facts(options.json) }
}

fn topology(options: &Options) -> ExitCode {
    let machine = Machine::read(Path::new("/sys"), &allowed_processors());
    if options.json {
        let text = serde_json::to_string_pretty(&machine).expect("numbers become JSON");
        super::print(&format!("{text}\n"));
        return ExitCode::SUCCESS;
    }
    let how = match options.bind_to {
        Binding::None => BindTo::None,
        Binding::Core => BindTo::Core,
        Binding::Hwthread => BindTo::HardwareThread,
    };
    let cores = Cores::of_this_process();
    // Only a list of the user's can be wrong.
    let sets = binding_sets(&how, options.ranks, &cores).unwrap_or_default();
    super::print(&machine.draw(&host(), &sets));
    ExitCode::SUCCESS
}

fn host() -> String {
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
