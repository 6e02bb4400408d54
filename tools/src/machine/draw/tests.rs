// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::super::tests::made_up;
use super::super::{Detail, synthetic};
use super::*;

#[test]
fn a_machine_is_drawn_with_its_ranks() {
    let root = made_up("draw");
    let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
    let machine = Machine::read(&root, &allowed, Detail::All);
    let sets = [Some(vec![0, 8]), Some(vec![0, 8]), None, Some(vec![2, 3, 10, 11])];
    let text = machine.draw("far1", &[], &sets);
    let expected = "far1  2 packages, 4 NUMA nodes, 8 cores, 16 processors, 32 GiB
  each core: L1 32 KiB, L2 1 MiB
  package 0
    NUMA node 0  8 GiB
      L3 16 MiB  core 0  processors 0,8                ranks 0-1
                 core 1  processors 1,9 (not ours: 9)
    NUMA node 1  8 GiB
      L3 16 MiB  cores 2-3  processors 2-3,10-11  rank 3
  package 1
    NUMA node 2  8 GiB
      L3 16 MiB  cores 4-5  processors 4-5,12-13
    NUMA node 3  8 GiB
      L3 16 MiB  cores 6-7  processors 6-7,14-15
  fabric   mlx5_0 (ib0)  active  200 Gbit/s  near NUMA node 3, package 1
  network  eth0          up      25 Gbit/s   near package 0
  no card behind: docker0
not bound: rank 2
";
    assert_eq!(text, expected);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_large_machine_fits_a_screen() {
    let machine = synthetic::parse("pack:2 numa:1 l3:8(size=32MiB) core:8 pu:2").unwrap();
    let cores = machine.usable_cores();
    let sets: Vec<Option<Vec<u32>>> = cores.iter().map(|core| Some(core.threads.clone())).collect();
    let text = machine.draw("far1", &[], &sets);
    assert_eq!(text.lines().count(), 1 + 2 * (2 + 8), "{text}");
    let last = "L3 32 MiB  cores 120-127  processors 240-255  ranks 120-127, one each";
    assert_eq!(text.lines().last().map(str::trim), Some(last), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    // Dealt to the packages in turn.
    let sets: Vec<Option<Vec<u32>>> =
        (0..128).map(|rank| Some(cores[rank % 2 * 64 + rank / 2].threads.clone())).collect();
    let text = machine.draw("far1", &[], &sets);
    assert!(text.contains("processors 16-31    ranks 16-30 by 2, one each"), "{text}");
    // A rank on each thread.
    let sets: Vec<Option<Vec<u32>>> = (0..256).map(|number| Some(vec![number])).collect();
    let text = machine.draw("far1", &[], &sets);
    assert!(text.contains("core 127  processors 254-255  254: rank 254; 255: rank 255"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn sizes_in_words() {
    for (bytes, words) in
        [(32 << 10, "32 KiB"), (1536 << 10, "1.5 MiB"), (8 << 30, "8 GiB"), (5, "5 B")]
    {
        assert_eq!(size(bytes), words);
    }
}

#[test]
fn cores_of_two_kinds_say_what_they_have() {
    let mut machine = synthetic::parse("l3:1 l2:4(size=1MiB) core:1").unwrap();
    for processor in &mut machine.processors[2..] {
        processor.caches[0].bytes = 4 << 20;
    }
    let text = machine.draw("big.little", &[], &[]);
    assert!(text.contains("L3 16 MiB  cores 0-1  L2 1 MiB  processors 0-1\n"), "{text}");
    assert!(text.contains("           cores 2-3  L2 4 MiB  processors 2-3\n"), "{text}");
}

#[test]
fn a_numa_node_is_named_once_however_its_cores_are_numbered() {
    let machine = synthetic::parse("numa:2 core:4 pu:1(indexes=4*2:1*4)").unwrap();
    let text = machine.draw("odd", &[], &[]);
    let expected = "odd  1 package, 2 NUMA nodes, 8 cores, 8 processors, 2 GiB
  package 0
    NUMA node 0  1 GiB
      cores 0-3  processors 0,2,4,6
    NUMA node 1  1 GiB
      cores 4-7  processors 1,3,5,7
";
    assert_eq!(text, expected);
}
