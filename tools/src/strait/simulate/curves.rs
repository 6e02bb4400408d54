// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the simulator for some algorithms and sizes.
#![forbid(unsafe_code)]

use super::{Mode, Options};
use indicatif::{ProgressBar, ProgressStyle};
use strait_collectives::algorithm::Algorithm;
use strait_collectives::simulate::{
    Disturbance, Failure, Job, Model, Topology, analytic, event, structural,
};

/// Messages up to which `auto` looks at all ranks.
const AUTO_MESSAGES_MAX: u64 = 1 << 25;

/// What is asked for.
pub struct Request<'a> {
    pub options: &'a Options,
    pub model: &'a Model,
    pub topology: &'a Topology,
    pub sizes: &'a [u64],
}

/// The times of one algorithm.
pub struct Curve {
    pub name: &'static str,
    /// How closely it was looked at.
    pub mode: &'static str,
    /// For each size.
    pub times_us: Vec<f64>,
    pub notes: Vec<String>,
}

/// The curves of all algorithms that can serve the call.
pub fn curves(request: &Request, algorithms: &[&'static Algorithm]) -> Result<Vec<Curve>, String> {
    let mut curves = Vec::new();
    let mut refused = Vec::new();
    for algorithm in algorithms {
        match curve(request, algorithm) {
            Ok(curve) => curves.push(curve),
            Err(failure @ Failure::TooFewNodes { .. }) => return Err(failure.to_string()),
            Err(failure) => refused.push(format!("{}: {failure}", algorithm.name)),
        }
    }
    if curves.is_empty() {
        return Err(refused.join("; "));
    }
    refused.iter().for_each(|refused| eprintln!("note: {refused}"));
    Ok(curves)
}

fn curve(request: &Request, algorithm: &'static Algorithm) -> Result<Curve, Failure> {
    let options = request.options;
    let job = Job::new(algorithm, options.ranks, request.model, request.topology, options.ppn)?;
    match options.mode {
        Mode::Analytic => by_formula(request, &job),
        Mode::Structural => by_structure(request, &job),
        Mode::Event => by_events(request, &job),
        Mode::Auto => {
            let cost = algorithm.cost(&job.shape, job.parameters);
            if cost.messages > AUTO_MESSAGES_MAX {
                return by_formula(request, &job);
            }
            match by_structure(request, &job) {
                Err(Failure::TooLarge(_)) => by_formula(request, &job),
                other => other,
            }
        }
    }
}

fn by_formula(request: &Request, job: &Job) -> Result<Curve, Failure> {
    let bytes: Vec<f64> = request.sizes.iter().map(|bytes| *bytes as f64).collect();
    let times_us = analytic(job, &bytes)?;
    Ok(Curve { name: job.algorithm.name, mode: "analytic", times_us, notes: Vec::new() })
}

fn by_structure(request: &Request, job: &Job) -> Result<Curve, Failure> {
    let bar = bar(job.algorithm.name);
    let structure = structural(job, &mut |done, all| tick(&bar, done, all));
    bar.finish_and_clear();
    let structure = structure?;
    let (slots, chain, messages, sweeps) = structure.counts();
    let note =
        format!("{messages} messages, {slots} slots, chains of {chain}, {sweeps} passes over all");
    let times_us = request.sizes.iter().map(|bytes| structure.time_us(*bytes as f64)).collect();
    Ok(Curve { name: job.algorithm.name, mode: "structural", times_us, notes: vec![note] })
}

fn by_events(request: &Request, job: &Job) -> Result<Curve, Failure> {
    let options = request.options;
    let disturbance =
        Disturbance { skew_us: options.skew, noise_us: options.noise, seed: options.seed };
    let bar = bar(job.algorithm.name);
    let (mut times_us, mut unexpected) = (Vec::new(), 0);
    let runs = request.sizes.len() as u64;
    for (index, &bytes) in request.sizes.iter().enumerate() {
        let outcome = event(job, bytes as f64, disturbance, &mut |done, all| {
            tick(&bar, index as u64 * all + done.min(all), runs * all)
        });
        let outcome = outcome.inspect_err(|_| bar.finish_and_clear())?;
        times_us.push(outcome.time_us);
        unexpected = unexpected.max(outcome.unexpected_max);
    }
    bar.finish_and_clear();
    let note = format!("at most {unexpected} messages waited unexpected at a rank");
    Ok(Curve { name: job.algorithm.name, mode: "event", times_us, notes: vec![note] })
}

/// A bar on a terminal; nothing elsewhere.
fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(1);
    let style = ProgressStyle::with_template("[{bar:24}] {msg}, about {eta} left")
        .expect("the template is ours, and good");
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(name.to_owned());
    bar
}

fn tick(bar: &ProgressBar, done: u64, all: u64) {
    bar.set_length(all.max(done));
    bar.set_position(done);
}
