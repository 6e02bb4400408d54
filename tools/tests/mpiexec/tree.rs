// SPDX-License-Identifier: Apache-2.0 OR MIT
//! More hosts than one host starts: hosts start hosts. All are this one (hosts.rs).

use crate::hosts::{PLAIN, command, killing, launcher, run, sorted};
use crate::{directory, eventually, finish, is_alive, mpiexec, rank, read_pids, watched};
use std::os::unix::process::CommandExt;

const TEN: &str = "h[0-9]";

/// Options for ten hosts, two or three from each.
fn over_ten<'a>(fan_out: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["-hosts", TEN, "-fan-out", fan_out], rest].concat()
}

#[test]
fn ranks_know_their_place_behind_any_number_of_hosts() {
    let say = "echo $PMI_RANK/$PMI_SIZE $MPI_LOCALRANKID/$MPI_LOCALNRANKS";
    for fan_out in ["1", "2", "3", "9", "0"] {
        let ran = run("tree-place", PLAIN, &over_ten(fan_out, &["-n", "20", "sh", "-c", say]));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "fan-out {fan_out}");
        let mut expected: Vec<String> =
            (0..20).map(|rank| format!("{rank}/20 {}/2", rank % 2)).collect();
        expected.sort_unstable();
        assert_eq!(sorted(&ran.out), expected, "fan-out {fan_out}");
    }
    // This host among them is a child of mpiexec itself.
    let args = ["-hosts", "a,b,localhost,c", "-fan-out", "1", "-l", "-n", "4", "echo", "x"];
    let ran = run("tree-place-2", PLAIN, &args);
    assert_eq!(sorted(&ran.out), ["[0] x", "[1] x", "[2] x", "[3] x"], "{}", ran.err);
}

/// Only those hosts are started from mpiexec that shall be.
#[test]
fn the_launcher_is_called_by_hosts() {
    let log = directory("tree-calls").join("log");
    let body = format!("echo $1 $PPID >> {}; {PLAIN}", log.display());
    let ran = run("tree-calls-run", &body, &over_ten("2", &["-n", "10", "true"]));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let text = std::fs::read_to_string(log).expect("written");
    let mut calls = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for (host, parent) in text.lines().filter_map(|line| line.split_once(' ')) {
        calls.entry(parent).or_default().push(host);
    }
    assert_eq!(calls.values().flatten().count(), 10, "each host once: {text}");
    assert!(calls.values().all(|hosts| hosts.len() <= 2), "at most two from each: {text}");
}

/// srun, which only looks at what it is told, starts the next one from where it started the last.
#[test]
fn an_allocation_is_a_tree_of_sruns() {
    let dir = directory("tree-srun");
    let srun = launcher("tree-srun", "while [ $1 != -w ]; do shift; done; shift 2; exec \"$@\"");
    std::fs::rename(srun, dir.join("srun")).expect("ours");
    let program = ["-n", "1", "sh", "-c", "echo $PMI_RANK", ":", "-n", "3", "echo", "x"];
    let mut command = mpiexec(&[&["-fan-out", "1"], &program[..]].concat());
    let path = std::env::var("PATH").expect("a path");
    command.env("PATH", format!("{}:{path}", dir.display()));
    command.env("SLURM_JOB_NODELIST", "node[1-4]").env("SLURM_TASKS_PER_NODE", "1(x4)");
    let ran = finish(command, b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(sorted(&ran.out), ["0", "x", "x", "x"]);
}

#[test]
fn input_and_output_travel_through_hosts() {
    let input = "x".repeat(300_000) + "\n";
    let args = over_ten("2", &["-n", "10", "-stdin", "9", "cat"]);
    let ran = finish(command("tree-input", PLAIN, &args), input.as_bytes());
    assert_eq!((ran.code, ran.err.as_str(), ran.out.len()), (Some(0), "", input.len()));
    let args = over_ten("3", &["-n", "10", "-stdin", "all", "wc", "-c"]);
    let ran = finish(command("tree-input", PLAIN, &args), input.as_bytes());
    assert_eq!(sorted(&ran.out), ["300001"; 10], "{}", ran.err);
    let args = over_ten("2", &["-n", "10", "sh", "-c", "seq 2000"]);
    let ran = run("tree-output", PLAIN, &args);
    assert_eq!(ran.out.lines().count(), 20_000, "{}", ran.err);
    assert!(ran.out.lines().all(|line| line.parse::<u32>().is_ok_and(|n| n <= 2000)));
    // Standard input goes to rank 0 by default, which is on the first host of the tree.
    let args = over_ten("2", &["-n", "10", "sh", "-c", "cat; echo end >&2"]);
    let ran = finish(command("tree-input", PLAIN, &args), b"hello\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "hello\n"));
    assert_eq!(ran.err, "end\n".repeat(10));
}

#[test]
fn exit_codes_and_reports_come_from_far() {
    let script = "if [ $PMI_RANK = 9 ]; then exit 5; fi; sleep 50";
    let ran = run("tree-failure", PLAIN, &over_ten("2", &["-n", "10", "sh", "-c", script]));
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    let first = "rank 9 failed first (of 1 failed, 9 ended by mpiexec)";
    assert!(ran.err.contains(first), "{}", ran.err);
    assert!(ran.err.contains("rank 9  host h9  pid"), "{}", ran.err);
    let launcher = launcher("tree-report", PLAIN).display().to_string();
    let options = ["-launcher-exec", &launcher, "-hosts", "a,b,c,d", "-fan-out", "1"];
    let ran = rank::run_ranks(&options, "barrier barrier barrier later:4");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("ranks 0-2 were waiting in MPI_Barrier"), "{}", ran.err);
}

#[test]
fn what_cannot_start_far_away_is_one_error() {
    let refusing = format!("if [ $1 = h6 ]; then echo no way >&2; exit 255; fi; {PLAIN}");
    let mark = directory("tree-nostart").join("mark").display().to_string();
    let args = over_ten("2", &["-n", "10", "touch", &mark]);
    let ran = run("tree-nostart-run", &refusing, &args);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let words = "error[S0111]: cannot start on host h6 (rank 6):";
    assert!(ran.err.contains("no way\n") && ran.err.contains(words), "{}", ran.err);
    assert!(ran.err.contains("exit code 255\n   it was started from host h5"), "{}", ran.err);
    assert!(ran.err.contains("with it 1 hosts behind it (rank 7): h7"), "{}", ran.err);
    assert_eq!(ran.err.matches("error[").count(), 1, "{}", ran.err);
    assert!(!std::path::Path::new(&mark).exists());
    let args = over_ten("2", &["-n", "9", "true", ":", "-n", "1", "no-such-program"]);
    let ran = run("tree-nostart-run", PLAIN, &args);
    assert_eq!(ran.code, Some(127), "{}", ran.err);
    assert!(ran.err.contains("'no-such-program' (rank 9, host h9)"), "{}", ran.err);
    assert_eq!(ran.err.matches("error").count(), 1, "{}", ran.err);
}

/// The host in the middle of the tree is lost: all behind it are, in one report.
#[test]
fn a_lost_host_takes_those_behind_it_along() {
    // The rank's parent is its agent, whose parent is what starts other agents.
    let mark = directory("tree-lost-mark").join("go");
    let script = killing("5", "$(cut -d' ' -f4 /proc/$PPID/stat)", &mark);
    let args = over_ten("2", &["-n", "10", "sh", "-c", &script]);
    let mut child = command("tree-lost", PLAIN, &args).spawn().expect("mpiexec starts");
    let pids = read_pids(&mut child, 10);
    std::fs::write(mark, "").expect("writable");
    let output = watched(child);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error[S0111]: host h5 is lost (rank 5):"), "{err}");
    assert!(err.contains("died by SIGKILL"), "{err}");
    assert!(err.contains("with it 4 hosts behind it (ranks 6-9): h6,h7,h8,h9"), "{err}");
    assert_eq!(err.matches("error[").count(), 1, "{err}");
    eventually("no rank outlives its host", || !pids.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn a_host_lost_behind_another_is_told_by_that_one() {
    let mark = directory("tree-leaf-mark").join("go");
    let script = killing("9", "$PPID", &mark);
    let args = over_ten("3", &["-n", "10", "sh", "-c", &script]);
    let mut child = command("tree-leaf", PLAIN, &args).spawn().expect("mpiexec starts");
    let pids = read_pids(&mut child, 10);
    std::fs::write(mark, "").expect("writable");
    let output = watched(child);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error[S0111]: host h9 is lost (rank 9):"), "{err}");
    assert!(err.contains("it was started from host h6"), "{err}");
    eventually("no rank outlives its host", || !pids.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn the_end_of_mpiexec_is_the_end_of_the_tree() {
    let script = "echo pid $$; sleep 50; sleep 50";
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
        let args = over_ten("2", &["-n", "10", "sh", "-c", script]);
        let mut command = command("tree-end", PLAIN, &args);
        let mut child = command.process_group(0).spawn().expect("mpiexec starts");
        let pids = read_pids(&mut child, 10);
        // SAFETY: signals a child of this test.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let output = watched(child);
        if signal != libc::SIGKILL {
            assert_eq!(output.status.code(), Some(128 + signal));
        }
        eventually("no rank outlives mpiexec", || !pids.iter().any(|pid| is_alive(*pid)));
    }
}
