//! What an error tells besides its own sentence: what kind of failure it is, and what to do next.
//!
//! *Invariant:* `Display` of an error says its own level only; [`Chain`] prints the whole line, each level once.
//! *Not for:* printing: only `cli` writes to a terminal, and only `cli` turns a [`Kind`] into an exit code.

use std::{error::Error, fmt, sync::Arc};

/// The kind of a failure, as scripts tell failures apart (the table of exit codes in the README).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// None of the kinds below.
    Failed,
    /// The command line or the manifest asks for something invalid.
    Usage,
    /// The command worked, and what it looked for was found.
    Findings,
    /// A digest, a signature or an archive was refused.
    Integrity,
    /// An upstream or a workspace could not be reached.
    Network,
    /// The disk, the store or the index failed.
    Storage,
    /// Another process holds the lock.
    Locked,
    /// Some of what was asked for succeeded and some did not.
    Partly,
    /// What happened on a workspace is not known.
    Unknown,
}

/// What an error says besides its own sentence: what kind of failure it is, and what to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnosis {
    /// Decides the exit code.
    pub kind: Kind,
    /// The next step, if there is one: lower case, no full stop.
    pub hint: Option<String>,
}

impl Diagnosis {
    /// Returns the same kind with this hint instead.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Hint>) -> Self {
        Self { hint: hint.into().0, ..self }
    }
}

impl From<Kind> for Diagnosis {
    fn from(kind: Kind) -> Self {
        Self { kind, hint: None }
    }
}

/// A hint as it may be written: a fixed text, a formatted one, or one that is not always there.
#[derive(Debug)]
pub struct Hint(Option<String>);

impl From<&str> for Hint {
    fn from(hint: &str) -> Self {
        Self(Some(hint.to_owned()))
    }
}

impl From<String> for Hint {
    fn from(hint: String) -> Self {
        Self(Some(hint))
    }
}

impl From<Option<String>> for Hint {
    fn from(hint: Option<String>) -> Self {
        Self(hint)
    }
}

/// An error that knows its kind and may know the next step.
pub trait Diagnose: Error {
    /// Returns both; mostly made by [`diagnose!`].
    fn diagnosis(&self) -> Diagnosis;

    /// Returns the kind of failure.
    fn kind(&self) -> Kind {
        self.diagnosis().kind
    }

    /// Returns what to do next, if there is something to do: lower case, no full stop.
    fn hint(&self) -> Option<String> {
        self.diagnosis().hint
    }
}

impl<E: Diagnose> Diagnose for Box<E> {
    fn diagnosis(&self) -> Diagnosis {
        (**self).diagnosis()
    }
}

impl<E: Diagnose> Diagnose for Arc<E> {
    fn diagnosis(&self) -> Diagnosis {
        (**self).diagnosis()
    }
}

/// Implements [`Diagnose`] for an error enum by a table that has only what the enum itself decides.
///
/// ```text
/// diagnose!(FetchError {
///     forward Lookup, Store, Upstream { source };
///     NoPackage => Kind::Failed;
///     Read { source } if source.kind() == io::ErrorKind::NotFound => Kind::Usage;
///     Unlisted(plugin) | Unknown(plugin) => Kind::Failed, format!("`plugport search {plugin}` finds it");
///     _ => Kind::Integrity, "compare with another source";
/// });
/// diagnose!(PlanError => Kind::Usage, "make a plan with `plugport plan --out FILE`");
/// ```
///
/// - `forward` lists the variants that hold another error with a diagnosis, which is taken over: the only value of
///   the variant, or the field in braces.
/// - The other lines are the arms of a `match`, without `Self::` and `..`: a name alone stands for the variant whatever
///   it holds. On the right are the kind and, after a comma, the hint: a text, a `String`, or an `Option<String>`. The
///   whole diagnosis of another error may stand for the kind.
/// - The second form is for an error with one diagnosis for all its values.
macro_rules! diagnose {
    ($error:ident => $kind:expr $(, $hint:expr)? $(,)?) => {
        impl $crate::diagnostic::Diagnose for $error {
            fn diagnosis(&self) -> $crate::diagnostic::Diagnosis {
                $crate::diagnostic::Diagnosis::from($kind)$(.with_hint($hint))?
            }
        }
    };
    ($error:ident { forward $($forwarded:ident $({ $field:ident })?),+ $(,)?; $($arms:tt)* }) => {
        $crate::diagnostic::diagnose!(@table $error { $($forwarded $({ $field })?)+ } $($arms)*);
    };
    ($error:ident { $($arms:tt)* }) => {
        $crate::diagnostic::diagnose!(@table $error {} $($arms)*);
    };
    (
        @table $error:ident { $($forwarded:ident $({ $field:ident })?)* }
        $(
            $($variant:ident $(($($values:tt)*))? $({ $($fields:tt)* })?)|+ $(if $guard:expr)?
                => $kind:expr $(, $hint:expr)?;
        )*
        $(_ => $other:expr $(, $other_hint:expr)?;)?
    ) => {
        impl $crate::diagnostic::Diagnose for $error {
            fn diagnosis(&self) -> $crate::diagnostic::Diagnosis {
                match self {
                    $(
                        $crate::diagnostic::variant!(@forward error $forwarded $({ $field })?) => {
                            $crate::diagnostic::Diagnose::diagnosis(error)
                        }
                    )*
                    $(
                        $($crate::diagnostic::variant!($variant $(($($values)*))? $({ $($fields)* })?))|+
                            $(if $guard)? => $crate::diagnostic::Diagnosis::from($kind)$(.with_hint($hint))?,
                    )*
                    $(_ => $crate::diagnostic::Diagnosis::from($other)$(.with_hint($other_hint))?,)?
                }
            }
        }
    };
}
pub(crate) use diagnose;

/// Spells the pattern of one variant for [`diagnose!`].
macro_rules! variant {
    (@forward $error:ident $variant:ident) => { Self::$variant($error) };
    (@forward $error:ident $variant:ident { $field:ident }) => { Self::$variant { $field: $error, .. } };
    ($variant:ident) => { Self::$variant { .. } };
    ($variant:ident ($($values:tt)*)) => { Self::$variant($($values)*) };
    ($variant:ident { $($fields:tt)* }) => { Self::$variant { $($fields)*, .. } };
}
pub(crate) use variant;

/// Prints an error and its causes on one line, outermost first.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        formatter.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Some libraries repeat the text of their cause; once is enough.
            if !last.ends_with(&text) {
                write!(formatter, ": {text}")?;
                last = text;
            }
            next = error.source();
        }
        Ok(())
    }
}

/// Returns whether a character shows something else than it is: controls and line ends, those that turn the direction of
/// writing, and those without a width.
pub(crate) fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns a text from outside with its hostile characters escaped, on one line. Quotes stay as they are.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if is_hostile(character) { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// Takes serde's sentence on an unknown key apart, "unknown field `tokn`, expected one of `token`, `user`": returns the key,
/// and those that there are.
pub(crate) fn unknown_key(message: &str) -> Option<(String, Vec<String>)> {
    let (key, expected) = message.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let known = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((key.to_owned(), known))
}

/// Why something cannot be done, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Obstacle {
    /// The reason, with its causes.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Obstacle {
    /// Returns an obstacle without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
}

impl<E: Diagnose> From<&E> for Obstacle {
    fn from(error: &E) -> Self {
        Self { message: Chain(error).to_string(), hint: error.hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("disk")]
        Disk(Full),
        #[error("boxed")]
        Boxed { source: Box<Full> },
        #[error("name")]
        Name { known: Option<String> },
        #[error("status")]
        Status(u16),
        #[error("other")]
        Other,
        #[error("rest")]
        Rest,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("full")]
    struct Full;

    diagnose!(Full => Kind::Storage, "free some space");
    diagnose!(Failure {
        forward Disk, Boxed { source };
        Name { known } => Kind::Usage, known.as_ref().map(|known| format!("did you mean {known}?"));
        Status(code) if *code >= 500 => Kind::Network, format!("{code}: try again");
        Status | Other => Full.kind(), "fixed";
        _ => Kind::Failed;
    });

    #[test]
    fn a_table_of_diagnoses_forwards_matches_and_falls_back() {
        let hint = |text: &str| Some(text.to_owned());
        for (error, kind, hint) in [
            (Failure::Disk(Full), Kind::Storage, hint("free some space")),
            (Failure::Boxed { source: Box::new(Full) }, Kind::Storage, hint("free some space")),
            (Failure::Name { known: Some("x".to_owned()) }, Kind::Usage, hint("did you mean x?")),
            (Failure::Name { known: None }, Kind::Usage, None),
            (Failure::Status(503), Kind::Network, hint("503: try again")),
            (Failure::Status(404), Kind::Storage, hint("fixed")),
            (Failure::Other, Kind::Storage, hint("fixed")),
            (Failure::Rest, Kind::Failed, None),
        ] {
            assert_eq!(error.diagnosis(), Diagnosis { kind, hint: hint.clone() }, "{error}");
            assert_eq!((error.kind(), error.hint()), (kind, hint), "{error}");
        }
    }

    #[test]
    fn a_chain_says_each_level_once() {
        assert_eq!(Chain(&Outer(Inner)).to_string(), "outer: inner");
    }

    #[test]
    fn what_is_printable_is_printed_as_it_is() {
        assert_eq!(printable("You'll need \"x\"\n\u{1b}[31m\u{202e}"), "You'll need \"x\"\\n\\u{1b}[31m\\u{202e}");
    }
}
