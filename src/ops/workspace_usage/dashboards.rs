//! Reads and scans the dashboards of an organisation, those alone that are not known as they are now.
//!
//! *Invariant:* a scan that was kept counts only for the same state of the dashboard, as the server marks it, and for
//! the same version of the scanner.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};

use super::memory::Memory;
use crate::{
    diagnostic::{Chain, printable},
    fleet::{Grafana, WorkspaceError, grafana::ListedDashboard},
    usage::{ScannedDashboard, scan},
};

/// How many dashboards are read side by side.
const AT_ONCE: usize = 8;

/// After how many dashboards that could not be read the others are not tried.
const MAX_FAILED: usize = 10;

/// How many dashboards that could not be read are named.
const NAMED: usize = 3;

/// What became of one dashboard.
enum DashboardRead {
    Scanned(Box<ScannedDashboard>, Option<String>),
    Failed(String, WorkspaceError),
    NotTried,
}

/// Returns what the dashboards name; adds to the gaps those that could not be read.
pub(super) async fn read_dashboards(
    grafana: &Grafana,
    listed: Vec<ListedDashboard>,
    memory: &mut Memory,
    gaps: &mut Vec<String>,
) -> Vec<ScannedDashboard> {
    let (mut dashboards, mut unknown) = (Vec::with_capacity(listed.len()), Vec::new());
    for one in listed {
        match memory.recall(&one) {
            Some(known) => dashboards.push(known),
            None => unknown.push(one),
        }
    }
    let failed = AtomicUsize::new(0);
    let mut read = stream::iter(unknown).map(|one| read_dashboard(grafana, one, &failed)).buffered(AT_ONCE);
    let (mut named, mut missing) = (Vec::new(), 0);
    while let Some(one) = read.next().await {
        match one {
            DashboardRead::Scanned(dashboard, marker) => {
                memory.keep(&dashboard.info.uid, marker);
                dashboards.push(*dashboard);
            }
            DashboardRead::Failed(title, error) => {
                missing += 1;
                named.push(format!("`{}`: {}", printable(&title), Chain(&error)));
            }
            DashboardRead::NotTried => missing += 1,
        }
    }
    if missing > 0 {
        named.truncate(NAMED);
        gaps.push(format!("{missing} dashboards could not be read: {}", named.join("; ")));
    }
    dashboards
}

async fn read_dashboard(grafana: &Grafana, listed: ListedDashboard, failed: &AtomicUsize) -> DashboardRead {
    // A server that is down would be asked for each of them, and again, and again.
    if failed.load(Ordering::Relaxed) >= MAX_FAILED {
        return DashboardRead::NotTried;
    }
    match grafana.dashboard(&listed).await {
        Ok((info, document)) => {
            let scan = scan(&document);
            DashboardRead::Scanned(Box::new(ScannedDashboard { info, scan }), listed.marker)
        }
        Err(error) => {
            failed.fetch_add(1, Ordering::Relaxed);
            DashboardRead::Failed(listed.info.title, error)
        }
    }
}
