// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The address blob of the TCP lane.
#![forbid(unsafe_code)]

use super::auth::ListenerId;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where a process listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Address and port.
    pub socket: SocketAddrV4,
    /// Random name of this listener; hellos are bound to it.
    pub listener: ListenerId,
}

/// Bytes of an address blob.
pub const ADDRESS_BYTES: usize = 24;
/// First byte of a blob: an IPv4 address follows.
const FAMILY_V4: u8 = 4;

impl Address {
    /// To bytes: family, zero, port, address, listener.
    pub fn encode(&self) -> [u8; ADDRESS_BYTES] {
        let mut bytes = [0; ADDRESS_BYTES];
        bytes[0] = FAMILY_V4;
        bytes[2..4].copy_from_slice(&self.socket.port().to_le_bytes());
        bytes[4..8].copy_from_slice(&self.socket.ip().octets());
        bytes[8..24].copy_from_slice(&self.listener);
        bytes
    }

    /// From bytes; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Address> {
        let bytes: &[u8; ADDRESS_BYTES] = bytes.try_into().ok()?;
        let port = u16::from_le_bytes([bytes[2], bytes[3]]);
        if bytes[0] != FAMILY_V4 || bytes[1] != 0 || port == 0 {
            return None;
        }
        let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
        let mut listener = [0; 16];
        listener.copy_from_slice(&bytes[8..24]);
        Some(Address { socket: SocketAddrV4::new(ip, port), listener })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_trip() {
        let socket = SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 54_321);
        let address = Address { socket, listener: [7; 16] };
        assert_eq!(Address::decode(&address.encode()), Some(address));
        assert_eq!(Address::decode(&[0; ADDRESS_BYTES]), None);
        assert_eq!(Address::decode(&address.encode()[1..]), None);
    }
}
