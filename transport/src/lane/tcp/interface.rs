// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which address the lane listens on. The only place that decides it.
//!
//! On one host it is 127.0.0.1: no port is open to others. `STRAIT_TCP_INTERFACE` chooses an
//! interface by name (`eth0`), by address (`10.0.0.7`) or by subnet (`10.0.0.0/8`); one that does
//! not exist is an error that lists those that do, never a silent fall back to another.
//!
//! Several of these, separated by commas, are the rails of a pair (rails/). Nothing else makes an
//! interface a rail: bridges of containers and VPNs never become one by themselves.
#![forbid(unsafe_code)]

use super::poll;
use super::rails::RAILS_MAX;
use crate::bootstrap::Job;
use crate::error::{Error, Kind, Result};
use std::net::Ipv4Addr;

/// The variable.
pub const ENV_INTERFACE: &str = "STRAIT_TCP_INTERFACE";

/// An interface that is up and has an IPv4 address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// As the system calls it.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// The address of this host that a job uses; if it uses several, the first.
///
/// # Errors
/// As [`choose`].
pub fn of_job(job: &Job) -> Result<Ipv4Addr> {
    choose(std::env::var(ENV_INTERFACE).ok().as_deref(), job.local_size == job.size)
}

/// All interfaces that a job uses on this host, if it names several.
///
/// # Errors
/// One of them does not exist, is there twice, or they are more than a pair can use.
pub fn several_of_job() -> Result<Vec<Interface>> {
    match std::env::var(ENV_INTERFACE) {
        Ok(wanted) if wanted.contains(',') => several(&wanted, &poll::interfaces()?),
        _ => Ok(Vec::new()),
    }
}

fn several(wanted: &str, interfaces: &[Interface]) -> Result<Vec<Interface>> {
    let mut found: Vec<Interface> = Vec::new();
    for text in wanted.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let interface = find(text, interfaces)?;
        let (name, address) = (&interface.name, interface.address);
        if found.iter().any(|other| other.address == address) {
            return Err(Error::new(Kind::Config(format!(
                "{ENV_INTERFACE} is `{wanted}`, which names {name} ({address}) twice; each part \
                 must be another interface"
            ))));
        }
        found.push(interface);
    }
    if found.len() > RAILS_MAX {
        return Err(Error::new(Kind::Config(format!(
            "{ENV_INTERFACE} is `{wanted}`, which names {} interfaces; at most {RAILS_MAX} can be \
             used at a time",
            found.len()
        ))));
    }
    Ok(found)
}

/// The name of the interface with this address.
pub fn name_of(address: Ipv4Addr) -> Option<String> {
    let all = poll::interfaces().ok()?;
    all.into_iter().find(|interface| interface.address == address).map(|interface| interface.name)
}

/// The address to listen on. `wanted` is the variable's value; `one_host` whether all processes of
/// the job run here.
///
/// # Errors
/// Nothing fits; the message lists what exists.
pub fn choose(wanted: Option<&str>, one_host: bool) -> Result<Ipv4Addr> {
    let mut parts = wanted.unwrap_or_default().split(',').map(str::trim);
    match parts.find(|text| !text.is_empty()) {
        None if one_host => Ok(Ipv4Addr::LOCALHOST),
        None => first_outer(&poll::interfaces()?),
        Some(text) => select(text, &poll::interfaces()?),
    }
}

fn first_outer(interfaces: &[Interface]) -> Result<Ipv4Addr> {
    let outer = interfaces.iter().find(|interface| !interface.address.is_loopback());
    outer.map(|interface| interface.address).ok_or_else(|| {
        let found = list(interfaces);
        Error::new(Kind::Config(format!(
            "the job spans several hosts and this one has no network interface that is up and has \
             an IPv4 address, except {found}"
        )))
    })
}

fn select(text: &str, interfaces: &[Interface]) -> Result<Ipv4Addr> {
    find(text, interfaces).map(|interface| interface.address)
}

fn find(text: &str, interfaces: &[Interface]) -> Result<Interface> {
    let fits = |interface: &&Interface| match subnet(text) {
        Some((network, bits)) => masked(interface.address, bits) == masked(network, bits),
        None => interface.name == text,
    };
    interfaces.iter().find(fits).cloned().ok_or_else(|| {
        let found = list(interfaces);
        Error::new(Kind::Config(format!(
            "{ENV_INTERFACE} is `{text}`, and no interface of this host that is up has that name, \
             address or subnet. There are: {found}"
        )))
    })
}

/// `10.0.0.0/8` or `10.0.0.7` (which is a subnet of one).
fn subnet(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok().filter(|bits| *bits <= 32)?),
        None => (text, 32),
    };
    Some((address.parse().ok()?, bits))
}

fn masked(address: Ipv4Addr, bits: u32) -> u32 {
    u32::from(address) & u32::MAX.checked_shl(32 - bits).unwrap_or(0)
}

fn list(interfaces: &[Interface]) -> String {
    let each = interfaces.iter().map(|each| format!("{} ({})", each.name, each.address));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Interface> {
        let interface = |name: &str, address| Interface { name: name.into(), address };
        vec![
            interface("lo", Ipv4Addr::LOCALHOST),
            interface("eth0", Ipv4Addr::new(10, 1, 2, 3)),
            interface("ib0", Ipv4Addr::new(192, 168, 7, 1)),
        ]
    }

    #[test]
    fn names_addresses_and_subnets_select() {
        let ib0 = Ipv4Addr::new(192, 168, 7, 1);
        for text in ["ib0", "192.168.7.1", "192.168.0.0/16", "192.168.7.77/24"] {
            assert_eq!(select(text, &some()).expect(text), ib0);
        }
        assert_eq!(select("0.0.0.0/0", &some()).expect("any"), Ipv4Addr::LOCALHOST);
        assert_eq!(first_outer(&some()).expect("eth0"), Ipv4Addr::new(10, 1, 2, 3));
    }

    #[test]
    fn an_unknown_one_is_an_error_that_lists_what_exists() {
        for text in ["eth1", "10.1.2.4", "172.16.0.0/12", "10.0.0.0/33", "ib"] {
            let error = select(text, &some()).expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("eth0 (10.1.2.3)"), "{error}");
        }
        assert!(first_outer(&some()[..1]).is_err());
    }

    #[test]
    fn several_are_found_in_their_order_and_none_twice() {
        let found = several("ib0, eth0", &some()).expect("both");
        assert_eq!(found.iter().map(|each| &*each.name).collect::<Vec<_>>(), ["ib0", "eth0"]);
        assert_eq!(several("eth0,", &some()).expect("one").len(), 1);
        for wrong in ["eth0,eth1", "eth0,10.0.0.0/8"] {
            let error = several(wrong, &some()).expect_err(wrong).to_string();
            assert!(error.contains("eth0 (10.1.2.3)"), "{error}");
        }
        let many: Vec<Interface> = (0..5)
            .map(|at| Interface { name: format!("n{at}"), address: Ipv4Addr::new(10, 0, 0, at) })
            .collect();
        let error = several("n0,n1,n2,n3,n4", &many).expect_err("five").to_string();
        assert!(error.contains("names 5 interfaces; at most 4"), "{error}");
    }

    #[test]
    fn one_host_means_loopback_and_the_system_knows_it() {
        assert_eq!(choose(None, true).expect("loopback"), Ipv4Addr::LOCALHOST);
        assert_eq!(choose(Some("127.0.0.0/8"), false).expect("lo"), Ipv4Addr::LOCALHOST);
        assert!(choose(Some("no such interface"), true).is_err());
    }
}
