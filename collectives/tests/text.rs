// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random schedules, all step variants included, survive their text; random text never panics.

use proptest::prelude::*;
use strait_collectives::kind::Kind;
use strait_collectives::schedule::{Blocks, Buffer, Builder, Cell, Extent, Step, StepId, parse};
use strait_collectives::shape::Shape;

fn blocks() -> impl Strategy<Value = Blocks> {
    let buffer =
        prop_oneof![Just(Buffer::Input), Just(Buffer::Output), (0u16..3).prop_map(Buffer::Scratch)];
    (buffer, 0u32..4, 0u32..3).prop_map(|(buffer, first, n)| Blocks::new(buffer, first..first + n))
}

fn step() -> impl Strategy<Value = Step> {
    let cell = (0u32..9).prop_map(Cell);
    prop_oneof![
        (0u32..5, blocks()).prop_map(|(to, what)| Step::Send { to, what }),
        (0u32..5, blocks()).prop_map(|(from, into)| Step::Recv { from, into }),
        (blocks(), blocks()).prop_map(|(what, into)| Step::Copy { what, into }),
        (blocks(), blocks(), blocks()).prop_map(|(left, right, into)| Step::Reduce {
            left,
            right,
            into
        }),
        (cell.clone(), blocks()).prop_map(|(cell, what)| Step::Publish { cell, what }),
        (cell, blocks()).prop_map(|(cell, into)| Step::Await { cell, into }),
        (0u32..5, blocks(), blocks()).prop_map(|(from, what, into)| Step::Get { from, what, into }),
        (0u32..5, blocks(), blocks()).prop_map(|(to, what, into)| Step::Put { to, what, into }),
    ]
}

proptest! {
    #[test]
    fn a_schedule_survives_its_text(
        steps in prop::collection::vec((step(), any::<u32>()), 0..30),
        in_place: bool,
        split in prop::option::of(1u32..5),
    ) {
        let base = match split {
            Some(first) if !in_place => Shape::between(Kind::Allreduce, first, 5 - first),
            _ => Shape::new(Kind::Allreduce, 5),
        };
        let shape = Shape { in_place, ..base.cut(4) };
        let mut builder = Builder::new(&shape, 2);
        for extents in [vec![0, 1, 2, 3], vec![3, 3], vec![]] {
            builder.scratch(extents.into_iter().map(Extent).collect()).unwrap();
        }
        let mut added = 0;
        for (step, seed) in steps {
            let after = if added > 0 { vec![StepId(seed % added)] } else { vec![] };
            added += u32::from(builder.add_after(step, &after).is_ok());
        }
        let schedule = builder.finish();
        prop_assert_eq!(schedule.steps().len(), added as usize);
        prop_assert_eq!(parse(&schedule.to_string()), Ok(schedule));
    }

    #[test]
    fn no_text_panics(lines in prop::collection::vec("[a-z0-9_:\\[\\]. ]{0,30}", 0..20)) {
        let head = "strait-schedule 1\nkind allreduce\nranks 5\nroot 0\nblocks 2\nregular yes\n\
                    in_place no\nrank 1\n";
        let tail = lines.join("\n");
        let _ = parse(&tail);
        let _ = parse(&format!("{head}{tail}"));
        let steps = lines.iter().map(|line| format!("0 : send {line}\n"));
        let _ = parse(&format!("{head}{}", steps.collect::<String>()));
    }
}
