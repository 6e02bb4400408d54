// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Schedules of a user's file as an algorithm: read, verified, and kept for the whole process.
//!
//! Nothing that the verifier refuses is ever executed. The file's schedules serve the calls of
//! exactly their shape, and combine in rank order if the verifier finds that they do.
#![forbid(unsafe_code)]

use super::TableError;
use crate::algorithm::{Algorithm, Cut, Numbers, Way};
use crate::schedule::{Schedule, parse_all};
use crate::shape::Shape;
use crate::verify::{Flaw, verify};
use std::path::Path;

/// The algorithm that a file holds.
///
/// # Errors
/// The file cannot be read, is not in the text form, is of a shape that no call has, or its
/// schedules are not right together; with the line, and the step, where there is one.
pub fn load_schedules(file: &Path) -> Result<&'static Algorithm, TableError> {
    let refuse =
        |line: usize, what: String| TableError { file: file.display().to_string(), line, what };
    let text = std::fs::read_to_string(file)
        .map_err(|error| refuse(1, format!("it cannot be read: {error}")))?;
    let name = format!("schedule {}", file.display());
    read(&text, name).map_err(|(line, what)| refuse(line, what))
}

fn read(text: &str, name: String) -> Result<&'static Algorithm, (usize, String)> {
    let found = parse_all(text)
        .map_err(|error| (error.line, format!("column {}: {}", error.column, error.what)))?;
    let starts: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    let schedules: Vec<Schedule> = found.into_iter().map(|(_, schedule)| schedule).collect();
    let shape = schedules[0].shape().clone();
    if let Some(why) = unfit(&shape) {
        return Err((starts[0], why.into()));
    }
    let in_order = verify(&schedules, true);
    let ordered = in_order.is_ok();
    let proved = match in_order {
        Err(_) if shape.kind.reduces() => verify(&schedules, false),
        proved => proved,
    };
    let cost = proved.map_err(|flaw| (line_of(text, &starts, &flaw), flaw.to_string()))?;
    // Once for each rule of a table, which is read once: kept as long as the process lives.
    Ok(Box::leak(Box::new(Algorithm {
        name: name.leak(),
        kind: shape.kind,
        ordered,
        irregular: !shape.regular,
        inter: false,
        in_place: false,
        cut: Cut::Exactly(shape.blocks),
        numbers: Numbers::Exactly(shape.ranks),
        way: Way::File { schedules: schedules.leak(), cost },
    })))
}

/// Why no call has the shape, if so.
fn unfit(shape: &Shape) -> Option<&'static str> {
    if shape.is_inter() {
        Some(
            "schedules between two groups cannot be selected: there is one algorithm for each kind",
        )
    } else if shape.kind.has_neighbors() {
        Some("schedules of neighbourhood collectives cannot be selected: each call has its graph")
    } else if shape.in_place {
        Some("write it for `in_place no`: a call with MPI_IN_PLACE has its input set aside first")
    } else {
        None
    }
}

/// The line of the step where the flaw is, or that of its rank's schedule.
fn line_of(text: &str, starts: &[usize], flaw: &Flaw) -> usize {
    let start = starts.get(flaw.rank as usize).or(starts.last()).copied().unwrap_or(1);
    let Some(step) = flaw.step else { return start };
    let number = step.to_string();
    let is_step = |line: &str| line.split_whitespace().next() == Some(&number);
    let at = text.lines().skip(start - 1).position(is_step);
    at.map_or(start, |at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Parameters, by_name};
    use crate::kind::Kind;

    fn text(kind: Kind, name: &str, shape: &Shape) -> String {
        let algorithm = by_name(kind, name).unwrap();
        let schedule = |rank| algorithm.schedule(shape, Parameters::default(), rank).unwrap();
        (0..shape.ranks).map(|rank| format!("# rank\n{}\n", schedule(rank))).collect()
    }

    #[test]
    fn what_is_right_serves_its_shape_alone() {
        let shape = Shape::new(Kind::Bcast, 4).root(2).cut(3);
        let text = text(Kind::Bcast, "binomial", &shape);
        let algorithm = read(&text, "mine".into()).unwrap();
        assert_eq!(algorithm.misfit(&shape), None);
        assert_eq!(algorithm.cut(&shape, Parameters::default()), shape);
        let others = [
            Shape::new(Kind::Bcast, 4).root(1).cut(3),
            Shape::new(Kind::Bcast, 5).root(2).cut(3),
            Shape::new(Kind::Bcast, 4).root(2).cut(2),
            Shape::new(Kind::Reduce, 4).root(2).cut(3),
            shape.clone().in_place(),
            shape.clone().irregular(),
        ];
        for other in others {
            assert!(algorithm.misfit(&other).is_some(), "{other:?}");
        }
        let schedule = algorithm.schedule(&shape, Parameters::default(), 3).unwrap();
        assert_eq!(schedule.rank(), 3);
        let outline = algorithm.outline(&shape, Parameters::default(), 3).unwrap();
        assert_eq!(outline.steps, schedule.steps());
    }

    #[test]
    fn the_order_of_operands_is_found() {
        let shape = Shape::new(Kind::Allreduce, 4);
        let ordered = text(Kind::Allreduce, "recursive_doubling", &shape);
        assert!(read(&ordered, "a".into()).unwrap().ordered);
        let shape = shape.cut(4);
        let not = text(Kind::Allreduce, "ring", &shape);
        assert!(!read(&not, "b".into()).unwrap().ordered);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_line() {
        let shape = Shape::new(Kind::Bcast, 2);
        let right = text(Kind::Bcast, "binomial", &shape);
        let line = |with: &str| right.lines().position(|line| line.contains(with)).unwrap() + 1;
        let refused = |text: &str| read(text, "x".into()).err().unwrap();
        let (at, what) =
            refused(&right.replace("recv output[0..1] from 0", "recv output[0..0] from 0"));
        assert_eq!(at, line("send input"), "{what}");
        let (at, what) = refused(&right.replace("recv", "receive"));
        assert_eq!(at, line("recv output"), "{what}");
        let (_, what) = refused(&right.replace("in_place no", "in_place yes"));
        assert!(what.contains("in_place no"), "{what}");
        let (_, what) = refused("nothing\n");
        assert!(what.contains("strait-schedule"), "{what}");
    }
}
