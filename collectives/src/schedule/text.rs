// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The text form of a schedule: printed with `Display`, read with [`parse`]; docs/schedule.md
//! describes it. A file that says another version is refused. Errors name line and column.
#![forbid(unsafe_code)]

use super::{Blocks, Buffer, Builder, Cell, Extent, Schedule, Step, StepId};
use crate::kind::Kind;
use crate::neighbors::Neighborhood;
use crate::shape::Shape;
use std::fmt;

/// The version of the text form.
pub const TEXT_VERSION: u32 = 1;

/// Why a text is not a schedule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in bytes.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = &self.shape;
        writeln!(f, "strait-schedule {TEXT_VERSION}")?;
        writeln!(f, "kind {}", shape.kind.name())?;
        match shape.first_group {
            None => writeln!(f, "ranks {}", shape.ranks)?,
            Some(first) => writeln!(f, "ranks {} + {}", first, shape.ranks - first)?,
        }
        writeln!(f, "root {}", shape.root)?;
        writeln!(f, "blocks {}", shape.blocks)?;
        writeln!(f, "regular {}", if shape.regular { "yes" } else { "no" })?;
        writeln!(f, "in_place {}", if shape.in_place { "yes" } else { "no" })?;
        if let Some(neighbors) = &shape.neighbors {
            writeln!(f, "neighbors {neighbors}")?;
        }
        writeln!(f, "rank {}", self.rank)?;
        for (index, extents) in self.scratch.iter().enumerate() {
            write!(f, "scratch {index} :")?;
            extents.iter().try_for_each(|extent| write!(f, " {}", extent.0))?;
            writeln!(f)?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{index} : {step}")?;
            if !self.after(index).is_empty() {
                write!(f, " after")?;
                self.after(index).iter().try_for_each(|id| write!(f, " {}", id.0))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.buffer {
            Buffer::Input => write!(f, "input")?,
            Buffer::Output => write!(f, "output")?,
            Buffer::Scratch(index) => write!(f, "scratch{index}")?,
        }
        write!(f, "[{}..{}]", self.first, self.first + self.count)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Send { to, what } => write!(f, "send {what} to {to}"),
            Step::Recv { from, into } => write!(f, "recv {into} from {from}"),
            Step::Copy { what, into } => write!(f, "copy {what} into {into}"),
            Step::Reduce { left, right, into } => {
                write!(f, "reduce {left} {right} into {into}")
            }
            Step::Publish { cell, what } => write!(f, "publish {what} in {}", cell.0),
            Step::Await { cell, into } => write!(f, "await {into} in {}", cell.0),
            Step::Get { from, what, into } => write!(f, "get {what} from {from} into {into}"),
            Step::Put { to, what, into } => write!(f, "put {what} to {to} into {into}"),
        }
    }
}

/// Reads the text form. Empty lines and lines that begin with `#` are skipped.
pub fn parse(text: &str) -> Result<Schedule, TextError> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| Line::new(index + 1, line))
        .filter(|line| !line.is_end() && !line.rest().starts_with('#'))
        .peekable();
    let last = text.lines().count().max(1);
    let mut header = |name: &'static str| -> Result<Line<'_>, TextError> {
        let missing = TextError { line: last, column: 1, what: format!("`{name}` is missing") };
        let mut line = lines.next().ok_or(missing)?;
        line.word(name)?;
        Ok(line)
    };
    let mut line = header("strait-schedule")?;
    let version: u32 = line.number()?;
    if version != TEXT_VERSION {
        let what = format!("version {version}; this build reads version {TEXT_VERSION}");
        return Err(line.error(what));
    }
    line.end()?;
    let (shape, rank) = parse_shape(&mut header)?;
    let mut builder = Builder::new(&shape, rank);
    let mut index = 0u32;
    for mut line in lines {
        if line.rest().starts_with("scratch") {
            parse_scratch(&mut line, &mut builder)?;
        } else {
            parse_step(&mut line, &mut builder, index)?;
            index += 1;
        }
    }
    Ok(builder.finish())
}

/// Reads schedules that stand one after another, with the line where each begins. Lines of errors
/// count from the beginning of the text.
pub fn parse_all(text: &str) -> Result<Vec<(usize, Schedule)>, TextError> {
    const HEAD: &str = "strait-schedule";
    let lines: Vec<&str> = text.lines().collect();
    let mut starts: Vec<usize> =
        (0..lines.len()).filter(|at| lines[*at].starts_with(HEAD)).collect();
    if starts.is_empty() {
        let what = format!("no line begins with '{HEAD}'");
        return Err(TextError { line: 1, column: 1, what });
    }
    starts.push(lines.len());
    let one = |range: &[usize]| match parse(&lines[range[0]..range[1]].join("\n")) {
        Ok(schedule) => Ok((range[0] + 1, schedule)),
        Err(error) => Err(TextError { line: error.line + range[0], ..error }),
    };
    starts.windows(2).map(one).collect()
}

fn parse_shape<'t>(
    header: &mut impl FnMut(&'static str) -> Result<Line<'t>, TextError>,
) -> Result<(Shape, u32), TextError> {
    let mut line = header("kind")?;
    let name = line.take_word();
    let kind = Kind::by_name(name).ok_or_else(|| line.error(format!("no kind `{name}`")))?;
    line.end()?;
    let mut line = header("ranks")?;
    let mut ranks: u32 = line.number()?;
    let mut first_group = None;
    if !line.is_end() {
        line.word("+")?;
        first_group = Some(ranks);
        let second: u32 = line.number()?;
        ranks = ranks.checked_add(second).ok_or_else(|| line.error("too many ranks".into()))?;
    }
    line.end()?;
    let mut number = |name| {
        let mut line = header(name)?;
        let value: u32 = line.number()?;
        line.end().map(|()| value)
    };
    let (root, blocks) = (number("root")?, number("blocks")?);
    let mut flag = |name| {
        let mut line = header(name)?;
        let value = match line.take_word() {
            "yes" => true,
            "no" => false,
            other => return Err(line.error(format!("`{other}` is neither yes nor no"))),
        };
        line.end().map(|()| value)
    };
    let (regular, in_place) = (flag("regular")?, flag("in_place")?);
    let neighbors =
        if kind.has_neighbors() { Some(header("neighbors")?.neighbors()?) } else { None };
    let shape = Shape { kind, ranks, first_group, root, blocks, regular, in_place, neighbors };
    let mut line = header("rank")?;
    shape.check().map_err(|what| line.error(what))?;
    let rank: u32 = line.number()?;
    if rank >= ranks {
        return Err(line.error(format!("rank {rank} is not among {ranks}")));
    }
    if shape.neighbors.as_ref().is_some_and(|neighbors| !neighbors.knows(rank)) {
        return Err(line.error(format!("the neighbors are not those of rank {rank}")));
    }
    line.end()?;
    Ok((shape, rank))
}

fn parse_scratch(line: &mut Line<'_>, builder: &mut Builder) -> Result<(), TextError> {
    line.word("scratch")?;
    let index: u16 = line.number()?;
    line.word(":")?;
    let mut extents = Vec::new();
    while !line.is_end() {
        extents.push(Extent(line.number()?));
    }
    match builder.scratch(extents) {
        Ok(Buffer::Scratch(made)) if made == index => Ok(()),
        Ok(_) => Err(line.error(format!("scratch {index} is out of turn"))),
        Err(refused) => Err(line.error(refused.0)),
    }
}

fn parse_step(line: &mut Line<'_>, builder: &mut Builder, index: u32) -> Result<(), TextError> {
    let number: u32 = line.number()?;
    if number != index {
        return Err(line.error(format!("step {number} stands where step {index} is due")));
    }
    line.word(":")?;
    let step = match line.take_word() {
        "send" => {
            let what = line.blocks()?;
            Step::Send { what, to: line.number_after("to")? }
        }
        "recv" => {
            let into = line.blocks()?;
            Step::Recv { into, from: line.number_after("from")? }
        }
        "copy" => Step::Copy { what: line.blocks()?, into: line.blocks_after("into")? },
        "reduce" => Step::Reduce {
            left: line.blocks()?,
            right: line.blocks()?,
            into: line.blocks_after("into")?,
        },
        "publish" => {
            let what = line.blocks()?;
            Step::Publish { what, cell: Cell(line.number_after("in")?) }
        }
        "await" => {
            let into = line.blocks()?;
            Step::Await { into, cell: Cell(line.number_after("in")?) }
        }
        "get" => {
            let (what, from) = (line.blocks()?, line.number_after("from")?);
            Step::Get { what, from, into: line.blocks_after("into")? }
        }
        "put" => {
            let (what, to) = (line.blocks()?, line.number_after("to")?);
            Step::Put { what, to, into: line.blocks_after("into")? }
        }
        other => return Err(line.error(format!("`{other}` is not a step"))),
    };
    let mut edges = Vec::new();
    if !line.is_end() {
        line.word("after")?;
        while !line.is_end() {
            edges.push(StepId(line.number()?));
        }
    }
    builder.add_exact(step, edges).map_err(|refused| line.error(refused.0))
}

/// A line that is read word by word; words are separated by spaces.
struct Line<'t> {
    number: usize,
    text: &'t str,
    /// Where reading goes on.
    at: usize,
    /// Where the last word began: what errors point to.
    word_at: usize,
}

impl<'t> Line<'t> {
    fn new(number: usize, text: &'t str) -> Line<'t> {
        let mut line = Line { number, text, at: 0, word_at: 0 };
        line.skip_blanks();
        line
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn is_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn error(&self, what: String) -> TextError {
        TextError { line: self.number, column: self.word_at + 1, what }
    }

    fn take_word(&mut self) -> &'t str {
        self.word_at = self.at;
        let rest = self.rest();
        let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
        self.at += word.len();
        self.skip_blanks();
        word
    }

    fn word(&mut self, expected: &str) -> Result<(), TextError> {
        match self.take_word() {
            word if word == expected => Ok(()),
            "" => Err(self.error(format!("`{expected}` is missing"))),
            word => Err(self.error(format!("`{word}` where `{expected}` is due"))),
        }
    }

    fn end(&mut self) -> Result<(), TextError> {
        match self.take_word() {
            "" => Ok(()),
            word => Err(self.error(format!("`{word}` after the end"))),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, TextError> {
        let word = self.take_word();
        let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
        let value = word.parse().ok().filter(|_| is_plain);
        value.ok_or_else(|| self.error(format!("`{word}` is not a number that fits here")))
    }

    fn number_after(&mut self, word: &str) -> Result<u32, TextError> {
        self.word(word)?;
        self.number()
    }

    /// The rest of the line.
    fn neighbors(&mut self) -> Result<Neighborhood, TextError> {
        self.word_at = self.at;
        let found = Neighborhood::parse(self.rest());
        found.ok_or_else(|| self.error("neighbors read like `grid 3* 4` or `of 0 : 1 > 1`".into()))
    }

    fn blocks_after(&mut self, word: &str) -> Result<Blocks, TextError> {
        self.word(word)?;
        self.blocks()
    }

    fn blocks(&mut self) -> Result<Blocks, TextError> {
        let word = self.take_word();
        read_blocks(word)
            .ok_or_else(|| self.error(format!("`{word}` is not a range like `input[0..2]`")))
    }
}

fn read_blocks(word: &str) -> Option<Blocks> {
    let (name, range) = word.strip_suffix(']')?.split_once('[')?;
    let (first, end) = range.split_once("..")?;
    let number = |digits: &str| -> Option<u32> {
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (first, end) = (number(first)?, number(end)?);
    let buffer = match name {
        "input" => Buffer::Input,
        "output" => Buffer::Output,
        _ => Buffer::Scratch(number(name.strip_prefix("scratch")?)?.try_into().ok()?),
    };
    (first <= end).then(|| Blocks::new(buffer, first..end))
}
