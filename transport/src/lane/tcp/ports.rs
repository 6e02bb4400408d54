// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which ports a rank may listen on: any, or those that a firewall lets through.
#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};

/// The variable.
const ENV_PORTS: &str = "STRAIT_TCP_PORTS";

/// A range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// What the kernel chooses.
    pub const ANY: Ports = Ports { first: 0, last: 0 };

    /// From the variable.
    ///
    /// # Errors
    /// It is no range.
    pub fn from_environment() -> Result<Ports> {
        crate::config::text("TCP_PORTS")?.map_or(Ok(Ports::ANY), |text| Ports::parse(&text))
    }

    /// From `5000-5100`, or one port.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Ports> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Ports { first, last }),
            _ => Err(Error::new(Kind::Config(format!(
                "{ENV_PORTS} is `{text}`, which is no range of ports such as 5000-5100"
            )))),
        }
    }

    /// The variable, for launchers.
    pub const VARIABLE: &str = ENV_PORTS;

    /// All of them once, beginning somewhere: ranks of a host that begin at different places seldom
    /// meet.
    pub fn from(self, somewhere: u16) -> impl Iterator<Item = u16> {
        let count = u32::from(self.last - self.first) + 1;
        let begin = u32::from(somewhere) % count;
        (0..count).map(move |at| self.first + ((begin + at) % count) as u16)
    }

    /// Whether there are so many.
    ///
    /// # Errors
    /// There are fewer.
    pub fn check_room(self, wanted: u32, whom: &str) -> Result<()> {
        let count = u32::from(self.last - self.first) + 1;
        if count >= wanted {
            return Ok(());
        }
        Err(Error::new(Kind::Config(format!(
            "{ENV_PORTS} has {count} ports, {self}, and this host needs {wanted}: for {whom}"
        ))))
    }

    /// That none of them is free.
    #[cold]
    pub fn all_taken(self, ip: std::net::Ipv4Addr) -> Error {
        Error::new(Kind::Config(format!(
            "none of the ports {}-{} is free on {ip}: each rank of a host listens on one; make \
             {ENV_PORTS} wider",
            self.first, self.last
        )))
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_walked_through() {
        let ports = Ports::parse("5000-5003").expect("a range");
        assert_eq!(ports.from(6).collect::<Vec<_>>(), [5002, 5003, 5000, 5001]);
        assert_eq!(Ports::parse(" 7 ").expect("one").from(9).collect::<Vec<_>>(), [7]);
        assert_eq!(Ports::ANY.from(1234).collect::<Vec<_>>(), [0]);
        assert_eq!(Ports::parse("1-65535").expect("all").from(65535).count(), 65535);
        assert!(ports.check_room(4, "ranks").is_ok());
        let error = ports.check_room(5, "ranks").expect_err("four are there").to_string();
        assert!(error.contains("has 4 ports, 5000-5003, and this host needs 5"), "{error}");
        for wrong in ["", "x", "9-8", "0", "5-70000", "5000-"] {
            let error = Ports::parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains("STRAIT_TCP_PORTS") && error.contains("5000-5100"), "{error}");
        }
    }
}
