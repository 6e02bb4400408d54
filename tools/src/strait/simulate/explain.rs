// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait explain`: which algorithm a call gets, and why.
#![forbid(unsafe_code)]

use super::tables::{Place, Predictions, selected};
use super::{CODE_USAGE, RANKS_MAX, aligned, kind, machine, sizes, topology};
use crate::strait::bench::figures::figure;
use clap::Args;
use std::process::ExitCode;
use strait_collectives::algorithm::{Way, by_name};
use strait_collectives::kind::Kind;
use strait_collectives::select::{
    self, Circumstances, Evidence, Hosts, Named, Rule, Times, choose, rules,
};
use strait_collectives::shape::Shape;
use strait_collectives::simulate::{Job, analytic};

/// The options of `strait explain`.
#[derive(Args, Debug)]
pub struct Options {
    /// The collective.
    collective: String,
    /// How many ranks.
    #[arg(
        long,
        short = 'n',
        value_parser = clap::value_parser!(u32).range(1..=i64::from(RANKS_MAX))
    )]
    ranks: u32,
    /// The size: the whole vector of a bcast, reduce, allreduce or scan, else one rank's block.
    #[arg(long, default_value = "8")]
    bytes: String,
    /// The operation may not change the order of its operands.
    #[arg(long)]
    ordered: bool,
    /// Ranks of a node: for the predictions; all of them: rules for one host fit.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    ppn: u32,
    /// The network, for the predictions.
    #[arg(long, default_value = "fattree")]
    topology: String,
    /// Which machine's numbers.
    #[arg(long, default_value = "cluster")]
    machine: String,
    /// Rules that come before the shipped ones [default: the file that STRAIT_TUNING names].
    #[arg(long, value_name = "FILE")]
    tuning: Option<std::path::PathBuf>,
}

impl Options {
    /// Several, unless all ranks fit on one node.
    fn hosts(&self) -> Hosts {
        if self.ppn >= self.ranks { Hosts::One } else { Hosts::Several }
    }
}

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    match explain(options) {
        Ok(text) => {
            crate::strait::print(&text);
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::from(CODE_USAGE)
        }
    }
}

fn explain(options: &Options) -> Result<String, String> {
    let named = strait_transport::config::text("TUNING").map_err(|error| error.to_string())?;
    if let Some(file) = options.tuning.clone().or(named.map(Into::into)) {
        select::load(&file).map_err(|refused| refused.to_string())?;
    }
    let kind = kind(&options.collective)?;
    let bytes = sizes::size(&options.bytes)?;
    let model = machine(&options.machine)?;
    let topology = topology(&options.topology, options.ranks.div_ceil(options.ppn))?;
    let commutes = !options.ordered;
    let call = Circumstances { bytes: bytes as usize, commutes, hosts: options.hosts() };
    let shape = Shape::new(kind, options.ranks);
    let plan = choose(&shape, call);
    let mut text = format!(
        "{} over {} ranks, {bytes} bytes: {}\n\nThe rules of {0}, in order:\n",
        kind.name(),
        options.ranks,
        plan.algorithm.name
    );
    let mut is_found = false;
    for rule in rules().iter().filter(|rule| rule.kind == kind) {
        let verdict = if is_found {
            "not asked any more"
        } else {
            let verdict = verdict(rule, &shape, call);
            is_found = verdict == CHOSEN;
            verdict
        };
        text.push_str(&format!("  {}: {verdict}\n", conditions(rule)));
        if verdict == CHOSEN
            && let Some(file) = &rule.file
        {
            text.push_str(&format!("    by {}:{}\n", file.display(), rule.line));
        }
    }
    let place =
        Place { model, topology: &topology, ranks: options.ranks, ranks_per_node: options.ppn };
    let predictions = Predictions::of(kind, &place, &[bytes])?;
    let mut times: Vec<(&str, f64, bool)> = Vec::new();
    times.extend(predictions.ours.iter().map(|(name, times)| (*name, times[0], true)));
    if let Way::File { .. } = plan.algorithm.way {
        let job = Job::new(plan.algorithm, options.ranks, model, &topology, options.ppn);
        let predicted = job.and_then(|job| analytic(&job, &[bytes as f64]));
        times.push((plan.algorithm.name, predicted.map_err(|what| what.to_string())?[0], true));
    }
    times.extend(predictions.others.iter().map(|(name, times)| (*name, times[0], false)));
    times.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut rows = vec![["  algorithm", "predicted us", ""].map(str::to_owned).to_vec()];
    for (name, time, is_ours) in times {
        let ordered = by_name(kind, name).is_some_and(|algorithm| algorithm.ordered);
        let note = if !is_ours {
            "not built"
        } else if name == plan.algorithm.name {
            "chosen"
        } else if !commutes && kind.reduces() && !ordered {
            "changes the order of operands"
        } else {
            ""
        };
        rows.push(vec![format!("  {name}"), figure(time), note.into()]);
    }
    text.push_str(&format!("\nPredicted for machine {} ({}):\n", model.name, model.origin));
    text.push_str(&aligned(&rows));
    let default = selected(kind, options.ranks, bytes);
    if default != plan.algorithm.name {
        text.push_str(&format!("An operation that commutes would get {default}.\n"));
    }
    text.push_str(&measured(kind, options.ranks, call));
    Ok(text)
}

/// What `strait tune` measured of such a call, at the nearest size.
fn measured(kind: Kind, ranks: u32, call: Circumstances) -> String {
    let table = select::table();
    let alike = |one: &&Evidence| one.kind == kind && one.ranks == ranks && one.hosts == call.hosts;
    let far = |one: &&Evidence| one.bytes.abs_diff(call.bytes);
    let Some(found) = table.evidence.iter().filter(alike).min_by_key(far) else {
        return "Nothing was measured here: strait tune measures.\n".into();
    };
    let mut text = format!("\nMeasured at {} bytes", found.bytes);
    if let Some(measured) = &table.measured {
        text.push_str(&format!(" ({}, {})", measured.machine, measured.date));
    }
    text.push_str(":\n");
    let mut rows =
        vec![["  algorithm", "measured us", "interval", "samples", ""].map(String::from)];
    let mut row = |(named, times): &(Named, Times), note: &str| {
        let interval = format!("{} to {}", figure(times.low), figure(times.high));
        let name = format!("  {}", named.short());
        rows.push([name, figure(times.us), interval, times.samples.to_string(), note.into()]);
    };
    row(&found.chosen, "the table's choice");
    if found.default.0 != found.chosen.0 {
        row(&found.default, "the shipped choice");
    }
    if let Some(runner_up) = &found.runner_up {
        row(runner_up, "runner-up");
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    text + &aligned(&rows)
}

const CHOSEN: &str = "chosen";

fn verdict(rule: &Rule, shape: &Shape, call: Circumstances) -> &'static str {
    let Circumstances { bytes, commutes, hosts } = call;
    let ranks = shape.ranks;
    if ranks < rule.ranks_min {
        "too few ranks"
    } else if ranks > rule.ranks_max {
        "too many ranks"
    } else if bytes < rule.bytes_min {
        "too few bytes"
    } else if bytes > rule.bytes_max {
        "too many bytes"
    } else if rule.hosts.is_some_and(|wanted| wanted != hosts) {
        "for ranks on another number of hosts"
    } else if rule.commutative.is_some_and(|wanted| wanted != commutes) {
        if commutes { "for operations that do not commute" } else { "for operations that commute" }
    } else if !commutes && rule.kind.reduces() && !rule.algorithm.ordered {
        "would change the order of operands"
    } else {
        rule.misfit(shape).unwrap_or(CHOSEN)
    }
}

fn conditions(rule: &Rule) -> String {
    let bytes = match (rule.bytes_min, rule.bytes_max) {
        (0, usize::MAX) => "any bytes".to_owned(),
        (least, usize::MAX) => format!("from {least} bytes"),
        (0, most) => format!("up to {most} bytes"),
        (least, most) => format!("{least} to {most} bytes"),
    };
    let ranks = match (rule.ranks_min, rule.ranks_max) {
        (least, u32::MAX) => format!("from {least} ranks"),
        (least, most) => format!("{least} to {most} ranks"),
    };
    let hosts = match rule.hosts {
        None => "",
        Some(Hosts::One) => ", on one host",
        Some(Hosts::Several) => ", on several hosts",
    };
    let commutative = match rule.commutative {
        None => "",
        Some(true) => ", commutative",
        Some(false) => ", not commutative",
    };
    format!("{} {ranks}, {bytes}{hosts}{commutative}", rule.algorithm.name)
}
