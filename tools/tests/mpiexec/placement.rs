// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many ranks, foreign programs.

use crate::{finish, mpiexec, run};

#[test]
fn a_hundred_and_twenty_eight_ranks() {
    let ran = run(&["-n", "128", "sh", "-c", "echo $PMI_RANK"]);
    let mut ranks: Vec<u32> = ran.out.lines().map(|line| line.parse().unwrap()).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, (0..128).collect::<Vec<_>>());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn ranks_keep_the_users_descriptor_limit_and_inherit_nothing_else() {
    let mut command = std::process::Command::new("sh");
    let exe = env!("CARGO_BIN_EXE_mpiexec");
    let count = "set -- /proc/$$/fd/*; echo $#";
    let script = format!("ulimit -Sn 500; {count}; {exe} -n 2 sh -c 'ulimit -Sn; {count}; true'");
    command.args(["-c", &script]).stdout(std::process::Stdio::piped());
    let ran = finish(command, b"");
    let numbers: Vec<u32> = ran.out.lines().map(|line| line.trim().parse().unwrap()).collect();
    let mut inside = numbers[1..].to_vec();
    inside.sort_unstable();
    // Two more than ours: the node memory and the PMI socket.
    assert_eq!(inside, [numbers[0] + 2, numbers[0] + 2, 500, 500]);
}

/// What MPICH's library does to find its peers, in both dialects of PMI.
const PMI_ONE: &str = r#"
import os
fd, rank, size = (int(os.environ[name]) for name in ("PMI_FD", "PMI_RANK", "PMI_SIZE"))
def ask(line):
    os.write(fd, (line + "\n").encode())
    answer = b""
    while not answer.endswith(b"\n"):
        answer += os.read(fd, 1)
    return dict(word.split("=", 1) for word in answer.decode().split())
assert ask("cmd=init pmi_version=1 pmi_subversion=1")["rc"] == "0"
name = ask("cmd=get_my_kvsname")["kvsname"]
mapping = ask("cmd=get kvsname=%s key=PMI_process_mapping" % name)["value"]
assert mapping == "MAPPING", mapping
assert ask("cmd=put kvsname=%s key=k%d value=v%d" % (name, rank, rank))["rc"] == "0"
assert ask("cmd=barrier_in")["cmd"] == "barrier_out"
print(ask("cmd=get kvsname=%s key=k%d" % (name, (rank + 1) % size))["value"])
END
"#;
const PMI_TWO: &str = r#"
import os
fd, rank, size = (int(os.environ[name]) for name in ("PMI_FD", "PMI_RANK", "PMI_SIZE"))
os.write(fd, b"cmd=init pmi_version=2 pmi_subversion=0\n")
while os.read(fd, 1) != b"\n":
    pass
def ask(text):
    os.write(fd, b"%6d" % len(text) + text.encode())
    answer = os.read(fd, int(os.read(fd, 6))).decode()
    return dict(field.split("=", 1) for field in answer.split(";") if field)
assert ask("cmd=fullinit;pmirank=%d;threaded=FALSE;" % rank)["size"] == str(size)
mapping = ask("cmd=info-getjobattr;key=PMI_process_mapping;")["value"]
assert mapping == "MAPPING", mapping
assert ask("cmd=kvs-put;key=k%d;value=v%d;" % (rank, rank))["rc"] == "0"
assert ask("cmd=kvs-fence;")["rc"] == "0"
print(ask("cmd=kvs-get;srcid=-1;key=k%d;" % ((rank + 1) % size))["value"])
END
"#;

/// Arguments of mpiexec, what the ranks should be told of who shares a host.
const PLACES: &[(&[&str], &str)] = &[
    (&["-n", "3"], "(vector,(0,1,3))"),
    (&["-launcher", "fork", "-hosts", "one,two,three", "-n", "3"], "(vector,(0,3,1))"),
    (&["-launcher", "fork", "-hosts", "one:2,two:1", "-n", "3"], "(vector,(0,1,2),(1,1,1))"),
];

#[test]
fn pmi_is_served_on_one_host_and_on_several() {
    for (client, end) in [(PMI_ONE, "cmd=finalize"), (PMI_TWO, "cmd=finalize;")] {
        for (place, mapping) in PLACES {
            let script = client.replace("END", &format!("ask(\"{end}\")"));
            let script = script.replace("MAPPING", mapping);
            let ran = run(&[place, &["python3", "-c", &script][..]].concat());
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{place:?} {}", ran.out);
            let mut lines: Vec<&str> = ran.out.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["v0", "v1", "v2"], "{place:?}");
        }
    }
}

#[test]
fn who_leaves_pmi_in_the_middle_has_failed() {
    // The others wait for it.
    let script =
        PMI_ONE.replace("END", "raise SystemExit(0) if rank == 1 else ask('cmd=barrier_in')");
    for (place, mapping) in PLACES {
        let script = script.replace("MAPPING", mapping);
        let ran = run(&[place, &["python3", "-c", &script][..]].concat());
        assert_ne!(ran.code, Some(0), "{place:?} {}", ran.err);
        assert!(ran.err.contains("rank 1"), "{place:?} {}", ran.err);
    }
}

#[test]
fn who_aborts_by_pmi_ends_the_job_with_its_code() {
    for (client, request) in
        [(PMI_ONE, "cmd=abort exitcode=7\\n"), (PMI_TWO, "    21cmd=abort;exitcode=7;")]
    {
        for (place, mapping) in PLACES {
            let end =
                format!("import time\nif rank == 1: os.write(fd, b'{request}')\ntime.sleep(60)");
            let script = client.replace("END", &end).replace("MAPPING", mapping);
            let ran = run(&[place, &["python3", "-c", &script][..]].concat());
            assert_eq!(ran.code, Some(7), "{place:?} {}", ran.err);
            let told = "error[S0108]: rank 1 ended the job by MPI_Abort with code 7";
            assert_eq!(ran.err.matches(told).count(), 1, "{place:?} {}", ran.err);
        }
    }
}

/// A fence with more than one frame of values in each direction.
#[test]
fn values_of_pmi_may_be_many() {
    let script = PMI_ONE.replace("MAPPING", "(vector,(0,2,1))").replace(
        "END",
        r#"
many = "x" * 3000
for index in range(800):
    put = "cmd=put kvsname=%s key=m%d-%d value=%s%d" % (name, rank, index, many, rank)
    assert ask(put)["rc"] == "0"
ask("cmd=barrier_in")
for index in range(0, 800, 50):
    value = ask("cmd=get kvsname=%s key=m%d-%d" % (name, 1 - rank, index))["value"]
    assert value == many + str(1 - rank), value
ask("cmd=finalize")
"#,
    );
    let hosts = ["-launcher", "fork", "-hosts", "one,two", "-n", "2"];
    let ran = run(&[&hosts[..], &["python3", "-c", &script]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
}

#[test]
fn a_program_with_a_foreign_library_is_a_named_error() {
    let here = crate::directory("foreign");
    let library = here.join("libmpi.so.40");
    std::fs::write(&library, [0; 4096]).unwrap();
    let script = format!(
        "import mmap, time; f = open('{}', 'rb')\n\
         m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n\
         time.sleep(20)",
        library.display()
    );
    let ran = run(&["-n", "3", "python3", "-c", &script]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("libmpi.so.40 (Open MPI)"), "{}", ran.err);
    // Alone it is right to be rank 0 of 1.
    let script = script.replace("20)", "0.5)");
    let ran = finish(mpiexec(&["-n", "1", "python3", "-c", &script]), b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}
