//! Unix domain sockets and descriptors: the other half of `tests/oracle/paths.cjs`.

#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
#[cfg(unix)]
use std::rc::Rc;

#[cfg(unix)]
use nodeloop::net::{ConnectOptions, ListenOptions, Server, Socket};
#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

#[cfg(unix)]
use super::{Object, World, fail, say};
#[cfg(unix)]
use crate::oracle::data::bytes_of;
pub use crate::oracle::outside::over_unix;
#[cfg(unix)]
use crate::oracle::scenario::Action;

/// What is in front of abstract names, which have no directory of their own.
fn unique() -> String {
    let directory = std::env::current_dir().unwrap_or_default();
    let name = directory.file_name().unwrap_or_default();
    format!("\0{}-", name.to_string_lossy())
}

/// The path that a word of a scenario means.
pub fn path_of(word: &str) -> PathBuf {
    if let Some(name) = word.strip_prefix('@') {
        return format!("{}{name}", unique()).into();
    }
    if let Some(length) = word.strip_prefix("long:") {
        return "x".repeat(length.parse().unwrap_or(0)).into();
    }
    match word {
        "nul" => "a\0b".into(),
        "empty" => "".into(),
        word => word.into(),
    }
}

/// A path, or a text with one, as it shows.
pub fn shown(text: &str) -> String {
    text.replace(&unique(), "@").replace('\0', "\\0")
}

/// Where an object of this name is, when TCP scenarios are played over Unix sockets.
pub fn stand_in(name: &str) -> PathBuf {
    format!("{name}.sock").into()
}

#[cfg(unix)]
impl World {
    /// Where to listen, if the scenario says a path or a descriptor.
    pub(super) fn listen_at_path(&self, action: &Action, object: &Object) -> Option<ListenOptions> {
        let option = |key: &str| action.options.get(key);
        let options = match (option("path"), option("descriptor")) {
            (Some(word), _) => ListenOptions::new().path(path_of(word)),
            (None, Some(_)) => ListenOptions::new().fd(inherited()),
            (None, None) if over_unix() => ListenOptions::new().path(stand_in(&object.name)),
            (None, None) => return None,
        };
        let options = options
            .readable_all(option("readable_all").is_some())
            .writable_all(option("writable_all").is_some());
        Some(match option("backlog").and_then(|it| it.parse().ok()) {
            Some(backlog) => options.backlog(backlog),
            None => options,
        })
    }

    /// Connects a client to a path.
    pub(super) fn connect_to_path(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        socket: Socket,
        path: &Path,
    ) {
        let options = ConnectOptions::to_path(path);
        let connected = match action.options.get("then") {
            Some(name) => {
                let done = self.completion(object, name);
                socket.connect_then(options, move |_| done(Ok(())))
            }
            None => socket.connect(options),
        };
        if let Err(error) = connected {
            let error = super::show::error(&error);
            self.trace(object, &format!("connect throws {error}"));
        }
    }

    /// Makes a socket of the descriptor that this process was given.
    pub(super) fn adopt(self: &Rc<World>, name: &str, action: &Action) {
        let half_open = action.options.contains_key("half_open");
        let options = nodeloop::net::SocketOptions::new().allow_half_open(half_open);
        match Socket::from_fd(&self.lp, inherited(), options) {
            Ok(socket) => self.add_client(name, socket, action),
            Err(error) => {
                let error = super::show::error(&error);
                say(&format!("={name}\tsocket throws {error}"));
            }
        }
    }

    /// Verbs about files.
    pub(super) fn file_verb(&self, action: &Action) {
        let path = path_of(&action.words[0]);
        let done = match action.verb.as_str() {
            "file" => {
                let data = action.words.get(1).map(|word| bytes_of(word));
                std::fs::write(&path, data.unwrap_or_else(|| b"text".to_vec()))
            }
            "directory" => std::fs::create_dir(&path),
            "remove" => std::fs::remove_file(&path),
            "look" => {
                say(&format!("={}\t{}", action.words[0], look(&path)));
                Ok(())
            }
            _ => fail(action, "this interpreter does not know the verb"),
        };
        if let Err(error) = done {
            fail(action, &error.to_string());
        }
    }
}

/// What is at a path; of a socket the mode, if it is not what the umask leaves.
#[cfg(unix)]
fn look(path: &Path) -> String {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return "nothing".into();
    };
    let kind = metadata.file_type();
    let mode = metadata.permissions().mode() & 0o777;
    match mode {
        0o444 | 0o222 | 0o666 if kind.is_socket() => format!("socket {mode:o}"),
        _ if kind.is_socket() => "socket".into(),
        _ if kind.is_dir() => "directory".into(),
        _ => "file".into(),
    }
}

/// The path of a server, as it shows.
#[cfg(unix)]
pub fn server_path(server: Server) -> String {
    let path = server.path();
    path.map_or("none".into(), |path| shown(&path.to_string_lossy()))
}

/// The descriptor that this process was given in place of its error output, which it keeps no
/// longer.
#[cfg(unix)]
pub fn inherited() -> std::os::fd::OwnedFd {
    use std::os::fd::AsFd;
    let own = std::io::stderr().as_fd().try_clone_to_owned();
    let nothing = std::fs::File::options().write(true).open("/dev/null");
    rustix::stdio::dup2_stderr(nothing.expect("there is one")).expect("it is open");
    own.expect("it is open")
}
