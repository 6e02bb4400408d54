// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The values that options take: numbers of ranks, times, lists of ranks.
#![forbid(unsafe_code)]

use super::failure::Failure;
use std::time::Duration;
use strait_transport::lane::tcp::ports::Ports;

/// Most ranks of one job on one host: each needs two pipes here, and Linux has 2^22 process ids.
pub const RANKS_MAX: u32 = 65_536;

/// A number of ranks.
pub fn ranks(option: &str, value: &str) -> Result<u32, Failure> {
    match value.parse::<u32>() {
        Ok(count) if (1..=RANKS_MAX).contains(&count) => Ok(count),
        Ok(count) if count > RANKS_MAX => {
            Err(Failure::usage(format!("{option} expects at most {RANKS_MAX}, got '{value}'")))
        }
        _ => Err(Failure::usage(format!("{option} expects a number >= 1, got '{value}'"))
            .help(format!("for example: mpiexec {option} 4 ./program"))),
    }
}

/// A time: a number with an optional suffix ms, s, m or h; seconds without one.
pub fn duration(option: &str, value: &str) -> Result<Duration, Failure> {
    let (digits, scale) = if let Some(digits) = value.strip_suffix("ms") {
        (digits, 0.001)
    } else if let Some(digits) = value.strip_suffix('s') {
        (digits, 1.0)
    } else if let Some(digits) = value.strip_suffix('m') {
        (digits, 60.0)
    } else if let Some(digits) = value.strip_suffix('h') {
        (digits, 3600.0)
    } else {
        (value, 1.0)
    };
    digits
        .parse::<f64>()
        .ok()
        .filter(|number| *number >= 0.0 && number.is_finite())
        .and_then(|number| Duration::try_from_secs_f64(number * scale).ok())
        .ok_or_else(|| {
            Failure::usage(format!("{option} expects a time, got '{value}'"))
                .help("for example 90, 90s, 500ms, 5m or 1h")
        })
}

/// Ranks: `0,3-5`.
pub fn rank_list(option: &str, value: &str) -> Result<Vec<u32>, Failure> {
    let wrong = || {
        Failure::usage(format!("{option} expects a list of ranks, got '{value}'"))
            .help("for example 0,3-5")
    };
    let mut list = Vec::new();
    for part in value.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.trim().parse().map_err(|_| wrong())?;
        let last: u32 = last.trim().parse().map_err(|_| wrong())?;
        if first > last || last >= RANKS_MAX {
            return Err(wrong());
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

/// A range of ports, `5000-5100` or hydra's `5000:5100`, as the ranks read it.
///
/// # Errors
/// Not one.
pub fn ports(option: &str, value: &str) -> Result<String, Failure> {
    let text = value.replacen(':', "-", 1);
    match Ports::parse(&text) {
        Ok(ports) => Ok(ports.to_string()),
        Err(_) => Err(Failure::usage(format!("{option} expects a range of ports, got '{value}'"))
            .help("for example 5000-5100: each rank of a host listens on one of them")),
    }
}

/// How many hosts one host starts; 0 for any number.
///
/// # Errors
/// Not a number.
pub fn fan_out(option: &str, value: &str) -> Result<usize, Failure> {
    value.parse().map_err(|_| {
        Failure::usage(format!("{option} needs a number, not '{value}'"))
            .help("0 starts all hosts from this one")
    })
}

/// Ranks as people write them: `0,2-3`.
pub fn rank_set(ranks: &[u32]) -> String {
    let mut text = String::new();
    let mut index = 0;
    while index < ranks.len() {
        let first = ranks[index];
        let mut last = first;
        while index + 1 < ranks.len() && ranks[index + 1] == last + 1 {
            index += 1;
            last += 1;
        }
        index += 1;
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&if first == last { first.to_string() } else { format!("{first}-{last}") });
    }
    text
}

/// `rank 3` or `ranks 0,2-3`.
pub fn ranks_named(ranks: &[u32]) -> String {
    format!("{} {}", if ranks.len() == 1 { "rank" } else { "ranks" }, rank_set(ranks))
}

/// Processors as the kernel lists them, such as `0-3,8`; `None` for anything else.
pub fn processor_list(text: &str) -> Option<Vec<u32>> {
    rank_list("processors", text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("-t", "90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("-t", "1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("-t", "5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("-t", "250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("-t", "1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["", "x", "-1", "1d", "inf", "1e300", "s"] {
            assert!(duration("-t", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sets() {
        assert_eq!(rank_list("-o", "0,3-5,4"), Ok(vec![0, 3, 4, 5]));
        for wrong in ["", "a", "5-3", "1,", "0-99999999"] {
            assert!(rank_list("-o", wrong).is_err(), "{wrong}");
        }
        assert_eq!(rank_set(&[0, 2, 3, 7]), "0,2-3,7");
        assert_eq!(ranks_named(&[4]), "rank 4");
        assert_eq!(ranks_named(&[0, 1, 2]), "ranks 0-2");
    }

    #[test]
    fn ranges_of_ports() {
        assert_eq!(ports("-ports", "5000-5100"), Ok("5000-5100".to_owned()));
        assert_eq!(ports("-ports", "5000:5100"), Ok("5000-5100".to_owned()));
        assert_eq!(ports("-ports", "7000"), Ok("7000-7000".to_owned()));
        for wrong in ["", "x", "0-5", "5-4", "5000-70000", "5000:5100:2"] {
            let failure = ports("-ports", wrong).expect_err(wrong);
            assert!(failure.text.contains("-ports expects a range of ports"), "{}", failure.text);
        }
    }

    #[test]
    fn counts() {
        assert_eq!(ranks("-n", "4"), Ok(4));
        for wrong in ["0", "two", "-3", "", "4.0", "99999999999"] {
            assert!(ranks("-n", wrong).is_err(), "{wrong}");
        }
    }
}
