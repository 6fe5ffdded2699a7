//! Answers that were made before, in bounded memory.
//!
//! *Invariant:* the answers take at most twice [`HALF`], whatever is asked: keys are made of what an answer depends on,
//! never of the text of a request.
//! *Not for:* packages.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::coding::Coded;

/// How many bytes each of the two halves may take: 32 MiB.
const HALF: usize = 32 << 20;

/// What an answer depends on, within one generation.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct AnswerKey {
    /// The kind of answer.
    pub kind: AnswerKind,
    /// The position of the plugin in the generation; nothing if the answer is about all of them.
    pub plugin: Option<usize>,
    /// Which releases are compatible, or included: one bit for each.
    pub class: Box<[u8]>,
}

/// The kinds of answers that are kept.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum AnswerKind {
    /// The details of a plugin.
    Detail,
    /// Its list of versions.
    Versions,
    /// One version, by its position.
    Version(usize),
    /// What `grafana cli` reads of a plugin, or of all.
    Repo,
}

/// The newer half takes what is used; when it is full, it becomes the older, and the older is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<AnswerKey, Coded>,
    older: HashMap<AnswerKey, Coded>,
    size: usize,
}

impl Answers {
    /// Returns the answer of before, or the one that `make` makes now.
    pub(crate) fn get(&self, key: AnswerKey, make: impl FnOnce() -> Coded) -> Coded {
        if let Some(known) = self.find(&key) {
            return known;
        }
        // Made outside of the lock: two may make the same, and one of them is kept.
        let answer = make();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, answer.clone());
        answer
    }

    fn find(&self, key: &AnswerKey) -> Option<Coded> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves.newer.get(key) {
            return Some(known.clone());
        }
        let known = halves.older.remove(key)?;
        halves.put(key.clone(), known.clone());
        Some(known)
    }
}

impl Halves {
    fn put(&mut self, key: AnswerKey, answer: Coded) {
        self.size += answer.size() + key.class.len();
        if self.size > HALF {
            self.older = std::mem::take(&mut self.newer);
            self.size = answer.size() + key.class.len();
        }
        self.newer.insert(key, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: usize) -> AnswerKey {
        AnswerKey { kind: AnswerKind::Versions, plugin: Some(at), class: Box::default() }
    }

    #[test]
    fn an_answer_is_made_once_and_memory_is_bounded() {
        let answers = Answers::default();
        let make = |answers: &Answers, at| {
            let mut was_made = false;
            answers.get(key(at), || {
                was_made = true;
                Coded::new(vec![b'x'; 1 << 20])
            });
            was_made
        };
        assert!(make(&answers, 0) && !make(&answers, 0));
        for at in 1..200 {
            make(&answers, at);
            make(&answers, 0);
        }
        assert!(!make(&answers, 0), "what is used stays");
        assert!(make(&answers, 1), "what is not used goes");
        let halves = answers.0.lock().expect("not poisoned");
        assert!(halves.newer.len() + halves.older.len() <= 66);
    }
}
