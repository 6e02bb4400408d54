// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::machine::hwloc::{Library, Missing};
use std::process::Command;

fn facts(text: &str) -> (usize, usize, usize, usize) {
    let machine = parse(text).expect(text);
    let cores = machine.cores();
    let count = cores.values().map(Vec::len).sum();
    (cores.len(), machine.nodes.len(), count, machine.processors.len())
}

#[test]
fn levels_become_a_machine() {
    assert_eq!(facts("pack:2 numa:2 core:8 pu:2"), (2, 4, 32, 64));
    assert_eq!(facts("2 2 8 2"), (2, 4, 32, 64));
    assert_eq!(facts("numa:2 core:8"), (1, 2, 16, 16));
    assert_eq!(facts("4"), (1, 1, 4, 4));
    let machine = parse("pack:2 [numa(memory=8GiB)] l3:2(size=16MiB) core:2 pu:2").expect("good");
    let five = &machine.processors[5];
    assert_eq!((five.package, five.node, five.core.as_slice()), (0, Some(0), &[4, 5][..]));
    assert_eq!((five.caches[0].bytes, five.caches[0].processors.len()), (16 << 20, 4));
    assert_eq!(machine.nodes[1].bytes, 8 << 30);
    // Second threads are numbered after all first ones, as Linux does.
    let machine = parse("pack:2 core:2 pu:2(indexes=2*4:1*2)").expect("good");
    assert_eq!(machine.processors[0].core, [0, 4]);
}

#[test]
fn what_is_no_machine_is_told() {
    for (text, says) in [
        ("", "it is empty"),
        ("node:4 numa:2 core:8", "'node:' is a host, and several hosts on one are not built yet"),
        ("pack:2 8", "either every level has a type or none"),
        ("pack core:2", "'pack' has no number"),
        ("pack:0", "no number of levels"),
        ("rack:2", "'rack' is no level"),
        ("core:2 pack:2", "packages cannot be inside cores"),
        ("core:2 core:2", "two levels of cores"),
        ("pu:2 core:2", "cores cannot be inside processors"),
        ("l2:2 l3:2 core:1", "L3 caches cannot be inside L2 caches"),
        ("core:70000", "more than 65536 processors"),
        ("pack:4294967296 core:4294967296 pu:2", "more than 65536"),
        ("1 1 1 1 1 1 1 1", "more than seven numbers"),
        ("pack:2(size=1", "')' is missing"),
        ("pack:2)", "closes nothing"),
        ("l3:2(size=1XB) pu:1", "'XB' is no unit"),
        ("l3:2(colour=red) pu:1", "known are size="),
        ("pu:4(indexes=0,1,2)", "3 numbers for 4"),
        ("pu:4(indexes=0,1,2,2)", "a number comes twice"),
        ("pu:4(indexes=2*2:1*4)", "the loops make 8 numbers"),
        ("pu:4(indexes=core:pu)", "loops such as"),
        ("pack:2 [l3] pu:1", "only NUMA nodes"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// hwloc's own reader of these strings, by way of a file.
#[test]
fn machines_are_those_of_hwloc() {
    let library = match Library::open(None) {
        Ok(library) => library,
        Err(Missing::Absent) => {
            eprintln!("hwloc is not installed: nothing to compare with");
            return;
        }
        Err(Missing::Refused(why)) => panic!("{why}"),
    };
    let dir = std::env::temp_dir().join(format!("strait-synthetic-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (index, text) in [
        "pack:2 numa:2 core:8 pu:2",
        "2 2 8 2",
        "4",
        "2 4",
        "2 2 8",
        "2 2 2 8 2",
        "2 2 2 2 8 2",
        "2 2 2 2 2 8 2",
        "numa:2 core:8 pu:1",
        "pack:2 [numa(memory=64GB)] l3:2(size=32MiB) l2:4(size=1MiB) core:1 pu:2(indexes=2*16:1*2)",
        "Package:2 Die:2 Group:2 NUMANode:1(indexes=7,6,5,4,3,2,1,0) L3Cache:1 Core:2 PU:1",
        "socket:2 l3:2 l2:2 l1d:1 l1i:1 co:2 pu:1(indexes=3*16:1*3)",
        "pack:2 core:2 l1:2(size=48KiB) pu:1",
        "l5:1 l4:2 l3:2 l2:2 l1:2 core:1 pu:1",
        "pack:1 numa:2(memory=8192) pu:3",
    ]
    .into_iter()
    .enumerate()
    {
        if text.contains("indexes=3*16") {
            // Loops that do not fit are refused by both.
            assert!(parse(text).is_err(), "{text}");
            continue;
        }
        let file = dir.join(format!("{index}.xml"));
        let ran = Command::new("lstopo-no-graphics").args(["-i", text, "-f"]).arg(&file).output();
        let Ok(ran) = ran else {
            eprintln!("lstopo is not installed: nothing to compare with");
            return;
        };
        assert!(ran.status.success(), "{text}: {}", String::from_utf8_lossy(&ran.stderr));
        let theirs = library.file(&file).expect(text);
        let ours = parse(text).expect(text);
        assert_eq!(ours.nodes, theirs.nodes, "{text}");
        assert_eq!(ours.processors.len(), theirs.processors.len(), "{text}");
        for (ours, theirs) in ours.processors.iter().zip(&theirs.processors) {
            assert_eq!(ours, theirs, "{text}");
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}
