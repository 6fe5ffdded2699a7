//! The scans of dashboards that were read before.

use crate::{
    fleet::grafana::Listed,
    model::DashboardInfo,
    usage::{Scan, ScannedDashboard},
};

/// What is known of the dashboards of an organisation from earlier readings.
#[derive(Debug, Default)]
pub(super) struct Memory {}

/// What is kept of a dashboard.
#[derive(Debug)]
pub(super) struct Remembered {}

impl Remembered {
    pub(super) fn of(_info: &DashboardInfo, _marker: Option<String>, _scan: &Scan) -> Option<Self> {
        None
    }
}

impl Memory {
    pub(super) fn recall(&self, _listed: &Listed) -> Option<ScannedDashboard> {
        None
    }

    pub(super) fn keep(&mut self, _remembered: Option<Remembered>) {}
}
