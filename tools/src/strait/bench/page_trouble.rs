// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of the page that says what is missing and why: who was left out, what failed, what was
//! disturbed, and whether the session was cut short.
#![forbid(unsafe_code)]

use super::session::{Run, Session};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Other work that kept more of a processor busy than this is told.
pub const DISTURBED_CPUS: f64 = 0.1;

/// Nothing, if there is nothing to tell.
pub fn trouble(session: &Session) -> Markup {
    let left_out = session.head.contenders.iter().filter_map(|c| Some((c, c.left_out.as_ref()?)));
    let left_out: Vec<_> = left_out.collect();
    let failed = failed(session);
    let given_up = session.end.iter().flat_map(|end| &end.given_up).collect::<Vec<_>>();
    html! {
        @if let Some(text) = cut_short(session) { p.notice { (text) } }
        @if !left_out.is_empty() || !failed.is_empty() {
            h2 { "Missing" }
            @for (contender, reason) in &left_out {
                p.notice { strong { (contender.name) } " was left out: " (reason) "." }
            }
            @for ((benchmark, contender, reason), runs) in &failed {
                p.notice {
                    strong { (benchmark) " over " (contender) } " failed in " (runs.len())
                    (if runs.len() == 1 { " run" } else { " runs" }) ":"
                }
                pre { (reason) }
                @if let Some(run) = runs.first() {
                    details { summary { "The command" } pre { (run.command) } }
                }
            }
            @for text in given_up { p.soft { (text) } }
        }
        @if let Some(text) = disturbed(session) { p.soft { (text) } }
    }
}

/// Failures with the same words are told once.
fn failed(session: &Session) -> BTreeMap<(&str, &str, &str), Vec<&Run>> {
    let mut failed: BTreeMap<_, Vec<&Run>> = BTreeMap::new();
    for (run, reason) in session.failures() {
        let key = (run.benchmark.as_str(), run.contender.as_str(), reason);
        failed.entry(key).or_default().push(run);
    }
    failed
}

/// Why there are fewer runs than meant, if so.
pub fn cut_short(session: &Session) -> Option<String> {
    let done = session.runs.iter().filter(|run| run.attempt == 0).count();
    let Some(end) = &session.end else {
        return Some(format!("The session ended hard; what is here are the {done} runs before."));
    };
    let of = end.planned.map_or(String::new(), |planned| format!(" of {planned}"));
    match end.reason.as_str() {
        "complete" => None,
        // Without a number of runs, the time is the plan.
        "budget" if end.planned.is_none() => None,
        "budget" => Some(format!("The budget of time was used up after {done}{of} runs.")),
        signal => Some(format!("The session was ended by {signal} after {done}{of} runs.")),
    }
}

fn disturbed(session: &Session) -> Option<String> {
    let is_disturbed = |run: &&Run| run.foreign_cpus.is_some_and(|cpus| cpus > DISTURBED_CPUS);
    let count = session.runs.iter().filter(is_disturbed).count();
    (count > 0).then(|| {
        format!(
            "In {count} of {} runs, other work kept more than {DISTURBED_CPUS} of a processor \
             busy; they are counted like the others.",
            session.runs.len()
        )
    })
}
