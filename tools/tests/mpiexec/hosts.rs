// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several hosts, which are all this one: a launcher of ours runs the agents here.
//!
//! Not here: hosts with a network of their own (`cargo xtask test hosts`).

use crate::{Ran, directory, eventually, finish, is_alive, mpiexec, rank, read_pids, watched};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A launcher that ignores the host and runs the command. Another program writes the file that is
/// executed: a descriptor of ours would live on in what other tests fork meanwhile, and the kernel
/// executes no file that somebody may write ("text file busy").
pub fn launcher(test: &str, body: &str) -> PathBuf {
    let path = directory(test).join("launcher");
    let text = path.with_extension("text");
    std::fs::write(&text, format!("#!/bin/sh\n{body}\n")).expect("writable");
    let done = Command::new("install").args(["-m", "755"]).args([&text, &path]).status();
    assert!(done.expect("install runs").success());
    path
}

pub const PLAIN: &str = "shift; exec \"$@\"";

pub fn command(test: &str, body: &str, args: &[&str]) -> Command {
    let launcher = launcher(test, body).display().to_string();
    mpiexec(&[&["-launcher-exec", &launcher], args].concat())
}

pub fn run(test: &str, body: &str, args: &[&str]) -> Ran {
    finish(command(test, body, args), b"")
}

pub fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn ranks_are_placed_in_blocks_and_know_their_place() {
    let say = "echo $PMI_RANK/$PMI_SIZE $MPI_LOCALRANKID/$MPI_LOCALNRANKS $STRAIT_RANK";
    let ran = run("hosts-blocks", PLAIN, &["-hosts", "one:1,two:3", "-n", "4", "sh", "-c", say]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(sorted(&ran.out), ["0/4 0/1 0", "1/4 0/3 1", "2/4 1/3 2", "3/4 2/3 3"]);
    // This host among them, and programs of their own.
    let args =
        ["-hosts", "one,localhost", "-l", "-n", "2", "echo", "a", ":", "-n", "2", "echo", "b"];
    let ran = run("hosts-blocks-2", PLAIN, &args);
    assert_eq!(sorted(&ran.out), ["[0] a", "[1] a", "[2] b", "[3] b"], "{}", ran.err);
    let args = ["-hosts", "one,two,three", "-ppn", "2", "-n", "4", "-dry-run", "echo"];
    let ran = run("hosts-blocks-3", PLAIN, &args);
    assert!(ran.out.contains("host one: ranks 0-1\nhost two: ranks 2-3\nranks 0-3: echo"));
}

#[test]
fn a_file_of_hosts() {
    let dir = directory("hosts-file");
    let file = dir.join("hosts");
    std::fs::write(&file, "# two\none slots=2\ntwo:1\n").expect("writable");
    let file = file.display().to_string();
    let args = ["-f", &file, "-n", "3", "sh", "-c", "echo $MPI_LOCALNRANKS"];
    assert_eq!(sorted(&run("hosts-file-run", PLAIN, &args).out), ["1", "2", "2"]);
    std::fs::write(dir.join("hosts"), "one cores=2\n").expect("writable");
    let ran = run("hosts-file-run", PLAIN, &args);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("hosts, line 1: unknown word 'cores=2'"), "{}", ran.err);
}

#[test]
fn input_and_environment_travel_and_chatter_does_not() {
    let chatty = format!("echo Welcome; {PLAIN}");
    let args = ["-hosts", "one,two", "-n", "2", "-stdin", "1", "cat"];
    let input = "x".repeat(300_000) + "\n";
    let ran = finish(command("hosts-input", &chatty, &args), input.as_bytes());
    assert_eq!((ran.code, ran.err.as_str(), ran.out.len()), (Some(0), "", input.len()));
    let args = ["-hosts", "one,two", "-n", "3", "-stdin", "all", "wc", "-c"];
    let ran = finish(command("hosts-input", &chatty, &args), input.as_bytes());
    assert_eq!(sorted(&ran.out), ["300001"; 3]);
    let args = ["-hosts", "one,two", "-n", "2", "-x", "B=3", "sh", "-c", "echo $A $B; pwd"];
    let mut with = command("hosts-input", &chatty, &args);
    let here = directory("hosts-input-here");
    with.env("A", "a b").current_dir(&here);
    let here = here.display().to_string();
    assert_eq!(sorted(&finish(with, b"").out), [&here, &here, "a b 3", "a b 3"]);
}

#[test]
fn lines_of_all_hosts_are_whole() {
    let script = "i=0; while [ $i -lt 300 ]; do printf 'line %04d of ' $i; echo rank $PMI_RANK; \
                  i=$((i+1)); done; head -c 200000 /dev/zero | tr '\\0' x; echo";
    let args = ["-hosts", "one,two,localhost", "-n", "6", "sh", "-c", script];
    let ran = run("hosts-lines", PLAIN, &args);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 6 * 301, "{}", ran.err);
    let is_whole = |line: &&str| {
        (line.len() == "line 0000 of rank 0".len() && line.starts_with("line "))
            || (line.len() == 200_000 && line.bytes().all(|byte| byte == b'x'))
    };
    assert!(lines.iter().all(is_whole));
}

/// The nodes of an allocation, by an srun that only looks at what it is told.
#[test]
fn an_allocation_of_several_nodes_is_used_by_srun() {
    let dir = directory("hosts-srun");
    let srun = launcher("hosts-srun", "while [ $1 != -w ]; do shift; done; shift 2; exec \"$@\"");
    std::fs::rename(srun, dir.join("srun")).expect("ours");
    let mut command = mpiexec(&["-n", "5", "sh", "-c", "echo $PMI_RANK $MPI_LOCALNRANKS"]);
    let path = std::env::var("PATH").expect("a path");
    command.env("PATH", format!("{}:{path}", dir.display()));
    command.env("SLURM_JOB_NODELIST", "node[1-2]").env("SLURM_TASKS_PER_NODE", "3,2");
    let ran = finish(command, b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(sorted(&ran.out), ["0 3", "1 3", "2 3", "3 2", "4 2"]);
}

#[test]
fn a_failure_on_one_host_ends_all() {
    let script = "if [ $PMI_RANK = 3 ]; then exit 5; fi; sleep 50";
    let args = ["-hosts", "one,two", "-n", "4", "sh", "-c", script];
    let ran = run("hosts-failure", PLAIN, &args);
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert!(
        ran.err.contains("rank 3 failed first (of 1 failed, 3 ended by mpiexec)"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("rank 3  host two  pid"), "{}", ran.err);
    assert_eq!(ran.err.matches("error[").count(), 1, "{}", ran.err);
}

#[test]
fn reports_gather_what_ranks_of_all_hosts_did() {
    let launcher = launcher("hosts-report", PLAIN).display().to_string();
    let options = ["-launcher-exec", &launcher, "-hosts", "one,two"];
    let ran = rank::run_ranks(&options, "barrier barrier barrier later:4");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("rank 3  host two"), "{}", ran.err);
    assert!(ran.err.contains("ranks 0-2 were waiting in MPI_Barrier"), "{}", ran.err);
    let ran = rank::run_ranks(&[&options[..], &["-timeout", "4"]].concat(), "barrier recv recv");
    assert_eq!(ran.code, Some(124), "{}", ran.err);
    assert!(ran.err.contains("ranks 1-2 were waiting in MPI_Recv since"), "{}", ran.err);
}

#[test]
fn what_cannot_start_is_one_error_and_nothing_is_started() {
    let mark = directory("hosts-nostart").join("mark").display().to_string();
    let args = ["-hosts", "one,two", "-n", "1", "touch", &mark, ":", "-n", "1", "no-such-program"];
    let ran = run("hosts-nostart-run", PLAIN, &args);
    assert_eq!(ran.code, Some(127), "{}", ran.err);
    assert!(ran.err.contains("'no-such-program' (rank 1, host two)"), "{}", ran.err);
    assert!(!PathBuf::from(&mark).exists());
    let refusing = format!("if [ $1 = two ]; then echo no way >&2; exit 255; fi; {PLAIN}");
    let ran =
        run("hosts-nostart-run", &refusing, &["-hosts", "one,two", "-n", "2", "touch", &mark]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("no way\n"), "{}", ran.err);
    let words = "error[S0111]: cannot start on host two (rank 1):";
    assert!(ran.err.contains(words) && ran.err.contains("exit code 255"), "{}", ran.err);
    assert!(!PathBuf::from(&mark).exists());
    let ran = run("hosts-nostart-run", "echo hello there", &["-hosts", "one", "-n", "2", "true"]);
    assert!(ran.err.contains("| hello there"), "{}", ran.err);
}

/// Ranks say who they are; one kills a process when the file is there: all have said it then.
pub fn killing(rank: &str, whom: &str, mark: &Path) -> String {
    let mark = mark.display();
    format!(
        "echo pid $$; if [ $PMI_RANK = {rank} ]; then \
         while [ ! -e {mark} ]; do sleep 0.05; done; kill -9 {whom}; fi; sleep 50"
    )
}

#[test]
fn a_lost_host_ends_the_job() {
    let mark = directory("hosts-lost-mark").join("go");
    let script = killing("1", "$PPID", &mark);
    let args = ["-hosts", "one,two", "-n", "2", "sh", "-c", &script];
    let mut child = command("hosts-lost", PLAIN, &args).spawn().expect("mpiexec starts");
    let pids = read_pids(&mut child, 2);
    std::fs::write(mark, "").expect("writable");
    let output = watched(child);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error[S0111]: host two is lost (rank 1):"), "{err}");
    assert!(err.contains("died by SIGKILL"), "{err}");
    eventually("no rank outlives its host", || !pids.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn the_end_of_mpiexec_is_the_end_of_all_hosts() {
    let script = "echo pid $$; sleep 50; sleep 50";
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
        let args = ["-hosts", "one,localhost", "-n", "3", "sh", "-c", script];
        let mut command = command("hosts-end", PLAIN, &args);
        let mut child = command.process_group(0).spawn().expect("mpiexec starts");
        let pids = read_pids(&mut child, 3);
        // SAFETY: signals a child of this test.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let output = watched(child);
        if signal != libc::SIGKILL {
            assert_eq!(output.status.code(), Some(128 + signal));
        }
        eventually("no rank outlives mpiexec", || !pids.iter().any(|pid| is_alive(*pid)));
    }
}

#[test]
fn nothing_outlives_a_job_of_several_hosts() {
    let args = ["-hosts", "one,two,localhost", "-n", "3", "true"];
    for round in 0..20 {
        let mut command = command("hosts-rounds", PLAIN, &args);
        let mut child = command.process_group(0).spawn().expect("mpiexec starts");
        let group = rustix::process::Pid::from_child(&child);
        assert!(child.wait().expect("a child of ours").success(), "round {round}");
        let left = rustix::process::test_kill_process_group(group);
        assert_eq!(left, Err(rustix::io::Errno::SRCH), "round {round}");
    }
}
