// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The three faces of Fortran against the table of functions, and the library against the faces:
//! whatever a program can call is there, and nothing else is exported.

#[path = "abi_symbols.rs"]
mod abi_symbols;

use std::collections::BTreeSet;

use abi_symbols::{exported, library, same, soname};
use strait_abi_table::{Function, fortran, standard_functions};

/// What Fortran must have all of: chapters of the table.
const WHOLE: [&str; 13] = [
    "point to point",
    "point to point, partitioned",
    "collectives, blocking",
    "collectives, nonblocking",
    "collectives, persistent",
    "collectives, neighbourhood",
    "reductions",
    "communicators",
    "groups",
    "datatypes",
    "environment",
    "initialisation",
    "status",
];
/// The chapters that Fortran has nothing, or little, of.
const OF_C: [&str; 2] = ["abi", "tools"];
/// What is not in mpi_f08 because it was deprecated before that came (MPI-5.0 section 16.1).
const OLD: [&str; 5] =
    ["MPI_Attr_delete", "MPI_Attr_get", "MPI_Attr_put", "MPI_Keyval_create", "MPI_Keyval_free"];
/// Forms with large counts that differ in nothing, or in MPI_COUNT_KIND where MPI_ADDRESS_KIND was:
/// one form is both, because these kinds are the same here (MPI-5.0 section 19.2).
const SAME: [&str; 6] = [
    "MPI_File_get_type_extent",
    "MPI_Precv_init",
    "MPI_Psend_init",
    "MPI_Type_create_resized",
    "MPI_Type_get_extent",
    "MPI_Type_get_true_extent",
];

struct Faces {
    mpif: String,
    mpi: String,
    f08: String,
}

fn faces() -> Faces {
    let of = |wanted: &str| {
        let all = fortran::generate_all();
        all.into_iter().find(|(name, _)| *name == wanted).expect("a file of that name").1
    };
    Faces { mpif: of("mpif.h"), mpi: of("mpi.f90"), f08: of("mpi_f08.f90") }
}

/// The names, in small letters, of the procedures that a module says there are, but for types of
/// procedures, which nobody calls.
fn procedures(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_type = false;
    for line in text.lines().map(str::trim) {
        match line {
            "abstract interface" => is_type = true,
            "end interface" => is_type = false,
            _ => {}
        }
        let words = ["subroutine ", "function "];
        let head = words.iter().find_map(|word| line.split_once(word));
        let is_end = line.starts_with("end ");
        if let Some((_, rest)) = head.filter(|_| !is_type && !is_end && !line.starts_with('!')) {
            let name = rest.split('(').next().expect("a name");
            found.insert(name.to_lowercase());
        }
    }
    found
}

fn exports() -> BTreeSet<String> {
    exported(&library("libstrait_fortran.so")).0
}

/// Whether a function lacks in a face; `large` is asked for mpi_f08 only.
fn lacking(
    function: &Function,
    faces: &[BTreeSet<String>; 2],
    exports: &BTreeSet<String>,
) -> Vec<String> {
    let name = function.name.to_lowercase();
    let [mpi, f08] = faces;
    let mut lacking = Vec::new();
    let is_large = name.ends_with("_c");
    let small = function.name.trim_end_matches("_c");
    for level in ["", "p"] {
        let name = format!("{level}{name}");
        if !is_large && !exports.contains(&format!("{name}_")) {
            lacking.push(format!("{name} in mpif.h"));
        }
        if !is_large && !mpi.contains(&name) {
            lacking.push(format!("{name} in mpi"));
        }
        let is_told_by_other = is_large && SAME.contains(&small);
        let wants_new = !OLD.contains(&small) && !is_told_by_other;
        if wants_new && !f08.contains(&format!("{name}_f08")) {
            lacking.push(format!("{name} in mpi_f08"));
        }
    }
    lacking
}

#[test]
fn every_function_has_its_three_faces() {
    let (faces, exports) = (faces(), exports());
    let modules = [procedures(&faces.mpi), procedures(&faces.f08)];
    let functions = standard_functions();
    let mut missing = Vec::new();
    let mut count = 0;
    for function in functions.iter().filter(|f| !OF_C.contains(&f.chapter.as_str())) {
        missing.extend(lacking(function, &modules, &exports));
        count += 1;
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(count > 560, "{count} functions were looked for");
    for chapter in WHOLE {
        assert!(functions.iter().any(|f| f.chapter == chapter), "no chapter '{chapter}'");
    }
    // The same search does find out what is not there.
    let tool = functions.iter().find(|f| f.name == "MPI_T_init_thread").expect("a function of C");
    assert_eq!(lacking(tool, &modules, &exports).len(), 6);
}

#[test]
fn the_library_has_what_the_faces_name() {
    let (faces, found) = (faces(), exports());
    let of = |name: &str| fortran::generate_all().into_iter().find(|f| f.0 == name).expect("it").1;
    let shared = of("strait_types.f90");
    let mut named: BTreeSet<String> = [&faces.mpi, &faces.f08, &shared]
        .iter()
        .flat_map(|text| procedures(text))
        .map(|name| format!("{name}_"))
        .collect();
    let externals = faces.mpif.lines().filter_map(|line| line.trim().strip_prefix("EXTERNAL "));
    named.extend(externals.map(|name| format!("{}_", name.to_lowercase())));
    same("the Fortran library's functions", &found, &named);
}

#[test]
fn places_that_stand_for_constants() {
    let faces = faces();
    let data = exported(&library("libstrait_fortran.so")).1;
    let common = |line: &str| {
        let block = line.trim().strip_prefix("COMMON /")?.split('/').next()?.to_lowercase();
        Some(format!("{block}_"))
    };
    let bound = |line: &str| {
        let name = line.split("bind(C, name=\"").nth(1)?;
        Some(name.split('"').next()?.to_string())
    };
    let types =
        fortran::generate_all().into_iter().find(|f| f.0 == "strait_types.f90").expect("it");
    let mut named: BTreeSet<String> = faces.mpif.lines().filter_map(common).collect();
    assert!(named.len() == 10, "{named:?}");
    for text in [&faces.mpi, &faces.f08, &types.1] {
        named.extend(text.lines().filter_map(bound));
    }
    same("the Fortran library's data", &data, &named);
    assert_eq!(soname(&library("libstrait_fortran.so")), "libstrait_fortran.so.1");
}

#[test]
fn constants_are_the_standard_abis() {
    let faces = faces();
    let names = ["MPI_ANY_SOURCE=-1", "MPI_COMM_WORLD=257", "MPI_INTEGER=537", "MPI_STATUS_SIZE=8"];
    for name in names {
        assert!(faces.mpif.contains(&format!("PARAMETER ({name})")), "{name}");
    }
}
