// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recognises other launchers by their environment, so that N processes they start are told so
//! instead of becoming N silent jobs of one.
//!
//! A launcher that started a single process is no problem, and SLURM_* variables without a step of
//! several tasks only say that an allocation exists.
#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};

/// How a launcher shows itself: it sets all of `markers`, and `size` to the number of processes.
struct Launcher {
    name: &'static str,
    markers: &'static [&'static str],
    size: &'static str,
}

/// The more specific first: srun also speaks PMI.
const LAUNCHERS: &[Launcher] = &[
    Launcher {
        name: "Open MPI's mpirun",
        markers: &["PMIX_NAMESPACE"],
        size: "OMPI_COMM_WORLD_SIZE",
    },
    Launcher { name: "Slurm's srun", markers: &["SLURM_PROCID"], size: "SLURM_STEP_NUM_TASKS" },
    Launcher { name: "flux run", markers: &["FLUX_TASK_RANK"], size: "FLUX_JOB_SIZE" },
    Launcher { name: "MPICH's or Intel MPI's mpiexec", markers: &["PMI_RANK"], size: "PMI_SIZE" },
    Launcher { name: "MPICH's or Intel MPI's mpiexec", markers: &["PMI_FD"], size: "PMI_SIZE" },
];

/// Fails when this process is one of several that a foreign launcher started.
pub(super) fn check(variable: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    for launcher in LAUNCHERS {
        let size = variable(launcher.size).and_then(|text| text.trim().parse::<u64>().ok());
        let marked = launcher.markers.iter().all(|name| variable(name).is_some());
        if let Some(size) = size.filter(|size| *size > 1 && marked) {
            return Err(Error::new(Kind::Bootstrap(format!(
                "this program uses Strait's MPI library, but {} started it as one of {size} \
                 processes ({} is {size}), and Strait cannot join a job of another launcher. Start \
                 it with the mpiexec of the same Strait installation: mpiexec -n {size} PROGRAM",
                launcher.name, launcher.size,
            ))));
        }
    }
    Ok(())
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
