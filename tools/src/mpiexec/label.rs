// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What begins a line, and names of files: patterns with letters after a percent sign.

use std::time::{SystemTime, UNIX_EPOCH};

/// What the letters stand for.
#[derive(Clone, Copy, Debug)]
pub struct Meaning<'a> {
    /// %r
    pub rank: u32,
    /// %h
    pub host: &'a str,
    /// %p
    pub pid: u32,
    /// %g
    pub program: usize,
}

/// Fills a pattern in, except `%t`, which changes from line to line.
pub fn expand(pattern: &str, meaning: &Meaning<'_>) -> String {
    let mut text = String::new();
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match rest.next() {
            Some('r') => text.push_str(&meaning.rank.to_string()),
            Some('h') => text.push_str(meaning.host),
            Some('p') => text.push_str(&meaning.pid.to_string()),
            Some('g') => text.push_str(&meaning.program.to_string()),
            Some('t') => text.push_str("%t"),
            Some(other) => text.push(other),
            None => text.push('%'),
        }
    }
    text
}

/// The local time, as `12:34:56.789`.
pub fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs() as libc::time_t;
    // SAFETY: tm is integers and one pointer, for which all zeroes is a value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads one time, writes one tm; both are ours.
    unsafe { libc::localtime_r(&seconds, &mut local) };
    let (hour, minute, second) = (local.tm_hour, local.tm_min, local.tm_sec);
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", now.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        let meaning = Meaning { rank: 3, host: "vm", pid: 77, program: 1 };
        assert_eq!(expand("[%r@%h %p %g %% %t] ", &meaning), "[3@vm 77 1 % %t] ");
    }
}
