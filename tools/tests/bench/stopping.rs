// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs that do not end by themselves: by ^C, by their time limit, by the budget. What was measured
//! stays, and no process does.

use super::*;
use std::os::unix::process::CommandExt;

/// A launcher that hangs from its second run on, with a child that has left its session and will
/// not hear of SIGTERM.
const HANGS: &str = "\
count=$(grep -c hangs \"$here/../../log\")
if [ $count -gt 1 ]; then
  trap '' TERM
  setsid sleep 1000 & echo $! >> \"$here/../../pids\"
  sleep 1000 & echo $! >> \"$here/../../pids\"
  echo $$ >> \"$here/../../pids\"
  wait
fi";

fn hanging(name: &str) -> World {
    let world = World::new(name);
    world.prefix("hangs", &launcher("hangs", "Hangs", HANGS));
    world
}

/// The processes that the launcher started and itself, once it hangs.
fn pids(world: &World) -> Vec<u32> {
    let text = std::fs::read_to_string(world.path("pids")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn alive(pid: &u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Starts it, and waits until it hangs.
fn hang(world: &World, words: &[&str]) -> Child {
    let spec = world.spec("hangs");
    let mut command = world.bench(&[&["--compare", &spec, "--repeats", "3"], words].concat());
    // A background job of a plain shell ignores SIGINT, and so would we.
    // SAFETY: sets two dispositions of the child; nothing else is touched.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::signal(libc::SIGTERM, libc::SIG_DFL);
            Ok(())
        });
    }
    let child = spawn(&mut command);
    let begun = Instant::now();
    while pids(world).len() < 3 {
        assert!(begun.elapsed() < WATCHDOG, "it never hangs");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, number: i32) {
    // SAFETY: kill touches no memory; the child is ours and was not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, number) };
}

#[test]
fn what_was_measured_before_a_signal_stays_and_no_process_does() {
    for (name, number) in [("int", libc::SIGINT), ("term", libc::SIGTERM)] {
        let world = hanging(name);
        let child = hang(&world, &[]);
        signal(&child, number);
        let ran = finish(child);
        assert_eq!(ran.code, Some(128 + number), "{}", ran.err);
        let left: Vec<u32> = pids(&world).into_iter().filter(alive).collect();
        assert_eq!(left, Vec::<u32>::new(), "{name}");
        let session = world.out("session.jsonl");
        // The head, the two runs of the first round, the end: the second begins with the other.
        assert_eq!(session.lines().count(), 4, "{session}");
        assert!(session.lines().last().unwrap().contains("SIG"), "{session}");
        assert!(world.out("report.html").contains("after 2 of 6 runs"));
        assert!(ran.out.contains("# osu_latency") && ran.out.contains("geometric mean"));
        assert!(world.out("summary.csv").contains(",hangs,1,1,1.5,"));
    }
}

#[test]
fn a_session_that_is_killed_leaves_whole_lines() {
    let world = hanging("killed");
    let child = hang(&world, &[]);
    signal(&child, libc::SIGKILL);
    assert_eq!(finish(child).code, None);
    let again = world.run(&["--from", world.path("out/session.jsonl").to_str().unwrap()]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains("ended hard; what is here are the 2 runs before"), "{}", again.err);
    // Nobody was left to end these; the test is.
    for pid in pids(&world).iter().filter(|pid| alive(pid)) {
        // SAFETY: kill touches no memory; the process was started by this test.
        unsafe { libc::kill(*pid as libc::pid_t, libc::SIGKILL) };
    }
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_told() {
    let world = hanging("timeout");
    let ran = finish(hang(&world, &["--timeout", "8s"]));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("not done after 8s (--timeout)"), "{}", ran.err);
    let left: Vec<u32> = pids(&world).into_iter().filter(alive).collect();
    assert_eq!(left, Vec::<u32>::new());
    // It is not tried a third time; ours goes on.
    assert_eq!(world.log(), ["strait", "hangs", "hangs", "strait", "strait"]);
}

#[test]
fn the_budget_ends_a_session_between_runs() {
    let world = World::new("budget");
    let ran = world.run(&["--budget", "1s"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let session = world.out("session.jsonl");
    assert!(session.lines().last().unwrap().contains("\"budget\""), "{session}");
    // Head, runs, end; the last run that began may have been cut off.
    let (runs, began) = (session.lines().count() - 2, world.log().len());
    assert!(runs >= 1 && (runs == began || runs + 1 == began), "{runs} of {began}");
    let none = World::new("no_budget");
    let ran = none.run(&["--budget", "0s", "--repeats", "4"]);
    assert_eq!(none.log().len(), 1, "the first run is made in any case");
    assert!(ran.err.contains("budget of time was used up after 1 of 4 runs"), "{}", ran.err);
}

/// On a machine so slow that the first run takes half of the budget, the second does not begin:
/// then there is nothing to cut off, and what is asserted holds all the same.
#[test]
fn a_run_beyond_the_budget_is_cut_off_and_is_no_failure() {
    let world = World::new("long_run");
    world.prefix("hangs", &launcher("hangs", "Hangs", &HANGS.replace("-gt 1", "-gt 0")));
    let words = ["--compare", &world.spec("hangs"), "--repeats", "3", "--budget", "10s"];
    let ran = world.run(&words);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("used up after 1 of 6 runs"), "{}", ran.err);
    assert_eq!(pids(&world).iter().filter(|pid| alive(pid)).count(), 0);
}

#[test]
fn what_a_launcher_leaves_behind_is_ended_and_told() {
    let world = World::new("leftovers");
    let extra = "setsid sleep 1000 & echo $! >> \"$here/../../pids\"";
    world.prefix("messy", &launcher("messy", "Messy", extra));
    let ran = world.run(&["--compare", &world.spec("messy"), "--repeats", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(pids(&world).iter().filter(|pid| alive(pid)).count(), 0);
    assert!(world.out("session.jsonl").contains("left 1 processes behind"));
}
