// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The names of ports, as mpiexec keeps them for its jobs, and a process alone for itself
//! (MPI-5.0 section 11.9.4).
#![forbid(unsafe_code)]

use std::collections::HashMap;

/// Names at a time; more are a program that forgets to unpublish.
const NAMES_MAX: usize = 10_000;

/// Service name -> port name.
#[derive(Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// Does what [`super::contract::Ask::Names`] describes, and gives the answer.
    pub fn serve(&mut self, words: &[&str]) -> Vec<String> {
        let answer: &[&str] = match words {
            ["publish", name, _] if self.0.contains_key(*name) => &["none"],
            ["publish", ..] if self.0.len() >= NAMES_MAX => {
                &["failed", "too many names are published: unpublish some"]
            }
            ["publish", name, port] => {
                self.0.insert((*name).to_owned(), (*port).to_owned());
                &["ok"]
            }
            ["unpublish", name, port] => match self.0.get(*name).map(String::as_str) == Some(*port)
            {
                true => {
                    self.0.remove(*name);
                    &["ok"]
                }
                false => &["none"],
            },
            ["lookup", name] => match self.0.get(*name) {
                Some(port) => return vec!["ok".to_owned(), port.clone()],
                None => &["none"],
            },
            _ => &["failed", "mpiexec is of another version than the library"],
        };
        answer.iter().map(|word| (*word).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_published_once_and_found() {
        let mut names = Names::default();
        assert_eq!(names.serve(&["lookup", "ocean"]), ["none"]);
        assert_eq!(names.serve(&["publish", "ocean", "p1"]), ["ok"]);
        assert_eq!(names.serve(&["publish", "ocean", "p2"]), ["none"]);
        assert_eq!(names.serve(&["lookup", "ocean"]), ["ok", "p1"]);
        assert_eq!(names.serve(&["unpublish", "ocean", "p2"]), ["none"]);
        assert_eq!(names.serve(&["unpublish", "ocean", "p1"]), ["ok"]);
        assert_eq!(names.serve(&["unpublish", "ocean", "p1"]), ["none"]);
        assert_eq!(names.serve(&["sing"])[0], "failed");
    }
}
