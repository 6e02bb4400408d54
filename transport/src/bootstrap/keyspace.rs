// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins a job of another launcher by its key-value space, whatever the launcher speaks (pmi.rs,
//! pmix/): each process puts values there, a fence of all makes them visible, and that is all the
//! help we need.
//!
//! 1. The first rank of each host makes the host's node memory and puts where it is (process and
//!    descriptor); rank 0 puts the identity and the key of the job. Fence.
//! 2. All read both, and open the memory through `/proc`.
//! 3. Only if the job spans hosts: each puts its address when it has one. Fence. The addresses of
//!    others are asked for when they are needed.
//!
//! Values are bytes in hexadecimal digits; what is longer than a launcher's limit lies under
//! several keys. Nobody of ours watches these processes: deaths are noticed by their peers
//! (lane::shm::death).
//!
//! Not here: how a launcher is asked; spawning.

use super::{Job, Origin, enter, from_hex};
use crate::error::{Error, Kind, Result};
use crate::node::{Claim, FAR_ADDRESS_BYTES_MAX, Node, NodePlan, RankOrder, RankState};
use rustix::fs::{Mode, OFlags};
use std::fmt::Write;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long the launcher has to pass on what was written before an abort.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long an abort waits for a thread that is asking the launcher something.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);
/// How long the first rank of a host waits for the others after the fence, and between two looks.
const OTHERS_TIME: Duration = Duration::from_secs(60);
const OTHERS_PAUSE: Duration = Duration::from_micros(100);

/// Before the first piece of a value: how many pieces there are, and a dot.
const COUNT_BYTES: usize = 4;
/// Most pieces of a value: 64 of the least that a launcher takes hold an address of any lane.
const PIECES_MAX: usize = 64;
/// Room for digits in a piece at least: every launcher takes values of 64 bytes.
const PIECE_BYTES_MIN: usize = 60;
const KEY_OF_JOB: &str = "strait-job";

/// What to do about a second program with MPI in a rank.
pub(super) const ONE_PROGRAM: &str = "one launcher runs one MPI program per rank; start the second \
                                      program with a launcher of its own";

/// What a launcher of others does for its processes.
pub(super) trait KeySpace: Send {
    /// The ranks of this host, in ascending order.
    fn local_ranks(&mut self) -> Result<Vec<u32>>;
    /// A number for the host of each rank; `None` where the launcher does not tell of all. Asked by
    /// the first rank of a host only.
    fn hosts_of_ranks(&mut self) -> Result<Option<Vec<u32>>>;
    /// Longest value.
    fn value_bytes_max(&self) -> usize;
    /// Keeps a value for others, who see it after the next fence.
    fn put(&mut self, key: &str, value: &str) -> Result<()>;
    /// Waits until all ranks have come here.
    fn fence(&mut self) -> Result<()>;
    /// What `owner` put under this key; `None` if it put nothing.
    fn get(&mut self, owner: u32, key: &str) -> Result<Option<String>>;
    /// The orderly end.
    fn finalize(&mut self) -> Result<()>;
    /// Asks for the end of the job. It may end this process at once.
    fn abort(&mut self, code: i32);
}

/// How an attempt to join ended, when it did not fail.
pub(super) enum Joined {
    /// This process is a rank of such a job.
    Rank(Box<Job>),
    /// There is such a launcher, but it did not mean this process, for this reason.
    NotMeant(String),
    /// There is no such launcher, or the way to it is not open here.
    Nobody,
}

/// The key-value space of this process, from MPI_Init on; gone after the orderly end.
static SPACE: OnceLock<Mutex<Option<Box<dyn KeySpace>>>> = OnceLock::new();

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::new(Kind::Bootstrap(text)))
}

/// Holds the place of a rank against the processes that it starts, which inherit its variables: a
/// name that the kernel gives to one process of this host at a time. `None`: somebody has it.
pub(super) fn hold_place(job: &str, rank: &str) -> Result<Option<UnixListener>> {
    let user = rustix::process::getuid().as_raw();
    let name = format!("strait-rank-{user}-{job}-{rank}");
    // Names of sockets end after 107 bytes; the end of a job's name tells jobs apart.
    let name = name.get(name.len().saturating_sub(100)..).unwrap_or(&name);
    let bound =
        SocketAddr::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name));
    match bound {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(Error::system(
            "cannot hold this rank's place",
            error.raw_os_error().unwrap_or(libc::EIO),
        )),
    }
}

/// Why a process is not the rank that its environment names.
pub(super) fn not_meant(variable: &str, job: &str, rank: &str) -> Joined {
    Joined::NotMeant(format!(
        "{variable} is set to {job}, but a living process is rank {rank} of that job already"
    ))
}

/// Joins the job as this rank of so many.
pub(super) fn join(mut space: Box<dyn KeySpace>, rank: u32, size: u32) -> Result<Joined> {
    let job = make_job(space.as_mut(), rank, size)?;
    if SPACE.set(Mutex::new(Some(space))).is_err() {
        return refuse("this process joined a job before".to_owned());
    }
    Ok(Joined::Rank(Box::new(job)))
}

pub(super) fn make_job(space: &mut dyn KeySpace, rank: u32, size: u32) -> Result<Job> {
    let local_ranks = space.local_ranks()?;
    let leader = leader_of(&local_ranks, rank)?;
    let leads = rank == leader;
    let key_of_node = format!("strait-node-{leader}");
    let mut made = None;
    let mut secret = [0; 48];
    if leads {
        // The others replace identity and key by those of rank 0.
        let (job, key) = ([0; 16], [0; 32]);
        let order = order_of(space, &local_ranks, size)?;
        let (first_local_rank, local_size) = (order.process_of(leader), local_ranks.len() as u32);
        let plan = NodePlan { job, key, size, first_local_rank, local_size };
        let node = Node::create_ordered(&plan, &order)?;
        let place = format!("{}:{}", std::process::id(), node.descriptor().as_raw_fd());
        put_bytes(space, &key_of_node, place.as_bytes())?;
        made = Some(node);
    }
    if rank == 0 {
        getrandom::fill(&mut secret).map_err(|error| {
            Error::system("no random numbers", error.raw_os_error().unwrap_or(libc::EIO))
        })?;
        put_bytes(space, KEY_OF_JOB, &secret)?;
    }
    space.fence()?;
    let Ok(secret) = <[u8; 48]>::try_from(need(space, 0, KEY_OF_JOB)?) else {
        return refuse("rank 0 published what this build cannot read".to_owned());
    };
    let mut node = match made {
        Some(node) => node,
        None => open_of(&String::from_utf8_lossy(&need(space, leader, &key_of_node)?))?,
    };
    let (job, key) = secret.split_at(16);
    node.adopt(job.try_into().expect("16 bytes"), key.try_into().expect("32 bytes"));
    let plan = node.plan_ref();
    let local_rank = node.process_of(rank).wrapping_sub(plan.first_local_rank);
    if plan.size != size || local_rank >= plan.local_size {
        return refuse(format!("the memory of this host is not made for rank {rank} of {size}"));
    }
    match node.record(local_rank).claim() {
        Claim::Won => {
            let job = enter(local_rank, node, Origin::Foreign)?;
            if leads {
                await_others(&job)?;
            }
            Ok(job)
        }
        other => refuse(format!("rank {rank} is there already: {other:?}")),
    }
}

/// Puts bytes: digits under the key, and what does not fit under `key.1`, `key.2`, ...
fn put_bytes(space: &mut dyn KeySpace, key: &str, bytes: &[u8]) -> Result<()> {
    let digits = to_hex(bytes);
    let room = space.value_bytes_max().saturating_sub(COUNT_BYTES).max(PIECE_BYTES_MIN);
    let count = digits.len().div_ceil(room).max(1);
    if count > PIECES_MAX {
        return refuse(format!(
            "the launcher takes values of {} bytes, too short for one of {}",
            space.value_bytes_max(),
            digits.len()
        ));
    }
    for index in 0..count {
        let piece = &digits[index * room..digits.len().min((index + 1) * room)];
        match index {
            0 => space.put(key, &format!("{count}.{piece}"))?,
            _ => space.put(&format!("{key}.{index}"), piece)?,
        }
    }
    Ok(())
}

/// What [`put_bytes`] put; `None` if nothing was put, or not by this build.
fn get_bytes(space: &mut dyn KeySpace, owner: u32, key: &str) -> Result<Option<Vec<u8>>> {
    let Some(first) = space.get(owner, key)? else { return Ok(None) };
    let Some((count, piece)) = first.split_once('.') else { return Ok(None) };
    let count = count.parse().ok().filter(|count| (1..=PIECES_MAX).contains(count));
    let (Some(count), mut digits) = (count, piece.to_owned()) else { return Ok(None) };
    for index in 1..count {
        let Some(piece) = space.get(owner, &format!("{key}.{index}"))? else { return Ok(None) };
        digits.push_str(&piece);
    }
    Ok(from_hex(&digits))
}

fn need(space: &mut dyn KeySpace, owner: u32, key: &str) -> Result<Vec<u8>> {
    match get_bytes(space, owner, key)? {
        Some(bytes) => Ok(bytes),
        None => refuse(format!("the launcher lost what rank {owner} published as {key}")),
    }
}

fn with<T>(action: impl FnOnce(&mut dyn KeySpace) -> Result<T>) -> Option<T> {
    let mut space = SPACE.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    action(space.as_mut()?.as_mut()).ok()
}

/// Publishes the address of this rank, and waits until all have; `false` without such a launcher.
pub(crate) fn publish_address(rank: u32, address: &[u8]) -> bool {
    with(|space| {
        put_bytes(space, &key_of_address(rank), address)?;
        space.fence()
    })
    .is_some()
}

/// The address of a rank, if it is there.
pub(crate) fn address(rank: u32) -> Option<Vec<u8>> {
    let bytes = with(|space| get_bytes(space, rank, &key_of_address(rank)))??;
    Some(bytes).filter(|bytes| (1..=FAR_ADDRESS_BYTES_MAX).contains(&bytes.len()))
}

fn key_of_address(rank: u32) -> String {
    format!("strait-address-{rank}")
}

/// Whether this process belongs to such a launcher.
pub(crate) fn is_joined() -> bool {
    SPACE.get().is_some()
}

/// The orderly end.
pub(super) fn finalize() {
    let Some(space) = SPACE.get() else { return };
    let space = space.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut space) = space {
        // A launcher that is gone by now has nobody left to tell.
        let _ = space.finalize();
    }
}

/// Asks the launcher to end the job. It may end us at once.
pub(super) fn abort(code: i32) {
    // The launcher ends its helpers at once, with what they have read of our last words and not
    // passed on: they get a moment for it.
    std::thread::sleep(LAST_WORDS);
    let Some(space) = SPACE.get() else { return };
    let begun = Instant::now();
    loop {
        match space.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < ABORT_PATIENCE => {
                std::thread::sleep(OTHERS_PAUSE);
            }
            // Then our own end must do: a launcher ends the job of a process that ends so.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(space)) => {
                return ask_for_abort(&mut space.into_inner(), code);
            }
            Ok(mut space) => return ask_for_abort(&mut space, code),
        }
    }
}

fn ask_for_abort(space: &mut Option<Box<dyn KeySpace>>, code: i32) {
    if let Some(space) = space {
        space.abort(code);
    }
}

/// The first rank of this rank's host.
fn leader_of(local_ranks: &[u32], rank: u32) -> Result<u32> {
    match local_ranks.first() {
        Some(first) if local_ranks.contains(&rank) => Ok(*first),
        _ => refuse(format!(
            "the launcher says that ranks {local_ranks:?} are on this host, and this is rank {rank}"
        )),
    }
}

/// Which rank each process is, as the first rank of a host finds out.
fn order_of(space: &mut dyn KeySpace, local_ranks: &[u32], size: u32) -> Result<RankOrder> {
    let Some(host_of) = space.hosts_of_ranks()? else {
        // The first rank of a host where that shows refuses, so no other host goes on.
        if local_ranks.windows(2).all(|two| two[1] == two[0] + 1) {
            return Ok(RankOrder::default());
        }
        return refuse(
            "the ranks of a host do not follow each other, and the launcher does not say where all \
             ranks are\n  help: srun --distribution=block, Open MPI's mpirun --map-by slot, or the \
             mpiexec of Strait"
                .to_owned(),
        );
    };
    let ours = local_ranks.first().and_then(|leader| host_of.get(*leader as usize));
    let same = |(host, rank): (&u32, u32)| (Some(host) == ours).then_some(rank);
    let here: Vec<u32> = host_of.iter().zip(0..).filter_map(same).collect();
    if host_of.len() != size as usize || here != local_ranks {
        return refuse(format!(
            "the launcher says that ranks {local_ranks:?} share this host, and elsewhere that \
             {here:?} do, of {size}"
        ));
    }
    Ok(RankOrder::of_hosts(&host_of))
}

/// The memory that another process of this host holds open: `process:descriptor`.
fn open_of(place: &str) -> Result<Node> {
    let (process, descriptor) = place.split_once(':').unwrap_or((place, ""));
    let path = format!("/proc/{process}/fd/{descriptor}");
    match rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(descriptor) => Node::open(descriptor),
        Err(errno) => refuse(format!(
            "cannot open the memory that the first rank of this host made ({path}: {errno})\n  \
             help: ranks of one host must be of one user and in one process namespace; or start \
             the program with the mpiexec of Strait"
        )),
    }
}

/// The others of this host open the memory through this process, which stays until they have: it
/// could have ended before the slowest of them came.
fn await_others(job: &Job) -> Result<()> {
    let begun = Instant::now();
    let is_absent = |rank: u32| job.node.record(rank).state() == RankState::Absent;
    while let Some(rank) = (0..job.local_size).find(|rank| is_absent(*rank)) {
        if begun.elapsed() > OTHERS_TIME {
            return refuse(format!(
                "rank {} of this host did not join within {} s",
                job.node.rank_of(job.first_local_rank + rank),
                OTHERS_TIME.as_secs()
            ));
        }
        std::thread::sleep(OTHERS_PAUSE);
    }
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[derive(Default)]
    struct Shelf {
        limit: usize,
        values: HashMap<String, String>,
        hosts: Option<Vec<u32>>,
    }

    impl KeySpace for Shelf {
        fn local_ranks(&mut self) -> Result<Vec<u32>> {
            Ok(vec![0])
        }
        fn hosts_of_ranks(&mut self) -> Result<Option<Vec<u32>>> {
            Ok(self.hosts.clone())
        }
        fn value_bytes_max(&self) -> usize {
            self.limit
        }
        fn put(&mut self, key: &str, value: &str) -> Result<()> {
            assert!(value.len() <= self.limit, "{} bytes in {}", value.len(), self.limit);
            self.values.insert(key.to_owned(), value.to_owned());
            Ok(())
        }
        fn fence(&mut self) -> Result<()> {
            Ok(())
        }
        fn get(&mut self, _: u32, key: &str) -> Result<Option<String>> {
            Ok(self.values.get(key).cloned())
        }
        fn finalize(&mut self) -> Result<()> {
            Ok(())
        }
        fn abort(&mut self, _: i32) {}
    }

    #[test]
    fn long_values_lie_under_several_keys() {
        for limit in [64, 255, 1024, usize::MAX] {
            for bytes in [0_usize, 1, 30, 31, 126, 127, 510, 1024] {
                let mut shelf = Shelf { limit, ..Shelf::default() };
                let value: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
                put_bytes(&mut shelf, "a", &value).expect("it fits");
                let keys = (2 * bytes).div_ceil(limit.saturating_sub(COUNT_BYTES)).max(1);
                assert_eq!(shelf.values.len(), keys, "{bytes} bytes in values of {limit}");
                assert_eq!(get_bytes(&mut shelf, 0, "a").expect("it answers"), Some(value));
                if keys > 1 {
                    shelf.values.remove(&format!("a.{}", keys - 1));
                    assert_eq!(get_bytes(&mut shelf, 0, "a").expect("it answers"), None);
                }
            }
        }
        let mut shelf = Shelf { limit: 64, ..Shelf::default() };
        let error = put_bytes(&mut shelf, "a", &[0; 4096]).expect_err("too long").to_string();
        assert!(error.contains("values of 64 bytes"), "{error}");
        for nonsense in ["", "aa", ".aa", "0.aa", "65.aa", "1.a", "1.xy", "-1.aa"] {
            shelf.values.insert("b".to_owned(), nonsense.to_owned());
            assert_eq!(get_bytes(&mut shelf, 0, "b").expect("it answers"), None, "{nonsense}");
        }
    }

    #[test]
    fn places() {
        assert_eq!(leader_of(&[2, 3], 3).expect("a rank of this host"), 2);
        assert!(leader_of(&[2, 3], 1).is_err());
        assert!(leader_of(&[], 0).is_err());
    }

    #[test]
    fn orders_of_launchers() {
        let order = |hosts: Option<&[u32]>, local_ranks: &[u32], size| {
            let hosts = hosts.map(<[u32]>::to_vec);
            order_of(&mut Shelf { hosts, ..Shelf::default() }, local_ranks, size)
        };
        let cyclic: Option<&[u32]> = Some(&[0, 1, 0, 1]);
        assert_eq!(order(cyclic, &[1, 3], 4).expect("two hosts").ranks(), [0, 2, 1, 3]);
        assert!(order(Some(&[0, 0, 1]), &[0, 1], 3).expect("blocks").is_same());
        assert!(order(None, &[2, 3], 4).expect("a block").is_same());
        let error = order(None, &[0, 2], 4).expect_err("cyclic").to_string();
        assert!(error.contains("--distribution=block"), "{error}");
        for (hosts, local_ranks, size) in
            [(&[0, 1, 0, 1][..], &[0, 1][..], 4), (&[0, 1], &[0], 3), (&[0, 1], &[5], 2)]
        {
            let error = order(Some(hosts), local_ranks, size).expect_err("a contradiction");
            assert!(error.to_string().contains("and elsewhere that"), "{error}");
        }
    }

    #[test]
    fn a_place_is_held_by_one_process() {
        let job = format!("keyspace-test-{}", std::process::id());
        let place = hold_place(&job, "3").expect("a name").expect("it is free");
        assert!(hold_place(&job, "3").expect("a name").is_none());
        assert!(hold_place(&job, "4").expect("a name").is_some());
        drop(place);
        assert!(hold_place(&job, "3").expect("a name").is_some());
        // Long names differ at their ends.
        let long = "x".repeat(200);
        let one = hold_place(&format!("{long}-{job}-1"), "0").expect("a name");
        let two = hold_place(&format!("{long}-{job}-2"), "0").expect("a name");
        assert!(one.is_some() && two.is_some());
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(from_hex(&to_hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
    }
}
