// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent collectives: the request is made once, each timed operation is MPI_Start and
//! MPI_Wait. Otherwise as blocking ones.
//!
//! Not measured: making and freeing the request.

use super::Collective;
use super::blocking::{summary, timed};
use super::call::Call;
use crate::benchmark::{Case, Measured};
use crate::mpi::raw::REQUEST_NULL;
use crate::mpi::{self, World};
use crate::options::Options;

pub fn measure<C: Collective>(world: &World, options: &Options, case: &Case) -> Measured {
    let mut call = Call::new(C::MOVEMENT, world, options, case);
    let mut request = REQUEST_NULL;
    // SAFETY: the call was made for this collective, all ranks are here, and it outlives the
    // request, which is freed below.
    unsafe { C::persistent(&call, &mut request) };
    let (times, valid) = timed(&mut call, options, case, |_| {
        // SAFETY: the request was waited for, so it is inactive.
        unsafe { mpi::start(&mut request) };
        mpi::wait(&mut request);
    });
    mpi::free(&mut request);
    summary(world, case, times, valid)
}
