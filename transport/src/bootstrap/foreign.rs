// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recognises other launchers by their environment, so that N processes they start are told so
//! instead of becoming N silent jobs of one.
//!
//! A launcher that started a single process is no problem, and SLURM_* variables without a step of
//! several tasks only say that an allocation exists.
#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};
use std::time::Duration;

/// How a launcher shows itself: it sets `rank` and all of `markers`, and `size` to the number of
/// processes.
struct Launcher {
    name: &'static str,
    markers: &'static [&'static str],
    rank: &'static str,
    size: &'static str,
    /// What else may help.
    cure: &'static str,
}

/// How long other processes than the first keep silent.
const FIRST_SPEAKS: Duration = Duration::from_secs(1);

/// The more specific first: srun also speaks PMI.
const LAUNCHERS: &[Launcher] = &[
    Launcher {
        name: "Open MPI's mpirun",
        markers: &["PMIX_NAMESPACE"],
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        cure: "",
    },
    Launcher {
        name: "Slurm's srun",
        markers: &["SLURM_PROCID"],
        rank: "SLURM_PROCID",
        size: "SLURM_STEP_NUM_TASKS",
        cure: "srun --mpi=pmi2 (or --mpi=pmix) gives it one; or ",
    },
    Launcher {
        name: "flux run",
        markers: &["FLUX_TASK_RANK"],
        rank: "FLUX_TASK_RANK",
        size: "FLUX_JOB_SIZE",
        cure: "",
    },
    Launcher {
        name: "MPICH's or Intel MPI's mpiexec",
        markers: &["PMI_RANK"],
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        cure: "",
    },
    Launcher {
        name: "MPICH's or Intel MPI's mpiexec",
        markers: &["PMI_FD"],
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        cure: "",
    },
];

/// Fails when this process is one of several that a foreign launcher started.
pub(super) fn check(variable: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let Some((launcher, size)) = found(variable) else { return Ok(()) };
    Err(Error::new(Kind::Bootstrap(format!(
        "{} started this program as one of {size} processes ({} is {size}), but the program uses \
         Strait's MPI library, which found no PMI socket and no PMIx server to join that job by\n  \
         help: {}start it with the mpiexec of the same Strait installation: mpiexec -n {size} \
         PROGRAM",
        launcher.name, launcher.size, launcher.cure,
    ))))
}

/// Waits, unless this is the first process. All have the same to say: once the first one has said
/// it and ended, its launcher ends the others.
pub(super) fn let_the_first_speak(variable: &dyn Fn(&str) -> Option<String>) {
    let rank = found(variable).and_then(|(launcher, _)| variable(launcher.rank));
    let rank = rank.or_else(|| variable("PMIX_RANK")).or_else(|| variable("PMI_ID"));
    if rank.is_some_and(|rank| rank.trim() != "0") {
        std::thread::sleep(FIRST_SPEAKS);
    }
}

fn found(variable: &dyn Fn(&str) -> Option<String>) -> Option<(&'static Launcher, u64)> {
    LAUNCHERS.iter().find_map(|launcher| {
        let size = variable(launcher.size).and_then(|text| text.trim().parse::<u64>().ok());
        let is_marked = launcher.markers.iter().all(|name| variable(name).is_some());
        size.filter(|size| *size > 1 && is_marked).map(|size| (launcher, size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(set: &[(&str, &str)]) -> std::result::Result<(), String> {
        let found = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        check(&found).map_err(|error| error.to_string())
    }

    #[test]
    fn several_processes_of_a_foreign_launcher_are_an_error_that_names_it() {
        let hydra = answer(&[("PMI_FD", "7"), ("PMI_SIZE", "4"), ("PMI_RANK", "0")]).unwrap_err();
        assert!(hydra.contains("MPICH") && hydra.contains("mpiexec -n 4"), "{hydra}");
        let ompi = [("PMIX_NAMESPACE", "x"), ("OMPI_COMM_WORLD_SIZE", "2")];
        assert!(answer(&ompi).unwrap_err().contains("Open MPI"));
        let srun = [("SLURM_STEP_NUM_TASKS", "3"), ("SLURM_PROCID", "0"), ("SLURM_STEP_ID", "0")];
        assert!(answer(&srun).unwrap_err().contains("srun"));
    }

    #[test]
    fn a_single_process_or_a_bare_allocation_is_fine() {
        assert!(answer(&[]).is_ok());
        assert!(answer(&[("PMI_FD", "7"), ("PMI_SIZE", "1"), ("PMI_RANK", "0")]).is_ok());
        assert!(answer(&[("SLURM_JOB_ID", "1"), ("SLURM_NTASKS", "8")]).is_ok());
        let pty = [("SLURM_JOB_ID", "1"), ("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")];
        assert!(answer(&pty).is_ok());
        assert!(answer(&[("PMI_SIZE", "many"), ("PMI_FD", "7")]).is_ok());
    }
}
