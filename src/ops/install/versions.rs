//! Which versions of what was asked for go together on a target, and what is to be told of them.
//!
//! *Invariant:* what the catalog calls unsigned is chosen only where nothing else is left and the package itself is judged
//! here before it is used, or where nothing has to be done for it.
//! *Not for:* steps and their order; see `plan`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Ready, plan::ChoiceError};
use crate::{
    index::{Index, IndexError},
    model::{PluginId, PluginSpec, PluginVersion},
    ops::{
        candidates::{self, attempt},
        server_warnings::{ServerWarning, brought, warnings, warnings_anywhere},
    },
    resolver::{Explanation, Problem, Resolved, SignatureRule, Solution, is_there},
};

/// The versions that go together.
#[derive(Default)]
pub(super) struct Versions {
    pub(super) chosen: HashMap<PluginId, PluginVersion>,
    /// Wishes that go with no version of those before them, or that may not be fulfilled.
    pub(super) refused: HashMap<PluginId, ChoiceError>,
    /// What is to be told before they are installed.
    pub(super) warnings: Vec<ServerWarning>,
    /// The plugins that the server brings along, with those that it brings them for.
    pub(super) brought: BTreeMap<PluginId, PluginId>,
}

/// Why a wish has no way by itself.
enum Obstacle {
    /// There is none.
    NoWay,
    /// The catalog calls these unsigned; whether they are is judged by their packages.
    Unsigned(BTreeSet<PluginId>),
    /// The catalog calls one unsigned, and nothing else is ever looked at here.
    Refused(PluginId, Box<Explanation>),
}

impl Versions {
    /// Settles on versions for as many wishes as go together, the first of them first.
    ///
    /// A wish that has no way by itself gets none: the walk over what it needs comes to where the way ends, and says so
    /// of that plugin.
    pub(super) fn settle(index: &Index, ready: &Ready, specs: &[PluginSpec]) -> Result<Self, IndexError> {
        let mut problem = Problem {
            wishes: specs.to_vec(),
            surroundings: ready.surroundings.clone(),
            signatures: ready.signatures.clone(),
            installed: candidates::installed(ready.state.plugins.values()),
            ..Problem::default()
        };
        if let Ok(solution) = attempt(index, &problem)? {
            return Self::of(index, ready, &problem, solution);
        }
        problem.wishes.clear();
        let (mut settled, mut refused) = (Solution::default(), HashMap::new());
        for spec in specs {
            let alone = Problem { wishes: vec![spec.clone()], ..problem.clone() };
            if let Err(why) = attempt(index, &alone)? {
                match obstacle(index, ready, &alone, why)? {
                    Obstacle::NoWay => continue,
                    Obstacle::Unsigned(plugins) => problem.signatures.excuse(plugins),
                    Obstacle::Refused(plugin, why) => {
                        refused.insert(spec.id.clone(), ChoiceError::Unsigned { plugin, why });
                        continue;
                    }
                }
            }
            problem.wishes.push(spec.clone());
            match attempt(index, &problem)? {
                Ok(solution) => settled = solution,
                Err(why) => {
                    problem.wishes.pop();
                    refused.extend(why.map(|why| (spec.id.clone(), ChoiceError::Unsolvable(why))));
                }
            }
        }
        Ok(Self { refused, ..Self::of(index, ready, &problem, settled)? })
    }

    fn of(index: &Index, ready: &Ready, problem: &Problem, solution: Solution) -> Result<Self, IndexError> {
        let name = &ready.target.name;
        let (warnings, brought) = if ready.is_server() {
            (warnings(index, problem, &solution, name)?, brought(index, problem, &solution)?)
        } else {
            (warnings_anywhere(problem, &solution, name), BTreeMap::new())
        };
        let chosen = solution.plugins.into_iter().map(|resolved| (resolved.plugin, resolved.version)).collect();
        Ok(Self { chosen, refused: HashMap::new(), warnings, brought })
    }
}

/// Returns why a wish that has no way by itself has none: maybe only because of what the catalog says of signatures.
fn obstacle(
    index: &Index,
    ready: &Ready,
    alone: &Problem,
    why: Option<Box<Explanation>>,
) -> Result<Obstacle, IndexError> {
    let anyhow = Problem { signatures: SignatureRule::Ignored, ..alone.clone() };
    let (SignatureRule::Required { .. }, Some(why)) = (&alone.signatures, why) else { return Ok(Obstacle::NoWay) };
    let Ok(solution) = attempt(index, &anyhow)? else { return Ok(Obstacle::NoWay) };
    let (mut unsigned, mut coming) = (BTreeSet::new(), None);
    for Resolved { plugin, version, stays, .. } in solution.plugins {
        let stored = index.plugin(&plugin)?;
        let signed = stored.is_some_and(|stored| !stored.plugin.signature.signature_type.is_empty());
        if stays || alone.signatures.allows(&plugin, signed) {
            continue;
        }
        if !is_there(alone, &plugin, &version) {
            coming.get_or_insert_with(|| plugin.clone());
        }
        unsigned.insert(plugin);
    }
    Ok(match coming.filter(|_| !ready.is_checked) {
        Some(plugin) => Obstacle::Refused(plugin, why),
        None => Obstacle::Unsigned(unsigned),
    })
}
