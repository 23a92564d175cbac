//! What people and programs read.

pub mod html;
pub mod json;
mod svg;
pub mod text;

use std::io;
use std::path::PathBuf;

use crate::outcome::Outcome;

/// What a report is about, beside its figures.
#[derive(Debug, Clone)]
pub struct About {
    pub machine: String,
    pub cores: String,
    /// Other work, if there was any.
    pub busy: Option<String>,
    pub rounds: String,
    /// The peers that are left out, and why.
    pub left_out: Vec<String>,
}

/// Writes both files: where they are.
pub fn write(
    directory: PathBuf,
    about: &About,
    outcomes: &[Outcome],
) -> io::Result<(PathBuf, PathBuf)> {
    let (data, page) = (directory.join("suite.json"), directory.join("suite.html"));
    std::fs::write(&data, json::of(about, outcomes).to_string())?;
    std::fs::write(&page, html::of(about, outcomes))?;
    Ok((data, page))
}
