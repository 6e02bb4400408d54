// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All members in one thread: deaths at every step of seeded runs, amid sending too.

use super::*;
use std::collections::VecDeque;

/// Sets of members as bits: who brought something, and who was left out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sum {
    brought: u32,
    left_out: u32,
}

impl Value for Sum {
    fn combine(&mut self, other: &Sum) {
        self.brought |= other.brought;
        self.left_out |= other.left_out;
    }

    fn leave_out(&mut self, member: u32) {
        self.left_out |= 1 << member;
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

struct Member {
    machine: Consensus<Sum>,
    outbox: VecDeque<Outgoing<Sum>>,
    is_dead: bool,
    decision: Option<Sum>,
}

/// What can happen next.
enum Event {
    Start(usize),
    Send(usize),
    Deliver(usize, usize),
    Notice(usize, usize),
}

struct World {
    members: Vec<Member>,
    /// Messages on their way, in order, by sender and receiver.
    channels: Vec<Vec<VecDeque<Message<Sum>>>>,
    /// Who has to start, and who has yet to notice whose death.
    unstarted: Vec<usize>,
    unnoticed: Vec<(usize, usize)>,
    random: Random,
}

impl World {
    fn new(size: usize, seed: u64) -> World {
        let member = |me| Member {
            machine: Consensus::new(size as u32, me as u32),
            outbox: VecDeque::new(),
            is_dead: false,
            decision: None,
        };
        World {
            members: (0..size).map(member).collect(),
            channels: vec![vec![VecDeque::new(); size]; size],
            unstarted: (0..size).collect(),
            unnoticed: Vec::new(),
            random: Random(seed * 2 + 1),
        }
    }

    fn events(&self) -> Vec<Event> {
        let alive = |member: &usize| !self.members[*member].is_dead;
        let all = 0..self.members.len();
        let mut events: Vec<Event> =
            self.unstarted.iter().copied().filter(alive).map(Event::Start).collect();
        for from in all.clone() {
            if !self.members[from].is_dead && !self.members[from].outbox.is_empty() {
                events.push(Event::Send(from));
            }
            let full = all.clone().filter(|to| !self.channels[from][*to].is_empty());
            events.extend(full.filter(alive).map(|to| Event::Deliver(from, to)));
        }
        let unnoticed = self.unnoticed.iter().filter(|(who, _)| alive(who));
        events.extend(unnoticed.map(|(who, whom)| Event::Notice(*who, *whom)));
        events
    }

    fn step(&mut self) -> bool {
        let mut events = self.events();
        if events.is_empty() {
            return false;
        }
        let event = events.swap_remove(self.random.below(events.len()));
        let who = match event {
            Event::Start(who) => {
                self.unstarted.retain(|other| *other != who);
                self.members[who].machine.start(Sum { brought: 1 << who, left_out: 0 });
                who
            }
            Event::Send(who) => {
                let (to, message) = self.members[who].outbox.pop_front().expect("it has one");
                self.channels[who][to as usize].push_back(message);
                who
            }
            Event::Deliver(from, to) => {
                let message = self.channels[from][to].pop_front().expect("it has one");
                self.members[to].machine.hear(from as u32, message);
                to
            }
            Event::Notice(who, whom) => {
                self.unnoticed.retain(|pair| *pair != (who, whom));
                self.members[who].machine.lose(whom as u32);
                who
            }
        };
        let member = &mut self.members[who];
        member.outbox.extend(member.machine.take_messages());
        if let Some(value) = member.machine.decided() {
            // Once decided, for ever: also what the dead decided counts.
            assert_eq!(member.decision.get_or_insert_with(|| value.clone()), value);
        }
        true
    }

    /// Dies with what it has not sent; of what is on its way a random tail gets lost, too.
    fn kill(&mut self, victim: usize) {
        if std::mem::replace(&mut self.members[victim].is_dead, true) {
            return;
        }
        self.members[victim].outbox.clear();
        for to in 0..self.members.len() {
            let channel = &mut self.channels[victim][to];
            let kept = self.random.below(channel.len() + 1);
            channel.truncate(kept);
            if to != victim {
                self.unnoticed.push((to, victim));
            }
        }
    }

    fn check(&self, what: &str) {
        let mut decisions = self.members.iter().filter_map(|member| member.decision.as_ref());
        let survivors = self.members.iter().zip(0..).filter(|(member, _)| !member.is_dead);
        let mut alive = 0_u32;
        for (member, number) in survivors {
            assert!(member.decision.is_some(), "{what}: member {number} has not decided");
            alive |= 1 << number;
        }
        let Some(first) = decisions.next() else { return };
        assert!(decisions.all(|other| other == first), "{what}: two decisions");
        assert_eq!(first.brought & alive, alive, "{what}: a survivor was not asked");
        assert_eq!(first.left_out & alive, 0, "{what}: a survivor was left out");
    }
}

/// Runs with these deaths, each at its step; returns the number of steps.
fn run(size: usize, seed: u64, deaths: &[(usize, usize)]) -> usize {
    let mut world = World::new(size, seed);
    let mut steps = 0;
    loop {
        for (_, victim) in deaths.iter().filter(|(at, _)| *at == steps) {
            world.kill(*victim);
        }
        if !world.step() && deaths.iter().all(|(at, _)| *at <= steps) {
            break;
        }
        steps += 1;
        assert!(steps < 10_000, "an agreement ends");
    }
    world.check(&format!("{size} members, seed {seed}, deaths {deaths:?}"));
    steps
}

#[test]
fn without_deaths_all_are_asked() {
    for size in 1..=5 {
        for seed in 1..200 {
            run(size, seed, &[]);
        }
    }
}

#[test]
fn one_death_at_every_step() {
    for size in 2..=5 {
        for seed in 1..60 {
            let steps = run(size, seed, &[]);
            for at in 0..=steps {
                for victim in 0..size {
                    run(size, seed, &[(at, victim)]);
                }
            }
        }
    }
}

#[test]
fn two_deaths_at_every_pair_of_steps() {
    for size in 3..=4 {
        for seed in 1..4 {
            let steps = run(size, seed, &[]) + 6;
            for (first, second) in (0..steps).flat_map(|a| (a..steps).map(move |b| (a, b))) {
                for (one, other) in (0..size).flat_map(|a| (0..size).map(move |b| (a, b))) {
                    run(size, seed, &[(first, one), (second, other)]);
                }
            }
        }
    }
}

#[test]
fn any_number_of_deaths_at_random_steps() {
    for seed in 1..20_000 {
        let mut random = Random(seed * 77 + 5);
        let size = 2 + random.below(4);
        let count = random.below(size);
        let deaths: Vec<_> = (0..count).map(|_| (random.below(60), random.below(size))).collect();
        run(size, seed, &deaths);
    }
}

#[test]
fn who_decided_answers_who_comes_later() {
    let mut one: Consensus<Sum> = Consensus::new(3, 1);
    one.start(Sum { brought: 2, left_out: 0 });
    assert!(matches!(&one.take_messages()[..], [(0, Message::State { .. })]));
    // The third knows already that the first is gone, and turns to us.
    let own = Sum { brought: 4, left_out: 0 };
    one.hear(2, Message::State { own, adopted: None });
    let value = Sum { brought: 7, left_out: 0 };
    one.hear(0, Message::Decided(value.clone()));
    assert_eq!(one.take_messages(), [(2, Message::Decided(value))]);
    one.lose(0);
    assert!(one.take_messages().is_empty());
}
