// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The compiler wrapper: the user's compiler with the flags of the prefix that holds this program.
//!
//! It answers the questions that build systems ask MPICH's and Open MPI's wrappers. Paths are made
//! from where the executable lies, so the prefix can be moved.
#![forbid(unsafe_code)]

use crate::prefix::Prefix;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// What the compiler reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Language {
    C,
    Cxx,
    Fortran,
}

impl Language {
    fn of_name(name: &OsStr) -> Language {
        let bytes = name.as_bytes();
        let base = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or(bytes);
        match base {
            b"mpicxx" | b"mpic++" | b"mpiCC" | b"mpiccxx" => Language::Cxx,
            b"mpifort" | b"mpif90" | b"mpif77" => Language::Fortran,
            _ => Language::C,
        }
    }

    fn wrapper(self) -> &'static str {
        match self {
            Language::C => "mpicc",
            Language::Cxx => "mpicxx",
            Language::Fortran => "mpifort",
        }
    }

    /// Variables that name the compiler, the first one that is set wins.
    fn variables(self) -> [&'static str; 3] {
        match self {
            Language::C => ["STRAIT_CC", "MPICH_CC", "OMPI_CC"],
            Language::Cxx => ["STRAIT_CXX", "MPICH_CXX", "OMPI_CXX"],
            Language::Fortran => ["STRAIT_FC", "MPICH_FC", "OMPI_FC"],
        }
    }

    fn default_compiler(self) -> &'static str {
        match self {
            Language::C => "cc",
            Language::Cxx => "c++",
            Language::Fortran => "gfortran",
        }
    }

    /// The libraries, the first one on top of the next.
    fn libraries(self) -> &'static [&'static str] {
        match self {
            Language::C | Language::Cxx => &["mpi_abi"],
            Language::Fortran => &["strait_fortran", "mpi_abi"],
        }
    }

    /// What a compiler of this name needs beside the directories. Programs with mpif.h pass buffers
    /// of several types to one routine, which gfortran refuses unless told.
    fn extra(self, compiler: &OsStr) -> Option<&'static str> {
        let is_gfortran = compiler.to_string_lossy().contains("gfortran");
        (self == Language::Fortran && is_gfortran).then_some("-fallow-argument-mismatch")
    }

    /// The option that names the compiler.
    fn option(self) -> &'static str {
        match self {
            Language::C => "-cc=",
            Language::Cxx => "-cxx=",
            Language::Fortran => "-fc=",
        }
    }
}

/// What the arguments ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Run,
    Show,
    ShowCompile,
    ShowLink,
    CompileFlags,
    LinkFlags,
    Directories(&'static str),
    Libraries,
    CompilerName,
    Version,
}

/// Options that end before linking.
const NO_LINK: &[&str] = &["-c", "-E", "-S", "-M", "-MM", "-fsyntax-only"];
/// Options whose value is the next argument.
const TAKES_VALUE: &[&str] =
    &["-o", "-I", "-L", "-D", "-U", "-x", "-include", "-isystem", "-iquote", "-MF", "-MT", "-MQ"];

/// Runs the wrapper under the name it was called by.
pub fn main(name: &OsStr, args: Vec<OsString>) -> ExitCode {
    match wrap(Language::of_name(name), args) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            eprintln!("{text}");
            ExitCode::from(code)
        }
    }
}

fn wrap(language: Language, args: Vec<OsString>) -> Result<(), (u8, String)> {
    let wrapper = language.wrapper();
    let Some(prefix) = Prefix::of_this_executable() else {
        return Err((1, format!("{wrapper}: cannot find the directory it was installed in")));
    };
    let variables = language.variables().into_iter().find_map(std::env::var_os);
    let default = language.default_compiler();
    let mut compiler = variables.unwrap_or_else(|| default.into());
    let mut ask = Ask::Run;
    let mut rest = Vec::new();
    for argument in args {
        let text = argument.to_string_lossy().into_owned();
        if let Some(chosen) = text.strip_prefix(language.option()) {
            compiler = chosen.into();
        } else if let Some(question) = question(&text).map_err(|text| (1, text))? {
            ask = question;
        } else {
            rest.push(argument);
        }
    }
    let flags = Flags::of(&prefix, language, &compiler);
    let command = |compile: bool, link: bool| {
        let mut all: Vec<OsString> = split(&compiler);
        all.extend(if compile { flags.compile.clone() } else { Vec::new() });
        all.extend(rest.iter().cloned());
        all.extend(if link { flags.link.clone() } else { Vec::new() });
        all
    };
    let answer = match ask {
        Ask::Run => {
            let (compile, link) = wanted(&rest);
            if language == Language::Fortran && compile {
                has_modules(&prefix).map_err(|text| (1, text))?;
            }
            return Err(execute(language, &command(compile, link)));
        }
        Ask::Show => {
            let link = !rest.iter().any(|argument| is_one_of(argument, NO_LINK));
            quoted(&command(true, link))
        }
        Ask::ShowCompile => quoted(&command(true, false)),
        Ask::ShowLink => quoted(&command(false, true)),
        Ask::CompileFlags => quoted(&flags.compile),
        Ask::LinkFlags => quoted(&flags.link),
        Ask::Directories("include") => prefix.include().display().to_string(),
        Ask::Directories(_) => prefix.lib().display().to_string(),
        Ask::Libraries => language.libraries().join(" "),
        Ask::CompilerName => compiler.to_string_lossy().into_owned(),
        Ask::Version => format!("{wrapper}: Strait {}", crate::VERSION),
    };
    println!("{answer}");
    Ok(())
}

/// Whether an argument is a question to the wrapper.
fn question(text: &str) -> Result<Option<Ask>, String> {
    let Some(body) = text.strip_prefix('-') else { return Ok(None) };
    let body = body.strip_prefix('-').unwrap_or(body);
    Ok(Some(match body {
        "show" | "showme" => Ask::Show,
        "compile-info" | "compile_info" => Ask::ShowCompile,
        "link-info" | "link_info" => Ask::ShowLink,
        _ => match body.strip_prefix("showme:") {
            None => return Ok(None),
            Some("compile") => Ask::CompileFlags,
            Some("link") => Ask::LinkFlags,
            Some("incdirs") => Ask::Directories("include"),
            Some("libdirs") => Ask::Directories("lib"),
            Some("libs") => Ask::Libraries,
            Some("command") => Ask::CompilerName,
            Some("version") => Ask::Version,
            Some(other) => {
                return Err(format!(
                    "error: unknown question '--showme:{other}'\n  help: it knows compile, link, \
                     incdirs, libdirs, libs, command, version"
                ));
            }
        },
    }))
}

/// The flags of a prefix.
struct Flags {
    compile: Vec<OsString>,
    link: Vec<OsString>,
}

impl Flags {
    fn of(prefix: &Prefix, language: Language, compiler: &OsStr) -> Flags {
        let joined = |head: &str, path: std::path::PathBuf| {
            let mut text = OsString::from(head);
            text.push(path);
            text
        };
        let mut compile = vec![joined("-I", prefix.include())];
        compile.extend(language.extra(compiler).map(OsString::from));
        let mut link = vec![joined("-L", prefix.lib()), joined("-Wl,-rpath,", prefix.lib())];
        link.extend(language.libraries().iter().map(|name| format!("-l{name}").into()));
        Flags { compile, link }
    }
}

fn is_one_of(argument: &OsStr, list: &[&str]) -> bool {
    list.iter().any(|one| OsStr::new(one) == argument)
}

/// Whether the compile flags and the link flags are wanted. Without an input file the compiler
/// only answers a question (`-v`, `--version`, `-print-...`), and flags would make it try to link.
fn wanted(args: &[OsString]) -> (bool, bool) {
    let mut has_input = false;
    let mut skip = false;
    for argument in args {
        let is_value = std::mem::replace(&mut skip, is_one_of(argument, TAKES_VALUE));
        let bytes = argument.as_bytes();
        has_input |= !is_value && (!bytes.starts_with(b"-") || bytes == b"-");
    }
    let links = !args.iter().any(|argument| is_one_of(argument, NO_LINK));
    (has_input, has_input && links)
}

/// A compiler variable may hold options too: `ccache gcc`.
fn split(compiler: &OsStr) -> Vec<OsString> {
    let words = compiler.as_bytes().split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty()).map(|word| OsStr::from_bytes(word).into()).collect()
}

/// The command as a shell would read it.
fn quoted(command: &[OsString]) -> String {
    let one = |argument: &OsString| {
        let text = argument.to_string_lossy();
        let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%^~".contains(c) || !c.is_ascii();
        if !text.is_empty() && text.chars().all(is_plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    command.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Whether the installation made the modules, without which most programs would fail with less
/// to go by.
fn has_modules(prefix: &Prefix) -> Result<(), String> {
    let include = prefix.include();
    if include.join("mpi.mod").is_file() {
        return Ok(());
    }
    Err(format!(
        "error: mpifort: {} has no mpi.mod: there was no gfortran when Strait was installed\n  \
         help: install gfortran, then run `cargo xtask install` to the same prefix again",
        include.display()
    ))
}

/// Becomes the compiler; returns only on failure.
fn execute(language: Language, command: &[OsString]) -> (u8, String) {
    let (wrapper, variable) = (language.wrapper(), language.variables()[0]);
    let Some((program, args)) = command.split_first() else {
        return (127, format!("{wrapper}: no compiler: {variable} is empty"));
    };
    let error = Command::new(program).args(args).exec();
    let name = program.to_string_lossy();
    (
        127,
        format!(
            "error: {wrapper} cannot run the compiler '{name}': {error}\n  help: install one, or \
             name it in {variable}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn flags_only_where_they_make_sense() {
        assert_eq!(wanted(&args("-c a.c -o a.o")), (true, false));
        assert_eq!(wanted(&args("a.c -o a")), (true, true));
        assert_eq!(wanted(&args("-v")), (false, false));
        assert_eq!(wanted(&args("--version")), (false, false));
        assert_eq!(wanted(&args("-o out -v")), (false, false));
        assert_eq!(wanted(&args("-E -x c -")), (true, false));
    }

    #[test]
    fn names_and_questions() {
        assert_eq!(Language::of_name(OsStr::new("/opt/x/bin/mpicxx")), Language::Cxx);
        assert_eq!(Language::of_name(OsStr::new("mpicc")), Language::C);
        assert_eq!(Language::of_name(OsStr::new("mpif90")), Language::Fortran);
        assert!(Language::Fortran.extra(OsStr::new("ccache gfortran-12")).is_some());
        assert!(Language::Fortran.extra(OsStr::new("flang")).is_none());
        assert_eq!(question("--showme:link"), Ok(Some(Ask::LinkFlags)));
        assert_eq!(question("-show"), Ok(Some(Ask::Show)));
        assert_eq!(question("-O2"), Ok(None));
        assert!(question("--showme:xyz").is_err());
        assert_eq!(quoted(&args("a -I/x")), "a -I/x");
        assert_eq!(quoted(&["a b'c".into()]), "'a b'\\''c'");
    }
}
