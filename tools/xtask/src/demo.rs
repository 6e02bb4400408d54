// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask demo`: from a fresh clone to four Python ranks and a latency table, in one command.
//!
//! Each step says what it does before it does it, and does nothing when its result is there.

use crate::install;
use crate::places::Places;
use crate::process::Task;
use crate::setup;

pub fn command(places: &Places) -> Result<(), String> {
    setup::packages()?;
    println!("demo: building the libraries and the launcher (nothing to do when unchanged)");
    install::into_target(places)?;
    setup::wheel_venv(places)?;
    let mpiexec = places.bin("mpiexec");
    let python = places.venv().join("bin/python");
    let example = |name: &str| places.root.join("examples/python").join(name);
    for name in ["hello.py", "pi.py"] {
        say(places, 4, &format!("python examples/python/{name}"));
        Task::new(&mpiexec).args(["-n", "4"]).arg(&python).arg(example(name)).run_visible()?;
    }
    for name in ["osu_latency", "osu_bw"] {
        say(places, 2, &format!("{name} -m 1:1048576"));
        let task = Task::new(&mpiexec).args(["-n", "2"]).arg(places.bin(name));
        task.args(["-m", "1:1048576"]).run_visible()?;
    }
    let prefix = places.prefix();
    println!("\nNext:");
    println!("  export PATH={}/bin:{}/bin:$PATH", prefix.display(), places.venv().display());
    println!("  mpiexec -n 4 python {}", example("ring.py").display());
    println!(
        "  mpicc {}/examples/c/hello.c -o hello && mpiexec -n 4 ./hello",
        places.root.display()
    );
    Ok(())
}

fn say(places: &Places, ranks: usize, words: &str) {
    let prefix = places.prefix();
    println!("\n$ {}/bin/mpiexec -n {ranks} {words}", prefix.display());
}
