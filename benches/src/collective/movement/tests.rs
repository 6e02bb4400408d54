// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Each movement is played by its definition, with plain copies and sums; then every byte that
//! was received is spoilt in turn, which must be seen.

use super::*;
use crate::benchmark::{Case, Pass};
use crate::mpi::World;
use crate::options::{Options, Root};

const RANKS: usize = 3;
const ROOT: usize = 1;
const SIZE: usize = 40;
const ALL: [Movement; 9] =
    [Broadcast, Gossip, Exchange, Gather, Scatter, SumForAll, SumForRoot, SumShared, SumBlocks];

fn calls(movement: Movement) -> Vec<Call> {
    let options = Options { root: Root::Fixed(ROOT), ..Options::default() };
    let datatype = if movement.sums() { Type::Int } else { Type::Char };
    let case =
        Case { size: SIZE, datatype, window: 1, iterations: 1, warmup: 0, pass: Pass::Validated };
    let call = |rank| Call::new(movement, &World::unstarted(rank, RANKS), &options, &case);
    (0..RANKS).map(call).collect()
}

/// The sums of all contributions, element by element.
fn sums(sent: &[Vec<u8>]) -> Vec<u8> {
    let element =
        |bytes: &[u8], at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let sum = |at: usize| sent.iter().map(|bytes| element(bytes, at)).sum::<i32>();
    (0..SIZE).step_by(4).flat_map(|at| sum(at).to_ne_bytes()).collect()
}

/// What rank `rank` receives, by the definition of the operation.
fn definition(movement: Movement, sent: &[Vec<u8>], rank: usize) -> Option<Vec<u8>> {
    let block = |from: usize, to: usize| sent[from][to * SIZE..][..SIZE].to_vec();
    let share = |first: usize, count: usize| sums(sent)[first * 4..][..count * 4].to_vec();
    match movement {
        Gossip => Some(sent.concat()),
        Gather => (rank == ROOT).then(|| sent.concat()),
        Exchange => Some((0..RANKS).flat_map(|from| block(from, rank)).collect()),
        Scatter => Some(block(ROOT, rank)),
        SumForAll => Some(sums(sent)),
        SumForRoot => (rank == ROOT).then(|| sums(sent)),
        // Ten elements among three ranks: 4, 3, 3, or three times 3.
        SumShared => Some([share(0, 4), share(4, 3), share(7, 3)][rank].clone()),
        SumBlocks => Some(share(rank * 3, 3)),
        None | Broadcast => Option::None,
    }
}

/// Fills all calls and moves the bytes.
fn play(movement: Movement, round: u64) -> Vec<Call> {
    let mut calls = calls(movement);
    calls.iter_mut().for_each(|call| call.fill(round));
    let sent: Vec<Vec<u8>> = calls.iter().map(|call| call.send.bytes().to_vec()).collect();
    if movement == Broadcast {
        let bytes = calls[ROOT].receive.bytes().to_vec();
        calls.iter_mut().for_each(|call| call.receive.bytes_mut().copy_from_slice(&bytes));
        return calls;
    }
    for (rank, call) in calls.iter_mut().enumerate() {
        if let Some(bytes) = definition(movement, &sent, rank) {
            call.receive.bytes_mut().copy_from_slice(&bytes);
        }
    }
    calls
}

#[test]
fn what_the_definition_gives_is_right() {
    for movement in ALL {
        for (rank, call) in play(movement, 3).iter().enumerate() {
            assert!(call.holds(3), "{movement:?} at rank {rank}");
        }
    }
}

#[test]
fn before_the_operation_nothing_is_right() {
    for movement in ALL {
        let mut calls = calls(movement);
        calls.iter_mut().for_each(|call| call.fill(3));
        let content = calls.iter().filter(|call| !call.holds(3)).count();
        let receivers = match movement {
            Broadcast => RANKS - 1,
            Gather | SumForRoot => 1,
            _ => RANKS,
        };
        assert_eq!(content, receivers, "{movement:?}");
    }
}

#[test]
fn every_wrong_byte_is_seen() {
    for movement in ALL {
        for mut call in play(movement, 3) {
            for at in 0..call.receive.bytes().len() {
                call.receive.bytes_mut()[at] ^= 0x10;
                assert!(!call.holds(3), "{movement:?}, byte {at}");
                call.receive.bytes_mut()[at] ^= 0x10;
            }
        }
    }
}

#[test]
fn the_bytes_of_another_round_are_wrong() {
    for movement in ALL {
        let right = play(movement, 4).iter().filter(|call| call.holds(3)).count();
        let bystanders = if matches!(movement, Gather | SumForRoot) { RANKS - 1 } else { 0 };
        assert_eq!(right, bystanders, "{movement:?}");
    }
}
