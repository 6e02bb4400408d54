// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every row of the project's table of constants, through both faces.

use std::collections::BTreeSet;

use strait_abi_table::{Constant, Value, constants};

use super::*;
use crate::abi::standard::Standard;

const KINDS: [(&str, HandleKind); 10] = [
    ("Comm", HandleKind::Comm),
    ("Group", HandleKind::Group),
    ("Datatype", HandleKind::Datatype),
    ("Op", HandleKind::Op),
    ("Request", HandleKind::Request),
    ("Message", HandleKind::Message),
    ("Info", HandleKind::Info),
    ("Errhandler", HandleKind::Errhandler),
    ("Win", HandleKind::Win),
    ("Session", HandleKind::Session),
];

fn family(name: &str) -> Option<Family> {
    let starts = |prefix: &str| name.strip_prefix("MPI_").is_some_and(|n| n.starts_with(prefix));
    Some(match name.strip_prefix("MPI_")? {
        "IDENT" | "CONGRUENT" | "SIMILAR" | "UNEQUAL" => Family::Comparison,
        "GRAPH" | "CART" | "DIST_GRAPH" => Family::Topology,
        "TAG_UB" | "HOST" | "IO" | "WTIME_IS_GLOBAL" | "UNIVERSE_SIZE" | "LASTUSEDCODE"
        | "APPNUM" | "KEYVAL_INVALID" => Family::Keyval,
        "WIN_BASE" | "WIN_SIZE" | "WIN_DISP_UNIT" | "WIN_CREATE_FLAVOR" | "WIN_MODEL" => {
            Family::Keyval
        }
        "WIN_SEPARATE" | "WIN_UNIFIED" => Family::WinModel,
        "MODE_NOCHECK" | "MODE_NOSTORE" | "MODE_NOPUT" | "MODE_NOPRECEDE" | "MODE_NOSUCCEED" => {
            Family::WinAssert
        }
        "DISTRIBUTE_DFLT_DARG" => Family::Special,
        _ if starts("T_BIND_") => Family::ToolBind,
        _ if starts("T_SCOPE_") => Family::ToolScope,
        _ if starts("T_VERBOSITY_") => Family::ToolVerbosity,
        _ if starts("T_PVAR_CLASS_") => Family::ToolClass,
        _ if starts("T_CB_REQUIRE_") => Family::ToolSafety,
        _ if starts("T_SOURCE_") => Family::ToolOrder,
        _ if starts("THREAD_") => Family::ThreadLevel,
        _ if starts("COMM_TYPE_") => Family::SplitType,
        _ if starts("COMBINER_") => Family::Combiner,
        _ if starts("ORDER_") => Family::Order,
        _ if starts("DISTRIBUTE_") => Family::Distribution,
        _ if starts("MODE_") => Family::FileMode,
        _ if starts("SEEK_") => Family::Seek,
        _ if starts("LOCK_") => Family::LockType,
        _ if starts("TYPECLASS_") => Family::Typeclass,
        _ if starts("WIN_FLAVOR_") => Family::WinFlavor,
        _ => return None,
    })
}

fn in_both() -> Vec<(Constant, i64, i64)> {
    let both = constants().into_iter().filter_map(|c| {
        let (mpich, standard) = (c.mpich.number()?, c.standard.number()?);
        Some((c, mpich, standard))
    });
    both.collect()
}

#[test]
fn predefined_handles() {
    for (constant, mpich, standard) in in_both() {
        let Some(kind) = constant.kind.strip_prefix("handle:") else { continue };
        let (name, code) = (constant.name, standard as Code);
        if kind == "File" {
            assert_eq!(Mpich::file_in(mpich as usize), code, "{name}");
            assert_eq!(Mpich::file_out(code), mpich as usize, "{name}");
            continue;
        }
        let (_, kind) = KINDS.iter().find(|(n, _)| *n == kind).expect("a known kind");
        assert_eq!(Mpich::handle_in(*kind, mpich as u32), code, "{name}");
        assert_eq!(Mpich::handle_out(*kind, code), mpich as u32, "{name}");
        assert_eq!(Standard::handle_in(*kind, code as usize), code, "{name}");
        assert_eq!(Standard::handle_out(*kind, code), code as usize, "{name}");
        for (_, other) in KINDS.iter().filter(|(_, other)| other != kind) {
            let shared = matches!(name, "MPI_REQUEST_NULL" | "MPI_MESSAGE_NULL")
                && matches!(other, HandleKind::Request | HandleKind::Message);
            assert!(shared || Mpich::handle_in(*other, mpich as u32) == 0, "{name} as {other:?}");
        }
    }
}

#[test]
fn null_handles_are_the_first_of_their_kind() {
    for (name, kind) in KINDS {
        let row = constants().into_iter().find(|c| {
            let null = format!("MPI_{}_NULL", name.to_uppercase());
            c.name == null
        });
        let row = row.expect("a NULL handle");
        assert_eq!(row.standard, Value::Number(i64::from(kind.null())), "{name}");
        assert_eq!(row.mpich, Value::Number(i64::from(Mpich::handle_out(kind, kind.null()))));
    }
}

#[test]
fn datatypes_of_the_mpich_abi_only() {
    for (name, code) in [
        ("MPI_LB", crate::abi::LB),
        ("MPI_UB", crate::abi::UB),
        ("MPIX_C_FLOAT16", crate::abi::C_FLOAT16),
        ("MPIX_BFLOAT16", crate::abi::BFLOAT16),
    ] {
        let row = constants().into_iter().find(|c| c.name == name).expect("a row");
        let handle = row.mpich.number().expect("a handle") as u32;
        assert_eq!(Mpich::handle_in(HandleKind::Datatype, handle), code);
        assert_eq!(Mpich::handle_out(HandleKind::Datatype, code), handle);
    }
}

#[test]
fn dynamic_and_strange_handles() {
    for (_, kind) in KINDS {
        for code in [0xC000_0000, 0xD234_5678, u32::MAX] {
            assert_eq!(Mpich::handle_in(kind, code), code);
            assert_eq!(Mpich::handle_out(kind, code), code);
            assert_eq!(Standard::handle_in(kind, code as usize), code);
            assert_eq!(Standard::handle_out(kind, code), code as usize);
        }
        for handle in [0, 1, 0x101, 0x209, 0x4c00_0406 ^ 0x100, 0x4c00_00ff, 0x4400_0002] {
            assert_eq!(Mpich::handle_in(kind, handle), 0, "{handle:#x} as {kind:?}");
        }
        assert_eq!(Standard::handle_in(kind, 1 << 32 | 0x101), 0);
    }
    assert_eq!(Mpich::file_in(1 << 32), 0);
    assert_eq!(Mpich::file_in(0x118), 0);
    assert_eq!(Mpich::file_out(0xC000_0007), 0xC000_0007);
}

#[test]
fn error_classes() {
    for (constant, mpich, standard) in in_both().into_iter().filter(|(c, ..)| c.kind == "error") {
        assert_eq!(Mpich::error_in(mpich as c_int), standard as c_int, "{}", constant.name);
        assert_eq!(Mpich::error_out(standard as c_int), mpich as c_int, "{}", constant.name);
        assert_eq!(Standard::error_in(standard as c_int), standard as c_int);
    }
    // What users add follows LASTCODE in both.
    for added in 1..1000 {
        assert_eq!(Mpich::error_out(16383 + added), 0x3fff_ffff + added);
        assert_eq!(Mpich::error_in(0x3fff_ffff + added), 16383 + added);
    }
}

#[test]
fn numbers_that_are_no_error_class_come_back() {
    let canonical: BTreeSet<c_int> = in_both()
        .iter()
        .filter(|(c, ..)| c.kind == "error")
        .map(|(_, _, standard)| *standard as c_int)
        .collect();
    let known: BTreeSet<c_int> = constants()
        .iter()
        .filter(|c| c.kind == "error")
        .filter_map(|c| c.mpich.number())
        .map(|n| n as c_int)
        .collect();
    for code in (-10..20000).filter(|code| !known.contains(code)) {
        let inside = Mpich::error_in(code);
        assert!(!canonical.contains(&inside), "{code} became {inside}");
        assert_eq!(Mpich::error_out(inside), code);
    }
    for extension in 101..=107 {
        assert_eq!(Mpich::error_out(Mpich::error_in(extension)), extension);
    }
}

#[test]
fn families() {
    let mut seen = 0;
    for (constant, mpich, standard) in in_both() {
        let Some(family) = family(constant.name) else { continue };
        if constant.name == "MPI_MODE_NOCHECK" {
            assert_eq!(family, Family::WinAssert);
        }
        let (mpich, standard) = (mpich as c_int, standard as c_int);
        assert_eq!(Mpich::constant_in(family, mpich), standard, "{}", constant.name);
        assert_eq!(Mpich::constant_out(family, standard), mpich, "{}", constant.name);
        assert_eq!(Standard::constant_in(family, standard), standard);
        seen += 1;
    }
    assert_eq!(seen, 123, "a family lost or won constants");
    assert_eq!(Mpich::constant_in(Family::FileMode, 1 | 8 | 16), 2 | 32 | 4);
    assert_eq!(Mpich::constant_out(Family::FileMode, 2 | 32 | 4), 1 | 8 | 16);
    assert_eq!(Mpich::constant_in(Family::FileMode, 1 << 20), c_int::MIN);
    assert_eq!(Mpich::constant_in(Family::Comparison, 201), c_int::MIN);
    assert_eq!(Mpich::constant_in(Family::SplitType, -32766), -32766);
    assert_eq!(Mpich::constant_in(Family::Keyval, 0x1003), 0x1003);
    assert_eq!(Mpich::constant_out(Family::Keyval, 0x1003), 0x1003);
    assert_eq!(Mpich::constant_in(Family::Keyval, 501), c_int::MIN);
    assert_eq!(Mpich::constant_in(Family::Special, 3), 3);
}

#[test]
fn wildcards() {
    let row = |name: &str| in_both().into_iter().find(|(c, ..)| c.name == name).expect("a row");
    for name in ["MPI_ANY_SOURCE", "MPI_PROC_NULL", "MPI_ROOT", "MPI_UNDEFINED"] {
        let (_, mpich, standard) = row(name);
        assert_eq!(Mpich::rank_in(mpich as c_int), standard as c_int, "{name}");
        assert_eq!(Mpich::rank_out(standard as c_int), mpich as c_int, "{name}");
    }
    let (_, mpich, standard) = row("MPI_ANY_TAG");
    assert_eq!(Mpich::tag_in(mpich as c_int), standard as c_int);
    assert_eq!(Mpich::tag_out(standard as c_int), mpich as c_int);
    for number in [0, 1, 7, c_int::MAX] {
        assert_eq!(Mpich::rank_in(number), number);
        assert_eq!(Mpich::tag_out(Mpich::tag_in(number)), number);
    }
    assert!(![-1, -3, -4].contains(&Mpich::rank_in(-4)));
    assert_ne!(Mpich::tag_in(-2), -2);
}

#[test]
fn limits_and_pointers() {
    let row = |name: &str| in_both().into_iter().find(|(c, ..)| c.name == name).expect("a row");
    let check = |name: &str, mpich: usize, standard: usize| {
        let (_, m, s) = row(name);
        assert_eq!((m as usize, s as usize), (mpich, standard), "{name}");
    };
    let (m, s) = (Mpich::LIMITS, Standard::LIMITS);
    check("MPI_MAX_PROCESSOR_NAME", m.processor_name, s.processor_name);
    check("MPI_MAX_ERROR_STRING", m.error_string, s.error_string);
    check("MPI_MAX_OBJECT_NAME", m.object_name, s.object_name);
    check("MPI_MAX_INFO_KEY", m.info_key, s.info_key);
    check("MPI_MAX_INFO_VAL", m.info_value, s.info_value);
    check("MPI_MAX_PORT_NAME", m.port_name, s.port_name);
    check("MPI_MAX_PSET_NAME_LEN", m.process_set_name, s.process_set_name);
    check("MPI_MAX_STRINGTAG_LEN", m.string_tag, s.string_tag);
    check("MPI_MAX_LIBRARY_VERSION_STRING", m.library_version, s.library_version);
    check("MPI_MAX_DATAREP_STRING", m.datarep, s.datarep);
    check("MPI_BSEND_OVERHEAD", m.bsend_overhead, s.bsend_overhead);
    let (_, m, s) = row("MPI_DISPLACEMENT_CURRENT");
    assert_eq!((m, s), (Mpich::DISPLACEMENT_CURRENT, Standard::DISPLACEMENT_CURRENT));
    let address = |value: i64| value as usize as *const c_void;
    let (_, m, s) = row("MPI_IN_PLACE");
    assert!(Mpich::is_in_place(address(m)) && Standard::is_in_place(address(s)));
    assert!(!Mpich::is_in_place(address(0)) && !Standard::is_in_place(address(0)));
    let (_, m, s) = row("MPI_BUFFER_AUTOMATIC");
    assert!(Mpich::is_buffer_automatic(address(m)) && Standard::is_buffer_automatic(address(s)));
    for name in ["MPI_STATUS_IGNORE", "MPI_STATUSES_IGNORE"] {
        let (_, m, s) = row(name);
        assert!(Mpich::is_status_ignore(address(m).cast()));
        assert!(Standard::is_status_ignore(address(s).cast()));
    }
    let standard = |name: &str| {
        let row = constants().into_iter().find(|c| c.name == name).expect("a row");
        address(row.standard.number().expect("a number"))
    };
    assert!(Standard::is_unweighted(standard("MPI_UNWEIGHTED").cast()));
    assert!(Standard::is_weights_empty(standard("MPI_WEIGHTS_EMPTY").cast()));
    assert_eq!(Standard::copy_function(standard("MPI_COMM_DUP_FN")), CopyFunction::Dup);
    assert_eq!(Standard::copy_function(standard("MPI_COMM_NULL_COPY_FN")), CopyFunction::Null);
    assert!(Mpich::is_unweighted(&UNWEIGHTED) && !Mpich::is_unweighted(&WEIGHTS_EMPTY));
    assert!(Mpich::is_weights_empty(&WEIGHTS_EMPTY) && !Mpich::is_weights_empty(&UNWEIGHTED));
}

fn round_trip<A: Abi>(value: &Status) -> Status
where
    A::Status: Copy,
{
    let mut space = [0u64; 4];
    let place: *mut A::Status = space.as_mut_ptr().cast();
    // SAFETY: `space` is as large as the larger of the two and aligned for both.
    unsafe {
        A::status_write(place, value);
        A::status_write_error(place, value.error);
        A::status_read(place)
    }
}

#[test]
fn statuses() {
    for bytes in [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 63) - 1] {
        for cancelled in [false, true] {
            for source in [0, 5, -1, -3] {
                let value = Status { source, tag: 17, error: 15, bytes, cancelled };
                assert_eq!(round_trip::<Mpich>(&value), value);
                assert_eq!(round_trip::<Standard>(&value), value);
            }
        }
    }
    assert_eq!(round_trip::<Mpich>(&Status::EMPTY), Status::EMPTY);
    assert_eq!(round_trip::<Standard>(&Status::PROC_NULL), Status::PROC_NULL);
}

#[test]
fn a_status_has_its_fields_where_the_abis_say() {
    let value = Status { source: 2, tag: -2, error: 15, bytes: 12, cancelled: true };
    let mut words = [0i32; 5];
    // SAFETY: 20 bytes, aligned to 4, is what the MPICH ABI's status needs.
    unsafe {
        Mpich::status_write(words.as_mut_ptr().cast(), &value);
        Mpich::status_write_error(words.as_mut_ptr().cast(), value.error);
    }
    assert_eq!(words, [12, 1, 2, -1, 14]);
    let mut words = [0i32; 8];
    // SAFETY: 32 bytes, aligned to 4, is what the standard ABI's status needs.
    unsafe {
        Standard::status_write(words.as_mut_ptr().cast(), &value);
        Standard::status_write_error(words.as_mut_ptr().cast(), value.error);
    }
    assert_eq!(words[..3], [2, -2, 15]);
}
