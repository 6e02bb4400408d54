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
    /// Lays out `count` hosts, whose names hold that of the network; files go to `dir`.
    ///
    /// # Errors
    /// Why this machine gives no namespaces; nothing is left then.
    pub fn up(name: &str, count: usize, dir: &Path) -> Result<Network, String> {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let prefix = format!("st{}{name}", std::process::id());
        let network = Network { on: dir.join(format!("on-{prefix}")), prefix, count };
        network.lay()?;
        Ok(network)
    }

    fn lay(&self) -> Result<(), String> {
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
        let names = self.on.with_extension("hosts");
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

    /// Joins all hosts by a second link, `eth1`, through a bridge of its own.
    ///
    /// # Errors
    /// Why there is none.
    pub fn add_second_link(&self) -> Result<(), String> {
        let hub = format!("{}-hub", self.prefix);
        ip(&["-n", &hub, "link", "add", "bridge1", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge1", "up"])?;
        for number in 1..=self.count {
            let (host, port) = (self.host(number), format!("second{number}"));
            let ends = ["type", "veth", "peer", "name", "eth1", "netns", &host];
            ip(&[&["-n", &hub, "link", "add", &port][..], &ends].concat())?;
            ip(&["-n", &hub, "link", "set", &port, "master", "bridge1", "up"])?;
            let address = format!("10.78.0.{number}/24");
            ip(&["-n", &host, "addr", "add", &address, "dev", "eth1"])?;
            ip(&["-n", &host, "link", "set", "eth1", "up"])?;
        }
        Ok(())
    }

    /// Takes a host's link down at its other end, or up again: the other hosts see nothing of it.
    pub fn set_port(&self, number: usize, state: &str) -> Result<(), String> {
        let (hub, port) = (format!("{}-hub", self.prefix), format!("port{number}"));
        ip(&["-n", &hub, "link", "set", &port, state])
    }

    /// Drops all that comes to a host by this link, or no more.
    pub fn set_silent(&self, number: usize, link: &str, silent: bool) -> Result<(), String> {
        if !silent {
            return self.nft(number, "delete table ip silent");
        }
        self.nft(number, "add table ip silent")?;
        self.nft(number, "add chain ip silent in { type filter hook input priority 0 ; }")?;
        self.nft(number, &format!("add rule ip silent in iifname {link} drop"))
    }

    /// Bytes that a host sent by this link so far.
    pub fn sent(&self, number: usize, link: &str) -> Result<u64, String> {
        let args = ["-n", &self.host(number), "-s", "-j", "link", "show", link];
        let outcome = Task::new("ip").args(args).limit(20).run()?;
        let found = outcome
            .out
            .rsplit("\"tx\":{\"bytes\":")
            .next()
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        found.ok_or_else(|| outcome.describe())
    }

    fn nft(&self, number: usize, line: &str) -> Result<(), String> {
        let task = Task::new("ip").args(["netns", "exec", &self.host(number), "nft"]);
        let outcome = task.args(line.split(' ')).limit(20).run()?;
        if outcome.success() { Ok(()) } else { Err(format!("{line}: {}", outcome.describe())) }
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

    /// Loses this share of the packets that reach a host, at random; of 0 none is lost.
    pub fn set_loss(&self, number: usize, percent: u32) -> Result<(), String> {
        let nft = |line: &str| self.nft(number, line);
        if percent == 0 {
            return nft("delete table ip loss");
        }
        nft("add table ip loss")?;
        nft("add chain ip loss in { type filter hook input priority 0 ; }")?;
        nft(&format!("add rule ip loss in numgen random mod 100 < {percent} counter drop"))
    }

    /// Packets that were lost so.
    pub fn lost(&self, number: usize) -> Result<u64, String> {
        let args = ["netns", "exec", &self.host(number), "nft", "list", "table", "ip", "loss"];
        let outcome = Task::new("ip").args(args).limit(20).run()?;
        let mut words = outcome.out.split_whitespace().skip_while(|word| *word != "packets");
        let count = words.nth(1).and_then(|word| word.parse().ok());
        count.ok_or_else(|| outcome.describe())
    }

    /// Processes that live on the hosts.
    pub fn processes(&self) -> Vec<u32> {
        (1..=self.count).flat_map(|number| self.processes_of(number)).collect()
    }

    /// Processes that live on one of them.
    pub fn processes_of(&self, number: usize) -> Vec<u32> {
        let task = Task::new("ip").args(["netns", "pids", &self.host(number)]);
        let text = task.limit(20).run().map(|outcome| outcome.out).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let names = (1..=self.count).map(|number| self.host(number));
        for name in names.chain([format!("{}-hub", self.prefix)]) {
            // One that was never made is no concern.
            let _ = ip(&["netns", "del", &name]);
        }
        let _ = fs::remove_file(self.on.with_extension("hosts"));
        let _ = fs::remove_file(&self.on);
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
