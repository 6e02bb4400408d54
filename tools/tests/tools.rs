// SPDX-License-Identifier: Apache-2.0 OR MIT
//! mpicc and strait, in a prefix made for the test.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A prefix with copies of the tools, an empty library and a header.
fn prefix(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&root));
    for part in ["bin", "lib", "include"] {
        std::fs::create_dir_all(root.join(part)).unwrap();
    }
    for (tool, from) in [
        ("mpicc", env!("CARGO_BIN_EXE_mpicc")),
        ("strait", env!("CARGO_BIN_EXE_strait")),
        ("mpiexec", env!("CARGO_BIN_EXE_mpiexec")),
    ] {
        std::fs::copy(from, root.join("bin").join(tool)).unwrap();
    }
    symlink("mpicc", root.join("bin/mpicxx")).unwrap();
    std::fs::write(root.join("include/mpi.h"), "int strait_test(void);\n").unwrap();
    std::fs::write(root.join("t.c"), "int strait_test(void) { return 42; }\n").unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libmpi_abi.so.1", "-o"])
        .args([root.join("lib/libmpi_abi.so.1"), root.join("t.c")])
        .status()
        .unwrap();
    assert!(built.success());
    symlink("libmpi_abi.so.1", root.join("lib/libmpi_abi.so")).unwrap();
    root
}

fn tool(root: &Path, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(root.join("bin").join(name));
    for variable in ["STRAIT_CC", "MPICH_CC", "OMPI_CC", "STRAIT_CXX"] {
        command.env_remove(variable);
    }
    command.args(args).current_dir(root).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_program_is_built_and_runs_also_after_the_prefix_moved() {
    let root = prefix("moved_before");
    let after = root.with_file_name("moved_after");
    drop(std::fs::remove_dir_all(&after));
    std::fs::rename(&root, &after).unwrap();
    let source = "#include <mpi.h>\nint main(void) { return strait_test() - 35; }\n";
    std::fs::write(after.join("main.c"), source).unwrap();
    for (compiler, output) in [("mpicc", "main"), ("mpicxx", "main++")] {
        let language: &[&str] =
            if compiler == "mpicc" { &["main.c"] } else { &["-x", "c", "main.c"] };
        let built = tool(&after, compiler, &[language, &["-o", output]].concat());
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        // Cargo puts the directories of build scripts there, and one holds a library of this name.
        let mut program = Command::new(after.join(output));
        let ran = program.env_remove("LD_LIBRARY_PATH").status().unwrap();
        assert_eq!(ran.code(), Some(7));
    }
    let built = tool(&after, "mpicc", &["-c", "main.c", "-o", "main.o"]);
    assert!(built.status.success() && built.stderr.is_empty());
}

#[test]
fn answers() {
    let root = prefix("answers");
    let place = root.display().to_string();
    let compile = format!("-I{place}/include");
    let link = format!("-L{place}/lib -Wl,-rpath,{place}/lib -lmpi_abi");
    let ask = |args: &[&str]| {
        let output = tool(&root, "mpicc", args);
        assert!(output.status.success(), "{args:?}");
        text(&output)
    };
    assert_eq!(ask(&["-show", "a.c"]), format!("cc {compile} a.c {link}"));
    assert_eq!(ask(&["--showme"]), format!("cc {compile} {link}"));
    assert_eq!(ask(&["-show", "-c", "a.c"]), format!("cc {compile} -c a.c"));
    assert_eq!(ask(&["-compile-info"]), format!("cc {compile}"));
    assert_eq!(ask(&["-link-info"]), format!("cc {link}"));
    assert_eq!(ask(&["--showme:compile"]), compile);
    assert_eq!(ask(&["-showme:link"]), link);
    assert_eq!(ask(&["--showme:incdirs"]), format!("{place}/include"));
    assert_eq!(ask(&["--showme:libdirs"]), format!("{place}/lib"));
    assert_eq!(ask(&["--showme:libs"]), "mpi_abi");
    assert!(ask(&["--showme:version"]).contains("Strait "));
    assert_eq!(ask(&["-cc=clang", "-show"]), format!("clang {compile} {link}"));
    assert!(text(&tool(&root, "mpicxx", &["-show"])).starts_with("c++ "));
    assert!(ask(&["--version"]).contains('('), "the compiler's own version");
    assert!(tool(&root, "mpicc", &["-v"]).status.success());
    let unknown = tool(&root, "mpicc", &["--showme:xyz"]);
    assert!(!unknown.status.success() && !unknown.stderr.is_empty());
    let failed = tool(&root, "mpicc", &["nosuch.c"]);
    assert!(!failed.status.success());
    for variable in ["STRAIT_CC", "MPICH_CC", "OMPI_CC"] {
        let mut command = Command::new(root.join("bin/mpicc"));
        let shown = command.arg("-show").env(variable, "ccache mycc").output().unwrap();
        assert!(text(&shown).starts_with("ccache mycc -I"), "{variable}");
    }
    let mut command = Command::new(root.join("bin/mpicc"));
    let missing = command.arg("a.c").env("STRAIT_CC", "no-such-compiler").output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
}

#[test]
fn ranks_find_our_library() {
    let root = prefix("loader");
    std::fs::copy(root.join("lib/libmpi_abi.so.1"), root.join("lib/libmpi.so.12")).unwrap();
    let script = "echo $MPI4PY_LIBMPI $MPI4PY_MPIABI $LD_LIBRARY_PATH";
    let mpiexec = |name: &str, value: &str| {
        let mut command = Command::new(root.join("bin/mpiexec"));
        command.args(["sh", "-c", script]).env_remove("LD_LIBRARY_PATH").env(name, value);
        text(&command.output().unwrap())
    };
    let lib = root.join("lib").display().to_string();
    assert_eq!(mpiexec("UNUSED", ""), format!("{lib}/libmpi.so.12 mpich {lib}"));
    assert_eq!(mpiexec("MPI4PY_LIBMPI", "/mine"), format!("/mine {lib}"));
    assert_eq!(
        mpiexec("LD_LIBRARY_PATH", "/other"),
        format!("{lib}/libmpi.so.12 mpich {lib}:/other")
    );
}

#[test]
fn strait_tells_of_itself() {
    let root = prefix("strait");
    let info = tool(&root, "strait", &["info", "--json"]);
    assert!(info.status.success());
    let value: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["prefix"], root.display().to_string());
    assert_eq!(
        value["libraries"][0]["path"],
        root.join("lib/libmpi_abi.so.1").display().to_string()
    );
    assert!(value["libraries"][1]["path"].is_null());
    assert!(text(&tool(&root, "strait", &["info"])).starts_with("Strait "));
    let doctor = tool(&root, "strait", &["doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "the MPICH face is missing in this prefix");
    assert!(text(&doctor).contains("PROBLEM  library: no libmpi.so.12"));
    let planned = tool(&root, "strait", &["top"]);
    assert_eq!(planned.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&planned.stderr).contains("strait top is not built yet"));
    let wrong = tool(&root, "strait", &["inof"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean 'strait info'?"));
}

#[test]
fn strait_params_tells_values_and_who_set_them() {
    let root = prefix("params");
    let params = |pairs: &[(&str, &str)]| {
        let mut command = Command::new(root.join("bin/strait"));
        command.args(["params", "--json"]);
        // Whoever runs the tests has variables of that prefix, too.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STRAIT_") {
                command.env_remove(name);
            }
        }
        command.envs(pairs.iter().copied());
        let output = command.output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), value)
    };
    let find = |value: &serde_json::Value, name: &str| {
        let all = value["params"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["name"] == name).unwrap()
    };
    let (code, value) = params(&[]);
    assert_eq!(code, Some(0), "{value}");
    let spin = find(&value, "STRAIT_SPIN_US");
    assert_eq!((&spin["value"], &spin["set_by"]), (&"50".into(), &"default".into()));
    let (code, value) = params(&[("STRAIT_SPIN_US", "7"), ("STRAIT_BOARDS", "maybe")]);
    let spin = find(&value, "STRAIT_SPIN_US");
    assert_eq!((&spin["value"], &spin["set_by"]), (&"7".into(), &"environment".into()));
    let problem = find(&value, "STRAIT_BOARDS")["problem"].to_string();
    assert!(code == Some(1) && problem.contains("neither on nor off"), "{problem}");
    let (code, value) = params(&[("STRAIT_LANE", "tcp")]);
    assert!(value["unknown"][0].to_string().contains("did you mean STRAIT_LANES?"), "{value}");
    assert_eq!(code, Some(1));
}
