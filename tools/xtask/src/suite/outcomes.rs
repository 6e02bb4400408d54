// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the results of Rust's test runners from what they print.

use super::Tally;
use crate::process::{Outcome, Task};

/// `cargo test`: sums the `test result:` lines, names the `... FAILED` ones.
pub fn libtest(task: Task) -> Result<Tally, String> {
    let shown = task.shown().to_string();
    let outcome = task.run()?;
    let mut tally = Tally::default();
    for line in outcome.out.lines() {
        if let Some(result) = line.strip_prefix("test result:") {
            tally.passed += number_before(result, " passed");
            tally.skipped += number_before(result, " ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED"))
        {
            tally.fail(name);
        }
    }
    agree(&shown, &outcome, &mut tally);
    Ok(tally)
}

/// `cargo nextest run`: one summary line, one `FAIL` line per failure.
pub fn nextest(task: Task) -> Result<Tally, String> {
    let shown = task.shown().to_string();
    let outcome = task.run()?;
    let mut tally = Tally::default();
    let mut names = std::collections::BTreeSet::new();
    let mut after_summary = false;
    for line in outcome.err.lines() {
        let words = line.trim_start();
        if words.starts_with("Summary") {
            tally.passed = number_before(words, " passed");
            tally.skipped = number_before(words, " skipped");
            after_summary = true;
        }
        let bad = ["FAIL [", "SIGSEGV [", "SIGABRT [", "SIGKILL [", "SIGBUS [", "TIMEOUT ["];
        if after_summary && bad.iter().any(|word| words.starts_with(word)) {
            names.insert(words.split_once(']').map_or(words, |(_, name)| name.trim()).to_string());
        }
    }
    names.into_iter().for_each(|name| tally.fail(name));
    agree(&shown, &outcome, &mut tally);
    Ok(tally)
}

/// The exit code has the last word: a build that failed has no test that failed.
fn agree(shown: &str, outcome: &Outcome, tally: &mut Tally) {
    if !outcome.success() {
        if tally.failed.is_empty() {
            print!("{}", outcome.err);
            tally.fail(format!("`{shown}`: {}", outcome.describe()));
        } else {
            print!("{}", failures(&outcome.out));
        }
    }
}

/// What the failed tests printed, as far as a reader wants it.
fn failures(out: &str) -> String {
    let Some(at) = out.find("\nfailures:\n") else { return String::new() };
    let mut text: String = out[at..].chars().take(8000).collect();
    text.push('\n');
    text
}

/// The number in front of the word: 12 in `ok. 12 passed;`.
fn number_before(line: &str, word: &str) -> usize {
    let Some(at) = line.find(word) else { return 0 };
    let digits = line[..at].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn numbers_are_read_from_summaries() {
        let line = " ok. 12 passed; 0 failed; 3 ignored; 0 measured";
        assert_eq!(number_before(line, " passed"), 12);
        assert_eq!(number_before(line, " ignored"), 3);
        assert_eq!(number_before(line, " skipped"), 0);
    }
}
