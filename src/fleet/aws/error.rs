//! Errors of requests to AWS.

use std::error::Error;

use super::{AwsWorkspace, Region};
use crate::{
    diagnostic::{Diagnose, Kind, diagnose, printable},
    net::NetError,
};

/// An error of the SDK, which keeps its causes.
type SdkError = Box<dyn Error + Send + Sync>;

/// AWS was not asked, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// This program was built without it.
    #[error("this program is built without the feature `aws`")]
    LeftOut,
    /// The network is switched off (`--offline`).
    #[error("no request to AWS: `--offline` is on")]
    Offline,
    /// No region is given.
    #[error("no AWS region is set")]
    NoRegion,
    /// There are no credentials anywhere.
    #[error("no AWS credentials were found")]
    NoCredentials,
    /// There are credentials, and getting at them fails.
    #[error("the AWS credentials cannot be fetched")]
    Credentials(#[source] SdkError),
    /// The credentials are wrong or expired.
    #[error("AWS refuses the credentials in {region}: {}{}", printable(code), message_suffix(message.as_deref()))]
    Rejected {
        /// The region that was asked.
        region: Region,
        /// What AWS calls it.
        code: String,
        /// The message of AWS, secrets masked.
        message: Option<String>,
    },
    /// The credentials are good, and this is not allowed to them.
    #[error("AWS does not allow `{action}` in {region}{}", message_suffix(message.as_deref()))]
    Denied {
        /// The action, as policies name it.
        action: &'static str,
        /// The region that was asked.
        region: Region,
        /// The message of AWS, secrets masked.
        message: Option<String>,
    },
    /// AWS refused for another reason.
    #[error("AWS refuses `{action}` in {region}: {}{}", printable(code), message_suffix(message.as_deref()))]
    Refused {
        /// The action, as policies name it.
        action: &'static str,
        /// The region that was asked.
        region: Region,
        /// What AWS calls it.
        code: String,
        /// The message of AWS, secrets masked.
        message: Option<String>,
    },
    /// AWS could not be reached.
    #[error("AWS cannot be reached for `{action}` in {region}")]
    Unreachable {
        /// The action, as policies name it.
        action: &'static str,
        /// The region that was asked.
        region: Region,
        /// Why.
        source: SdkError,
    },
    /// The answer is not what it should be.
    #[error("the AWS request `{action}` in {region} failed")]
    Failed {
        /// The action, as policies name it.
        action: &'static str,
        /// The region that was asked.
        region: Region,
        /// Why.
        source: SdkError,
    },
    /// A service account is used without its workspace.
    #[error("the workspace of the service account is not known")]
    NoWorkspace,
    /// A token that was asked for twice is there already, under a name that only this program uses.
    #[error("the service account of {0} already has a token with that name")]
    Conflict(AwsWorkspace),
}

fn message_suffix(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| {
        let shown: String = message.chars().take(300).collect();
        format!(": {}", printable(&shown))
    })
}

impl AwsError {
    /// Returns whether what was asked for did certainly not happen.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Failed { .. } | Self::Conflict(_))
    }
}

/// Returns the error of `net` among an error and its causes.
fn net_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a NetError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

diagnose!(AwsError {
    LeftOut => Kind::Usage, "released programs have it; from source, leave out `--no-default-features`";
    Offline => Kind::Network, "leave out `--offline` for this";
    NoRegion => Kind::Usage, "name one with `--region eu-west-1`, or set AWS_REGION";
    NoCredentials => Kind::Usage,
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws sts get-caller-identity` tries them";
    Credentials => Kind::Usage, TRY_CREDENTIALS;
    Rejected => Kind::Failed, TRY_CREDENTIALS;
    Denied { action } => Kind::Failed, format!("allow `{action}` in the policy of the AWS identity that you use");
    Refused { code } if code == "ResourceNotFoundException" => Kind::Failed,
        "the workspace or its service account does not exist: check with `plugport workspace discover`";
    Unreachable { source } => Kind::Network, net_error(source.as_ref()).and_then(Diagnose::hint);
    Failed { source } => Kind::Failed, net_error(source.as_ref()).and_then(Diagnose::hint);
    NoWorkspace => Kind::Usage;
    Refused | Conflict => Kind::Failed;
});

const TRY_CREDENTIALS: &str =
    "`aws sts get-caller-identity` tries the credentials: they may be expired, or of another profile";
