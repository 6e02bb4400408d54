// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `libmpi_abi.so.1` and mpi.h as a C compiler and a linker see them.

#[path = "abi_symbols.rs"]
mod symbols;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use strait_abi_table::{Face, constants, standard_functions};

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../include");

fn scratch(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

fn compile(compiler: &str, flags: &[&str], source: &str, folder: &Path) -> PathBuf {
    let file = folder.join(if compiler == "g++" { "test.cc" } else { "test.c" });
    let program = folder.join("program");
    std::fs::write(&file, source).expect("the source");
    let strict = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-I", INCLUDE];
    symbols::output(
        Command::new(compiler).args(flags).args(strict).arg(&file).arg("-o").arg(&program),
    );
    program
}

#[test]
fn exports_every_function_and_nothing_else() {
    let library = symbols::library("libmpi_abi.so");
    let (functions, data) = symbols::exported(&library);
    symbols::same("functions", &functions, &Face::Standard.symbols());
    // The standard's 664 and ten MPIX_ functions, each under two names.
    assert_eq!(functions.len(), 2 * (664 + 10));
    symbols::same("data", &data, &BTreeSet::new());
    assert_eq!(symbols::soname(&library), "libmpi_abi.so.1");
}

#[test]
fn header_is_strict_c_and_cpp() {
    let source = "#include \"mpi.h\"\n#include \"mpi.h\"\nint main(void) { return 0; }\n";
    for (compiler, standard) in [("gcc", "-std=c99"), ("gcc", "-std=c17"), ("g++", "-std=c++11")] {
        let folder = scratch("header");
        compile(compiler, &[standard], source, &folder);
        std::fs::remove_dir_all(folder).expect("the test's folder");
    }
}

/// Sizes and offsets by hand, every constant from the table.
#[test]
fn header_has_the_abi_s_sizes_and_numbers() {
    let mut source = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"mpi.h\"\n\
         static int bad;\n\
         static void check(const char *what, long long is, long long should)\n\
         {\n\
         if (is == should) return;\n\
         printf(\"%s is %lld, not %lld\\n\", what, is, should);\n\
         bad = 1;\n\
         }\n\
         int main(void)\n{\n\
         check(\"status\", sizeof(MPI_Status), 32);\n\
         check(\"source\", offsetof(MPI_Status, MPI_SOURCE), 0);\n\
         check(\"tag\", offsetof(MPI_Status, MPI_TAG), 4);\n\
         check(\"error\", offsetof(MPI_Status, MPI_ERROR), 8);\n\
         check(\"reserved\", offsetof(MPI_Status, MPI_internal), 12);\n",
    );
    for handle in [
        "Comm",
        "Group",
        "Datatype",
        "Op",
        "Request",
        "Message",
        "Info",
        "Errhandler",
        "Win",
        "File",
        "Session",
        "Aint",
        "Offset",
        "Count",
    ] {
        let _ = writeln!(source, "check(\"MPI_{handle}\", sizeof(MPI_{handle}), 8);");
    }
    source.push_str("check(\"MPI_Fint\", sizeof(MPI_Fint), sizeof(int));\n");
    let mut checked = 0;
    for constant in constants() {
        if let Some(number) = constant.standard.number() {
            let name = constant.name;
            let _ = writeln!(source, "check(\"{name}\", (long long)(intptr_t)({name}), {number});");
            checked += 1;
        }
    }
    assert!(checked > 350, "only {checked} constants in the table");
    source.push_str("return bad;\n}\n");
    let folder = scratch("sizes");
    let library = symbols::library("libmpi_abi.so");
    let program = compile("gcc", &["-std=c99"], &source, &folder_with(&folder, &library));
    symbols::output(Command::new(program).env("LD_LIBRARY_PATH", &folder));
    std::fs::remove_dir_all(folder).expect("the test's folder");
}

/// A program that takes the address of each function links and starts.
#[test]
fn every_prototype_links() {
    let mut source =
        String::from("#include \"mpi.h\"\ntypedef void (*any)(void);\nany all[] = {\n");
    for function in standard_functions() {
        let _ = writeln!(source, "(any){0}, (any)P{0},", function.name);
    }
    source.push_str("};\nint main(void) { return sizeof all / sizeof *all == 1328 ? 0 : 1; }\n");
    let folder = scratch("links");
    let library = symbols::library("libmpi_abi.so");
    folder_with(&folder, &library);
    let file = folder.join("test.c");
    let program = folder.join("program");
    std::fs::write(&file, source).expect("the source");
    symbols::output(
        Command::new("gcc")
            .args(["-Wno-cast-function-type", "-I", INCLUDE])
            .arg(&file)
            .arg(folder.join("libmpi_abi.so"))
            .arg("-o")
            .arg(&program),
    );
    symbols::output(Command::new(program).env("LD_LIBRARY_PATH", &folder));
    std::fs::remove_dir_all(folder).expect("the test's folder");
}

/// Links to the library under its link name and its SONAME.
fn folder_with(folder: &Path, library: &Path) -> PathBuf {
    for name in ["libmpi_abi.so", "libmpi_abi.so.1"] {
        std::os::unix::fs::symlink(library, folder.join(name)).expect("a link to the library");
    }
    folder.to_path_buf()
}
