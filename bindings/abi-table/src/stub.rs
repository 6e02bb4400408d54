// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A stand-in of `libmpi_abi` to link against while the real one is not built: it has the SONAME of
//! the real library and the functions that are named. It must never run: each function says so
//! and aborts.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

/// Makes `libmpi_abi.so` in the folder; `who` is linked against it. The second name is the one that
/// the loader of a unit test looks for.
pub fn make<'a>(
    functions: impl Iterator<Item = &'a str>,
    who: &str,
    folder: &Path,
) -> io::Result<()> {
    let source = folder.join("stub.c");
    fs::write(&source, text(functions, who))?;
    for name in ["libmpi_abi.so", "libmpi_abi.so.1"] {
        compile(&source, &folder.join(name))?;
    }
    Ok(())
}

fn text<'a>(functions: impl Iterator<Item = &'a str>, who: &str) -> String {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n");
    for name in functions {
        text.push_str(&format!(
            "int {name}(void) {{\n    fputs(\"{name}: this is the stub that {who} is linked \
             against; start it with mpiexec\\n\", stderr);\n    abort();\n}}\n"
        ));
    }
    text
}

fn compile(source: &Path, library: &Path) -> io::Result<()> {
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let shown = compiler.display();
    let status = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-Wl,-soname,libmpi_abi.so.1", "-o"])
        .arg(library)
        .arg(source)
        .status()
        .map_err(|error| io::Error::other(format!("cannot run {shown}: {error}; install gcc")))?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{shown} failed on the link stub: {status}"))),
    }
}
