// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a value lies on an axis, and which values get a tick.
#![forbid(unsafe_code)]

/// So many ticks are still readable on a phone.
const TICKS_MAX: usize = 7;

/// The same of sizes, whose names are longer.
const SIZE_TICKS_MAX: usize = 6;

/// Values along one direction of a chart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Where `low` and `high` are drawn.
    from: f64,
    to: f64,
}

impl Axis {
    /// Over all values, logarithmic if they are positive and it is wanted.
    pub fn over(values: &[f64], logarithmic: bool, from: f64, to: f64) -> Axis {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if logarithmic && low > 0.0 {
            // A little air, and a factor of 2 at least, so that noise does not fill the chart.
            let (mut low, mut high) = (low / 1.12, high * 1.12);
            if high / low < 2.0 {
                let middle = (low * high).sqrt();
                (low, high) =
                    (middle / std::f64::consts::SQRT_2, middle * std::f64::consts::SQRT_2);
            }
            return Axis { low, high, logarithmic: true, from, to };
        }
        let low = low.min(0.0);
        let high = if high > low { high + (high - low) * 0.05 } else { low + 1.0 };
        Axis { low, high, logarithmic: false, from, to }
    }

    /// Where a value is drawn.
    pub fn place(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part * (self.to - self.from)
    }

    /// Whether equal factors are equal steps.
    pub fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Round values inside: as many as fit.
    pub fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let steps: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
            let all = steps.map(|steps| self.decades(steps));
            if let Some(ticks) = all.into_iter().find(|ticks| ticks.len() <= TICKS_MAX) {
                if ticks.len() >= 2 {
                    return ticks;
                }
                return self.even();
            }
            let decades = self.decades(&[1.0]);
            let stride = decades.len().div_ceil(TICKS_MAX);
            return decades.into_iter().step_by(stride).collect();
        }
        self.even()
    }

    fn decades(&self, steps: &[f64]) -> Vec<f64> {
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let all = (first..=last)
            .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }

    /// Steps of 1, 2 or 5 times a power of ten.
    fn even(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / (TICKS_MAX - 1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough);
        let step = factor.unwrap_or(10.0) * power;
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|count| count as f64 * step).collect()
    }
}

/// Message sizes, one step for each doubling. Size 0 stands one step before the smallest other.
#[derive(Clone, Debug)]
pub struct SizeAxis {
    sizes: Vec<u64>,
    from: f64,
    to: f64,
}

impl SizeAxis {
    /// Over these sizes, in any order.
    pub fn over(mut sizes: Vec<u64>, from: f64, to: f64) -> SizeAxis {
        sizes.sort_unstable();
        sizes.dedup();
        SizeAxis { sizes, from, to }
    }

    fn step(&self, size: u64) -> f64 {
        let smallest = self.sizes.iter().find(|size| **size > 0).copied().unwrap_or(1);
        if size == 0 { (smallest as f64).log2() - 1.0 } else { (size as f64).log2() }
    }

    /// Where a size is drawn.
    pub fn place(&self, size: u64) -> f64 {
        let first = self.step(self.sizes.first().copied().unwrap_or(1));
        let last = self.step(self.sizes.last().copied().unwrap_or(1));
        if last <= first {
            return (self.from + self.to) / 2.0;
        }
        self.from + (self.step(size) - first) / (last - first) * (self.to - self.from)
    }

    /// Sizes that get a label: every one, every second, ... so that they fit.
    pub fn ticks(&self) -> Vec<u64> {
        let stride = self.sizes.len().div_ceil(SIZE_TICKS_MAX).max(1);
        self.sizes.iter().copied().step_by(stride).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_factors_are_equal_steps() {
        let axis = Axis::over(&[1.0, 10.0, 100.0], true, 0.0, 300.0);
        let (a, b, c) = (axis.place(1.0), axis.place(10.0), axis.place(100.0));
        assert!((b - a - (c - b)).abs() < 1e-9);
        assert!(a > 0.0 && c < 300.0, "with a little air");
    }

    #[test]
    fn what_is_not_positive_has_an_even_axis() {
        let axis = Axis::over(&[0.0, 80.0], true, 100.0, 0.0);
        assert!(!axis.is_logarithmic());
        assert_eq!(axis.place(0.0), 100.0);
        assert!(axis.ticks().contains(&0.0) && axis.ticks().contains(&20.0));
        let flat = Axis::over(&[0.0, 0.0], true, 100.0, 0.0);
        assert!(flat.place(0.0).is_finite());
    }

    #[test]
    fn there_are_two_to_seven_ticks_inside() {
        for (low, high) in
            [(0.1, 0.1), (0.12, 0.13), (1.0, 3.0), (0.2, 900.0), (1e-3, 1e9), (7.0, 70.0)]
        {
            let axis = Axis::over(&[low, high], true, 0.0, 100.0);
            let ticks = axis.ticks();
            assert!((2..=TICKS_MAX + 1).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (0.0..=100.0).contains(&axis.place(*tick))));
        }
    }

    #[test]
    fn sizes_double_and_zero_stands_before_them() {
        let axis = SizeAxis::over(vec![4, 0, 1, 2, 8, 4], 0.0, 40.0);
        let places: Vec<f64> = [0, 1, 2, 4, 8].map(|size| axis.place(size)).to_vec();
        assert_eq!(places, [0.0, 10.0, 20.0, 30.0, 40.0]);
        let many = SizeAxis::over((0..23).map(|power| 1 << power).collect(), 0.0, 1.0);
        assert!(many.ticks().len() <= SIZE_TICKS_MAX);
        assert_eq!(SizeAxis::over(vec![8], 0.0, 40.0).place(8), 20.0);
    }
}
