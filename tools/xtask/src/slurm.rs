// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A SLURM of one node on this machine: munged, slurmctld and slurmd of our own, without systemd,
//! on ports and directories of their own. Needs root. All is ended when it is dropped.

use crate::process::{self, Task};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Ports of the two daemons, and of srun.
const PORTS: (u16, u16, &str) = (26_817, 26_818, "61001-61999");

/// The running daemons.
pub struct Slurm {
    dir: PathBuf,
    starts_munge: bool,
}

impl Slurm {
    /// Starts it with its files in `dir`.
    ///
    /// # Errors
    /// What kept it from starting; nothing is left then.
    pub fn up(dir: &Path) -> Result<Slurm, String> {
        let _ = fs::remove_dir_all(dir);
        for part in ["state", "spool"] {
            fs::create_dir_all(dir.join(part)).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let name = Task::new("hostname").limit(20).run()?.out.trim().to_owned();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        fs::write(dir.join("slurm.conf"), configuration(dir, &name, processors))
            .map_err(|e| e.to_string())?;
        let answers = |task: Task| task.limit(20).run().is_ok_and(|outcome| outcome.success());
        let starts_munge = !answers(Task::new("munge").arg("-n"));
        let slurm = Slurm { dir: dir.to_owned(), starts_munge };
        if starts_munge {
            fs::create_dir_all("/run/munge").map_err(|e| format!("/run/munge: {e}"))?;
            good(Task::new("chown").args(["munge:munge", "/run/munge"]))?;
            good(Task::new("runuser").args(["-u", "munge", "--", "/usr/sbin/munged"]))?;
        }
        for daemon in ["slurmctld", "slurmd"] {
            good(Task::new(format!("/usr/sbin/{daemon}")).arg("-f").arg(slurm.file()))?;
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let state = Task::new("sinfo").args(["-h", "-o", "%T"]);
            let state = state.env("SLURM_CONF", slurm.file()).limit(20).run()?.out;
            if ["idle", "mixed", "allocated"].iter().any(|word| state.contains(word)) {
                return Ok(slurm);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("its node did not come up within 20 s".into())
    }

    /// The configuration, for `SLURM_CONF`.
    pub fn file(&self) -> PathBuf {
        self.dir.join("slurm.conf")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let ours = ["slurmd", "slurmctld"].map(|name| self.dir.join(format!("{name}.pid")));
        let munge = self.starts_munge.then(|| PathBuf::from("/run/munge/munged.pid"));
        for file in ours.into_iter().chain(munge) {
            let text = fs::read_to_string(file).unwrap_or_default();
            let Ok(pid) = text.trim().parse::<u32>() else { continue };
            process::signal(pid, "TERM");
            let begun = Instant::now();
            let lives = || Path::new("/proc").join(pid.to_string()).exists();
            while lives() && begun.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn good(task: Task) -> Result<(), String> {
    let shown = task.shown().to_owned();
    let outcome = task.limit(60).run()?;
    if outcome.success() { Ok(()) } else { Err(format!("{shown}: {}", outcome.describe())) }
}

fn configuration(dir: &Path, host: &str, processors: usize) -> String {
    let (dir, (controller, daemon, sruns)) = (dir.display(), PORTS);
    format!(
        "ClusterName=strait\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         AuthType=auth/munge\nCredType=cred/munge\nMpiDefault=none\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
         SelectTypeParameters=CR_Core\nSchedulerType=sched/builtin\n\
         JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n\
         SwitchType=switch/none\nReturnToService=2\nSlurmctldPidFile={dir}/slurmctld.pid\n\
         SlurmdPidFile={dir}/slurmd.pid\nStateSaveLocation={dir}/state\n\
         SlurmdSpoolDir={dir}/spool\nSlurmctldLogFile={dir}/slurmctld.log\n\
         SlurmdLogFile={dir}/slurmd.log\n\
         SlurmctldPort={controller}\nSlurmdPort={daemon}\nSrunPortRange={sruns}\nKillWait=5\n\
         NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} State=UNKNOWN\n\
         PartitionName=p Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8\n"
    )
}
