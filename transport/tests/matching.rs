// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Matching against a naive list: any sequence of posts, arrivals, probes, claims and withdrawals
//! gives the same answers.

use proptest::prelude::*;
use strait_transport::envelope::{ANY, Envelope, Pattern};
use strait_transport::protocol::matching::{Matching, PostedId};

/// The definition: two vectors in order of arrival.
#[derive(Default)]
struct Naive {
    posted: Vec<(Pattern, u32)>,
    unexpected: Vec<(Envelope, u32)>,
}

impl Naive {
    fn arrive(&mut self, envelope: Envelope) -> Option<u32> {
        let at = self.posted.iter().position(|(pattern, _)| pattern.accepts(&envelope))?;
        Some(self.posted.remove(at).1)
    }

    fn find(&self, pattern: Pattern) -> Option<(Envelope, u32)> {
        self.unexpected.iter().find(|(envelope, _)| pattern.accepts(envelope)).copied()
    }

    fn take(&mut self, pattern: Pattern) -> Option<(Envelope, u32)> {
        let at = self.unexpected.iter().position(|(envelope, _)| pattern.accepts(envelope))?;
        Some(self.unexpected.remove(at))
    }
}

#[derive(Clone, Debug)]
enum Event {
    Receive(Pattern),
    Arrive(Envelope),
    Probe(Pattern),
    Withdraw(usize),
    TakeBack(Envelope),
}

fn event(contexts: u32, sources: u32, tags: u32) -> impl Strategy<Value = Event> {
    let envelope = move || {
        (0..contexts, 0..sources, 0..tags).prop_map(|(context, source, tag)| Envelope {
            context: context * 64,
            source,
            tag,
        })
    };
    let pattern = move || {
        (envelope(), 0..8u8).prop_map(|(e, wild)| Pattern {
            context: e.context,
            source: if wild & 1 == 1 && wild & 4 == 4 { ANY } else { e.source },
            tag: if wild & 2 == 2 && wild & 4 == 4 { ANY } else { e.tag },
        })
    };
    prop_oneof![
        4 => pattern().prop_map(Event::Receive),
        4 => envelope().prop_map(Event::Arrive),
        1 => pattern().prop_map(Event::Probe),
        1 => any::<usize>().prop_map(Event::Withdraw),
        1 => envelope().prop_map(Event::TakeBack),
    ]
}

fn run(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut matching = Matching::new();
    let mut naive = Naive::default();
    let mut ids: Vec<(u32, PostedId)> = Vec::new();
    for (number, event) in events.into_iter().enumerate() {
        let number = number as u32;
        match event {
            Event::Receive(pattern) => match naive.take(pattern) {
                Some(expected) => {
                    let id = matching.find(pattern);
                    prop_assert!(id.is_some(), "{pattern:?} finds nothing");
                    let found = matching.remove(id.expect("checked"));
                    prop_assert_eq!(found, expected);
                }
                None => {
                    prop_assert_eq!(matching.find(pattern), None);
                    naive.posted.push((pattern, number));
                    ids.push((number, matching.post(pattern, number)));
                }
            },
            Event::Arrive(envelope) => {
                let expected = naive.arrive(envelope);
                prop_assert_eq!(matching.arrive(envelope), expected);
                ids.retain(|(request, _)| Some(*request) != expected);
                if expected.is_none() {
                    naive.unexpected.push((envelope, number));
                    matching.add(envelope, number);
                }
            }
            Event::Probe(pattern) => {
                let found = matching.find(pattern);
                let found = found.map(|id| matching.message(id)).map(|(e, m)| (e, *m));
                prop_assert_eq!(found, naive.find(pattern));
            }
            Event::Withdraw(pick) if !ids.is_empty() => {
                let (request, id) = ids.swap_remove(pick % ids.len());
                matching.withdraw(id);
                naive.posted.retain(|(_, posted)| *posted != request);
            }
            Event::Withdraw(_) => {}
            Event::TakeBack(envelope) => {
                let last = naive.unexpected.iter().rposition(|(e, _)| *e == envelope);
                let expected = last.map(|at| naive.unexpected.remove(at));
                let wanted = expected.map(|(_, message)| message);
                let id = matching.find_latest(envelope, |message| Some(*message) == wanted);
                prop_assert_eq!(id.map(|id| matching.remove(id)), expected);
            }
        }
        prop_assert_eq!(matching.posted_count(), naive.posted.len());
        prop_assert_eq!(matching.unexpected_count(), naive.unexpected.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Few keys: long bins, wildcards meet exact receives.
    #[test]
    fn few_keys(events in prop::collection::vec(event(2, 2, 2), 1..400)) {
        run(events)?;
    }

    /// A backlog of one kind first, so that the queue is hashed, then everything.
    #[test]
    fn long_queues(
        posted_first: bool,
        backlog in prop::collection::vec(event(1, 4, 12), 200..400),
        events in prop::collection::vec(event(1, 4, 12), 1..400),
    ) {
        let one_kind = |event: &Event| match event {
            Event::Receive(_) => posted_first,
            Event::Arrive(_) => !posted_first,
            _ => false,
        };
        run(backlog.into_iter().filter(one_kind).chain(events).collect())?;
    }

    /// Many keys: queues grow beyond the list, are hashed, and shrink again.
    #[test]
    fn many_keys(events in prop::collection::vec(event(3, 6, 40), 1..800)) {
        run(events)?;
    }
}

const MANY: u32 = 1_000_000;

fn envelope(context: u32, tag: u32) -> Envelope {
    Envelope { context, source: 7, tag }
}

#[test]
fn a_receive_finds_its_message_behind_a_million() {
    let mut matching = Matching::new();
    for i in 0..MANY {
        matching.add(envelope(1, 5), i);
    }
    // A hundred thousand searches behind a million entries: a walk would need minutes.
    for i in 0..100_000 {
        assert_eq!(matching.arrive(envelope(1, 6)), None);
        matching.add(envelope(1, 6), i);
        let pattern = Pattern { context: 1, source: 7, tag: 6 };
        let id = matching.find(pattern).expect("it is there");
        assert_eq!(matching.remove(id), (envelope(1, 6), i));
        // Another context does not see the backlog, not even with wildcards.
        let other = Pattern { context: 2, source: ANY, tag: ANY };
        assert_eq!(matching.find(other), None);
        matching.add(envelope(2, 9), i);
        let id = matching.find(other).expect("it is there");
        assert_eq!(matching.remove(id), (envelope(2, 9), i));
    }
    for i in 0..MANY {
        let id = matching.find(Pattern { context: 1, source: ANY, tag: ANY }).expect("in order");
        assert_eq!(matching.remove(id).1, i);
    }
    assert_eq!(matching.unexpected_count(), 0);
}

#[test]
fn an_arrival_finds_its_receive_behind_a_million() {
    let mut matching: Matching<u32> = Matching::new();
    for i in 0..MANY {
        // All keys differ, so the table grows to a million bins.
        matching.post(Pattern { context: 1, source: 7, tag: i }, i);
    }
    let any = Pattern { context: 1, source: ANY, tag: MANY };
    for i in 0..100_000 {
        matching.post(any, MANY + i);
        assert_eq!(matching.arrive(envelope(1, MANY)), Some(MANY + i));
    }
    let last = MANY + 100_000;
    matching.post(Pattern { context: 1, source: ANY, tag: ANY }, last);
    for i in (0..MANY).rev() {
        // Posted before the wildcard, so each exact receive comes first.
        assert_eq!(matching.arrive(envelope(1, i)), Some(i));
    }
    assert_eq!(matching.arrive(envelope(1, 3)), Some(last));
    assert_eq!(matching.posted_count(), 0);
}

#[test]
fn contexts_come_and_go() {
    let mut matching = Matching::new();
    matching.add(envelope(u32::MAX - 1, 1), 7);
    matching.post(Pattern { context: u32::MAX - 2, source: ANY, tag: 1 }, 8);
    for context in 0..100_000 {
        matching.add(envelope(context, 1), context);
        let id = matching.find(Pattern { context, source: 7, tag: ANY }).expect("it is there");
        assert_eq!(matching.remove(id), (envelope(context, 1), context));
    }
    assert!(matching.context_count() < 1000);
    let old = matching.find(Pattern { context: u32::MAX - 1, source: 7, tag: 1 });
    assert_eq!(old.map(|id| matching.remove(id).1), Some(7));
    assert_eq!(matching.arrive(envelope(u32::MAX - 2, 1)), Some(8));
}
