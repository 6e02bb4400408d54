// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ^C, SIGTERM, and the death of mpiexec itself.

use crate::{directory, eventually, is_alive, mpiexec, read_pids, watched};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

fn kill(pid: i32, signal: i32) {
    // SAFETY: signals a child of this test, or its process group (a negative number).
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// A rank that says who it is, counts SIGINTs, and ends a moment after the first one.
const COUNTER: &str = r#"
import os, signal, sys, time
count = 0
def on_int(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, on_int)
print("pid", os.getpid(), flush=True)
while count == 0:
    time.sleep(0.01)
time.sleep(0.05)
print("interrupts", count, flush=True)
sys.exit(0)
"#;

#[test]
fn an_interrupt_of_the_group_reaches_each_rank_once() {
    let mut child =
        mpiexec(&["-n", "3", "python3", "-c", COUNTER]).process_group(0).spawn().unwrap();
    read_pids(&mut child, 3);
    kill(-(child.id() as i32), libc::SIGINT);
    let output = watched(child);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "interrupts 1\n".repeat(3));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_interrupt_of_mpiexec_alone_is_forwarded() {
    let mut child =
        mpiexec(&["-n", "2", "python3", "-c", COUNTER]).process_group(0).spawn().unwrap();
    read_pids(&mut child, 2);
    kill(child.id() as i32, libc::SIGINT);
    let output = watched(child);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "interrupts 1\n".repeat(2));
}

#[test]
fn ranks_that_ignore_interrupts_end_at_the_second_and_third() {
    let script = "trap '' INT TERM; echo pid $$; while :; do sleep 1; done";
    let mut child = mpiexec(&["-n", "2", "sh", "-c", script]).process_group(0).spawn().unwrap();
    let pids = read_pids(&mut child, 2);
    // Signals that arrive before mpiexec looks are one: so they are sent until it has ended.
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        kill(child.id() as i32, libc::SIGINT);
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = watched(child);
    assert_eq!(output.status.code(), Some(130));
    // Without the second and the third it would take ten.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn an_interrupt_while_all_wait_in_calls_does_not_take_five_seconds() {
    let mut command = crate::rank::command(&[], "barrier recv");
    let mut child = command.process_group(0).spawn().unwrap();
    read_pids(&mut child, 2);
    let begun = Instant::now();
    kill(-(child.id() as i32), libc::SIGINT);
    let output = watched(child);
    assert_eq!(output.status.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn sigterm_is_passed_on() {
    let here = directory("sigterm");
    let file = here.join("seen.$PMI_RANK").display().to_string();
    let script =
        format!("trap 'touch {file}; exit 0' TERM; echo pid $$; while :; do sleep 0.05; done");
    let mut child = mpiexec(&["-n", "2", "sh", "-c", &script]).process_group(0).spawn().unwrap();
    read_pids(&mut child, 2);
    kill(child.id() as i32, libc::SIGTERM);
    let output = watched(child);
    assert!(here.join("seen.0").exists() && here.join("seen.1").exists());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn user_signals_are_forwarded() {
    let script = "trap 'echo usr1' USR1; echo pid $$; for i in 1 2 3 4 5 6; do sleep 0.1; done";
    let mut child = mpiexec(&["-n", "2", "sh", "-c", script]).process_group(0).spawn().unwrap();
    read_pids(&mut child, 2);
    kill(child.id() as i32, libc::SIGUSR1);
    let output = watched(child);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "usr1\nusr1\n");
}

#[test]
fn nothing_survives_kill_9_of_mpiexec() {
    let script = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(50)";
    let mut child = mpiexec(&["-n", "3", "python3", "-c", script]).spawn().unwrap();
    let pids = read_pids(&mut child, 3);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    for pid in pids {
        eventually("ranks die with mpiexec", || !is_alive(pid));
    }
}

#[test]
fn grandchildren_that_joined_die_with_mpiexec_too() {
    let inner = crate::rank::program().join(" ");
    let script = format!("{inner}; echo after");
    let mut command = mpiexec(&["-n", "2", "sh", "-c", &script]);
    command.env("STRAIT_TEST_RANKS", "barrier compute");
    let mut child = command.spawn().unwrap();
    let pids = read_pids(&mut child, 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    for pid in pids {
        eventually("grandchildren die with mpiexec", || !is_alive(pid));
    }
}

#[test]
fn grandchildren_end_when_a_job_is_ended() {
    let script = "if [ $PMI_RANK = 1 ]; then sleep 0.3; exit 3; fi; \
                  sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 1; done'; echo after";
    let mut child = mpiexec(&["-n", "2", "sh", "-c", script]).spawn().unwrap();
    let pids = read_pids(&mut child, 1);
    let output = watched(child);
    assert_eq!(output.status.code(), Some(3));
    for pid in pids {
        eventually("grandchildren are killed", || !is_alive(pid));
    }
}

#[test]
fn daemons_of_ranks_are_not_waited_for() {
    let begun = Instant::now();
    let mut command = mpiexec(&["-n", "2", "sh", "-c", "sleep 50 & echo pid $!"]);
    let output = watched(command.spawn().unwrap());
    assert_eq!(output.status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(40));
    for pid in crate::pids(&String::from_utf8_lossy(&output.stdout)) {
        assert!(is_alive(pid));
        kill(pid as i32, libc::SIGKILL);
    }
}

#[test]
fn stop_and_continue() {
    let mut command = mpiexec(&["-n", "2", "sh", "-c", "echo pid $$; sleep 0.5; echo end"]);
    let mut child = command.process_group(0).spawn().unwrap();
    read_pids(&mut child, 2);
    let group = -(child.id() as i32);
    kill(group, libc::SIGTSTP);
    std::thread::sleep(Duration::from_millis(200));
    kill(group, libc::SIGCONT);
    let output = watched(child);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\nend\n");
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let exe = env!("CARGO_BIN_EXE_mpiexec");
    let script = format!("trap '' HUP; exec {exe} -n 1 sh -c 'echo pid $$; sleep 0.5; echo end'");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdout(std::process::Stdio::piped());
    let mut child = command.process_group(0).spawn().unwrap();
    read_pids(&mut child, 1);
    kill(-(child.id() as i32), libc::SIGHUP);
    let output = watched(child);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n");
}
