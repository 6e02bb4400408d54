// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A bar with the time that is left, on a terminal; nothing elsewhere.
#![forbid(unsafe_code)]

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// The bar of a session.
pub struct Progress {
    bar: ProgressBar,
    planned: Option<usize>,
    budget: Option<Duration>,
}

impl Progress {
    /// Over so many runs, or over the time of the budget where their number is open.
    pub fn new(planned: Option<usize>, budget: Option<Duration>) -> Progress {
        let by_time = budget.map_or(0, |budget| budget.as_secs());
        let bar = ProgressBar::new(planned.map_or(by_time, |planned| planned as u64));
        let counts = if planned.is_some() { " {pos}/{len}" } else { "" };
        let style = ProgressStyle::with_template(&format!("[{{bar:24}}]{counts} {{wide_msg}}"))
            .expect("the template is ours, and good");
        bar.set_style(style.progress_chars("=> "));
        Progress { bar, planned, budget }
    }

    /// Runs that are planned, if their number is known.
    pub fn planned(&self) -> Option<usize> {
        self.planned
    }

    /// A run begins; a run takes `mean` seconds, as far as is known.
    pub fn step(&self, text: String, began: Instant, mean: Option<f64>) -> Step {
        let left =
            self.planned.map(|planned| planned as u64 - self.bar.position().min(planned as u64));
        let by_runs = left.zip(mean).map(|(left, mean)| left as f64 * mean);
        let step = Step {
            bar: self.bar.clone(),
            text,
            began,
            step_began: Instant::now(),
            by_runs,
            budget: self.budget.map(|budget| budget.as_secs_f64()),
            by_time: self.planned.is_none(),
        };
        step.tick();
        step
    }

    /// A run is over.
    pub fn done(&self) {
        if self.planned.is_some() {
            self.bar.inc(1);
        }
    }

    /// A run is left out.
    pub fn skip(&self) {
        self.done();
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The bar while one run lasts.
pub struct Step {
    bar: ProgressBar,
    text: String,
    began: Instant,
    step_began: Instant,
    /// Seconds that were left when the run began, by the number of runs.
    by_runs: Option<f64>,
    budget: Option<f64>,
    /// The bar shows time, not runs.
    by_time: bool,
}

impl Step {
    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Draws it anew.
    pub fn tick(&self) {
        let elapsed = self.began.elapsed().as_secs_f64();
        if self.by_time {
            self.bar.set_position(elapsed as u64);
        }
        let by_runs = self.by_runs.map(|left| left - self.step_began.elapsed().as_secs_f64());
        let left = left(by_runs, self.budget.map(|budget| budget - elapsed));
        let left = left.map_or(String::new(), |left| format!(", about {} left", spoken(left)));
        self.bar.set_message(format!("{}{left}", self.text));
        self.bar.tick();
    }
}

/// The sooner of two ends.
fn left(by_runs: Option<f64>, by_budget: Option<f64>) -> Option<f64> {
    match (by_runs, by_budget) {
        (Some(runs), Some(budget)) => Some(runs.min(budget)),
        (runs, budget) => runs.or(budget),
    }
}

fn spoken(seconds: f64) -> String {
    let seconds = seconds.max(1.0) as u64;
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sooner_end_is_told() {
        assert_eq!(left(Some(5.0), Some(3.0)), Some(3.0));
        assert_eq!(left(None, Some(3.0)), Some(3.0));
        assert_eq!(left(Some(5.0), None), Some(5.0));
        assert_eq!(left(None, None), None);
    }

    #[test]
    fn times_are_spoken() {
        assert_eq!(spoken(-3.0), "1s");
        assert_eq!(spoken(61.0), "1m 01s");
        assert_eq!(spoken(7260.0), "2h 01m");
    }
}
