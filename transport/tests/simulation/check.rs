// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold at the end of a simulation.

use crate::world::{End, World};

/// MPI's order. For two messages of one sender in one context, A sent before B: a receive that
/// accepts A may get B only if A was matched by a receive posted earlier (or was taken back).
/// And a receive that is still waiting was not passed over by a later one.
pub fn order(world: &World) {
    let messages = &world.messages;
    for (late, b) in messages.iter().enumerate() {
        let Some(rb) = b.got_by else { continue };
        for a in &messages[..late] {
            let same = (a.from, a.to, a.envelope.context) == (b.from, b.to, b.envelope.context);
            // Messages without a number cannot be told apart; a cancelled one is not there.
            if !same || a.data.len() < 8 || a.end == End::Cancelled || a.end == End::Failed {
                continue;
            }
            if !world.receives[rb].pattern.accepts(&a.envelope) {
                continue;
            }
            match a.got_by {
                Some(ra) => assert!(ra < rb, "receive {rb} got a later message than receive {ra}"),
                None => {
                    // Its receive failed with the death of its sender, or was still under way when
                    // the receiver died.
                    let died = world.dead.contains(&a.from) || world.dead.contains(&a.to);
                    assert!(died, "receive {rb} overtook message {late}");
                }
            }
        }
    }
    for (index, waiting) in world.receives.iter().enumerate() {
        // Cancelled at the end of `drain` only, if it is open after that.
        if waiting.end != End::Pending || world.workers[waiting.at as usize].is_none() {
            continue;
        }
        let passed = world.receives[index..].iter().any(|later| {
            let got = later.got.map(|got| messages[got].envelope);
            later.at == waiting.at && got.is_some_and(|envelope| waiting.pattern.accepts(&envelope))
        });
        assert!(!passed, "receive {index} was passed over");
    }
    assert_eq!(world.synchronous_without_receive(), 0, "synchronous sends without a receive");
}

/// Nothing is left anywhere, credit is complete, and the bound was kept.
pub fn balance(world: &mut World) {
    let size = world.workers.len();
    for message in &world.messages {
        let gone = world.dead.contains(&message.to) || world.dead.contains(&message.from);
        let lost = message.got_by.is_none() && message.end == End::Done && message.data.len() >= 8;
        assert!(gone || !lost, "a message from {} to {} is lost", message.from, message.to);
    }
    for a in 0..size {
        let Some(worker) = &world.workers[a] else { continue };
        let counters = worker.counters();
        // A message of the dying may name a request that has failed already.
        assert!(counters.senseless == 0 || !world.dead.is_empty());
        assert_eq!(counters.requests, 0, "{}", worker.pending_summary());
        assert_eq!((counters.posted, counters.unexpected_now), (0, 0));
        assert_eq!((counters.parked, counters.parked_bytes), (0, 0));
        assert!(counters.parked_bytes_most <= size * worker.grant());
        assert!(worker.is_flushed());
        for b in 0..size {
            let Some(other) = &world.workers[b] else { continue };
            let available = worker.credit(strait_transport::envelope::Peer(b as u32)).0;
            let owed = other.credit(strait_transport::envelope::Peer(a as u32)).1;
            assert_eq!(available + owed, worker.grant(), "credit of {a} with {b}");
        }
    }
    for a in 0..size {
        let Some(worker) = &mut world.workers[a] else { continue };
        let mut lost: Vec<u32> = worker.lost().iter().map(|(peer, _)| peer.0).collect();
        let mut dead = world.dead.clone();
        lost.sort_unstable();
        dead.sort_unstable();
        assert_eq!(lost, dead, "losses that worker {a} was told of");
    }
}
