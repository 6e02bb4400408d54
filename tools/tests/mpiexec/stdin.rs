// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard input: rank 0 has it, byte for byte; the others see its end.

use crate::{finish, mpiexec};

const COUNT: &str = r#"
import hashlib, os, sys
digest = hashlib.sha256()
total = 0
while True:
    chunk = os.read(0, 1 << 16)
    if not chunk:
        break
    total += len(chunk)
    digest.update(chunk)
print(os.environ["PMI_RANK"], total, digest.hexdigest())
"#;

/// Bytes that do not repeat within any pipe.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 88172645463325252_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn lines(options: &[&str], input: &[u8]) -> Vec<String> {
    let mut args = options.to_vec();
    args.extend(["python3", "-c", COUNT]);
    let ran = finish(mpiexec(&args), input);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let mut lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn digest(input: &[u8]) -> String {
    let mut command = std::process::Command::new("python3");
    command.args(["-c", COUNT]).env("PMI_RANK", "x").stdout(std::process::Stdio::piped());
    finish(command, input).out.trim_start_matches("x ").trim().to_owned()
}

const EMPTY: &str = "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn rank_0_gets_100_mb_exactly_and_the_others_nothing() {
    let input = noise(100_000_000);
    let expected = format!("0 {}", digest(&input));
    let got = lines(&["-n", "3"], &input);
    assert_eq!(got, [expected, format!("1 {EMPTY}"), format!("2 {EMPTY}")]);
}

#[test]
fn another_rank_all_some_or_none() {
    let input = noise(3_000_001);
    let whole = digest(&input);
    let line = |rank: u32, has: bool| format!("{rank} {}", if has { &whole } else { EMPTY });
    assert_eq!(lines(&["-n", "2", "-s", "1"], &input), [line(0, false), line(1, true)]);
    assert_eq!(lines(&["-n", "2", "-stdin", "all"], &input), [line(0, true), line(1, true)]);
    assert_eq!(
        lines(&["-n", "3", "-s", "0,2"], &input),
        [line(0, true), line(1, false), line(2, true)]
    );
    assert_eq!(lines(&["-n", "2", "--stdin=none"], &input), [line(0, false), line(1, false)]);
}

#[test]
fn a_rank_that_does_not_read_does_not_hold_the_job() {
    let ran = finish(mpiexec(&["-n", "2", "-s", "all", "true"]), &noise(500_000));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_loop_of_mpiexec_reads_only_what_its_rank_reads() {
    let exe = env!("CARGO_BIN_EXE_mpiexec");
    let script = format!("printf 'a\\nb\\nc\\n' | while read l; do {exe} -n 1 echo $l; done");
    // Each mpiexec hands the descriptor on; a rank that reads nothing takes nothing.
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb\nc\n");
}
