//! The page of a refusal.

use askama::Template;

use super::{Frame, PageResult};

/// A refusal, as browsers get it.
#[derive(Debug, Template)]
#[template(path = "error.html", config = "src/web/askama.toml")]
pub(crate) struct ErrorPage {
    frame: Frame,
    status: u16,
    heading: &'static str,
    message: String,
}

impl ErrorPage {
    /// Returns the page of a status with a sentence for people.
    pub(crate) fn new(frame: Frame, status: u16, message: &str) -> Self {
        let heading = match status {
            400 => "This address cannot be read",
            401 => "A token is needed",
            404 => "Nothing is here",
            503 => "Not now",
            _ => "This did not work",
        };
        let mut characters = message.chars();
        let message =
            characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect());
        Self { frame, status, heading, message }
    }

    /// Returns the HTML.
    pub(crate) fn html(&self) -> PageResult {
        self.render()
    }
}
