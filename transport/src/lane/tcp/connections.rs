// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All connections of a lane, by names that find nothing once their connection is gone.
#![forbid(unsafe_code)]

use super::connection::Connection;

/// Names a connection; stale names find nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    /// As a token of the poller.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From a token.
    pub fn from_token(token: u64) -> ConnectionId {
        ConnectionId { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// All connections of a lane.
#[derive(Default)]
pub struct Connections {
    slots: Vec<(u32, Option<Connection>)>,
    free: Vec<u32>,
}

impl Connections {
    /// Adds one.
    pub fn insert(&mut self, make: impl FnOnce(ConnectionId) -> Connection) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        // The lane's own tokens have all bits of the generation set: it stays below.
        slot.0 = (slot.0 + 1) % (u32::MAX - 1);
        let id = ConnectionId { index, generation: slot.0 };
        slot.1 = Some(make(id));
        id
    }

    /// Finds one.
    #[inline]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        match self.slots.get_mut(id.index as usize) {
            Some((generation, connection)) if *generation == id.generation => connection.as_mut(),
            _ => None,
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let removed = match self.slots.get_mut(id.index as usize) {
            Some((generation, connection)) if *generation == id.generation => connection.take(),
            _ => None,
        };
        if removed.is_some() {
            self.free.push(id.index);
        }
        removed
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|(_, connection)| connection.as_ref())
    }

    /// The names of all of them.
    pub fn ids(&self) -> Vec<ConnectionId> {
        self.iter().map(|connection| connection.id).collect()
    }
}
