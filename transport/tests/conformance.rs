// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every lane must do, as one suite, run for each of them.
//!
//! A `World` makes the lanes of some peers within this process; one thread polls them all. A lane
//! between a worker and itself has no second peer, so that the tests of many are not run for it.

#[path = "conformance/loopback.rs"]
mod loopback;
#[path = "conformance/ofi.rs"]
mod ofi;
#[path = "conformance/remote.rs"]
mod remote;
#[path = "conformance/shm.rs"]
mod shm;
#[path = "conformance/sim.rs"]
mod sim;
#[path = "conformance/suite.rs"]
mod suite;
#[path = "conformance/tcp.rs"]
mod tcp;
#[path = "conformance/ucx.rs"]
mod ucx;

conformance!(over_loopback, crate::loopback::LoopbackWorld);
conformance!(over_ofi_shm, crate::ofi::OfiWorld<crate::ofi::Shm>);
conformance!(over_ofi_tcp, crate::ofi::OfiWorld<crate::ofi::Tcp>);
conformance!(over_ofi_udp, crate::ofi::OfiWorld<crate::ofi::Udp>);
conformance!(over_shm, crate::shm::ShmWorld);
conformance!(over_sim, crate::sim::SimWorld);
conformance!(over_tcp, crate::tcp::TcpWorld);
conformance!(over_tcp_rails, crate::tcp::RailWorld);
conformance!(over_ucx_posix, crate::ucx::UcxWorld<crate::ucx::Posix>);
conformance!(over_ucx_sysv, crate::ucx::UcxWorld<crate::ucx::Sysv>);
conformance!(over_ucx_tcp, crate::ucx::UcxWorld<crate::ucx::Tcp>);
conformance_of_many!(many_over_ofi_shm, crate::ofi::OfiWorld<crate::ofi::Shm>);
conformance_of_many!(many_over_ofi_tcp, crate::ofi::OfiWorld<crate::ofi::Tcp>);
conformance_of_many!(many_over_ofi_udp, crate::ofi::OfiWorld<crate::ofi::Udp>);
conformance_of_many!(many_over_shm, crate::shm::ShmWorld);
conformance_of_many!(many_over_sim, crate::sim::SimWorld);
conformance_of_many!(many_over_tcp, crate::tcp::TcpWorld);
conformance_of_many!(many_over_tcp_rails, crate::tcp::RailWorld);
conformance_of_many!(many_over_ucx_posix, crate::ucx::UcxWorld<crate::ucx::Posix>);
conformance_of_many!(many_over_ucx_sysv, crate::ucx::UcxWorld<crate::ucx::Sysv>);
conformance_of_many!(many_over_ucx_tcp, crate::ucx::UcxWorld<crate::ucx::Tcp>);

/// Makes the test of those that reach memory of peers.
macro_rules! conformance_of_memory {
    ($($name:ident: $world:ty),* $(,)?) => {
        mod memory {
            $(
                #[test]
                fn $name() {
                    crate::remote::exposed_memory_is_written_and_read::<$world>();
                }
            )*
        }
    };
}

conformance_of_memory!(
    over_ofi_shm: crate::ofi::OfiWorld<crate::ofi::Shm>,
    over_ofi_tcp: crate::ofi::OfiWorld<crate::ofi::Tcp>,
    over_ofi_udp: crate::ofi::OfiWorld<crate::ofi::Udp>,
    over_ucx_posix: crate::ucx::UcxWorld<crate::ucx::Posix>,
    over_ucx_sysv: crate::ucx::UcxWorld<crate::ucx::Sysv>,
    over_ucx_tcp: crate::ucx::UcxWorld<crate::ucx::Tcp>,
);
