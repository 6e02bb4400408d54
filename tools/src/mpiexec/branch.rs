// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An agent that starts agents: one for the ranks of its own host, and others on the hosts that it
//! was given, by the same launcher that started it. It runs no ranks; it passes frames on.
//!
//! Invariants:
//! 1. Frames are passed on whole and in order. Those of a host of ours get its number on their way
//!    up and lose it on their way down; what has a number already keeps it.
//! 2. What waits on its way up is bounded: nobody is listened to while it takes no more.
//! 3. Each link has its own signs of life, so a silent host is noticed by the one that started it,
//!    after the same time at any depth.
//! 4. The end of the way up is the end of all below.
//!
//! Not here: what a rank's host does (agent.rs, job.rs); which hosts there are (head.rs).
#![forbid(unsafe_code)]

use super::agent::{BEAT_TIME, Link, PATIENCE};
use super::port::{self, EXIT_TIME, Port, READY_TIME, SILENCE_MAX};
use super::ready::ready;
use super::signals::{self, Signals};
use super::sink::{Flush, QUEUE_BYTES_HIGH, Sink};
use super::wire::{self, ALL, Branch, Command, Event, Kind, Loss, Order, Seat};
use super::{launch, start};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const TOKEN_SIGNALS: u64 = 1;
const TOKEN_PARENT: u64 = 2;
const TOKEN_OUT: u64 = 3;
const TOKEN_FROM: u64 = 1 << 32;
const TOKEN_TO: u64 = 2 << 32;
const TOKEN_ERR: u64 = 3 << 32;
const TOKEN_MASK: u64 = (1 << 32) - 1;

/// How long what we started may take to end after us; less than mpiexec waits for us.
const LEAVE_TIME: Duration = Duration::from_secs(4);
/// Longest line of a launcher that is passed on whole.
const WORDS_BYTES_MAX: usize = 64 * 1024;
/// Between two looks at who is silent.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// A way down.
struct Child {
    port: Port,
    /// What its launcher says to people.
    err: Option<OwnedFd>,
    words: Vec<u8>,
    /// The hosts it leads to, and those of them that are not done.
    hosts: Vec<usize>,
    open: BTreeSet<usize>,
}

struct Router {
    host: String,
    parent: Link,
    out: Sink,
    is_armed: bool,
    children: Vec<Child>,
    child_of: HashMap<usize, usize>,
    outer: OwnedFd,
    signals: Signals,
    /// The ranks were started.
    has_begun: bool,
    /// When what is left is killed.
    closing: Option<Instant>,
    beat_at: Instant,
    look_at: Instant,
}

/// Runs it; the exit code.
pub fn main(parent: Link, branch: Branch) -> u8 {
    let Some(own) = branch.seats.first().cloned() else { return 1 };
    match Router::start(parent, branch) {
        Ok(router) => router.run(),
        Err(why) => {
            // Somebody must be told, and nothing of ours is there to queue it.
            let text = format!("host {}: {why}", own.host);
            let failure = super::failure::Failure::with_code(1, text);
            let mut frame = Vec::new();
            let body = wire::json(&Event::Refused(failure));
            wire::via(&mut frame, own.index as u32, Kind::Event, &body);
            super::agent::say_raw(&frame);
            1
        }
    }
}

impl Router {
    fn start(parent: Link, branch: Branch) -> Result<Router, String> {
        let fail = |what: &str, errno: Errno| start::system(what, errno.into()).text;
        let signals = Signals::watch().map_err(|error| error.to_string())?;
        let outer = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| fail("cannot make an epoll", errno))?;
        let watch = |fd: rustix::fd::BorrowedFd<'_>, token: u64| {
            epoll::add(&outer, fd, EventData::new_u64(token), EventFlags::IN)
                .map_err(|errno| fail("cannot watch a descriptor", errno))
        };
        rustix::io::fcntl_setfd(&parent.input, rustix::io::FdFlags::CLOEXEC)
            .and_then(|()| rustix::io::ioctl_fionbio(&parent.input, true))
            .map_err(|errno| fail("cannot set up the way to mpiexec", errno))?;
        watch(signals.as_fd(), TOKEN_SIGNALS)?;
        watch(parent.input.as_fd(), TOKEN_PARENT)?;
        let out = Sink::inherited(std::io::stdout().as_fd())
            .map_err(|errno| fail("no descriptors left", errno))?;
        // A launcher that is named by a relative path is found from there. If there is no such
        // directory, the agents say so.
        let _ = std::env::set_current_dir(&branch.order.directory);
        let now = Instant::now();
        let host = branch.seats.first().map(|seat| seat.host.clone()).unwrap_or_default();
        let mut router = Router {
            host,
            parent,
            out,
            is_armed: false,
            children: Vec::new(),
            child_of: HashMap::new(),
            outer,
            signals,
            has_begun: false,
            closing: None,
            beat_at: now,
            look_at: now,
        };
        let Branch { order, seats, fan_out } = branch;
        let (own, others) = seats.split_at(1);
        router.add(&order, own, None, fan_out)?;
        for group in port::groups(others, fan_out) {
            if let Err(why) = router.add(&order, &group, Some(&group[0].host), fan_out) {
                let hosts = group.iter().map(|seat| seat.index).collect();
                router.tell_loss(hosts, why, order.request.options.launcher.name(), String::new());
            }
        }
        Ok(router)
    }

    /// Starts the agent of these hosts on the first of them.
    fn add(
        &mut self,
        order: &Order,
        seats: &[Seat],
        name: Option<&str>,
        fan_out: usize,
    ) -> Result<(), String> {
        let options = &order.request.options;
        let setting = launch::Setting { mask: self.signals.mask_before, limit: None };
        let executable = launch::executable(name, options.prefix.as_deref())
            .map_err(|error| error.to_string())?;
        let started = launch::start(name, &options.launcher, &executable, &setting)
            .map_err(|error| error.to_string())?;
        let number = self.children.len();
        let tokens = (TOKEN_FROM | number as u64, TOKEN_TO | number as u64);
        let (mut port, err) =
            Port::new(started, &self.outer, tokens).map_err(|errno| errno.to_string())?;
        let token = EventData::new_u64(TOKEN_ERR | number as u64);
        epoll::add(&self.outer, &err, token, EventFlags::IN).map_err(|errno| errno.to_string())?;
        let command = match seats {
            [seat] => Command::Prepare(Box::new(Order { seat: seat.clone(), ..order.clone() })),
            _ => Command::Branch(Box::new(Branch {
                order: order.clone(),
                seats: seats.to_vec(),
                fan_out,
            })),
        };
        port.send(Kind::Command, &wire::json(&command));
        let hosts: Vec<usize> = seats.iter().map(|seat| seat.index).collect();
        self.child_of.extend(hosts.iter().map(|host| (*host, number)));
        let open = hosts.iter().copied().collect();
        self.children.push(Child { port, err: Some(err), words: Vec::new(), hosts, open });
        Ok(())
    }

    fn run(mut self) -> u8 {
        self.hear_parent();
        while !self.is_over() {
            let has_room = self.out.queued() < QUEUE_BYTES_HIGH;
            self.children.iter_mut().for_each(|child| child.port.watch(has_room));
            let wait = if self.closing.is_some() { 20 } else { 1000 };
            let wait = Timespec { tv_sec: wait / 1000, tv_nsec: wait % 1000 * 1_000_000 };
            for token in ready(&self.outer, Some(&wait)) {
                self.serve(token);
            }
            self.flush();
            self.on_time(Instant::now());
        }
        0
    }

    fn is_over(&self) -> bool {
        let gone = self.children.iter().all(|child| child.port.exit.is_some());
        let late = self.closing.is_some_and(|at| Instant::now() > at + LEAVE_TIME);
        self.closing.is_some() && (gone || late)
    }

    fn serve(&mut self, token: u64) {
        let index = (token & TOKEN_MASK) as usize;
        match token & !TOKEN_MASK {
            TOKEN_FROM => self.hear_child(index),
            TOKEN_TO => self.children[index].port.flush(),
            TOKEN_ERR => self.pass_words(index),
            _ => match token {
                TOKEN_SIGNALS => self.serve_signals(),
                TOKEN_PARENT => self.hear_parent(),
                _ => self.flush(),
            },
        }
    }

    fn serve_signals(&mut self) {
        while let Some(arrived) = self.signals.next() {
            match arrived.number {
                libc::SIGCHLD => self.reap(),
                // A scheduler ends its job. What comes from a terminal is mpiexec's concern.
                libc::SIGTERM | libc::SIGHUP => self.close(),
                _ => {}
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, exit)) = signals::reap() {
            if let Some(child) = self.children.iter_mut().find(|child| child.port.pid == pid) {
                child.port.exit = Some(exit);
            }
        }
    }

    /// Passes down what came.
    fn hear_parent(&mut self) {
        while self.closing.is_none() {
            match self.parent.reader.next() {
                Ok(Some((Kind::Via, body))) => match wire::inside(&body) {
                    Some((host, kind, inner)) => self.pass_down(host, kind, inner),
                    None => return self.close(),
                },
                // A sign of life.
                Ok(Some((Kind::Command, _))) => {}
                Ok(Some(_)) | Err(_) => return self.close(),
                Ok(None) => {
                    let mut bytes = [0; 64 * 1024];
                    match rustix::io::read(&self.parent.input, &mut bytes) {
                        Ok(0) => return self.close(),
                        Ok(count) => {
                            self.parent.heard = Instant::now();
                            self.parent.reader.push(&bytes[..count]);
                        }
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => return,
                        Err(_) => return self.close(),
                    }
                }
            }
        }
    }

    fn pass_down(&mut self, host: u32, kind: Kind, body: &[u8]) {
        if host == ALL {
            if kind == Kind::Command && matches!(wire::parse(body), Some(Command::Start)) {
                self.has_begun = true;
                // Those that waited had nothing to say.
                let now = Instant::now();
                self.children.iter_mut().for_each(|child| child.port.heard = now);
            }
            for child in &mut self.children {
                match child.hosts.len() {
                    1 => child.port.send(kind, body),
                    _ => child.port.send_via(ALL, kind, body),
                }
            }
        } else if let Some(child) = self.child_of.get(&(host as usize)) {
            let child = &mut self.children[*child];
            match child.hosts.len() {
                1 => child.port.send(kind, body),
                _ => child.port.send_via(host, kind, body),
            }
        }
    }

    /// Passes up what came.
    fn hear_child(&mut self, index: usize) {
        if !self.children[index].port.read() {
            return self.gone(index);
        }
        loop {
            let child = &mut self.children[index];
            match child.port.next() {
                Ok(None) => return,
                Ok(Some((Kind::Via, body))) => match wire::inside(&body) {
                    Some((host, kind, inner)) if child.hosts.contains(&(host as usize)) => {
                        self.pass_up(index, host, kind, inner);
                    }
                    _ => return self.lose(index, "it speaks for hosts that it did not start"),
                },
                Ok(Some((kind, body))) => {
                    // Without a number it is the one host there, or its sign of life.
                    if let [host] = child.hosts[..] {
                        self.pass_up(index, host as u32, kind, &body);
                    }
                }
                Err(why) => return self.lose(index, &why),
            }
        }
    }

    fn pass_up(&mut self, index: usize, host: u32, kind: Kind, body: &[u8]) {
        if kind == Kind::Event {
            let open = &mut self.children[index].open;
            match wire::parse(body) {
                Some(Event::Beat) => return,
                Some(Event::Done(_) | Event::Refused(_)) => {
                    open.remove(&(host as usize));
                }
                Some(Event::Lost(loss)) => {
                    open.retain(|host| !loss.hosts.contains(host));
                }
                _ => {}
            }
        }
        let mut frame = Vec::with_capacity(body.len() + 16);
        wire::via(&mut frame, host, kind, body);
        self.out.put_bytes(&frame);
    }

    /// What a launcher says to people, line by line.
    fn pass_words(&mut self, index: usize) {
        let child = &mut self.children[index];
        let Some(err) = &child.err else { return };
        let mut bytes = [0; 16 * 1024];
        match rustix::io::read(err, &mut bytes) {
            Ok(count) if count > 0 => {
                child.words.extend_from_slice(&bytes[..count]);
                let is_end = |byte: &u8| *byte == b'\n';
                let whole = child.words.iter().rposition(is_end).map_or(0, |last| last + 1);
                let whole =
                    if child.words.len() > WORDS_BYTES_MAX { child.words.len() } else { whole };
                self.pass_up_words(index, whole);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => {
                let _ = epoll::delete(&self.outer, err);
                child.err = None;
                self.pass_up_words(index, usize::MAX);
            }
        }
    }

    fn pass_up_words(&mut self, index: usize, count: usize) {
        let child = &mut self.children[index];
        let host = child.hosts[0] as u32;
        let words: Vec<u8> = child.words.drain(..count.min(child.words.len())).collect();
        if !words.is_empty() {
            self.pass_up(index, host, Kind::Err, &words);
        }
    }

    /// A launcher has closed its output.
    fn gone(&mut self, index: usize) {
        if self.closing.is_some() || self.children[index].open.is_empty() {
            return;
        }
        let until = Instant::now() + EXIT_TIME;
        while self.children[index].port.exit.is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
            self.reap();
        }
        let how = self.children[index].port.end_in_words();
        self.lose(index, &how);
    }

    fn lose(&mut self, index: usize, why: &str) {
        // What the launcher had to say comes first.
        while self.children[index].err.as_ref().is_some_and(port::is_readable) {
            self.pass_words(index);
        }
        self.pass_up_words(index, usize::MAX);
        let child = &mut self.children[index];
        child.port.kill();
        let hosts: Vec<usize> = std::mem::take(&mut child.open).into_iter().collect();
        let (launcher, chatter) = (child.port.launcher.clone(), child.port.chatter());
        if !hosts.is_empty() {
            self.tell_loss(hosts, why.to_owned(), launcher, chatter);
        }
    }

    fn tell_loss(&mut self, hosts: Vec<usize>, why: String, launcher: String, chatter: String) {
        let first = hosts[0] as u32;
        let by = Some(self.host.clone());
        let body = wire::json(&Event::Lost(Loss { hosts, by, why, launcher, chatter }));
        let mut frame = Vec::new();
        wire::via(&mut frame, first, Kind::Event, &body);
        self.out.put_bytes(&frame);
    }

    fn flush(&mut self) {
        let is_blocked = match self.out.flush() {
            Flush::Blocked => true,
            Flush::Done => false,
            Flush::Broken => {
                self.close();
                false
            }
        };
        if is_blocked != self.is_armed {
            let token = EventData::new_u64(TOKEN_OUT);
            let changed = match is_blocked {
                true => epoll::add(&self.outer, &self.out, token, EventFlags::OUT),
                false => epoll::delete(&self.outer, &self.out),
            };
            self.is_armed = if changed.is_ok() { is_blocked } else { self.is_armed };
        }
    }

    fn on_time(&mut self, now: Instant) {
        if self.closing.is_some_and(|at| now > at) {
            self.children.iter().for_each(|child| child.port.kill());
        }
        if now > self.parent.heard + PATIENCE {
            self.close();
        }
        if now >= self.beat_at {
            self.beat_at = now + BEAT_TIME;
            let beat = wire::json(&Command::Beat);
            for child in self.children.iter_mut().filter(|_| self.has_begun) {
                child.port.send(Kind::Command, &beat);
            }
            if self.out.queued() < QUEUE_BYTES_HIGH {
                let mut frame = Vec::new();
                wire::write(&mut frame, Kind::Event, &wire::json(&Event::Beat));
                self.out.put_bytes(&frame);
            }
        }
        if now >= self.look_at && self.closing.is_none() {
            self.look_at = now + LOOK_TIME;
            self.look_for_silence(now);
        }
    }

    fn look_for_silence(&mut self, now: Instant) {
        for index in 0..self.children.len() {
            let child = &self.children[index];
            let Some(silence) = child.port.silence(now).filter(|_| !child.open.is_empty()) else {
                continue;
            };
            let has_answered = child.port.has_answered();
            if (self.has_begun || has_answered && child.hosts.len() > 1) && silence > SILENCE_MAX {
                let why = format!("nothing was heard from it for {} s", SILENCE_MAX.as_secs());
                self.lose(index, &why);
            } else if !has_answered && silence > READY_TIME {
                self.lose(index, &format!("no answer within {} s", READY_TIME.as_secs()));
            }
        }
    }

    /// Everything below goes.
    fn close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Instant::now() + LEAVE_TIME);
            self.children.iter_mut().for_each(|child| child.port.close_soon());
            let _ = epoll::delete(&self.outer, &self.parent.input);
        }
    }
}
