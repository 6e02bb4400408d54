// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `STRAIT_LANES`: which lanes may be used.
#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};

/// The names of a list of lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowed {
    /// Shared memory.
    pub shm: bool,
    /// Sockets.
    pub tcp: bool,
    /// libfabric.
    pub ofi: bool,
    /// UCX.
    pub ucx: bool,
}

/// Names that `STRAIT_LANES` knows.
const NAMES: [&str; 5] = ["shm", "ucx", "ofi", "tcp", "self"];

impl Allowed {
    /// All lanes.
    pub const ALL: Allowed = Allowed { shm: true, tcp: true, ofi: true, ucx: true };

    /// From the environment; unset or empty allows all.
    pub fn from_environment() -> Result<Allowed> {
        match std::env::var("STRAIT_LANES") {
            Ok(list) => Allowed::parse(&list),
            Err(std::env::VarError::NotPresent) => Ok(Allowed::ALL),
            Err(_) => Err(Error::new(Kind::Config("STRAIT_LANES is not text".to_owned()))),
        }
    }

    /// From a list such as `shm,tcp`.
    pub fn parse(list: &str) -> Result<Allowed> {
        if list.trim().is_empty() {
            return Ok(Allowed::ALL);
        }
        let mut allowed = Allowed { shm: false, tcp: false, ofi: false, ucx: false };
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "shm" => allowed.shm = true,
                "tcp" => allowed.tcp = true,
                "ofi" => allowed.ofi = true,
                "ucx" => allowed.ucx = true,
                "self" => {}
                _ => return Err(unknown(name)),
            }
        }
        Ok(allowed)
    }
}

#[cold]
fn unknown(name: &str) -> Error {
    let known = NAMES.join(", ");
    let near = NAMES.iter().find(|known| {
        let common = name.chars().filter(|c| known.contains(*c)).count();
        name.contains(*known) || known.contains(name) || (common >= 2 && name.len() <= 4)
    });
    let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    Error::new(Kind::Config(format!(
        "STRAIT_LANES names an unknown lane \"{name}\" (known are {known}){hint}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_lanes() {
        assert_eq!(Allowed::parse("").expect("empty"), Allowed::ALL);
        assert_eq!(Allowed::parse("shm, tcp,self,ofi,ucx").expect("all"), Allowed::ALL);
        let only = Allowed::parse("tcp").expect("one");
        assert_eq!(only, Allowed { shm: false, tcp: true, ofi: false, ucx: false });
        let error = Allowed::parse("smh").expect_err("unknown").to_string();
        assert!(error.contains("smh") && error.contains("did you mean \"shm\""), "{error}");
        let error = Allowed::parse("infiniband").expect_err("unknown").to_string();
        assert!(error.contains("known are shm, ucx, ofi, tcp, self"), "{error}");
    }
}
