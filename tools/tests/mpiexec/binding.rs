// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bindings: by default, by options, and on machines that are not here.

use crate::{Ran, directory, finish, mpiexec, run};
use std::process::Command;

const AFFINITY: &str = "import os; print(sorted(os.sched_getaffinity(0)))";

fn on(topology: &str, args: &[&str]) -> Ran {
    let mut command = mpiexec(args);
    command.env("STRAIT_TOPOLOGY", topology);
    finish(command, b"")
}

#[test]
fn by_hand() {
    let cpus = strait_tools::mpiexec::allowed_processors();
    let ran = run(&["-n", "1", "-bind-to", "core", "--report-bindings", "true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("rank 0  host "), "{}", ran.err);
    let list = format!("user:{}", cpus[0]);
    let ran = run(&["-n", "2", "-bind-to", &list, "python3", "-c", AFFINITY]);
    assert_eq!(ran.out, format!("[{0}]\n[{0}]\n", cpus[0]));
    assert_eq!(run(&["-bind-to", "user:4000", "true"]).code, Some(2));
    // More ranks than cores: nobody is bound.
    let many = (cpus.len() + 1).to_string();
    for args in [&["-n", &many, "-bind-to", "core"][..], &["-n", &many]] {
        let ran = run(&[args, &["python3", "-c", AFFINITY]].concat());
        assert!(ran.out.lines().all(|line| line == format!("{cpus:?}")), "{}", ran.out);
    }
}

#[test]
fn by_default_ranks_have_disjoint_parts_where_each_has_a_core() {
    let cpus = strait_tools::mpiexec::allowed_processors();
    let ran = run(&["-v", "-n", "2", "python3", "-c", AFFINITY]);
    let lines: Vec<&str> = ran.out.lines().collect();
    let set = |line: &str| -> Vec<u32> {
        let inside = line.trim_matches(['[', ']']).split(", ");
        inside.map(|number| number.parse().unwrap()).collect()
    };
    if ran.err.contains(": ranks are not bound: ") {
        // One core, a narrow mask, or a quota: then both have all.
        assert!(lines.iter().all(|line| set(line) == cpus), "{} {}", ran.out, ran.err);
        eprintln!("this host gives no reason to bind: {}", ran.err);
    } else {
        let mut both = [set(lines[0]), set(lines[1])].concat();
        both.sort_unstable();
        assert_eq!(both, cpus, "{}", ran.err);
    }
    let ran = run(&["-n", "2", "-bind-to", "none", "python3", "-c", AFFINITY]);
    assert!(ran.out.lines().all(|line| set(line) == cpus), "{}", ran.out);
    // Who is alone has everything.
    let ran = run(&["-n", "1", "python3", "-c", AFFINITY]);
    assert_eq!(set(ran.out.trim()), cpus);
    // A program that binds its threads by number.
    let mut command = mpiexec(&["-v", "-n", "2", "python3", "-c", AFFINITY]);
    command.env("GOMP_CPU_AFFINITY", "0");
    let ran = finish(command, b"");
    assert!(ran.out.lines().all(|line| set(line) == cpus), "{}", ran.out);
    assert!(ran.err.contains(": ranks are not bound: "), "{}", ran.err);
}

#[test]
fn bindings_on_another_machine_are_shown_and_not_made() {
    let cpus = strait_tools::mpiexec::allowed_processors();
    let args = ["-n", "8", "-bind-to", "core", "--report-bindings", "python3", "-c", AFFINITY];
    let ran = on("pack:2 core:4 pu:2", &args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.lines().all(|line| line == format!("{cpus:?}")), "{}", ran.out);
    assert!(ran.err.contains("rank 5  host "), "{}", ran.err);
    assert!(ran.err.contains("  processors 10-11  [../../../..][../BB/../..]"), "{}", ran.err);
    assert!(ran.err.contains("and no rank is bound here"), "{}", ran.err);
    let ran = on("pack:2 core:4 pu:2", &["-n", "2", "-map-by", "package", "-dry-run", "true"]);
    assert!(ran.out.contains("processors 8-15  [../../../..][BB/BB/BB/BB]"), "{}", ran.out);
    // Nobody looks: nothing is read.
    let ran = on("rack:2", &["-n", "2", "true"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for (topology, says) in [
        ("rack:2", "error: STRAIT_TOPOLOGY is 'rack:2': 'rack' is no level"),
        ("node:4 numa:2 core:8", "'node:' is a host, and several hosts on one are not built yet"),
        ("/nonexistent.xml", "there is no such file"),
    ] {
        let ran = on(topology, &["-n", "2", "--report-bindings", "true"]);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    }
}

#[test]
fn a_file_of_hwloc_describes_another_machine() {
    let file = directory("hwloc-file").join("machine.xml");
    let made = Command::new("lstopo-no-graphics")
        .args(["-i", "pack:2 l3:2 core:2 pu:2", "-f"])
        .arg(&file)
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("lstopo is not installed: no file to read");
        return;
    }
    let file = file.display().to_string();
    let ran = on(&file, &["-n", "4", "-bind-to", "l3cache", "--report-bindings", "true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("rank 3  host "), "{}", ran.err);
    assert!(ran.err.contains("processors 12-15  [../../../..][../../BB/BB]"), "{}", ran.err);
    // A library that is none is told by name.
    let mut command = mpiexec(&["-n", "2", "--report-bindings", "true"]);
    command.env("STRAIT_TOPOLOGY", &file).env("STRAIT_HWLOC_LIBRARY", "libc.so.6");
    let ran = finish(command, b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("libc.so.6 is no hwloc"), "{}", ran.err);
}

#[test]
fn ranks_are_numbered_by_units_of_a_machine_that_is_not_here() {
    let shown = |args: &[&str]| {
        let ran = on("pack:2 core:4", &[args, &["-n", "4", "-dry-run", "true"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out
    };
    let out = shown(&["-map-by", "slot"]);
    assert!(out.contains("processors 2-3  [././B/B][./././.]"), "{out}");
    let out = shown(&["-map-by", "slot", "-rank-by", "package"]);
    let line = |rank: u32| {
        let name = format!("rank {rank}  host ");
        out.lines().find(|line| line.starts_with(&name)).unwrap_or_default().to_owned()
    };
    let sets = ["0-1", "4-5", "2-3", "6-7"].map(|set| format!("processors {set}  ["));
    for (rank, set) in (0..).zip(sets) {
        assert!(line(rank).contains(&set), "{out}");
    }
}

#[test]
fn ranks_by_units() {
    let count = |args: &[&str]| {
        let ran = run(&[args, &["echo", "x"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
        ran.out.lines().count()
    };
    assert_eq!(count(&["-map-by", "ppr:3:node"]), 3);
    assert_eq!(count(&["-n", "2", "-map-by", "ppr:3:node"]), 2);
    assert_eq!(count(&["-map-by", "ppr:2:package", "-n", "1"]), 1);
    assert_eq!(count(&["--map-by", "slot:PE=1", "--rank-by", "slot", "-n", "1"]), 1);
    let fork = ["-launcher", "fork", "-hosts", "one,two"];
    assert_eq!(count(&[&fork[..], &["-map-by", "ppr:2:node"]].concat()), 4);
    assert_eq!(count(&[&fork[..], &["-map-by", "node", "-n", "2"]].concat()), 2);
    let placed = |args: &[&str]| run(&[&fork[..], args, &["-dry-run", "echo"]].concat());
    let ran = placed(&["-map-by", "node", "-rank-by", "fill", "-n", "3"]);
    assert!(ran.out.contains("host one: ranks 0-1\nhost two: rank 2\n"), "{}", ran.out);
    for (args, says) in [
        (&["-map-by", "node", "-n", "3"][..], "host one: ranks 0,2\nhost two: rank 1\n"),
        (&["-map-by", "node", "-rank-by", "core", "-n", "3"], "one: ranks 0-1\nhost two: rank 2\n"),
        (&["-rankmap", "cyclic", "-n", "4"], "host one: ranks 0,2\nhost two: ranks 1,3\n"),
        (&["-rankmap", "(vector,(1,1,2),(0,1,1))", "-n", "4"], "one: rank 2\nhost two: ranks 0-1,"),
        (&["-hosts", "one", "-map-by", "seq"], "host one: ranks 0,2\nhost two: rank 1\n3 ranks"),
    ] {
        let ran = placed(args);
        assert_eq!(ran.code, Some(0), "{args:?} {}", ran.err);
        // Which ranks run what stands between the hosts and the number.
        let out = ran.out.replace("ranks 0-2: echo\n", "");
        assert!(out.contains(says), "{args:?} {}", ran.out);
    }
    for (args, says) in [
        (&["-map-by", "ppr:1:node", "-n", "3"][..], "has room for 2 ranks here, not for 3"),
        (&["-map-by", "ppr:1:package"], "needs the number of ranks"),
        (&["-map-by", "seq", "-n", "3"], "has 2 places, for 3 ranks"),
        (&["-rankmap", "(vector,(0,3,1))", "-n", "2"], "names host number 2, and there are 2"),
        (&["-rankmap", "(vector,(0,1))", "-n", "2"], "expects a vector"),
        (&["-rank-by", "dist", "-n", "2"], "not yet"),
    ] {
        let ran = placed(args);
        assert_eq!(ran.code, Some(2), "{args:?} {}", ran.out);
        assert!(ran.err.contains(says), "{args:?} {}", ran.err);
    }
    let ran = run(&["-n", "2", "-map-by", "core:PE=4000", "-bind-to", "core", "true"]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(ran.err.contains("need 8000 cores in one place"), "{}", ran.err);
}
