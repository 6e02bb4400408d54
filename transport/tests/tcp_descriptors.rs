// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A process without free descriptors: callers wait, nothing spins, nothing is lost. Alone in its
//! file, because the limit is the process's.

mod tcp;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::OwnedFd;
use std::time::Duration;
use strait_transport::error::Submit;
use tcp::*;

#[test]
fn callers_wait_while_no_descriptor_is_free() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    assert_eq!(all[0].short(1, 1, b"patience"), Submit::Sent);
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: before.maximum })
        .expect("a lower limit");
    let mut hoard: Vec<OwnedFd> = Vec::new();
    while let Ok(descriptor) = rustix::io::dup(all[0].lane.epoll_fd()) {
        hoard.push(descriptor);
    }
    all[1].poll();
    assert_eq!(all[1].lane.connection_count(), 0, "it could not accept");
    all[1].poll();
    assert!(!sleep_on(&all[1], Duration::from_millis(300)), "a full process must not spin");
    hoard.clear();
    assert!(sleep_on(&all[1], Duration::from_secs(30)), "it tries again");
    until(&mut all, "it arrived", |all| all[1].got.messages.len() == 1);
    assert!(all.iter().all(|end| end.got.lost.is_empty()));
}
