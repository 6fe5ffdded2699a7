//! What archives are refused for, what they may look like, and zips made for such tests.

mod attacks;
mod unusual;
pub(in crate::archive) mod zips;
