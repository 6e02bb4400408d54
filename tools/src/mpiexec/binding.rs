// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which processors each rank may use: disjoint sets, as large as possible, inside our own mask.
#![forbid(unsafe_code)]

use super::failure::Failure;
use super::request::BindTo;
use super::values::rank_set;
use crate::machine;
use std::path::Path;

/// The processors that this process may use, as sets of hardware threads that form a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<Vec<u32>>);

impl Cores {
    /// From the affinity mask and sysfs.
    pub fn of_this_process() -> Cores {
        let allowed = allowed_processors();
        let mut cores: Vec<Vec<u32>> = Vec::new();
        for cpu in &allowed {
            if cores.iter().any(|core| core.contains(cpu)) {
                continue;
            }
            let threads = machine::core_of(Path::new("/sys/devices/system/cpu"), *cpu);
            cores.push(threads.into_iter().filter(|cpu| allowed.contains(cpu)).collect());
        }
        Cores(cores)
    }
}

/// The processors of our affinity mask, which a cgroup's cpuset has already narrowed.
pub fn allowed_processors() -> Vec<u32> {
    let Ok(mask) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU as u32).filter(|cpu| mask.is_set(*cpu as usize)).collect()
}

/// The set of each rank; `None` where a rank is not bound.
///
/// # Errors
/// A processor that we may not use.
pub fn sets(how: &BindTo, size: u32, cores: &Cores) -> Result<Vec<Option<Vec<u32>>>, Failure> {
    let units: Vec<Vec<u32>> = match how {
        BindTo::None => return Ok(vec![None; size as usize]),
        BindTo::Core => cores.0.clone(),
        BindTo::HardwareThread => cores.0.iter().flatten().map(|cpu| vec![*cpu]).collect(),
        BindTo::User(list) => {
            let allowed: Vec<u32> = cores.0.iter().flatten().copied().collect();
            if let Some(cpu) = list.iter().flatten().find(|cpu| !allowed.contains(cpu)) {
                let mut sorted = allowed.clone();
                sorted.sort_unstable();
                return Err(Failure::usage(format!(
                    "-bind-to: processor {cpu} is not ours to use"
                ))
                .help(format!("we may use {}", rank_set(&sorted))));
            }
            let pick = |rank: u32| Some(list[rank as usize % list.len()].clone());
            return Ok((0..size).map(pick).collect());
        }
    };
    // More ranks than units: a rank bound to a shared core would only lose.
    if size as usize > units.len() {
        return Ok(vec![None; size as usize]);
    }
    let cut = |rank: usize| rank * units.len() / size as usize;
    Ok((0..size as usize)
        .map(|rank| {
            let mut set: Vec<u32> = units[cut(rank)..cut(rank + 1)].concat();
            set.sort_unstable();
            Some(set)
        })
        .collect())
}

/// A set in words.
pub fn in_words(set: Option<&Vec<u32>>) -> String {
    set.map_or("all".to_owned(), |set| rank_set(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_and_large() {
        let cores = Cores(vec![vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7]]);
        let got = sets(&BindTo::Core, 3, &cores).unwrap();
        assert_eq!(got, vec![Some(vec![0, 4]), Some(vec![1, 5]), Some(vec![2, 3, 6, 7])]);
        let got = sets(&BindTo::Core, 5, &cores).unwrap();
        assert_eq!(got, vec![None; 5]);
        let got = sets(&BindTo::HardwareThread, 8, &cores).unwrap();
        assert_eq!(got[1], Some(vec![4]));
        let user = BindTo::User(vec![vec![0], vec![1, 2]]);
        assert_eq!(sets(&user, 3, &cores).unwrap()[2], Some(vec![0]));
        assert!(sets(&BindTo::User(vec![vec![9]]), 1, &cores).is_err());
    }
}
