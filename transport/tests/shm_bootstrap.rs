// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joining a job in real processes: inherited descriptor, socket, nested, stale and repeated use,
//! and dying with the launcher.

mod ranks;

use ranks::{Passing, Ranks, is_rank, myself, role, wait_until};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use strait_transport::bootstrap::{Job, Origin, attach, finalize};
use strait_transport::node::{RankState, is_forked_child};

fn joined() -> Job {
    let job = attach().expect("the job");
    assert_eq!(job.origin, Origin::Launched);
    job
}

fn two_ranks_join(test: &str, passing: Passing) {
    if is_rank() {
        let job = joined();
        assert_eq!((job.size, job.local_size, job.local_rank), (3, 3, job.rank));
        assert_eq!(job.key, [7; 32]);
        assert!(attach().is_err(), "one process is one rank");
        finalize(&job);
        return;
    }
    let mut ranks = Ranks::start(test, 3, passing);
    for rank in 0..3 {
        assert!(ranks.end_of(rank).success());
        let record = ranks.node.record(rank as u32);
        assert_eq!(record.state(), RankState::Finalized);
        assert_eq!(record.pid(), ranks.children[rank].id());
    }
}

#[test]
fn ranks_join_by_an_inherited_descriptor() {
    two_ranks_join("ranks_join_by_an_inherited_descriptor", Passing::Inherited);
}

#[test]
fn ranks_join_by_the_socket() {
    two_ranks_join("ranks_join_by_the_socket", Passing::BySocket);
}

#[test]
fn a_process_inside_a_rank_is_a_job_of_one_and_a_second_program_is_an_error() {
    let test = "a_process_inside_a_rank_is_a_job_of_one_and_a_second_program_is_an_error";
    match role().as_deref() {
        Some("nested") => {
            let job = attach().expect("a job of one");
            let Origin::Singleton { reason: Some(reason) } = &job.origin else {
                panic!("{:?}", job.origin)
            };
            assert!(reason.contains("inside it"), "{reason}");
            assert_eq!((job.rank, job.size), (0, 1));
        }
        Some("second") => {
            let text = attach().err().expect("an error").to_string();
            assert!(text.contains("one mpiexec runs one MPI program"), "{text}");
        }
        Some("first") => finalize(&joined()),
        Some("rank") => {
            // This process only starts others, one after the other, as a script would.
            for role in ["first", "second"] {
                assert!(myself(test, role).status().unwrap().success(), "{role}");
            }
        }
        _ => {
            let mut ranks = Ranks::start(test, 1, Passing::BySocket);
            assert!(ranks.end_of(0).success());
        }
    }
}

#[test]
fn a_child_process_of_a_rank_is_a_job_of_one() {
    let test = "a_child_process_of_a_rank_is_a_job_of_one";
    match role().as_deref() {
        Some("nested") => {
            let job = attach().expect("a job of one");
            let Origin::Singleton { reason: Some(reason) } = &job.origin else {
                panic!("{:?}", job.origin)
            };
            assert!(reason.contains("inside it"), "{reason}");
            assert_eq!((job.rank, job.size), (0, 1));
        }
        Some("rank") => {
            let job = joined();
            assert!(myself(test, "nested").status().unwrap().success());
            finalize(&job);
            assert!(myself(test, "nested").status().unwrap().success(), "after finalize, too");
        }
        _ => Ranks::start(test, 2, Passing::BySocket).finish(),
    }
}

#[test]
fn a_stale_environment_is_a_job_of_one_with_a_reason() {
    let test = "a_stale_environment_is_a_job_of_one_with_a_reason";
    if is_rank() {
        let job = attach().expect("a job of one");
        let Origin::Singleton { reason: Some(reason) } = &job.origin else {
            panic!("{:?}", job.origin)
        };
        assert!(reason.contains("is gone"), "{reason}");
        return;
    }
    let mut command = myself(test, "rank");
    command.env("STRAIT_JOB", "0".repeat(32)).env("STRAIT_SOCKET", "strait-test-nobody");
    command.env("STRAIT_RANK", "1").env("STRAIT_SIZE", "2").env("STRAIT_NODE_FD", "100");
    assert!(command.status().unwrap().success());
}

/// Other tests of this process make nodes meanwhile, whose descriptors a child would inherit: it
/// would rightly take itself for a rank whose environment was cleaned.
fn without_descriptors(mut command: Command) -> Command {
    let close = || {
        // SAFETY: no memory is passed; the numbers are those of the child's descriptors.
        match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: one system call, which a child may make between fork and exec.
    unsafe { command.pre_exec(close) };
    command
}

#[test]
fn a_foreign_launcher_is_a_named_error_and_no_launcher_is_a_job_of_one() {
    let test = "a_foreign_launcher_is_a_named_error_and_no_launcher_is_a_job_of_one";
    match role().as_deref() {
        Some("foreign") => {
            let text = attach().err().expect("an error").to_string();
            assert!(text.contains("MPICH"), "{text}");
        }
        Some("alone") => {
            let job = attach().expect("a job of one");
            assert_eq!(job.origin, Origin::Singleton { reason: None });
            assert!(!job.host.is_empty());
        }
        _ => {
            let mut foreign = without_descriptors(myself(test, "foreign"));
            foreign.env("PMI_SIZE", "4").env("PMI_RANK", "1").env("PMI_FD", "9");
            assert!(foreign.status().unwrap().success());
            assert!(without_descriptors(myself(test, "alone")).status().unwrap().success());
        }
    }
}

#[test]
fn ranks_die_with_their_launcher() {
    let test = "ranks_die_with_their_launcher";
    match role().as_deref() {
        Some("rank") => {
            let _job = joined();
            // SIGTERM is refused, so that only the launcher's death can end this process.
            loop {
                std::thread::sleep(std::time::Duration::from_secs(60));
            }
        }
        Some("launcher") => {
            let ranks = Ranks::start(test, 3, Passing::BySocket);
            ranks.until("all run", |node| {
                (0..3).all(|rank| node.record(rank).state() == RankState::Running)
            });
            let pids: Vec<_> = ranks.children.iter().map(|child| child.id().to_string()).collect();
            eprintln!("pids {}", pids.join(" "));
            loop {
                std::thread::sleep(std::time::Duration::from_secs(60));
            }
        }
        _ => {
            let mut launcher =
                myself(test, "launcher").stderr(Stdio::piped()).spawn().expect("a launcher");
            let lines = BufReader::new(launcher.stderr.take().unwrap()).lines();
            let pids: Vec<u32> = lines
                .map(|line| line.expect("text"))
                .find_map(|line| line.strip_prefix("pids ").map(str::to_owned))
                .expect("the launcher tells")
                .split(' ')
                .map(|pid| pid.parse().expect("a number"))
                .collect();
            assert_eq!(pids.len(), 3);
            rustix::process::kill_process(
                rustix::process::Pid::from_child(&launcher),
                Signal::KILL,
            )
            .unwrap();
            launcher.wait().unwrap();
            wait_until("no rank lives", || !pids.iter().any(|pid| lives(*pid)));
        }
    }
}

fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| !text[text.rfind(')').unwrap_or(0)..].starts_with(") Z"))
}

#[test]
fn a_forked_child_knows_that_it_is_one() {
    let test = "a_forked_child_knows_that_it_is_one";
    if role().is_none() {
        assert!(myself(test, "alone").status().unwrap().success());
        return;
    }
    let _job = attach().expect("a job of one");
    assert!(!is_forked_child());
    // SAFETY: the child only loads a flag and ends itself.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child at once, without running anything of the parent's.
        unsafe { libc::_exit(if is_forked_child() { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `child` is our child, and `status` a valid place.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    assert!(!is_forked_child());
}
