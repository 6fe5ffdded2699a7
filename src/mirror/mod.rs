//! What a mirror answers: a catalog in the words that real Grafana servers and `grafana cli` read.
//!
//! *Invariant:* pure. What is answered depends on the facts, the policy and what the asking Grafana says of itself, and on
//! nothing else; readmes and changelogs are safe to be put into another page.
//! *Not for:* HTTP, SQL and files; which bytes a package has, which the store knows.

mod answers;
mod coding;
mod documents;
mod facts;
mod generation;
mod html;
mod listing;
mod page_html;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use self::{
    coding::{Coded, plain_etag},
    documents::{FORMAT as TEXT_FORMAT, Links, image_paths, path_part, plain_path},
    facts::{HeldBack, Mode, PluginFacts, Policy, ReleaseFacts, SignatureState, StoredFacts},
    generation::Generation,
    listing::{Asking, Refused, RefusedRelease, Requirement, ServedPackage, ServedPlugin, ServedRelease, serve},
    texts::{NamedLink, ReleaseTexts},
};
