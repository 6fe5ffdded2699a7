//! The order of a rollout: the workspaces with something to do, divided into the waves of the policy.
//!
//! *Invariant:* every workspace is in exactly one wave, in the given order; no wave is empty.
//! *Not for:* deciding which workspaces have something to do.

use std::collections::BTreeMap;

use super::{Wave, WaveMembers, WavePlan};
use crate::model::{Selector, WorkspaceName};

/// The name of the last wave: the workspaces that no wave of the policy contains.
pub(crate) const REST: &str = "the rest";

/// Divides workspaces, given with their labels, into waves.
///
/// A selector takes the workspaces that it matches and that are in no earlier wave. A share, rounded up, and a number
/// include the workspaces of earlier waves: `10%`, `50%` makes waves of a tenth and of four tenths.
pub(crate) fn waves(members: &[(&WorkspaceName, &BTreeMap<String, String>)], policy: &[Wave]) -> Vec<WavePlan> {
    let mut left = members.to_vec();
    let mut planned = Vec::new();
    // What is to be approved is what comes after, so that the approval of a wave of nobody is one of the next wave.
    let mut approve = false;
    let rest = Wave::from(WaveMembers::Selector(Selector::all()));
    for wave in policy.iter().map(Some).chain([None]) {
        let taken = members.len() - left.len();
        let Wave { on, max_failures, approve: is_asked } = wave.unwrap_or(&rest);
        let (now, later) = match on {
            WaveMembers::Selector(selector) => {
                left.into_iter().partition(|(name, labels)| selector.selects(name, labels))
            }
            WaveMembers::Share(percent) => {
                split(left, (members.len() * usize::from(percent.get())).div_ceil(100).saturating_sub(taken))
            }
            WaveMembers::Count(count) => split(left, count.get().saturating_sub(taken)),
        };
        left = later;
        approve |= *is_asked;
        if !now.is_empty() {
            planned.push(WavePlan {
                name: wave.map_or_else(|| REST.to_owned(), ToString::to_string),
                max_failures: *max_failures,
                approve: std::mem::take(&mut approve),
                workspaces: now.into_iter().map(|(name, _)| name.clone()).collect(),
            });
        }
    }
    planned
}

/// Returns the first `count` workspaces, and the others.
fn split<T>(mut all: Vec<T>, count: usize) -> (Vec<T>, Vec<T>) {
    let later = all.split_off(count.min(all.len()));
    (all, later)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads `w0`, `w1`, ... over waves; the first workspaces have the given tiers.
    fn spread(count: usize, tiers: &[&str], policy: &[&str]) -> Vec<String> {
        let member = |at: usize| {
            let name: WorkspaceName = format!("w{at}").parse().expect("a name");
            let tier = tiers.get(at).map(|tier| ("tier".to_owned(), (*tier).to_owned()));
            (name, tier.into_iter().collect::<BTreeMap<_, _>>())
        };
        let members: Vec<_> = (0..count).map(member).collect();
        let members: Vec<_> = members.iter().map(|(name, labels)| (name, labels)).collect();
        let policy: Vec<Wave> = policy.iter().map(|wave| wave.parse().expect("a wave")).collect();
        let told = |wave: WavePlan| {
            let names: Vec<_> = wave.workspaces.iter().map(WorkspaceName::as_str).collect();
            format!("{}: {}", wave.name, names.join(" "))
        };
        waves(&members, &policy).into_iter().map(told).collect()
    }

    #[test]
    fn a_share_is_of_all_and_counts_earlier_waves_in() {
        assert_eq!(spread(10, &[], &["10%", "50%", "100%"]), ["10%: w0", "50%: w1 w2 w3 w4", "100%: w5 w6 w7 w8 w9"]);
        assert_eq!(
            spread(3, &["", "canary"], &["tier=canary", "50%", "100%"]),
            ["tier=canary: w1", "50%: w0", "100%: w2"]
        );
    }

    #[test]
    fn a_share_is_rounded_up_so_that_it_is_never_nobody() {
        assert_eq!(spread(3, &[], &["1%", "34%"]), ["1%: w0", "34%: w1", "the rest: w2"]);
        assert_eq!(spread(1, &[], &["1%", "100%"]), ["1%: w0"]);
    }

    #[test]
    fn a_number_counts_earlier_waves_in_and_may_be_more_than_there_are() {
        assert_eq!(spread(4, &[], &["1", "3", "9"]), ["1: w0", "3: w1 w2", "9: w3"]);
    }

    #[test]
    fn waves_of_nobody_are_left_out_and_nobody_is() {
        assert_eq!(spread(3, &[], &["tier=canary", "2", "1", "10%"]), ["2: w0 w1", "the rest: w2"]);
        assert_eq!(spread(2, &[], &[]), ["the rest: w0 w1"]);
        assert_eq!(spread(0, &[], &["100%"]), Vec::<String>::new());
        assert_eq!(spread(3, &["a", "b", "a"], &["all", "tier=a"]), ["all: w0 w1 w2"]);
    }

    #[test]
    fn the_approval_of_a_wave_of_nobody_is_one_of_the_next_wave() {
        let names: Vec<WorkspaceName> = (0..3).map(|at| format!("w{at}").parse().expect("a name")).collect();
        let labels = BTreeMap::new();
        let members: Vec<_> = names.iter().map(|name| (name, &labels)).collect();
        let approved = |policy: &[(&str, bool)]| {
            let wave = |(text, approve): &(&str, bool)| Wave { approve: *approve, ..text.parse().expect("a wave") };
            let policy: Vec<_> = policy.iter().map(wave).collect();
            waves(&members, &policy).into_iter().map(|wave| (wave.name, wave.approve)).collect::<Vec<_>>()
        };
        let expected =
            |waves: &[(&str, bool)]| waves.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect::<Vec<_>>();
        assert_eq!(
            approved(&[("1", false), ("1", true), ("2", false)]),
            expected(&[("1", false), ("2", true), (REST, false)])
        );
        assert_eq!(approved(&[("2", true), ("1", true)]), expected(&[("2", true), (REST, true)]));
        assert_eq!(approved(&[("3", false), ("3", true)]), expected(&[("3", false)]));
    }

    #[test]
    fn every_workspace_is_in_exactly_one_wave_whatever_the_policy_says() {
        let policies: [&[&str]; 5] = [
            &["33%", "tier=a", "66%"],
            &["tier=a", "2", "tier=b", "7"],
            &["w3", "w3", "5%"],
            &["100%", "100%"],
            &["1", "1%"],
        ];
        for (count, policy) in (0..12).flat_map(|count| policies.map(|policy| (count, policy))) {
            let told = spread(count, &["a", "b", "a", "b", "b"], policy).join(" ");
            for at in 0..count {
                let name = format!("w{at}");
                assert_eq!(told.split(' ').filter(|word| *word == name).count(), 1, "{name} in {told} of {policy:?}");
            }
        }
    }
}
