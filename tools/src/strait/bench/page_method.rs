// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of the page that lets others do it again: who took part, with which settings, on which
//! machine, by which commands, and how figures were made.
#![forbid(unsafe_code)]

use super::contender::{Contender, quoted};
use super::distance::Class;
use super::output::Report;
use super::page::statistics_explained;
use super::session::Session;
use maud::{Markup, html};

/// The section.
pub fn method(session: &Session) -> Markup {
    html! {
        h2 { "How this was measured" }
        (contenders(session))
        h3 { "Machine" }
        (machine(session))
        h3 { "Classes" }
        (classes(session))
        h3 { "Statistics" }
        p { (statistics_explained()) }
        p {
            "All took turns: each ran once before any ran again, and who began changed from repeat "
            "to repeat. Where there are enough cores, ranks are bound to cores."
        }
        h3 { "Commands" }
        p { "The session:" }
        pre { (session.head.command) }
        p { "The runs:" }
        @for command in commands(session) { pre { (command) } }
        p.soft {
            "Every run with all that its program said is in " code { "session.jsonl" }
            " beside this page, the figures of this page are in " code { "summary.json" } " and "
            code { "summary.csv" } "."
        }
    }
}

fn contenders(session: &Session) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th.word { "name" } th.word { "library" } th { "runs" } th.word { "settings" }
                th.word { "prefix" }
            } }
            tbody {
                @for contender in &session.head.contenders {
                    tr {
                        td.word { (contender.name) }
                        td.long { (library(session, contender)) }
                        td { (of(session, contender).count()) }
                        td.long { (settings(contender)) }
                        td.long { code { (contender.prefix.display().to_string()) } }
                    }
                }
            }
        } }
    }
}

/// What the library says of itself; where no program told, what the launcher says.
fn library(session: &Session, contender: &Contender) -> String {
    let said = of(session, contender).find_map(|report| report.library.clone());
    said.unwrap_or_else(|| contender.version.clone())
}

/// What its runs said.
fn of<'a>(session: &'a Session, contender: &'a Contender) -> impl Iterator<Item = &'a Report> {
    session.reports().filter(|(run, _)| run.contender == contender.name).map(|(_, report)| report)
}

fn settings(contender: &Contender) -> String {
    let variables = contender.env.iter().map(|(key, value)| format!("{key}={}", quoted(value)));
    let words = contender.args.iter().map(|word| quoted(word));
    let all = variables.chain(words).collect::<Vec<_>>().join(" ");
    if all.is_empty() { "default".into() } else { all }
}

fn machine(session: &Session) -> Markup {
    let machine = &session.head.machine;
    html! {
        p {
            (machine.host) ": " (machine.processor) ", " (machine.processors)
            " processors that may be used (" (machine.cores) " cores as the kernel sees them), "
            (machine.memory_mib) " MiB, " (machine.kernel) ", " (machine.architecture)
            @if machine.virtual_machine { ", virtual machine" }
            ". Build " code { (session.head.build) } "."
        }
    }
}

fn classes(session: &Session) -> Markup {
    let Some((first, second)) = session.head.machine.probed else {
        return html! { p { "The distance of the processors was not probed." } };
    };
    let all = [Class::Near, Class::Far, Class::Mixed, Class::Unknown];
    html! {
        p {
            "Before and after each run, two threads on processors " (first) " and " (second)
            " threw a cache line back and forth for 40 ms. Near: below "
            (session.head.near_below_ns) " ns one way, both times; far: neither time; mixed: the "
            "machine changed meanwhile. Classes are never compared with each other."
        }
        div.scroll { table {
            thead { tr { th.word { "class" } th { "runs" } th { "one way, ns" } } }
            tbody {
                @for class in all {
                    @let (runs, low, high) = distances(session, class);
                    @if runs > 0 {
                        tr {
                            td.word { (class.name()) } td { (runs) }
                            td { (format!("{low:.0} \u{2013} {high:.0}")) }
                        }
                    }
                }
            }
        } }
    }
}

fn distances(session: &Session, class: Class) -> (usize, f64, f64) {
    let runs = || session.runs.iter().filter(|run| run.class == class);
    let (mut low, mut high) = (f64::MAX, 0.0_f64);
    for distance in runs().flat_map(|run| run.distance_ns).flatten() {
        low = low.min(distance);
        high = high.max(distance);
    }
    (runs().count(), low.min(high), high)
}

/// Each command once, in the order of its first run.
fn commands(session: &Session) -> Vec<&str> {
    let mut commands: Vec<&str> = Vec::new();
    for run in &session.runs {
        if !commands.contains(&run.command.as_str()) {
            commands.push(&run.command);
        }
    }
    commands
}
