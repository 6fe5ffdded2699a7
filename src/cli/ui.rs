//! The only place that writes to the terminal.
//!
//! *Invariant:* results go to stdout, everything else to stderr; no control or direction character of a catalog reaches a
//! terminal; a closed pipe is not an error.

use std::{
    io::{self, IsTerminal, Write},
    mem,
};

use anstream::{AutoStream, ColorChoice};
use serde_json::{Map, Value};

pub(super) use super::line::{clean, shorten};
use super::{
    failure::Failure,
    line::wrap_lines,
    table::{NoSuchColumn, Shape, Table, Text},
};

/// What results look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// Text and tables for people.
    Text,
    /// One JSON document.
    Json,
    /// One JSON object a line, the last of which is the document.
    Events,
    /// One JSON object a line, printed by the command itself; the only document is that of a failure.
    Lines,
}

/// How to speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ui {
    pub(super) format: Format,
    pub(super) shape: Shape,
    pub(super) quiet: bool,
    pub(super) progress: bool,
    pub(super) color: ColorChoice,
}

/// What a command has to say when it ends.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The JSON document, without its first two fields.
    pub(super) document: Value,
    /// The same for people.
    pub(super) text: Text,
    /// Notes for people, on stderr, before the text; not printed with `--quiet`.
    pub(super) notes: Vec<String>,
    /// The fault, one by one, on stderr, after the text; each begins with a label like `failed:` or `hint:`.
    pub(super) problems: Vec<String>,
    /// What the exit code says, where the command did not simply succeed.
    pub(super) kind: Option<crate::diagnostic::Kind>,
}

impl Report {
    /// Leaves these columns of its tables alone; with no names, all. A name that no table has changes nothing.
    pub(super) fn select(&mut self, columns: &[String]) -> Result<(), NoSuchColumn> {
        if !columns.is_empty() {
            self.text = self.text.clone().select(columns)?;
        }
        Ok(())
    }
}

impl Ui {
    /// Prints what a command has to say.
    pub(super) fn report(self, command: &str, mut report: Report) -> io::Result<()> {
        for note in &report.notes {
            self.note(note);
        }
        let printed = match self.format {
            Format::Text => self.print(&report.text.render(self.shape, width(&io::stdout()))),
            Format::Lines => Ok(()),
            _ => self.print_document(command, mem::take(&mut report.document)),
        };
        for problem in &report.problems {
            self.problem(problem);
        }
        printed
    }

    /// Prints what went wrong with its label in colour.
    pub(super) fn problem(self, text: &str) {
        let text = clean(text);
        let (label, rest) = text.split_once(": ").unwrap_or(("", &text));
        let color = match label {
            "failed" | "unknown" | "alert" | "denied" => 31,
            "skipped" | "weak" | "note" => 33,
            "hint" => 36,
            _ => return self.complain(&text),
        };
        self.complain(&format!("\u{1b}[1;{color}m{label}:\u{1b}[0m {rest}"));
    }

    /// Prints a failure.
    pub(super) fn failure(self, command: &str, failure: &Failure) -> io::Result<()> {
        self.complain_of(failure);
        match self.format {
            Format::Text => Ok(()),
            _ => self.print_document(command, failure.document()),
        }
    }

    /// Prints a failure on stderr alone.
    pub(super) fn complain_of(self, failure: &Failure) {
        self.complain(&format!("\u{1b}[1;31merror:\u{1b}[0m {}", clean(&failure.message)));
        if let Some(hint) = &failure.hint {
            self.complain(&format!("\u{1b}[1;36mhint:\u{1b}[0m {}", clean(hint)));
        }
    }

    /// Says that results could not be written.
    pub(super) fn complain_of_output(self, error: &io::Error) {
        self.complain(&format!("\u{1b}[1;31merror:\u{1b}[0m the results cannot be written to stdout: {error}"));
    }

    fn print_document(self, command: &str, fields: Value) -> io::Result<()> {
        let document = document(command, fields);
        match self.format {
            Format::Events => self.print(&event("result", document)),
            Format::Lines => print_plain(&format!("{document}\n")),
            _ => print_plain(&pretty(&document)),
        }
    }

    /// Prints a note, except with `--quiet`.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            self.complain(&clean(text));
        }
    }

    /// Prints a line on stderr, also for those who want quiet.
    pub(super) fn announce(self, text: &str) {
        self.complain(&clean(text));
    }

    /// Prints a line of a log on stderr: it is never wrapped.
    pub(super) fn log(self, line: &str) {
        self.print_note(&clean(line));
    }

    /// Prints what is being done on stderr, except with `--quiet`.
    pub(super) fn progress(self, text: &str) {
        self.note(text);
    }

    /// Prints an object of a stream.
    pub(super) fn line(object: &Value) {
        // A reader that closed the pipe does not want an error.
        drop(print_plain(&format!("{object}\n")));
    }

    /// Prints a line of results while there may be more.
    pub(super) fn text_line(text: &str) {
        // A reader that closed the pipe does not want an error.
        drop(print_plain(&format!("{}\n", clean(text))));
    }

    /// Returns whether there is somebody who can be asked.
    pub(super) fn may_ask(self) -> bool {
        matches!(self.format, Format::Text | Format::Lines) && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Shows a text before a question.
    pub(super) fn show(self, text: &Text) {
        self.print_note(text.render(Shape::Fit, width(&io::stderr())).trim_end());
    }

    /// Asks a question and returns the answer; blocks until there is one.
    pub(super) fn ask(self, question: &str) -> String {
        let mut stream = AutoStream::new(io::stderr(), self.color).lock();
        drop(write!(stream, "{question}").and_then(|()| stream.flush()));
        drop(stream);
        let mut answer = String::new();
        drop(io::stdin().read_line(&mut answer));
        answer
    }

    /// Prints sentences on stderr, wrapped at its width.
    fn complain(self, text: &str) {
        let text = width(&io::stderr()).map_or_else(|| text.to_owned(), |columns| wrap_lines(text, columns));
        self.print_note(&text);
    }

    /// Prints a text on stderr as it is; when that fails there is nobody left to tell.
    fn print_note(self, text: &str) {
        let mut stream = AutoStream::new(io::stderr(), self.color).lock();
        drop(writeln!(stream, "{text}"));
    }

    pub(super) fn print(self, text: &str) -> io::Result<()> {
        let mut stream = AutoStream::new(io::stdout(), self.color).lock();
        let written = stream.write_all(text.as_bytes()).and_then(|()| match text {
            "" => Ok(()),
            text if text.ends_with('\n') => Ok(()),
            _ => stream.write_all(b"\n"),
        });
        match written.and_then(|()| stream.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Prints what there is on stderr, for somebody who named no command.
pub(super) fn print_overview(text: &str) {
    let ui = Ui { format: Format::Text, shape: Shape::Fit, quiet: false, progress: false, color: ColorChoice::Auto };
    ui.show(&text.into());
}

/// Prints the document of invalid arguments, for programs that asked for JSON.
pub(super) fn print_usage_error(message: &str) -> io::Result<()> {
    let failure = Failure::usage(message.trim_end(), "`plugport help` lists what there is");
    let ui = Ui { format: Format::Json, shape: Shape::Fit, quiet: true, progress: false, color: ColorChoice::Never };
    ui.print_document("plugport", failure.document())
}

/// Prints a document as it is: JSON writes control characters as escapes, and some documents are long.
fn print_plain(text: &str) -> io::Result<()> {
    let mut stream = io::stdout().lock();
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Puts the two fields that every document starts with before the others.
fn document(command: &str, fields: Value) -> Value {
    let mut whole = Map::new();
    whole.insert("format_version".to_owned(), "1.0".into());
    whole.insert("command".to_owned(), command.into());
    if let Value::Object(fields) = fields {
        whole.extend(fields);
    }
    Value::Object(whole)
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Returns the document of a command as `--json` prints it.
pub(super) fn document_text(command: &str, fields: Value) -> String {
    pretty(&document(command, fields))
}

/// Returns a line of a stream: the name of the event before its fields.
pub(super) fn event(name: &str, fields: Value) -> String {
    let mut line = Map::new();
    line.insert("event".to_owned(), name.into());
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    format!("{}\n", Value::Object(line))
}

/// Returns how many columns a terminal has; `None` if it is none.
fn width(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream))?;
    size.ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// Returns how many columns stdout has; `None` if it is no terminal.
pub(super) fn stdout_width() -> Option<usize> {
    width(&io::stdout())
}

/// Returns rows as a table.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Text {
    Table::new(header, rows).into()
}

/// Returns the start of a digest where people read it, and all of it where a program may.
pub(super) fn digest(digest: &str) -> String {
    if io::stdout().is_terminal() {
        format!("{}…", digest.chars().take(12).collect::<String>())
    } else {
        digest.to_owned()
    }
}

/// Returns a count and what is counted.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Returns a length of time in its largest unit, as people read it.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => "less than a minute".to_owned(),
        60..3_600 => count(seconds / 60, "minute", "minutes"),
        3_600..86_400 => count(seconds / 3_600, "hour", "hours"),
        _ => count(seconds / 86_400, "day", "days"),
    }
}

/// Returns a number of bytes as people read it.
pub(super) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_down_to_their_largest_unit() {
        let ages = [5, 60, 7_199, 86_400, 200_000].map(age);
        assert_eq!(ages, ["less than a minute", "1 minute", "1 hour", "1 day", "2 days"]);
    }

    #[test]
    fn documents_start_with_version_and_command() {
        let text = document("sync", serde_json::json!({"source": "x"})).to_string();
        assert_eq!(text, r#"{"format_version":"1.0","command":"sync","source":"x"}"#);
    }
}
