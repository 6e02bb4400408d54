// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A job that processes of another one asked for (MPI_Comm_spawn). The request comes over our
//! standard input, which is a socket; on it we answer once, `started` or `failed` with a sentence,
//! and keep it open until the job is over.
//!
//! A request, as words (strait_transport::bootstrap::contract): version, working directory, port of
//! the parents, socket of who keeps the names, number of programs; of each program how many
//! processes, number of words, the words, number of info keys, keys and values.

use super::failure::Failure;
use super::hosts;
use super::parse::keep_going;
use super::request::{BindTo, Program, Request, Stdin};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use strait_transport::bootstrap::contract::{ENV_PARENT, SPAWN_VERSION, words};
use strait_transport::config;

/// How long the request may take to come.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Whoever asked, until the answer is given.
pub struct Asker {
    stream: UnixStream,
}

impl Asker {
    /// The ranks have been started.
    pub fn started(&self) {
        self.say(&[b"started".to_vec()]);
    }

    /// Nothing was started.
    pub fn failed(&self, failure: &Failure) {
        let text = failure.text.clone();
        let help: String = failure.help.iter().map(|line| format!(" ({line})")).collect();
        self.say(&[b"failed".to_vec(), (text + &help).into_bytes()]);
    }

    /// Whoever does not read it has gone.
    fn say(&self, said: &[Vec<u8>]) {
        let flags = rustix::net::SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&self.stream, &words::encode(said), flags);
    }
}

/// Lets a child of ours go on, and whoever started us need not wait for the job. `false` in the
/// process that is to end now.
pub fn detach() -> bool {
    // SAFETY: this process has one thread, and the child goes on with all that it had.
    unsafe { libc::fork() == 0 }
}

/// What is asked for.
pub struct Wish {
    /// The job.
    pub request: Box<Request>,
    /// Who keeps the names of ports, if it is not us.
    pub names: Option<String>,
}

/// Takes the socket from standard input, which is empty from now on, and reads the request.
///
/// # Errors
/// There is none.
pub fn take() -> Result<(Asker, Result<Wish, Failure>), Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("this option is for MPI_Comm_spawn, not for people: {error}"))
    };
    let errno = |errno: rustix::io::Errno| failed(errno.into());
    let input = std::io::stdin();
    let socket: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&input, 3).map_err(errno)?;
    let nothing = std::fs::File::open("/dev/null").map_err(failed)?;
    // SAFETY: takes two numbers; standard input is nobody's but the process's.
    if unsafe { libc::dup2(nothing.as_raw_fd(), 0) } < 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    let stream = UnixStream::from(socket);
    stream.set_read_timeout(Some(REQUEST_TIME)).map_err(failed)?;
    let asker = Asker { stream };
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some((said, _)) = words::decode(&bytes) {
            let wish = understand(said);
            return Ok((asker, wish));
        }
        match (&asker.stream).read(&mut piece) {
            Ok(0) => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => bytes.extend(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// The words of a request, one after the other.
struct Words(std::vec::IntoIter<Vec<u8>>);

impl Words {
    fn word(&mut self) -> Result<Vec<u8>, Failure> {
        let torn = "the request of MPI_Comm_spawn is torn: library and mpiexec are of different \
                    versions";
        self.0.next().ok_or_else(|| Failure::with_code(1, torn))
    }

    fn text(&mut self) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.word()?).into_owned())
    }

    fn number(&mut self) -> Result<u32, Failure> {
        let text = self.text()?;
        let wrong = || Failure::with_code(1, format!("'{text}' is no number in a spawn request"));
        text.parse().map_err(|_| wrong())
    }
}

fn understand(said: Vec<Vec<u8>>) -> Result<Wish, Failure> {
    let mut words = Words(said.into_iter());
    if words.word()? != SPAWN_VERSION {
        return Err(Failure::with_code(1, "library and mpiexec are of different versions"));
    }
    let folder = PathBuf::from(OsString::from_vec(words.word()?));
    let port = words.text()?;
    let names = Some(words.text()?).filter(|name| !name.is_empty());
    let mut request = Box::<Request>::default();
    request.options.stdin = Stdin::None;
    // The cores belong to those who asked already.
    request.options.bind_to = BindTo::None;
    request.options.env.set.push((ENV_PARENT.into(), Some(port.into())));
    // Who goes on after failures does so with those that it spawned.
    if config::switch("KEEP_GOING").is_ok_and(|says| says == Some(true)) {
        keep_going(&mut request.options);
    }
    for _ in 0..words.number()? {
        let ranks = words.number()?;
        let count = words.number()?;
        let argv = (0..count).map(|_| Ok(OsString::from_vec(words.word()?)));
        let argv = argv.collect::<Result<Vec<_>, Failure>>()?;
        if argv.is_empty() {
            return Err(Failure::with_code(1, "a spawn request names no program"));
        }
        let directory = Some(folder.clone());
        let env = super::request::EnvRules::default();
        let mut program = Program { ranks, is_counted: true, argv, directory, env };
        for _ in 0..words.number()? {
            let (key, value) = (words.text()?, words.text()?);
            apply(&key, &value, &folder, &mut program, &mut request)?;
        }
        // A path of whoever asked, also where the processes run elsewhere.
        let path = Path::new(&program.argv[0]);
        if path.components().count() > 1 && path.is_relative() && folder.join(path).is_file() {
            program.argv[0] = folder.join(path).into_os_string();
        }
        request.programs.push(program);
    }
    Ok(Wish { request, names })
}

/// One info key (MPI-5.0 section 11.8.4). Those that we do not know are not for us.
fn apply(
    key: &str,
    value: &str,
    folder: &Path,
    program: &mut Program,
    request: &mut Request,
) -> Result<(), Failure> {
    match key {
        "wdir" | "wd" => program.directory = Some(folder.join(value)),
        "path" => {
            let name = &program.argv[0];
            if !name.as_encoded_bytes().contains(&b'/') {
                let found = std::env::split_paths(value).map(|place| folder.join(place).join(name));
                if let Some(found) = found.into_iter().find(|path| path.is_file()) {
                    program.argv[0] = found.into_os_string();
                }
            }
        }
        "host" | "hosts" => {
            hosts::add_list("the info key host", value, &mut request.options.hosts)?
        }
        "hostfile" => {
            let path = folder.join(value);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Failure::with_code(1, format!("cannot read '{}': {error}", path.display()))
            })?;
            hosts::add_file("the info key hostfile", &text, &mut request.options.hosts)?;
        }
        "env" => {
            for line in value.lines().filter(|line| !line.trim().is_empty()) {
                let (name, value) = line.split_once('=').unwrap_or((line, ""));
                program.env.set.push((OsStr::new(name).into(), Some(OsStr::new(value).into())));
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<Wish, Failure> {
        understand(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_request_becomes_a_job() {
        let wish = request(&[
            "spawn-1",
            "/tmp",
            "port",
            "",
            "2",
            "3",
            "2",
            "a.out",
            "x y",
            "2",
            "wdir",
            "sub",
            "env",
            "A=1\nB=2=3",
            "1",
            "1",
            "b.out",
            "1",
            "colour",
            "red",
        ])
        .unwrap();
        assert_eq!(wish.names, None);
        let (first, second) = (&wish.request.programs[0], &wish.request.programs[1]);
        assert_eq!((first.ranks, second.ranks), (3, 1));
        assert_eq!(first.argv, ["a.out", "x y"]);
        assert_eq!(first.directory.as_deref(), Some(Path::new("/tmp/sub")));
        let set = |name: &str, value: &str| (OsString::from(name), Some(OsString::from(value)));
        assert_eq!(first.env.set, [set("A", "1"), set("B", "2=3")]);
        assert_eq!(second.directory.as_deref(), Some(Path::new("/tmp")));
        assert_eq!(wish.request.options.env.set, [set(ENV_PARENT, "port")]);
        assert_eq!(wish.request.options.stdin, Stdin::None);
    }

    #[test]
    fn a_torn_request_is_an_error() {
        assert!(request(&["spawn-2", "/"]).is_err());
        assert!(request(&["spawn-1", "/", "p", "n", "1", "2", "1"]).is_err());
        assert!(request(&["spawn-1", "/", "p", "n", "1", "x"]).is_err());
    }
}
