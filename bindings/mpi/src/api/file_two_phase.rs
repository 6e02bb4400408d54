// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collective buffering in two phases: where the ranks' short runs interleave, some of them
//! (aggregators) each serve a stretch of the file for all, window by window.
//!
//! ```text
//! writing   every rank sends its runs in the window, and their bytes   aggregator: few long writes
//! reading   every rank sends its runs, the bytes come back             aggregator: one long read
//! ```
//!
//! Invariants:
//! 1. The runs of a view never go back, so what a rank has in a window is one range of its data.
//! 2. An aggregator writes what it was sent and nothing between: holes stay as they are, also when
//!    somebody dies amid the call.
//! 3. An error of the system does not end the exchange: the ranks settle it after the last window.

use crate::abi::{Abi, Status};
use crate::agreement::Circle;
use crate::api::file_access::Access;
use crate::entry::Entry;
use crate::error::{Result, class, error};
use crate::object::file::FileRef;
use crate::object::file_transfer::{Direction, LONG_RUN, read_all};
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of the file in a window: long enough for the disk, little memory, and no more than
/// sixteen times as much of descriptions when every run is one byte.
const WINDOW: i64 = 1 << 20;
/// A run in a message: place and length, eight bytes each, the first byte last.
const RUN_BYTES: usize = 16;

/// What a rank says of its access: first byte, end, bytes of data, whether its runs are short.
pub(super) type Span = [i64; 4];

/// Who serves which stretch.
pub(super) struct Plan {
    low: i64,
    high: i64,
    /// Bytes of each aggregator's stretch.
    share: i64,
    /// Their ranks.
    aggregators: Vec<usize>,
}

impl Plan {
    /// A plan, if the accesses interleave in short runs; all ranks come to the same.
    pub(super) fn of(spans: &[Span]) -> Option<Plan> {
        let mut busy: Vec<&Span> = spans.iter().filter(|span| span[2] > 0).collect();
        busy.sort();
        let interleave = busy.windows(2).any(|pair| pair[1][0] < pair[0][1]);
        if !interleave || !busy.iter().any(|span| span[3] != 0) {
            return None;
        }
        let low = busy[0][0];
        let high = busy.iter().map(|span| span[1]).max()?;
        let windows = (high - low).unsigned_abs().div_ceil(WINDOW as u64);
        let count = spans.len().min(usize::try_from(windows).unwrap_or(usize::MAX));
        let share = (windows.div_ceil(count as u64) as i64).checked_mul(WINDOW)?;
        let aggregators = (0..count).map(|i| i * spans.len() / count).collect();
        Some(Plan { low, high, share, aggregators })
    }

    fn rounds(&self) -> i64 {
        self.share / WINDOW
    }

    /// First byte and end of an aggregator's window in a round.
    fn window(&self, aggregator: usize, round: i64) -> (i64, i64) {
        let begin = i128::from(self.low)
            + aggregator as i128 * i128::from(self.share)
            + i128::from(round) * i128::from(WINDOW);
        let clipped = |byte: i128| byte.min(i128::from(self.high)) as i64;
        (clipped(begin), clipped(begin + i128::from(WINDOW)))
    }
}

/// What this rank has in a window: its data from `from` on, and the message that says so.
struct Part {
    from: i64,
    bytes: usize,
    message: Vec<u8>,
}

/// What a rank has in the window that this one serves.
struct Asked {
    rank: usize,
    runs: Vec<(i64, usize)>,
    data: Vec<u8>,
}

impl Asked {
    /// Reads a message; refuses what lies outside the window.
    fn parse(rank: usize, message: &[u8], runs: usize, (low, high): (i64, i64)) -> Result<Asked> {
        let word = |b: &[u8]| i64::from_le_bytes(b.try_into().expect("eight bytes"));
        let (head, data) = message.split_at(runs * RUN_BYTES);
        let mut asked = Asked { rank, runs: Vec::with_capacity(runs), data: data.to_vec() };
        for run in head.chunks_exact(RUN_BYTES) {
            let (at, bytes) = (word(&run[..8]), word(&run[8..]));
            if at < low || bytes < 0 || at.checked_add(bytes).is_none_or(|end| end > high) {
                let text = format!("rank {rank} asked for {bytes} bytes at {at}, outside a window");
                return error(class::INTERN, text);
            }
            asked.runs.push((at, bytes as usize));
        }
        Ok(asked)
    }

    fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.1).sum()
    }
}

/// Gives every aggregator what this rank has in its window; what all have in this one's.
fn ask(
    entry: &mut Entry,
    circle: &Circle,
    plan: &Plan,
    round: i64,
    parts: &[Part],
    with_data: bool,
) -> Result<Vec<Asked>> {
    let mine = plan.aggregators.iter().position(|&rank| rank == circle.me);
    let data = |part: &Part| if with_data { part.bytes } else { 0 };
    let head = |part: &Part| -> [u8; 16] {
        let runs = (part.message.len() - data(part)) / RUN_BYTES;
        let words = [runs as u64, part.message.len() as u64];
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&words[0].to_le_bytes());
        bytes[8..].copy_from_slice(&words[1].to_le_bytes());
        bytes
    };
    let heads: Vec<[u8; 16]> = parts.iter().map(head).collect();
    let sources = if mine.is_some() { circle.members.len() } else { 0 };
    let mut arrived = vec![[0; 16]; sources];
    let mut requests = Vec::new();
    for (rank, slot) in arrived.iter_mut().enumerate().filter(|(rank, _)| *rank != circle.me) {
        requests.push(circle.post_receive(entry, rank, slot));
    }
    for (head, &to) in heads.iter().zip(&plan.aggregators).filter(|(_, to)| **to != circle.me) {
        requests.extend(circle.post_send(entry, to, head));
    }
    circle.finish(entry, &requests)?;
    if let Some(mine) = mine {
        arrived[circle.me] = heads[mine];
    }
    let word = |b: &[u8]| u64::from_le_bytes(b.try_into().expect("eight bytes")) as usize;
    // A window's data and a description of every byte of it: nobody sends more.
    let most = WINDOW as usize * (RUN_BYTES + 1);
    let bodies = arrived.iter().map(|head| vec![0; word(&head[8..]).min(most)]);
    let mut bodies: Vec<Vec<u8>> = bodies.collect();
    requests.clear();
    for (rank, body) in bodies.iter_mut().enumerate() {
        if rank != circle.me && !body.is_empty() {
            requests.push(circle.post_receive(entry, rank, body));
        }
    }
    for (part, &to) in parts.iter().zip(&plan.aggregators) {
        if to != circle.me && !part.message.is_empty() {
            requests.extend(circle.post_send(entry, to, &part.message));
        }
    }
    circle.finish(entry, &requests)?;
    let Some(mine) = mine else {
        return Ok(Vec::new());
    };
    bodies[circle.me].copy_from_slice(&parts[mine].message);
    let window = plan.window(mine, round);
    let parse = |(rank, body): (usize, &Vec<u8>)| {
        let runs = word(&arrived[rank][..8]).min(body.len() / RUN_BYTES);
        Asked::parse(rank, body, runs, window)
    };
    bodies.iter().enumerate().map(parse).collect()
}

/// Writes what all ranks gave: runs that touch become one.
fn write_asked(file: &std::fs::File, asked: &[Asked]) -> io::Result<()> {
    let mut runs: Vec<(i64, &[u8])> = Vec::new();
    for one in asked {
        let mut data = one.data.as_slice();
        for &(at, bytes) in &one.runs {
            let (run, rest) = data.split_at(bytes.min(data.len()));
            runs.push((at, run));
            data = rest;
        }
    }
    runs.sort_by_key(|run| run.0);
    let (mut joined, mut begin) = (Vec::<u8>::new(), 0);
    for (at, run) in runs {
        if !joined.is_empty() && begin + joined.len() as i64 != at {
            file.write_all_at(&joined, begin as u64)?;
            joined.clear();
        }
        if joined.is_empty() {
            begin = at;
        }
        joined.extend_from_slice(run);
    }
    if joined.is_empty() { Ok(()) } else { file.write_all_at(&joined, begin as u64) }
}

/// An answer for each rank: how many bytes there are, then room for all that it asked for.
fn read_asked(file: &std::fs::File, asked: &[Asked]) -> (io::Result<()>, Vec<Vec<u8>>) {
    let runs = || asked.iter().flat_map(|one| &one.runs);
    let low = runs().map(|run| run.0).min().unwrap_or(0);
    let high = runs().map(|run| run.0 + run.1 as i64).max().unwrap_or(low);
    let mut stretch = vec![0; (high - low) as usize];
    let (there, outcome) = match read_all(file, &mut stretch, low as u64) {
        Ok(there) => (there, Ok(())),
        Err(error) => (0, Err(error)),
    };
    let answer = |one: &Asked| {
        let mut answer = vec![0; 8 + one.bytes()];
        let mut got = 0;
        for &(at, bytes) in &one.runs {
            let from = (at - low) as usize;
            let own = bytes.min(there.saturating_sub(from));
            answer[8 + got..8 + got + own].copy_from_slice(&stretch[from..from + own]);
            got += own;
            if own < bytes {
                break;
            }
        }
        answer[..8].copy_from_slice(&(got as u64).to_le_bytes());
        answer
    };
    let answers = asked.iter().map(answer).collect();
    (outcome, answers)
}

/// Sends the answers; what the aggregators answered this rank.
fn answer(
    entry: &mut Entry,
    circle: &Circle,
    plan: &Plan,
    parts: &[Part],
    (asked, answers): (&[Asked], Vec<Vec<u8>>),
) -> Result<Vec<Vec<u8>>> {
    let mut received: Vec<Vec<u8>> = parts.iter().map(|part| vec![0; 8 + part.bytes]).collect();
    let mut requests = Vec::new();
    for ((slot, part), &from) in received.iter_mut().zip(parts).zip(&plan.aggregators) {
        if from != circle.me && part.bytes > 0 {
            requests.push(circle.post_receive(entry, from, slot));
        }
    }
    for (one, answer) in asked.iter().zip(&answers) {
        if one.rank != circle.me && one.bytes() > 0 {
            requests.extend(circle.post_send(entry, one.rank, answer));
        }
    }
    circle.finish(entry, &requests)?;
    for (slot, &from) in received.iter_mut().zip(&plan.aggregators) {
        if from == circle.me {
            slot.clone_from(&answers[circle.me]);
        }
    }
    Ok(received)
}

impl<A: Abi> Access<A> {
    /// What the others must know of it; `from` is its first data byte.
    pub(super) fn span(&self, from: i64) -> Span {
        if self.bytes == 0 {
            return [0; 4];
        }
        let (view, mut runs) = (&self.view, 0);
        view.layout.each_run(0, view.layout.size() as usize, &mut |_, _| runs += 1);
        let short = !view.is_dense() && view.layout.size() / runs < LONG_RUN as i64;
        let end = view.place(from + self.bytes - 1) + 1;
        [view.place(from), end, self.bytes, i64::from(short)]
    }

    /// What it has in a window.
    ///
    /// # Safety
    /// The user's buffer is as MPI says.
    unsafe fn part(&self, from: i64, (low, high): (i64, i64)) -> Part {
        let first = self.view.first_at(from, self.bytes, low);
        let end = self.view.first_at(first, from + self.bytes - first, high);
        let bytes = (end - first) as usize;
        let mut message = Vec::new();
        self.view.each_run(first, bytes, &mut |at, length| {
            message.extend_from_slice(&at.to_le_bytes());
            message.extend_from_slice(&(length as u64).to_le_bytes());
        });
        if self.direction == Direction::Write && bytes > 0 {
            let head = message.len();
            message.resize(head + bytes, 0);
            // SAFETY: the caller's promise; the range lies within the access.
            unsafe { self.payload.pack((first - from) as usize, &mut message[head..]) };
        }
        Part { from: first, bytes, message }
    }

    /// The whole access, by the plan; etypes moved and the status.
    ///
    /// # Safety
    /// The user's buffer is as MPI says, and its bytes are those of the file.
    pub(super) unsafe fn exchange(
        &self,
        entry: &mut Entry,
        file: &FileRef,
        circle: &Circle,
        plan: &Plan,
        from: i64,
    ) -> Result<(i64, Status)> {
        let writes = self.direction == Direction::Write;
        let (mut moved, mut outcome) = (0, Ok(()));
        let place = &file.file;
        for round in 0..plan.rounds() {
            let windows = (0..plan.aggregators.len()).map(|i| plan.window(i, round));
            // SAFETY: the caller's promise.
            let parts: Vec<Part> = windows.map(|w| unsafe { self.part(from, w) }).collect();
            let asked = ask(entry, circle, plan, round, &parts, writes)?;
            if writes {
                file.unsynced.set(true);
                outcome = outcome.and(entry.outside(|| write_asked(place, &asked)));
                moved += parts.iter().map(|part| part.bytes).sum::<usize>();
                continue;
            }
            let (read, answers) = entry.outside(|| read_asked(place, &asked));
            outcome = outcome.and(read);
            let received = answer(entry, circle, plan, &parts, (&asked, answers))?;
            for (part, answer) in parts.iter().zip(&received) {
                let (count, bytes) = answer.split_at(8);
                let count = u64::from_le_bytes(count.try_into().expect("eight bytes"));
                let got = bytes.len().min(count as usize);
                // SAFETY: the caller's promise; the range lies within the access.
                unsafe { self.payload.unpack((part.from - from) as usize, &bytes[..got]) };
                moved += got;
            }
        }
        let what = if writes { "cannot be written" } else { "cannot be read" };
        circle.settle(entry, outcome.map_err(|error| file.failed(what, error)), [])?;
        let status = Status { bytes: moved as u64, ..Status::EMPTY };
        Ok((moved as i64 / self.view.etype_bytes, status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_file_once() {
        let end = 10 * WINDOW + 17;
        let spans = [[5, end, 100, 1], [9, end - 1, 100, 0], [0; 4]];
        let plan = Plan::of(&spans).unwrap();
        assert_eq!(plan.aggregators, [0, 1, 2]);
        let mut windows: Vec<(i64, i64)> = (0..plan.aggregators.len())
            .flat_map(|i| (0..plan.rounds()).map(move |round| (i, round)))
            .map(|(i, round)| plan.window(i, round))
            .filter(|(low, high)| low < high)
            .collect();
        windows.sort();
        assert_eq!((windows[0].0, windows.last().unwrap().1), (5, end));
        assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }

    #[test]
    fn only_short_runs_that_interleave_are_exchanged() {
        assert!(Plan::of(&[[0, 10, 10, 1], [10, 20, 10, 1]]).is_none());
        assert!(Plan::of(&[[0, 10, 10, 0], [5, 20, 10, 0]]).is_none());
        assert!(Plan::of(&[[0, 10, 5, 1], [0, 0, 0, 1]]).is_none());
        assert!(Plan::of(&[[0, 10, 5, 1], [1, 11, 5, 1]]).is_some());
    }
}
