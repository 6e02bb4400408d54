// SPDX-License-Identifier: Apache-2.0 OR MIT
//! libfabric's providers and UCX's transports, each tried by a process of its own: one that crashes
//! takes nothing with it, and one that hangs is given up.
#![forbid(unsafe_code)]

use super::doctor::{Finding, Verdict, finding};
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use strait_transport::lane::fabric::probe::Works;
use strait_transport::lane::ofi::probe;
use strait_transport::lane::ucx;

/// What the child prints.
#[derive(Serialize, Deserialize)]
enum Answer {
    Works { domain: String, microseconds: f64, reads: bool, writes: bool },
    Fails(String),
}

const WHAT: &str = "libfabric";

/// What is tried of UCX; `all` is what it would choose by itself.
const TRANSPORTS: &[&str] = &["all", "tcp", "posix,cma", "sysv"];
const UCX: &str = "UCX";
/// Before the names of UCX's transports, among those of libfabric's providers.
const UCX_NAME: &str = "ucx:";

/// `strait fabric-provider NAME`: tries this one.
pub fn try_provider(name: &str) -> ExitCode {
    let tried = match name.strip_prefix(UCX_NAME) {
        Some(transports) => ucx::probe::try_transports(transports),
        None => probe::try_provider(name),
    };
    let answer = match tried {
        Ok(Works { device, microseconds, reads, writes }) => {
            Answer::Works { domain: device, microseconds, reads, writes }
        }
        Err(error) => Answer::Fails(error.to_string()),
    };
    super::print(&serde_json::to_string(&answer).expect("strings and numbers become JSON"));
    ExitCode::SUCCESS
}

/// The doctor's lines. No provider is needed: what does not work is worth a note only where there
/// is hardware for it.
pub fn look() -> Vec<Finding> {
    let mut found = look_at_libfabric();
    found.extend(look_at_ucx());
    found
}

fn look_at_ucx() -> Vec<Finding> {
    let has_card = strait_transport::topology::has_fabric_devices();
    match ucx::probe::version() {
        Ok(version) => TRANSPORTS.iter().map(|names| judge_ucx(&version, names)).collect(),
        Err(error) if strait_transport::topology::has_ucx_devices() => {
            let text = format!("this host has a card for which UCX is made, and {error}");
            vec![finding(Verdict::Note, UCX, text)]
        }
        Err(_) if has_card => {
            vec![finding(Verdict::Good, UCX, "none here that can be used; libfabric serves")]
        }
        Err(_) => {
            let text = "none here that can be used, and no card that needs it";
            vec![finding(Verdict::Good, UCX, text)]
        }
    }
}

fn judge_ucx(version: &str, names: &str) -> Finding {
    let what = format!("{UCX} {version}, {names}");
    match ask(&format!("{UCX_NAME}{names}")) {
        Answer::Works { microseconds, reads, writes, .. } => {
            let reads = if reads { "memory can be fetched" } else { "memory cannot be fetched" };
            let reads = format!("{reads}, {}", of_windows(writes));
            let text = format!(
                "works on this host: 8 bytes in {microseconds:.2} us one way within a process, \
                 {reads}"
            );
            finding(Verdict::Good, what, text)
        }
        Answer::Fails(why) => {
            let is_needed = names == "all" && strait_transport::topology::has_ucx_devices();
            let verdict = if is_needed { Verdict::Note } else { Verdict::Good };
            finding(verdict, what, format!("does not work here: {why}"))
        }
    }
}

fn of_windows(writes: bool) -> &'static str {
    if writes { "windows can be written" } else { "windows need messages" }
}

fn look_at_libfabric() -> Vec<Finding> {
    let has_card = strait_transport::topology::has_fabric_devices();
    match probe::providers() {
        Ok((version, names)) => names.iter().map(|name| judge(&version, name)).collect(),
        Err(error) if has_card => {
            let text = format!("this host has a fabric's card, and {error}");
            vec![finding(Verdict::Note, WHAT, text)]
        }
        Err(_) => {
            let text = "none here that can be used, and no card that needs it";
            vec![finding(Verdict::Good, WHAT, text)]
        }
    }
}

fn judge(version: &str, name: &str) -> Finding {
    let what = format!("{WHAT} {version}, {name}");
    let hardware = probe::is_hardware(name);
    match ask(name) {
        Answer::Works { domain, microseconds, reads, writes } => {
            let reads = if reads { "memory can be read" } else { "no reads of memory" };
            let reads = format!("{reads}, {}", of_windows(writes));
            let chosen = if hardware { "used between hosts" } else { "used if it is named" };
            let text = format!(
                "works on {domain}: 8 bytes in {microseconds:.2} us one way within a process, \
                 {reads}; {chosen}"
            );
            finding(Verdict::Good, what, text)
        }
        Answer::Fails(why) => {
            let verdict = if hardware { Verdict::Note } else { Verdict::Good };
            finding(verdict, what, format!("does not work here: {why}"))
        }
    }
}

fn ask(name: &str) -> Answer {
    let Ok(program) = std::env::current_exe() else {
        return Answer::Fails("this program does not know where it is".into());
    };
    let mut command = Command::new(program);
    // A provider that crashes has words of its own, which would come between our lines.
    command.args(["fabric-provider", name]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Answer::Fails(error.to_string()),
    };
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        Answer::Fails(match output.status.signal() {
            Some(signal) => format!("a process that tries it is ended by signal {signal}"),
            None => format!("a process that tries it ends with {}", output.status),
        })
    })
}
