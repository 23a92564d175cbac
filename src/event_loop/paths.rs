//! Unix domain sockets: servers that listen at a path, sockets that connect to one.
//!
//! As in Node the system calls are made within `listen` and `connect`, since there is nothing to
//! look up (N97). What they say comes later: 'listening' and 'error' of a server on a tick, 'connect' in
//! the poll phase, an error of `connect` in the next pending phase, as libuv defers it (P5).

use std::io;
use std::path::{Path, PathBuf};

use super::connect_request::ConnectHost;
use super::entry::{flag, server_of, stream_of};
use super::handle::Id;
use super::server::{ListenHost, ListenRequest};
use super::state::State;
use super::task::Task;
use crate::backend::already_connected;
use crate::backend::unix::is_abstract;
use crate::ground::error::{Error, Result};

/// What is remembered of an attempt to connect to a path.
pub(crate) struct PathAttempt {
    /// Where to.
    path: PathBuf,
    /// Why it has failed, to be told later.
    refused: Option<io::Error>,
}

/// What Node's `listen` throws about paths.
pub(crate) fn check_listen(request: &ListenRequest) -> Result<()> {
    let ListenHost::Path(path) = &request.host else {
        return Ok(());
    };
    let wrong = match path {
        path if path.as_os_str().is_empty() => "The path to listen at is empty.",
        path if is_abstract(path) && request.options.file_mode > 0 => {
            "can not set readableAll or writableAll to true when path is abstract unix socket"
        }
        _ => return Ok(()),
    };
    Err(Error::library("ERR_INVALID_ARG_VALUE", wrong))
}

impl State {
    /// Binds and listens at a path. The error is that of setting the file's mode (N241).
    pub(crate) fn listen_at_path(&mut self, id: Id, request: ListenRequest) -> Result<()> {
        let State {
            entries,
            backend,
            ticks,
            ..
        } = self;
        let ListenHost::Path(path) = request.host else {
            return Ok(());
        };
        let Some(server) = server_of(entries, id) else {
            return Ok(());
        };
        let listener = backend.listen_at_path(&path, request.options, State::token(id));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                let error = Error::listen(error, &path.to_string_lossy(), 0);
                ticks.push(Task::EmitServerError(id, error));
                server.path = Some(path);
                return Ok(());
            }
        };
        server.path = Some(path);
        let mode = request.options.file_mode;
        if mode > 0
            && let Err(error) = backend.set_listener_mode(&listener, mode)
        {
            backend.close_listener(listener);
            return Err(Error::system("uv_pipe_chmod", error));
        }
        self.listens(id, listener);
        Ok(())
    }

    /// The path that a server was told to listen at last (N77); of a socket from outside the path
    /// that it is bound to.
    pub(crate) fn server_path(&mut self, id: Id) -> Option<PathBuf> {
        let State {
            entries, backend, ..
        } = self;
        let server = server_of(entries, id)?;
        match &server.path {
            Some(path) => Some(path.clone()),
            None => backend.listener_path(server.listener.as_ref()?),
        }
    }

    /// `connect` to a path (Node's internalConnect). Whatever comes of it is told later.
    pub(crate) fn connect_to_path(&mut self, id: Id, path: PathBuf) {
        let State {
            entries,
            backend,
            live,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let connected = match &stream.io {
            // Node tries it on the descriptor that is connected.
            Some(_) => Err(already_connected()),
            None => backend.connect_to_path(&path, State::token(id)),
        };
        let refused = match connected {
            Ok(io) => {
                stream.io = Some(io);
                stream.common.flags.set(flag::UNIX);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                // No path at all: Node gives up within `connect`.
                return self.destroy(id, Some(failed(error, &path)));
            }
            Err(error) => Some(error),
        };
        if !stream.common.flags.any(flag::CONNECT_PENDING) {
            stream.common.flags.set(flag::CONNECT_PENDING);
            live.requests += 1;
        }
        let is_over = refused.is_some();
        stream.extra().path_attempt = Some(Box::new(PathAttempt { path, refused }));
        if is_over {
            self.pending.push_back(id);
        }
    }

    /// What has become of it is told (Node's afterConnect).
    pub(crate) fn finish_connect_to_path(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let Some(attempt) = stream.extra().path_attempt.take() else {
            return;
        };
        stream.common.flags.clear(flag::CONNECTING);
        stream.ready |= crate::backend::ready::WRITABLE;
        let failure = match attempt.refused {
            Some(error) => Some(error),
            // Asked always, as Node does: the server may have closed without accepting.
            None => stream.io.as_ref().and_then(|io| backend.take_error(io)),
        };
        self.none_under_way(id);
        match failure {
            Some(error) => {
                let error = failed(error, &attempt.path);
                self.steps.push_back(Task::Destroy(id, error));
            }
            None => self.tell_connected(id),
        }
    }
}

fn failed(error: io::Error, path: &Path) -> Error {
    Error::connect_to_path(error, &path.to_string_lossy())
}

impl ConnectHost {
    /// Of a path.
    pub(crate) fn at(path: impl Into<PathBuf>) -> ConnectHost {
        ConnectHost::Path(path.into())
    }
}
