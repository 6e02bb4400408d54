// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The examples of rsmpi (the crate `mpi`), which are its tests, built from the crate registry
//! against the installed tree and run at 1 to 4 ranks over shared memory and TCP.
//!
//! Not among the stages of CI: it needs libclang, for bindgen, and a minute of building.

use super::cases::{self, Case};
use super::{Suite, Tally};
use crate::process::Task;
use crate::setup;
use std::fs;
use std::path::{Path, PathBuf};

const VERSION: &str = "0.8.2";
const RANKS: std::ops::RangeInclusive<usize> = 1..=4;

/// What an example asks for itself: so many ranks at least.
const NEEDS: &[(&str, usize)] = &[
    // It refuses a world of one.
    ("all_gather_bool", 2),
    // It tells what it sent from what it got by the rank of the other.
    ("immediate_multiple_requests", 2),
    // Its grid has a quarter of the ranks in one direction.
    ("cartesian_map", 4),
];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    setup::libclang()?;
    let source = source(suite)?;
    let target = suite.places.scratch().join("rsmpi-target");
    let path = format!(
        "{}:{}",
        suite.bin("").display(),
        std::env::var("PATH").map_err(|why| format!("PATH: {why}"))?
    );
    println!("setup: rsmpi {VERSION} (about a minute)");
    Task::new("cargo")
        .args(["build", "--quiet", "--examples", "--features", "derive,complex"])
        .dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .env("PATH", path)
        .limit(1200)
        .run_visible()?;
    let mut list = Vec::new();
    for name in examples(&source)? {
        let needed = NEEDS.iter().find(|(other, _)| *other == name).map_or(1, |(_, ranks)| *ranks);
        let binary = target.join("debug/examples").join(&name);
        for ranks in RANKS.filter(|ranks| *ranks >= needed) {
            for lanes in suite.lanes() {
                let binary = binary.clone();
                list.push(Case::new(format!("{name} np={ranks} {}", lanes.name()), move || {
                    let outcome = suite.mpiexec(ranks, *lanes).arg(&binary).limit(60).run()?;
                    if outcome.success() { Ok(()) } else { Err(outcome.describe()) }
                }));
            }
        }
    }
    let mut tally = Tally::default();
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

/// The crate's source, as a workspace of its own.
fn source(suite: &Suite) -> Result<PathBuf, String> {
    let dir = suite.places.scratch().join("rsmpi");
    let source = dir.join("vendor/mpi");
    setup::once(&dir, &format!("rsmpi {VERSION}"), || {
        let _ = fs::remove_dir_all(&dir);
        let said = |what: &Path, why: std::io::Error| format!("{}: {why}", what.display());
        fs::create_dir_all(dir.join("src")).map_err(|why| said(&dir, why))?;
        let manifest = dir.join("Cargo.toml");
        let text = format!(
            "[package]\nname = \"fetch\"\nedition = \"2024\"\n\n[dependencies]\n\
             mpi = \"={VERSION}\"\n\n[workspace]\n"
        );
        fs::write(&manifest, text).map_err(|why| said(&manifest, why))?;
        let main = dir.join("src/lib.rs");
        fs::write(&main, "").map_err(|why| said(&main, why))?;
        Task::new("cargo").args(["vendor", "--quiet"]).dir(&dir).limit(600).run_visible()?;
        // Cargo looks for the workspace of a package in the folders above it.
        let manifest = source.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(|why| said(&manifest, why))?;
        fs::write(&manifest, text + "\n[workspace]\n").map_err(|why| said(&manifest, why))
    })?;
    Ok(source)
}

fn examples(source: &Path) -> Result<Vec<String>, String> {
    let folder = source.join("examples");
    let entries = fs::read_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
