// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The text of a tuned table, which `STRAIT_TUNING` reads as it is.
#![forbid(unsafe_code)]

use super::super::evidence::{Evidence, Named, Times};
use super::Record;
use super::decide::{CLEARLY, Change, changes, verdicts};
use std::fmt::Write;

/// The table of a record.
pub fn table(record: &Record) -> String {
    let verdicts = verdicts(record);
    let changes = changes(&verdicts);
    let measured = &record.measured;
    let mut text = format!(
        "# Written by strait tune; docs/tuning.md. Use: STRAIT_TUNING=this-file mpiexec ...\n\
         # {} of {} measured calls leave the shipped table, where another algorithm was clearly\n\
         # faster (its interval apart, and more than {:.0} %). The evidence is below the rules.\n\
         version = 1\n\n[measured]\nmachine = {}\ndate = {}\nstrait = {}\nlibrary = {}\n",
        verdicts.iter().filter(|one| one.chosen.0 != one.default.0).count(),
        verdicts.len(),
        CLEARLY * 100.0,
        quoted(&measured.machine),
        quoted(&measured.date),
        quoted(&measured.strait),
        quoted(&measured.library),
    );
    changes.iter().for_each(|change| text.push_str(&rule(change, &verdicts)));
    verdicts.iter().for_each(|one| text.push_str(&evidence(one)));
    text
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn rule(change: &Change, verdicts: &[Evidence]) -> String {
    let kind = change.named.algorithm.kind;
    let mut text = String::from("\n");
    let within = |one: &&Evidence| {
        one.kind == kind
            && one.hosts == change.hosts
            && (change.ranks.0..=change.ranks.1).contains(&one.ranks)
            && (change.bytes.0..=change.bytes.1).contains(&one.bytes)
    };
    for one in verdicts.iter().filter(within) {
        writeln!(
            text,
            "# {} ranks, {} bytes: {:.2} us, shipped {} {:.2} us",
            one.ranks,
            one.bytes,
            one.chosen.1.us,
            one.default.0.short(),
            one.default.1.us
        )
        .expect("a string takes all");
    }
    let ((ranks_min, ranks_max), (bytes_min, bytes_max)) = (change.ranks, change.bytes);
    let name = kind.name();
    write!(
        text,
        "[[rule]]\ncollective = \"{name}\"\nranks_min = {ranks_min}\nranks_max = {ranks_max}\n\
         hosts = \"{}\"\nbytes_min = {bytes_min}\nbytes_max = {bytes_max}\n",
        change.hosts.name()
    )
    .expect("a string takes all");
    if kind.reduces() {
        text.push_str("commutative = true\n");
    }
    writeln!(text, "algorithm = \"{}\"", change.named.algorithm.name).expect("a string takes all");
    for (name, value) in change.named.parameters.unusual() {
        writeln!(text, "{name} = {value}").expect("a string takes all");
    }
    text
}

fn evidence(one: &Evidence) -> String {
    let mut text = format!(
        "\n[[evidence]]\ncollective = \"{}\"\nranks = {}\nhosts = \"{}\"\nbytes = {}\n\
         chosen = {}\ndefault = {}\n",
        one.kind.name(),
        one.ranks,
        one.hosts.name(),
        one.bytes,
        entry(&one.chosen),
        entry(&one.default)
    );
    if let Some(runner_up) = &one.runner_up {
        writeln!(text, "runner_up = {}", entry(runner_up)).expect("a string takes all");
    }
    text
}

fn entry((named, times): &(Named, Times)) -> String {
    let Times { us, low, high, samples } = times;
    let name = named.short();
    format!(
        "{{ algorithm = \"{name}\", us = {us:.3}, low = {low:.3}, high = {high:.3}, \
         samples = {samples} }}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::{cell, record};
    use super::*;
    use crate::select::{Hosts, parse};

    #[test]
    fn what_is_written_is_read() {
        let cells = vec![
            cell(4, 8, "recursive_multiplying radix=4"),
            cell(4, 32, "ring"),
            cell(4, 64, "-"),
        ];
        let mut record = record(cells);
        record.measured.machine = "a \"host\"".into();
        let text = table(&record);
        let read = parse(&text, None).unwrap_or_else(|refused| panic!("{refused}\n{text}"));
        assert_eq!(read.measured.as_ref(), Some(&record.measured));
        assert_eq!(read.evidence, verdicts(&record));
        let rules: Vec<_> =
            read.rules.iter().map(|r| (r.algorithm.name, r.parameters.radix)).collect();
        assert_eq!(rules, [("recursive_multiplying", 4), ("ring", 2)]);
        assert!(read.rules.iter().all(|rule| rule.hosts == Some(Hosts::One)));
        assert!(read.rules.iter().all(|rule| rule.commutative == Some(true)));
        assert_eq!((read.rules[0].bytes_min, read.rules[0].bytes_max), (8, 16));
    }

    #[test]
    fn nothing_measured_is_an_empty_table() {
        let read = parse(&table(&record(Vec::new())), None).unwrap();
        assert!(read.rules.is_empty() && read.evidence.is_empty());
    }
}
