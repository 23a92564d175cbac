//! What people and programs read.

pub mod html;
pub mod json;
mod markdown;
pub mod svg;
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

/// Writes the files: where they are.
pub fn write(directory: PathBuf, about: &About, outcomes: &[Outcome]) -> io::Result<[PathBuf; 3]> {
    let paths = ["suite.json", "suite.html", "suite.md"].map(|name| directory.join(name));
    let [data, page, tables] = &paths;
    std::fs::write(data, json::of(about, outcomes).to_string())?;
    std::fs::write(page, html::of(about, outcomes))?;
    std::fs::write(tables, markdown::of(about, outcomes))?;
    Ok(paths)
}
