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
    /// Where it listens besides: its other rails, in their order.
    pub others: [Option<SocketAddrV4>; OTHERS_MAX],
}

/// Addresses besides the first.
const OTHERS_MAX: usize = super::rails::RAILS_MAX - 1;
/// Bytes of a blob with one address.
const ADDRESS_BYTES: usize = 24;
/// Bytes that each other one takes: port and address.
const OTHER_BYTES: usize = 6;
/// First byte of a blob: an IPv4 address follows.
const FAMILY_V4: u8 = 4;

impl Address {
    /// One that has no others.
    pub fn new(socket: SocketAddrV4, listener: ListenerId) -> Address {
        Address { socket, listener, others: [None; OTHERS_MAX] }
    }

    /// All addresses, the first first.
    pub fn all(&self) -> impl Iterator<Item = SocketAddrV4> {
        std::iter::once(self.socket).chain(self.others.into_iter().flatten())
    }

    /// To bytes: family, number of others, port, address, listener; port and address of each other.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; ADDRESS_BYTES];
        bytes[0] = FAMILY_V4;
        bytes[2..4].copy_from_slice(&self.socket.port().to_le_bytes());
        bytes[4..8].copy_from_slice(&self.socket.ip().octets());
        bytes[8..24].copy_from_slice(&self.listener);
        for other in self.others.iter().flatten() {
            bytes[1] += 1;
            bytes.extend(other.port().to_le_bytes());
            bytes.extend(other.ip().octets());
        }
        bytes
    }

    /// From bytes; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Address> {
        let (bytes, rest) = bytes.split_first_chunk::<ADDRESS_BYTES>()?;
        let port = u16::from_le_bytes([bytes[2], bytes[3]]);
        let (each, odd) = rest.as_chunks::<OTHER_BYTES>();
        let sound = usize::from(bytes[1]) == each.len() && each.len() <= OTHERS_MAX;
        if bytes[0] != FAMILY_V4 || port == 0 || !sound || !odd.is_empty() {
            return None;
        }
        let mut others = [None; OTHERS_MAX];
        for (other, [low, high, a, b, c, d]) in others.iter_mut().zip(each) {
            let port = u16::from_le_bytes([*low, *high]);
            if port == 0 {
                return None;
            }
            *other = Some(SocketAddrV4::new(Ipv4Addr::new(*a, *b, *c, *d), port));
        }
        let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
        let mut listener = [0; 16];
        listener.copy_from_slice(&bytes[8..24]);
        Some(Address { socket: SocketAddrV4::new(ip, port), listener, others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_trip() {
        let socket = SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 54_321);
        let mut address = Address::new(socket, [7; 16]);
        for count in 0..=OTHERS_MAX {
            let bytes = address.encode();
            assert_eq!(bytes.len(), ADDRESS_BYTES + count * OTHER_BYTES);
            assert_eq!(Address::decode(&bytes), Some(address));
            assert_eq!(Address::decode(&bytes[1..]), None);
            assert_eq!(Address::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(address.all().count(), 1 + count);
            if let Some(next) = address.others.get_mut(count) {
                *next = Some(SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, count as u8), 77));
            }
        }
        assert_eq!(Address::decode(&[0; ADDRESS_BYTES]), None);
    }
}
