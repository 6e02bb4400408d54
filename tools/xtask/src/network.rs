// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hosts that this machine does not have: network namespaces, each with its own address and host
//! name, joined by veth pairs and a bridge. The bridge lies in a namespace of its own, so that the
//! machine's network sees nothing of it. Needs root.
//!
//! A launcher script enters a host: `on HOST COMMAND...`. All is taken down when the network is
//! dropped.

use crate::process::Task;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The hosts.
pub struct Network {
    prefix: String,
    count: usize,
    on: PathBuf,
}

impl Network {
    /// Lays out `count` hosts; files go to `dir`.
    ///
    /// # Errors
    /// Why this machine gives no namespaces; nothing is left then.
    pub fn up(count: usize, dir: &Path) -> Result<Network, String> {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let prefix = format!("st{}", std::process::id());
        let network = Network { on: dir.join("on"), prefix, count };
        network.lay(dir)?;
        Ok(network)
    }

    fn lay(&self, dir: &Path) -> Result<(), String> {
        let hub = format!("{}-hub", self.prefix);
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        let mut hosts = String::from("127.0.0.1 localhost\n");
        for number in 1..=self.count {
            let (host, port) = (self.host(number), format!("port{number}"));
            let address = format!("10.77.0.{number}");
            ip(&["netns", "add", &host])?;
            let ends = ["type", "veth", "peer", "name", "eth0", "netns", &host];
            ip(&[&["-n", &hub, "link", "add", &port][..], &ends].concat())?;
            ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            ip(&["-n", &host, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
            hosts.push_str(&format!("{address} {host}\n"));
        }
        let names = dir.join("hosts");
        write(&names, &hosts)?;
        let script = format!(
            "#!/bin/sh\nhost=$1; shift\nexec ip netns exec \"$host\" unshare --uts sh -c \\\n    \
             'hostname \"$0\" && mount --bind {} /etc/hosts && exec \"$@\"' \"$host\" \"$@\"\n",
            names.display()
        );
        write_script(&self.on, &script)?;
        let outcome = Task::new(&self.on).arg(self.host(1)).arg("hostname").limit(20).run()?;
        if outcome.success() && outcome.out.trim() == self.host(1) {
            return Ok(());
        }
        Err(outcome.describe())
    }

    /// Name of a host, from 1.
    pub fn host(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// The first hosts, as mpiexec takes them.
    pub fn list(&self, count: usize) -> String {
        (1..=count).map(|number| self.host(number)).collect::<Vec<_>>().join(",")
    }

    /// The launcher.
    pub fn on(&self) -> &Path {
        &self.on
    }

    /// Cuts a host off, or joins it again.
    pub fn set_link(&self, number: usize, state: &str) -> Result<(), String> {
        ip(&["-n", &self.host(number), "link", "set", "eth0", state])
    }

    /// Makes a host lose all it sends to the first one (`add`), or no more (`del`).
    pub fn set_route(&self, number: usize, verb: &str) -> Result<(), String> {
        ip(&["-n", &self.host(number), "route", verb, "blackhole", "10.77.0.1/32"])
    }

    /// Processes that live on the hosts.
    pub fn processes(&self) -> Vec<u32> {
        let on =
            |number| Task::new("ip").args(["netns", "pids", &self.host(number)]).limit(20).run();
        let text = (1..=self.count).filter_map(|number| on(number).ok()).map(|outcome| outcome.out);
        text.flat_map(|text| text.lines().filter_map(|l| l.trim().parse().ok()).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let names = (1..=self.count).map(|number| self.host(number));
        for name in names.chain([format!("{}-hub", self.prefix)]) {
            // One that was never made is no concern.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// Writes a file that can be executed.
pub fn write_script(path: &Path, text: &str) -> Result<(), String> {
    write(path, text)?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, executable).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn ip(args: &[&str]) -> Result<(), String> {
    let outcome = Task::new("ip").args(args).limit(20).run()?;
    if outcome.success() {
        Ok(())
    } else {
        Err(format!("ip {}: {}", args.join(" "), outcome.describe()))
    }
}
