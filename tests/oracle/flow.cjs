// What program.cjs knows about flow: corks, timeouts, options of sockets, limits of servers.
'use strict';

module.exports = function extend({ verbs, properties, listeners, plain, showAddress }) {
  Object.assign(verbs.socket, {
    cork: (action, socket) => void socket.value.cork(),
    uncork: (action, socket) => void socket.value.uncork(),
    set_timeout: (action, socket) => void socket.value.setTimeout(Number(action.words[0])),
    set_no_delay: (action, socket) => void socket.value.setNoDelay(!('off' in action.options)),
    set_keep_alive(action, socket) {
      socket.value.setKeepAlive(!('off' in action.options), Number(action.words[0] ?? 0));
    },
    set_encoding: (action, socket) => void socket.value.setEncoding(action.words[0]),
    set_type_of_service: (action, socket) => void socket.value.setTypeOfService(Number(action.words[0])),
  });

  Object.assign(verbs.server, {
    max_connections(action, server) {
      const [limit] = action.words;
      server.value.maxConnections = limit === 'none' ? undefined : Number(limit);
    },
  });

  Object.assign(listeners.socket, {
    timeout: (socket, label) => () => plain(socket, 'timeout', label),
  });

  Object.assign(listeners.server, {
    drop: (server, label) => (info = {}) => {
      const local = showAddress(info.localAddress, info.localPort, info.localFamily);
      const remote = showAddress(info.remoteAddress, info.remotePort, info.remoteFamily);
      plain(server, 'drop', label, `local=${local} remote=${remote}`);
    },
  });

  const orNone = (value) => value ?? 'none';
  Object.assign(properties.socket, {
    timeout: (socket) => orNone(socket.timeout),
    encoding: (socket) => orNone(socket.readableEncoding),
    corked: (socket) => socket.writableCorked,
    writable_mark: (socket) => socket.writableHighWaterMark,
    readable_mark: (socket) => socket.readableHighWaterMark,
    type_of_service: (socket) => socket.getTypeOfService(),
  });

  Object.assign(properties.server, {
    max_connections: (server) => orNone(server.maxConnections),
  });
};
