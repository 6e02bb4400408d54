// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Fortran programs of `bindings/tests/fortran`: each is compiled with mpif.h, `use mpi` and
//! `use mpi_f08`, checks itself and says `ok` from rank 0. Those in `missing` must not compile or
//! link; the project in `cmake` is built as a user's would be.
//!
//! A program may limit where it runs, by comments in its first lines, which begin with `!` or `C`:
//!     ! ranks: 2 3           instead of 1 2 3 4
//!     ! faces: MPI F08       instead of MPIF MPI F08
//!     ! names: mpi_t_pvar    in `missing`: what the compiler or the linker must say, in any case

use super::cases::{self, Case};
use super::{Suite, Tally};
use crate::fortran;
use crate::install;
use crate::process::{Outcome, Task};
use crate::setup;
use std::fs;
use std::path::{Path, PathBuf};

const RANKS: &[usize] = &[1, 2, 3, 4];
const FACES: &[&str] = &["MPIF", "MPI", "F08"];

/// A source, and what its first lines say.
struct Source {
    path: PathBuf,
    name: String,
    faces: Vec<String>,
    ranks: Vec<usize>,
    /// What must be said of one that is not to compile.
    names: Vec<String>,
}

/// A program, with one of the faces.
struct Program {
    name: String,
    binary: PathBuf,
    ranks: Vec<usize>,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    setup::fortran()?;
    suite.need_prefix()?;
    if suite.foreign.is_none() && !suite.places.prefix().join("include/mpi.mod").is_file() {
        // An earlier stage installed, when there was no gfortran yet.
        install::into_target(&suite.places)?;
    }
    let dir = suite.places.root.join("bindings/tests/fortran");
    let mut tally = Tally::default();
    if suite.foreign.is_none() {
        questions(suite, &mut tally);
        tally.record("without gfortran", without_compiler(suite));
        tally.record("an installation without modules", without_modules(suite));
        tally.record("pkg-config", package_config(suite, &dir));
    }
    tally.record("cmake", cmake(suite, &dir.join("cmake")));
    let programs = build(suite, &sources(&dir)?, &mut tally);
    for source in sources(&dir.join("missing"))? {
        for face in &source.faces {
            let name = format!("missing {} {face}", source.name);
            tally.record(&name, refused(suite, &source, face));
        }
    }
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        for program in &programs {
            for ranks in &program.ranks {
                let name = format!("{} np={ranks} {}", program.name, lanes.name());
                let file = scratch(suite).join(format!("file {name}"));
                let log = suite.places.scratch().join("log/fortran").join(name.replace(' ', "-"));
                list.push(Case::new(name, move || {
                    let task = suite.mpiexec(*ranks, *lanes).arg(&program.binary);
                    let task = task.env("STRAIT_TEST_FILE", &file);
                    task.limit(60).log(log.clone()).run()?.says("ok\n")
                }));
            }
        }
    }
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

fn sources(dir: &Path) -> Result<Vec<Source>, String> {
    let mut list = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|ending| ending == "F90" || ending == "F") {
            list.push(source(path)?);
        }
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

fn source(path: PathBuf) -> Result<Source, String> {
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let note = |word: &str| -> Option<Vec<String>> {
        let comments = text.lines().take(12).filter_map(|line| line.strip_prefix(['!', 'C']));
        let rest = comments.map(str::trim_start).find_map(|line| line.strip_prefix(word))?;
        Some(rest.split_whitespace().map(str::to_string).collect())
    };
    let all_faces = || FACES.iter().map(|face| face.to_string()).collect();
    let number = |word: String| word.parse().map_err(|e| format!("{}: ranks: {e}", path.display()));
    let ranks = match note("ranks:") {
        Some(words) => words.into_iter().map(number).collect::<Result<_, String>>()?,
        None => RANKS.to_vec(),
    };
    Ok(Source {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        faces: note("faces:").unwrap_or_else(all_faces),
        ranks,
        names: note("names:").unwrap_or_default(),
        path,
    })
}

/// Where compiled programs lie.
fn scratch(suite: &Suite) -> PathBuf {
    let kind = if suite.foreign.is_some() { "fortran-foreign" } else { "fortran" };
    suite.places.scratch().join(kind)
}

/// Programs that cannot be compiled are failures.
fn build(suite: &Suite, sources: &[Source], tally: &mut Tally) -> Vec<Program> {
    let mut list = Vec::new();
    for source in sources {
        for face in &source.faces {
            let name = format!("{} {face}", source.name);
            let binary = scratch(suite).join(name.replace(' ', "-"));
            match compile(suite, &source.path, face, &binary) {
                Ok(outcome) if outcome.success() => {
                    list.push(Program { name, binary, ranks: source.ranks.clone() });
                }
                Ok(outcome) => {
                    tally.fail(format!("{name}: does not compile: {}", outcome.describe()))
                }
                Err(why) => tally.fail(format!("{name}: {why}")),
            }
        }
    }
    list
}

fn compile(suite: &Suite, source: &Path, face: &str, binary: &Path) -> Result<Outcome, String> {
    fs::create_dir_all(scratch(suite)).map_err(|e| e.to_string())?;
    let task = Task::new(suite.bin("mpifort")).args(["-O1", "-g", "-o"]).arg(binary);
    // Modules of the tests' own lie with the binaries, each face's in a place of its own.
    let modules = scratch(suite).join(format!("modules-{face}"));
    fs::create_dir_all(&modules).map_err(|e| e.to_string())?;
    let task = task.arg(format!("-J{}", modules.display())).arg(format!("-DFACE_{face}"));
    // Without interfaces the compiler doubts what old programs have always done.
    let task = if face == "MPIF" { task.arg("-w") } else { task.arg("-Wall") };
    task.arg(source).limit(120).run()
}

fn refused(suite: &Suite, source: &Source, face: &str) -> Result<(), String> {
    let binary = scratch(suite).join("refused");
    let outcome = compile(suite, &source.path, face, &binary)?;
    if outcome.success() {
        return Err("compiles and links, which it must not".into());
    }
    let said = outcome.err.to_lowercase();
    match source.names.iter().find(|name| !said.contains(name.as_str())) {
        Some(name) => Err(format!("`{name}` is not in: {}", outcome.describe())),
        None if source.names.is_empty() => Err("the file has no line `! names:`".into()),
        None => Ok(()),
    }
}

/// What build systems ask the wrapper.
fn questions(suite: &Suite, tally: &mut Tally) {
    let (include, lib) = (suite.places.prefix().join("include"), suite.places.prefix().join("lib"));
    let compile = format!("-I{} -fallow-argument-mismatch", include.display());
    let lib = lib.display();
    let link = format!("-L{lib} -Wl,-rpath,{lib} -lstrait_fortran -lmpi_abi");
    let answers = [
        ("-show", format!("gfortran {compile} {link}\n")),
        ("--showme:compile", format!("{compile}\n")),
        ("--showme:link", format!("{link}\n")),
        ("-compile-info", format!("gfortran {compile}\n")),
        ("-link-info", format!("gfortran {link}\n")),
        ("--showme:libs", "strait_fortran mpi_abi\n".to_string()),
        ("--showme:command", "gfortran\n".to_string()),
    ];
    for (question, answer) in answers {
        let outcome = Task::new(suite.bin("mpifort")).arg(question).limit(30).run();
        let result = outcome.and_then(|outcome| outcome.says(&answer));
        tally.record(&format!("mpifort {question}"), result);
    }
}

fn without_compiler(suite: &Suite) -> Result<(), String> {
    let task = Task::new(suite.bin("mpifort")).arg("x.f90").env("STRAIT_FC", "no-such-gfortran");
    complains(task.limit(30).run()?, &["mpifort", "no-such-gfortran", "STRAIT_FC"])?;
    // The installation says in one line what it left out.
    let empty = scratch(suite).join("no-compiler");
    fs::create_dir_all(&empty).map_err(|e| e.to_string())?;
    match fortran::compiler_in(&empty) {
        Err(why) if why.contains("no gfortran") && !why.contains('\n') => Ok(()),
        Err(why) => Err(format!("does not say that there is no gfortran: {why}")),
        Ok(version) => Err(format!("found {version} in an empty directory")),
    }
}

fn without_modules(suite: &Suite) -> Result<(), String> {
    let dir = scratch(suite).join("bare");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("bin")).map_err(|e| e.to_string())?;
    let mpifort = dir.join("bin/mpifort");
    fs::copy(suite.bin("mpicc"), &mpifort).map_err(|e| e.to_string())?;
    let outcome = Task::new(&mpifort).args(["-c", "x.f90"]).limit(30).run()?;
    complains(outcome, &["mpi.mod", "gfortran", "cargo xtask install"])
}

fn package_config(suite: &Suite, dir: &Path) -> Result<(), String> {
    let asked = Task::new("pkg-config")
        .args(["--cflags", "--libs", "strait_fortran"])
        .env("PKG_CONFIG_PATH", suite.places.prefix().join("lib/pkgconfig"))
        .run()?;
    if !asked.success() {
        return Err(asked.describe());
    }
    let binary = scratch(suite).join("package-config");
    let lib = suite.places.prefix().join("lib");
    let built = Task::new("gfortran")
        .args(["-w", "-o"])
        .arg(&binary)
        .arg(dir.join("cmake/project.f90"))
        .arg(dir.join("cmake/ring.f"))
        .arg(format!("-J{}", scratch(suite).display()))
        .args(asked.out.split_whitespace())
        .arg(format!("-Wl,-rpath,{}", lib.display()))
        .limit(60)
        .run()?;
    if !built.success() {
        return Err(built.describe());
    }
    suite.mpiexec(2, super::Lanes::Shm).arg(&binary).limit(30).run()?.says("sum 1\n")
}

fn cmake(suite: &Suite, project: &Path) -> Result<(), String> {
    let build = scratch(suite).join("cmake");
    let _ = fs::remove_dir_all(&build);
    let configure = Task::new("cmake").arg("-S").arg(project).arg("-B").arg(&build);
    let configure = configure
        .arg(format!("-DMPI_C_COMPILER={}", suite.bin("mpicc").display()))
        .arg(format!("-DMPI_Fortran_COMPILER={}", suite.bin("mpifort").display()));
    for task in [configure, Task::new("cmake").arg("--build").arg(&build)] {
        let outcome = task.limit(120).run()?;
        if !outcome.success() {
            return Err(outcome.describe());
        }
    }
    let task = suite.mpiexec(3, super::Lanes::Shm).arg(build.join("project"));
    task.limit(30).run()?.says("sum 3\n")
}

fn complains(outcome: Outcome, words: &[&str]) -> Result<(), String> {
    let lacking = words.iter().find(|word| !outcome.err.contains(**word));
    match (outcome.success(), lacking) {
        (true, _) => Err("succeeded, which it must not".into()),
        (false, Some(word)) => Err(format!("`{word}` is not in: {}", outcome.describe())),
        (false, None) => Ok(()),
    }
}
