//! `[notify]`: who hears of rollouts.

use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

use schemars::JsonSchema;
use serde::Deserialize;

/// The variables that hold credentials, whatever the manifest names.
const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// `[notify]`: the command that gets a message at each turn of a rollout.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Notify")]
pub struct NotifySection {
    /// The program and its arguments; without it nobody is notified. It gets one JSON document on its standard input and at
    /// most 10 s, and sees no variable that holds a secret of the manifest.
    pub command: Vec<String>,
    /// The variables that it does not see.
    #[serde(skip)]
    withheld: BTreeSet<String>,
}

impl NotifySection {
    /// Returns the section with its program below the folder of the manifest, if that is a relative path.
    pub(super) fn below(mut self, folder: &Path) -> Self {
        if let Some(program) = self.command.first_mut()
            && Path::new(program.as_str()).components().count() > 1
            && !matches!(Path::new(program.as_str()).components().next(), Some(Component::RootDir))
            && let Some(path) = folder.join(program.as_str()).to_str()
        {
            *program = if folder.as_os_str().is_empty() { format!("./{path}") } else { path.to_owned() };
        }
        self
    }

    /// Keeps variables from the program, and those that always hold credentials.
    pub(super) fn withhold(&mut self, variables: &BTreeSet<String>) {
        self.withheld = variables.iter().cloned().chain(CREDENTIALS.map(str::to_owned)).collect();
    }

    /// Returns the variables that the program does not see.
    pub(crate) fn withheld(&self) -> &BTreeSet<String> {
        &self.withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_program_is_below_the_folder_of_the_manifest() {
        let of = |program: &str, folder: &str| {
            let section = NotifySection { command: vec![program.to_owned()], ..NotifySection::default() };
            section.below(Path::new(folder)).command.remove(0)
        };
        assert_eq!(of("./notify", "/etc/plugport"), "/etc/plugport/./notify");
        assert_eq!(of("bin/notify", ""), "./bin/notify");
        assert_eq!(of("sh", "/etc/plugport"), "sh");
        assert_eq!(of("/bin/sh", "/etc/plugport"), "/bin/sh");
    }
}
