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
assert mapping == "(vector,(0,1,%d))" % size, mapping
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
assert ask("cmd=kvs-put;key=k%d;value=v%d;" % (rank, rank))["rc"] == "0"
assert ask("cmd=kvs-fence;")["rc"] == "0"
print(ask("cmd=kvs-get;srcid=-1;key=k%d;" % ((rank + 1) % size))["value"])
END
"#;

#[test]
fn pmi_is_served_on_one_host() {
    for (client, end) in [(PMI_ONE, "cmd=finalize"), (PMI_TWO, "cmd=finalize;")] {
        let script = client.replace("END", &format!("ask(\"{end}\")"));
        let ran = run(&["-n", "3", "python3", "-c", &script]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
        let mut lines: Vec<&str> = ran.out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["v0", "v1", "v2"]);
    }
    // Who leaves in the middle has failed: the others wait for it.
    let script =
        PMI_ONE.replace("END", "raise SystemExit(0) if rank == 1 else ask('cmd=barrier_in')");
    let ran = run(&["-n", "3", "python3", "-c", &script]);
    assert_ne!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("rank 1"), "{}", ran.err);
}

#[test]
fn a_program_that_speaks_pmi_on_several_hosts_is_a_named_error() {
    let script = "import os, time; os.write(int(os.environ['PMI_FD']), b'cmd=init pmi_version=1 \
                  pmi_subversion=1\\n'); time.sleep(30)";
    let hosts = ["-launcher", "fork", "-hosts", "one,two"];
    let ran = run(&[&hosts[..], &["-n", "2", "python3", "-c", script]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("error[S0009]: 2 processes were started"), "{}", ran.err);
    assert!(ran.err.contains("PMI to the ranks of one host"), "{}", ran.err);
    assert_eq!(ran.err.matches("error[").count(), 1);
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
