// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the function tables: one C prototype per line under a `[chapter]`.
//!
//! The grammar is the small subset of C that the two files use: an optional `const`, one type word,
//! stars, a name, and `[]` or `[][3]`. Anything else panics, since the tables are ours.

use std::collections::BTreeMap;

const STANDARD: &str = include_str!("../data/functions.txt");
const EXTRA: &str = include_str!("../data/mpich-extra.txt");
const EXTENSIONS: &str = include_str!("../data/fault.txt");

/// A C type, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// The type word: `int`, `void`, `MPI_Comm`...
    pub word: String,
    /// Whether what is pointed to (or the scalar) is const.
    pub constant: bool,
    /// Levels of pointers that are written as stars.
    pub stars: usize,
    /// What follows the name.
    pub array: Array,
}

/// The array suffix of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Array {
    /// None.
    No,
    /// `[]`
    Open,
    /// `[][3]`
    Triples,
}

impl Type {
    /// Levels of indirection, arrays included.
    pub fn depth(&self) -> usize {
        self.stars + usize::from(self.array != Array::No)
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its type.
    pub kind: Type,
    /// Its name.
    pub name: String,
}

/// One function.
#[derive(Clone, Debug)]
pub struct Function {
    /// The C name.
    pub name: String,
    /// The chapter that it is listed under.
    pub chapter: String,
    /// The result.
    pub result: Type,
    /// The parameters; `...` is not one of them.
    pub parameters: Vec<Parameter>,
    /// Whether `...` follows.
    pub variadic: bool,
    /// Name of the generic body: without `_c` if the twin shares it.
    pub body: String,
    /// Per parameter: whether it differs between the function and its sharing twin.
    pub differs: Vec<bool>,
    /// The prototype as the table has it.
    pub text: String,
}

/// The functions of the standard ABI.
pub fn standard_functions() -> Vec<Function> {
    with_twins(parse(STANDARD))
}

/// Extensions that both faces export beyond them.
pub fn extension_functions() -> Vec<Function> {
    with_twins(parse(EXTENSIONS))
}

/// What the MPICH face exports beyond them.
pub fn extra_functions() -> Vec<Function> {
    with_twins(parse(EXTRA))
}

fn parse(table: &str) -> Vec<Function> {
    let mut chapter = String::new();
    let mut functions = Vec::new();
    for line in table.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            chapter = name.to_string();
        } else {
            functions.push(parse_line(line, &chapter));
        }
    }
    functions
}

fn parse_line(line: &str, chapter: &str) -> Function {
    let (head, tail) = line.split_once('(').unwrap_or_else(|| panic!("no parameters: {line}"));
    let list = tail.strip_suffix(')').unwrap_or_else(|| panic!("no end: {line}"));
    let Parameter { kind: result, name } = parse_parameter(head);
    let mut variadic = false;
    let mut parameters = Vec::new();
    for text in list.split(", ") {
        match text {
            "void" => {}
            "..." => variadic = true,
            _ => parameters.push(parse_parameter(text)),
        }
    }
    let differs = vec![false; parameters.len()];
    Function {
        body: name.clone(),
        name,
        chapter: chapter.to_string(),
        result,
        parameters,
        variadic,
        differs,
        text: line.to_string(),
    }
}

fn parse_parameter(text: &str) -> Parameter {
    let (text, array) = match (text.strip_suffix("[][3]"), text.strip_suffix("[]")) {
        (Some(rest), _) => (rest, Array::Triples),
        (None, Some(rest)) => (rest, Array::Open),
        (None, None) => (text, Array::No),
    };
    let (text, constant) = match text.strip_prefix("const ") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (word, rest) = text.split_once(' ').unwrap_or_else(|| panic!("no name: {text}"));
    let name = rest.trim_start_matches('*');
    let is_word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_alphanumeric() || c == '_');
    assert!(is_word(word) && is_word(name), "unknown form of a parameter: {text}");
    let kind = Type { word: word.to_string(), constant, stars: rest.len() - name.len(), array };
    Parameter { kind, name: name.to_string() }
}

/// Twins that look alike but must be told apart: a type that was made by one of these reports its
/// arguments as large counts, and no parameter that differs is an array whose form would show it.
const TOLD_APART: [&str; 5] = [
    "MPI_Type_contiguous",
    "MPI_Type_create_hindexed_block",
    "MPI_Type_create_hvector",
    "MPI_Type_create_resized",
    "MPI_Type_vector",
];

/// Finds the pairs that share a body.
fn with_twins(mut functions: Vec<Function>) -> Vec<Function> {
    let index: BTreeMap<String, usize> =
        functions.iter().enumerate().map(|(i, f)| (f.name.clone(), i)).collect();
    for large in 0..functions.len() {
        let name = functions[large].name.strip_suffix("_c");
        let name = name.filter(|name| !TOLD_APART.contains(name));
        let Some(small) = name.and_then(|name| index.get(name)) else {
            continue;
        };
        if let Some(differs) = compare(&functions[*small], &functions[large]) {
            functions[*small].differs = differs.clone();
            functions[large].differs = differs;
            functions[large].body = functions[*small].name.clone();
        }
    }
    functions
}

fn compare(small: &Function, large: &Function) -> Option<Vec<bool>> {
    if small.parameters.len() != large.parameters.len() {
        return None;
    }
    let pairs = small.parameters.iter().zip(&large.parameters);
    pairs
        .map(|(s, l)| {
            let same_shape = Type { word: l.kind.word.clone(), ..s.kind.clone() } == l.kind;
            match (s.kind.word.as_str(), l.kind.word.as_str()) {
                _ if !same_shape => None,
                (a, b) if a == b => Some(false),
                ("int", "MPI_Count" | "MPI_Aint") | ("MPI_Aint", "MPI_Count") => Some(true),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_functions() {
        let functions = standard_functions();
        assert_eq!(functions.len(), 664);
        assert_eq!(functions.iter().filter(|f| f.name.ends_with("_c")).count(), 161);
        assert_eq!(functions.iter().filter(|f| f.name.starts_with("MPI_T_")).count(), 51);
    }

    #[test]
    fn only_the_known_twins_do_not_share() {
        let all = standard_functions();
        let own: Vec<_> =
            all.iter().filter(|f| f.name.ends_with("_c") && f.body == f.name).collect();
        let names: Vec<_> = own.iter().map(|f| f.name.as_str()).collect();
        let expected = [
            "MPI_Op_create_c",
            "MPI_Register_datarep_c",
            "MPI_Type_contiguous_c",
            "MPI_Type_create_hindexed_block_c",
            "MPI_Type_create_hvector_c",
            "MPI_Type_create_resized_c",
            "MPI_Type_get_contents_c",
            "MPI_Type_get_envelope_c",
            "MPI_Type_vector_c",
        ];
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn no_name_twice() {
        let mut names: Vec<_> =
            standard_functions().into_iter().chain(extra_functions()).map(|f| f.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
