// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The grammar: spellings, environment, several programs, errors with suggestions.

use crate::{directory, finish, mpiexec, run};

#[test]
fn wrong_command_lines_start_nothing() {
    let table: &[(&[&str], &str)] = &[
        (&["-hots", "x", "echo"], "unknown option '-hots'\n  help: did you mean '-hosts'?"),
        (&["--timout", "5", "echo"], "did you mean '--timeout'?"),
        (&["-n4", "echo"], "did you mean '-n 4'?"),
        (&["-n", "two", "echo"], "-n expects a number >= 1, got 'two'"),
        (&["-np", "0", "echo"], "-np expects a number >= 1, got '0'"),
        (&["-n", "2"], "no program to run"),
        (&["-n"], "-n expects N, got nothing"),
        (&["-n", "2", "echo", ":"], "no program to run"),
        (&["-l=3", "echo"], "-l takes no value"),
        (&["-hosts", "a:x", "echo"], "'x' is no number of ranks"),
        (&["-launcher", "rsh", "echo"], "it knows ssh, srun, fork"),
        (&["-bind-to", "moon", "echo"], "-bind-to does not know 'moon'"),
        (&["-map-by", "moon", "echo"], "-map-by does not know 'moon'"),
        (&["-timeout", "soon", "echo"], "-timeout expects a time"),
        (&["-s", "7", "-n", "2", "echo"], "-stdin names rank 7"),
        (&["-prepend-pattern", "%q", "echo"], "does not know '%q'"),
        (&["-n", "2", "-n", "3", "echo"], "given twice"),
        (&["--pty", "echo"], "--pty: not yet"),
    ];
    for (args, text) in table {
        let ran = run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.err.starts_with("error: ") && ran.err.contains(text), "{args:?}: {}", ran.err);
    }
}

#[test]
fn one_dash_or_two_and_equals() {
    for args in [["-n=2"], ["--n=2"], ["-np=2"], ["--np=2"], ["-c=2"]] {
        let ran = run(&[args[0], "echo", "x"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "x\nx\n"), "{args:?}");
    }
}

#[test]
fn what_other_launchers_know_is_accepted() {
    let ran = run(&[
        "--oversubscribe",
        "--allow-run-as-root",
        "--mca",
        "btl",
        "tcp,self",
        "--map-by",
        "slot:PE=2",
        "-launcher",
        "fork",
        "--prefix",
        "/opt/x",
        "-hosts",
        "localhost:4",
        "-ppn",
        "2",
        "-n",
        "2",
        "echo",
        "-n",
        "3",
    ]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "3\n3", ""));
    let ran = run(&["-v", "--mca", "btl", "tcp", "true"]);
    assert!(ran.err.contains("note: --mca btl tcp has no meaning here"), "{}", ran.err);
    assert!(ran.err.contains("rank 0: exit code 0"), "{}", ran.err);
}

#[test]
fn several_programs() {
    let ran = run(&[
        "-l",
        "-n",
        "1",
        "sh",
        "-c",
        "echo a $PMI_SIZE",
        ":",
        "-n",
        "2",
        "-env",
        "B",
        "2",
        "sh",
        "-c",
        "echo b $PMI_RANK $B",
        ":",
        "sh",
        "-c",
        "echo c ${B:-none}",
    ]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[0] a 4", "[1] b 1 2", "[2] b 2 2", "[3] c none"]);
}

#[test]
fn programs_from_a_file() {
    let dir = std::env::temp_dir().join(format!("strait-configfile-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let text = "# two programs\n-n 1 sh -c 'echo a $PMI_SIZE'\n\n\\\n-n 2 -env B \"x y\" \\\n  \
                sh -c \"echo b \\$PMI_RANK \\$B\"\n";
    let programs = file("programs", text);
    let ran = run(&["-l", "-configfile", &programs]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[0] a 3", "[1] b 1 x y", "[2] b 2 x y"], "{}", ran.err);
    let (open, empty) = (file("open", "echo 'x\n"), file("empty", "# nothing\n"));
    let nested = file("nested", &format!("--app={programs}\n"));
    for (args, says) in [
        (&["-configfile", "/nowhere/x"][..], "-configfile: cannot read '/nowhere/x'"),
        (&["--app", &open], "line 1: an open quote"),
        (&["--app", &empty], "no program in"),
        (&["--app", &nested], "a file names another one"),
        (&["--app", &programs, "-n", "2"], "'-n' stands behind it"),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?} {}", ran.out);
        assert!(ran.err.contains(says), "{args:?} {}", ran.err);
    }
    std::fs::remove_dir_all(&dir).expect("ours");
}

#[test]
fn environment() {
    let env = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["sh", "-c", "echo ${A:-}/${B:-}/${C:-}"]);
        let mut command = mpiexec(&all);
        command.env("A", "1").env("B", "2").env_remove("C");
        let ran = finish(command, b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.trim().to_owned()
    };
    assert_eq!(env(&[]), "1/2/");
    assert_eq!(env(&["-genvnone"]), "//");
    assert_eq!(env(&["-envlist", "A"]), "1//");
    assert_eq!(env(&["-genvlist", "A", "-envall"]), "1/2/");
    assert_eq!(env(&["-env", "C", "3"]), "1/2/3");
    assert_eq!(env(&["-genv", "C=4"]), "1/2/4");
    assert_eq!(env(&["-genvnone", "-x", "B", "-x", "C=5"]), "/2/5");
    assert_eq!(env(&["-genv", "A", "9", "-env", "A", "8"]), "8/2/");
}

#[test]
fn ranks_know_who_they_are_and_forget_the_outer_job() {
    let script = "echo $PMI_RANK $PMI_SIZE $MPI_LOCALRANKID $MPI_LOCALNRANKS $STRAIT_RANK \
                  $STRAIT_SIZE ${PMI_PORT:-} ${HYDI_CONTROL_FD:-}";
    let mut command = mpiexec(&["-l", "-n", "2", "sh", "-c", script]);
    command.env("PMI_RANK", "77").env("PMI_PORT", "x").env("HYDI_CONTROL_FD", "9");
    let ran = finish(command, b"");
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[0] 0 2 0 2 0 2", "[1] 1 2 1 2 1 2"]);
}

#[test]
fn working_directory() {
    let here = directory("wdir");
    let path = here.to_str().unwrap();
    let ran = run(&["-wdir", path, "pwd", ":", "--wd", "/", "pwd"]);
    let mut lines: Vec<&str> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/", path]);
    assert_eq!(run(&["-wdir", "/no/such/place", "pwd"]).code, Some(127));
}

#[test]
fn dry_run_and_texts() {
    let here = directory("dry_run");
    let file = here.join("touched").display().to_string();
    let ran = run(&["--dry-run", "-n", "3", "touch", &file, ":", "-n", "2", "-wdir", "/", "true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(!here.join("touched").exists());
    assert!(ran.out.contains("0-2") && ran.out.contains("3-4"), "{}", ran.out);
    assert!(ran.out.contains("5 ranks; nothing was started"), "{}", ran.out);
    assert_eq!(run(&["--dry-run", "./nosuch"]).code, Some(127));
    for option in ["--version", "-V", "-info"] {
        assert!(run(&[option]).out.starts_with("Strait mpiexec "), "{option}");
    }
    let help = run(&["--help"]).out;
    for word in ["-np", "-outfile-pattern", "-genv", "--timeout".trim_start_matches('-'), "-x "] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn exit_codes_of_all_ranks() {
    let script = "exit $((PMI_RANK / 2 * 3))";
    let ran = run(&["-print-all-exitcodes", "-n", "3", "sh", "-c", script]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("ranks 0-1: exit code 0\nrank 2: exit code 3"), "{}", ran.err);
}

#[test]
fn a_variable_that_is_not_there_is_named() {
    let ran = run(&["-x", "STRAIT_NOBODY_SET_THIS", "-x", "PATH", "echo", "x"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "x\n"));
    let note = "note: -x STRAIT_NOBODY_SET_THIS: no variable of this name is set here\n";
    assert_eq!(ran.err, note);
}
