// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `libmpi.so.12` as a linker sees it.

#[path = "abi_symbols.rs"]
mod symbols;

use std::path::Path;
use std::process::Command;

use strait_abi_table::Face;

const WHEEL: &str = include_str!("../abi-table/data/mpi4py-wheel.txt");

#[test]
fn exports_every_symbol_and_nothing_else() {
    let library = symbols::library("libmpi.so");
    let (functions, data) = symbols::exported(&library);
    symbols::same("functions", &functions, &Face::Mpich.symbols());
    let expected = Face::Mpich.data_symbols().iter().map(|name| name.to_string()).collect();
    symbols::same("data", &data, &expected);
    assert_eq!(symbols::soname(&library), "libmpi.so.12");
}

#[test]
fn exports_what_the_mpi4py_wheel_needs() {
    let (functions, data) = symbols::exported(&symbols::library("libmpi.so"));
    let needed: Vec<_> = WHEEL
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .collect();
    assert_eq!(needed.len(), 626);
    let lacking: Vec<_> =
        needed.iter().filter(|n| !functions.contains(**n) && !data.contains(**n)).collect();
    assert!(lacking.is_empty(), "lacking {lacking:?}");
}

/// A position-dependent executable holds its own copies of the variables; they must point to two
/// distinct places, the same that the library's own variables point to.
#[test]
fn variables_survive_copy_relocations() {
    let name = format!("variables-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let library = symbols::library("libmpi.so");
    std::os::unix::fs::symlink(library, folder.join("libmpi.so.12")).expect("a link");
    let source = folder.join("test.c");
    let text = "#include <stddef.h>
        extern int *const MPI_UNWEIGHTED, *const MPI_WEIGHTS_EMPTY;
        extern int *MPI_F_STATUS_IGNORE, *MPI_F_STATUSES_IGNORE;
        extern void *MPI_F08_STATUS_IGNORE, *const MPI_T_PVAR_ALL_HANDLES;
        int main(void)
        {
            int *const *a = &MPI_UNWEIGHTED, *const *b = &MPI_WEIGHTS_EMPTY;
            if (*a == NULL || *b == NULL || *a == *b || **a == **b) return 1;
            if (MPI_F_STATUS_IGNORE != NULL || MPI_F_STATUSES_IGNORE != NULL) return 2;
            return MPI_F08_STATUS_IGNORE == NULL || MPI_T_PVAR_ALL_HANDLES == NULL ? 3 : 0;
        }\n";
    std::fs::write(&source, text).expect("the source");
    let program = folder.join("program");
    for kind in [["-fno-pie", "-no-pie"], ["-fPIE", "-pie"]] {
        symbols::output(
            Command::new("gcc")
                .args(kind)
                .arg(&source)
                .arg(folder.join("libmpi.so.12"))
                .arg("-o")
                .arg(&program),
        );
        symbols::output(Command::new(&program).env("LD_LIBRARY_PATH", &folder));
    }
    std::fs::remove_dir_all(folder).expect("the test's folder");
}
