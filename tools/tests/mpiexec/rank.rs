// SPDX-License-Identifier: Apache-2.0 OR MIT
//! This test program as a rank that joins the job: it publishes calls, leaves reports, aborts and
//! dies as STRAIT_TEST_RANKS tells it, one word per rank.

use crate::{Ran, finish, mpiexec};
use std::time::Duration;
use strait_transport::bootstrap;

const SCRIPT: &str = "STRAIT_TEST_RANKS";

/// The arguments that make this program a rank.
pub fn program() -> Vec<String> {
    let exe = std::env::current_exe().expect("known").display().to_string();
    vec![exe, "rank::rank_program".into(), "--exact".into(), "--nocapture".into()]
}

/// Runs one rank per word.
pub fn run_ranks(options: &[&str], words: &str) -> Ran {
    finish(command(options, words), b"")
}

/// mpiexec for one rank per word.
pub fn command(options: &[&str], words: &str) -> std::process::Command {
    let count = words.split_whitespace().count().to_string();
    let mut args = vec!["-n".to_owned(), count];
    args.extend(options.iter().map(|option| (*option).to_owned()));
    args.extend(program());
    let mut command = mpiexec(&args);
    command.env(SCRIPT, words);
    command
}

/// Not a test of its own: what a rank does. `later` gives ranks of other hosts time to join, even
/// on a busy machine: nobody here can see when they have.
#[test]
fn rank_program() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    let before = std::env::var("STRAIT_RANK").expect("started by mpiexec");
    let word = script.split_whitespace().nth(before.parse().expect("a number")).expect("a word");
    if word == "early" {
        std::process::exit(6);
    }
    if word == "outside" {
        // What the library does at a call before MPI_Init.
        assert!(bootstrap::report_unjoined(1, "error[S0109]: a call\n  help: join first"));
        std::process::exit(1);
    }
    let job = bootstrap::attach().expect("joins");
    let record = job.node.record(job.local_rank);
    job.node.register_call_names(&["MPI_Barrier", "MPI_Recv"]);
    println!("\npid {}", std::process::id());
    let (verb, value) = word.split_once(':').unwrap_or((word, "0"));
    let value: i32 = value.parse().expect("a number");
    let pause = || std::thread::sleep(Duration::from_millis(200));
    match verb {
        "barrier" | "recv" => {
            record.publish_call(if verb == "barrier" { 1 } else { 2 });
            std::thread::sleep(Duration::from_secs(50));
        }
        "compute" => std::thread::sleep(Duration::from_secs(50)),
        "exit" | "later" => {
            std::thread::sleep(Duration::from_millis(if verb == "later" { 3000 } else { 200 }));
            std::process::exit(value);
        }
        "report" => {
            pause();
            record.leave_report("error: message truncated\n  help: use a larger buffer");
            std::process::exit(value);
        }
        "lost" => {
            await_a_loss(&job);
            record.leave_report("error: peer 1 is lost: its process is gone");
            job.node.request_abort(job.rank, 1);
            std::process::exit(1);
        }
        "left" => {
            record.publish_call(1);
            await_a_loss(&job);
            record.note_loss_in(1);
            record.publish_call(0);
            std::process::exit(1);
        }
        "stay" => {
            pause();
            assert!(job.node.request_abort(job.rank, value) && bootstrap::call_launcher());
            std::thread::sleep(Duration::from_secs(50));
        }
        "abort" => {
            pause();
            job.node.request_abort(job.rank, value);
            std::process::exit(1);
        }
        "kill" => {
            pause();
            record.publish_call(2);
            // SAFETY: kills this process only.
            unsafe { libc::kill(libc::getpid(), value) };
        }
        "finalize" => {
            bootstrap::finalize(&job);
            std::process::exit(value);
        }
        other => panic!("no such verb: {other}"),
    }
}

/// As the library, which goes on when it notices that a peer is gone.
fn await_a_loss(job: &bootstrap::Job) {
    while !(0..job.size).any(|rank| job.node.record(rank).is_owner_gone()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
