// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is compared: an MPI installation with settings, `NAME=PREFIX[,env.VAR=VALUE][,arg=--flag]`,
//! and the command that starts a program over it.
//!
//! The programs are built for the standard ABI, so they run over any library that has it; a
//! library without is left out with the reason, unless programs built for it are named.
//! What a launcher needs to do the same as the others (binding, TCP, permission to run as root) is
//! a table here, by kind of launcher.
#![forbid(unsafe_code)]

use crate::prefix::STANDARD_FACE;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whose launcher it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Strait,
    Mpich,
    #[value(name = "openmpi")]
    OpenMpi,
    Intel,
    /// Anything else: `mpiexec -n N program`.
    Generic,
}

/// One way of running the programs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Contender {
    pub name: String,
    pub prefix: PathBuf,
    pub kind: Kind,
    /// First line of `mpiexec --version`.
    pub version: String,
    pub env: BTreeMap<String, String>,
    pub args: Vec<String>,
    /// Programs built for this library, instead of those for the standard ABI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<PathBuf>,
    /// Why it takes no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// What all contenders of a session share.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub ranks: u32,
    /// Cores that we may use.
    pub cores: usize,
    /// What the messages go over, if asked for: `tcp` or `shm`.
    pub lanes: Option<&'a str>,
}

/// A command line with the variables that it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    pub env: BTreeMap<String, String>,
    pub argv: Vec<String>,
}

impl Contender {
    /// Reads `NAME=PREFIX[,env.VAR=VALUE][,arg=WORD][,kind=KIND][,programs=DIR]`; `version` answers
    /// what a launcher says of itself.
    ///
    /// # Errors
    /// What is wrong with the text, or that there is no launcher.
    pub fn parse(text: &str, version: impl Fn(&Path) -> String) -> Result<Contender, String> {
        let mut parts = parts(text).into_iter();
        let head = parts.next().unwrap_or_default();
        let (name, prefix) = head
            .split_once('=')
            .filter(|(name, prefix)| !name.is_empty() && !prefix.is_empty())
            .ok_or_else(|| format!("'{text}' is not NAME=PREFIX"))?;
        let (mut kind, mut env, mut args, mut programs) = (None, BTreeMap::new(), vec![], None);
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{name}: '{part}' is not KEY=VALUE (in '{text}')"))?;
            match key {
                "kind" => kind = Some(kind_of_word(value).map_err(|e| format!("{name}: {e}"))?),
                "arg" => args.push(value.to_owned()),
                "programs" => programs = Some(PathBuf::from(value)),
                _ => match key.strip_prefix("env.") {
                    Some(variable) if !variable.is_empty() => {
                        env.insert(variable.to_owned(), value.to_owned());
                    }
                    _ => {
                        let known = "env.VAR, arg, kind and programs";
                        return Err(format!("{name}: '{key}' is unknown; known are {known}"));
                    }
                },
            }
        }
        let prefix = absolute(Path::new(prefix));
        let launcher = prefix.join("bin/mpiexec");
        if !launcher.is_file() {
            return Err(format!("{name}: there is no {}", launcher.display()));
        }
        let said = version(&launcher);
        let kind = kind.unwrap_or_else(|| guess(&said));
        let version = first_line(&said, kind);
        let programs = programs.map(|path| absolute(&path));
        let mut contender = Contender {
            name: name.into(),
            prefix,
            kind,
            version,
            env,
            args,
            programs,
            left_out: None,
        };
        contender.left_out = contender.lacks_library();
        Ok(contender)
    }

    fn lacks_library(&self) -> Option<String> {
        if self.programs.is_some() || self.library_directory().is_some() {
            return None;
        }
        Some(format!(
            "{} has no {STANDARD_FACE} below {}: it lacks the standard ABI of MPI 5.0, for which \
             these programs are built, so it is left out. Programs of the same names that were \
             compiled with its mpicc can be compared: {}={},programs=DIR",
            self.version,
            self.prefix.display(),
            self.name,
            self.prefix.display()
        ))
    }

    fn library_directory(&self) -> Option<PathBuf> {
        let places = ["lib", "lib64"].map(|name| self.prefix.join(name));
        places.into_iter().find(|place| place.join(STANDARD_FACE).exists())
    }

    /// Why the messages cannot be sent over `lanes`, if they cannot.
    pub fn lacks_lanes(&self, lanes: Option<&str>) -> Option<String> {
        let lanes = lanes?;
        let known = self.kind == Kind::Strait || lane_settings(self.kind, lanes).is_some();
        (!known && self.env.is_empty() && self.args.is_empty()).then(|| {
            format!(
                "how {} is told to use {lanes} only is not known here: give its settings as \
                 env.VAR=VALUE or arg=WORD",
                self.version
            )
        })
    }

    /// The command that runs `program` with `words`.
    pub fn invocation(&self, setting: Setting<'_>, program: &Path, words: &[String]) -> Invocation {
        let mut env = BTreeMap::new();
        let mut argv = vec![self.prefix.join("bin/mpiexec").display().to_string()];
        if let Some(directory) = self.library_directory() {
            let before = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
            let path = match before.as_str() {
                "" => directory.display().to_string(),
                before => format!("{}:{before}", directory.display()),
            };
            env.insert("LD_LIBRARY_PATH".to_owned(), path);
        }
        self.by_kind(setting, &mut env, &mut argv);
        if let Some(lanes) = setting.lanes {
            if self.kind == Kind::Strait {
                env.insert("STRAIT_LANES".into(), lanes.into());
            }
            let (variables, flags) = lane_settings(self.kind, lanes).unwrap_or_default();
            env.extend(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            argv.extend(flags.iter().map(|flag| (*flag).to_owned()));
        }
        // What the user says of this contender comes last, and wins.
        env.extend(self.env.clone());
        argv.extend(self.args.clone());
        argv.extend(["-n".into(), setting.ranks.to_string(), program.display().to_string()]);
        argv.extend_from_slice(words);
        Invocation { env, argv }
    }

    /// Ranks are bound to cores while there are enough, under every launcher.
    fn by_kind(&self, at: Setting<'_>, env: &mut BTreeMap<String, String>, argv: &mut Vec<String>) {
        let fits = at.ranks as usize <= at.cores;
        let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
        let flags: &[&str] = match self.kind {
            Kind::Strait if fits => &["--bind-to", "core"],
            Kind::Mpich if fits => &["-bind-to", "core"],
            Kind::OpenMpi => {
                for name in ["OMPI_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT"] {
                    set(name, "1");
                    set(&format!("{name}_CONFIRM"), "1");
                }
                if fits {
                    &["--bind-to", "core"]
                } else {
                    &["--bind-to", "none", "--oversubscribe"]
                }
            }
            Kind::Intel => {
                // It binds by itself; its parts are found from these.
                let (root, lib) = (self.prefix.display(), self.prefix.join("lib"));
                set("I_MPI_ROOT", &root.to_string());
                set("FI_PROVIDER_PATH", &lib.display().to_string());
                set("I_MPI_HYDRA_BOOTSTRAP", "fork");
                &[]
            }
            Kind::Strait | Kind::Mpich | Kind::Generic => &[],
        };
        argv.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }
}

type Settings = (&'static [(&'static str, &'static str)], &'static [&'static str]);

/// What keeps the messages of foreign libraries on one path.
fn lane_settings(kind: Kind, lanes: &str) -> Option<Settings> {
    Some(match (kind, lanes) {
        (Kind::Mpich, "tcp") => (
            &[("MPIR_CVAR_NOLOCAL", "1"), ("MPIR_CVAR_CH4_NETMOD", "ofi"), ("FI_PROVIDER", "tcp")],
            &[],
        ),
        (Kind::OpenMpi, "tcp") => (&[], &["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]),
        (Kind::Intel, "tcp") => (&[("I_MPI_FABRICS", "ofi"), ("FI_PROVIDER", "tcp")], &[]),
        (Kind::Intel, "shm") => (&[("I_MPI_FABRICS", "shm")], &[]),
        (Kind::OpenMpi, "shm") => (&[], &["--mca", "pml", "ob1", "--mca", "btl", "sm,self"]),
        // On one host it uses shared memory by itself.
        (Kind::Mpich, "shm") => (&[], &[]),
        _ => return None,
    })
}

/// Cut at commas; a part without `=` belongs to the value before it, as in `env.UCX_TLS=tcp,self`.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        match parts.last_mut() {
            Some(last) if !part.contains('=') && parts_have_value(last) => {
                last.push(',');
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

/// Whether a value of this part may go on after a comma: prefixes and kinds may not.
fn parts_have_value(part: &str) -> bool {
    part.starts_with("env.") || part.starts_with("arg=")
}

fn kind_of_word(word: &str) -> Result<Kind, String> {
    use clap::ValueEnum;
    Kind::from_str(word, true)
        .map_err(|_| format!("kind is strait, mpich, openmpi, intel or generic, not '{word}'"))
}

fn guess(version: &str) -> Kind {
    let lower = version.to_lowercase();
    let known = [
        ("strait", Kind::Strait),
        ("open mpi", Kind::OpenMpi),
        ("openrte", Kind::OpenMpi),
        ("prte", Kind::OpenMpi),
        ("intel", Kind::Intel),
        ("hydra", Kind::Mpich),
    ];
    known.iter().find(|(word, _)| lower.contains(word)).map_or(Kind::Generic, |(_, kind)| *kind)
}

/// A line that names the product and its version.
fn first_line(version: &str, kind: Kind) -> String {
    if kind == Kind::Mpich {
        let number = version.lines().find_map(|line| line.trim().strip_prefix("Version:"));
        return format!("MPICH {}", number.map_or("of unknown version", str::trim));
    }
    let line = version.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("an MPI of unknown version").to_owned()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Invocation {
    /// The command as a shell would take it.
    pub fn shown(&self) -> String {
        let variables = self.env.iter().map(|(key, value)| format!("{key}={}", quoted(value)));
        let words = self.argv.iter().map(|word| quoted(word));
        variables.chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// A word in quotes if a shell would see more in it than a word.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
