// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the messages of one-sided communication say: a head, runs of target memory, data.
//!
//! Numbers are little-endian. The memory of the target is described by runs of bytes, in the order
//! of the packed data: equal runs at equal distances are one entry, so that a vector is one.

/// Bytes of a head, and of a run.
pub const HEAD_BYTES: usize = 32;
const RUN_BYTES: usize = 32;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Store the data.
    Put = 1,
    /// Send what is there.
    Get = 2,
    /// Combine what is there with the data.
    Accumulate = 3,
    /// The same, and send what was there; without data: only that.
    Fetch = 4,
    /// The data are two elements: store the second where the first is; send what was there.
    Swap = 5,
    /// Answer when all before is done.
    Flush = 6,
    /// Answer when the lock is had.
    Lock = 7,
    /// Let the lock go when all before is done, and answer.
    Unlock = 8,
    /// Answer what the network calls the memory of this window here.
    Name = 9,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Put, Get, Accumulate, Fetch, Swap, Flush, Lock, Unlock, Name]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The first part of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What is asked for.
    pub kind: Kind,
    /// Of a lock: alone.
    pub alone: bool,
    /// How elements are combined ([`super::Combine::to_words`]).
    pub combine: [u8; 3],
    /// Tag of the answer.
    pub reply: u32,
}

impl Head {
    /// A head that says no more than its kind and where to answer.
    pub fn new(kind: Kind, reply: u32) -> Head {
        Head { kind, alone: false, combine: [0; 3], reply }
    }
}

/// Equal runs at equal distances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where the first one begins: an offset in the region, or an address (dynamic windows).
    pub at: i64,
    /// Bytes of each.
    pub bytes: u64,
    /// How many.
    pub count: u64,
    /// From one to the next.
    pub stride: i64,
}

impl Run {
    /// First and last byte, the latter excluded; `None` if no memory is like that.
    pub fn span(&self) -> Option<(i64, i64)> {
        let last = i64::try_from(self.count).ok()?.checked_sub(1).filter(|last| *last >= 0)?;
        let end = self.at.checked_add(self.stride.checked_mul(last)?)?;
        let bytes = i64::try_from(self.bytes).ok()?;
        Some((self.at.min(end), self.at.max(end).checked_add(bytes)?))
    }
}

/// A list of runs in the making.
#[derive(Default, Debug)]
pub struct Runs(pub Vec<Run>);

impl Runs {
    /// One more run of bytes.
    pub fn push(&mut self, at: i64, bytes: usize) {
        let bytes = bytes as u64;
        if let Some(last) = self.0.last_mut() {
            if last.count == 1 && last.at + last.bytes as i64 == at {
                last.bytes += bytes;
                return;
            }
            if last.bytes == bytes && last.count == 1 {
                (last.stride, last.count) = (at - last.at, 2);
                return;
            }
            if last.bytes == bytes && last.at + last.stride * last.count as i64 == at {
                last.count += 1;
                return;
            }
        }
        self.0.push(Run { at, bytes, count: 1, stride: 0 });
    }
}

/// A message, with room for `data` bytes at its end; and where those begin.
pub fn message(head: Head, runs: &[Run], data: usize) -> (Box<[u8]>, usize) {
    let start = HEAD_BYTES + runs.len() * RUN_BYTES;
    let mut bytes = Vec::with_capacity(start + data);
    bytes.extend([head.kind as u8, u8::from(head.alone)]);
    bytes.extend(head.combine);
    bytes.resize(8, 0);
    bytes.extend(head.reply.to_le_bytes());
    bytes.extend((runs.len() as u32).to_le_bytes());
    bytes.resize(HEAD_BYTES, 0);
    for run in runs {
        bytes.extend(run.at.to_le_bytes());
        bytes.extend(run.bytes.to_le_bytes());
        bytes.extend(run.count.to_le_bytes());
        bytes.extend(run.stride.to_le_bytes());
    }
    bytes.resize(start + data, 0);
    (bytes.into_boxed_slice(), start)
}

/// A message that arrived.
#[derive(PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub head: Head,
    /// The memory.
    pub runs: Vec<Run>,
    /// Its packed bytes.
    pub total: usize,
    /// The data.
    pub data: &'a [u8],
}

impl Request<'_> {
    /// Reads a message; `None` if it makes no sense.
    pub fn parse(bytes: &[u8]) -> Option<Request<'_>> {
        let (start, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let word = |at: usize| Some(u32::from_le_bytes(start[at..at + 4].try_into().ok()?));
        let head = Head {
            kind: Kind::from_byte(start[0])?,
            alone: start[1] != 0,
            combine: [start[2], start[3], start[4]],
            reply: word(8)?,
        };
        let (described, data) = rest.split_at_checked(word(12)? as usize * RUN_BYTES)?;
        let mut runs = Vec::with_capacity(described.len() / RUN_BYTES);
        let mut total = 0usize;
        for run in described.chunks_exact(RUN_BYTES) {
            let eight = |at: usize| <[u8; 8]>::try_from(&run[at..at + 8]).expect("eight bytes");
            let run = Run {
                at: i64::from_le_bytes(eight(0)),
                bytes: u64::from_le_bytes(eight(8)),
                count: u64::from_le_bytes(eight(16)),
                stride: i64::from_le_bytes(eight(24)),
            };
            let bytes = usize::try_from(run.bytes.checked_mul(run.count)?).ok()?;
            total = total.checked_add(bytes)?;
            runs.push(run);
        }
        Some(Request { head, runs, total, data })
    }

    /// Calls `found` with each run: where it begins, and its part of the packed bytes.
    pub fn each(&self, mut found: impl FnMut(i64, std::ops::Range<usize>)) {
        let mut packed = 0;
        for run in &self.runs {
            for i in 0..run.count {
                let next = packed + run.bytes as usize;
                found(run.at + run.stride * i as i64, packed..next);
                packed = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_runs_at_equal_distances_are_one_entry() {
        let mut runs = Runs::default();
        (0..100).for_each(|i| runs.push(i * 24, 8));
        runs.push(5000, 4);
        runs.push(5004, 4);
        let run = |at, bytes, count, stride| Run { at, bytes, count, stride };
        assert_eq!(runs.0, [run(0, 8, 100, 24), run(5000, 8, 1, 0)]);
        assert_eq!(runs.0[0].span(), Some((0, 2384)));
        assert_eq!(run(80, 8, 3, -40).span(), Some((0, 88)));
        assert_eq!(run(i64::MAX, 8, 1, 0).span(), None);
        assert_eq!(run(0, 8, u64::MAX, 1).span(), None);
        assert_eq!(run(0, 8, 0, 1).span(), None);
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_found_again(
            pushed in prop::collection::vec((-1000i64..1000, 1usize..9), 0..60),
            data in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut runs = Runs::default();
            pushed.iter().for_each(|(at, bytes)| runs.push(*at, *bytes));
            let head = Head { alone: true, combine: [1, 2, 3], ..Head::new(Kind::Fetch, 77) };
            let (mut bytes, start) = message(head, &runs.0, data.len());
            bytes[start..].copy_from_slice(&data);
            let request = Request::parse(&bytes).unwrap();
            prop_assert_eq!(request.head, head);
            prop_assert_eq!(request.data, &data[..]);
            let mut found = Vec::new();
            request.each(|at, packed| found.extend((0..packed.len()).map(|i| at + i as i64)));
            let places = |(at, bytes): &(i64, usize)| {
                let at = *at;
                (0..*bytes as i64).map(move |i| at + i)
            };
            let wanted: Vec<i64> = pushed.iter().flat_map(places).collect();
            prop_assert_eq!(request.total, wanted.len());
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(request) = Request::parse(&bytes) {
                request.runs.iter().for_each(|run| {
                    run.span();
                });
            }
        }
    }
}
