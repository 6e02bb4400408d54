// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Measures: every benchmark with every contender, in turn, again and again.
//!
//! Invariants:
//! 1. All contenders run once before any runs again, so that slow drifts of the machine hit all
//!    alike; who begins changes from repeat to repeat.
//! 2. The distance of the two processors is probed before and after each run.
//! 3. Every run is recorded before the next one begins, also one that failed.
#![forbid(unsafe_code)]

use super::contender::{Contender, Invocation, Setting};
use super::distance::{self, Class};
use super::launch::{Ended, Launcher, Ran};
use super::output::{self, Report};
use super::program::{Amount, Programs, STARTS_ONLY};
use super::progress::{Progress, Step};
use super::session::{End, Recorder, Run, Session};
use crate::mpiexec::signals::{self, Exit};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A case is given up after so many failures in a row; one whose time was up, at once.
const FAILURES: u32 = 2;
/// So much of what a program said is kept.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: usize = 1500;

/// What to measure, and for how long.
pub struct Plan<'a> {
    pub programs: &'a Programs,
    pub amount: &'a Amount,
    pub setting: Setting<'a>,
    /// Without a number, until the budget is used up.
    pub repeats: Option<u32>,
    pub budget: Option<Duration>,
    pub timeout: Duration,
    /// A run of the class mixed, or not of the wanted one, is repeated so often.
    pub retries: u32,
    pub want: Option<Class>,
}

/// A benchmark with a contender.
type Case = (String, String);

/// Measures, and remembers what it has learned of the cases.
pub struct Campaign<'a> {
    plan: Plan<'a>,
    launcher: Launcher,
    session: &'a mut Session,
    recorder: &'a mut Recorder,
    began: Instant,
    /// Programs that do not know `--json`.
    tables_only: BTreeSet<PathBuf>,
    /// Seconds that a case last took.
    seconds: BTreeMap<Case, f64>,
    failures: BTreeMap<Case, u32>,
    given_up: BTreeMap<Case, String>,
    progress: Progress,
}

/// Why the rounds stop early.
enum Stop {
    Budget,
    Signal(i32),
    Disk(String),
}

impl<'a> Campaign<'a> {
    /// Prepares.
    pub fn new(
        plan: Plan<'a>,
        launcher: Launcher,
        session: &'a mut Session,
        recorder: &'a mut Recorder,
    ) -> Campaign<'a> {
        let runners = session.head.contenders.iter().filter(|c| c.left_out.is_none()).count();
        let cases = runners * session.head.benchmarks.len();
        let planned = plan.repeats.map(|repeats| repeats as usize * cases);
        let progress = Progress::new(planned, plan.budget);
        Campaign {
            plan,
            launcher,
            session,
            recorder,
            began: Instant::now(),
            tables_only: BTreeSet::new(),
            seconds: BTreeMap::new(),
            failures: BTreeMap::new(),
            given_up: BTreeMap::new(),
            progress,
        }
    }

    /// Runs all of it; answers the signal that ended it early, if one did.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn measure(mut self) -> Result<Option<i32>, String> {
        self.recorder.head(&self.session.head)?;
        let stop = self.rounds().err();
        self.progress.finish();
        let (reason, signal) = match stop {
            None => ("complete".to_owned(), None),
            Some(Stop::Budget) => ("budget".to_owned(), None),
            Some(Stop::Signal(number)) => (signals::name(number), Some(number)),
            Some(Stop::Disk(text)) => return Err(text),
        };
        let given_up = self.given_up.into_values().collect();
        let end = End { reason, planned: self.progress.planned(), given_up };
        self.recorder.end(&end)?;
        self.session.end = Some(end);
        Ok(signal)
    }

    fn rounds(&mut self) -> Result<(), Stop> {
        let benchmarks = self.session.head.benchmarks.clone();
        let all = self.session.head.contenders.clone();
        let mut order: Vec<Contender> = all.into_iter().filter(|c| c.left_out.is_none()).collect();
        for repeat in 0..self.plan.repeats.unwrap_or(u32::MAX) {
            let mut alive = false;
            for benchmark in &benchmarks {
                for contender in &order {
                    alive |= self.case(benchmark, contender, repeat)?;
                }
            }
            if !alive {
                return Ok(());
            }
            let places = order.len().min(1);
            order.rotate_left(places);
        }
        Ok(())
    }

    /// Runs a case, again if it fell into the wrong class; answers whether it is still alive.
    fn case(&mut self, benchmark: &str, contender: &Contender, repeat: u32) -> Result<bool, Stop> {
        let case: Case = (benchmark.to_owned(), contender.name.clone());
        if self.given_up.contains_key(&case) {
            self.progress.skip();
            return Ok(false);
        }
        for attempt in 0..=self.plan.retries {
            self.check_limits(&case)?;
            let step = self.step(&case, repeat);
            let Some(mut run) = self.one(benchmark, contender, &step) else {
                return Err(self.launcher.stopped().map_or(Stop::Budget, Stop::Signal));
            };
            (run.repeat, run.attempt) = (repeat, attempt);
            self.recorder.run(&run).map_err(Stop::Disk)?;
            self.seconds.insert(case.clone(), run.seconds);
            let failed = run.failure.is_some();
            let fits = match self.plan.want {
                Some(class) => run.class == class,
                None => run.class != Class::Mixed,
            };
            self.session.runs.push(run);
            if !failed {
                self.failures.remove(&case);
            }
            if failed || fits {
                break;
            }
        }
        self.progress.done();
        Ok(!self.given_up.contains_key(&case))
    }

    fn check_limits(&mut self, case: &Case) -> Result<(), Stop> {
        if let Some(number) = self.launcher.stopped() {
            return Err(Stop::Signal(number));
        }
        let Some(budget) = self.plan.budget else { return Ok(()) };
        let needed = self.expected(case).unwrap_or(0.0);
        let over = self.began.elapsed().as_secs_f64() + needed > budget.as_secs_f64();
        if over && !self.session.runs.is_empty() { Err(Stop::Budget) } else { Ok(()) }
    }

    /// Seconds that a case takes: as long as last time, or as the others did.
    fn expected(&self, case: &Case) -> Option<f64> {
        let mean = || {
            let known = self.seconds.len();
            (known > 0).then(|| self.seconds.values().sum::<f64>() / known as f64)
        };
        self.seconds.get(case).copied().or_else(mean)
    }

    fn step(&self, case: &Case, repeat: u32) -> Step {
        let mean = self.expected(&(String::new(), String::new()));
        let repeats = self.plan.repeats.map_or(String::new(), |all| format!(" of {all}"));
        let text = format!("{} over {}, repeat {}{repeats}", case.0, case.1, repeat + 1);
        self.progress.step(text, self.began, mean)
    }

    /// One run; `None` when a signal or the end of the budget cut it off.
    fn one(&mut self, benchmark: &str, contender: &Contender, step: &Step) -> Option<Run> {
        let began_s = self.began.elapsed().as_secs_f64();
        let pair = self.session.head.machine.probed;
        let before = pair.and_then(distance::probe);
        let (invocation, ran) = self.start(benchmark, contender, step);
        let after = pair.and_then(distance::probe);
        let class = Class::of(before, after, self.session.head.near_below_ns);
        let mut run = Run {
            benchmark: benchmark.to_owned(),
            contender: contender.name.clone(),
            repeat: 0,
            attempt: 0,
            began_s,
            seconds: ran.as_ref().map_or(0.0, |ran| ran.seconds),
            command: invocation.shown(),
            distance_ns: [before, after],
            class,
            foreign_cpus: ran.as_ref().ok().and_then(|ran| ran.foreign_cpus),
            failure: None,
            remarks: None,
            report: None,
        };
        let ran = match ran {
            Ok(Ran { ended: Ended::Stopped(_), .. }) => return None,
            Ok(Ran { ended: Ended::TimedOut, .. }) if self.is_over_budget() => return None,
            Ok(ran) => ran,
            Err(error) => {
                let text = format!("{} cannot be started: {error}", invocation.argv[0]);
                self.fail(&mut run, text, FAILURES);
                return Some(run);
            }
        };
        match self.judge(&ran, benchmark, contender) {
            Ok(report) => {
                run.report = Some(report);
                run.remarks = remarks(&ran);
            }
            Err(text) => {
                let weight = if ran.ended == Ended::TimedOut { FAILURES } else { 1 };
                self.fail(&mut run, text, weight);
            }
        }
        Some(run)
    }

    /// No run goes on beyond the budget, but the first may.
    fn limit(&self) -> Duration {
        let rest = self.plan.budget.map(|budget| budget.saturating_sub(self.began.elapsed()));
        let rest = rest.filter(|_| !self.session.runs.is_empty());
        rest.map_or(self.plan.timeout, |rest| rest.min(self.plan.timeout))
    }

    fn is_over_budget(&self) -> bool {
        let over = self.plan.budget.is_some_and(|budget| self.began.elapsed() >= budget);
        over && !self.session.runs.is_empty()
    }

    /// Starts the program, without `--json` if it turns out not to know it.
    fn start(
        &mut self,
        benchmark: &str,
        contender: &Contender,
        step: &Step,
    ) -> (Invocation, std::io::Result<Ran>) {
        let own = contender.programs.as_ref().map(Programs::at);
        let program = own.as_ref().unwrap_or(self.plan.programs).file(benchmark);
        let tick = || step.tick();
        loop {
            let mut words = self.plan.amount.words(benchmark);
            let json = !self.tables_only.contains(&program);
            if json {
                words.push("--json".into());
            }
            let invocation = contender.invocation(self.plan.setting, &program, &words);
            let tick: Option<&dyn Fn()> = if step.is_shown() { Some(&tick) } else { None };
            let ran = self.launcher.run(&invocation, self.limit(), tick);
            match &ran {
                Ok(ran) if json && refuses_json(ran) => {
                    self.tables_only.insert(program.clone());
                }
                _ => return (invocation, ran),
            }
        }
    }

    fn judge(&self, ran: &Ran, benchmark: &str, by: &Contender) -> Result<Report, String> {
        match &ran.ended {
            Ended::By(Exit::Code(0)) => {}
            Ended::By(Exit::Code(code)) => {
                return Err(format!("exit code {code}{}", said(ran)));
            }
            Ended::By(Exit::Signal(number)) => {
                return Err(format!("ended by {}{}", signals::name(*number), said(ran)));
            }
            Ended::TimedOut | Ended::Stopped(_) => {
                let limit = humantime::format_duration(self.plan.timeout);
                return Err(format!("not done after {limit} (--timeout){}", said(ran)));
            }
        }
        if benchmark == STARTS_ONLY {
            return Ok(Report::of_wall_time(benchmark, ran.seconds));
        }
        let report = output::read(&ran.out).map_err(|reason| format!("{reason}{}", said(ran)))?;
        is_what_was_asked(&report, benchmark, by, self.plan.setting.ranks)?;
        Ok(report)
    }

    fn fail(&mut self, run: &mut Run, text: String, weight: u32) {
        let case: Case = (run.benchmark.clone(), run.contender.clone());
        let count = self.failures.entry(case.clone()).or_default();
        *count += weight;
        if *count >= FAILURES {
            let (benchmark, contender) = &case;
            let why = text.lines().next().unwrap_or_default();
            let text = format!("{benchmark} over {contender} was not tried again: {why}");
            self.given_up.insert(case, text);
        }
        run.failure = Some(text);
    }
}

fn refuses_json(ran: &Ran) -> bool {
    let refused = matches!(ran.ended, Ended::By(Exit::Code(code)) if code != 0);
    let text = format!("{}{}", ran.err, ran.out).to_lowercase();
    let words = ["--json", "unrecognized option", "invalid option", "unknown option"];
    refused && words.iter().any(|word| text.contains(word))
}

/// A figure that belongs to something else is worse than none.
fn is_what_was_asked(
    report: &Report,
    benchmark: &str,
    by: &Contender,
    ranks: u32,
) -> Result<(), String> {
    if !report.benchmark.is_empty() && report.benchmark != benchmark {
        return Err(format!("{} answered instead of {benchmark}", report.benchmark));
    }
    if let Some(found) = report.ranks.filter(|found| *found != ranks) {
        return Err(format!("it ran with {found} ranks instead of {ranks}"));
    }
    if let Some(library) = &report.library {
        let ours = library.starts_with("Strait");
        if ours != (by.kind == super::contender::Kind::Strait) {
            return Err(format!(
                "the program ran over '{library}', not over {}: the loader found another library",
                by.version
            ));
        }
    }
    Ok(())
}

/// The end of what it said, for people.
fn said(ran: &Ran) -> String {
    let text = if ran.err.trim().is_empty() { &ran.out } else { &ran.err };
    let tail = tail(text);
    if tail.is_empty() { String::new() } else { format!(":\n{tail}") }
}

fn remarks(ran: &Ran) -> Option<String> {
    let mut text = tail(&ran.err);
    if ran.left_behind > 0 {
        let note = format!("it left {} processes behind, which were ended", ran.left_behind);
        text = [text, note].join("\n");
    }
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    let mut from = last.len().saturating_sub(TAIL_BYTES);
    while !last.is_char_boundary(from) {
        from += 1;
    }
    last[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::contender::Kind;
    use super::super::session::tests::contender;
    use super::*;

    #[test]
    fn only_the_end_of_a_long_text_is_kept() {
        let long: String = (0..100).map(|line| format!("line {line}\n\n")).collect();
        let kept = tail(&long);
        assert!(kept.starts_with("line 88\n") && kept.ends_with("line 99"), "{kept}");
        assert!(tail(&"ü".repeat(2000)).len() <= TAIL_BYTES);
        assert_eq!(tail(" \n"), "");
    }

    #[test]
    fn a_figure_of_something_else_is_refused() {
        let report = Report {
            benchmark: "osu_bw".into(),
            library: Some("Strait 0.1.0".into()),
            ranks: Some(2),
            ..Report::default()
        };
        let check = |kind: Kind, benchmark: &str, ranks: u32| {
            is_what_was_asked(&report, benchmark, &contender("c", kind), ranks)
        };
        assert_eq!(check(Kind::Strait, "osu_bw", 2), Ok(()));
        assert!(check(Kind::Strait, "osu_latency", 2).is_err());
        assert!(check(Kind::Strait, "osu_bw", 4).unwrap_err().contains("2 ranks instead of 4"));
        assert!(check(Kind::Mpich, "osu_bw", 2).unwrap_err().contains("not over c 1.0"));
    }
}
