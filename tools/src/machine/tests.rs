// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A copy of a sysfs: two packages of two NUMA nodes each, a node of two cores of two threads
/// that share an L3; a fabric's card at node 3.
pub(crate) fn made_up(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("strait-sys-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let write = |path: String, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    };
    write("devices/system/cpu/online".into(), "0-15");
    for cpu in 0..16_u32 {
        let core = cpu % 8;
        let place = format!("devices/system/cpu/cpu{cpu}");
        write(format!("{place}/topology/physical_package_id"), &(core / 4).to_string());
        write(format!("{place}/topology/thread_siblings_list"), &format!("{core},{}", core + 8));
        let l3 = core / 2 * 2;
        let l3 = format!("{l3}-{},{}-{}", l3 + 1, l3 + 8, l3 + 9);
        let one = format!("{core},{}", core + 8);
        let all = [
            ("Data", "1", "32K", &one),
            ("Instruction", "1", "64K", &one),
            ("Unified", "2", "1024K", &one),
            ("Unified", "3", "16M", &l3),
        ];
        for (index, (kind, level, size, shared)) in all.into_iter().enumerate() {
            let place = format!("{place}/cache/index{index}");
            write(format!("{place}/type"), kind);
            write(format!("{place}/level"), level);
            write(format!("{place}/size"), size);
            write(format!("{place}/shared_cpu_list"), shared);
        }
    }
    for node in 0..4_u32 {
        let place = format!("devices/system/node/node{node}");
        let first = node * 2;
        let cpus = format!("{first}-{},{}-{}", first + 1, first + 8, first + 9);
        write(format!("{place}/cpulist"), &cpus);
        write(format!("{place}/meminfo"), &format!("Node {node} MemTotal:  8388608 kB"));
        write(format!("{place}/distance"), "10 12 32 32");
    }
    write("class/infiniband/mlx5_0/device/numa_node".into(), "3");
    write("class/infiniband/mlx5_0/device/net/ib0/operstate".into(), "up");
    write("class/infiniband/mlx5_0/ports/1/state".into(), "4: ACTIVE");
    write("class/infiniband/mlx5_0/ports/1/rate".into(), "200 Gb/sec (4X HDR)");
    write("class/net/eth0/operstate".into(), "up");
    write("class/net/eth0/speed".into(), "25000");
    write("class/net/eth0/device/numa_node".into(), "-1");
    write("class/net/eth0/device/local_cpulist".into(), "0-3,8-11");
    write("class/net/docker0/operstate".into(), "down");
    write("class/net/lo/operstate".into(), "unknown");
    root
}

#[test]
fn a_machine_is_read() {
    let root = made_up("read");
    let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
    let machine = Machine::read(&root, &allowed, Detail::All);
    assert_eq!((machine.processors.len(), machine.nodes.len()), (16, 4));
    let nine = &machine.processors[9];
    assert_eq!((nine.package, nine.node, nine.allowed), (0, Some(0), false));
    assert_eq!(nine.core, [1, 9]);
    let levels: Vec<(u32, u64)> = nine.caches.iter().map(|c| (c.level, c.bytes)).collect();
    assert_eq!(levels, [(1, 32 << 10), (2, 1 << 20), (3, 16 << 20)]);
    assert_eq!([1, 2, 3, 4].map(|level| machine.cache_count(level)), [8, 8, 4, 0]);
    assert_eq!(machine.nodes[2].bytes, 8 << 30);
    let cores = machine.cores();
    assert_eq!((cores.len(), cores[&0].len(), cores[&1][0]), (2, 4, &[4, 12][..]));
    let devices: Vec<(&str, Option<u32>, Option<u32>)> =
        machine.devices.iter().map(|d| (d.name.as_str(), d.node, d.package)).collect();
    let expected = [("mlx5_0", Some(3), Some(1)), ("docker0", None, None), ("eth0", None, Some(0))];
    assert_eq!(devices, expected);
    assert_eq!(machine.devices[0].interfaces, ["ib0"]);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn without_any_file_each_processor_is_a_core() {
    let machine = Machine::read(Path::new("/nonexistent"), &[0, 3], Detail::All);
    assert_eq!(machine.cores()[&0], [&[0][..], &[3]]);
    assert!(machine.nodes.is_empty() && machine.devices.is_empty());
}

#[test]
fn this_machine_is_what_hwloc_says() {
    let allowed = crate::mpiexec::allowed_processors();
    let machine = Machine::read(Path::new("/sys"), &allowed, Detail::All);
    assert!(allowed.iter().all(|cpu| machine.processors.iter().any(|p| p.number == *cpu)));
    let count = |kind: &str| {
        let output = std::process::Command::new("hwloc-calc")
            .args(["--whole-system", "-N", kind, "all"])
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<usize>().ok()
    };
    let Some(processors) = count("pu") else {
        eprintln!("hwloc-calc is not installed: nothing to compare with");
        return;
    };
    assert_eq!(machine.processors.len(), processors);
    let cores = machine.cores();
    assert_eq!(Some(cores.len()), count("package"));
    assert_eq!(Some(cores.values().map(Vec::len).sum()), count("core"));
    assert_eq!(Some(machine.nodes.len().max(1)), count("numanode"));
    for (level, kind) in [(1, "l1cache"), (2, "l2cache"), (3, "l3cache")] {
        assert_eq!(Some(machine.cache_count(level)), count(kind), "{kind}");
    }
}

#[test]
fn sysfs_and_hwloc_see_the_same_host() {
    let library = match hwloc::Library::open(None) {
        Ok(library) => library,
        Err(hwloc::Missing::Absent) => {
            eprintln!("hwloc is not installed: nothing to compare with");
            return;
        }
        Err(hwloc::Missing::Refused(why)) => panic!("{why}"),
    };
    let theirs = library.this_host().expect("a topology");
    let online: Vec<u32> = theirs.processors.iter().map(|one| one.number).collect();
    let ours = Machine::read(Path::new("/sys"), &online, Detail::All);
    for (ours, theirs) in ours.processors.iter().zip(&theirs.processors) {
        let theirs = Processor { allowed: ours.allowed, ..theirs.clone() };
        assert_eq!(*ours, theirs);
    }
    assert_eq!(ours.processors.len(), theirs.processors.len());
    for (ours, theirs) in ours.nodes.iter().zip(&theirs.nodes) {
        assert_eq!((ours.number, ours.bytes), (theirs.number, theirs.bytes));
        assert_eq!(ours.processors, theirs.processors);
    }
    // Cards that both know hang on the same processors.
    for card in &theirs.devices {
        if let Some(same) = ours.devices.iter().find(|one| one.name == card.name) {
            assert_eq!((&same.near, same.package), (&card.near, card.package), "{}", card.name);
        }
    }
}

#[test]
fn fewer_facts_are_the_same_facts() {
    let root = made_up("detail");
    let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
    let all = Machine::read(&root, &allowed, Detail::All);
    let caches = Machine::read(&root, &allowed, Detail::Caches);
    assert_eq!(all.usable_cores(), caches.usable_cores());
    let plain = |machine: &Machine| -> Vec<(Vec<u32>, u32, Option<u32>)> {
        let cores = machine.usable_cores();
        cores.into_iter().map(|core| (core.threads, core.package, core.node)).collect()
    };
    assert_eq!(plain(&all), plain(&Machine::read(&root, &allowed, Detail::Cores)));
    assert_eq!(plain(&all)[1].0, [1], "a thread that is not ours is left out");
    fs::remove_dir_all(root).unwrap();
}

/// A library of one function.
fn library_of(name: &str, body: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("strait-hwloc-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (source, library) = (dir.join(format!("{name}.c")), dir.join(format!("lib{name}.so")));
    fs::write(&source, body).unwrap();
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .expect("a C compiler");
    assert!(built.success());
    library
}

#[test]
fn a_library_that_is_no_hwloc_2_is_refused_in_a_sentence() {
    let of_version =
        |version: &str| format!("unsigned hwloc_get_api_version(void) {{ return {version}; }}\n");
    let libraries = [
        (library_of("three", &of_version("0x00030000")), "is hwloc 3.0.0; Strait works with"),
        (library_of("one", &of_version("0x00010b00")), "is hwloc 1.11.0; Strait works with"),
        (library_of("part", &of_version("0x00020900")), "is no whole hwloc"),
        (library_of("other", "int x;\n"), "is no hwloc"),
        (PathBuf::from("/nonexistent/libhwloc.so.15"), "cannot be opened"),
    ];
    for (library, says) in &libraries {
        let Err(hwloc::Missing::Refused(why)) = hwloc::Library::open(library.to_str()) else {
            panic!("{} was taken", library.display());
        };
        assert!(why.contains(says) && why.contains("STRAIT_HWLOC_LIBRARY"), "{why}");
    }
    fs::remove_dir_all(libraries[0].0.parent().unwrap()).unwrap();
}
