// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers as people read them.
#![forbid(unsafe_code)]

/// Three or four digits that matter.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1e9 => format!("{:.2}G", value / 1e9),
        v if v >= 1e6 => format!("{:.2}M", value / 1e6),
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A tick of an axis: a round number, as short as it can be.
pub fn tick(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Enough digits for a tick such as 0.02, and no zeroes behind it.
    let text = format!("{scaled:.6}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes: in KiB and MiB where that is a whole number.
pub fn bytes(size: u64) -> String {
    match size {
        0 => "0".into(),
        s if s % (1 << 20) == 0 => format!("{} MiB", s >> 20),
        s if s % (1 << 10) == 0 => format!("{} KiB", s >> 10),
        s => s.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_what_matters() {
        let cases = [
            (0.1234, "0.123"),
            (12.345, "12.35"),
            (123.45, "123.5"),
            (1234.5, "1234"),
            (1.5e6, "1.50M"),
        ];
        cases.iter().for_each(|(value, text)| assert_eq!(figure(*value), *text));
    }

    #[test]
    fn ticks_are_short() {
        let cases =
            [(0.02, "0.02"), (1.0, "1"), (5000.0, "5000"), (2e4, "20k"), (1e7, "10M"), (0.0, "0")];
        cases.iter().for_each(|(value, text)| assert_eq!(tick(*value), *text));
    }

    #[test]
    fn sizes() {
        let cases = [(0, "0"), (8, "8"), (1000, "1000"), (4096, "4 KiB"), (4 << 20, "4 MiB")];
        cases.iter().for_each(|(size, text)| assert_eq!(bytes(*size), *text));
    }
}
