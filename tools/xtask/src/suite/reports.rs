// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How jobs end: exit codes, and the one report that mpiexec prints.
//!
//! Each case starts ranks that end in one way (bindings/tests/c/ends/ends.c and ends.py), then
//! checks mpiexec's code, that its text names what it must, and that it says so once.

use super::cases::{self, Case};
use super::{Face, Suite, Tally, programs, signals};
use crate::process::{Outcome, marked};
use std::path::PathBuf;

/// One way to end.
struct End {
    name: &'static str,
    ranks: usize,
    /// Arguments of the program; the first word is the way to end.
    args: &'static [&'static str],
    code: i32,
    /// What standard error says, whatever the case of the letters; `a|b` is either, `!a` is not.
    says: &'static [&'static str],
    /// A word of the report that may appear once only: never a copy per rank.
    once: Option<&'static str>,
}

const C_ENDS: &[End] = &[
    End { name: "all is well", ranks: 4, args: &["well"], code: 0, says: &[], once: None },
    End {
        name: "exit(3) without Finalize, others in a barrier",
        ranks: 4,
        args: &["exit", "3", "1"],
        code: 3,
        says: &[
            "rank 1 failed first (of 1",
            "exit code 3",
            "ranks 0,2-3 were waiting in MPI_Barrier",
        ],
        once: Some("mpi_barrier"),
    },
    End {
        name: "exit(0) without Finalize is a failure",
        ranks: 3,
        args: &["exit", "0", "2"],
        code: 1,
        says: &["rank 2", "finalize"],
        once: None,
    },
    End {
        name: "SIGSEGV",
        ranks: 4,
        args: &["segv", "2"],
        code: 139,
        says: &["rank 2 failed first (of 1", "SIGSEGV", "ranks 0-1,3 were waiting in MPI_Barrier"],
        once: Some("error["),
    },
    End {
        name: "SIGKILL",
        ranks: 2,
        args: &["kill", "0"],
        code: 137,
        says: &["rank 0 failed first", "SIGKILL", "rank 1 was waiting in MPI_Barrier"],
        once: Some("error["),
    },
    End {
        name: "MPI_Abort(7)",
        ranks: 4,
        args: &["abort", "7", "3"],
        code: 7,
        says: &["rank 3", "MPI_Abort", "7"],
        once: Some("error["),
    },
    End {
        name: "MPI_Abort(1) by all",
        ranks: 4,
        args: &["abortall", "1"],
        code: 1,
        says: &["MPI_Abort"],
        once: Some("error"),
    },
    End {
        name: "truncated receive",
        ranks: 2,
        args: &["truncate"],
        code: 1,
        says: &["rank 1 failed in MPI_Recv: message truncated", "80", "40"],
        once: Some("error["),
    },
    End {
        name: "bad rank",
        ranks: 2,
        args: &["badrank"],
        code: 1,
        says: &["failed in MPI_Send", "rank", "99", "help: ranks count from 0"],
        once: Some("error["),
    },
    End {
        name: "call before Init",
        ranks: 4,
        args: &["early"],
        code: 1,
        says: &["MPI_Comm_rank", "MPI_Init"],
        once: Some("before mpi_init"),
    },
    End {
        name: "call after Finalize",
        ranks: 4,
        args: &["late"],
        code: 1,
        says: &["MPI_Comm_rank|MPI_Barrier", "MPI_Finalize"],
        once: Some("after mpi_finalize"),
    },
    End {
        name: "a returning exit code after Finalize",
        ranks: 3,
        args: &["return", "5", "1"],
        code: 5,
        says: &["rank 1", "5"],
        once: Some("error["),
    },
    End {
        name: "a code after Finalize, others in a receive",
        ranks: 3,
        args: &["finalize", "5", "1"],
        code: 5,
        says: &["rank 1 failed first", "exit code 5", "ranks 0,2 were waiting in MPI_Recv"],
        once: Some("error["),
    },
    End {
        name: "a release after Finalize",
        ranks: 2,
        args: &["release"],
        code: 0,
        says: &[],
        once: None,
    },
    End {
        name: "what was not freed",
        ranks: 2,
        args: &["leak"],
        code: 0,
        says: &[
            "rank 0 ends with handles that were not freed: 1 request, 1 communicator \
             (communicator \"twin\"), 1 datatype\n",
            "rank 1 ends with handles",
        ],
        once: None,
    },
    End {
        name: "Abort by those who lost the first",
        ranks: 4,
        args: &["giveup", "2"],
        code: 137,
        says: &["rank 2 failed first", "SIGKILL"],
        once: Some("error["),
    },
];

const PYTHON_ENDS: &[End] = &[
    End {
        name: "sys.exit(3) while others wait",
        ranks: 4,
        args: &["exit", "3", "1"],
        code: 3,
        says: &["rank 1", "3"],
        once: Some("error["),
    },
    End {
        name: "an exception while others wait",
        ranks: 4,
        args: &["raise", "2"],
        code: 1,
        says: &["ValueError: boom", "rank 2"],
        once: Some("error["),
    },
    End {
        name: "Abort from Python",
        ranks: 3,
        args: &["abort", "9", "0"],
        code: 9,
        says: &["rank 0", "9", "ranks 1-2 were waiting in MPI_Barrier", "!Traceback"],
        once: Some("error["),
    },
    End {
        name: "an exception while others receive",
        ranks: 3,
        args: &["recv", "raise", "0"],
        code: 1,
        says: &["ValueError: boom", "rank 0 failed first", "waiting in MPI_Recv|MPI_Mprobe"],
        once: Some("error["),
    },
    End {
        name: "sys.exit(3) while others receive",
        ranks: 3,
        args: &["recv", "exit", "3", "2"],
        code: 3,
        says: &["rank 2 failed first", "exit code 3"],
        once: Some("error["),
    },
    End {
        name: "SIGKILL, others get an exception",
        ranks: 3,
        args: &["kill", "1"],
        code: 137,
        says: &[
            "rank 1 failed first",
            "SIGKILL",
            "ranks 0,2 were waiting in MPI_Barrier",
            "peer 1 is lost",
        ],
        once: Some("error["),
    },
];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let source = suite.places.root.join("bindings/tests/c/ends/ends.c");
    let binary = programs::scratch(suite, "ends");
    programs::compile(suite, &source, &binary)?;
    let python = suite.python(Face::Mpich)?;
    let script = suite.places.root.join("bindings/tests/python/ends.py");
    let compiled = vec![binary];
    let scripted = vec![python.clone(), script];
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        for (ends, program, kind) in [(C_ENDS, &compiled, "C"), (PYTHON_ENDS, &scripted, "Python")]
        {
            for end in ends {
                let name = format!("{kind}: {} {}", end.name, lanes.name());
                list.push(Case::new(name, move || run(suite, end, program, *lanes)));
            }
        }
        list.extend(signals::cases(suite, &python, *lanes));
        let forks = [python.clone(), suite.places.root.join("bindings/tests/python/forks.py")];
        let name = format!("Python: forks beside the progress thread {}", lanes.name());
        list.push(Case::new(name, move || {
            let outcome = suite.mpiexec(2, *lanes).args(&forks).limit(60).run()?;
            if outcome.success() { Ok(()) } else { Err(outcome.describe()) }
        }));
    }
    let mut tally = Tally::default();
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

fn run(suite: &Suite, end: &End, program: &[PathBuf], lanes: super::Lanes) -> Result<(), String> {
    let task = suite.mpiexec(end.ranks, lanes).args(program).args(end.args).limit(20);
    let running = task.start()?;
    let mark = running.mark();
    let outcome = running.finish()?;
    judge(end, &outcome).map_err(|why| format!("{why}; {}", outcome.describe()))?;
    let left = marked(&mark);
    if left.is_empty() { Ok(()) } else { Err(format!("processes are left: {left:?}")) }
}

fn judge(end: &End, outcome: &Outcome) -> Result<(), String> {
    if outcome.code != Some(end.code) {
        return Err(format!("expected exit code {}", end.code));
    }
    let said = outcome.err.to_lowercase();
    for words in end.says {
        if let Some(word) = words.strip_prefix('!') {
            if said.contains(&word.to_lowercase()) {
                return Err(format!("the report says `{word}`"));
            }
            continue;
        }
        if !words.to_lowercase().split('|').any(|word| said.contains(word)) {
            return Err(format!("the report does not say `{words}`"));
        }
    }
    if let Some(word) = end.once {
        let times = said.matches(&word.to_lowercase()).count();
        if times != 1 {
            return Err(format!("`{word}` is said {times} times"));
        }
    }
    Ok(())
}
