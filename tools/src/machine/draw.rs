// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine as text: a tree with its ranks, and a line of cores for one rank's binding.
#![forbid(unsafe_code)]

use super::{Cache, Device, DeviceKind, Machine, Processor};
use crate::mpiexec::ranks_named;
use std::fmt::Write as _;

impl Machine {
    /// The tree. `sets` are the processors of each rank; `None`: a rank that is not bound.
    pub fn draw(&self, host: &str, sets: &[Option<Vec<u32>>]) -> String {
        let allowed = self.processors.iter().filter(|processor| processor.allowed).count();
        let memory: u64 = self.nodes.iter().map(|node| node.bytes).sum();
        let all = self.processors.len();
        let mut text = format!("{host}  {all} processors, {allowed} allowed");
        if memory > 0 {
            let _ = write!(text, "; {}", size(memory));
        }
        text.push('\n');
        for (package, cores) in self.cores() {
            let _ = writeln!(text, "  package {package}");
            let mut above = (None, None);
            for core in cores {
                let Some(first) = self.processors.iter().find(|p| p.number == core[0]) else {
                    continue;
                };
                self.draw_core(&mut text, first, core, &mut above, sets);
            }
        }
        for device in &self.devices {
            text.push_str(&line_of(device));
        }
        let free: Vec<u32> =
            (0..).zip(sets).filter(|(_, set)| set.is_none()).map(|(rank, _)| rank).collect();
        if !free.is_empty() {
            let _ = writeln!(text, "not bound: {}", ranks_named(&free));
        }
        text
    }

    /// A core, and before it what it is the first of. `above` is the NUMA node and the shared cache
    /// of the core before.
    fn draw_core<'a>(
        &'a self,
        text: &mut String,
        first: &'a Processor,
        core: &[u32],
        above: &mut (Option<u32>, Option<&'a Cache>),
        sets: &[Option<Vec<u32>>],
    ) {
        if first.node != above.0 {
            let node = self.nodes.iter().find(|node| Some(node.number) == first.node);
            if let Some(node) = node {
                let _ = writeln!(text, "    NUMA node {}  {}", node.number, size(node.bytes));
            }
            *above = (first.node, None);
        }
        let shared = first.caches.iter().rfind(|cache| cache.processors.len() > core.len());
        if let Some(cache) = shared.filter(|cache| above.1 != Some(*cache)) {
            let _ = writeln!(text, "      L{} {}", cache.level, size(cache.bytes));
        }
        above.1 = shared;
        let own = first.caches.iter().filter(|cache| cache.processors.len() <= core.len());
        let own: Vec<String> =
            own.map(|cache| format!("L{} {}", cache.level, size(cache.bytes))).collect();
        let threads: Vec<String> = core.iter().map(|number| self.thread(*number, sets)).collect();
        let _ = writeln!(text, "        core  {}  {}", own.join(", "), threads.join("  "));
    }

    fn thread(&self, number: u32, sets: &[Option<Vec<u32>>]) -> String {
        let is_ours = self.processors.iter().any(|p| p.number == number && p.allowed);
        if !is_ours {
            return format!("processor {number} (not ours)");
        }
        let here = (0..)
            .zip(sets)
            .filter(|(_, set)| set.as_ref().is_some_and(|set| set.contains(&number)));
        let ranks: Vec<u32> = here.map(|(rank, _)| rank).collect();
        match ranks.is_empty() {
            true => format!("processor {number}"),
            false => format!("processor {number}: {}", ranks_named(&ranks)),
        }
    }

    /// One line for a binding: packages in brackets, cores between slashes, a letter for each
    /// thread: `B` bound, `.` not, `-` not ours to use.
    pub fn picture(&self, set: Option<&[u32]>) -> String {
        let letter = |number: &u32| {
            let processor = self.processors.iter().find(|p| p.number == *number);
            match processor.is_some_and(|p| p.allowed) {
                false => '-',
                true if set.is_none_or(|set| set.contains(number)) => 'B',
                true => '.',
            }
        };
        let package = |cores: &Vec<&[u32]>| {
            let cores: Vec<String> =
                cores.iter().map(|core| core.iter().map(letter).collect()).collect();
            format!("[{}]", cores.join("/"))
        };
        self.cores().values().map(package).collect()
    }
}

fn line_of(device: &Device) -> String {
    let kind = match device.kind {
        DeviceKind::Network => "network",
        DeviceKind::Fabric => "fabric",
    };
    let mut text = format!("  {kind}  {}", device.name);
    if let Some(state) = &device.state {
        let _ = write!(text, "  {state}");
    }
    if let Some(megabits) = device.megabits {
        let _ = write!(text, "  {} Gbit/s", f64::from(megabits) / 1000.0);
    }
    if let Some(node) = device.node {
        let _ = write!(text, "  at NUMA node {node}");
    }
    text.push('\n');
    text
}

/// Bytes in the largest unit that leaves a whole number, or one decimal.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in units {
        if bytes >= 1 << shift {
            let whole = bytes >> shift;
            return match bytes == whole << shift {
                true => format!("{whole} {name}"),
                false => format!("{:.1} {name}", bytes as f64 / (1_u64 << shift) as f64),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::*;

    #[test]
    fn a_machine_is_drawn_with_its_ranks() {
        let root = made_up("draw");
        let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
        let machine = Machine::read(&root, &allowed);
        let sets = [Some(vec![0, 8]), Some(vec![0, 8]), None];
        let text = machine.draw("far1", &sets);
        let expected = "far1  16 processors, 15 allowed; 32 GiB
  package 0
    NUMA node 0  8 GiB
      L3 16 MiB
        core  L1 32 KiB, L2 1 MiB  processor 0: ranks 0-1  processor 8: ranks 0-1
        core  L1 32 KiB, L2 1 MiB  processor 1  processor 9 (not ours)
    NUMA node 1  8 GiB
      L3 16 MiB
        core  L1 32 KiB, L2 1 MiB  processor 2  processor 10
        core  L1 32 KiB, L2 1 MiB  processor 3  processor 11
  package 1
    NUMA node 2  8 GiB
      L3 16 MiB
        core  L1 32 KiB, L2 1 MiB  processor 4  processor 12
        core  L1 32 KiB, L2 1 MiB  processor 5  processor 13
    NUMA node 3  8 GiB
      L3 16 MiB
        core  L1 32 KiB, L2 1 MiB  processor 6  processor 14
        core  L1 32 KiB, L2 1 MiB  processor 7  processor 15
  fabric  mlx5_0  at NUMA node 3
  network  eth0  up  25 Gbit/s
not bound: rank 2
";
        assert_eq!(text, expected);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_binding_is_a_line() {
        let root = made_up("picture");
        let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
        let machine = Machine::read(&root, &allowed);
        let picture = |set: &[u32]| machine.picture(Some(set));
        assert_eq!(picture(&[0, 8, 5]), "[BB/.-/../..][../B./../..]");
        assert_eq!(machine.picture(None), "[BB/B-/BB/BB][BB/BB/BB/BB]");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn sizes_in_words() {
        for (bytes, words) in
            [(32 << 10, "32 KiB"), (1536 << 10, "1.5 MiB"), (8 << 30, "8 GiB"), (5, "5 B")]
        {
            assert_eq!(size(bytes), words);
        }
    }
}
