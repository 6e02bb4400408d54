// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ranks of `strait tune`: its one argument is the request, as JSON (`strait tune` writes it).
//!
//! Rank 0 decides and tells all others what comes next, so that everybody does the same; the others
//! only follow. What was measured is in the file of the run after each call that was looked at, so
//! that a run which ends in any way can be gone on with.

mod check;
mod field;
mod keep;
mod lead;

use crate::mpi::{Start, World};
use field::Field;
use std::process::{Command, ExitCode};
use strait_collectives::select::tuning::Request;

/// Exit code where a guideline is broken, or a rank received wrong bytes.
const CODE_FOUND: u8 = 1;
/// Exit code of a request that makes no sense here.
const CODE_USAGE: u8 = 2;

/// Runs a rank.
pub fn main() -> ExitCode {
    let request = match std::env::args().nth(1).map(|text| serde_json::from_str(&text)) {
        Some(Ok(request)) => request,
        _ => {
            eprintln!("error: strait-tune-ranks is started by strait tune");
            return ExitCode::from(CODE_USAGE);
        }
    };
    match World::start(Start::Plain) {
        Ok(world) => {
            let is_first = world.is_first();
            let code = rank(&world, &request);
            world.finish();
            match code {
                0 if is_first && !request.check => then(&request),
                _ => ExitCode::from(code),
            }
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(CODE_USAGE)
        }
    }
}

fn rank(world: &World, request: &Request) -> u8 {
    let field = match Field::new(world, request) {
        Ok(field) => field,
        Err(why) => {
            // All come to the same answer; one tells it.
            if world.is_first() {
                eprintln!("error: {why}");
            }
            return if world.is_first() { CODE_USAGE } else { 0 };
        }
    };
    if request.check {
        return check::run(&field, request);
    }
    let lead = world.is_first().then(|| lead::Lead::new(&field, request));
    let ended = match lead.transpose() {
        Ok(Some(mut lead)) => lead.run(&field),
        Ok(None) => field.follow(),
        Err(why) => {
            field.end(false);
            eprintln!("error: {why}");
            return CODE_USAGE;
        }
    };
    match ended {
        Ok(()) => 0,
        Err(why) => {
            if world.is_first() {
                eprintln!("error: {why}");
            }
            if world.is_first() { CODE_FOUND } else { 0 }
        }
    }
}

/// Table and report are made by the `strait` command, which has no MPI.
fn then(request: &Request) -> ExitCode {
    let Some((program, words)) = request.then.split_first() else { return ExitCode::SUCCESS };
    match Command::new(program).args(words).status() {
        Ok(status) => ExitCode::from(status.code().unwrap_or(1) as u8),
        Err(error) => {
            eprintln!("error: {program} cannot be run: {error}");
            ExitCode::from(CODE_FOUND)
        }
    }
}
