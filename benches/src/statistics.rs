// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said of a set of numbers: median, percentiles, and how far to trust the median.
#![forbid(unsafe_code)]

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The value in the middle, or the mean of the two there; none of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The values below which `percents` of all lie, by nearest rank.
pub fn percentiles(values: &[f64], percents: &[u32]) -> Vec<f64> {
    let sorted = sorted(values);
    if sorted.is_empty() {
        return Vec::new();
    }
    let at = |percent: &u32| {
        let rank = (sorted.len() as f64 * f64::from(*percent) / 100.0).round() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    };
    percents.iter().map(at).collect()
}

/// An interval that holds the true median with at least 95 % confidence, whatever the
/// distribution: the k-th smallest and the k-th largest value, with k from the binomial
/// distribution. Fewer than six values cannot give one.
pub fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len();
    // Probability that at most k - 1 of `count` values fall below the median.
    let mut probability = 0.5_f64.powi(i32::try_from(count).ok()?);
    let mut below = 0.0;
    let mut k = 0;
    while k < count / 2 {
        below += probability;
        if below > 0.025 {
            break;
        }
        probability *= (count - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    let sorted = sorted(values);
    (k > 0).then(|| (sorted[k - 1], sorted[count - k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
    }

    #[test]
    fn percentiles_take_values_that_occurred() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentiles(&values, &[50, 90, 99]), [100.0, 180.0, 198.0]);
        assert_eq!(percentiles(&[7.0], &[1, 99]), [7.0, 7.0]);
        assert!(percentiles(&[], &[50]).is_empty());
    }

    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        let count = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        assert_eq!(median_interval(&count(5)), None);
        assert_eq!(median_interval(&count(6)), Some((1.0, 6.0)));
        assert_eq!(median_interval(&count(10)), Some((2.0, 9.0)));
        assert_eq!(median_interval(&count(20)), Some((6.0, 15.0)));
    }
}
