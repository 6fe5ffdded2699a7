//! Which wishes can be fulfilled together: as many as possible, the first ones first.
//!
//! *Invariant:* a refused wish has no effect: the solution is what [`solve()`] answers for the accepted wishes alone.
//! *Not for:* what a refusal means to the user; the callers report it.

use std::collections::BTreeSet;

use super::{Explanation, Problem, Provider, SignatureRule, Solution, SolveOutcome, is_installed, solve};
use crate::model::{PluginId, PluginSpec};

/// Whether a wish that only unsigned plugins can fulfil is accepted although signatures are required.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UnsignedFallback {
    /// It is refused.
    Never,
    /// It is accepted if the unsigned plugins are installed in these versions already.
    Installed,
    /// It is accepted: the caller verifies each package before it uses it.
    Verified,
}

/// The accepted wishes with their versions, and the refused wishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled {
    /// The problem of the accepted wishes; its signature rule allows the unsigned plugins that they need.
    pub problem: Problem,
    /// The versions; empty if every wish is refused.
    pub solution: Solution,
    /// The refused wishes, in their order.
    pub refused: Vec<(PluginId, WishRefusal)>,
}

/// Why a wish is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum WishRefusal {
    /// No versions fulfil it, even alone.
    Unsolvable(Box<Explanation>),
    /// It can be fulfilled alone, but not together with the wishes that were accepted before it.
    Conflict(Box<Explanation>),
    /// Only a plugin that is unsigned according to the catalog fulfils it.
    Unsigned {
        /// The plugin that would be installed unsigned.
        plugin: PluginId,
        /// Why no signed plugin will do.
        explanation: Box<Explanation>,
    },
    /// The search took too long.
    GivenUp,
}

impl WishRefusal {
    /// Returns why no versions fulfil the wish; `None` if the search took too long to tell.
    pub(crate) fn explanation(&self) -> Option<&Explanation> {
        match self {
            Self::Unsolvable(explanation) | Self::Conflict(explanation) | Self::Unsigned { explanation, .. } => {
                Some(explanation)
            }
            Self::GivenUp => None,
        }
    }

    fn conflict(outcome: SolveOutcome) -> Self {
        match outcome {
            SolveOutcome::Unsolvable(explanation) => Self::Conflict(explanation),
            SolveOutcome::GivenUp | SolveOutcome::Solved(_) => Self::GivenUp,
        }
    }
}

/// Accepts as many of `wishes` as can be fulfilled together with those of `problem`, which are never given up.
pub(crate) fn settle<P: Provider>(
    provider: &P,
    problem: Problem,
    wishes: Vec<PluginSpec>,
    fallback: UnsignedFallback,
) -> Result<Settled, P::Error> {
    let mut all = problem.clone();
    all.wishes.extend_from_slice(&wishes);
    if let SolveOutcome::Solved(solution) = solve(provider, &all)? {
        return Ok(Settled { problem: all, solution, refused: Vec::new() });
    }
    let mut settled = Settled { problem, ..Settled::default() };
    for wish in wishes {
        settled.add(provider, wish, fallback)?;
    }
    Ok(settled)
}

impl Settled {
    /// Accepts or refuses one more wish.
    fn add<P: Provider>(&mut self, provider: &P, wish: PluginSpec, fallback: UnsignedFallback) -> Result<(), P::Error> {
        let Some(together) = self.accept(provider, &wish)? else { return Ok(()) };
        let alone = Problem { wishes: vec![wish.clone()], ..self.problem.clone() };
        let refusal = match solve(provider, &alone)? {
            SolveOutcome::Solved(_) => WishRefusal::conflict(together),
            SolveOutcome::GivenUp => WishRefusal::GivenUp,
            SolveOutcome::Unsolvable(explanation) => match unsigned(provider, &alone, fallback)? {
                None => WishRefusal::Unsolvable(explanation),
                Some(Unsigned { new: Some(plugin), .. }) if fallback != UnsignedFallback::Verified => {
                    WishRefusal::Unsigned { plugin, explanation }
                }
                Some(Unsigned { plugins, .. }) => {
                    let signatures = self.problem.signatures.clone();
                    self.problem.signatures.exempt(plugins);
                    let Some(together) = self.accept(provider, &wish)? else { return Ok(()) };
                    self.problem.signatures = signatures;
                    WishRefusal::conflict(together)
                }
            },
        };
        self.refused.push((wish.id, refusal));
        Ok(())
    }

    /// Accepts a wish if it can be fulfilled together with the accepted ones; otherwise returns the failed search.
    fn accept<P: Provider>(&mut self, provider: &P, wish: &PluginSpec) -> Result<Option<SolveOutcome>, P::Error> {
        self.problem.wishes.push(wish.clone());
        Ok(match solve(provider, &self.problem)? {
            SolveOutcome::Solved(solution) => {
                self.solution = solution;
                None
            }
            failed => {
                self.problem.wishes.pop();
                Some(failed)
            }
        })
    }
}

/// The unsigned plugins that fulfil a wish.
struct Unsigned {
    plugins: BTreeSet<PluginId>,
    /// The first of them that is not installed in its version.
    new: Option<PluginId>,
}

/// Returns the unsigned plugins that fulfil an unsolvable problem; `None` if signatures are not what makes it unsolvable.
fn unsigned<P: Provider>(
    provider: &P,
    problem: &Problem,
    fallback: UnsignedFallback,
) -> Result<Option<Unsigned>, P::Error> {
    if fallback == UnsignedFallback::Never || problem.signatures == SignatureRule::Ignored {
        return Ok(None);
    }
    let any = Problem { signatures: SignatureRule::Ignored, ..problem.clone() };
    let SolveOutcome::Solved(solution) = solve(provider, &any)? else { return Ok(None) };
    let mut found = Unsigned { plugins: BTreeSet::new(), new: None };
    for resolved in solution.plugins.into_iter().filter(|resolved| !resolved.stays) {
        let candidates = provider.versions(&resolved.plugin)?.unwrap_or_default();
        let chosen = candidates.iter().find(|candidate| candidate.version == resolved.version);
        if problem.signatures.allows(&resolved.plugin, chosen.is_some_and(|candidate| candidate.signed)) {
            continue;
        }
        if found.new.is_none() && !is_installed(problem, &resolved.plugin, &resolved.version) {
            found.new = Some(resolved.plugin.clone());
        }
        found.plugins.insert(resolved.plugin);
    }
    Ok(Some(found))
}
