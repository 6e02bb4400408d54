// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The constants as Fortran has them: numbers, handles, and the variables that stand for
//! themselves by their address.

use crate::constant::{Constant, constants};

/// Integer constants: name and value.
pub fn integers() -> Vec<(String, i64)> {
    let kinds = ["error", "int", "thread", "combiner", "mode"];
    let all = constants();
    let number = |c: &Constant| c.standard.number();
    let is_ours = |c: &&Constant| c.name.starts_with("MPI_") && !c.name.starts_with("MPI_T_");
    let plain = all.iter().filter(is_ours).filter(|c| kinds.contains(&c.kind));
    let mut list: Vec<_> = plain
        .filter(|c| c.name != "MPI_DISPLACEMENT_CURRENT")
        .filter_map(|c| Some((c.name.to_string(), number(c)?)))
        .collect();
    // C counts the byte that ends a text, Fortran has none (MPI-5.0 section 19.3.9).
    let longest = all.iter().filter(|c| c.kind == "maximum");
    list.extend(longest.filter_map(|c| Some((c.name.to_string(), number(c)? - 1))));
    // Where a status has its fields, from 1 in Fortran.
    for (name, of_c, first) in [
        ("MPI_STATUS_SIZE", "MPI_F_STATUS_SIZE", 0),
        ("MPI_SOURCE", "MPI_F_SOURCE", 1),
        ("MPI_TAG", "MPI_F_TAG", 1),
        ("MPI_ERROR", "MPI_F_ERROR", 1),
    ] {
        let found = all.iter().find(|c| c.name == of_c).and_then(number);
        list.push((name.to_string(), found.expect("the table has it") + first));
    }
    list.sort();
    list
}

/// The value of MPI_DISPLACEMENT_CURRENT, which is longer than an INTEGER.
pub fn displacement_current() -> i64 {
    let all = constants();
    let found = all.iter().find(|c| c.name == "MPI_DISPLACEMENT_CURRENT");
    found.and_then(|c| c.standard.number()).expect("the table has it")
}

/// Predefined handles: name, C type, value.
pub fn handles() -> Vec<(String, String, i64)> {
    let all = constants();
    let of_kind = |c: &Constant| {
        let kind = c.kind.strip_prefix("handle:")?;
        Some((c.name.to_string(), format!("MPI_{kind}"), c.standard.number()?))
    };
    all.iter().filter(|c| c.name.starts_with("MPI_")).filter_map(of_kind).collect()
}

/// Numbers of INTEGER kinds.
pub const KINDS: [(&str, i64); 4] = [
    ("MPI_ADDRESS_KIND", 8),
    ("MPI_COUNT_KIND", 8),
    ("MPI_INTEGER_KIND", 4),
    ("MPI_OFFSET_KIND", 8),
];

/// What is promised of buffers (MPI-5.0 section 19.1.2): sections that are not contiguous are
/// copied by the compiler, and no argument is declared ASYNCHRONOUS.
pub const PROMISES: [&str; 2] = ["MPI_ASYNC_PROTECTS_NONBLOCKING", "MPI_SUBARRAYS_SUPPORTED"];

/// A variable that only its address matters of.
pub struct Place {
    pub name: &'static str,
    /// Its linker name, without the underscore that COMMON gives it.
    pub symbol: &'static str,
    pub kind: PlaceKind,
}

/// The type of such a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    Integer,
    IntegerArray,
    Character,
    CharacterTable,
    Status,
    Statuses,
}

const fn place(name: &'static str, symbol: &'static str, kind: PlaceKind) -> Place {
    Place { name, symbol, kind }
}

/// All of them (MPI-5.0 section 2.5.4).
pub const PLACES: [Place; 10] = [
    place("MPI_BOTTOM", "strait_bottom", PlaceKind::Integer),
    place("MPI_IN_PLACE", "strait_in_place", PlaceKind::Integer),
    place("MPI_BUFFER_AUTOMATIC", "strait_buffer_automatic", PlaceKind::Integer),
    place("MPI_UNWEIGHTED", "strait_unweighted", PlaceKind::IntegerArray),
    place("MPI_WEIGHTS_EMPTY", "strait_weights_empty", PlaceKind::IntegerArray),
    place("MPI_ERRCODES_IGNORE", "strait_errcodes_ignore", PlaceKind::IntegerArray),
    place("MPI_ARGV_NULL", "strait_argv_null", PlaceKind::Character),
    place("MPI_ARGVS_NULL", "strait_argvs_null", PlaceKind::CharacterTable),
    place("MPI_STATUS_IGNORE", "strait_status_ignore", PlaceKind::Status),
    place("MPI_STATUSES_IGNORE", "strait_statuses_ignore", PlaceKind::Statuses),
];
