// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;

fn plan(local_size: u32) -> NodePlan {
    NodePlan { job: [1; 16], key: [2; 32], size: local_size, first_local_rank: 0, local_size }
}

#[test]
fn two_mappings_see_the_same_memory() {
    let a = Node::create(&plan(3)).unwrap();
    let b = Node::open(a.descriptor().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(b.plan(), plan(3));
    assert!(a.request_abort(2, -7));
    assert!(!b.request_abort(1, 1));
    assert_eq!(b.abort_requested(), Some((2, -7)));
    a.register_call_names(&["MPI_Send", "MPI_Recv"]);
    b.register_call_names(&["wrong"]);
    assert_eq!(b.call_name(2).as_deref(), Some("MPI_Recv"));
    assert_eq!(b.call_name(0), None);
    assert_eq!(b.call_name(3), None);
    assert_eq!(b.call_name(u32::MAX), None);
    a.record(1).publish_call(2);
    assert_eq!(b.record(1).call(), CallSample { call: 2, count: 1 });
    assert_eq!(b.record(1).lost_in(), 0);
    a.record(1).note_loss_in(2);
    a.record(1).note_loss_in(3);
    assert_eq!(b.record(1).lost_in(), 2);
    let long = "ä".repeat(2000);
    a.record(2).leave_report(&long);
    a.record(2).leave_report("second");
    assert_eq!(b.record(2).report().unwrap(), long[..REPORT_BYTES_MAX]);
    assert_eq!(b.record(0).report(), None);
    assert_eq!(b.record(0).address(), None);
    a.record(0).publish_address(b"there");
    assert_eq!(b.record(0).address().unwrap(), b"there");
    a.announce_loss(2);
    assert!(b.losses() == 1 && b.record(2).is_lost() && !b.record(1).is_lost());
}

#[test]
fn a_record_has_one_owner() {
    let node = Node::create(&plan(1)).unwrap();
    assert_eq!(node.record(0).claim(), Claim::Won);
    assert_eq!(node.record(0).claim(), Claim::Ours);
    let identity = &node.record(0).page.identity.0;
    identity.pid.store(1, Relaxed);
    identity.started.store(0, Relaxed);
    assert_eq!(node.record(0).claim(), Claim::Taken { pid: 1 });
    identity.started.store(u64::MAX, Relaxed);
    let used = Claim::Used { pid: 1, state: RankState::Absent };
    assert_eq!(node.record(0).claim(), used);
}

#[test]
fn another_build_or_size_is_refused_by_name() {
    let node = Node::create(&plan(2)).unwrap();
    let facts = node.at::<Facts>(0).cast_mut();
    // SAFETY: no other thread knows this memory.
    unsafe { (*facts).build[0] ^= 1 };
    let text = match Node::open(node.descriptor().try_clone_to_owned().unwrap()) {
        Ok(_) => panic!("another build was accepted"),
        Err(error) => error.to_string(),
    };
    assert!(text.contains(layout::BUILD) && text.contains("two builds"), "{text}");
    // SAFETY: as above.
    unsafe { (*facts).build[0] ^= 1 };
    // SAFETY: as above.
    unsafe { (*facts).local_size = 1 };
    assert!(Node::open(node.descriptor().try_clone_to_owned().unwrap()).is_err());
    let zero = std::fs::File::open("/dev/zero").unwrap();
    assert!(Node::open(zero.into()).is_err());
}

#[test]
fn the_budget_is_linear_in_ranks() {
    let bytes = |ranks| NodeLayout::of(ranks).total_bytes();
    assert_eq!(bytes(128) - bytes(64), bytes(192) - bytes(128));
    // 5.5 MiB a rank, of which an exchange with everybody touches a twentieth: the rest are rings
    // of pairs and desks of boards, of which few ranks use all.
    assert!(bytes(128) <= 128 * (11 << 19), "{}", NodeLayout::of(128).describe());
    assert!(NodeLayout::of(128).describe().contains("512 slots"));
    assert!(Node::create(&plan(0)).is_err());
    assert!(Node::create(&NodePlan { first_local_rank: 1, ..plan(1) }).is_err());
}
