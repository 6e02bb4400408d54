// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tries what a receiver does with a large message: one process reads another one's memory.
//!
//! Two copies of this program stand for two ranks. Both are children of ours, like ranks of
//! mpiexec, so neither is the other's parent: a parent may read what a sibling may not. The holder
//! permits it as a rank does, says where a word lies, and waits for the end of its input; the
//! reader reads the word and compares.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, ExitCode, Stdio};

/// What the holder has and the reader must find.
const WORD: u64 = 0x7374_7261_6974_2121;

/// Exit codes of the reader below this are the kernel's error numbers.
const WRONG_WORD: u8 = 255;

/// Whether a process may read a sibling's memory here.
pub fn read_between_siblings() -> io::Result<()> {
    let program = std::env::current_exe()?;
    let mut holder = Command::new(&program)
        .arg("peer-hold")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let result = ask(&program, &mut holder);
    drop(holder.stdin.take());
    holder.wait()?;
    result
}

fn ask(program: &std::path::Path, holder: &mut std::process::Child) -> io::Result<()> {
    let out = holder.stdout.take().ok_or_else(|| io::Error::other("the holder says nothing"))?;
    let mut address = String::new();
    BufReader::new(out).read_line(&mut address)?;
    let reader = Command::new(program)
        .args(["peer-read", &holder.id().to_string(), address.trim()])
        .status()?;
    match reader.code() {
        Some(0) => Ok(()),
        Some(code) if code < i32::from(WRONG_WORD) => Err(io::Error::from_raw_os_error(code)),
        _ => Err(io::Error::other("the reader found another word")),
    }
}

/// `strait peer-hold`: holds the word until its standard input ends.
pub fn hold() -> ExitCode {
    // SAFETY: the command takes an integer and changes only an attribute of this process.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
    let word = std::hint::black_box(WORD);
    super::print(&format!("{}\n", (&raw const word).addr()));
    let _ = io::stdin().read_to_end(&mut Vec::new());
    std::hint::black_box(&word);
    ExitCode::SUCCESS
}

/// `strait peer-read PID ADDRESS`: reads the word there; the exit code is the error number.
pub fn read(pid: i32, address: usize) -> ExitCode {
    let mut word = 0_u64;
    let local = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: 8 };
    // SAFETY: one local range, ours and writable; the remote address is the kernel's to check.
    let count =
        unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if count != 8 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return ExitCode::from(errno as u8);
    }
    if word == WORD { ExitCode::SUCCESS } else { ExitCode::from(WRONG_WORD) }
}

/// Why the kernel refuses it, as far as a process can see.
pub fn why_refused() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filtered = status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    let yama = super::probe::yama();
    if filtered {
        return "a seccomp filter is active, as container runtimes set it; docker and podman \
                permit it with --cap-add=SYS_PTRACE"
            .into();
    }
    if yama >= 2 {
        return format!("Yama's kernel.yama.ptrace_scope is {yama}; up to 1 it would work");
    }
    "no seccomp filter and no Yama setting is seen: a security module or the user's rights forbid \
     it"
    .into()
}
