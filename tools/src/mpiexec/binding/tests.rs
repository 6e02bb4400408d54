// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::machine::foreign;
use crate::mpiexec::request::Options;

fn cores(text: &str) -> Vec<Core> {
    foreign::read(text, None).expect(text).machine.usable_cores()
}

/// The first processor and the number of processors of each rank.
fn placed(text: &str, bind: &str, map: &str, size: u32) -> Result<Vec<(u32, usize)>, String> {
    let mut options = Options::default();
    let read = |options: &mut Options| {
        if !map.is_empty() {
            for (at, word) in map.split_whitespace().enumerate() {
                let read = if at == 0 { map_by } else { rank_by };
                read("-map-by", word, options)?;
            }
        }
        crate::mpiexec::parse::bind_to("-bind-to", bind, options)
    };
    read(&mut options).map_err(|failure| failure.text)?;
    let sets = sets(&options.bind_to, &options.map, size, &cores(text));
    let sets = sets.map_err(|failure| failure.text)?;
    Ok(sets.iter().flatten().map(|set| (set[0], set.len())).collect())
}

const TWO: &str = "pack:2 numa:2 core:4 pu:2";

#[test]
fn disjoint_and_large() {
    let smt = "core:4 pu:2(indexes=2*4:1*2)";
    let of = |size| placed("core:4 pu:2", "core", "", size).unwrap();
    assert_eq!(of(3), [(0, 2), (2, 2), (4, 4)]);
    assert_eq!(of(5), [], "nobody is bound where cores would be shared");
    assert_eq!(placed(smt, "hwthread", "", 8).unwrap()[1], (4, 1));
    let user = BindTo::User(vec![vec![0], vec![1, 2]]);
    let four = cores("core:4");
    let map = Mapping::default();
    assert_eq!(sets(&user, &map, 3, &four).unwrap()[2], Some(vec![0]));
    assert!(sets(&BindTo::User(vec![vec![9]]), &map, 1, &four).is_err());
}

#[test]
fn units_get_ranks_in_turn_or_one_after_the_other() {
    let of = |bind: &str, map: &str, size| placed(TWO, bind, map, size).unwrap();
    // 2 packages of 16 processors, 4 NUMA nodes of 8, cores of 2.
    assert_eq!(of("core", "package", 4), [(0, 8), (16, 8), (8, 8), (24, 8)]);
    assert_eq!(of("core", "package fill", 4), [(0, 8), (8, 8), (16, 8), (24, 8)]);
    assert_eq!(of("core", "numa", 4), [(0, 8), (8, 8), (16, 8), (24, 8)]);
    assert_eq!(of("core", "numa", 3), [(0, 8), (8, 8), (16, 8)]);
    assert_eq!(of("core", "core", 3), [(0, 2), (2, 2), (4, 2)]);
    assert_eq!(of("hwthread", "core", 3), [(0, 2), (2, 2), (4, 2)]);
    assert_eq!(of("core", "hwthread", 2), [(0, 1), (1, 1)]);
    assert_eq!(of("core", "ppr:1:package", 2), [(0, 16), (16, 16)]);
    assert_eq!(of("core", "ppr:3:package", 4), [(0, 4), (4, 6), (10, 6), (16, 16)]);
    assert_eq!(of("core", "package:PE=2", 4), [(0, 4), (16, 4), (4, 4), (20, 4)]);
    assert_eq!(of("core:3", "", 3), [(0, 6), (6, 6), (12, 6)]);
    assert_eq!(of("core", "core:PE=2", 3), [(0, 4), (4, 4), (8, 4)]);
    assert_eq!(of("none", "numa", 4), []);
}

#[test]
fn ranks_are_numbered_by_units() {
    let of = |map: &str, size| placed(TWO, "core", map, size).unwrap();
    let firsts = |map: &str, size| of(map, size).iter().map(|set| set.0).collect::<Vec<_>>();
    // As dealt, whatever it is dealt by, if it is numbered by the same.
    for unit in ["package", "numa", "core", "hwthread"] {
        assert_eq!(firsts(&format!("{unit} {unit}"), 4), firsts(unit, 4));
    }
    assert_eq!(firsts("slot", 4), [0, 8, 16, 24]);
    assert_eq!(firsts("slot package", 4), [0, 16, 8, 24]);
    assert_eq!(firsts("package core", 4), [0, 8, 16, 24]);
    assert_eq!(
        firsts("core package", 10),
        [0, 2, 4, 6, 8, 10, 12, 14, 16, 18].map(|core| {
            // Eight cores of the first package have a rank, two of the other.
            [0, 16, 2, 18, 4, 6, 8, 10, 12, 14][core / 2]
        })
    );
    assert_eq!(firsts("ppr:2:numa package", 8), [0, 16, 4, 20, 8, 24, 12, 28]);
    assert_eq!(firsts("package node", 4), firsts("package", 4));
    // Bound to more than their share, or not at all, they have the same numbers.
    assert_eq!(placed(TWO, "package", "slot package", 4).unwrap()[1], (16, 16));
    assert_eq!(placed(TWO, "core", "slot core", 40).unwrap(), []);
}

#[test]
fn a_rank_can_have_the_unit_its_cores_are_in() {
    let of = |bind: &str, map: &str, size| placed(TWO, bind, map, size).unwrap();
    assert_eq!(of("numa", "", 2), [(0, 8), (16, 8)]);
    assert_eq!(of("package", "core", 2), [(0, 16), (0, 16)]);
    assert_eq!(of("package", "package", 3), [(0, 16), (16, 16), (0, 16)]);
    assert_eq!(of("machine", "numa", 2), [(0, 32), (0, 32)]);
    // Units may be shared, also by more ranks than cores.
    let many = of("package", "package", 40);
    assert_eq!((many.len(), many[39]), (40, (16, 16)));
    let l3 = placed("l3:4 core:2", "l3cache", "l3cache", 5).unwrap();
    assert_eq!(l3, [(0, 2), (2, 2), (4, 2), (6, 2), (0, 2)]);
}

#[test]
fn what_has_no_room_is_an_error() {
    for (bind, map, size, says) in [
        ("core", "ppr:1:package", 3, "has room for 2 ranks here, not for 3"),
        ("core", "package:PE=8", 3, "2 ranks with PE=8 need 16 cores in one place, which has 8"),
        ("core", "l3cache", 2, "no l3cache is known here"),
        ("core", "rack", 2, "does not know 'rack'"),
        ("core", "core l3cache", 2, "-rank-by l3cache: no l3cache is known here"),
        ("core", "core (vector,(0,1))", 2, "expects a vector"),
        ("core", "core (vector,(0,0,1))", 2, "expects a vector"),
        ("core", "package:NOOVERSUBSCRIBE", 2, "not yet"),
        ("core", "ppr:2", 2, "does not know 'ppr:2'"),
        ("core", "numa rack", 2, "does not know 'rack'"),
        ("core", "core:PE=0", 2, "PE= expects"),
        ("board:3", "", 2, "does not know 'board:3'"),
        ("rack", "", 2, "does not know 'rack'"),
    ] {
        let error = placed(TWO, bind, map, size).expect_err(map);
        assert!(error.contains(says), "{bind} {map}: {error}");
    }
}

#[test]
fn neighbours_are_beside_each_other_on_machines_that_number_packages_in_turn() {
    // Even processors are in package 0, odd ones in package 1.
    let cores = cores("pack:2 core:4 pu:1(indexes=4*2:1*4)");
    let first: Vec<u32> = cores.iter().map(|core| core.threads[0]).collect();
    assert_eq!(first, [0, 2, 4, 6, 1, 3, 5, 7]);
}

/// Whether every rank of these jobs can have a core of its own in its part: augmenting paths.
fn all_find_a_core(parts: &[std::ops::Range<usize>], cores: usize) -> bool {
    fn find(
        rank: usize,
        parts: &[std::ops::Range<usize>],
        owner: &mut [Option<usize>],
        seen: &mut [bool],
    ) -> bool {
        for core in parts[rank].clone() {
            if std::mem::replace(&mut seen[core], true) {
                continue;
            }
            if owner[core].is_none_or(|other| find(other, parts, owner, seen)) {
                owner[core] = Some(rank);
                return true;
            }
        }
        false
    }
    let mut owner = vec![None; cores];
    (0..parts.len()).all(|rank| find(rank, parts, &mut owner, &mut vec![false; cores]))
}

#[test]
fn jobs_that_fit_together_do_not_meet_because_of_their_parts() {
    let job = |ranks: usize, cores: usize| {
        (0..ranks).map(move |rank| rank * cores / ranks..(rank + 1) * cores / ranks)
    };
    // These are the parts that ranks get.
    let six = cores("core:7");
    let got = sets(&BindTo::To(Unit::Core), &Mapping::default(), 3, &six).unwrap();
    let theirs: Vec<Option<Vec<u32>>> =
        job(3, 7).map(|part| Some(part.map(|core| core as u32).collect())).collect();
    assert_eq!(got, theirs);
    for cores in 1..=20 {
        for a in 1..=cores {
            for b in 0..=cores - a {
                for c in 0..=cores - a - b {
                    let all: Vec<_> = [a, b, c]
                        .into_iter()
                        .filter(|n| *n > 0)
                        .flat_map(|n| job(n, cores))
                        .collect();
                    assert!(all_find_a_core(&all, cores), "{a}, {b} and {c} ranks, {cores} cores");
                }
            }
        }
    }
}
