// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One agreement of the members of a communicator, of which any number may die at any time: a state
//! machine without I/O. Who decides, decides the same; also who dies just afterwards.
//!
//! The coordinator is the lowest member that is not known to be gone. It gathers what each of the
//! others brings, proposes one value, and decides when all have adopted it:
//!
//! ```text
//! member                         coordinator
//! State (what I bring, and what  waits for the State of each who is not gone;
//!        I have adopted)    -->  chooses: what was adopted in the highest round, else all combined
//! adopts the value          <--  Propose (its own number is the round)
//! Ack                       -->  waits for the Ack of each who is not gone; decides
//! decides                   <--  Decided
//! ```
//!
//! When the coordinator is known to be gone, each member turns to the next one, with its State, or
//! with Decided if it has decided. docs/decisions/0011-fault-tolerance.md has the argument; it
//! rests on these invariants:
//!
//! 1. Who is known to be gone is gone: it sends nothing any more, and what it proposed is not
//!    adopted after that is known.
//! 2. A member sends its State to one that is not the lowest only when it knows all below to be
//!    gone. So what it has adopted by then is all that it ever adopts in rounds below.
//! 3. A coordinator that decides has seen that everybody who is not gone has adopted its value.
//!
//! Not here: how messages travel, and who is gone (fault/mod.rs).
#![forbid(unsafe_code)]

/// What members agree on.
pub trait Value: Clone {
    /// This one and another member's together, in any order.
    fn combine(&mut self, other: &Self);
    /// A member is gone whose own value did not come, or came before.
    fn leave_out(&mut self, member: u32);
}

/// What members say to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<V> {
    /// To the coordinator: what I bring, and what I have adopted in which round.
    State { own: V, adopted: Option<(u32, V)> },
    /// From it: adopt this. Its number is the round.
    Propose(V),
    /// Adopted.
    Ack,
    /// This was decided.
    Decided(V),
}

/// A message to a member.
pub type Outgoing<V> = (u32, Message<V>);

/// What a coordinator knows of a member.
#[derive(Clone)]
struct Heard<V> {
    state: Option<(V, Option<(u32, V)>)>,
    acknowledged: bool,
}

/// One agreement, as one member sees it.
#[derive(Clone)]
pub struct Consensus<V> {
    me: u32,
    gone: Vec<bool>,
    /// What this member brings, once it takes part.
    own: Option<V>,
    adopted: Option<(u32, V)>,
    decided: Option<V>,
    /// Whom we sent our State, or Decided, last.
    attached: Option<u32>,
    heard: Vec<Heard<V>>,
    has_proposed: bool,
    out: Vec<Outgoing<V>>,
}

impl<V: Value> Consensus<V> {
    /// Of so many members, of whom this is `me`.
    pub fn new(members: u32, me: u32) -> Consensus<V> {
        Consensus {
            me,
            gone: vec![false; members as usize],
            own: None,
            adopted: None,
            decided: None,
            attached: None,
            heard: Vec::new(),
            has_proposed: false,
            out: Vec::new(),
        }
    }

    /// The value, once it is decided.
    pub fn decided(&self) -> Option<&V> {
        self.decided.as_ref()
    }

    /// What is to be sent.
    pub fn take_messages(&mut self) -> Vec<Outgoing<V>> {
        std::mem::take(&mut self.out)
    }

    /// This member takes part, and brings this.
    pub fn start(&mut self, own: V) {
        self.own = Some(own);
        self.attach();
        self.coordinate();
    }

    /// A member is gone.
    pub fn lose(&mut self, member: u32) {
        if std::mem::replace(&mut self.gone[member as usize], true) {
            return;
        }
        self.attach();
        self.coordinate();
    }

    /// A member said this.
    pub fn hear(&mut self, from: u32, message: Message<V>) {
        if let Message::Decided(value) = message {
            return self.decide(value);
        }
        if self.gone[from as usize] {
            return;
        }
        match (message, &self.decided) {
            (Message::State { .. } | Message::Propose(_), Some(value)) => {
                self.out.push((from, Message::Decided(value.clone())));
            }
            (Message::State { own, adopted }, None) => {
                self.heard_of(from).state = Some((own, adopted));
                self.coordinate();
            }
            (Message::Propose(value), None) if self.coordinator() == from => {
                self.adopted = Some((from, value));
                self.out.push((from, Message::Ack));
            }
            (Message::Ack, None) if self.has_proposed => {
                self.heard_of(from).acknowledged = true;
                self.coordinate();
            }
            _ => {}
        }
    }

    fn coordinator(&self) -> u32 {
        let lowest = self.gone.iter().position(|gone| !gone);
        lowest.map_or(self.me, |lowest| (lowest as u32).min(self.me))
    }

    fn heard_of(&mut self, member: u32) -> &mut Heard<V> {
        if self.heard.is_empty() {
            self.heard = vec![Heard { state: None, acknowledged: false }; self.gone.len()];
        }
        &mut self.heard[member as usize]
    }

    fn others(&self) -> impl Iterator<Item = u32> + use<V> {
        let me = self.me;
        let here: Vec<u32> =
            (0..).zip(&self.gone).filter(|(_, gone)| !**gone).map(|(member, _)| member).collect();
        here.into_iter().filter(move |member| *member != me)
    }

    /// Turns to the coordinator, if it is another one than before.
    fn attach(&mut self) {
        let coordinator = self.coordinator();
        if self.attached == Some(coordinator) {
            return;
        }
        let message = match (&self.decided, &self.own) {
            (Some(value), _) => Message::Decided(value.clone()),
            (None, Some(own)) => Message::State { own: own.clone(), adopted: self.adopted.clone() },
            (None, None) => return,
        };
        self.attached = Some(coordinator);
        if coordinator != self.me {
            self.out.push((coordinator, message));
        }
    }

    /// The next step of the coordinator, if this is it and the others have come so far.
    fn coordinate(&mut self) {
        if self.coordinator() != self.me || self.decided.is_some() || self.own.is_none() {
            return;
        }
        self.heard_of(self.me);
        if !self.has_proposed {
            if self.others().any(|member| self.heard[member as usize].state.is_none()) {
                return;
            }
            let value = self.choose();
            self.has_proposed = true;
            self.adopted = Some((self.me, value.clone()));
            for member in self.others() {
                self.out.push((member, Message::Propose(value.clone())));
            }
        }
        if self.others().all(|member| self.heard[member as usize].acknowledged)
            && let Some((_, value)) = self.adopted.clone()
        {
            self.decide(value);
        }
    }

    /// What was adopted in the highest round; if nothing was, what all brought.
    fn choose(&self) -> V {
        let states = || self.heard.iter().filter_map(|heard| heard.state.as_ref());
        let adopted = states().filter_map(|(_, adopted)| adopted.as_ref()).chain(&self.adopted);
        if let Some((_, value)) = adopted.max_by_key(|(round, _)| *round) {
            return value.clone();
        }
        let mut value = self.own.clone().expect("a coordinator takes part");
        states().for_each(|(own, _)| value.combine(own));
        for (member, _) in (0..).zip(&self.gone).filter(|(_, gone)| **gone) {
            value.leave_out(member);
        }
        value
    }

    /// As coordinator we tell the others, whether the value is ours or came from one who had
    /// decided before; else those who have turned to us already, knowing more deaths than we do.
    fn decide(&mut self, value: V) {
        if self.decided.is_some() {
            return;
        }
        let coordinator = self.coordinator();
        let heard = std::mem::take(&mut self.heard);
        let has_turned =
            |member: u32| heard.get(member as usize).is_some_and(|h| h.state.is_some());
        for member in self.others() {
            if coordinator == self.me || has_turned(member) {
                self.out.push((member, Message::Decided(value.clone())));
            }
        }
        self.attached = Some(coordinator);
        self.decided = Some(value);
    }
}

#[cfg(test)]
mod tests;
