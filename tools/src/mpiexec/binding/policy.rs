// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether ranks are bound when nobody said so.
//!
//! Bound are ranks that have a core each, to all cores of the host in equal parts. Two jobs at once
//! do not meet on a core because of it, as long as their ranks together are no more than the cores:
//! a part is an interval of the cores, and an interval of L cores contains fewer than (L+1) a/C
//! whole parts of a job of `a` ranks on C cores. For jobs of a and b ranks, a+b <= C, that is fewer
//! than L+1 in all, so at most L: by Hall's theorem the kernel finds each rank a core of its own
//! inside its part. (A test tries it.) Binding each rank to one core, counted from the first, would
//! put both jobs on the same cores.
//!
//! docs/decisions/0008-topology.md has the measurements.
#![forbid(unsafe_code)]

use strait_transport::topology::cgroup;

/// What the decision depends on.
pub struct Situation<'a> {
    /// Ranks of this host.
    pub size: u32,
    /// Cores that each of them wants, if somebody said so.
    pub cores_each: Option<u32>,
    /// Cores that we may use.
    pub cores: usize,
    /// The quota of our control groups, in thousandths of a core.
    pub quota: Option<u64>,
    /// Our affinity mask is narrower than what the control groups allow.
    pub is_narrowed: bool,
    /// The hosts of the job are all this one.
    pub is_shared: bool,
    /// The environment of the job.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Why ranks are not bound; `None`: they are.
pub fn why_not(situation: &Situation<'_>) -> Option<String> {
    let Situation { size, cores, .. } = *situation;
    if size < 2 {
        return Some("one rank has the host for itself".to_owned());
    }
    if size as usize > cores {
        return Some(format!("{size} ranks, and {}", counted(cores)));
    }
    if let Some(each) = situation.cores_each
        && u64::from(size) * u64::from(each) > cores as u64
    {
        return Some(format!("{size} ranks of {each} cores each, and {}", counted(cores)));
    }
    if let Some(quota) = situation.quota
        && cgroup::ranks_per_core(size, quota) > 1
    {
        let worth = quota as f64 / 1000.0;
        return Some(format!("{size} ranks, and a quota of {worth} cores"));
    }
    if situation.is_narrowed {
        return Some("mpiexec itself was bound, so somebody else decides".to_owned());
    }
    if situation.is_shared {
        return Some("several hosts of the job are this one (-launcher fork)".to_owned());
    }
    binds_itself(situation.variable)
        .map(|name| format!("{name} names processors, which need not be those of a rank's part"))
}

fn counted(cores: usize) -> String {
    if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") }
}

/// A variable by which an OpenMP program is bound to processors by their numbers.
fn binds_itself(variable: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    let says = |name: &str, mark: &str| variable(name).is_some_and(|value| value.contains(mark));
    if variable("GOMP_CPU_AFFINITY").is_some() {
        return Some("GOMP_CPU_AFFINITY");
    }
    if says("KMP_AFFINITY", "proclist") {
        return Some("KMP_AFFINITY");
    }
    says("OMP_PLACES", "{").then_some("OMP_PLACES")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_only_where_every_rank_has_a_core() {
        let none = |_: &str| None;
        let base = || Situation {
            size: 4,
            cores_each: None,
            cores: 8,
            quota: None,
            is_narrowed: false,
            is_shared: false,
            variable: &none,
        };
        assert_eq!(why_not(&base()), None);
        assert_eq!(why_not(&Situation { size: 8, ..base() }), None);
        assert!(why_not(&Situation { size: 9, ..base() }).is_some());
        assert!(why_not(&Situation { size: 1, ..base() }).is_some());
        assert_eq!(why_not(&Situation { cores_each: Some(2), ..base() }), None);
        assert!(why_not(&Situation { cores_each: Some(3), ..base() }).is_some());
        assert!(why_not(&Situation { is_narrowed: true, ..base() }).is_some());
        assert!(why_not(&Situation { is_shared: true, ..base() }).is_some());
        // A quota of 2.5 cores feeds two ranks, whatever the number of cores.
        let quota = |size| why_not(&Situation { size, cores: 64, quota: Some(2500), ..base() });
        assert_eq!((quota(2), quota(3).is_some()), (None, true));
    }

    #[test]
    fn programs_that_bind_themselves_are_left_alone() {
        let of = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        assert_eq!(binds_itself(&of("OMP_PLACES", "cores")), None);
        assert_eq!(binds_itself(&of("OMP_PLACES", "{0:4}")), Some("OMP_PLACES"));
        assert_eq!(binds_itself(&of("GOMP_CPU_AFFINITY", "0-3")), Some("GOMP_CPU_AFFINITY"));
        assert_eq!(binds_itself(&of("KMP_AFFINITY", "compact")), None);
    }
}
