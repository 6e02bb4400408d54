// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Error classes, codes and strings that users add (MPI-5.0 section 9.5). Numbers above
//! MPI_ERR_LASTCODE; both faces show the same offset above their own LASTCODE.

use crate::error::class::LASTCODE;
use std::collections::BTreeMap;

/// What users added.
#[derive(Default, Debug)]
pub struct UserErrors {
    /// Code -> class (a class is its own class).
    classes: BTreeMap<i32, i32>,
    strings: BTreeMap<i32, String>,
    next: i32,
}

impl UserErrors {
    fn allocate(&mut self, class: Option<i32>) -> i32 {
        self.next += 1;
        let code = LASTCODE + self.next;
        self.classes.insert(code, class.unwrap_or(code));
        code
    }

    /// A new class.
    pub fn add_class(&mut self) -> i32 {
        self.allocate(None)
    }

    /// A new code of a class.
    pub fn add_code(&mut self, class: i32) -> i32 {
        self.allocate(Some(class))
    }

    /// Its class, if a user added it.
    pub fn class_of(&self, code: i32) -> Option<i32> {
        self.classes.get(&code).copied()
    }

    /// Sets its text.
    pub fn set_string(&mut self, code: i32, text: &str) {
        self.strings.insert(code, text.to_string());
    }

    /// Its text.
    pub fn string(&self, code: i32) -> Option<&str> {
        self.strings.get(&code).map(String::as_str)
    }

    /// Whether the number is a class that a user added.
    pub fn is_class(&self, code: i32) -> bool {
        self.classes.get(&code) == Some(&code)
    }

    /// Whether any code belongs to this class (then it cannot be removed).
    pub fn has_codes(&self, class: i32) -> bool {
        self.classes.iter().any(|(&code, &of)| of == class && code != class)
    }

    /// Removes a class, code, or only its text.
    pub fn remove(&mut self, code: i32) {
        self.classes.remove(&code);
        self.strings.remove(&code);
    }

    /// Removes the text.
    pub fn remove_string(&mut self, code: i32) -> bool {
        self.strings.remove(&code).is_some()
    }

    /// The largest code in use (MPI_LASTUSEDCODE).
    pub fn last_used(&self) -> i32 {
        self.classes.keys().next_back().copied().unwrap_or(LASTCODE)
    }
}
