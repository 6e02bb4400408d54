// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Fortran side of the tables: which routines there are, and what each of their arguments is
//! (MPI-5.0 chapter 19).
//!
//! A routine has the arguments of the C function in its order, and `ierror`. What C leaves open,
//! such as which `int` is a LOGICAL, is said here, once, by the name of the argument. Three texts
//! come from it: the exports of the library (`shim`), the two modules (`module`), and mpif.h
//! (`include`). Routines whose arguments cannot be translated one by one are written by hand in
//! `bindings/fortran/src`: [`is_own`] names them.

mod constant;
mod include;
mod module;
mod shim;

pub use self::shim::{generate_shim, symbols};

use crate::prototype::{Array, Function, Parameter, Type, standard_functions};
use crate::signature::{HANDLES, is_function};

/// What an argument is to Fortran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A buffer of any type.
    Choice,
    /// A handle; the C type's name.
    Handle(String),
    Integer,
    /// The position of a request in an array: from 1 in Fortran, from 0 in C.
    Index,
    Logical,
    /// INTEGER(KIND=MPI_ADDRESS_KIND)
    Address,
    /// INTEGER(KIND=MPI_COUNT_KIND)
    Count,
    /// INTEGER(KIND=MPI_OFFSET_KIND)
    Offset,
    Double,
    Character,
    Status,
    /// Weights of a graph's edges, or one of the two constants.
    Weights,
    /// Error codes of a spawn, or MPI_ERRCODES_IGNORE.
    Errcodes,
    /// Ranges of ranks, three numbers each.
    Triples,
    /// A user's procedure; the C type's name.
    Callback(String),
    /// Where the address of memory is returned: TYPE(C_PTR), or an integer in older code.
    Pointer,
    /// The same of a detached buffer, which older code does not get.
    Detached,
}

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    In,
    Out,
    InOut,
}

/// One argument of a routine.
#[derive(Clone, Debug)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    pub flow: Flow,
    pub is_array: bool,
    /// C takes the value, not its address.
    pub by_value: bool,
    /// Its C type.
    pub c: Type,
}

/// A routine of the Fortran interfaces.
#[derive(Clone, Debug)]
pub struct Routine {
    /// The C name.
    pub name: String,
    pub arguments: Vec<Argument>,
    /// The function's result; none: a subroutine with `ierror`.
    pub result: Option<Kind>,
    pub function: Function,
    /// For the form with large counts: the routine that it is another form of.
    pub large_of: Option<String>,
}

impl Routine {
    /// Whether there is an `ierror`.
    pub fn has_error(&self) -> bool {
        self.result.is_none() && self.name != "MPI_Pcontrol"
    }

    /// Whether only mpi_f08 has it.
    pub fn is_f08_only(&self) -> bool {
        self.name.ends_with("_c")
    }

    /// Whether mpi_f08 is too young for it.
    pub fn is_old(&self) -> bool {
        OLD.contains(&&*self.name)
    }

    fn is_detach(&self) -> bool {
        self.arguments.iter().any(|argument| argument.kind == Kind::Detached)
    }

    /// Whether module mpi has a second form with TYPE(C_PTR).
    fn has_pointer(&self) -> bool {
        self.arguments.iter().any(|argument| argument.kind == Kind::Pointer)
    }
}

/// Chapters of C only.
const NOT_HERE: [&str; 2] = ["tools", "abi"];
/// What Fortran has of them.
const STILL_HERE: [&str; 2] = ["MPI_Abi_get_version", "MPI_Abi_get_info"];
/// Every `int` of these names is a truth value.
const LOGICALS: [&str; 7] =
    ["flag", "reorder", "commute", "high", "periods", "remain_dims", "weighted"];
/// Arguments of C's main program.
const MAIN: [&str; 2] = ["argc", "argv"];
/// Routines with the values of MPI-1: INTEGER where an address would stand.
const SHORT_VALUES: [&str; 3] = ["MPI_Attr_get", "MPI_Attr_put", "MPI_Keyval_create"];

/// These, and two that go with them, are not in mpi_f08.
const OLD: [&str; 5] =
    ["MPI_Attr_delete", "MPI_Attr_get", "MPI_Attr_put", "MPI_Keyval_create", "MPI_Keyval_free"];

/// Routines that `bindings/fortran` writes by hand.
const OWN: [&str; 30] = [
    "MPI_Attr_get",
    "MPI_Attr_put",
    "MPI_Buffer_detach",
    "MPI_Buffer_detach_c",
    "MPI_Comm_create_keyval",
    "MPI_Comm_detach_buffer",
    "MPI_Comm_detach_buffer_c",
    "MPI_Comm_get_attr",
    "MPI_Comm_set_attr",
    "MPI_Comm_spawn",
    "MPI_Comm_spawn_multiple",
    "MPI_Grequest_start",
    "MPI_Info_create_env",
    "MPI_Info_get",
    "MPI_Info_get_string",
    "MPI_Init",
    "MPI_Init_thread",
    "MPI_Keyval_create",
    "MPI_Pcontrol",
    "MPI_Register_datarep",
    "MPI_Register_datarep_c",
    "MPI_Session_detach_buffer",
    "MPI_Session_detach_buffer_c",
    "MPI_Session_get_nth_pset",
    "MPI_Type_create_keyval",
    "MPI_Type_get_attr",
    "MPI_Type_set_attr",
    "MPI_Win_create_keyval",
    "MPI_Win_get_attr",
    "MPI_Win_set_attr",
];

/// What a Fortran compiler reads: the name of each file, and its text. Modules come before those
/// that use them.
pub fn generate_all() -> [(&'static str, String); 4] {
    [
        ("strait_types.f90", module::generate_types()),
        ("mpi.f90", module::generate_mpi()),
        ("mpi_f08.f90", module::generate_f08()),
        ("mpif.h", include::generate_mpif()),
    ]
}

/// Whether `bindings/fortran` has the routine's body.
pub fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

/// All routines, in the order of the table.
pub fn routines() -> Vec<Routine> {
    let functions = standard_functions();
    let small = |name: &str| {
        let base = name.strip_suffix("_c")?;
        functions.iter().find(|function| function.name == base)
    };
    functions
        .iter()
        .filter(|f| !NOT_HERE.contains(&&*f.chapter) || STILL_HERE.contains(&&*f.name))
        .filter_map(|function| {
            let mut routine = routine(function);
            if let Some(base) = small(&function.name) {
                if !can_be_told(base, function) {
                    return None;
                }
                // These differ only in the type of a procedure: a name of its own each.
                let is_named = base.parameters.iter().any(|p| is_function(&p.kind.word));
                routine.large_of = (!is_named).then(|| base.name.clone());
            }
            Some(routine)
        })
        .collect()
}

/// Whether a compiler can tell the form with large counts from the other: MPI_ADDRESS_KIND and
/// MPI_COUNT_KIND are the same, so an INTEGER must have become longer.
fn can_be_told(small: &Function, large: &Function) -> bool {
    let is_longer = |(s, l): (&Parameter, &Parameter)| {
        s.kind.word != l.kind.word && (s.kind.word == "int" || is_function(&s.kind.word))
    };
    small.parameters.len() != large.parameters.len()
        || small.parameters.iter().zip(&large.parameters).any(is_longer)
}

fn routine(function: &Function) -> Routine {
    let is_start = function.name.starts_with("MPI_Init") || function.name.ends_with("create_env");
    let kept = function.parameters.iter().filter(|p| !is_start || !MAIN.contains(&&*p.name));
    let arguments = kept.map(|parameter| argument(function, parameter)).collect();
    let result = match function.result.word.as_str() {
        "double" => Some(Kind::Double),
        "MPI_Aint" => Some(Kind::Address),
        _ => None,
    };
    Routine {
        name: function.name.clone(),
        arguments,
        result,
        function: function.clone(),
        large_of: None,
    }
}

fn argument(function: &Function, parameter: &Parameter) -> Argument {
    let c = parameter.kind.clone();
    let kind = kind(&function.name, parameter);
    let by_value = c.depth() == 0;
    let is_array = is_array(&kind, parameter);
    let flow = match (&kind, by_value || c.constant) {
        (_, true) | (Kind::Callback(_), _) => Flow::In,
        (Kind::Address | Kind::Integer, _) if c.word == "void" && !is_read(&function.name) => {
            Flow::In
        }
        (Kind::Triples, _) => Flow::In,
        (Kind::Handle(_), _) if function.name == "MPI_Cancel" => Flow::In,
        (Kind::Character, false) if parameter.name.ends_with("argv") => Flow::In,
        (Kind::Character, false) if parameter.name.ends_with("commands") => Flow::In,
        (Kind::Choice, false) => Flow::InOut,
        (_, false) if changes(&function.name, &parameter.name, &kind) => Flow::InOut,
        (_, false) => Flow::Out,
    };
    let name = if kind == Kind::Index { "index".to_string() } else { parameter.name.clone() };
    Argument { name, kind, flow, is_array, by_value, c }
}

/// Whether an attribute's value is returned.
fn is_read(function: &str) -> bool {
    function.ends_with("_get_attr") || function == "MPI_Attr_get"
}

fn is_array(kind: &Kind, parameter: &Parameter) -> bool {
    match kind {
        Kind::Choice | Kind::Callback(_) | Kind::Pointer | Kind::Detached => false,
        Kind::Character => parameter.kind.stars > 0 && parameter.kind.array == Array::Open,
        Kind::Status => parameter.name == "array_of_statuses",
        _ => parameter.kind.array != Array::No,
    }
}

fn kind(function: &str, parameter: &Parameter) -> Kind {
    let (word, name) = (parameter.kind.word.as_str(), parameter.name.as_str());
    let short = SHORT_VALUES.contains(&function);
    match word {
        "void" => match name {
            "baseptr" => Kind::Pointer,
            "buffer_addr" => Kind::Detached,
            "attribute_val" | "extra_state" if short => Kind::Integer,
            "attribute_val" | "extra_state" => Kind::Address,
            _ => Kind::Choice,
        },
        "int" if LOGICALS.contains(&name) => Kind::Logical,
        "int" if name == "indx" && parameter.kind.array == Array::No => Kind::Index,
        "int" if name == "array_of_indices" => Kind::Index,
        "int" if name == "array_of_errcodes" => Kind::Errcodes,
        "int" if name.ends_with("weights") => Kind::Weights,
        "int" if parameter.kind.array == Array::Triples => Kind::Triples,
        "int" => Kind::Integer,
        "char" => Kind::Character,
        "double" => Kind::Double,
        "MPI_Aint" => Kind::Address,
        "MPI_Count" => Kind::Count,
        "MPI_Offset" => Kind::Offset,
        "MPI_Status" => Kind::Status,
        _ if is_function(word) => Kind::Callback(word.to_string()),
        _ if word == "MPI_File" || HANDLES.iter().any(|(handle, _)| *handle == word) => {
            Kind::Handle(word.to_string())
        }
        _ => panic!("{function}: Fortran has no type for {word} {name}"),
    }
}

/// Whether what is behind a pointer is read as well as written.
fn changes(function: &str, parameter: &str, kind: &Kind) -> bool {
    let ends = ["_free", "_disconnect", "_commit", "_finalize", "_close", "_free_keyval"];
    let starts = ["MPI_Wait", "MPI_Test", "MPI_Start"];
    let is_taken = match kind {
        Kind::Handle(_) | Kind::Integer => {
            ends.iter().any(|end| function.ends_with(end))
                || parameter == "message" && {
                    ["MPI_Mrecv", "MPI_Imrecv"].contains(&function.trim_end_matches("_c"))
                }
        }
        Kind::Status => function.starts_with("MPI_Status_set"),
        _ => false,
    };
    let is_request = matches!(kind, Kind::Handle(word) if word == "MPI_Request")
        && starts.iter().any(|start| function.starts_with(start));
    let counts = ["position", "buflen", "pset_len", "dims", "keyval"];
    let is_count = counts.contains(&parameter)
        && (parameter != "keyval" || function.ends_with("free"))
        && (parameter != "dims" || function == "MPI_Dims_create");
    is_taken || is_request || is_count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Routine {
        routines().into_iter().find(|routine| routine.name == name).expect("a routine")
    }

    fn flows(name: &str) -> Vec<Flow> {
        find(name).arguments.iter().map(|argument| argument.flow).collect()
    }

    #[test]
    fn which_routines_there_are() {
        let all = routines();
        assert!(all.iter().all(|routine| !routine.name.starts_with("MPI_T_")));
        let has = |name: &str| all.iter().any(|routine| routine.name == name);
        assert!(has("MPI_Send") && has("MPI_Send_c") && has("MPI_Abi_get_version"));
        assert!(has("MPI_Op_create_c") && has("MPI_Type_create_hvector_c"));
        // Nothing but the kind of an address would differ.
        assert!(!has("MPI_Type_get_extent_c") && !has("MPI_Type_create_resized_c"));
        assert!(!has("MPI_Comm_toint"));
    }

    #[test]
    fn what_arguments_are() {
        use Flow::{In, InOut, Out};
        assert_eq!(flows("MPI_Send"), [In; 6]);
        assert_eq!(flows("MPI_Irecv"), [InOut, In, In, In, In, In, Out]);
        assert_eq!(flows("MPI_Waitany"), [In, InOut, Out, Out]);
        assert_eq!(flows("MPI_Comm_free"), [InOut]);
        assert_eq!(flows("MPI_Comm_split"), [In, In, In, Out]);
        assert_eq!(flows("MPI_Mrecv"), [InOut, In, In, InOut, Out]);
        assert_eq!(flows("MPI_Mprobe"), [In, In, In, Out, Out]);
        assert_eq!(flows("MPI_Comm_set_attr"), [In; 3]);
        assert_eq!(flows("MPI_Comm_get_attr"), [In, In, Out, Out]);
        assert_eq!(flows("MPI_Dims_create"), [In, In, InOut]);
        assert_eq!(flows("MPI_Cart_get"), [In, In, Out, Out, Out]);
        assert_eq!(find("MPI_Init").arguments.len(), 0);
        assert_eq!(find("MPI_Cart_create").arguments[3].kind, Kind::Logical);
        assert_eq!(find("MPI_Graph_create").arguments[2].kind, Kind::Integer);
        assert_eq!(find("MPI_Testsome").arguments[3].kind, Kind::Index);
        assert_eq!(find("MPI_Attr_put").arguments[2].kind, Kind::Integer);
    }
}
