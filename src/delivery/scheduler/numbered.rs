//! Small numbers for things with long names.

use std::collections::HashMap;
use std::hash::Hash;

/// Things with a name and a number; numbers are used again.
#[derive(Debug)]
pub(super) struct Numbered<K, V> {
    numbers: HashMap<K, usize>,
    pub(super) values: Vec<V>,
    free: Vec<usize>,
}

impl<K, V> Default for Numbered<K, V> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Default> Numbered<K, V> {
    /// The number of `key`, which has one from here on.
    pub(super) fn number(&mut self, key: &K) -> usize {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(V::default());
            self.values.len() - 1
        });
        self.numbers.insert(key.clone(), number);
        number
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let numbers = self.numbers.iter();
        numbers.map(|(key, number)| (key, &self.values[*number]))
    }

    /// Takes the number of `key` back.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(number) = self.numbers.remove(key) {
            self.values[number] = V::default();
            self.free.push(number);
        }
    }
}
