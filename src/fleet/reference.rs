//! Secrets by reference: where a token or a password is, not what it is.
//!
//! *Invariant:* a reference can be printed, stored and compared; the secret exists only in the [`Secret`] that
//! [`SecretReference::resolve`] returns, and in no error.
//! *Not for:* keeping secrets, or knowing which server they are for.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::aws::{ParseAccountError, ServiceAccount};
use crate::{
    diagnostic::{Kind, diagnose},
    model::Secret,
    process::{Finished, ProcessError, Program, Variables},
};

/// The greatest length of a secret in bytes.
const MAX_BYTES: u64 = 64 << 10;
/// How long a command may take to print a secret.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// The longest output of a failed command that is shown, in characters.
const SHOWN: usize = 300;

/// Looks up a variable of the environment; handed in, so that tests have their own.
pub(crate) type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Where a secret is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretReference {
    /// In a variable of the environment: `{ env = "NAME" }`.
    Env(String),
    /// In a file that only its owner may read, or root and a group: `{ file = "PATH" }`.
    File(PathBuf),
    /// In what a program prints, the first word being the program: `{ command = "pass show grafana" }`, or a list.
    Command(CommandLine),
}

/// A token: a reference to it, or the service account that it is created for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TokenReference {
    /// A token that is there already.
    Secret(SecretReference),
    /// A service account of Amazon Managed Grafana: `{ aws-service-account = "ID" }`.
    Account(ServiceAccount),
}

/// A program that prints a secret, and what it must not see.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CommandLine {
    /// The program and its arguments.
    words: Vec<String>,
    /// Variables of the environment that hold other secrets.
    withheld: BTreeSet<String>,
}

impl CommandLine {
    /// Returns a command that sees the whole environment so far.
    pub fn new(words: Vec<String>) -> Self {
        Self { words, withheld: BTreeSet::new() }
    }
}

impl SecretReference {
    /// Returns the variable that has the secret; `None` if it is elsewhere.
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::Env(name) => Some(name),
            Self::File(_) | Self::Command(_) => None,
        }
    }

    /// Hides variables that hold other secrets from the command, if it is one.
    pub fn withhold(&mut self, variables: &BTreeSet<String>) {
        if let Self::Command(line) = self {
            line.withheld.clone_from(variables);
        }
    }

    /// Returns the reference with a relative file put under `folder`.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }

    /// Fetches a secret of one line; see [`Self::line`].
    pub async fn resolve(&self, environment: Environment<'_>) -> Result<Secret, ReferenceError> {
        self.line(self.fetch(environment).await?)
    }

    /// Returns a secret of one line: at most 64 KiB of UTF-8 without control characters, line ends at its end left out.
    pub(super) fn line(&self, bytes: Vec<u8>) -> Result<Secret, ReferenceError> {
        self.accept(bytes, char::is_control)
    }

    /// Returns a token: blanks around it and a `Bearer ` before it, as people copy it, are left out.
    pub(super) fn token(&self, bytes: Vec<u8>) -> Result<Secret, ReferenceError> {
        let secret = self.line(bytes)?;
        let token = secret.expose().trim_start();
        let scheme = token.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("Bearer "));
        let token = scheme.and_then(|scheme| token.get(scheme.len()..)).unwrap_or(token).trim();
        self.accept(token.as_bytes().to_vec(), char::is_control)
    }

    /// Returns a secret that may have several lines, like a PEM certificate or the JSON of a service account.
    pub(super) fn text(&self, bytes: Vec<u8>) -> Result<Secret, ReferenceError> {
        let is_refused = |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
        self.accept(bytes, is_refused)
    }

    /// Fetches the bytes of a secret as they are.
    pub(super) async fn fetch(&self, environment: Environment<'_>) -> Result<Vec<u8>, ReferenceError> {
        Ok(match self {
            Self::Env(name) => match environment(name) {
                Some(text) if !text.is_empty() => text.into_bytes(),
                _ => return Err(ReferenceError::Variable { name: name.clone() }),
            },
            Self::File(path) => read_file(path)?,
            Self::Command(line) => run(line, COMMAND_LIMIT).await?,
        })
    }

    fn accept(&self, bytes: Vec<u8>, is_refused: fn(char) -> bool) -> Result<Secret, ReferenceError> {
        let refuse = |flaw| ReferenceError::Content { from: self.clone(), flaw };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(refuse(Flaw::TooLong));
        }
        let text = String::from_utf8(bytes).map_err(|_| refuse(Flaw::Encoding))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches(['\r', '\n']);
        if text.trim().is_empty() {
            return Err(refuse(Flaw::Empty));
        }
        if text.chars().any(is_refused) {
            return Err(refuse(Flaw::ControlCharacters));
        }
        Ok(Secret::new(text.to_owned()))
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "the variable `{}`", name.escape_debug()),
            Self::File(path) => write!(formatter, "the file `{}`", path.display().to_string().escape_debug()),
            Self::Command(line) => write!(formatter, "the command `{}`", program(&line.words).escape_debug()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse(value(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for TokenReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match value(deserializer)? {
            toml::Value::Table(table) if table.contains_key("aws-service-account") => ServiceAccount::parse(table)
                .map(Self::Account)
                .map_err(|error| D::Error::custom(ParseReferenceError::Account(error))),
            value => parse(value).map(Self::Secret).map_err(D::Error::custom),
        }
    }
}

/// Reads by way of a value, since the errors of a derived reader quote the text that they did not expect.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<toml::Value, D::Error> {
    toml::Value::deserialize(deserializer).map_err(|_| D::Error::custom(ParseReferenceError::Literal))
}

fn parse(value: toml::Value) -> Result<SecretReference, ParseReferenceError> {
    let toml::Value::Table(table) = value else { return Err(ParseReferenceError::Literal) };
    let mut entries = table.into_iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else { return Err(ParseReferenceError::Shape) };
    match (key.as_str(), value) {
        ("env", toml::Value::String(name)) if is_variable_name(&name) => Ok(SecretReference::Env(name)),
        ("env", _) => Err(ParseReferenceError::VariableName),
        ("file", toml::Value::String(path)) if !path.is_empty() => Ok(SecretReference::File(path.into())),
        ("command", value) => words(value).map(|words| SecretReference::Command(CommandLine::new(words))),
        _ => Err(ParseReferenceError::Shape),
    }
}

fn words(value: toml::Value) -> Result<Vec<String>, ParseReferenceError> {
    let words: Option<Vec<String>> = match value {
        toml::Value::String(line) => Some(line.split_whitespace().map(str::to_owned).collect()),
        toml::Value::Array(list) => list.into_iter().map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    words.filter(|words| words.first().is_some_and(|first| !first.is_empty())).ok_or(ParseReferenceError::Command)
}

/// A reference is repeated in errors, so a secret in its place must be refused.
fn is_variable_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn program(words: &[String]) -> &str {
    words.first().map_or("", String::as_str)
}

fn read_file(path: &Path) -> Result<Vec<u8>, ReferenceError> {
    let fail = |source| ReferenceError::File { path: path.to_owned(), source };
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    // Without waiting: a pipe without a writer would never open.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
    // Asked of the open file: what is checked is what is read.
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(fail(io::ErrorKind::InvalidInput.into()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if is_exposed(mode, metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(ReferenceError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// Returns whether others can access a file of this mode and owner. A group may read a file of root's: that is how systemd and
/// Kubernetes hand a secret to a service that is not root.
fn is_exposed(mode: u32, owner: u32, reader: u32) -> bool {
    let allowed = if owner == 0 && reader != 0 { 0o740 } else { 0o700 };
    mode & !allowed != 0
}

async fn run(line: &CommandLine, time_limit: Duration) -> Result<Vec<u8>, ReferenceError> {
    let program = Program {
        name: program(&line.words),
        arguments: line.words.get(1..).unwrap_or_default(),
        environment: Variables::AllBut(&line.withheld),
        input: None,
        // It may ask for a passphrase on the terminal.
        in_own_group: false,
        stdout_bytes: Some(MAX_BYTES + 1),
        stderr_bytes: MAX_BYTES,
        time_limit,
    };
    let name = || program.name.to_owned();
    let Finished { status, stdout, stderr } = program.run().await.map_err(|error| match error {
        ProcessError::Start(source) | ProcessError::Wait(source) => ReferenceError::Start { program: name(), source },
        ProcessError::Slow => ReferenceError::Slow { program: name(), limit: time_limit },
    })?;
    if stdout.len() as u64 <= MAX_BYTES && !status.success() {
        let message = String::from_utf8_lossy(&stderr).trim().chars().take(SHOWN).collect();
        return Err(ReferenceError::Command { program: name(), status, message });
    }
    Ok(stdout)
}

/// The text is no reference to a secret. It is never repeated: it may be the secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseReferenceError {
    /// The secret itself, or something else that is no table.
    #[error("a secret must not be written here: write where it is")]
    Literal,
    /// A table with other keys.
    #[error("a reference has exactly one of `env`, `file` and `command`")]
    Shape,
    /// The name of a variable that cannot be one.
    #[error("`env` names a variable of the environment: letters, digits and `_`")]
    VariableName,
    /// A command without a program.
    #[error("`command` is a program and its arguments, as a text or as a list of texts")]
    Command,
    /// A service account that cannot be one.
    #[error(transparent)]
    Account(ParseAccountError),
}

impl ParseReferenceError {
    /// All there are.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let own = [Self::Literal, Self::Shape, Self::VariableName, Self::Command];
        own.into_iter().chain(ParseAccountError::ALL.map(Self::Account))
    }
}

/// What is wrong with the value of a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// Nothing is there.
    #[error("nothing")]
    Empty,
    /// It has more than 64 KiB.
    #[error("more than 64 KiB")]
    TooLong,
    /// It is not UTF-8.
    #[error("something other than UTF-8")]
    Encoding,
    /// It has line ends or other control characters inside.
    #[error("control characters, or more than one line")]
    ControlCharacters,
}

/// A secret could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The variable is not set, or empty.
    #[error("the environment variable `{}` is not set, empty, or not UTF-8", name.escape_debug())]
    Variable {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("the secret file `{}` cannot be read", path.display().to_string().escape_debug())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("other users can access the secret file `{}` (mode {mode:04o})", path.display().to_string().escape_debug())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The program cannot be started, or its output cannot be read.
    #[error("the command `{}` cannot be run", program.escape_debug())]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The program did not end in time.
    #[error("the command `{}` did not end within {} s", program.escape_debug(), limit.as_secs_f32())]
    Slow {
        /// The program.
        program: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The program failed.
    #[error("the command `{}` failed ({status}){}{}", program.escape_debug(), if message.is_empty() { "" } else { ": " }, message.escape_debug())]
    Command {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr, cut short.
        message: String,
    },
    /// What was found cannot be a secret.
    #[error("{from} holds {flaw}")]
    Content {
        /// Where it was found.
        from: SecretReference,
        /// What is wrong with it.
        flaw: Flaw,
    },
}

diagnose!(ReferenceError {
    Variable { name } => Kind::Usage, format!("set it first: `export {}=...`", name.escape_debug());
    Exposed { path } => Kind::Usage, format!("chmod 600 {}", path.display().to_string().escape_debug());
    Start => Kind::Usage, "the first word is the program; there is no shell";
    _ => Kind::Usage;
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, io::Write};

    #[derive(Debug, Deserialize)]
    struct SecretDocument {
        token: SecretReference,
    }

    fn reference(text: &str) -> Result<SecretReference, toml::de::Error> {
        toml::from_str::<SecretDocument>(&format!("token = {text}")).map(|document| document.token)
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn secret_file(content: &[u8], mode: u32) -> (tempfile::NamedTempFile, SecretReference) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("written");
        file.as_file().set_permissions(Permissions::from_mode(mode)).expect("a mode");
        let reference = SecretReference::File(file.path().to_owned());
        (file, reference)
    }

    fn shell(script: &str) -> SecretReference {
        SecretReference::Command(CommandLine::new(["sh", "-c", script].map(str::to_owned).to_vec()))
    }

    #[test]
    fn references_are_read_in_all_their_forms() {
        assert_eq!(reference(r#"{ env = "A_1" }"#).expect("env"), SecretReference::Env("A_1".into()));
        assert_eq!(reference(r#"{ file = "t" }"#).expect("file"), SecretReference::File("t".into()));
        let command = SecretReference::Command(CommandLine::new(vec!["pass".into(), "show".into(), "x".into()]));
        assert_eq!(reference(r#"{ command = "pass  show x" }"#).expect("a line"), command);
        assert_eq!(reference(r#"{ command = ["pass", "show", "x"] }"#).expect("a list"), command);
    }

    #[test]
    fn a_literal_is_refused_and_not_repeated() {
        let literals = [
            r#""canary""#,
            "8675309",
            r#"["canary"]"#,
            r#"{ env = "canary-1" }"#,
            r#"{ env = "A", file = "canary" }"#,
            r#"{ value = "canary" }"#,
            r#"{ env = ["canary"] }"#,
            r#"{ command = [["canary"]] }"#,
            "{}",
            r#"{ command = " " }"#,
        ];
        for text in literals {
            let error = reference(text).expect_err(text);
            assert!(!error.message().contains("canary") && !error.message().contains("8675309"), "{}", error.message());
        }
    }

    #[tokio::test]
    async fn a_variable_must_be_set() {
        let named = |name: &str| (name == "A").then(|| "canary".to_owned());
        let found = SecretReference::Env("A".into()).resolve(&named).await.expect("set");
        assert_eq!(found.expose(), "canary");
        let empty = |_: &str| Some(String::new());
        for environment in [&nothing as Environment<'_>, &empty] {
            let error = SecretReference::Env("B".into()).resolve(environment).await.expect_err("not set");
            assert!(error.to_string().contains("`B`"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_is_for_its_owner_alone() {
        for mode in [0o600, 0o400] {
            let (_file, reference) = secret_file(b"canary\r\n", mode);
            assert_eq!(reference.resolve(&nothing).await.expect("a secret").expose(), "canary");
        }
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let (_file, reference) = secret_file(b"canary", mode);
            let error = reference.resolve(&nothing).await.expect_err("open to others");
            assert!(matches!(error, ReferenceError::Exposed { mode: found, .. } if found == mode), "{error}");
        }
    }

    #[test]
    fn a_file_of_root_may_be_readable_for_the_group_of_a_service() {
        for mode in [0o440, 0o640, 0o400, 0o600] {
            assert!(!is_exposed(mode, 0, 65_532), "{mode:o}");
        }
        for (mode, owner, reader) in [(0o660, 0, 65_532), (0o444, 0, 65_532), (0o640, 65_532, 65_532), (0o640, 0, 0)] {
            assert!(is_exposed(mode, owner, reader), "{mode:o} {owner} {reader}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_secret_is_refused_and_not_repeated() {
        let long = vec![b'x'; 65 << 10];
        let contents: [(&[u8], Flaw); 5] = [
            (b"\n", Flaw::Empty),
            (b"canary\nline", Flaw::ControlCharacters),
            (b"canary\x1b[0m", Flaw::ControlCharacters),
            (b"canary\xff", Flaw::Encoding),
            (&long, Flaw::TooLong),
        ];
        for (content, wanted) in contents {
            let (_file, reference) = secret_file(content, 0o600);
            let error = reference.resolve(&nothing).await.expect_err("refused");
            assert!(matches!(error, ReferenceError::Content { flaw, .. } if flaw == wanted), "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    async fn token(reference: &SecretReference) -> Result<Secret, ReferenceError> {
        reference.token(reference.fetch(&nothing).await?)
    }

    #[tokio::test]
    async fn a_token_is_taken_as_people_copy_it_and_a_password_as_it_is() {
        for content in ["canary", "  canary \n", "Bearer canary\n", "\u{feff}bearer  canary", " Bearer canary "] {
            let (_file, reference) = secret_file(content.as_bytes(), 0o600);
            assert_eq!(token(&reference).await.expect("a token").expose(), "canary", "{content:?}");
        }
        for content in [" ", "Bearer \n", "can\nary"] {
            let (_file, reference) = secret_file(content.as_bytes(), 0o600);
            assert!(token(&reference).await.is_err(), "{content:?}");
        }
        let (_file, reference) = secret_file(b" Bearer canary \n", 0o600);
        assert_eq!(reference.resolve(&nothing).await.expect("a password").expose(), " Bearer canary ");
    }

    #[tokio::test]
    async fn a_command_gives_its_output() {
        let secret = shell("echo canary").resolve(&nothing).await.expect("a secret");
        assert_eq!(secret.expose(), "canary");
        assert!(shell("cat; echo only-stdin-was-empty").resolve(&nothing).await.is_ok());
    }

    #[tokio::test]
    async fn a_failed_command_shows_stderr_and_never_stdout() {
        let script = r"echo canary; printf 'locked\033[31m' >&2; exit 3";
        let error = shell(script).resolve(&nothing).await.expect_err("failed");
        let text = format!("{error} {error:?}");
        assert!(error.to_string().contains("locked") && !text.contains("canary") && !text.contains('\u{1b}'), "{text}");
        let missing = SecretReference::Command(CommandLine::new(vec!["/no/such/program".into()]));
        assert!(matches!(missing.resolve(&nothing).await, Err(ReferenceError::Start { .. })));
    }

    #[tokio::test]
    async fn a_command_is_bounded_in_time_and_in_size() {
        let words = ["sleep".to_owned(), "60".to_owned()];
        let error = run(&CommandLine::new(words.to_vec()), Duration::from_millis(10)).await.expect_err("slow");
        assert!(matches!(error, ReferenceError::Slow { .. }));
        let error = shell("yes canary").resolve(&nothing).await.expect_err("endless");
        assert!(matches!(error, ReferenceError::Content { flaw: Flaw::TooLong, .. }), "{error}");
    }
}
