//! What people read.

pub mod text;
