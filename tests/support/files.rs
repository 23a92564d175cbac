//! Files for tests.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory of a test's own, which is removed with everything in it.
pub struct Scratch(TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        let mut directory = tempfile::Builder::new();
        // Short, since a path in it must fit a socket's address.
        directory.prefix("nodeloop-");
        // Some tests give up their privileges, and are to come in even so.
        #[cfg(unix)]
        directory.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        Scratch(directory.tempdir().expect("there is room"))
    }

    /// Its own path.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it that is not there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as an argument of a program.
    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("it is text").to_string()
    }

    /// A file in it.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("there is room");
        path
    }
}

/// What is in a file.
pub fn content(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Bytes of which no two neighbourhoods are alike.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}
