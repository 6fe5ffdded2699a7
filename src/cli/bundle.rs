//! `plugport bundle`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, Report, Session, Text,
    setup::{environment, to_document},
    ui,
};
use crate::{
    blocking::run_blocking,
    bundle::{BundleKey, DigestList},
    fleet::reference::{CommandLine, SecretReference},
    model::{GrafanaVersion, Platform, Secret},
    ops::{
        bundle::{
            CreateOptions, CreateOutcome, ImportOptions, ImportOutcome, InspectOutcome, LeftOut, Origin, Selection,
            Signer, create, have, import, inspect, keygen, read_keys, want,
        },
        fetching::{LockedPackages, locked_packages},
        locking::{lock_path, read_lock},
    },
};

/// Carry the catalog and its packages over an air gap, as signed files
///
/// A bundle is an OCI image layout in a plain tar. It lists all packages of a state of the catalog, and holds those that the
/// other side does not have yet. `plugport help bundles` has the whole way.
#[derive(Args, Debug)]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    command: BundleCommand,
}

/// How many changes and how many missing packages are named to people.
const NAMED: usize = 20;

#[derive(Debug, Subcommand)]
enum BundleCommand {
    Create(Box<CreateArgs>),
    Inspect(InspectArgs),
    Import(ImportArgs),
    Have(HaveArgs),
    Want(WantArgs),
    Keygen(KeygenArgs),
}

/// Write a bundle of the packages in the store
///
/// The same index and store make the same bytes, the signature apart. The file appears when it is complete.
#[derive(Args, Debug)]
struct CreateArgs {
    /// The file to write, or a folder in which it gets a name
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// Only packages that the other side lacks: it has an earlier bundle, a generation that was created here, or what
    /// `bundle have` printed there
    #[arg(long, value_name = "BUNDLE|GENERATION|have.txt")]
    since: Option<String>,
    /// Only the packages that `bundle want` printed on the other side
    #[arg(long, value_name = "want.txt")]
    want: Option<PathBuf>,
    /// Only the packages of the lock; every one of them must be in the store
    #[arg(long)]
    lock: bool,
    /// Only what this version of Grafana preinstalls, and the newest release of each plugin that works with it, with what
    /// they depend on
    #[arg(long, value_name = "VER")]
    for_grafana: Option<GrafanaVersion>,
    /// Only the versions of this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only packages for this platform; may be repeated
    #[arg(long = "platform", value_name = "P")]
    platforms: Vec<Platform>,
    /// Write files of at most this size, like `4GiB`; each can be imported by itself, in any order
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    part_size: Option<u64>,
    /// Sign with the secret key in this file; may be repeated
    #[arg(long = "sign-key", value_name = "FILE")]
    sign_keys: Vec<PathBuf>,
    #[command(flatten)]
    password: PasswordArgs,
}

/// Show who signed a bundle, and what it would change here
///
/// Reads the head of the file only.
#[derive(Args, Debug)]
struct InspectArgs {
    /// A bundle, a folder with bundles, or `-` for standard input
    #[arg(value_name = "FILE|DIR|-")]
    bundle: PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Import a bundle, when it is signed by a trusted key
///
/// Every package passes the same checks as a fetched one. The catalog appears at once when the store has all packages that
/// the bundle lists; until then what came is kept, and the next part or bundle goes on. It may be stopped at any time, and
/// run again.
#[derive(Args, Debug)]
struct ImportArgs {
    /// A bundle, a folder with bundles or their parts, a layout of `oras` or `skopeo`, or `-` for standard input
    #[arg(value_name = "FILE|DIR|-")]
    bundle: PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
    /// Import a bundle that no trusted key signed
    #[arg(long)]
    allow_unsigned: bool,
    /// Import a bundle that is older than the catalog here
    #[arg(long)]
    allow_older: bool,
}

/// Print the packages in the store, for `bundle create --since`
#[derive(Args, Debug)]
struct HaveArgs {}

/// Print the packages that a bundle lists and the store lacks, for `bundle create --want`
#[derive(Args, Debug)]
struct WantArgs {
    /// A bundle, a folder with bundles, or `-` for standard input
    #[arg(value_name = "FILE|DIR|-")]
    bundle: PathBuf,
}

/// Make a key to sign bundles with
///
/// Writes the secret key to FILE and the public key to FILE.pub, and never over a file that is there.
#[derive(Args, Debug)]
struct KeygenArgs {
    /// The file of the secret key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Args, Debug)]
struct KeyArgs {
    /// A public key of minisign that is trusted beside `trust.bundle-keys`, or a file with one; may be repeated
    #[arg(long = "key", value_name = "FILE|KEY")]
    keys: Vec<String>,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct PasswordArgs {
    /// The environment variable with the password of the secret key [default: no password]
    #[arg(long = "password-env", value_name = "NAME")]
    env: Option<String>,
    /// The file with the password of the secret key, which only its owner may read
    #[arg(long = "password-file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The program that prints the password of the secret key
    #[arg(long = "password-command", value_name = "COMMAND")]
    command: Option<String>,
}

impl PasswordArgs {
    async fn resolve(&self) -> Result<Option<Secret>, Failure> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let reference = match (&self.env, &self.file, &self.command) {
            (Some(name), ..) => SecretReference::Env(name.clone()),
            (_, Some(path), _) => SecretReference::File(path.clone()),
            (_, _, Some(line)) => SecretReference::Command(CommandLine::new(words(line))),
            _ => return Ok(None),
        };
        Ok(Some(reference.resolve(&environment).await?))
    }
}

impl KeyArgs {
    /// Returns the keys that are trusted.
    fn trusted(&self, session: &Session) -> Result<Vec<BundleKey>, Failure> {
        let mut keys = session.manifest()?.trust().bundle_keys.clone();
        keys.extend(read_keys(&self.keys)?);
        Ok(keys)
    }
}

fn origin(path: &Path) -> Origin {
    if path.as_os_str() == "-" { Origin::Input } else { Origin::Path(path.to_path_buf()) }
}

/// Reads a size as people write it: `4GiB`, `700M`, `1000000`. `KB` is 1,000 bytes, `K` and `KiB` are 1,024.
fn parse_size(text: &str) -> Result<u64, String> {
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err("a size is a number of bytes, or a number with KiB, MiB, GiB, KB, MB or GB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a size begins with a whole number".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "the size is too large".to_owned())
}

impl BundleArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        match &self.command {
            BundleCommand::Create(arguments) => arguments.run(session).await,
            BundleCommand::Inspect(arguments) => arguments.run(session).await,
            BundleCommand::Import(arguments) => arguments.run(session).await,
            BundleCommand::Have(_) => Ok(list_report(&have(session.context()?).await?)),
            BundleCommand::Want(arguments) => {
                Ok(list_report(&want(session.context()?, origin(&arguments.bundle)).await?))
            }
            BundleCommand::Keygen(arguments) => arguments.run().await,
        }
    }
}

impl CreateArgs {
    async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let password = self.password.resolve().await?;
        let signer = |path: &PathBuf| Signer { path: path.clone(), password: password.clone() };
        let selection = Selection {
            platforms: self.platforms.clone(),
            channel: self.channel.clone(),
            grafana: self.for_grafana.clone(),
            locked: if self.lock { Some(self.locked(session)?) } else { None },
        };
        let options = CreateOptions {
            out: self.out.clone(),
            selection,
            since: self.since.clone(),
            want: self.want.clone(),
            part_size: self.part_size,
            signers: self.sign_keys.iter().map(signer).collect(),
        };
        let outcome = create(session.context()?, options).await?;
        let mut notes = Vec::new();
        if self.sign_keys.is_empty() {
            notes.push("the bundle is not signed: it is imported with `--allow-unsigned` only".to_owned());
        }
        let (text, kind) = (create_text(&outcome), outcome.kind());
        let problems = outcome.left_out.iter().map(left_out).collect();
        Ok(Report { text, document: to_document(&outcome), notes, problems, kind })
    }

    fn locked(&self, session: &Session) -> Result<Vec<LockedPackages>, Failure> {
        let path = lock_path(&session.manifest_path);
        match read_lock(&path)? {
            Some(lock) => Ok(locked_packages(&lock, &self.platforms)),
            None => {
                Err(Failure::usage(format!("there is no lock at `{}`", path.display()), "`plugport lock` writes it"))
            }
        }
    }
}

fn left_out(one: &LeftOut) -> String {
    let version = one.version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
    let platform = one.platform.as_ref().map_or_else(String::new, |platform| format!(" ({platform})"));
    format!("skipped: {}{version}{platform}: {}", one.plugin, one.reason)
}

fn create_text(outcome: &CreateOutcome) -> Text {
    let mut text = format!("generation {}\n", outcome.generation);
    let packages = ui::count(outcome.packages as u64, "package", "packages");
    let _ = writeln!(text, "{packages} of {}, {}", outcome.listed, ui::bytes(outcome.bytes));
    for file in &outcome.files {
        let _ = writeln!(text, "written: {}", ui::clean(&file.display().to_string()));
    }
    text.into()
}

impl InspectArgs {
    async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let keys = self.keys.trusted(session)?;
        let outcome = inspect(session.context()?, origin(&self.bundle), &keys).await?;
        Ok(Report { text: inspect_text(&outcome), document: to_document(&outcome), ..Report::default() })
    }
}

fn inspect_text(outcome: &InspectOutcome) -> Text {
    let signer = match &outcome.signer {
        None => "nobody: it is not signed".to_owned(),
        Some(id) if outcome.trusted => format!("{id}, which is trusted"),
        Some(id) => format!("{id}, which is not trusted here"),
    };
    let older = if outcome.older { ", older than what was imported last" } else { "" };
    let current = outcome.current.clone().unwrap_or_else(|| "none of this source".to_owned());
    let free = outcome.free.map_or_else(String::new, |free| format!(", {} free", ui::bytes(free)));
    let mut rows = vec![
        ("generation", format!("{}{older}", outcome.generation)),
        ("source", format!("{}, synced {}", outcome.source, outcome.time)),
        ("signer", signer),
        ("imported", current),
        ("packages", format!("{}, {}", outcome.packages, ui::bytes(outcome.bytes))),
        ("needed", format!("{}, {}{free}", outcome.needed.packages, ui::bytes(outcome.needed.bytes))),
        ("versions", format!("{} new, {} changed, {} withdrawn", outcome.new, outcome.changed, outcome.withdrawn)),
    ];
    rows.extend(outcome.changes.iter().take(NAMED).map(|one| (one.change, format!("{}@{}", one.plugin, one.version))));
    if outcome.changes.len() > NAMED {
        rows.push(("", format!("and {} more; `--json` has all", outcome.changes.len() - NAMED)));
    }
    let lines = rows.into_iter().map(|(name, value)| format!("{name:<11} {}\n", ui::clean(&value)));
    lines.collect::<String>().into()
}

impl ImportArgs {
    async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let options = ImportOptions {
            origin: origin(&self.bundle),
            keys: self.keys.trusted(session)?,
            allow_unsigned: self.allow_unsigned,
            allow_older: self.allow_older,
        };
        let (context, remarks) = session.with_fresh_keys().await?;
        let outcome = import(&context, options).await?;
        let mut problems = remarks;
        problems.extend(import_problems(&outcome));
        let (text, kind) = (import_text(&outcome), outcome.kind());
        Ok(Report { text, document: to_document(&outcome), problems, kind, ..Report::default() })
    }
}

fn import_text(outcome: &ImportOutcome) -> Text {
    let state = if outcome.complete { "imported" } else { "not complete: the catalog here is what it was" };
    let signer = outcome.signer.as_deref().unwrap_or("nobody that is trusted");
    let came = ui::count(outcome.imported as u64, "package", "packages");
    let lines = [
        format!("generation {} of {}: {state}", outcome.generation, outcome.source),
        format!("signed by {signer}"),
        format!("{came} imported ({}), {} present", ui::bytes(outcome.bytes), outcome.present),
    ];
    lines.map(|line| ui::clean(&line) + "\n").concat().into()
}

fn import_problems(outcome: &ImportOutcome) -> Vec<String> {
    let mut problems: Vec<_> = outcome.faults.iter().map(|fault| format!("failed: {fault}")).collect();
    problems.extend(outcome.failed.iter().map(|failed| {
        format!("failed: {}@{} ({}): {}", failed.plugin, failed.version, failed.platform, failed.reason)
    }));
    problems.extend(outcome.warnings.iter().map(|warning| format!("warning: {warning}")));
    problems.extend(outcome.alerts.iter().map(|alert| format!("alert: {alert}")));
    problems.extend(outcome.missing.iter().take(NAMED).map(|digest| format!("missing: sha256:{digest}")));
    if outcome.missing.len() > NAMED {
        problems.push(format!("missing: and {} more; `--json` names all", outcome.missing.len() - NAMED));
    }
    if !outcome.missing.is_empty() {
        problems.push(
            "hint: import the other parts, or make a bundle of what is missing: `plugport bundle have > have.txt` here, \
             `plugport bundle create --since have.txt --out FILE` on the other side"
                .to_owned(),
        );
    }
    problems
}

fn list_report(list: &DigestList) -> Report {
    let document = json!({
        "generation": list.generation,
        "packages": list.digests.len(),
        "digests": list.digests,
    });
    Report { text: Text::verbatim(list.to_text()), document, ..Report::default() }
}

impl KeygenArgs {
    async fn run(&self) -> Result<Report, Failure> {
        let (password, out) = (self.password.resolve().await?, self.out.clone());
        let outcome = run_blocking(move || keygen(&out, password.as_ref())).await?;
        let mut text = format!("{}\n", outcome.key);
        let _ = writeln!(text, "secret key: {}", ui::clean(&outcome.secret.display().to_string()));
        let _ = writeln!(text, "public key: {}", ui::clean(&outcome.public.display().to_string()));
        let notes = vec!["add the first line to `bundle-keys` below `[trust]` on the importing side".to_owned()];
        Ok(Report { text: text.into(), document: to_document(&outcome), notes, ..Report::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = ["4GiB", "4g", "700MB", "1000", "0"].map(|text| parse_size(text).expect("a size"));
        assert_eq!(sizes, [4 << 30, 4 << 30, 700_000_000, 1000, 0]);
        for text in ["", "GiB", "4 parsecs", "-1", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
