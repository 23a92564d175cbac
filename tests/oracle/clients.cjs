// Client sockets: what program.cjs knows of them beyond what they share with accepted ones.
'use strict';

const net = require('node:net');

const names = require('./names.cjs');
const { overUnix, standIn } = require('./paths.cjs');

// What the scenarios call Node's events, where that is not their name in Node.
const eventNames = {
  connection_attempt: 'connectionAttempt',
  connection_attempt_failed: 'connectionAttemptFailed',
  // Once there is an encoding.
  text: 'data',
};

// What a socket is listened to unless an option says `off`: the option and the event.
const unlessOff = [['drain', 'drain'], ['errors', 'error'], ['data', 'data']];

// Adds the verbs, listeners and properties of clients to the interpreter's.
function addClients(program) {
  const { listeners, verbs, properties, objects } = program;
  const { traceData, happen, plain, listen, callback, showAddress, showError, say, readLine, fail } = program;

  const showAttempt = (ip, port) => showAddress(ip, port, net.isIPv6(ip) ? 'IPv6' : 'IPv4');
  // That we emit neither for a path is one difference: one scenario shows it, with a listener of its
  // own.
  const told = (ip, label) => label || net.isIP(ip) > 0;
  Object.assign(listeners.socket, {
    connection_attempt: (socket, label) => (ip, port) =>
      told(ip, label) && plain(socket, 'connection_attempt', label, showAttempt(ip, port)),
    connection_attempt_failed: (socket, label) => (ip, port, family, error) =>
      told(ip, label) && plain(socket, 'connection_attempt_failed', label, `${showAttempt(ip, port)} ${showError(error)}`),
    connect: (socket, label) => () => {
      announceClient(socket);
      plain(socket, 'connect', label);
    },
    ready: (socket, label) => () => plain(socket, 'ready', label),
  });

  // Tells what the port at this end is called, without Node's remembering that it was asked.
  function announceClient(socket) {
    const name = {};
    if (!socket.value._handle.getsockname) return;
    socket.value._handle.getsockname(name);
    say(`@${socket.name}\t${name.port}`);
  }

  verbs.loop.client = (action) => {
    const { options, words: [name] } = action;
    const settings = { allowHalfOpen: 'half_open' in options, noDelay: 'no_delay' in options };
    if (options.mark) settings.highWaterMark = Number(options.mark);
    if (options.read_mark) settings.readableHighWaterMark = Number(options.read_mark);
    if (options.write_mark) settings.writableHighWaterMark = Number(options.write_mark);
    if (options.block) settings.blockList = names.blockListOf(options.block);
    if (options.own) {
      settings.onread = ownBuffer(name, Number(options.own), 'own_stops' in options, 'own_fresh' in options);
    }
    addClient(name, new net.Socket(settings), options);
  };

  // Reading into a buffer of the scenario's.
  const ownBuffer = (name, room, stops, fresh) => ({
    buffer: fresh ? () => Buffer.alloc(room) : Buffer.alloc(room),
    callback(size, buffer) {
      traceData(name, 'own', Buffer.from(buffer.subarray(0, size)));
      happen(objects.get(name), 'own', null, size);
      return !stops;
    },
  });

  const addClient = program.addClient = (name, value, options) => {
    const object = { kind: 'socket', name, value, labels: new Map() };
    objects.set(name, object);
    const always = ['lookup', 'connection_attempt', 'connection_attempt_failed', 'connection_attempt_timeout'];
    always.push('connect', 'ready');
    always.push('end', 'finish', 'resume', 'close');
    for (const event of always) listen(object, event);
    for (const [key, event] of unlessOff) if (!(key in options)) listen(object, event);
  };

  Object.assign(verbs.socket, {
    connect(action, socket) {
      const { host, local_address: localAddress, local_port: localPort, then } = action.options;
      const [target] = action.words;
      if (overUnix && !/^\d+$/.test(target)) {
        socket.value.connect({ path: standIn(target) }, ...(then === undefined ? [] : [callback(socket, then)]));
        return;
      }
      const options = { host: host ?? '127.0.0.1', port: Number(target) };
      if (!/^\d+$/.test(target)) {
        const address = program.addressOf(action, target);
        options.port = address.port;
        const somewhere = ['::', '0.0.0.0'].includes(address.address);
        if (host === undefined && !somewhere) options.host = address.address;
      }
      if (localAddress !== undefined) options.localAddress = localAddress;
      if (localPort !== undefined) options.localPort = program.portOf(action, localPort);
      names.connectOptions(action, socket, options, program.trace);
      if (then === undefined) socket.value.connect(options);
      else socket.value.connect(options, callback(socket, then));
    },
    destroy_soon: (action, socket) => void socket.value.destroySoon(),
    reset_and_destroy: (action, socket) => void socket.value.resetAndDestroy(),
  });

  // As a Node program does it by hand.
  verbs.server.close_all = (action, server) => {
    server.value.close();
    for (const socket of server.sockets) socket.value.destroy();
  };

  // Bound when this returns, so that its port is known; the answer to the question is that port.
  const bind = (action) => {
    const { host = '127.0.0.1', rcvbuf = '', backlog = '128' } = action.options;
    if (overUnix) {
      say(`>${[action.object, `${action.verb}_path`, standIn(action.object), backlog].join('\t')}`);
      say(`?${action.object}`);
      readLine();
      objects.set(action.object, { kind: 'peer', name: action.object, lastAddress: { address: host, port: 0 } });
      return;
    }
    const wanted = program.portOf(action, action.options.port ?? '0');
    say(`>${[action.object, action.verb, host, rcvbuf, backlog, wanted].join('\t')}`);
    say(`?${action.object}`);
    const port = Number(readLine());
    if (!port) fail(action, `${action.object} has no port`);
    objects.set(action.object, { kind: 'peer', name: action.object, lastAddress: { address: host, port } });
  };
  Object.assign(verbs.peer, { bind, listen: bind, accept: program.order, kill: program.order });

  Object.assign(properties.socket, {
    connecting: (socket) => socket.connecting,
    pending: (socket) => socket.pending,
    closed: (socket) => socket.closed,
  });
}

module.exports = { addClients, eventNames, unlessOff };
