// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two groups become an intercommunicator: their leaders meet, and tell their groups.
//!
//! ```text
//!     group A             leader a      way       leader b             group B
//!        |  cards  ->        |                       |        <-  cards  |
//!        |                   | <- cards, a context ->|                   |
//!        |  <- all of B's    |                       |    all of A's ->  |
//!        |  introduced  ->   |                       |  <-  introduced   |
//!        |                   | <----- all know ----> |                   |
//!        |  <- done          |                       |          done ->  |
//! ```
//!
//! The way is a communicator that both leaders are in, or a socket. Groups of one job need no
//! cards: their members know each other. Nobody returns before all have been introduced, so
//! whoever sends first finds a receiver that knows it.

use crate::agreement::Circle;
use crate::api::communicator::local_context;
use crate::entry::Entry;
use crate::error::{Result, class, error, make};
use crate::object::comm::Comm;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::group::Group;
use crate::universe::{Card, random_context};
use strait_transport::envelope::Peer;
use strait_transport::outside;

/// How two leaders talk.
pub trait Way {
    /// Gives the other leader a string and gets one.
    fn swap(&mut self, entry: &mut Entry, mine: &[u8]) -> Result<Vec<u8>>;

    /// Whether the other leader is known to be of this job.
    fn is_inside(&self, entry: &Entry) -> bool;
}

impl Way for Circle {
    /// Lengths first.
    fn swap(&mut self, entry: &mut Entry, mine: &[u8]) -> Result<Vec<u8>> {
        let mut length = [0; 8];
        let my_length = (mine.len() as u64).to_le_bytes();
        let mut requests = vec![self.post_receive(entry, 1, &mut length)];
        requests.extend(self.post_send(entry, 1, &my_length));
        self.finish(entry, &requests)?;
        let mut theirs = vec![0; u64::from_le_bytes(length) as usize];
        let mut requests = vec![self.post_receive(entry, 1, &mut theirs)];
        requests.extend(self.post_send(entry, 1, mine));
        self.finish(entry, &requests)?;
        Ok(theirs)
    }

    fn is_inside(&self, entry: &Entry) -> bool {
        !entry.has_outsiders(&self.members)
    }
}

/// One of the groups, as its members see it.
pub struct Party<'a> {
    /// The group.
    pub group: &'a Group,
    /// The place of its leader.
    pub leader: usize,
    /// The exchange among its members.
    pub circle: &'a Circle,
}

impl Party<'_> {
    fn leads(&self) -> bool {
        self.circle.me == self.leader
    }

    /// The leader's bytes, or its error, for all members. Lengths first.
    fn spread(&self, entry: &mut Entry, mine: Result<Vec<u8>>) -> Result<Vec<u8>> {
        let (code, mut bytes) = match &mine {
            Ok(bytes) => (0, bytes.clone()),
            Err(problem) => (problem.code, problem.text.clone().into_bytes()),
        };
        let mut head = [(bytes.len() as u64).to_le_bytes(), i64::from(code).to_le_bytes()].concat();
        self.circle.bcast(entry, self.leader, &mut head)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight"));
        let (length, code) = (word(0), word(8) as i32);
        bytes.resize(length as usize, 0);
        self.circle.bcast(entry, self.leader, &mut bytes)?;
        if self.leads() {
            return mine;
        }
        match code {
            0 => Ok(bytes),
            code => error(code, String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// All members' cards, or the error of one.
    fn cards(&self, entry: &mut Entry) -> Result<Vec<Card>> {
        let own = entry.card();
        let bytes = own.as_ref().map_or([0; Card::BYTES], Card::encode);
        self.circle.settle(entry, own, [])?;
        Ok(Card::decode_all(&self.circle.allgather(entry, &bytes)?))
    }
}

/// What a leader says first, if both groups may be of one job: its context proposal and its
/// members.
struct Side {
    is_inside: bool,
    context: u32,
    members: Vec<Peer>,
}

impl Side {
    fn encode(&self) -> Vec<u8> {
        let head = [u32::from(self.is_inside), self.context];
        let words = head.into_iter().chain(self.members.iter().map(|p| p.0));
        words.flat_map(u32::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Side {
        let word = |c: &[u8]| u32::from_le_bytes(c.try_into().expect("four bytes"));
        let mut words = bytes.chunks_exact(4).map(word);
        let is_inside = words.next() == Some(1);
        let context = words.next().unwrap_or(0);
        Side { is_inside, context, members: words.map(Peer).collect() }
    }
}

/// Makes an intercommunicator over a communicator between the leaders, which matters at the leader
/// only.
pub fn establish(
    entry: &mut Entry,
    party: &Party,
    bridge: Result<Circle>,
    handler: ErrhandlerRef,
) -> Result<Comm> {
    let mut bridge = bridge;
    let mut message = Ok(Vec::new());
    if party.leads() {
        message = match &mut bridge {
            Ok(way) => first_words(entry, party, way),
            Err(problem) => Err(problem.clone()),
        };
    }
    let message = party.spread(entry, message)?;
    let mine = u32::from_le_bytes(message[..4].try_into().expect("four bytes"));
    let theirs = Side::decode(&message[4..]);
    if !theirs.is_inside {
        return establish_outside(entry, party, bridge, handler);
    }
    let (local, me) = (party.group, entry.me());
    let remote = Group::new(theirs.members, me);
    if remote.rank.is_some() {
        return error(class::COMM, OVERLAP);
    }
    let local_first = local.members.at(0) < remote.members.at(0);
    let context = if local_first { mine } else { theirs.context };
    Ok(between(context, local.clone(), remote, local_first, handler))
}

const OVERLAP: &str = "the two groups of an intercommunicator overlap";

fn between(
    context: u32,
    local: Group,
    remote: Group,
    local_first: bool,
    handler: ErrhandlerRef,
) -> Comm {
    let mut new = Comm::new(context, local, Some(remote), handler);
    new.local_first = local_first;
    new.local_context = local_context(context, local_first);
    new
}

/// What the leader learns from the other one: its own proposal, then the other side. That one is
/// inside only if both think so.
fn first_words(entry: &mut Entry, party: &Party, way: &mut Circle) -> Result<Vec<u8>> {
    let members = party.group.members.to_vec();
    let is_inside = !entry.has_outsiders(&members) && way.is_inside(entry);
    let context = entry.propose_context()?;
    let side = Side { is_inside, context, members };
    let theirs = Side::decode(&way.swap(entry, &side.encode())?);
    let theirs = Side { is_inside: is_inside && theirs.is_inside, ..theirs };
    Ok([context.to_le_bytes().to_vec(), theirs.encode()].concat())
}

/// What each side brings to a meeting of several jobs; that of the first side holds.
struct Offer {
    name: [u8; 16],
    key: [u8; 32],
    context: u32,
}

impl Offer {
    const BYTES: usize = 52;

    fn new() -> Result<Offer> {
        let (name, key) = (outside::random()?, outside::random()?);
        Ok(Offer { name, key, context: random_context()? })
    }

    fn encode(&self) -> Vec<u8> {
        [&self.name[..], &self.key, &self.context.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8; Offer::BYTES]) -> Offer {
        Offer {
            name: *bytes.first_chunk().expect("16 bytes"),
            key: bytes[16..48].try_into().expect("32 bytes"),
            context: u32::from_le_bytes(*bytes.last_chunk().expect("four bytes")),
        }
    }
}

/// First byte of what leaders of several jobs swap: all is well, or the text of an error follows.
const WELL: u8 = 1;
const AGAIN: u8 = 2;
const FAILED: u8 = 0;

/// Swaps what this side has, or why it has nothing; fails if either side does.
fn swap_result<W: Way>(
    entry: &mut Entry,
    way: &mut W,
    mine: Result<Vec<u8>>,
    code: i32,
) -> Result<Vec<u8>> {
    let said = match &mine {
        Ok(bytes) => [&[WELL], &bytes[..]].concat(),
        Err(problem) => [&[FAILED], problem.text.as_bytes()].concat(),
    };
    let theirs = way.swap(entry, &said);
    mine?;
    match theirs?.split_first() {
        Some((&WELL, bytes)) => Ok(bytes.to_vec()),
        Some((_, text)) => {
            let text = String::from_utf8_lossy(text);
            error(code, format!("the other side failed: {text}"))
        }
        None => error(code, "the other side said nothing"),
    }
}

/// Makes an intercommunicator of processes of several jobs. `way` matters at the leader only.
pub fn establish_outside<W: Way>(
    entry: &mut Entry,
    party: &Party,
    way: Result<W>,
    handler: ErrhandlerRef,
) -> Result<Comm> {
    let mut way = way;
    let cards = party.cards(entry);
    let mut message = Ok(Vec::new());
    if party.leads() {
        message = match &mut way {
            Ok(way) => exchange_cards(entry, way, &cards),
            Err(problem) => Err(problem.clone()),
        };
    }
    let cards = match (cards, party.spread(entry, message)) {
        (Err(problem), _) | (_, Err(problem)) => return Err(problem),
        (Ok(cards), Ok(message)) => (cards, message),
    };
    let (near, message) = cards;
    let Some((offer, theirs)) = message.split_first_chunk::<{ Offer::BYTES }>() else {
        return error(class::OTHER, "the leader has told nothing");
    };
    let (offer, far) = (Offer::decode(offer), Card::decode_all(theirs));
    let (Some(first), Some(other)) = (near.first(), far.first()) else {
        return error(class::OTHER, "the other side has no members");
    };
    let local_first = first.identity() < other.identity();
    let overlaps = far.iter().any(|card| near.iter().any(|o| o.identity() == card.identity()));
    let known = match overlaps {
        true => error(class::COMM, OVERLAP),
        false => {
            let both = if local_first { [&near[..], &far] } else { [&far[..], &near] };
            entry.introduce(offer.name, offer.key, &both.concat())
        }
    };
    let (peers, context) = settle(entry, party, way, known, (offer.context, local_first))?;
    let split = if local_first { near.len() } else { far.len() };
    let (low, high) = peers.split_at(split);
    let theirs = if local_first { high } else { low };
    let remote = Group::new(theirs.to_vec(), entry.me());
    Ok(between(context, party.group.clone(), remote, local_first, handler))
}

/// The leaders' first exchange: the offer that holds, and the cards of the other side.
fn exchange_cards<W: Way>(
    entry: &mut Entry,
    way: &mut W,
    cards: &Result<Vec<Card>>,
) -> Result<Vec<u8>> {
    let offer = Offer::new();
    let mine = match (&offer, cards) {
        (Ok(offer), Ok(cards)) => {
            let cards: Vec<u8> = cards.iter().flat_map(Card::encode).collect();
            Ok([offer.encode(), cards].concat())
        }
        (Err(problem), _) | (_, Err(problem)) => Err(problem.clone()),
    };
    let theirs = swap_result(entry, way, mine, class::OTHER)?;
    let (offer, cards) = match (offer, cards) {
        (Ok(offer), Ok(cards)) => (offer, cards),
        (Err(problem), _) => return Err(problem),
        (_, Err(problem)) => return Err(problem.clone()),
    };
    let Some((other, far)) = theirs.split_first_chunk::<{ Offer::BYTES }>() else {
        return error(class::OTHER, "the other side is no Strait of this version");
    };
    let far_first = Card::decode_all(far).first().map(Card::identity);
    let local_first = cards.first().map(Card::identity) < far_first;
    let offer = if local_first { offer } else { Offer::decode(other) };
    Ok([offer.encode(), far.to_vec()].concat())
}

/// All know each other, or nobody returns well; and the context is free everywhere. Where it is not
/// (one chance in millions), the first side proposes another.
fn settle<W: Way>(
    entry: &mut Entry,
    party: &Party,
    way: Result<W>,
    known: Result<Vec<Peer>>,
    (context, local_first): (u32, bool),
) -> Result<(Vec<Peer>, u32)> {
    let mut way = way;
    let mut context = context;
    loop {
        let is_mine = known.is_ok() && entry.universe.reserve(context);
        let settled = party.circle.settle(entry, known.clone(), [i64::from(is_mine)]);
        let here = settled.map(|(_, all)| match all.iter().all(|words| words[0] == 1) {
            true => WELL,
            false => AGAIN,
        });
        let mut verdict = Ok(Vec::new());
        if party.leads() {
            verdict = match &mut way {
                Ok(way) => swap_verdict(entry, way, here, local_first),
                Err(_) => error(class::INTERN, "the leader has no way any more"),
            };
        }
        let verdict = party.spread(entry, verdict);
        let peers = known.clone()?;
        match verdict?.split_first() {
            Some((&WELL, _)) => return Ok((peers, context)),
            Some((_, next)) => {
                if is_mine {
                    entry.universe.release(context);
                }
                context = u32::from_le_bytes(next.try_into().map_err(|_| {
                    make(class::OTHER, "the other side is no Strait of this version")
                })?);
            }
            None => return error(class::OTHER, "the leader has told nothing"),
        }
    }
}

/// How both sides stand, and the next context to try.
fn swap_verdict<W: Way>(
    entry: &mut Entry,
    way: &mut W,
    here: Result<u8>,
    local_first: bool,
) -> Result<Vec<u8>> {
    let next = random_context()?.to_le_bytes();
    let mine = here.clone().map(|word| [&[word], &next[..]].concat());
    let theirs = swap_result(entry, way, mine, class::OTHER)?;
    let word = here?.max(theirs.first().copied().unwrap_or(AGAIN));
    let next = if local_first { next.to_vec() } else { theirs.get(1..).unwrap_or(&[]).to_vec() };
    Ok([vec![word], next].concat())
}
