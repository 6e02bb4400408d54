// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait info --topology` as a user sees it: this host, and machines that are not here.

use std::path::PathBuf;
use std::process::{Command, Output};

fn strait(topology: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.args(["info", "--topology"]).args(args);
    command.env_remove("STRAIT_TOPOLOGY").env_remove("STRAIT_HWLOC_LIBRARY");
    if let Some(topology) = topology {
        command.env("STRAIT_TOPOLOGY", topology);
    }
    command.output().expect("strait runs")
}

fn drawn(topology: &str, args: &[&str]) -> String {
    let output = strait(Some(topology), args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// No line wraps in a terminal of 88 columns, except where it repeats what the user wrote; none
/// ends in blanks.
fn assert_tidy(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with("  from ")) {
        assert!(line.len() <= 88 && line.trim_end() == line, "{line:?}");
    }
}

/// A copy of /sys: two packages of 64 cores of two threads, a NUMA node each, eight fabric cards
/// with an interface each, two network cards, and forty interfaces of containers.
fn rich_host() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rich-host");
    drop(std::fs::remove_dir_all(&root));
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    };
    write("devices/system/cpu/online", "0-255");
    for cpu in 0..256_u32 {
        let core = cpu % 128;
        let place = format!("devices/system/cpu/cpu{cpu}");
        write(&format!("{place}/topology/physical_package_id"), &(core / 64).to_string());
        write(&format!("{place}/topology/thread_siblings_list"), &format!("{core},{}", core + 128));
        let first = core / 16 * 16;
        let l3 = format!("{first}-{},{}-{}", first + 15, first + 128, first + 143);
        let own = format!("{core},{}", core + 128);
        let all = [("0", "1", "32K", &own), ("1", "2", "1024K", &own), ("2", "3", "32M", &l3)];
        for (index, level, size, shared) in all {
            let place = format!("{place}/cache/index{index}");
            write(&format!("{place}/type"), "Unified");
            write(&format!("{place}/level"), level);
            write(&format!("{place}/size"), size);
            write(&format!("{place}/shared_cpu_list"), shared);
        }
    }
    let node = ["0-63,128-191", "64-127,192-255"];
    for (number, cpus) in node.iter().enumerate() {
        let place = format!("devices/system/node/node{number}");
        write(&format!("{place}/cpulist"), cpus);
        write(&format!("{place}/meminfo"), &format!("Node {number} MemTotal:  268435456 kB"));
        write(&format!("{place}/distance"), "10 32");
    }
    for card in 0..8_usize {
        let place = format!("class/infiniband/mlx5_{card}");
        write(&format!("{place}/device/numa_node"), &(card / 4).to_string());
        write(&format!("{place}/device/local_cpulist"), node[card / 4]);
        write(&format!("{place}/device/net/ibp{card}s0/operstate"), "up");
        write(&format!("{place}/ports/1/state"), if card == 7 { "1: DOWN" } else { "4: ACTIVE" });
        write(&format!("{place}/ports/1/rate"), "400 Gb/sec (4X NDR)");
        write(&format!("class/net/ibp{card}s0/operstate"), if card == 7 { "down" } else { "up" });
        write(&format!("class/net/ibp{card}s0/device/local_cpulist"), node[card / 4]);
    }
    for card in ["eno1", "eno2"] {
        write(&format!("class/net/{card}/operstate"), "up");
        write(&format!("class/net/{card}/speed"), "25000");
        write(&format!("class/net/{card}/device/numa_node"), "0");
    }
    for number in 0..40 {
        write(&format!("class/net/veth{number}/operstate"), "up");
    }
    root
}

#[test]
fn a_host_with_eight_cards_fits_a_screen() {
    let root = rich_host();
    let text = drawn(root.to_str().unwrap(), &["-n", "128"]);
    assert_tidy(&text);
    assert!(text.lines().count() <= 40, "{text}");
    for line in [
        "another machine  2 packages, 2 NUMA nodes, 128 cores, 256 processors, 512 GiB",
        "  each core: L1 32 KiB, L2 1 MiB",
        "      L3 32 MiB  cores 16-31  processors 16-31,144-159  ranks 16-31, one \
         each",
        "  fabric   mlx5_0 (ibp0s0)  active  400 Gbit/s  near NUMA node 0, package 0",
        "  fabric   mlx5_7 (ibp7s0)  down    400 Gbit/s  near NUMA node 1, package 1",
        "  network  eno1             up      25 Gbit/s   near NUMA node 0, package 0",
        "  no card behind: veth0, veth1, veth2, veth3, veth4, veth5 and 34 more",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Ranks without a core each.
    let text = drawn(root.to_str().unwrap(), &["-n", "1000"]);
    assert_tidy(&text);
    assert!(text.ends_with("not bound: ranks 0-999\n"), "{text}");
    assert!(
        text.contains("  note: ranks would not be bound: 1000 ranks, and 128 cores\n"),
        "{text}"
    );
    // As data.
    let json: serde_json::Value =
        serde_json::from_str(&drawn(root.to_str().unwrap(), &["-n", "2", "--json"])).unwrap();
    assert_eq!(json["devices"][4]["node"], 1);
    assert_eq!(json["bound"][1].as_array().unwrap().len(), 128);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn synthetic_machines_are_drawn_with_ranks() {
    let machine = "pack:2 numa:4 l3:2(size=32MiB) core:8 pu:2(indexes=2*128:1*2)";
    for (args, says) in [
        (&["-n", "8"][..], "cores 8-15  processors 8-15,136-143  rank 0"),
        (&["-n", "128"], "ranks 8-15, one each"),
        (&["-n", "128", "--map-by", "package"], "ranks 16-30 by 2, one each"),
        (&["-n", "4", "--bind-to", "package", "--map-by", "package"], "ranks 0,2"),
        (&["-n", "256", "--bind-to", "hwthread"], "0: rank 0; 128: rank 1"),
    ] {
        let text = drawn(machine, args);
        assert!(text.contains(says), "{args:?}\n{text}");
        assert_tidy(&text);
    }
    let text = drawn("4", &["-n", "2"]);
    assert!(text.contains("cores 0-1  processors 0-1  rank 0\n"), "{text}");
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    for (topology, args, says) in [
        ("rack:2", &[][..], "STRAIT_TOPOLOGY is 'rack:2': 'rack' is no level"),
        ("node:2 core:4", &[], "several hosts on one are not built yet"),
        ("/etc", &[], "no devices/system/cpu/online"),
        ("pack:2", &["-n", "2", "--bind-to", "rack"], "--bind-to does not know 'rack'"),
        ("pack:2", &["-n", "3", "--map-by", "ppr:1:package"], "has room for 2 ranks here"),
    ] {
        let output = strait(Some(topology), args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{topology}: {text}");
        assert!(text.starts_with("error: ") && text.contains(says), "{topology}: {text}");
        assert!(!text.contains("error: error"), "{text}");
    }
}

#[test]
fn this_host_is_drawn_with_hwloc_and_without() {
    let run = |library: &str, from: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        command.args(["info", "--topology", "--from", from]);
        command.env("STRAIT_HWLOC_LIBRARY", library).env_remove("STRAIT_TOPOLOGY");
        command.output().expect("strait runs")
    };
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let sysfs = run("", "sysfs");
    assert!(text(&sysfs).contains("\n  from sysfs\n"), "{}", text(&sysfs));
    let missing = run("/nonexistent/libhwloc.so.15", "auto");
    assert!(missing.status.success());
    assert!(text(&missing).contains("note: hwloc is not used: "), "{}", text(&missing));
    let wanted = run("/nonexistent/libhwloc.so.15", "hwloc");
    assert_eq!(wanted.status.code(), Some(2));
    let tree = |text: &str| text.split_once("  package ").map(|(_, tree)| tree.to_owned());
    let auto = run("", "auto");
    if text(&auto).contains("from hwloc") {
        assert_eq!(tree(&text(&auto)), tree(&text(&sysfs)));
    } else {
        eprintln!("hwloc is not installed: sysfs alone");
    }
}

#[test]
fn no_program_needs_hwloc_to_start() {
    for program in [env!("CARGO_BIN_EXE_strait"), env!("CARGO_BIN_EXE_mpiexec")] {
        let Ok(output) = Command::new("readelf").args(["-d", program]).output() else {
            eprintln!("readelf is not installed: nothing to look with");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("NEEDED") && !text.contains("hwloc"), "{text}");
    }
}
