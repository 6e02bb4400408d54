// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the table of constants of both ABIs.

const TABLE: &str = include_str!("../data/constants.txt");

/// A value in one ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The ABI has no such name.
    Absent,
    /// The address of a symbol of the library.
    Address,
    /// A number (a handle's bits are taken as unsigned).
    Number(i64),
}

impl Value {
    /// The number, if it is one.
    pub fn number(self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(number),
            Value::Absent | Value::Address => None,
        }
    }
}

/// One constant.
#[derive(Clone, Debug)]
pub struct Constant {
    /// Its C name.
    pub name: &'static str,
    /// Its kind: `handle:Comm`, `error`, `int`...
    pub kind: &'static str,
    /// Its value in the MPICH ABI.
    pub mpich: Value,
    /// Its value in the standard ABI.
    pub standard: Value,
}

/// The whole table.
pub fn constants() -> Vec<Constant> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(row).collect()
}

fn row(line: &'static str) -> Constant {
    let words: Vec<&'static str> = line.split_whitespace().collect();
    let [name, kind, mpich, standard] = words[..] else { panic!("not four columns: {line}") };
    Constant { name, kind, mpich: value(mpich), standard: value(standard) }
}

fn value(text: &str) -> Value {
    match text {
        "-" => Value::Absent,
        "address" => Value::Address,
        _ => {
            let number = match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            Value::Number(number.unwrap_or_else(|_| panic!("not a number: {text}")))
        }
    }
}
