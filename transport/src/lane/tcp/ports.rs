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

    /// All of them once, beginning somewhere: ranks of a host that begin at different places seldom
    /// meet.
    pub fn from(self, somewhere: u16) -> impl Iterator<Item = u16> {
        let count = u32::from(self.last - self.first) + 1;
        let begin = u32::from(somewhere) % count;
        (0..count).map(move |at| self.first + ((begin + at) % count) as u16)
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
        for wrong in ["", "x", "9-8", "0", "5-70000", "5000-"] {
            let error = Ports::parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains("STRAIT_TCP_PORTS") && error.contains("5000-5100"), "{error}");
        }
    }
}
