// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What containers refuse: reads of a peer's memory, memfd, a large /dev/shm; and ranks of two
//! users in one job. The soak gives the same results there, and `strait doctor` says in one line
//! what is refused, why and what it costs.
//!
//! A filter of system calls stands for the container's (bindings/tests/c/ends/refuse.c), a mount
//! namespace for its small /dev/shm. Where this machine gives no mount namespace, those cases are
//! skipped and said to be.

use super::cases::{self, Case};
use super::soak::{self, Run};
use super::{Lanes, Suite, Tally, programs};
use crate::process::{Outcome, Task};

const SECONDS: u64 = 4;
const MIB: u32 = 64;

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    soak::prepare(suite)?;
    let seed = soak::seed();
    println!("   seed {seed}");
    let mut tally = Tally::default();
    let mut list = vec![
        Case::new("doctor without process_vm_readv", || doctor_refused(suite)),
        Case::new("doctor where nothing is refused", || doctor_permitted(suite)),
    ];
    for run in runs(seed) {
        if run.dev_shm.is_some() && !has_mount_namespaces() {
            println!("   {}: skipped, this machine gives no mount namespace", run.name());
            tally.skipped += 1;
            continue;
        }
        if run.strangers > 0 && !may_become_another(suite) {
            println!("   {}: skipped, needs root and a tree that all may read", run.name());
            tally.skipped += 1;
            continue;
        }
        list.push(Case::new(run.name(), move || run.run(suite).map(|_| ())));
    }
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

fn runs(seed: u64) -> Vec<Run> {
    let plain = Run::new(Lanes::Shm, seed, SECONDS);
    let memfd = || vec!["memfd_create".to_string()];
    let everything = [soak::no_peer_reads(), memfd()].concat();
    let small = Some(MIB);
    vec![
        Run { refused: soak::no_peer_reads(), ..plain.clone() },
        Run { dev_shm: small, ..plain.clone() },
        Run { dev_shm: small, refused: memfd(), ..plain.clone() },
        Run { dev_shm: small, refused: everything, ..plain.clone() },
        // Root reads everybody's memory, others not root's: one copy there, two back.
        Run { strangers: plain.ranks / 2, ..plain },
    ]
}

fn has_mount_namespaces() -> bool {
    let task = Task::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]);
    task.limit(20).run().is_ok_and(|outcome| outcome.success())
}

fn may_become_another(suite: &Suite) -> bool {
    let task = Task::new(soak::ANOTHER_USER[0]).args(&soak::ANOTHER_USER[1..]);
    let task = task.args(["cat"]).arg(programs::scratch(suite, "soak")).arg(suite.bin("mpiexec"));
    task.limit(20).run().is_ok_and(|outcome| outcome.success())
}

fn doctor(suite: &Suite, refused: bool) -> Result<Outcome, String> {
    let task = match refused {
        false => Task::new(suite.bin("strait")),
        true => Task::new(programs::scratch(suite, "refuse"))
            .args(["process_vm_readv", "process_vm_writev", "--"])
            .arg(suite.bin("strait")),
    };
    // Without Pythons in PATH: they are another matter, and take long.
    task.arg("doctor").env("PATH", "").without_env("VIRTUAL_ENV").limit(60).run()
}

fn line_of(outcome: &Outcome) -> Result<&str, String> {
    let mut lines = outcome.out.lines().filter(|line| line.contains("single copy"));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line),
        _ => Err(format!("not one line about the single copy: {}", outcome.out)),
    }
}

fn doctor_refused(suite: &Suite) -> Result<(), String> {
    let outcome = doctor(suite, true)?;
    let line = line_of(&outcome)?;
    let says = ["note", "refused", "Operation not permitted", "seccomp", "copied twice"];
    match says.iter().find(|words| !line.contains(**words)) {
        // What only costs speed is no problem: the exit code says so.
        None if outcome.success() => Ok(()),
        None => Err(outcome.describe()),
        Some(words) => Err(format!("`{words}` is not in: {line}")),
    }
}

/// Only where a plain read works here; a container that runs this suite may refuse it itself.
fn doctor_permitted(suite: &Suite) -> Result<(), String> {
    let outcome = doctor(suite, false)?;
    let line = line_of(&outcome)?;
    let good = line.starts_with("ok") && !line.contains("refused");
    let noted = line.starts_with("note") && line.contains("refused");
    if good || noted { Ok(()) } else { Err(format!("neither permitted nor refused: {line}")) }
}
