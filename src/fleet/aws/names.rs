//! Regions and workspaces of AWS.

use std::{fmt, str::FromStr};

use url::Url;

/// A region of AWS, like `eu-west-1`: up to 32 lower-case letters, digits and `-`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Region(String);

impl Region {
    /// Returns the region as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = ParseRegionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // It becomes a part of a host's name.
        let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        let valid = (1..=32).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-');
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseRegionError(text.chars().take(40).collect())) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A text is not a region.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a region of AWS: expected one like `eu-west-1`", .0.escape_debug())]
pub struct ParseRegionError(String);

/// A workspace of Amazon Managed Grafana: its id, like `g-0123456789`, and its region.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AwsWorkspace {
    id: String,
    region: Region,
}

impl AwsWorkspace {
    /// Returns the workspace with this id in this region.
    pub fn new(id: &str, region: Region) -> Result<Self, ParseAwsWorkspaceError> {
        let rest = id.strip_prefix("g-").unwrap_or_default();
        let valid = (1..=40).contains(&rest.len()) && rest.chars().all(|letter| letter.is_ascii_alphanumeric());
        if valid { Ok(Self { id: id.to_owned(), region }) } else { Err(ParseAwsWorkspaceError) }
    }

    /// Returns the workspace that an address names: `g-ID.grafana-workspace.REGION.amazonaws.com`.
    pub fn from_address(url: &Url) -> Option<Self> {
        let (id, rest) = url.host_str()?.split_once(".grafana-workspace.")?;
        let (region, domain) = rest.split_once('.')?;
        let is_aws = matches!(domain, "amazonaws.com" | "amazonaws.com.cn");
        if is_aws { Self::new(id, region.parse().ok()?).ok() } else { None }
    }

    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the region.
    pub fn region(&self) -> &Region {
        &self.region
    }
}

impl fmt::Display for AwsWorkspace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.id, self.region)
    }
}

/// A text is not the id of a workspace. It is not repeated: something secret may have been put there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id of a workspace is `g-` and letters and digits, as in the host of its address")]
pub struct ParseAwsWorkspaceError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_workspace_names_it() {
        let of =
            |text: &str| AwsWorkspace::from_address(&text.parse().expect("an address")).map(|found| found.to_string());
        let found = of("https://g-0123456789.grafana-workspace.eu-west-1.amazonaws.com/");
        assert_eq!(found.as_deref(), Some("g-0123456789 in eu-west-1"));
        for other in [
            "https://grafana.example/",
            "https://g-1.grafana-workspace.eu-west-1.amazonaws.com.evil.example/",
            "https://x-1.grafana-workspace.eu-west-1.amazonaws.com/",
            "https://g-.grafana-workspace.eu-west-1.amazonaws.com/",
            "https://127.0.0.1/",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_could_leave_a_host_name_is_no_region() {
        assert!("us-gov-west-1".parse::<Region>().is_ok());
        for text in ["", "EU-WEST-1", "eu.west", "a/b", "a@b", "-a", "eu west"] {
            assert!(text.parse::<Region>().is_err(), "{text}");
        }
    }
}
