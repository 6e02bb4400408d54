// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the builder, the parser and the verifier must refuse.

use strait_collectives::algorithm::{Parameters, by_name};
use strait_collectives::kind::Kind;
use strait_collectives::schedule::{Blocks, Buffer, Builder, Schedule, Step, parse};
use strait_collectives::shape::Shape;
use strait_collectives::verify::verify;

fn texts(kind: Kind, name: &str, ranks: u32) -> Vec<String> {
    let mut shape = Shape::new(kind, ranks);
    if name == "ring" && kind == Kind::Allreduce {
        shape = shape.cut(ranks);
    }
    let algorithm = by_name(kind, name).expect("it is registered");
    let schedule = |rank| algorithm.schedule(&shape, Parameters::default(), rank).unwrap();
    (0..ranks).map(|rank| schedule(rank).to_string()).collect()
}

/// Verifies after one replacement in the text of one rank, which must be there.
fn flaw_after(mut texts: Vec<String>, rank: usize, from: &str, to: &str, ordered: bool) -> String {
    assert!(texts[rank].contains(from), "no `{from}` in\n{}", texts[rank]);
    texts[rank] = texts[rank].replacen(from, to, 1);
    let schedules: Vec<Schedule> = texts.iter().map(|text| parse(text).unwrap()).collect();
    verify(&schedules, ordered).expect_err("the flaw must be found").to_string()
}

#[test]
fn a_lost_edge_is_an_overlap() {
    let texts = texts(Kind::Allreduce, "recursive_doubling", 4);
    let flaw = flaw_after(texts, 1, "into scratch1[0..1] after 0", "into scratch1[0..1]", true);
    assert!(flaw.contains("in no order"), "{flaw}");
}

#[test]
fn exchanged_operands_are_out_of_order() {
    let texts = texts(Kind::Reduce, "binomial", 3);
    let from = "reduce input[0..1] scratch0[0..1] into scratch0[0..1]";
    let to = "reduce scratch0[0..1] input[0..1] into output[0..1]";
    let flaw = flaw_after(texts, 0, from, to, true);
    assert!(flaw.contains("no order") || flaw.contains("holds"), "{flaw}");
}

#[test]
fn a_ring_does_not_keep_the_order() {
    let schedules: Vec<Schedule> =
        texts(Kind::Allreduce, "ring", 3).iter().map(|text| parse(text).unwrap()).collect();
    assert!(verify(&schedules, false).is_ok());
    let flaw = verify(&schedules, true).expect_err("not in rank order").to_string();
    assert!(flaw.contains("holds"), "{flaw}");
}

#[test]
fn a_message_to_the_wrong_rank_is_not_received() {
    let flaw = flaw_after(texts(Kind::Bcast, "binomial", 4), 2, "to 3", "to 1", true);
    assert!(flaw.contains("receive") || flaw.contains("send"), "{flaw}");
}

#[test]
fn a_wrong_size_is_found() {
    let shape = Shape::new(Kind::Allgather, 2).irregular();
    let schedules: Vec<Schedule> = (0..2)
        .map(|rank| {
            let mut b = Builder::new(&shape, rank);
            let other = 1 - rank;
            b.add(Step::Send { to: other, what: b.input() }).unwrap();
            // Lands on our own block, which has another extent.
            b.add(Step::Recv { from: other, into: Blocks::one(Buffer::Output, rank) }).unwrap();
            b.finish()
        })
        .collect();
    let flaw = verify(&schedules, true).expect_err("sizes differ").to_string();
    assert!(flaw.contains("extents"), "{flaw}");
}

#[test]
fn blocking_sends_that_wait_for_each_other_are_a_deadlock() {
    let shape = Shape::new(Kind::Allgather, 2);
    let schedules: Vec<Schedule> = (0..2)
        .map(|rank| {
            let mut b = Builder::new(&shape, rank);
            let other = 1 - rank;
            let own = Blocks::one(Buffer::Output, rank);
            b.add(Step::Copy { what: b.input(), into: own }).unwrap();
            let sent = b.add(Step::Send { to: other, what: b.input() }).unwrap();
            let into = Blocks::one(Buffer::Output, other);
            b.add_after(Step::Recv { from: other, into }, &[sent]).unwrap();
            b.finish()
        })
        .collect();
    let flaw = verify(&schedules, true).expect_err("a deadlock").to_string();
    assert!(flaw.contains("for ever"), "{flaw}");
}

#[test]
fn ranks_that_combine_otherwise_are_found() {
    // Both orders are right for an operation that commutes, but the bits would differ.
    let texts = texts(Kind::Allreduce, "recursive_doubling", 2);
    let schedules: Vec<Schedule> = (0..2)
        .map(|rank| {
            let mut b = Builder::new(&Shape::new(Kind::Allreduce, 2), rank);
            let received = b.scratch_like(b.input()).unwrap();
            b.add(Step::Send { to: 1 - rank, what: b.input() }).unwrap();
            b.add(Step::Recv { from: 1 - rank, into: received }).unwrap();
            let step = Step::Reduce { left: b.input(), right: received, into: b.output() };
            b.add(step).unwrap();
            b.finish()
        })
        .collect();
    let flaw = verify(&schedules, false).expect_err("expressions differ").to_string();
    assert!(flaw.contains("otherwise"), "{flaw}");
    assert!(texts.iter().all(|text| parse(text).is_ok()));
}

#[test]
fn a_barrier_that_lacks_a_round_is_found() {
    let mut texts = texts(Kind::Barrier, "dissemination", 4);
    for text in &mut texts {
        let lines: Vec<&str> = text.lines().collect();
        *text = lines[..lines.len() - 2].join("\n");
    }
    let schedules: Vec<Schedule> = texts.iter().map(|text| parse(text).unwrap()).collect();
    let flaw = verify(&schedules, true).expect_err("a round is missing").to_string();
    assert!(flaw.contains("leaves before"), "{flaw}");
}

#[test]
fn the_builder_refuses() {
    let mut b = Builder::new(&Shape::new(Kind::Allreduce, 3), 0);
    let (input, output) = (b.input(), b.output());
    let scratch = b.scratch_like(input).unwrap();
    let beyond = Blocks::new(Buffer::Output, 0..2);
    let refused = [
        Step::Send { to: 0, what: input },
        Step::Send { to: 3, what: input },
        Step::Send { to: 1, what: beyond },
        Step::Recv { from: 1, into: input },
        Step::Reduce { left: output, right: input, into: output },
        Step::Reduce { left: output, right: output, into: scratch },
    ];
    for step in refused {
        assert!(b.add(step).is_err(), "{step}");
    }
    let mut b = Builder::new(&Shape::new(Kind::Gather, 3).irregular(), 1);
    let unknown = strait_collectives::schedule::Extent(2);
    assert!(b.scratch(vec![unknown]).is_err());
}

#[test]
fn text_errors_name_line_and_column() {
    let text = texts(Kind::Bcast, "binomial", 4).remove(2);
    let cases = [
        ("strait-schedule 1", "strait-schedule 9", 1, 17),
        ("kind bcast", "kind cast", 2, 6),
        ("rank 2", "rank 4", 8, 6),
        ("0 : recv", "1 : recv", 9, 1),
        ("0 : recv", "0 : receive", 9, 5),
        ("output[0..1] from", "output[0..9] from", 9, 28),
        ("output[0..1] from", "output[0.1] from", 9, 10),
        ("to 3 after 0", "to 3 after 1", 10, 34),
    ];
    for (from, to, line, column) in cases {
        assert!(text.contains(from), "no `{from}` in\n{text}");
        let error = parse(&text.replacen(from, to, 1)).expect_err(to);
        assert_eq!((error.line, error.column), (line, column), "{to}: {error}");
    }
    assert!(parse("").is_err());
    assert!(parse("strait-schedule 1\nkind bcast\nranks 0\n").is_err());
}
