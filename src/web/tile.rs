//! The logo of a plugin that has none: its first letter.

use crate::model::PluginId;

/// How many colours there are.
const COLOURS: [&str; 6] = ["#3f5fa8", "#7a4a96", "#a2433f", "#8a5a12", "#2f7158", "#44626f"];

/// Returns a picture with the first letter of a name, as SVG.
pub(crate) fn tile(id: &PluginId, name: &str) -> String {
    let letter = letter(name);
    let colour = COLOURS[usize::from(colour(id)) % COLOURS.len()];
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\"><rect width=\"40\" height=\"40\" rx=\"8\" \
         fill=\"{colour}\"/><text x=\"20\" y=\"27\" fill=\"#fff\" font-family=\"sans-serif\" font-size=\"20\" \
         text-anchor=\"middle\">{letter}</text></svg>"
    )
}

/// Returns the first letter or digit of a name; only those are shown, which need no escaping.
pub(super) fn letter(name: &str) -> char {
    let first = name.chars().find(|character| character.is_alphanumeric());
    first.and_then(|character| character.to_uppercase().next()).unwrap_or('?')
}

/// Returns a number that is the same for the same plugin.
pub(super) fn colour(id: &PluginId) -> u8 {
    id.as_str().bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 6
}
