// SPDX-License-Identifier: Apache-2.0 OR MIT
//! C types as the exports and the generic bodies write them in Rust.

use crate::prototype::{Array, Function, Type};

/// The eleven handle types but files, with their kind in `strait-mpi`.
pub const HANDLES: [(&str, &str); 10] = [
    ("MPI_Comm", "Comm"),
    ("MPI_Group", "Group"),
    ("MPI_Datatype", "Datatype"),
    ("MPI_Op", "Op"),
    ("MPI_Request", "Request"),
    ("MPI_Message", "Message"),
    ("MPI_Info", "Info"),
    ("MPI_Errhandler", "Errhandler"),
    ("MPI_Win", "Win"),
    ("MPI_Session", "Session"),
];

/// Whether the word names a function type.
pub fn is_function(word: &str) -> bool {
    word.contains("_function")
}

/// A type as C and the body share it; `abi` is how the ABI's type parameter is called.
pub fn plain(kind: &Type, abi: &str) -> String {
    if is_function(&kind.word) {
        assert!(kind.depth() <= 1, "pointer to a function pointer");
        return "*const c_void".to_string();
    }
    let word = match kind.word.as_str() {
        "void" => "c_void".to_string(),
        "char" => "c_char".to_string(),
        "int" | "MPI_Fint" | "MPI_T_cb_safety" | "MPI_T_source_order" => "c_int".to_string(),
        "MPIX_Stream" | "MPIX_Grequest_class" => "c_int".to_string(),
        "double" => "f64".to_string(),
        "MPI_Aint" => "isize".to_string(),
        "MPI_Count" | "MPI_Offset" => "i64".to_string(),
        "MPI_File" => format!("{abi}::File"),
        "MPI_Status" => format!("{abi}::Status"),
        "MPI_F08_status" | "MPIX_Iov" => "c_void".to_string(),
        word if HANDLES.iter().any(|(name, _)| *name == word) => format!("{abi}::Handle"),
        word if word.starts_with("MPI_T_") || word == "MPIX_Async_thing" => {
            "*mut c_void".to_string()
        }
        word => panic!("unknown type {word}"),
    };
    if kind.array == Array::Triples {
        return format!("*const [{word}; 3]");
    }
    let star = if kind.constant { "*const " } else { "*mut " };
    format!("{}{word}", star.repeat(kind.depth()))
}

/// A parameter's type in the generic body.
pub fn in_body(function: &Function, i: usize) -> String {
    let kind = &function.parameters[i].kind;
    match (function.differs[i], kind.depth(), kind.constant) {
        (false, ..) => plain(kind, "A"),
        (true, 0, _) => "i64".to_string(),
        (true, _, true) => "Counts".to_string(),
        (true, _, false) => "CountOut".to_string(),
    }
}

/// A parameter's name, made acceptable to Rust.
pub fn name(text: &str) -> String {
    match text {
        "type" | "in" | "ref" | "move" | "match" | "fn" | "box" => format!("{text}_"),
        _ => text.to_string(),
    }
}

/// The head of the generic body.
pub fn body_head(function: &Function) -> String {
    let parameters: Vec<_> = (0..function.parameters.len())
        .map(|i| format!("    {}: {},\n", name(&function.parameters[i].name), in_body(function, i)))
        .collect();
    let result = plain(&function.result, "A");
    format!("pub unsafe fn {}<A: Abi>(\n{}) -> {result}", function.body, parameters.concat())
}
