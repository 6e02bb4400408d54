// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exit codes and reports.

use crate::rank::run_ranks;
use crate::{directory, mpiexec, run};
use std::os::unix::process::CommandExt;
use std::time::Duration;

#[test]
fn silent_when_all_is_well() {
    let ran = run(&["-n", "3", "sh", "-c", "echo hello"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(0), "hello\nhello\nhello\n", "")
    );
}

#[test]
fn nothing_outlives_mpiexec_not_even_for_a_moment() {
    for round in 0..100 {
        let mut command = mpiexec(&["-n", "2", "true"]);
        let mut child = command.process_group(0).spawn().expect("mpiexec starts");
        let group = rustix::process::Pid::from_child(&child);
        assert!(child.wait().expect("a child of ours").success());
        // The canary is in mpiexec's group; so would be a rank.
        let left = rustix::process::test_kill_process_group(group);
        assert_eq!(left, Err(rustix::io::Errno::SRCH), "round {round}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_first_failure() {
    let script = "if [ $PMI_RANK = 1 ]; then exit 7; else sleep 0.1; exit 3; fi";
    let ran = run(&["-n", "3", "sh", "-c", script]);
    assert_eq!(ran.code, Some(7), "{}", ran.err);
    let ran = run(&["-n", "1", "sh", "-c", "exit 9"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(9), ""));
    let ran = run(&["-n", "2", "sh", "-c", "kill -ABRT $$"]);
    assert_eq!(ran.code, Some(128 + 6));
    assert!(ran.err.contains("died by SIGABRT"), "{}", ran.err);
}

#[test]
fn one_failure_ends_the_job_within_a_second() {
    let script = "if [ $PMI_RANK = 2 ]; then exit 5; fi; trap '' TERM; sleep 50; sleep 50";
    let ran = run(&["-n", "4", "sh", "-c", script]);
    assert_eq!(ran.code, Some(5));
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
    assert_eq!(ran.err.matches("error[").count(), 1, "{}", ran.err);
    assert!(
        ran.err.contains("rank 2 failed first (of 1 failed, 3 ended by mpiexec)"),
        "{}",
        ran.err
    );
}

#[test]
fn the_report_says_what_the_others_waited_in() {
    let ran = run_ranks(&[], "barrier exit:4 barrier recv compute");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("rank 1 failed first"), "{}", ran.err);
    assert!(ran.err.contains("exit code 4"), "{}", ran.err);
    assert!(ran.err.contains("ranks 0,2 were waiting in MPI_Barrier\n"), "{}", ran.err);
    assert!(ran.err.contains("rank 3 was waiting in MPI_Recv\n"), "{}", ran.err);
    assert!(ran.err.contains("rank 4 was outside MPI"), "{}", ran.err);
}

#[test]
fn a_signal_is_named_with_the_call() {
    let ran = run_ranks(&[], "barrier kill:8 barrier");
    assert_eq!(ran.code, Some(136), "{}", ran.err);
    assert!(ran.err.contains("died by SIGFPE (arithmetic error) in MPI_Recv"), "{}", ran.err);
    assert!(ran.err.contains("ranks 0,2 were waiting in MPI_Barrier"), "{}", ran.err);
}

#[test]
fn who_lost_a_peer_is_not_the_cause() {
    for _ in 0..5 {
        let ran = run_ranks(&[], "lost kill:8 lost lost");
        assert_eq!(ran.code, Some(136), "{}", ran.err);
        assert!(ran.err.contains("rank 1 failed first"), "{}", ran.err);
    }
}

#[test]
fn a_rank_without_finalize_fails_the_job() {
    let ran = run_ranks(&[], "barrier barrier exit:0");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let text = "exited with code 0 after MPI_Init without MPI_Finalize";
    assert!(ran.err.contains(text), "{}", ran.err);
    let ran = run_ranks(&[], "finalize finalize finalize");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let ran = run_ranks(&[], "finalize finalize:8");
    assert_eq!(ran.code, Some(8));
}

#[test]
fn a_rank_that_fails_before_init_fails_the_job() {
    let ran = run_ranks(&[], "barrier early");
    assert_eq!(ran.code, Some(6), "{}", ran.err);
    assert!(ran.err.contains("rank 1 failed first"), "{}", ran.err);
}

#[test]
fn abort_codes() {
    let ran = run_ranks(&[], "barrier abort:9 barrier");
    assert_eq!(ran.code, Some(9), "{}", ran.err);
    assert!(ran.err.contains("rank 1 ended the job by MPI_Abort with code 9"), "{}", ran.err);
    let ran = run_ranks(&[], "barrier abort:0");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("note: the exit code is 1"), "{}", ran.err);
}

#[test]
fn the_text_that_a_rank_left_is_shown_once() {
    let ran = run_ranks(&[], "barrier report:15 report:15");
    assert_eq!(ran.code, Some(15), "{}", ran.err);
    assert_eq!(ran.err.matches("message truncated").count(), 1, "{}", ran.err);
}

#[test]
fn a_report_needs_no_join() {
    let ran = run_ranks(&[], "outside outside outside");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(ran.err.matches("error[").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("error[S0109]: a call\n  help: join first\n"), "{}", ran.err);
    assert!(ran.err.contains("it was rank "), "{}", ran.err);
}

#[test]
fn the_mpi_process_may_be_a_grandchild() {
    let inner = crate::rank::program().join(" ");
    let wrap = |words: &str, after: &str| {
        let script = format!("{inner}; {after}");
        let mut command = crate::mpiexec(&["-n", "2", "sh", "-c", &script]);
        command.env("STRAIT_TEST_RANKS", words);
        crate::finish(command, b"")
    };
    // The shell hides the death of its child for a long time: the connection tells of it.
    let ran = wrap("barrier kill:9", "sleep 40");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("ended without MPI_Finalize"), "{}", ran.err);
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
    for pid in crate::pids(&ran.out) {
        crate::eventually("grandchildren end", || !crate::is_alive(pid));
    }
    let ran = wrap("finalize finalize", "exit 0");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn timeout() {
    // Since when is known from looks before the end. On a busy machine the ranks start late: then
    // the limit is longer.
    let waited = |limit: u32| {
        let ran = run_ranks(&["--timeout", &format!("{limit}s")], "barrier recv barrier");
        assert_eq!(ran.code, Some(124), "{}", ran.err);
        let ended = format!("ended after {limit} s, its time limit");
        assert!(ran.err.contains(&ended), "{}", ran.err);
        let since = ran.err.split("ranks 0,2 were waiting in MPI_Barrier since ").nth(1)?;
        let since: f64 = since.split(' ').next()?.parse().ok()?;
        (since >= f64::from(limit) / 4.0).then_some(())
    };
    assert!([2, 8, 32].into_iter().any(|limit| waited(limit).is_some()));
    let mut command = crate::mpiexec(&["-n", "2", "sleep", "50"]);
    command.env("MPIEXEC_TIMEOUT", "300ms");
    assert_eq!(crate::finish(command, b"").code, Some(124));
}

#[test]
fn hang_report_while_the_job_goes_on() {
    let ran = run_ranks(&["--hang-report", "500ms", "--timeout", "3"], "barrier recv");
    assert_eq!(ran.code, Some(124), "{}", ran.err);
    assert_eq!(ran.err.matches("hang report after 0.5 s").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("rank 1 was waiting in MPI_Recv since"), "{}", ran.err);
}

#[test]
fn programs_that_cannot_run() {
    let here = directory("cannot_run");
    std::fs::write(here.join("plain.txt"), "text").unwrap();
    std::fs::write(here.join("script.py"), "print('from python')").unwrap();
    let at = |args: &[&str]| {
        let mut command = crate::mpiexec(args);
        command.current_dir(&here);
        crate::finish(command, b"")
    };
    let ran = at(&["-n", "2", "./nosuch"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(127), ""));
    assert!(ran.err.contains("cannot run './nosuch' (ranks 0-1, host "), "{}", ran.err);
    let ran = at(&["-n", "2", "./script"]);
    assert!(ran.err.contains("is it 'script.py'?"), "{}", ran.err);
    let ran = at(&["./plain.txt"]);
    assert_eq!(ran.code, Some(126));
    assert!(ran.err.contains("not executable") && ran.err.contains("chmod +x"), "{}", ran.err);
    assert_eq!(at(&["/"]).code, Some(126));
    let ran = at(&["-n", "2", "script.py"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "from python\nfrom python\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("note: running script.py with "), "{}", ran.err);
    // Nothing of the first program starts when the second one is missing.
    let ran = at(&["sh", "-c", "echo started", ":", "./nosuch"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(127), ""));
}

#[test]
fn who_went_on_with_an_error_is_told_as_waiting() {
    // Ranks 0 and 2 return from their calls when rank 1 is gone, and fail of that.
    let ran = run_ranks(&[], "left kill:9 left barrier");
    assert_eq!(ran.code, Some(137), "{}", ran.err);
    assert!(ran.err.contains("rank 1 failed first"), "{}", ran.err);
    assert!(ran.err.contains("ranks 0,2-3 were waiting in MPI_Barrier\n"), "{}", ran.err);
}

#[test]
fn who_aborts_may_stay_until_it_is_ended() {
    let ran = run_ranks(&[], "barrier stay:5 barrier");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert!(ran.err.contains("rank 1 ended the job by MPI_Abort with code 5"), "{}", ran.err);
    assert!(ran.err.contains("ranks 0,2 were waiting in MPI_Barrier\n"), "{}", ran.err);
    assert!(!ran.err.contains("rank 1 was"), "{}", ran.err);
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
}
