// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A real sshd on hosts of ours (network.rs), with keys and files of its own: nothing of the
//! machine's ssh is read or changed. `ssh()` is a client that knows these hosts.
//!
//! The servers are children of this program, and end when this value is dropped.

use crate::network::{Network, write_script};
use crate::process::{Running, Task, signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SSHD: &str = "/usr/sbin/sshd";
/// How long a server may take to listen.
const START_TIME: Duration = Duration::from_secs(20);

/// The servers.
pub struct Servers {
    running: Vec<Running>,
    dir: PathBuf,
}

impl Servers {
    /// Starts one on each of these hosts; files go to `dir`.
    ///
    /// # Errors
    /// What sshd or ssh-keygen said.
    pub fn start(network: &Network, hosts: &[usize], dir: &Path) -> Result<Servers, String> {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        for name in ["host", "user"] {
            let task = Task::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            let outcome = task.arg(dir.join(name)).limit(60).run()?;
            if !outcome.success() {
                return Err(outcome.describe());
            }
        }
        let place = dir.display();
        // Who owns the directories above is the machine's concern: hence no StrictModes.
        let server = format!(
            "Port 22\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             PermitRootLogin prohibit-password\n"
        );
        let config = dir.join("sshd_config");
        write(&config, &server)?;
        let key = fs::read_to_string(dir.join("host.pub")).map_err(|e| e.to_string())?;
        write(&dir.join("known"), &format!("* {key}"))?;
        write(&dir.join("unknown"), "")?;
        for known in ["known", "unknown"] {
            let client = format!(
                "Host *\nIdentityFile {place}/user\nIdentitiesOnly yes\nUser root\n\
                 UserKnownHostsFile {place}/{known}\nGlobalKnownHostsFile none\n\
                 StrictHostKeyChecking yes\n"
            );
            write(&dir.join(format!("config-{known}")), &client)?;
            let script = format!("#!/bin/sh\nexec ssh -F {place}/config-{known} \"$@\"\n");
            write_script(&dir.join(format!("ssh-{known}")), &script)?;
        }
        let mut servers = Servers { running: Vec::new(), dir: dir.to_owned() };
        for host in hosts {
            // It wants a directory below /run, which is the host's own here.
            let line = "mount -t tmpfs run /run && mkdir -m 755 /run/sshd && exec \"$0\" \"$@\"";
            let task = Task::new(network.on()).arg(network.host(*host)).args(["sh", "-c", line]);
            let task = task.arg(SSHD).args(["-D", "-e", "-f"]).arg(&config);
            let log = dir.join(format!("sshd-{host}"));
            servers.running.push(task.log(log).limit(36_000).start()?);
            servers.await_answer(network, *host)?;
        }
        Ok(servers)
    }

    fn await_answer(&self, network: &Network, host: usize) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let task = Task::new(network.on()).arg(network.host(1)).arg(self.ssh());
            let outcome = task.arg(network.host(host)).arg("true").limit(20).run()?;
            if outcome.success() {
                return Ok(());
            }
            if begun.elapsed() > START_TIME {
                return Err(format!("no sshd on {}: {}", network.host(host), outcome.describe()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The servers themselves: they are on the hosts, but belong to no job.
    pub fn processes(&self) -> Vec<u32> {
        self.running.iter().map(Running::pid).collect()
    }

    /// An ssh that knows the hosts' keys.
    pub fn ssh(&self) -> PathBuf {
        self.dir.join("ssh-known")
    }

    /// One that has never heard of them.
    pub fn ssh_of_a_stranger(&self) -> PathBuf {
        self.dir.join("ssh-unknown")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in self.running.drain(..) {
            signal(server.pid(), "KILL");
            // It has ended, or its log says why not.
            let _ = server.finish();
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
