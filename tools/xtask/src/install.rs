// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask install --prefix DIR`: builds the libraries and the tools, lays out a tree that
//! may be moved.
//!
//! Invariants:
//! 1. No file of the tree contains the prefix, so `mv` keeps it working: programs find their tree
//!    from their own place, and pkg-config from the place of its file.
//! 2. A file is replaced only when its contents change, and by rename: a running program keeps
//!    the file it has mapped, and a second install touches nothing.
//! 3. `lib/` has no unversioned `libmpi.so`: a standard-ABI compile must not link the other face.

use crate::fortran;
use crate::places::Places;
use crate::process::Task;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Programs of the tools crate that belong in `bin/`, where they were built.
const TOOLS: &[&str] = &["mpiexec", "mpicc", "strait"];
/// All benchmarks in one; it says itself by which names it wants to be called.
const BENCHES: &str = "strait-osu";
/// What `strait tune` runs as ranks.
const TUNING: &str = "strait-tune-ranks";

pub fn command(places: &Places, prefix: &Path) -> Result<(), String> {
    let here = std::env::current_dir().map_err(|e| e.to_string())?;
    let prefix = here.join(prefix);
    build(places)?;
    let changed = lay_out(places, &prefix)?;
    println!("installed in {} ({changed} files changed)", prefix.display());
    println!("next: export PATH={}/bin:$PATH", prefix.display());
    Ok(())
}

/// Builds and installs into the tree that `demo` and `test` use; quiet when nothing changed.
pub fn into_target(places: &Places) -> Result<(), String> {
    build(places)?;
    lay_out(places, &places.prefix()).map(|_| ())
}

fn build(places: &Places) -> Result<(), String> {
    let cargo = |args: &[&str]| {
        Task::new("cargo").arg("build").arg("--quiet").args(args).dir(&places.root).limit(3600)
    };
    cargo(&[
        "--release",
        "-p",
        "strait-standard-abi",
        "-p",
        "strait-mpich-abi",
        "-p",
        "strait-fortran",
    ])
    .run_visible()?;
    let tools = cargo(&["--profile", "tools", "-p", "strait-tools", "-p", "strait-benches"]);
    let tools = tools.args(["-p", "strait-abi-table"]);
    match commit(places) {
        Some(commit) => tools.env("STRAIT_COMMIT", commit).run_visible(),
        None => tools.run_visible(),
    }
}

/// The commit that the tree is at, for the records of `strait bench`; none of a tree with changes,
/// which no commit describes, or without git.
fn commit(places: &Places) -> Option<String> {
    let git = |args: &[&str]| {
        let outcome = Task::new("git").args(args).dir(&places.root).limit(60).run().ok()?;
        outcome.success().then(|| outcome.out.trim().to_string())
    };
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    changes.is_empty().then(|| git(&["rev-parse", "--short=10", "HEAD"]))?
}

fn lay_out(places: &Places, prefix: &Path) -> Result<usize, String> {
    let mut tree = Tree { prefix: prefix.to_path_buf(), changed: 0 };
    let release = places.target.join("release");
    let tools = places.target.join("tools");
    tree.copy(&release.join("libmpi_abi.so"), "lib/libmpi_abi.so.1", 0o755)?;
    tree.copy(&release.join("libmpi.so"), "lib/libmpi.so.12", 0o755)?;
    tree.link("libmpi_abi.so.1", "lib/libmpi_abi.so")?;
    for name in TOOLS.iter().chain([&BENCHES, &TUNING]) {
        tree.copy(&tools.join(name), &format!("bin/{name}"), 0o755)?;
    }
    for name in benchmarks(prefix)? {
        tree.link(BENCHES, &format!("bin/{name}"))?;
    }
    tree.link("mpiexec", "bin/mpirun")?;
    for name in ["mpi.h", "mpi-ext.h"] {
        let header = places.root.join("bindings/include").join(name);
        tree.copy(&header, &format!("include/{name}"), 0o644)?;
    }
    tree.link("mpicc", "bin/mpicxx")?;
    let both = "-lstrait_fortran -lmpi_abi";
    for (name, libraries) in
        [("strait", "-lmpi_abi"), ("mpi_abi", "-lmpi_abi"), ("strait_fortran", both)]
    {
        let text = PKG_CONFIG.replace("@NAME@", name).replace("@LIBRARIES@", libraries);
        let text = text.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
        tree.write(&format!("lib/pkgconfig/{name}.pc"), text.as_bytes(), 0o644)?;
    }
    add_fortran(places, &mut tree)?;
    let documents = ["README.md", "LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"];
    for name in documents.iter().filter(|name| places.root.join(name).is_file()) {
        tree.copy(&places.root.join(name), &format!("share/doc/strait/{name}"), 0o644)?;
    }
    for path in markdown(&places.root.join("docs")) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("page.md");
        tree.copy(&path, &format!("share/doc/strait/docs/{name}"), 0o644)?;
    }
    Ok(tree.changed)
}

/// The library, the sources of the modules, and the modules if there is a compiler. Without one the
/// rest is as good as ever, and mpifort says what is missing.
fn add_fortran(places: &Places, tree: &mut Tree) -> Result<(), String> {
    let library = places.target.join("release/libstrait_fortran.so");
    tree.copy(&library, "lib/libstrait_fortran.so.1", 0o755)?;
    tree.link("libstrait_fortran.so.1", "lib/libstrait_fortran.so")?;
    for name in ["mpifort", "mpif90", "mpif77"] {
        tree.link("mpicc", &format!("bin/{name}"))?;
    }
    let made = fortran::make(places)?;
    tree.copy(&made.dir.join(fortran::INCLUDE), &format!("include/{}", fortran::INCLUDE), 0o644)?;
    for name in fortran::MODULES {
        let source = format!("{name}.f90");
        tree.copy(&made.dir.join(&source), &format!("share/strait/fortran/{source}"), 0o644)?;
        let module = format!("include/{name}.mod");
        match &made.without {
            None => tree.copy(&made.dir.join(format!("{name}.mod")), &module, 0o644)?,
            // Of another library or compiler: worse than none.
            Some(_) => tree.remove(&module)?,
        }
    }
    if let Some(why) = made.without {
        println!("install: mpi.mod and mpi_f08.mod were left out: {why}");
    }
    Ok(())
}

/// The names of the benchmarks, from the installed program: it needs the library beside it.
pub fn benchmarks(prefix: &Path) -> Result<Vec<String>, String> {
    let task = Task::new(prefix.join("bin").join(BENCHES)).arg("--list").limit(60);
    let outcome = task.without_env("LD_LIBRARY_PATH").run()?;
    if !outcome.success() {
        return Err(outcome.describe());
    }
    Ok(outcome.out.lines().map(str::to_string).collect())
}

fn markdown(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "md"))
        .collect()
}

const PKG_CONFIG: &str = "\
# SPDX-License-Identifier: Apache-2.0 OR MIT
prefix=${pcfiledir}/../..
includedir=${prefix}/include
libdir=${prefix}/lib

Name: @NAME@
Description: Strait, an MPI library, behind the standard MPI ABI
Version: @VERSION@
Cflags: -I${includedir}
Libs: -L${libdir} @LIBRARIES@
";

/// The tree being laid out.
struct Tree {
    prefix: PathBuf,
    changed: usize,
}

impl Tree {
    fn copy(&mut self, from: &Path, to: &str, mode: u32) -> Result<(), String> {
        let bytes = fs::read(from).map_err(|e| format!("{}: {e}", from.display()))?;
        self.write(to, &bytes, mode)
    }

    fn write(&mut self, to: &str, bytes: &[u8], mode: u32) -> Result<(), String> {
        let path = self.place(to)?;
        let say = |e: std::io::Error| format!("{}: {e}", path.display());
        let same_mode = fs::symlink_metadata(&path)
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o777 == mode);
        if same_mode && fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        let fresh = path.with_extension(format!("new{}", std::process::id()));
        fs::write(&fresh, bytes).map_err(say)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).map_err(say)?;
        fs::rename(&fresh, &path).map_err(say)?;
        self.changed += 1;
        Ok(())
    }

    fn link(&mut self, target: &str, to: &str) -> Result<(), String> {
        let path = self.place(to)?;
        if fs::read_link(&path).is_ok_and(|old| old == Path::new(target)) {
            return Ok(());
        }
        let _ = fs::remove_file(&path);
        self.changed += 1;
        symlink(target, &path).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn remove(&mut self, to: &str) -> Result<(), String> {
        let path = self.prefix.join(to);
        match fs::remove_file(&path) {
            Ok(()) => self.changed += 1,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        Ok(())
    }

    fn place(&self, to: &str) -> Result<PathBuf, String> {
        let path = self.prefix.join(to);
        let dir = path.parent().expect("a path below the prefix has a parent");
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(path)
    }
}
