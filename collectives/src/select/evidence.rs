// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `strait tune` measured, as it stands in the table that it wrote: it changes no choice, and
//! `strait explain` shows it beside the choice.
#![forbid(unsafe_code)]

use super::table::{Hosts, SEGMENTS_MAX};
use crate::algorithm::{Algorithm, Parameters, by_name};
use crate::kind::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use toml::Spanned;

/// Where, when and by what a table was measured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The hosts, and what they are.
    pub machine: String,
    /// When it was written, UTC.
    pub date: String,
    /// The version of Strait.
    pub strait: String,
    /// What the library called itself.
    pub library: String,
}

/// The median of some samples, in microseconds, with an interval that holds the true one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// The median.
    pub us: f64,
    /// From.
    pub low: f64,
    /// To.
    pub high: f64,
    /// Of so many samples.
    pub samples: usize,
}

/// A measured call: what was chosen, and what it was compared with.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// The collective.
    pub kind: Kind,
    /// Of so many ranks.
    pub ranks: u32,
    /// Where they were.
    pub hosts: Hosts,
    /// The size, as the conditions of rules count it.
    pub bytes: usize,
    /// What the table takes here, with its times.
    pub chosen: (Named, Times),
    /// What the shipped table would take.
    pub default: (Named, Times),
    /// The best of the others, if there was one.
    pub runner_up: Option<(Named, Times)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceForm {
    pub collective: Spanned<String>,
    ranks: u32,
    hosts: Hosts,
    bytes: usize,
    chosen: Entry,
    default: Entry,
    runner_up: Option<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    algorithm: String,
    us: f64,
    low: f64,
    high: f64,
    samples: usize,
}

impl EvidenceForm {
    pub fn read(self) -> Result<Evidence, String> {
        let collective = self.collective.as_ref();
        let kind = Kind::by_name(collective)
            .ok_or_else(|| format!("there is no collective '{collective}'"))?;
        let entry = |entry: Entry| {
            let named: Named = format!("{collective} {}", entry.algorithm).parse()?;
            let Entry { us, low, high, samples, .. } = entry;
            Ok::<_, String>((named, Times { us, low, high, samples }))
        };
        Ok(Evidence {
            kind,
            ranks: self.ranks,
            hosts: self.hosts,
            bytes: self.bytes,
            chosen: entry(self.chosen)?,
            default: entry(self.default)?,
            runner_up: self.runner_up.map(entry).transpose()?,
        })
    }
}

/// An algorithm with its parameters, as text: `allreduce circulant window=4`.
#[derive(Clone, Copy)]
pub struct Named {
    /// The algorithm.
    pub algorithm: &'static Algorithm,
    /// Its parameters.
    pub parameters: Parameters,
}

impl Named {
    /// Without the collective: `circulant window=4`.
    pub fn short(&self) -> String {
        let mut text = self.algorithm.name.to_owned();
        for (name, value) in self.parameters.unusual() {
            text.push_str(&format!(" {name}={value}"));
        }
        text
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Named) -> bool {
        self.algorithm.kind == other.algorithm.kind
            && self.algorithm.name == other.algorithm.name
            && self.parameters == other.parameters
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.kind.name(), self.short())
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        let mut words = text.split_ascii_whitespace();
        let (Some(collective), Some(name)) = (words.next(), words.next()) else {
            return Err(format!("'{text}' names no collective and algorithm"));
        };
        let kind = Kind::by_name(collective)
            .ok_or_else(|| format!("there is no collective '{collective}'"))?;
        let algorithm = by_name(kind, name)
            .filter(|algorithm| !algorithm.inter)
            .ok_or_else(|| format!("{collective} has no algorithm '{name}'"))?;
        let mut parameters = Parameters::default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let value = value.parse::<u32>().unwrap_or(0);
            match key {
                "window" if value >= 1 => parameters.window = value,
                "radix" if value >= 2 => parameters.radix = value,
                "segments" if (1..=SEGMENTS_MAX).contains(&value) => parameters.segments = value,
                _ => {
                    let what = "neither window=N, radix=N from 2 on, nor segments=N";
                    return Err(format!("'{word}' is {what}"));
                }
            }
        }
        Ok(Named { algorithm, parameters })
    }
}

impl Serialize for Named {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Named, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let good = ["allreduce circulant", "alltoall linear window=4", "bcast knomial radix=8"];
        for text in good.into_iter().chain(["bcast double_tree segments=4"]) {
            assert_eq!(text.parse::<Named>().unwrap().to_string(), text);
        }
        for bad in ["", "bcast", "bcast ring", "allreduce ring window=0", "bcast knomial radix"] {
            assert!(bad.parse::<Named>().is_err(), "{bad}");
        }
    }
}
