// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs many independent cases, a few at a time, and reports as they end.

use super::Tally;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// One case: its name, and what decides whether it passed.
pub struct Case<'a> {
    pub name: String,
    pub run: Box<dyn Fn() -> Result<(), String> + Send + Sync + 'a>,
}

impl<'a> Case<'a> {
    pub fn new(
        name: impl Into<String>,
        run: impl Fn() -> Result<(), String> + Send + Sync + 'a,
    ) -> Case<'a> {
        Case { name: name.into(), run: Box::new(run) }
    }
}

/// Names a part of the names of the cases that are to be run; all are without it.
const ONLY: &str = "XTASK_CASES";

/// Runs the cases, `width` at a time, in their order.
pub fn run(cases: &[Case], width: usize, tally: &mut Tally) {
    let only = std::env::var(ONLY).unwrap_or_default();
    let cases: Vec<&Case> = cases.iter().filter(|case| case.name.contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let shared = Mutex::new((tally, 0_usize));
    let terminal = std::io::stdout().is_terminal();
    thread::scope(|scope| {
        for _ in 0..width.max(1).min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = (case.run)();
                    let mut guard = shared.lock().expect("no case panics while it holds the lock");
                    let (tally, done) = &mut *guard;
                    *done += 1;
                    if terminal {
                        print!("\r\x1b[K");
                    }
                    tally.record(&case.name, result);
                    progress(*done, cases.len(), &case.name, terminal);
                }
            });
        }
    });
    if terminal {
        print!("\r\x1b[K");
    }
}

fn progress(done: usize, all: usize, name: &str, terminal: bool) {
    if terminal {
        print!("   {done}/{all} {name}");
        let _ = std::io::stdout().flush();
    } else if done.is_multiple_of(50) && done < all {
        println!("   {done}/{all}");
    }
}
