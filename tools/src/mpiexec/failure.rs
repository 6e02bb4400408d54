// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mpiexec says before anything was started: one error, its help lines, an exit code.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::fmt;

/// Exit code of a command line that makes no sense.
pub const CODE_USAGE: u8 = 2;
/// Exit code of a program that exists but cannot be executed.
pub const CODE_NOT_EXECUTABLE: u8 = 126;
/// Exit code of a program that does not exist.
pub const CODE_NOT_FOUND: u8 = 127;
/// Exit code of a job that was ended by its time limit.
pub const CODE_TIMEOUT: u8 = 124;

/// An error that keeps the job from starting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence: what is wrong.
    pub text: String,
    /// What to do about it.
    pub help: Vec<String>,
    /// The exit code of mpiexec.
    pub code: u8,
}

impl Failure {
    /// A command line that makes no sense.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), help: Vec::new(), code: CODE_USAGE }
    }

    /// Any other failure.
    pub fn with_code(code: u8, text: impl Into<String>) -> Failure {
        Failure { text: text.into(), help: Vec::new(), code }
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Failure {
        self.help.push(line.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.text)?;
        for line in &self.help {
            write!(f, "\n  help: {line}")?;
        }
        Ok(())
    }
}
