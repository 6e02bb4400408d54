// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Balanced dimensions (MPI-5.0 section 8.5.2).

use crate::abi::Abi;
use crate::entry::on_process;
use crate::error::{class, error};
use std::ffi::c_int;

/// The factors of `n`, as `count` numbers that are as close to each other as dealing out the prime
/// factors, largest first, to the smallest so far makes them; in non-increasing order.
fn balanced(n: c_int, count: usize) -> Vec<c_int> {
    let mut primes = Vec::new();
    let (mut rest, mut divisor) = (n, 2);
    while rest > 1 {
        if divisor > rest / divisor {
            divisor = rest;
        }
        if rest % divisor == 0 {
            primes.push(divisor);
            rest /= divisor;
        } else {
            divisor += 1;
        }
    }
    let mut factors = vec![1; count];
    for prime in primes.into_iter().rev() {
        if let Some(smallest) = factors.iter_mut().min() {
            *smallest *= prime;
        }
    }
    factors.sort_unstable_by(|a, b| b.cmp(a));
    factors
}

pub unsafe fn MPI_Dims_create<A: Abi>(nnodes: c_int, ndims: c_int, dims: *mut c_int) -> c_int {
    on_process::<A>("MPI_Dims_create", |_| {
        if nnodes < 1 || ndims < 0 || (ndims > 0 && dims.is_null()) {
            return error(class::DIMS, format!("{nnodes} processes in {ndims} dimensions"));
        }
        let dims = match ndims {
            0 => &mut [][..],
            // SAFETY: the array has ndims elements, says the caller.
            n => unsafe { std::slice::from_raw_parts_mut(dims, n as usize) },
        };
        if dims.iter().any(|&d| d < 0) {
            return error(class::DIMS, format!("a dimension of {dims:?} is negative"));
        }
        let free = dims.iter().filter(|&&d| d == 0).count();
        let fixed: i64 = dims.iter().filter(|&&d| d > 0).map(|&d| i64::from(d)).product();
        if i64::from(nnodes) % fixed != 0 || (free == 0 && fixed != i64::from(nnodes)) {
            return error(class::DIMS, format!("{nnodes} processes do not fit in {dims:?}"));
        }
        let mut factors = balanced((i64::from(nnodes) / fixed) as c_int, free).into_iter();
        for dim in dims.iter_mut().filter(|d| **d == 0) {
            *dim = factors.next().expect("as many factors as free dimensions");
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::balanced;

    #[test]
    fn dimensions_multiply_to_the_number_and_do_not_increase() {
        assert_eq!(balanced(12, 2), [4, 3]);
        assert_eq!(balanced(6, 3), [3, 2, 1]);
        assert_eq!(balanced(1, 2), [1, 1]);
        assert_eq!(balanced(7, 2), [7, 1]);
        for n in 1..200 {
            for count in 1..5 {
                let dims = balanced(n, count);
                assert_eq!(dims.iter().product::<i32>(), n);
                assert!(dims.is_sorted_by(|a, b| a >= b));
            }
        }
    }
}
