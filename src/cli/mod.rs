//! The command line: arguments in, one operation, results out.
//!
//! One file a command; the doc comment of its arguments is its help. *Not for:* anything that another program might want
//! to do with this library.

mod accept;
mod adopt;
mod alerts;
mod api;
mod apply;
mod backup;
mod bars;
mod bundle;
mod channel;
mod check;
mod completions;
mod confirm;
mod diff;
mod doctor;
mod entries;
mod export;
mod failure;
mod fetch;
mod gc;
mod grafana;
mod help;
mod init;
mod install;
mod line;
mod list;
mod listing;
mod lock;
mod lookup;
mod markdown;
mod matrix;
mod outdated;
mod plan;
mod publish;
mod render;
mod rollout;
mod schema;
mod search;
mod selection;
mod serve;
mod setup;
mod show;
mod signals;
mod status;
mod supervisor;
mod sync;
mod table;
mod ui;
mod upgrade;
mod usage;
mod validate;
mod verify;
mod versions;
mod why;
mod workspace;

use std::{ffi::OsString, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand, error::ErrorKind};

use self::{
    failure::{Failure, exit_code},
    setup::{GlobalArgs, Session},
    signals::Signal,
    table::Text,
    ui::{Format, Report, Ui},
};
use crate::{diagnostic::Kind, journal::RolloutId, ops::rollout::Interrupt};

/// Mirror the Grafana plugin catalog, answer questions about it offline, and roll plugins out over a fleet
#[derive(Debug, Parser)]
#[command(name = "plugport", version, max_term_width = 100, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    fn ui(&self) -> Ui {
        let follows = matches!(&self.command, Command::Rollout(arguments) if arguments.follows());
        match self.globals.ui(self.command.stream()) {
            // What goes on has no document of its own.
            ui @ Ui { format: Format::Json, .. } if follows => Ui { format: Format::Events, ..ui },
            ui => ui,
        }
    }
}

/// The table of exit codes, at the end of the help.
const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 failed · 2 usage · 3 findings · 4 integrity: a digest, a signature or an archive was refused
5 network · 6 storage · 7 locked by another process · 8 partly done · 9 the outcome on a workspace is unknown
130/143 interrupted

`plugport help` lists the commands by group and the topics of the manual.";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Validate(validate::ValidateArgs),
    Status(status::StatusArgs),
    Sync(sync::SyncArgs),
    Search(search::SearchArgs),
    Show(show::ShowArgs),
    Versions(versions::VersionsArgs),
    Diff(diff::DiffArgs),
    Alerts(alerts::AlertsArgs),
    Accept(accept::AcceptArgs),
    Fetch(fetch::FetchArgs),
    Verify(verify::VerifyArgs),
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    Upgrade(upgrade::UpgradeArgs),
    Add(entries::AddArgs),
    Remove(entries::RemoveArgs),
    List(list::ListArgs),
    Outdated(outdated::OutdatedArgs),
    Check(check::CheckArgs),
    Usage(usage::UsageArgs),
    Why(why::WhyArgs),
    WhyNot(why::WhyNotArgs),
    Adopt(adopt::AdoptArgs),
    Lock(lock::LockArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Rollout(rollout::RolloutArgs),
    Workspace(workspace::WorkspaceArgs),
    Api(api::ApiArgs),
    Serve(serve::ServeArgs),
    Publish(publish::PublishArgs),
    Channel(channel::ChannelArgs),
    Bundle(bundle::BundleArgs),
    Export(export::ExportArgs),
    Gc(gc::GcArgs),
    Doctor(doctor::DoctorArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
    Help(help::HelpArgs),
}

impl Command {
    /// Returns the stream that it prints, if it prints one JSON object a line.
    fn stream(&self) -> Option<Format> {
        let wants_events = match self {
            Self::Api(_) => return Some(Format::Lines),
            Self::Sync(arguments) => arguments.json_events,
            Self::Apply(arguments) => arguments.carrying.json_events,
            Self::Rollout(arguments) => arguments.wants_events(),
            _ => false,
        };
        wants_events.then_some(Format::Events)
    }

    /// Returns the signals that end it.
    fn ended_by(&self) -> &'static [Signal] {
        if matches!(self, Self::Serve(_)) { signals::ending_a_server() } else { signals::ENDING }
    }

    /// Returns what to do when it is cut off, if it may leave something under way.
    fn unfinished_hint(&self) -> Option<&'static str> {
        match self {
            Self::Install(_) | Self::Uninstall(_) | Self::Upgrade(_) => {
                Some("what was sent may still take effect: look with `plugport list` before anything else is changed")
            }
            Self::Api(arguments) if arguments.changes_something() => {
                Some("what was sent may still take effect: read it back before it is sent again")
            }
            _ => None,
        }
    }

    /// Returns whether it changes nothing but the cache.
    fn only_reads(&self) -> bool {
        match self {
            Self::Channel(arguments) => return arguments.only_reads(),
            Self::Rollout(arguments) => return arguments.only_reads(),
            _ => {}
        }
        matches!(
            self,
            Self::Validate(_)
                | Self::Status(_)
                | Self::Alerts(_)
                | Self::Search(_)
                | Self::Show(_)
                | Self::Versions(_)
                | Self::Diff(_)
                | Self::Verify(_)
                | Self::List(_)
                | Self::Outdated(_)
                | Self::Check(_)
                | Self::Usage(_)
                | Self::Why(_)
                | Self::WhyNot(_)
                | Self::Plan(_)
                | Self::Workspace(_)
                | Self::Doctor(_)
        )
    }

    /// Returns the name as it is typed.
    fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Validate(_) => "validate",
            Self::Status(_) => "status",
            Self::Sync(_) => "sync",
            Self::Search(_) => "search",
            Self::Show(_) => "show",
            Self::Versions(_) => "versions",
            Self::Diff(_) => "diff",
            Self::Alerts(_) => "alerts",
            Self::Accept(_) => "accept",
            Self::Fetch(_) => "fetch",
            Self::Verify(_) => "verify",
            Self::Install(_) => "install",
            Self::Uninstall(_) => "uninstall",
            Self::Upgrade(_) => "upgrade",
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::List(_) => "list",
            Self::Outdated(_) => "outdated",
            Self::Check(_) => "check",
            Self::Usage(_) => "usage",
            Self::Why(_) => "why",
            Self::WhyNot(_) => "why-not",
            Self::Adopt(_) => "adopt",
            Self::Lock(_) => "lock",
            Self::Plan(_) => "plan",
            Self::Apply(_) => "apply",
            Self::Rollout(_) => "rollout",
            Self::Workspace(_) => "workspace",
            Self::Api(_) => "api",
            Self::Serve(_) => "serve",
            Self::Publish(_) => "publish",
            Self::Channel(_) => "channel",
            Self::Bundle(_) => "bundle",
            Self::Export(_) => "export",
            Self::Gc(_) => "gc",
            Self::Doctor(_) => "doctor",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Schema(_) => "schema",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Help(_) => "help",
        }
    }

    async fn run(&self, session: &Session) -> Result<Report, Failure> {
        match self {
            Self::Init(arguments) => arguments.run(session).await,
            Self::Validate(_) => validate::ValidateArgs::run(session),
            Self::Status(arguments) => arguments.run(session).await,
            Self::Sync(arguments) => arguments.run(session).await,
            Self::Search(arguments) => arguments.run(session).await,
            Self::Show(arguments) => arguments.run(session).await,
            Self::Versions(arguments) => arguments.run(session).await,
            Self::Diff(arguments) => arguments.run(session).await,
            Self::Alerts(arguments) => arguments.run(session).await,
            Self::Accept(arguments) => arguments.run(session).await,
            Self::Fetch(arguments) => arguments.run(session).await,
            Self::Verify(arguments) => arguments.run(session).await,
            Self::Install(arguments) => arguments.run(session).await,
            Self::Uninstall(arguments) => arguments.run(session).await,
            Self::Upgrade(arguments) => arguments.run(session).await,
            Self::Add(arguments) => arguments.run(session).await,
            Self::Remove(arguments) => arguments.run(session),
            Self::List(arguments) => arguments.run(session).await,
            Self::Outdated(arguments) => arguments.run(session).await,
            Self::Check(arguments) => arguments.run(session).await,
            Self::Usage(arguments) => arguments.run(session).await,
            Self::Why(arguments) => arguments.run(session).await,
            Self::WhyNot(arguments) => arguments.run(session).await,
            Self::Adopt(arguments) => arguments.run(session).await,
            Self::Lock(arguments) => arguments.run(session).await,
            Self::Plan(arguments) => arguments.run(session).await,
            Self::Apply(arguments) => arguments.run(session).await,
            Self::Rollout(arguments) => arguments.run(session).await,
            Self::Workspace(arguments) => arguments.run(session).await,
            Self::Api(arguments) => arguments.run(session).await,
            Self::Serve(arguments) => Box::pin(arguments.run(session)).await,
            Self::Publish(arguments) => arguments.run(session).await,
            Self::Channel(arguments) => arguments.run(session).await,
            Self::Bundle(arguments) => arguments.run(session).await,
            Self::Export(arguments) => arguments.run(session).await,
            Self::Gc(arguments) => arguments.run(session).await,
            Self::Doctor(arguments) => arguments.run(session).await,
            Self::Backup(arguments) => arguments.run(session).await,
            Self::Restore(arguments) => arguments.run(session).await,
            Self::Schema(arguments) => Ok(arguments.run()),
            Self::Completions(arguments) => Ok(arguments.run()),
            Self::Man(arguments) => arguments.run(),
            Self::Help(arguments) => arguments.run(),
        }
    }
}

/// Returns the definition of every command and its arguments: what the reference is made from and examples are checked by.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program with these arguments, the first of which is its name; returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A core file would hold tokens.
    let no_core = rustix::process::DumpableBehavior::NotDumpable;
    if let Err(error) = rustix::process::set_dumpable_behavior(no_core) {
        tracing::debug!(%error, "core files stay possible");
    }
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(mut arguments) => {
            arguments.globals.unset_empty();
            ExitCode::from(run(&arguments))
        }
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if arguments.len() < 2 {
                ui::print_overview(&help::overview());
            } else {
                // A closed pipe is the only reason why this fails.
                drop(error.print());
            }
            if asked_for {
                return ExitCode::SUCCESS;
            }
            if arguments.iter().any(|argument| argument == "--json") {
                drop(ui::print_usage_error(&error.render().to_string()));
            }
            ExitCode::from(exit_code(Kind::Usage))
        }
    }
}

fn run(arguments: &Cli) -> u8 {
    let (name, ui) = (arguments.command.name(), arguments.ui());
    arguments.globals.start_log();
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(until_signal(arguments, name));
            // Whatever still runs is given up: every change is old or new, also when it is cut off here.
            runtime.shutdown_background();
            ended
        }
        Err(source) => RunEnd::With(Err(setup::no_runtime(&source))),
    };
    let (printed, code) = match ended {
        // What a signal met at its end had ended already.
        RunEnd::With(Ok(mut report)) | RunEnd::After(_, Ok(mut report), None) => {
            let mut code = report.kind.map_or(0, exit_code);
            let unknown = report.select(&arguments.globals.columns);
            let printed = ui.report(name, report);
            if let Err(unknown) = unknown {
                let failure = Failure::from(unknown);
                ui.complain_of(&failure);
                // What was done is done, whatever is shown of it.
                code = if code == 0 && arguments.command.only_reads() { exit_code(failure.kind) } else { code };
            }
            (printed, code)
        }
        RunEnd::With(Err(failure)) | RunEnd::After(_, Err(failure), _) => {
            (ui.failure(name, &failure), exit_code(failure.kind))
        }
        RunEnd::After(signal, Ok(report), Some(id)) => {
            let printed = ui.report(name, report);
            let message = format!("interrupted by {}: rollout {id} is unfinished", signal.name);
            ui.complain_of(&Failure { kind: Kind::Failed, message, hint: Some(render::next_steps(&id)) });
            (printed, signal.exit_code())
        }
        RunEnd::By(signal, awaited) => {
            if !awaited.is_empty() {
                ui.problem(&format!("note: still waiting for {}", awaited.join(", ")));
            }
            let message = format!("interrupted by {}", signal.name);
            let hint = arguments.command.unfinished_hint().map(str::to_owned);
            let failure = Failure { kind: Kind::Failed, message, hint };
            (ui.failure(name, &failure), signal.exit_code())
        }
    };
    match printed {
        Ok(()) => code,
        Err(error) => {
            ui.complain_of_output(&error);
            // Results that could not be written are no success.
            if code == 0 { exit_code(Kind::Storage) } else { code }
        }
    }
}

enum RunEnd {
    With(Result<Report, Failure>),
    /// By itself, soon after a signal, and maybe with a rollout that is unfinished.
    After(Signal, Result<Report, Failure>, Option<RolloutId>),
    /// Cut off, while these were waited for.
    By(Signal, Vec<String>),
}

async fn until_signal(arguments: &Cli, name: &'static str) -> RunEnd {
    let interrupt = Arc::new(Interrupt::default());
    let caught = signals::listen(Arc::clone(&interrupt), arguments.command.ended_by());
    let session = Session::new(&arguments.globals, arguments.ui(), name, Arc::clone(&interrupt));
    let mut work = Box::pin(arguments.command.run(&session));
    let ended = tokio::select! {
        signal = caught => {
            if interrupt.is_heeded() {
                interrupt.want();
                let result = work.await;
                RunEnd::After(signal, result, interrupt.left())
            } else {
                RunEnd::By(signal, session.awaited())
            }
        }
        result = &mut work => RunEnd::With(result),
    };
    let limit = match ended {
        RunEnd::With(_) | RunEnd::After(..) => Duration::from_mins(1),
        RunEnd::By(..) => signals::LAST_WORDS,
    };
    for line in session.delete_tokens(limit).await {
        arguments.ui().problem(&line);
    }
    ended
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_fit_together() {
        Cli::command().debug_assert();
    }
}
