// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Info objects: ordered keys and values (MPI-5.0 chapter 10).

/// Keys in the order in which they were set.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct InfoData {
    pairs: Vec<(String, String)>,
}

impl InfoData {
    /// Sets or replaces.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.pairs.iter_mut().find(|(k, _)| k == key) {
            Some((_, v)) => *v = value.to_string(),
            None => self.pairs.push((key.to_string(), value.to_string())),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Removes a key; whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.pairs.len();
        self.pairs.retain(|(k, _)| k != key);
        self.pairs.len() != before
    }

    /// All keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// No keys.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Key number `n`, in the order in which they were set.
    pub fn key(&self, n: usize) -> Option<&str> {
        self.pairs.get(n).map(|(k, _)| k.as_str())
    }
}
