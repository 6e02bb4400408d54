// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which accesses are allowed now: the access and exposure epochs of one rank (MPI-5.0 section
//! 12.5).

use crate::error::{Result, advise, class, error};
use strait_transport::request::RequestId;

/// How a target is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// With others (MPI_LOCK_SHARED).
    Shared,
    /// Alone (MPI_LOCK_EXCLUSIVE).
    Alone,
    /// The user said that nobody conflicts (MPI_MODE_NOCHECK): nothing was taken.
    Unchecked,
}

/// The epochs that are open.
#[derive(Default)]
pub struct Epochs {
    /// A fence was called that others may follow.
    pub fence: bool,
    /// Targets of MPI_Win_start.
    pub started: Option<Vec<u32>>,
    /// What MPI_Win_wait awaits of each origin of MPI_Win_post.
    pub exposed: Option<Vec<RequestId>>,
    /// Targets that are locked one by one.
    pub locked: Vec<(u32, Held)>,
    /// MPI_Win_lock_all.
    pub all: Option<Held>,
}

impl Epochs {
    /// Whether an access to this target may be made.
    #[inline]
    pub fn check_access(&self, target: u32) -> Result {
        let open = self.all.is_some()
            || self.fence
            || self.held(target).is_some()
            || self.started.as_ref().is_some_and(|targets| targets.contains(&target));
        if open { Ok(()) } else { no_epoch(target) }
    }

    /// How this target is locked by itself.
    #[inline]
    pub fn held(&self, target: u32) -> Option<Held> {
        self.locked.iter().find(|(rank, _)| *rank == target).map(|(_, held)| *held)
    }

    /// Whether MPI_Win_flush may name this target.
    pub fn check_passive(&self, target: u32) -> Result {
        match self.all.or(self.held(target)) {
            Some(_) => Ok(()),
            None => error(class::RMA_SYNC, format!("rank {target} is not locked by this process")),
        }
    }

    /// Whether any target is locked: MPI_Win_flush_all.
    pub fn check_any_passive(&self) -> Result {
        match self.all.is_some() || !self.locked.is_empty() {
            true => Ok(()),
            false => error(class::RMA_SYNC, "no rank is locked by this process"),
        }
    }

    /// Whether an epoch of this kind may begin that locks targets.
    pub fn check_lock(&self, target: Option<u32>) -> Result {
        if self.started.is_some() {
            return error(class::RMA_SYNC, "an epoch of MPI_Win_start is open");
        }
        if self.all.is_some() {
            return error(class::RMA_SYNC, "all ranks are locked already");
        }
        match target {
            Some(target) if self.held(target).is_none() => Ok(()),
            Some(target) => error(class::RMA_SYNC, format!("rank {target} is locked already")),
            None if self.locked.is_empty() => Ok(()),
            None => {
                let text = format!("rank {} is locked already", self.locked[0].0);
                error(class::RMA_SYNC, text)
            }
        }
    }

    /// Whether MPI_Win_start may be called.
    pub fn check_start(&self) -> Result {
        if self.started.is_some() {
            return error(class::RMA_SYNC, "an epoch of MPI_Win_start is open already");
        }
        match self.all.is_some() || !self.locked.is_empty() {
            true => error(class::RMA_SYNC, "ranks are locked by this process"),
            false => Ok(()),
        }
    }

    /// Whether the window may be freed, or fenced: no other epoch is open.
    pub fn check_closed(&self) -> Result {
        let what = if self.started.is_some() {
            "an epoch of MPI_Win_start is open: MPI_Win_complete ends it"
        } else if self.exposed.is_some() {
            "an epoch of MPI_Win_post is open: MPI_Win_wait ends it"
        } else if self.all.is_some() {
            "all ranks are locked: MPI_Win_unlock_all ends that"
        } else if !self.locked.is_empty() {
            "a rank is locked: MPI_Win_unlock ends that"
        } else {
            return Ok(());
        };
        error(class::RMA_SYNC, what)
    }
}

#[cold]
fn no_epoch(target: u32) -> Result {
    Err(advise(
        class::RMA_SYNC,
        format!("no epoch is open in which rank {target} may be accessed"),
        "open one with MPI_Win_fence, MPI_Win_start, MPI_Win_lock or MPI_Win_lock_all",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_epoch_opens_its_targets() {
        let mut epochs = Epochs::default();
        let code = |result: Result| result.err().map_or(0, |error| error.code);
        assert_eq!(code(epochs.check_access(1)), class::RMA_SYNC);
        epochs.locked.push((1, Held::Alone));
        assert_eq!(code(epochs.check_access(1)), 0);
        assert_eq!(code(epochs.check_access(2)), class::RMA_SYNC);
        assert_eq!(code(epochs.check_lock(Some(1))), class::RMA_SYNC);
        assert_eq!(code(epochs.check_lock(Some(2))), 0);
        assert_eq!(code(epochs.check_lock(None)), class::RMA_SYNC);
        assert_eq!(code(epochs.check_start()), class::RMA_SYNC);
        assert_eq!(code(epochs.check_closed()), class::RMA_SYNC);
        epochs.locked.clear();
        epochs.started = Some(vec![2]);
        assert_eq!(code(epochs.check_access(2)), 0);
        assert_eq!(code(epochs.check_passive(2)), class::RMA_SYNC);
        epochs.started = None;
        epochs.fence = true;
        assert_eq!(code(epochs.check_access(7)), 0);
        assert_eq!(code(epochs.check_closed()), 0);
    }
}
