// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which library of fabrics serves a job, if one does.

use super::allowed::Allowed;
use super::ofi::OfiLane;
use super::ucx::UcxLane;
use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Kind, Result};

/// At most one of them.
pub(super) type FabricLanes = (Option<Box<UcxLane>>, Option<Box<OfiLane>>);

/// The lane over a library of fabrics, one at most. Where TCP is allowed beside it, only over
/// hardware, and without any the libraries are not even looked for, unless the user named a
/// provider. Of the two the one whose makers made the card comes first.
pub(super) fn fabric_lanes(job: &Job, allowed: Allowed) -> Result<FabricLanes> {
    let has_provider = crate::config::text("OFI_PROVIDER")?.is_some();
    let must_be_fast = allowed.tcp && !has_provider;
    if must_be_fast && !crate::topology::has_fabric_devices() {
        return Ok((None, None));
    }
    let ucx_first = !has_provider && (!allowed.ofi || crate::topology::has_ucx_devices());
    if allowed.ucx && ucx_first {
        let is_choice = allowed.tcp || allowed.ofi;
        if let Some(ucx) = UcxLane::new(job, is_choice)? {
            return Ok((Some(Box::new(ucx)), None));
        }
    }
    let ucx_last = allowed.ucx && !ucx_first && !has_provider;
    if allowed.ofi
        && let Some(ofi) = OfiLane::new(job, must_be_fast || ucx_last)?
    {
        return Ok((None, Some(Box::new(ofi))));
    }
    match ucx_last {
        true => Ok((UcxLane::new(job, allowed.tcp)?.map(Box::new), None)),
        false => Ok((None, None)),
    }
}

/// No lane that is allowed leads to a process of the job.
#[cold]
pub(super) fn unreachable(peer: u32, is_local: bool) -> Error {
    let names = if is_local { "shm, tcp, ofi or ucx" } else { "tcp, ofi or ucx" };
    Error::new(Kind::Config(format!(
        "no lane reaches rank {}: STRAIT_LANES must name {names}",
        Peer(peer)
    )))
}
