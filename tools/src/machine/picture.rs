// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A line for one rank's binding.
#![forbid(unsafe_code)]

use super::Machine;
use std::collections::HashSet;

/// Longest picture with a mark for each core; a longer one counts equal neighbours.
const PICTURE_WIDTH_MAX: usize = 64;

impl Machine {
    /// Packages in brackets, cores between slashes, a letter for each thread: `B` bound, `.` not,
    /// `-` not ours to use. On a large machine equal neighbours are counted: `[4xBB/60x..][64x..]`.
    pub fn picture(&self, set: Option<&[u32]>) -> String {
        let allowed: HashSet<u32> =
            self.processors.iter().filter(|one| one.allowed).map(|one| one.number).collect();
        let set: Option<HashSet<u32>> = set.map(|set| set.iter().copied().collect());
        let letter = |number: &u32| match allowed.contains(number) {
            false => '-',
            true if set.as_ref().is_none_or(|set| set.contains(number)) => 'B',
            true => '.',
        };
        let packages: Vec<Vec<String>> = self
            .cores()
            .values()
            .map(|cores| cores.iter().map(|core| core.iter().map(letter).collect()).collect())
            .collect();
        let whole = |cores: &Vec<String>| format!("[{}]", cores.join("/"));
        let picture: String = packages.iter().map(whole).collect();
        match picture.len() > PICTURE_WIDTH_MAX {
            true => packages.iter().map(|cores| format!("[{}]", counted(cores))).collect(),
            false => picture,
        }
    }
}

fn counted(cores: &[String]) -> String {
    let runs = cores.chunk_by(|a, b| a == b).map(|run| match run.len() {
        1 => run[0].clone(),
        count => format!("{count}x{}", run[0]),
    });
    runs.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::super::{Detail, synthetic};
    use super::*;

    #[test]
    fn a_binding_is_a_line() {
        let root = made_up("picture");
        let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
        let machine = Machine::read(&root, &allowed, Detail::All);
        let picture = |set: &[u32]| machine.picture(Some(set));
        assert_eq!(picture(&[0, 8, 5]), "[BB/.-/../..][../B./../..]");
        assert_eq!(machine.picture(None), "[BB/B-/BB/BB][BB/BB/BB/BB]");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn on_a_large_machine_neighbours_are_counted() {
        let machine = synthetic::parse("pack:2 core:64 pu:2(indexes=2*128:1*2)").unwrap();
        let set: Vec<u32> = (0..4).chain(128..132).collect();
        assert_eq!(machine.picture(Some(&set)), "[4xBB/60x..][64x..]");
        assert_eq!(machine.picture(Some(&[1])), "[../B./62x..][64x..]");
    }
}
