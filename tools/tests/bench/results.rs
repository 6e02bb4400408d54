// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is measured, in which order, and what is written of it.

use super::*;
use serde_json::Value;

/// The lines of a session: head, runs, end.
fn session(text: &str) -> (Value, Vec<Value>, Value) {
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap()["end"].take();
    let head = lines.remove(0)["session"].take();
    (head, lines.iter_mut().map(|line| line["run"].take()).collect(), end)
}

#[test]
fn contenders_take_turns_and_a_broken_one_stops_nobody() {
    let world = World::new("turns");
    world.prefix("good", &launcher("good", "Good", ""));
    world.prefix("bad", &launcher("bad", "Bad", "echo 'no <fabric> here' >&2; exit 3"));
    world.script("old/bin/mpiexec", "#!/bin/sh\necho 'mpiexec (Open MPI) 5.0.11'\n");
    let [good, bad, old] = ["good", "bad", "old"].map(|name| world.spec(name));
    let words = ["latency", "--compare", &good, "--compare", &bad, "--compare", &old];
    let ran = world.run(&[&words[..], &["--repeats", "3"]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.err);

    // Who begins changes; bad is given up after it failed twice.
    let turns = ["strait", "good", "bad", "good", "bad", "strait", "strait", "good"];
    assert_eq!(world.log(), turns);

    let (head, runs, end) = session(&world.out("session.jsonl"));
    assert_eq!(head["format"], "strait-bench-session 1");
    assert!(head["contenders"][3]["left_out"].as_str().unwrap().contains("libmpi_abi.so.1"));
    assert_eq!((runs.len(), &end["reason"]), (8, &"complete".into()));
    assert_eq!(runs[2]["failure"], "exit code 3:\nno <fabric> here");
    assert!(end["given_up"][0].as_str().unwrap().contains("osu_latency over bad"));
    let command = runs[1]["command"].as_str().unwrap();
    assert!(command.contains("good/bin/mpiexec -n 2") && command.ends_with("osu_latency --json"));

    // On the terminal, in the page, in the table: the failure, the one left out, the ratio.
    assert!(ran.err.contains("osu_latency over bad failed in 2 run(s): exit code 3"));
    assert!(ran.err.contains("old was left out: mpiexec (Open MPI) 5.0.11 has no"));
    assert!(ran.out.contains("geometric mean 1.15"), "{}", ran.out);
    let page = world.out("report.html");
    assert!(page.contains("no &lt;fabric&gt; here") && page.contains("Open MPI"));
    assert!(page.contains("Where strait is slower") && page.contains("<td>1.33</td>"));
    let csv = world.out("summary.csv");
    assert!(csv.contains("osu_latency,avg,us,less,unknown,strait,1,3,2.0,2.0,2.0,extremes"));
    let summary: Value = serde_json::from_str(&world.out("summary.json")).unwrap();
    assert_eq!(summary["failures"].as_array().unwrap().len(), 2);
    assert_eq!(summary["comparison"]["ratios"][0]["rival"], "good");
}

#[test]
fn a_program_that_only_prints_tables_is_read_too() {
    let world = World::new("tables");
    let table = "#!/bin/sh\nfor word; do if [ $word = --json ]; then\n\
         echo 'osu_bw: invalid option --json' >&2; exit 1; fi; done\n\
         echo '# OSU MPI Bandwidth Test v7.4'\necho '# Size      Bandwidth (MB/s)'\n\
         echo \"8       $#.25\"\n";
    world.script("strait/bin/osu_bw", table);
    let ran = world.run(&["osu_bw", "--repeats", "2", "-m", "8:8", "--csv", "--", "-c"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    // Three words: -m 8:8 -c.
    assert!(ran.out.contains("osu_bw,bandwidth,MB/s,more,unknown,strait,8,2,3.25,"), "{}", ran.out);
    assert_eq!(world.log().len(), 3, "the first run was asked twice");
}

#[test]
fn a_figure_of_another_library_is_a_failure() {
    let world = World::new("other_library");
    world.prefix("liar", &launcher("liar", "Strait", ""));
    let spec = format!("{},kind=mpich", world.spec("liar"));
    let ran = world.run(&["latency", "--compare", &spec, "--repeats", "1"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("ran over 'Strait 1.0'"), "{}", ran.err);
}

#[test]
fn a_record_can_be_told_again() {
    let world = World::new("record");
    world.prefix("good", &launcher("good", "Good", ""));
    let records = world.path("records").display().to_string();
    let good = format!("{},env.NUMBER=8,arg=--verbose", world.spec("good"));
    let words = ["--compare", &good, "--repeats", "1", "--record", &records, "--commit", "c0ffee"];
    let ran = world.run(&words);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let mut files = std::fs::read_dir(&records).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(file.display().to_string().ends_with("-c0ffee.jsonl"), "{}", file.display());
    assert_eq!(read(&file), world.out("session.jsonl"));
    let page = world.out("report.html");
    let again = world.run(&["--from", file.to_str().unwrap()]);
    assert_eq!((again.code, again.out), (Some(0), ran.out));
    assert_eq!(world.out("report.html"), page);
    // Ours has 2, the other one 8.
    assert!(page.contains("<td>0.25</td>"), "the settings reached the program");
    let overwritten = world.run(&words);
    assert_eq!(overwritten.code, Some(2), "results are not overwritten");
    assert!(overwritten.err.contains("session.jsonl"), "{}", overwritten.err);
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let world = World::new("mistakes");
    for (words, reason) in [
        (&["latncy"][..], "did you mean osu_latency?"),
        (&["--compare", "x=/nosuch"], "no /nosuch/bin/mpiexec"),
        (&["--programs", "/nosuch"], "--programs"),
        (&["--without-ours"], "nobody to measure"),
        (&["--from", "/nosuch"], "/nosuch"),
    ] {
        let ran = world.run(words);
        assert_eq!(ran.code, Some(2), "{words:?}");
        assert!(ran.err.contains(reason), "{words:?}: {}", ran.err);
    }
    assert_eq!(world.log(), Vec::<String>::new());
    assert_eq!(world.run(&["--list"]).out, "osu_latency\n");
}
