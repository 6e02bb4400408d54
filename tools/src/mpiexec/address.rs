// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which address of this host the others reach: asked of the kernel's routes, which know of bridges
//! of containers, tunnels and links that are down.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};

/// The address that the kernel would use to reach one of these hosts. No packet is sent.
pub fn towards(others: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    others.iter().filter(|other| !other.is_loopback()).find_map(|other| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((*other, 9)).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(address) if !address.is_loopback() && address != *other => Some(address),
            _ => None,
        }
    })
}

/// The first address of a host that is not this host's loopback.
pub fn of_host(name: &str) -> Option<Ipv4Addr> {
    let name = name.rsplit_once('@').map_or(name, |(_, host)| host);
    let found = (name, 0).to_socket_addrs().ok()?;
    found
        .filter_map(|socket| match socket.ip() {
            IpAddr::V4(address) if !address.is_loopback() => Some(address),
            _ => None,
        })
        .next()
}
