// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Other launchers start our ranks: MPICH's hydra on one host and on three, and srun of a SLURM
//! that runs on this machine for the time of the tests. Our mpiexec starts ranks that use MPICH's
//! library. What cannot be had here is skipped, and said so.

use super::cases::{self, Case};
use super::{Face, Suite, Tally, expected, programs, scripts};
use crate::network::{Network, write_script};
use crate::process::{Outcome, Task};
use crate::setup;
use crate::slurm::Slurm;
use std::path::{Path, PathBuf};

/// C programs that use much of what ranks share.
const PROGRAMS: &[&str] = &["collectives", "order", "rma_random", "communicators", "threads"];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    if suite.foreign.is_some() {
        tally.skipped += 1;
        return Ok(tally);
    }
    let hydra = setup::hydra(&suite.places)?;
    let here = [hydra.display().to_string()];
    run_with(suite, "hydra", &here, &mut tally)?;
    hydra_on_hosts(suite, &hydra, &mut tally);
    let python = suite.python(Face::Mpich)?;
    let case = Case::new("MPICH's library np=3 by our mpiexec", || theirs(suite, &hydra, &python));
    cases::run(&[case], 1, &mut tally);
    setup::network_tools()?;
    let slurm = setup::slurm().and_then(|()| Slurm::up(&suite.places.scratch().join("slurm")));
    match slurm {
        Ok(slurm) => {
            let file = format!("SLURM_CONF={}", slurm.file().display());
            let words = ["env", &file, "srun", "--mpi=pmi2", "-O", "--quiet"].map(String::from);
            run_with(suite, "srun", &words, &mut tally)?;
        }
        Err(why) => {
            println!("   no SLURM can be started here (root is needed): skipped\n   {why}");
            tally.skipped += 1;
        }
    }
    Ok(tally)
}

/// What a user of another launcher sets, as docs/launchers.md says.
fn task(suite: &Suite, launcher: &[String], ranks: usize) -> Task {
    let task = Task::new(&launcher[0]).args(&launcher[1..]).arg("-n").arg(ranks.to_string());
    task.env("LD_LIBRARY_PATH", suite.places.prefix().join("lib"))
        .env("MPI4PY_MPIABI", "mpich")
        .without_env("STRAIT_LANES")
        // hydra passes on each write as it comes; Python without a buffer writes a line in two.
        .without_env("PYTHONUNBUFFERED")
        .limit(120)
}

fn run_with(
    suite: &Suite,
    name: &str,
    launcher: &[String],
    tally: &mut Tally,
) -> Result<(), String> {
    let mut list = Vec::new();
    for program in programs::built(suite, tally)? {
        if !PROGRAMS.contains(&program.name.as_str()) {
            continue;
        }
        list.push(Case::new(format!("{} np=3 by {name}", program.name), move || {
            let outcome = task(suite, launcher, 3).arg(&program.binary).run()?;
            said(outcome, "ok\n")
        }));
    }
    let python = suite.python(Face::Mpich)?;
    for file in scripts::python_files(suite)? {
        let (python, stem) = (python.clone(), scripts::stem(&file));
        list.push(Case::new(format!("{stem}.py np=4 by {name}"), move || {
            let outcome = task(suite, launcher, 4).arg(&python).arg(&file).run()?;
            if !outcome.success() {
                return Err(outcome.describe());
            }
            expected::check(&stem, 4, &outcome.out)
        }));
    }
    let abort = "from mpi4py import MPI\nc = MPI.COMM_WORLD\nc.barrier()\n\
                 if c.rank == 2: c.Abort(7)\nc.barrier()";
    let failing = python.clone();
    list.push(Case::new(format!("MPI_Abort by {name}"), move || {
        let outcome = task(suite, launcher, 4).arg(&failing).args(["-c", abort]).run()?;
        let told = "MPI_Abort was called by rank 2";
        // srun answers with the largest code, which is that of a task it killed.
        let code = if name == "srun" { !outcome.success() } else { outcome.code == Some(7) };
        let good = code && outcome.err.matches(told).count() == 1;
        let good = good && !outcome.err.contains("Traceback");
        if good { Ok(()) } else { Err(outcome.describe()) }
    }));
    cases::run(&list, 2, tally);
    Ok(())
}

fn said(outcome: Outcome, text: &str) -> Result<(), String> {
    if outcome.success() && outcome.out == text { Ok(()) } else { Err(outcome.describe()) }
}

/// Our mpiexec tells ranks that bring MPICH's library their places, by PMI.
fn theirs(suite: &Suite, hydra: &Path, python: &Path) -> Result<(), String> {
    const SCRIPT: &str = "from mpi4py import MPI\nc = MPI.COMM_WORLD\n\
        total = c.allreduce(c.rank + 1)\nc.Barrier()\n\
        print(MPI.Get_library_version().split()[0], c.size, total, flush=True)";
    let library = hydra.with_file_name("../lib/libmpi.so.12");
    let task = suite.mpiexec(3, super::Lanes::Shm).arg(python).args(["-c", SCRIPT]);
    let outcome = task.env("MPI4PY_LIBMPI", library).limit(60).run()?;
    said(outcome, &"MPICH 3 6\n".repeat(3))
}

fn hydra_on_hosts(suite: &Suite, hydra: &Path, tally: &mut Tally) {
    let network = match Network::up(3, &suite.places.scratch().join("launchers")) {
        Ok(network) => network,
        Err(why) => {
            println!("   no network namespaces (root is needed): skipped\n   {why}");
            tally.skipped += 1;
            return;
        }
    };
    let case = Case::new("rma_random np=3 by hydra on 3 hosts", || {
        let launcher = as_ssh(suite, &network)?;
        let words = [
            network.on().to_owned(),
            network.host(1).into(),
            hydra.to_owned(),
            "-launcher".into(),
            "ssh".into(),
            "-launcher-exec".into(),
            launcher,
            "-hosts".into(),
            network.list(3).into(),
        ];
        let words = words.map(|word: PathBuf| word.display().to_string());
        let binary = programs::scratch(suite, "rma_random");
        said(task(suite, &words, 3).arg(binary).run()?, "ok\n")
    });
    cases::run(&[case], 1, tally);
}

/// hydra calls ssh: options, the host, a command in words.
fn as_ssh(suite: &Suite, network: &Network) -> Result<PathBuf, String> {
    let path = suite.places.scratch().join("launchers/as-ssh");
    let text = format!(
        "#!/bin/sh\nwhile [ \"${{1#-}}\" != \"$1\" ]; do shift; done\nhost=$1; shift\n\
         exec {} \"$host\" sh -c \"$*\"\n",
        network.on().display()
    );
    write_script(&path, &text)?;
    Ok(path)
}
