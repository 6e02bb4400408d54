// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stages that cargo runs: formatting, lints, tests, models, documentation.

use super::outcomes::{libtest, nextest};
use super::{Suite, Tally};
use crate::process::{Task, in_path};

fn cargo(suite: &Suite, log: &str) -> Task {
    let log = suite.places.scratch().join("log").join(log);
    Task::new("cargo").dir(&suite.places.root).limit(2400).log(log)
}

/// A command that is one test: it succeeds or it does not.
fn one(name: &str, task: Task) -> Result<Tally, String> {
    let outcome = task.run()?;
    let mut tally = Tally::default();
    let result = if outcome.success() { Ok(()) } else { Err(outcome.describe()) };
    if result.is_err() {
        // The whole text: a compiler's first error says more than its last lines.
        print!("{}{}", outcome.out, outcome.err);
    }
    tally.record(name, result);
    Ok(tally)
}

pub fn fmt(suite: &Suite) -> Result<Tally, String> {
    one("cargo fmt --all --check", cargo(suite, "fmt").args(["fmt", "--all", "--check"]))
}

pub fn clippy(suite: &Suite) -> Result<Tally, String> {
    let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    one("cargo clippy", cargo(suite, "clippy").args(args))
}

pub fn docs(suite: &Suite) -> Result<Tally, String> {
    let task = cargo(suite, "docs").args([
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    one("cargo doc", task.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}

pub fn unit(suite: &Suite) -> Result<Tally, String> {
    // The tests of exported symbols look at the libraries that are shipped.
    suite.need_prefix()?;
    crate::setup::fabrics()?;
    crate::setup::pmix()?;
    let libraries = suite.places.target.join("release");
    let cargo = |suite, log| cargo(suite, log).env("STRAIT_TEST_LIBRARIES", &libraries);
    let mut tally = if in_path("cargo-nextest") {
        let args = ["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"];
        nextest(cargo(suite, "unit").args(args))?
    } else {
        libtest(cargo(suite, "unit").args(["test", "--workspace", "--no-fail-fast", "--tests"]))?
    };
    let documents = libtest(cargo(suite, "doctest").args(["test", "--workspace", "--doc"]))?;
    tally.passed += documents.passed;
    tally.skipped += documents.skipped;
    tally.failed.extend(documents.failed);
    Ok(tally)
}

/// Seeded worlds of many workers; the number of seeds is fixed in their source.
pub fn sim(suite: &Suite) -> Result<Tally, String> {
    libtest(cargo(suite, "sim").args(["test", "-p", "strait-transport", "--test", "simulation"]))
}

/// The fuzz targets' bodies, fed with seeded noise and with mutated good input.
pub fn fuzz(suite: &Suite) -> Result<Tally, String> {
    libtest(cargo(suite, "fuzz").args(["test", "-p", "strait-transport", "--test", "fuzz_smoke"]))
}

/// Loom swaps the atomics of the crate, so it needs a build of its own.
pub fn loom(suite: &Suite) -> Result<Tally, String> {
    let task = cargo(suite, "loom")
        .args(["test", "--release", "-p", "strait-transport", "--test", "loom_*"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", suite.places.target.join("loom"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    libtest(task)
}
