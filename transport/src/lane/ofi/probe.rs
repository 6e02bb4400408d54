// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What libfabric can do on this machine, by doing it, provider by provider.

use super::OfiPort;
use super::library::Library;
use super::objects::Objects;
pub use super::provider::is_hardware;
use super::provider::{self, Wanted};
use crate::error::Result;
use crate::lane::fabric::probe::{Works, try_ports};

/// Version of libfabric, and its providers of reliable messages, the best first.
///
/// # Errors
/// libfabric cannot be opened, or has no provider at all.
pub fn providers() -> Result<(String, Vec<String>)> {
    let library = Library::open()?;
    Ok((library.version_text(), provider::names(library)?))
}

/// Tries a provider. One that is broken may crash this process.
///
/// # Errors
/// What it could not do, in words.
pub fn try_provider(name: &str) -> Result<Works> {
    let library = Library::open()?;
    let wanted = Wanted { provider: Some(name.to_owned()), ..Wanted::default() };
    try_ports(|| OfiPort::new(Objects::open(library, &wanted)?))
}
