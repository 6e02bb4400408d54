// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which protocol for which size: a cost table made from the capabilities of a lane, kept per
//! endpoint as thresholds, printable.
//!
//! The model, in nanoseconds, for a message of `b` bytes (latency L, fragment rate F, copy rate C,
//! get rate G and its fixed cost g; rates in bytes per microsecond):
//!
//! ```text
//! eager    L + b/F + b/C             one fragment path, one more copy if nobody waits for it
//!                                    (half of b/C where bytes land in place if somebody does,
//!                                    an eighth if the sender waits for just this message)
//! fetch    2L + g + b/G              RTS, get (its FIN is not waited for by the receiver)
//! pipeline 3L + b/F                  RTS, CTS, data
//! ```
//!
//! Each threshold is the first of the table's sizes from which on the other protocol is cheaper.
//! This reads numbers only, never the name of a lane.
#![forbid(unsafe_code)]

use super::credit;
use super::share::Unit;
use crate::lane::Capabilities;
use std::fmt;

/// Rate of a copy within this process's memory, bytes per microsecond: 12 GB/s, what one core does
/// out of another's caches.
const COPY_BYTES_PER_US: u64 = 12_000;

/// Of messages whose sender waits, so many come to a receive that waits for them, but one: the copy
/// that parking costs is counted in this part. Counted in full it sent all of 6 to 64 KiB by three
/// trips, which an exchange of single messages pays in full, and a window of many does not
/// (docs/performance.md).
const WAITED_ONE_IN: u64 = 8;

/// The grant that bounds eager messages which are copied twice: 64 KiB and more. Longer ones are
/// worth an announcement even where ranks wait for their turns.
const COPIED_GRANT_MAX: usize = 384 << 10;

/// What an endpoint keeps of its plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Thresholds {
    /// Up to here: header and body in one slot.
    pub short_bytes_max: u32,
    /// Up to here: eager, in one fragment or several.
    pub eager_bytes_max: u32,
    /// The same, of a send that its caller waits for.
    pub eager_waited_max: u32,
    /// Body of a fragment.
    pub fragment_bytes_max: u32,
    /// Longest body of a piece of an eager message.
    pub piece_bytes_max: u32,
    /// Body of a bulk message; zero if there is no such way.
    pub bulk_bytes_max: u32,
    /// From here on an announced message is fetched if it can be.
    pub fetch_bytes_min: u32,
    /// Whether the peer's memory can be fetched.
    pub fetch: bool,
    /// ... and only in the background.
    pub fetch_later: bool,
    /// In which units both sides copy a fetched message.
    pub unit: Unit,
}

impl Thresholds {
    /// The longest eager message, of a sender that waits for it or does not.
    #[inline]
    pub fn eager_max(&self, waited: bool) -> usize {
        (if waited { self.eager_waited_max } else { self.eager_bytes_max }) as usize
    }

    /// Body of the pieces in which an eager message of `bytes` is sent. Where pieces are shorter
    /// than fragments, because both sides copy at once, a message that would have two or three is
    /// sent in half as long ones, so that the first is there soon.
    #[inline]
    pub fn piece_bytes(&self, bytes: usize) -> usize {
        let most = self.piece_bytes_max as usize;
        let few = bytes > most && bytes < 4 * most;
        let halved = self.piece_bytes_max < self.fragment_bytes_max && few;
        if halved { (most / 2).max(1) } else { most }
    }
}

/// A way to carry a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// One slot.
    Short,
    /// Fragments, copied on arrival.
    Eager,
    /// Announced, then fetched by the receiver.
    Fetch,
    /// Announced, then sent in fragments into the receiver's memory.
    Pipeline,
}

/// The table of one endpoint.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    capabilities: Capabilities,
    grant: usize,
    /// What the endpoint uses.
    pub thresholds: Thresholds,
}

impl Plan {
    /// The plan for a lane with these capabilities and this eager grant.
    pub fn new(capabilities: Capabilities, grant: usize) -> Plan {
        let mut plan = Plan { capabilities, grant, thresholds: Thresholds::default() };
        let announced = |bytes| match plan.cost_ns(Protocol::Fetch, bytes) {
            Some(fetch) => fetch.min(plan.cost_ns_pipeline(bytes)),
            None => plan.cost_ns_pipeline(bytes),
        };
        let eager_dearer = |bytes| plan.cost_ns_eager(bytes, 1) > announced(bytes);
        let waited_dearer =
            |bytes| plan.cost_ns_eager(bytes, WAITED_ONE_IN) > plan.cost_ns_written(bytes);
        let fetch_cheaper = |bytes| {
            plan.cost_ns(Protocol::Fetch, bytes)
                .is_some_and(|fetch| fetch < plan.cost_ns_pipeline(bytes))
        };
        let eager_limit = match capabilities.bulk_bytes_max {
            0 => credit::eager_bytes_max(grant.min(COPIED_GRANT_MAX)),
            _ => credit::eager_bytes_max(grant),
        };
        let eager_bytes_max =
            first_size(eager_dearer).map_or(eager_limit, |at| at.min(eager_limit));
        let eager_waited_max =
            first_size(waited_dearer).map_or(eager_limit, |at| at.min(eager_limit));
        // Whatever is short could also be one fragment: a typed payload is packed into one.
        let most = capabilities.short_bytes_max.min(capabilities.fragment_bytes_max);
        let short_bytes_max = most.min(eager_limit);
        let fetch_bytes_min = first_size(fetch_cheaper).unwrap_or(usize::MAX);
        plan.thresholds = Thresholds {
            short_bytes_max: narrow(short_bytes_max),
            eager_bytes_max: narrow(eager_bytes_max.max(short_bytes_max)),
            eager_waited_max: narrow(eager_waited_max.max(eager_bytes_max).max(short_bytes_max)),
            fragment_bytes_max: narrow(capabilities.fragment_bytes_max),
            piece_bytes_max: narrow(
                capabilities.piece_bytes_max.min(capabilities.fragment_bytes_max),
            ),
            bulk_bytes_max: narrow(capabilities.bulk_bytes_max),
            fetch_bytes_min: narrow(fetch_bytes_min),
            fetch: capabilities.get,
            fetch_later: capabilities.get_later,
            unit: capabilities.share,
        };
        plan
    }

    /// The protocol for an expected contiguous message of this size.
    pub fn protocol(&self, bytes: usize) -> Protocol {
        let thresholds = &self.thresholds;
        if bytes <= thresholds.short_bytes_max as usize {
            Protocol::Short
        } else if bytes <= thresholds.eager_bytes_max as usize {
            Protocol::Eager
        } else if thresholds.fetch && bytes >= thresholds.fetch_bytes_min as usize {
            Protocol::Fetch
        } else {
            Protocol::Pipeline
        }
    }

    /// What the model says, in nanoseconds; `None` for what this lane cannot do.
    pub fn cost_ns(&self, protocol: Protocol, bytes: usize) -> Option<u64> {
        let c = &self.capabilities;
        match protocol {
            Protocol::Short if bytes > c.short_bytes_max => None,
            Protocol::Short | Protocol::Eager => Some(self.cost_ns_eager(bytes, 1)),
            Protocol::Fetch if !c.get => None,
            Protocol::Fetch => {
                let rate = u64::from(c.get_bytes_per_us);
                Some(2 * u64::from(c.latency_ns) + u64::from(c.get_ns) + time_ns(bytes, rate))
            }
            Protocol::Pipeline => Some(self.cost_ns_pipeline(bytes)),
        }
    }

    /// With one in so many messages unexpected.
    fn cost_ns_eager(&self, bytes: usize, unexpected_one_in: u64) -> u64 {
        let c = &self.capabilities;
        let copy = match c.bulk_bytes_max {
            0 => time_ns(bytes, COPY_BYTES_PER_US) / unexpected_one_in,
            _ => time_ns(bytes, COPY_BYTES_PER_US) / 2,
        };
        u64::from(c.latency_ns) + time_ns(bytes, u64::from(c.fragment_bytes_per_us)) + copy
    }

    /// Of the way in which an announced message is carried whose sender has just written it.
    fn cost_ns_written(&self, bytes: usize) -> u64 {
        let c = &self.capabilities;
        let Some(fetch) = self.cost_ns(Protocol::Fetch, bytes) else {
            return self.cost_ns_pipeline(bytes);
        };
        let more = match c.get_written_bytes_per_us {
            0 => return fetch.min(self.cost_ns_pipeline(bytes)),
            rate => time_ns(bytes, u64::from(rate)),
        };
        fetch + more.saturating_sub(time_ns(bytes, u64::from(c.get_bytes_per_us)))
    }

    fn cost_ns_pipeline(&self, bytes: usize) -> u64 {
        let c = &self.capabilities;
        3 * u64::from(c.latency_ns) + time_ns(bytes, u64::from(c.fragment_bytes_per_us))
    }
}

fn time_ns(bytes: usize, bytes_per_us: u64) -> u64 {
    bytes as u64 * 1000 / bytes_per_us.max(1)
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Sizes of the table: four to a doubling, 64 bytes to 16 MiB; and one byte, for the short ones.
fn sizes() -> impl Iterator<Item = usize> {
    let doublings = 6..24;
    let longer = doublings.flat_map(|power| (4..8).map(move |quarter| (1 << power) * quarter / 4));
    std::iter::once(1).chain(longer)
}

/// The first size from which on `test` holds for all larger ones.
fn first_size(test: impl Fn(usize) -> bool) -> Option<usize> {
    let mut first = None;
    for bytes in sizes() {
        if !test(bytes) {
            first = None;
        } else if first.is_none() {
            first = Some(bytes);
        }
    }
    first
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.thresholds;
        writeln!(
            f,
            "short to {} B, eager to {} B ({} B if waited for) in pieces of {} B, {}, grant {} B",
            t.short_bytes_max,
            t.eager_bytes_max,
            t.eager_waited_max,
            t.piece_bytes_max,
            if t.fetch {
                format!("fetch from {} B on", t.fetch_bytes_min)
            } else {
                "no fetch".to_owned()
            },
            self.grant,
        )?;
        writeln!(
            f,
            "{:>9}  {:>9} {:>9} {:>9}  choice (cost in ns)",
            "bytes", "eager", "fetch", "pipeline"
        )?;
        for bytes in sizes().filter(|bytes| bytes.is_power_of_two()) {
            let cell = |protocol| match self.cost_ns(protocol, bytes) {
                Some(ns) => ns.to_string(),
                None => "-".to_owned(),
            };
            writeln!(
                f,
                "{bytes:>9}  {:>9} {:>9} {:>9}  {:?}",
                cell(Protocol::Eager),
                cell(Protocol::Fetch),
                cell(Protocol::Pipeline),
                self.protocol(bytes),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHM: Capabilities = Capabilities {
        short_bytes_max: 192,
        fragment_bytes_max: 32 << 10,
        piece_bytes_max: 32 << 10,
        bulk_bytes_max: 0,
        get: true,
        get_later: false,
        latency_ns: 300,
        fragment_bytes_per_us: 5_000,
        get_ns: 1_000,
        get_bytes_per_us: 10_000,
        get_written_bytes_per_us: 0,
        share: Unit::PAGE,
    };

    #[test]
    fn protocols_follow_each_other() {
        let plan = Plan::new(SHM, credit::grant(4));
        let t = plan.thresholds;
        assert!(t.short_bytes_max == 192 && t.eager_bytes_max > 1024, "{plan}");
        assert_eq!(plan.protocol(0), Protocol::Short);
        assert_eq!(plan.protocol(1024), Protocol::Eager);
        assert_eq!(plan.protocol(1 << 30), Protocol::Fetch);
        let plan = Plan::new(Capabilities { get: false, ..SHM }, credit::grant(4));
        assert_eq!(plan.protocol(1 << 30), Protocol::Pipeline);
        assert!(plan.to_string().contains("Pipeline"));
    }

    #[test]
    fn pieces_are_halved_only_where_they_are_shorter_than_fragments() {
        let t = Plan::new(Capabilities { piece_bytes_max: 8 << 10, ..SHM }, credit::grant(4))
            .thresholds;
        assert_eq!(t.piece_bytes(8 << 10), 8 << 10);
        assert_eq!(t.piece_bytes(16 << 10), 4 << 10);
        assert_eq!(t.piece_bytes(32 << 10), 8 << 10);
        let t = Plan::new(SHM, credit::grant(4)).thresholds;
        assert_eq!(t.piece_bytes(40 << 10), 32 << 10);
    }

    #[test]
    fn eager_stays_below_the_grant() {
        for size in [1, 100, 1000, 100_000] {
            let grant = credit::grant(size);
            let slow_start = Capabilities { latency_ns: 1_000_000, get: false, ..SHM };
            let plan = Plan::new(slow_start, grant);
            let dearest = plan.thresholds.eager_waited_max as usize;
            assert!(credit::cost(dearest) * 4 <= grant, "{size}: {plan}");
        }
    }
}
