// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What UCX can do on this machine, by doing it.

use super::UcxPort;
use super::library::Library;
use super::objects::{Objects, Wanted};
use crate::error::Result;
use crate::lane::fabric::probe::{Works, try_ports};

/// Version of UCX.
///
/// # Errors
/// It cannot be opened.
pub fn version() -> Result<String> {
    Ok(Library::open()?.version_text())
}

/// Tries some of UCX's transports, by UCX's names.
///
/// # Errors
/// What it could not do, in words.
pub fn try_transports(names: &str) -> Result<Works> {
    let library = Library::open()?;
    let settings = vec![("TLS".to_owned(), names.to_owned())];
    let wanted = Wanted { settings, size: 2 };
    try_ports(|| UcxPort::new(Objects::open(library, &wanted)?, false))
}
