//! The first line as a version range, the others as versions: both are read the same again, and order is an order.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use plugport::exposed::model::{GrafanaVersion, PluginVersion, VersionRange};

/// More would cost the cube of their number.
const MOST: usize = 6;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let range = lines.next().and_then(|line| line.parse::<VersionRange>().ok());
    let lines: Vec<_> = lines.take(MOST).collect();
    let versions: Vec<PluginVersion> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    check_order(&versions);
    let Some(range) = range else { return };
    let again: VersionRange = range.to_string().parse().expect("what was written is read");
    assert_eq!(again, range);
    for version in &versions {
        assert!(!range.is_any() || range.allows(version), "`{range}` is any, but not {version}");
        assert_eq!(again.allows(version), range.allows(version));
    }
    if let Some(exact) = range.exact() {
        assert!(range.allows(&exact), "`{range}` does not allow {exact}");
        for version in &versions {
            let same = version.cmp_precedence(&exact) == Ordering::Equal;
            assert!(same || !range.allows(version), "`{range}` allows {version}");
        }
    }
    for version in lines.iter().filter_map(|line| line.parse::<GrafanaVersion>().ok()) {
        let again: GrafanaVersion = version.as_str().parse().expect("what was written is read");
        assert_eq!(range.allows_grafana(&version), range.allows_grafana(&again));
        assert!(!range.is_any() || range.allows_grafana(&version), "`{range}` is any, but not {version}");
    }
});

fn check_order(versions: &[PluginVersion]) {
    for a in versions {
        let again: PluginVersion = a.as_str().parse().expect("what was written is read");
        assert_eq!((&again, again.sort_key()), (a, a.sort_key()));
        for b in versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} {b}");
            assert_eq!(a.cmp(b), a.sort_key().cmp(&b.sort_key()), "{a} {b}");
            assert_eq!(a.cmp(b) == Ordering::Equal, a == b, "{a} {b}");
            for c in versions {
                assert!(!(a < b && b < c) || a < c, "{a} {b} {c}");
            }
        }
    }
}
