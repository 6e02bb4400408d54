// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait params`: every variable that changes how Strait works, with its value here and who set
//! it. A value that the library would refuse, and a name that it does not know, make the exit code
//! 1.
#![forbid(unsafe_code)]

use serde::Serialize;
use std::process::ExitCode;
use strait_transport::config::{self, KNOBS, Knob, PREFIX, Value};

#[derive(Serialize)]
struct Param {
    name: String,
    value: String,
    set_by: &'static str,
    default: &'static str,
    form: String,
    purpose: String,
    since: &'static str,
    text: &'static str,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Page {
    params: Vec<Param>,
    unknown: Vec<String>,
}

fn param(knob: &Knob) -> Param {
    let checked = match knob.value {
        Value::Number => config::number(knob.name).map(drop),
        Value::Switch => config::switch(knob.name).map(drop),
        Value::List | Value::Text => config::text(knob.name).map(drop),
    };
    let given = config::text(knob.name).ok().flatten();
    let unit = if knob.unit.is_empty() { String::new() } else { format!(" of {}", knob.unit) };
    Param {
        name: format!("{PREFIX}{}", knob.name),
        set_by: if given.is_some() { "environment" } else { "default" },
        value: given.unwrap_or_else(|| knob.default.to_owned()),
        default: knob.default,
        form: format!("{:?}{unit}", knob.value).to_lowercase(),
        purpose: format!("{:?}", knob.scope).to_lowercase(),
        since: knob.since,
        text: knob.text,
        problem: checked.err().map(|error| error.to_string()),
    }
}

/// Runs it.
pub fn run(json: bool) -> ExitCode {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let page =
        Page { params: KNOBS.iter().map(param).collect(), unknown: config::strangers(names) };
    if json {
        let text = serde_json::to_string_pretty(&page).expect("strings become JSON");
        super::print(&format!("{text}\n"));
    } else {
        super::print(&table(&page));
    }
    let bad = !page.unknown.is_empty() || page.params.iter().any(|one| one.problem.is_some());
    ExitCode::from(u8::from(bad))
}

fn table(page: &Page) -> String {
    let shown = |value: &str| if value.is_empty() { "(none)".to_owned() } else { value.to_owned() };
    let width = |of: fn(&Param) -> &str| page.params.iter().map(|p| of(p).len()).max().unwrap_or(0);
    let (names, values) = (width(|p| &p.name), width(|p| &p.value).max(6));
    let forms = width(|p| &p.form);
    let mut text = String::new();
    for one in &page.params {
        let value = shown(&one.value);
        text.push_str(&format!(
            "{:names$}  {value:values$}  {:11}  {:forms$}  default {}\n",
            one.name,
            one.set_by,
            one.form,
            shown(one.default)
        ));
        if let Some(problem) = &one.problem {
            text.push_str(&format!("  PROBLEM  {problem}\n"));
        }
    }
    for line in &page.unknown {
        text.push_str(&format!("PROBLEM  {line}\n"));
    }
    text.push_str("docs/knobs.md says what each one does; strait params --json, too\n");
    text
}
