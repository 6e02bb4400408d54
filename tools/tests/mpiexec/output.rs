// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ranks print: whole lines, in order, all of them, in bounded memory.

use crate::{directory, finish, mpiexec, run};
use std::collections::HashMap;
use std::io::Read;
use std::time::Duration;

/// Each line is written in pieces, with a system call for each, as `python -u` does.
const PIECES: &str = r#"
import os
rank = os.environ["PMI_RANK"]
for i in range(2000):
    for piece in ("rank ", rank, " line ", str(i), " end", "\n"):
        os.write(1, piece.encode())
"#;

#[test]
fn lines_are_never_torn_and_stay_in_order() {
    let ran = run(&["-n", "5", "python3", "-u", "-c", PIECES]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let mut next: HashMap<&str, usize> = HashMap::new();
    for line in ran.out.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["rank", rank, "line", number, "end"] = words[..] else { panic!("torn: {line}") };
        let expected = next.entry(rank).or_default();
        assert_eq!(number, expected.to_string(), "rank {rank}");
        *expected += 1;
    }
    assert_eq!(next.len(), 5);
    assert!(next.values().all(|count| *count == 2000), "{next:?}");
}

#[test]
fn labels() {
    let script = "echo out; echo; printf tail";
    let ran = run(&["-l", "-n", "2", "sh", "-c", script]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[0] ", "[0] out", "[0] tail", "[1] ", "[1] out", "[1] tail"]);
    let ran = run(&["-prepend-pattern", "%r.%g%%> ", "echo", "a", ":", "echo", "b"]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0.0%> a", "1.1%> b"]);
    let ran = run(&["-prepend-pattern", "%h %p %t ", "echo", "x"]);
    let words: Vec<&str> = ran.out.split_whitespace().collect();
    assert_eq!((words.len(), words[3], words[2].len()), (4, "x", "12:34:56.789".len()));
}

#[test]
fn a_last_line_without_newline_is_kept_and_a_line_alone_is_not_changed() {
    assert_eq!(run(&["printf", "no newline"]).out, "no newline");
    let ran = run(&["-n", "2", "printf", "x"]);
    assert_eq!(ran.out, "x\nx");
}

#[test]
fn a_prompt_of_rank_0_is_shown_and_closed_before_other_text() {
    // Each goes on when we have seen what comes before: $0/one, $0/zero.
    let script = "until_there() { while [ ! -e $1 ]; do sleep 0.02; done; }; \
                  if [ $PMI_RANK = 0 ]; then printf 'prompt> '; until_there $0/zero; echo done; \
                  else until_there $0/one; printf part; sleep 0.3; echo ' whole'; \
                  until_there $0/zero; fi";
    let here = directory("prompt");
    let mut child =
        mpiexec(&["-n", "2", "sh", "-c", script, here.to_str().unwrap()]).spawn().unwrap();
    let mut read = |wanted: &str| {
        let mut bytes = vec![0; wanted.len()];
        child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), wanted);
    };
    read("prompt> ");
    std::fs::write(here.join("one"), "").unwrap();
    read("\npart whole\n");
    std::fs::write(here.join("zero"), "").unwrap();
    let rest = crate::watched(child).stdout;
    assert_eq!(String::from_utf8_lossy(&rest), "done\n");
}

#[test]
fn a_line_of_rank_0_is_not_torn_while_mpiexec_may_not_write() {
    // The reader pauses in the middle of everything, so that mpiexec stops reading mid-line.
    let script = "yes \"rank $PMI_RANK says something of no importance\" | head -n 200000";
    let mut child = mpiexec(&["-n", "2", "sh", "-c", script]).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut text = vec![0; 100_000];
    pipe.read_exact(&mut text).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    pipe.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 400_000);
    assert!(text.lines().all(|line| line.len() == "rank 0 says something of no importance".len()));
    assert_eq!(crate::watched(child).status.code(), Some(0));
}

#[test]
fn dots_of_a_rank_that_computes_are_shown() {
    // It computes until we have seen the dots; without that it gives up, and says so.
    let script = "import os, sys, time\nos.write(1, b'...')\nend = time.time() + 40\n\
                  while not os.path.exists(sys.argv[1]) and time.time() < end: pass\n\
                  os.write(1, b' done\\n' if time.time() < end else b' unseen\\n')";
    let seen = directory("dots").join("seen");
    let mut child = mpiexec(&["python3", "-c", script, seen.to_str().unwrap()]).spawn().unwrap();
    let mut dots = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut dots).unwrap();
    std::fs::write(&seen, "").unwrap();
    let rest = crate::watched(child).stdout;
    assert_eq!(String::from_utf8_lossy(&rest), " done\n");
}

#[test]
fn lines_longer_than_a_pipe_are_not_mixed() {
    let script = "import os; os.write(1, (os.environ['PMI_RANK'] * 300000 + '\\n').encode())";
    let ran = run(&["-n", "4", "python3", "-c", script]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4);
    for (rank, line) in lines.iter().enumerate() {
        assert_eq!(line.len(), 300_000);
        assert!(line.chars().all(|c| c == char::from(b'0' + rank as u8)), "line {rank} is mixed");
    }
}

#[test]
fn standard_output_and_error_of_one_place_do_not_tear_each_other() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done";
    let exe = env!("CARGO_BIN_EXE_mpiexec");
    let shell = format!("{exe} -n 8 sh -c '{script}' 2>&1");
    let output = std::process::Command::new("sh").args(["-c", &shell]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 8 * 18);
    assert!(text.lines().all(|line| line.len() == 4), "{text}");
}

#[test]
fn a_slow_reader_loses_nothing_and_memory_stays_bounded() {
    // 4 ranks, 32 MiB in all, and a reader that sleeps first: mpiexec must stop reading.
    let script =
        "import sys\nline = 'x' * 1023 + '\\n'\nfor i in range(8192): sys.stdout.write(line)";
    let mut command = mpiexec(&["-n", "4", "python3", "-c", script]);
    command.env("PYTHONUNBUFFERED", "");
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: usize = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 16 * 1024, "{kib} KiB while nobody reads");
    let mut total = 0;
    let mut pipe = child.stdout.take().unwrap();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = pipe.read(&mut chunk).unwrap();
        if count == 0 {
            break;
        }
        total += count;
    }
    assert_eq!(total, 4 * 8192 * 1024);
    assert_eq!(crate::watched(child).status.code(), Some(0));
}

#[test]
fn a_closed_reader_ends_the_job_quietly() {
    let exe = env!("CARGO_BIN_EXE_mpiexec");
    let script = format!("{exe} -n 3 sh -c 'while :; do echo y; done' | head -n 2");
    let output = std::process::Command::new("timeout").args(["30", "sh", "-c", &script]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\ny\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn files_per_rank() {
    let here = directory("files");
    let out = here.join("deep/er/out.%r").display().to_string();
    let err = here.join("err").display().to_string();
    let script = "echo out $PMI_RANK; echo err $PMI_RANK >&2";
    let ran =
        run(&["-n", "3", "-outfile-pattern", &out, "-errfile-pattern", &err, "sh", "-c", script]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    for rank in 0..3 {
        let text = std::fs::read_to_string(here.join(format!("deep/er/out.{rank}"))).unwrap();
        assert_eq!(text, format!("out {rank}\n"));
    }
    let text = std::fs::read_to_string(here.join("err")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err 0", "err 1", "err 2"]);
}

#[test]
fn output_of_some_ranks_only() {
    let ran = run(&["-n", "4", "-output-from", "1,3", "sh", "-c", "echo $PMI_RANK"]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1", "3"]);
}

#[test]
fn a_full_disk_is_a_failure() {
    let mut command = mpiexec(&["-n", "2", "sh", "-c", "echo x"]);
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let ran = finish(command, b"");
    assert_ne!(ran.code, Some(0));
}
