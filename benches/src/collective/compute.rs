// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A fixed amount of computing that takes about as long as the communication it is to overlap.
//!
//! The amount is fixed, not the time: if MPI takes the processor away meanwhile, the same work
//! takes longer, and that is seen. (Computing until a clock says stop would hide it.)
#![forbid(unsafe_code)]

use crate::statistics::median;
use std::hint::black_box;

/// Floats of the kernel: they stay in the first cache.
const WIDTH: usize = 256;
/// Seconds that calibration computes at a stretch, to be far above the clock's grain.
const STRETCH: f64 = 200e-6;

/// Units of work, and the seconds they take when nothing else happens.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub units: usize,
    pub alone: f64,
}

/// Does `units` of work: some ten nanoseconds each.
pub fn work(units: usize) {
    let (mut x, mut y) = ([1.0_f32; WIDTH], [0.5_f32; WIDTH]);
    for _ in 0..units {
        let (x, y) = (black_box(&mut x), black_box(&mut y));
        for (x, y) in x.iter_mut().zip(y) {
            *y = *x * 0.999 + *y * 0.001;
        }
    }
    black_box((&x, &y));
}

impl Work {
    /// As much work as takes `seconds` now, by the given clock.
    pub fn lasting(seconds: f64, now: impl Fn() -> f64) -> Work {
        let time = |units: usize| {
            let began = now();
            work(units);
            now() - began
        };
        let mut units = 1000;
        while time(units) < STRETCH {
            units *= 2;
        }
        let unit = (0..5).map(|_| time(units)).fold(f64::INFINITY, f64::min) / units as f64;
        let units = ((seconds / unit) as usize).max(1);
        let stretches = ((STRETCH / (units as f64 * unit)) as usize).clamp(1, 1000);
        // Short work is timed many times in a row, so that the clock is a small part of it.
        let alone = |_| {
            let began = now();
            (0..stretches).for_each(|_| work(units));
            (now() - began) / stretches as f64
        };
        let alone = median(&(0..9).map(alone).collect::<Vec<_>>()).unwrap_or(seconds);
        Work { units, alone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn more_time_is_more_work() {
        let began = Instant::now();
        let now = || began.elapsed().as_secs_f64();
        let (little, much) = (Work::lasting(10e-6, now), Work::lasting(1e-3, now));
        assert!(little.units > 1 && much.units > 2 * little.units, "{little:?} {much:?}");
        assert!(little.alone > 0.0 && much.alone > little.alone, "{little:?} {much:?}");
    }
}
