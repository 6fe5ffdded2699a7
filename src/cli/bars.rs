//! Progress of a command on a terminal, as a bar, and as lines of JSON.
//!
//! *Invariant:* what is over at once is not drawn; names from outside are cleaned before they are.
//! *Not for:* what is in progress, which the work itself reports by [`Reporter`].

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    line::clean,
    ui::{Format, Ui, event},
};
use crate::progress::{Reporter, Unit};

/// Returns what draws progress, if somebody is to see it.
pub(super) fn reporter(ui: Ui) -> Arc<dyn Reporter> {
    if ui.format == Format::Events {
        return Arc::new(Events { ui, state: Mutex::default() });
    }
    if ui.progress && !ui.quiet && io::stderr().is_terminal() {
        Arc::new(Bar { ui, drawn: Mutex::default(), awaited: Awaited::default() })
    } else {
        Arc::new(Remarks(ui, Awaited::default()))
    }
}

/// How long a piece of work goes on before it is drawn, and how often it is drawn then.
const UNSEEN: Duration = Duration::from_millis(150);
const TICK: Duration = Duration::from_millis(200);

/// So many names are drawn of what is still waited for.
const LAST: usize = 3;

/// The names of what is waited for.
#[derive(Debug, Default)]
struct Awaited(Mutex<BTreeSet<String>>);

impl Awaited {
    fn add(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Draws nothing, and prints notes.
#[derive(Debug)]
struct Remarks(Ui, Awaited);

impl Reporter for Remarks {
    fn remark(&self, text: &str) {
        self.0.note(&format!("note: {text}"));
    }

    fn wait(&self, name: &str) {
        self.1.add(name);
    }

    fn arrived(&self, name: &str) {
        self.1.remove(name);
    }

    fn awaited(&self) -> Vec<String> {
        self.1.names()
    }
}

/// Draws a bar on stderr while something takes its time.
#[derive(Debug)]
struct Bar {
    ui: Ui,
    drawn: Mutex<Option<ProgressBar>>,
    awaited: Awaited,
}

impl Bar {
    fn with(&self, work: impl FnOnce(&ProgressBar)) {
        if let Ok(bar) = self.drawn.lock()
            && let Some(bar) = bar.as_ref()
        {
            work(bar);
        }
    }
}

impl Reporter for Bar {
    fn begin(&self, what: &str, total: Option<u64>, unit: Unit) {
        let template = match (unit, total) {
            (Unit::Bytes, Some(_)) => "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Unit::Bytes, None) => "{spinner} {msg} {bytes} {bytes_per_sec}",
            (Unit::Items, Some(_)) => "{msg} {bar:30} {pos}/{len} {eta} {prefix}",
            (Unit::Items, None) => "{spinner} {msg} {pos}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        let shown = bar.clone();
        // What is over at once does not flicker.
        drop(std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            std::thread::sleep(UNSEEN);
            if !shown.is_finished() {
                shown.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                shown.enable_steady_tick(TICK);
            }
        }));
        if let Ok(mut current) = self.drawn.lock() {
            *current = Some(bar);
        }
    }

    fn grow(&self, units: u64) {
        self.with(|bar| bar.inc_length(units));
    }

    fn advance(&self, units: u64) {
        self.with(|bar| bar.inc(units));
    }

    fn end(&self) {
        if let Ok(mut current) = self.drawn.lock()
            && let Some(bar) = current.take()
        {
            bar.finish_and_clear();
        }
    }

    fn remark(&self, text: &str) {
        self.ui.note(&format!("note: {text}"));
    }

    fn wait(&self, name: &str) {
        self.awaited.add(name);
    }

    fn arrived(&self, name: &str) {
        self.awaited.remove(name);
        let names = self.awaited.names();
        let last = if names.len() > LAST { String::new() } else { names.join(", ") };
        self.with(|bar| bar.set_prefix(clean(&last)));
    }

    fn awaited(&self) -> Vec<String> {
        self.awaited.names()
    }
}

/// Prints progress as lines of JSON, a few a second.
#[derive(Debug)]
struct Events {
    ui: Ui,
    state: Mutex<Stretch>,
}

/// How far the current piece of work is.
#[derive(Debug, Default)]
struct Stretch {
    what: String,
    total: Option<u64>,
    done: u64,
    printed: Option<Instant>,
}

impl Events {
    fn change(&self, name: &str, pause: Duration, change: impl FnOnce(&mut Stretch)) {
        let Ok(mut state) = self.state.lock() else { return };
        change(&mut state);
        if state.printed.is_some_and(|printed| printed.elapsed() < pause) {
            return;
        }
        state.printed = Some(Instant::now());
        let fields = serde_json::json!({ "what": state.what, "done": state.done, "total": state.total });
        // A reader that closed the pipe does not want an error.
        drop(self.ui.print(&event(name, fields)));
    }
}

impl Reporter for Events {
    fn begin(&self, what: &str, total: Option<u64>, _unit: Unit) {
        self.change("begin", Duration::ZERO, |state| {
            *state = Stretch { what: what.to_owned(), total, ..Stretch::default() };
        });
    }

    fn grow(&self, units: u64) {
        self.change("progress", Duration::from_millis(200), |state| {
            state.total = state.total.map(|total| total + units);
        });
    }

    fn advance(&self, units: u64) {
        self.change("progress", Duration::from_millis(200), |state| state.done += units);
    }

    fn end(&self) {
        self.change("end", Duration::ZERO, |_| {});
    }

    fn remark(&self, text: &str) {
        self.ui.note(&format!("note: {text}"));
    }
}
