// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Other launchers start our ranks: MPICH's hydra and Open MPI's mpirun, on one host and on others,
//! and srun of a SLURM that runs on this machine for the time of the tests. Our mpiexec starts
//! ranks that use MPICH's library, on one host and on three. What cannot be had here is skipped,
//! and said so.

use super::cases::{self, Case};
use super::{Face, Lanes, Suite, Tally, expected, programs, scripts};
use crate::network::{Network, write_script};
use crate::process::{Outcome, Task};
use crate::setup;
use crate::slurm::Slurm;
use std::path::{Path, PathBuf};

/// C programs that use much of what ranks share.
const PROGRAMS: &[&str] = &["collectives", "order", "rma_random", "communicators", "threads"];
/// ... and those of a launcher whose way to join was tested with another.
const FEW: &[&str] = &["collectives"];

/// A launcher, and what is its own.
struct Launcher {
    name: &'static str,
    /// The command, before the number of ranks.
    words: Vec<String>,
    programs: &'static [&'static str],
    /// It ends with the code of MPI_Abort. srun answers with the largest code, which is that of a
    /// task it killed.
    tells_code: bool,
    /// It speaks PMIx: a process that a rank starts is a job of one.
    speaks_pmix: bool,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    if suite.foreign.is_some() {
        tally.skipped += 1;
        return Ok(tally);
    }
    setup::pmix()?;
    let hydra = setup::hydra(&suite.places)?;
    let mpirun = setup::mpirun(&suite.places)?;
    let launcher = |name, words, speaks_pmix| Launcher {
        name,
        words,
        programs: PROGRAMS,
        tells_code: true,
        speaks_pmix,
    };
    run_with(suite, &launcher("hydra", words(&[&hydra]), false), &mut tally)?;
    let open_mpi = launcher("mpirun", words_of_mpirun(&mpirun), true);
    run_with(suite, &open_mpi, &mut tally)?;
    let python = suite.python(Face::Mpich)?;
    let own = [
        Case::new("MPICH's library np=3 by our mpiexec", || {
            theirs(suite.mpiexec(3, Lanes::Shm), [3, 1], &hydra, &python)
        }),
        Case::new("collectives np=3 by hydra -pmi-port", || {
            let line = [words(&[&hydra]), vec!["-pmi-port".to_owned()]].concat();
            let binary = programs::scratch(suite, "collectives");
            said(task(suite, &line, 3).arg(binary).run()?, "ok\n")
        }),
        Case::new("a second program in a rank by hydra", || twice(suite, &words(&[&hydra]))),
        Case::new("a second program in a rank by mpirun", || twice(suite, &open_mpi.words)),
        Case::new("no PMIx library by mpirun", || without_pmix(suite, &open_mpi)),
    ];
    cases::run(&own, 1, &mut tally);
    on_hosts(suite, &hydra, &mpirun, &python, &mut tally);
    setup::network_tools()?;
    with_slurm(suite, &mut tally)?;
    Ok(tally)
}

fn with_slurm(suite: &Suite, tally: &mut Tally) -> Result<(), String> {
    let slurm = setup::slurm().and_then(|()| Slurm::up(&suite.places.scratch().join("slurm")));
    let slurm = match slurm {
        Ok(slurm) => slurm,
        Err(why) => {
            println!("   no SLURM can be started here (root is needed): skipped\n   {why}");
            tally.skipped += 1;
            return Ok(());
        }
    };
    let file = format!("SLURM_CONF={}", slurm.file().display());
    let srun =
        |kind: &str| ["env", &file, "srun", kind, "-O", "--quiet"].map(String::from).to_vec();
    let (pmi, pmix) = (srun("--mpi=pmi2"), srun("--mpi=pmix"));
    let (tells_code, name) = (false, "srun --mpi=pmi2");
    let speaks_pmix = false;
    let pmi = Launcher { name, words: pmi, programs: PROGRAMS, tells_code, speaks_pmix };
    run_with(suite, &pmi, tally)?;
    let (name, speaks_pmix) = ("srun --mpi=pmix", true);
    let pmix = Launcher { name, words: pmix, programs: FEW, tells_code, speaks_pmix };
    run_with(suite, &pmix, tally)?;
    let case = Case::new("no PMI by srun --mpi=none", || {
        let binary = programs::scratch(suite, "collectives");
        let outcome = task(suite, &srun("--mpi=none"), 2).arg(binary).run()?;
        let told = outcome.err.contains("help: srun --mpi=pmi2 (or --mpi=pmix) gives it one");
        if !outcome.success() && told { Ok(()) } else { Err(outcome.describe()) }
    });
    cases::run(&[case], 1, tally);
    Ok(())
}

fn words(parts: &[&Path]) -> Vec<String> {
    parts.iter().map(|part| part.display().to_string()).collect()
}

/// mpirun counts the cores as slots, and wants to be told that root may start ranks.
fn words_of_mpirun(mpirun: &Path) -> Vec<String> {
    let more = ["--allow-run-as-root", "--oversubscribe"].map(String::from);
    [words(&[mpirun]), more.to_vec()].concat()
}

/// What a user of another launcher sets, as docs/launchers.md says.
fn task(suite: &Suite, launcher: &[String], ranks: usize) -> Task {
    let task = Task::new(&launcher[0]).args(&launcher[1..]).arg("-n").arg(ranks.to_string());
    task.env("LD_LIBRARY_PATH", suite.places.prefix().join("lib"))
        .env("MPI4PY_MPIABI", "mpich")
        .without_env("STRAIT_LANES")
        // hydra passes on each write as it comes; Python without a buffer writes a line in two.
        .without_env("PYTHONUNBUFFERED")
        .limit(120)
}

fn run_with(suite: &Suite, launcher: &Launcher, tally: &mut Tally) -> Result<(), String> {
    let (name, words) = (launcher.name, &launcher.words);
    let python = suite.python(Face::Mpich)?;
    let by_script = |script| task(suite, words, 4).arg(&python).args(["-c", script]);
    let mut list = Vec::new();
    for program in programs::built(suite, tally)? {
        if !launcher.programs.contains(&program.name.as_str()) {
            continue;
        }
        list.push(Case::new(format!("{} np=3 by {name}", program.name), move || {
            let outcome = task(suite, words, 3).arg(&program.binary).run()?;
            said(outcome, "ok\n")
        }));
    }
    for file in scripts::python_files(suite)? {
        let (python, stem) = (python.clone(), scripts::stem(&file));
        list.push(Case::new(format!("{stem}.py np=4 by {name}"), move || {
            let outcome = task(suite, words, 4).arg(&python).arg(&file).run()?;
            if !outcome.success() {
                return Err(outcome.describe());
            }
            expected::check(&stem, 4, &outcome.out)
        }));
    }
    list.push(Case::new(format!("MPI_Abort by {name}"), || abort(launcher, by_script(ABORT))));
    list.push(Case::new(format!("a crash by {name}"), || crash(launcher, by_script(CRASH))));
    if launcher.speaks_pmix {
        list.push(Case::new(format!("a job in a rank by {name}"), || {
            said(by_script(INSIDE).run()?, &"1\n".repeat(4))
        }));
    }
    cases::run(&list, 2, tally);
    Ok(())
}

const ABORT: &str = "from mpi4py import MPI\nc = MPI.COMM_WORLD\nc.barrier()\n\
    if c.rank == 2: c.Abort(7)\nc.barrier()";

fn abort(launcher: &Launcher, task: Task) -> Result<(), String> {
    let outcome = task.run()?;
    let told = "MPI_Abort was called by rank 2";
    let code = if launcher.tells_code { outcome.code == Some(7) } else { !outcome.success() };
    let good = code && outcome.err.matches(told).count() == 1;
    let good = good && !outcome.err.contains("Traceback");
    if good { Ok(()) } else { Err(outcome.describe()) }
}

const CRASH: &str = "from mpi4py import MPI\nimport os\nc = MPI.COMM_WORLD\nc.barrier()\n\
    if c.rank == 2: os.kill(os.getpid(), 11)\nc.barrier()\nprint('not reached', flush=True)";

/// Nobody goes on, and nobody waits. Who is told first, the launcher or the peers, is not certain.
fn crash(launcher: &Launcher, task: Task) -> Result<(), String> {
    let outcome = task.run()?;
    let ended = !outcome.timed_out && !outcome.success() && !outcome.out.contains("not reached");
    let told = launcher.name != "mpirun" || outcome.err.contains("signal 11");
    if ended && told { Ok(()) } else { Err(outcome.describe()) }
}

/// Each rank starts a program that uses MPI, too.
const INSIDE: &str = "from mpi4py import MPI\nimport subprocess, sys\nc = MPI.COMM_WORLD\n\
    text = 'from mpi4py import MPI; print(MPI.COMM_WORLD.size)'\n\
    found = subprocess.run([sys.executable, '-c', text], stdout=subprocess.PIPE, check=True)\n\
    c.barrier()\nprint(int(found.stdout), flush=True)";

fn said(outcome: Outcome, text: &str) -> Result<(), String> {
    if outcome.success() && outcome.out == text { Ok(()) } else { Err(outcome.describe()) }
}

/// A rank that runs two programs with MPI, one after the other.
fn twice(suite: &Suite, launcher: &[String]) -> Result<(), String> {
    let both = format!("{0} && {0}", programs::scratch(suite, "collectives").display());
    let outcome = task(suite, launcher, 2).args(["sh", "-c", &both]).run()?;
    let told = outcome.err.contains("one launcher runs one MPI program per rank");
    if !outcome.success() && told { Ok(()) } else { Err(outcome.describe()) }
}

/// mpirun starts ranks that cannot find PMIx: one of them says so.
fn without_pmix(suite: &Suite, launcher: &Launcher) -> Result<(), String> {
    let binary = programs::scratch(suite, "collectives");
    let task = task(suite, &launcher.words, 3).env("STRAIT_PMIX_LIBRARY", "libc.so.6");
    let outcome = task.arg(binary).run()?;
    let told = outcome.err.matches("libc.so.6 is no PMIx library").count();
    let helps = outcome.err.contains("help: install it (Debian: libpmix2)");
    if outcome.code == Some(1) && told == 1 && helps { Ok(()) } else { Err(outcome.describe()) }
}

/// Our mpiexec tells ranks that bring MPICH's library their places, by PMI: so many of them, on so
/// many hosts.
fn theirs(
    mpiexec: Task,
    [ranks, hosts]: [usize; 2],
    hydra: &Path,
    python: &Path,
) -> Result<(), String> {
    const SCRIPT: &str = "from mpi4py import MPI\nc = MPI.COMM_WORLD\n\
        total = c.allreduce(c.rank + 1)\nc.Barrier()\n\
        node = c.Split_type(MPI.COMM_TYPE_SHARED)\n\
        print(MPI.Get_library_version().split()[0], c.size, total, node.size, flush=True)";
    let task = mpiexec.arg(python).args(["-c", SCRIPT]);
    let outcome = task.env("MPI4PY_LIBMPI", library_beside(hydra)).limit(60).run()?;
    let (total, each) = (ranks * (ranks + 1) / 2, ranks / hosts);
    said(outcome, &format!("MPICH {ranks} {total} {each}\n").repeat(ranks))
}

fn library_beside(hydra: &Path) -> PathBuf {
    hydra.with_file_name("../lib/libmpi.so.12")
}

fn on_hosts(suite: &Suite, hydra: &Path, mpirun: &Path, python: &Path, tally: &mut Tally) {
    let network = match Network::up("l", 3, &suite.places.scratch().join("launchers")) {
        Ok(network) => network,
        Err(why) => {
            println!("   no network namespaces (root is needed): skipped\n   {why}");
            tally.skipped += 1;
            return;
        }
    };
    let (ssh, shm) = match (as_ssh(suite, &network), with_own_shm(suite, &network)) {
        (Ok(ssh), Ok(shm)) => (ssh, shm),
        (Err(why), _) | (_, Err(why)) => return tally.fail(why),
    };
    let first = PathBuf::from(network.host(1));
    let ours = |launcher: Vec<String>, ranks| {
        let binary = programs::scratch(suite, "rma_random");
        said(task(suite, &launcher, ranks).arg(binary).run()?, "ok\n")
    };
    let by_mpirun = || {
        let mut line = words(&[network.on(), &first]);
        line.extend(words_of_mpirun(mpirun));
        line.extend(["--mca", "plm_ssh_agent"].map(String::from));
        line.extend([ssh.display().to_string(), "-x".into(), "LD_LIBRARY_PATH".into()]);
        line.extend(["-H".into(), format!("{}:2,{}:2", network.host(1), network.host(2))]);
        line
    };
    let our_mpiexec = |ranks, hosts| {
        let task = suite.mpiexec_below(&[shm.clone(), first.clone()], ranks, Lanes::Shm);
        let task = task.args(["-launcher-exec"]).arg(&shm);
        task.args(["-hosts", &network.list(hosts)])
    };
    let by_our_mpiexec =
        |ranks, hosts| theirs(our_mpiexec(ranks, hosts), [ranks, hosts], hydra, python);
    let list = [
        Case::new("MPICH's library np=4 by our mpiexec on 2 hosts", || by_our_mpiexec(4, 2)),
        Case::new("MPICH's library np=3 by our mpiexec on 3 hosts", || by_our_mpiexec(3, 3)),
        Case::new("MPICH's library np=6 by our mpiexec on 3 hosts in turn", || {
            theirs(our_mpiexec(6, 3).args(["-map-by", "node"]), [6, 3], hydra, python)
        }),
        Case::new("MPICH's MPI_Abort by our mpiexec on 2 hosts", || {
            let task = our_mpiexec(4, 2).arg(python).args(["-c", ABORT]);
            let outcome = task.env("MPI4PY_LIBMPI", library_beside(hydra)).limit(60).run()?;
            let told = "error[S0108]: rank 2 ended the job by MPI_Abort with code 7";
            let good = outcome.code == Some(7) && outcome.err.matches(told).count() == 1;
            if good { Ok(()) } else { Err(outcome.describe()) }
        }),
        Case::new("rma_random np=3 by hydra on 3 hosts", || {
            let mut line = words(&[network.on(), &first, hydra]);
            line.extend(["-launcher", "ssh", "-launcher-exec"].map(String::from));
            line.extend([ssh.display().to_string(), "-hosts".into(), network.list(3)]);
            ours(line, 3)
        }),
        Case::new("rma_random np=4 by hydra on 2 hosts in turn", || {
            let mut line = words(&[network.on(), &first, hydra]);
            line.extend(["-launcher", "ssh", "-ppn", "1", "-launcher-exec"].map(String::from));
            line.extend([ssh.display().to_string(), "-hosts".into(), network.list(2)]);
            ours(line, 4)
        }),
        Case::new("rma_random np=4 by mpirun on 2 hosts in turn", || {
            let mut line = by_mpirun();
            line.extend(["--map-by".into(), "node".into()]);
            ours(line, 4)
        }),
        Case::new("rma_random np=4 by mpirun on 2 hosts", || ours(by_mpirun(), 4)),
    ];
    cases::run(&list, 1, tally);
}

/// Others call ssh: options, the host, a command in words.
fn as_ssh(suite: &Suite, network: &Network) -> Result<PathBuf, String> {
    let path = suite.places.scratch().join("launchers/as-ssh");
    let text = format!(
        "#!/bin/sh\nwhile [ \"${{1#-}}\" != \"$1\" ]; do shift; done\nhost=$1; shift\n\
         exec {} \"$host\" sh -c \"$*\"\n",
        network.on().display()
    );
    write_script(&path, &text)?;
    Ok(path)
}

/// Enters a host with a /dev/shm of its own: MPICH leaves files there when it is ended.
fn with_own_shm(suite: &Suite, network: &Network) -> Result<PathBuf, String> {
    let path = suite.places.scratch().join("launchers/with-own-shm");
    let text = format!(
        "#!/bin/sh\nhost=$1; shift\nexec {} \"$host\" sh -c \\\n    \
         'mount -t tmpfs tmpfs /dev/shm && exec \"$@\"' sh \"$@\"\n",
        network.on().display()
    );
    write_script(&path, &text)?;
    Ok(path)
}
