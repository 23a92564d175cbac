// Node's interpreter of scenarios. It is started by the driver (examples/oracle), which sends the
// parsed scenario as one line of JSON, plays the peers and puts the trace together; see the table
// of lines in examples/oracle/driver.rs. README.md describes the language.
//
// Everything that is said or asked goes through synchronous reads and writes of the descriptors 0
// and 1, so the event loop has no handle but the scenario's own. Every callback is a function of its
// own: Node puts writes with one and the same callback into one tick.
'use strict';

const fs = require('node:fs');
const net = require('node:net');

const { addClients, eventNames, unlessOff } = require('./clients.cjs');
const names = require('./names.cjs');
const addStreams = require('./streams.cjs');
const { addFiles } = require('./files.cjs');
const { addPaths, listenAtPath, overUnix, pathOf, shown, standIn } = require('./paths.cjs');

const line = readLine();
// The driver has no other scenario for us.
if (line === '') process.reallyExit(0);
const { handlers } = JSON.parse(line);

// ---------------------------------------------------------------------------------------------
// What is said to the driver

let over = false; // whether nothing more is to be said

function say(line) {
  if (over) return;
  let bytes = Buffer.from(line + '\n');
  while (bytes.length > 0) bytes = bytes.subarray(fs.writeSync(1, bytes));
}

function readLine() {
  const byte = Buffer.alloc(1);
  const parts = [];
  while (fs.readSync(0, byte) === 1 && byte[0] !== 10) parts.push(byte[0]);
  return Buffer.from(parts).toString();
}

function trace(object, text) {
  say(`=${object}\t${text}`);
}

function traceData(object, text, chunk) {
  let hash = 0;
  for (const byte of chunk) hash = (Math.imul(hash, 16777619) + byte + 1) | 0;
  const plain = chunk.length <= 64 && chunk.every((b) => (b >= 32 && b <= 126) || b === 10);
  const shown = plain ? '\t' + chunk.toString('latin1').replaceAll('\n', '\\n') : '';
  say(`~${object}\t${text}\t${chunk.length}\t${hash >>> 0}${shown}`);
}

function fail(action, why) {
  say(`!line ${action.line}: ${why}`);
  process.reallyExit(3);
}

// ---------------------------------------------------------------------------------------------
// What happens, and what is then done

const objects = new Map(); // name -> { kind, name, value, … }
const counts = new Map(); // 'object:event' -> how often it has happened

function happen(object, event, it, received) {
  if (over) return;
  const key = `${object.name}:${event}`;
  const count = (counts.get(key) ?? 0) + 1;
  counts.set(key, count);
  const before = object.received ?? 0;
  if (received) object.received = before + received;
  for (const handler of handlers) {
    const same = handler.object === object.name || (object.server && handler.object === `${object.server.name}*`);
    if (!same || handler.event !== event) continue;
    if (handler.nth && handler.nth !== count) continue;
    if (handler.bytes && !(before < handler.bytes && before + received >= handler.bytes)) continue;
    run(handler.actions, it ?? object);
  }
}

function run(actions, it) {
  for (const action of actions) {
    let object = null;
    if (action.object === 'it') object = it;
    else if (action.object) object = objects.get(action.object);
    if (action.object && !object && action.kind !== 'peer') fail(action, `there is no ${action.object} yet`);
    verbs[action.kind][action.verb](action, object, it);
  }
}

// ---------------------------------------------------------------------------------------------
// How values show

const ports = { show: (port) => (port === undefined ? '' : `<port ${port}>`) };

function showAddress(address, port, family) {
  if (address === undefined) return 'none';
  const host = family === 'IPv6' ? `[${address}]` : address;
  return `${host}:${ports.show(port)}`;
}

function showError(error) {
  if (!error) return 'ok';
  let message = error.message;
  const parts = [error.code ?? 'error'];
  if (error.syscall) parts.push(`syscall=${error.syscall}`);
  if (error.address) parts.push(`address=${shown(error.address)}`);
  message = shown(message);
  if (error.path) parts.push(`path=${shown(error.path)}`);
  if (error.hostname) parts.push(`hostname=${error.hostname}`);
  if (error.localAddress) {
    parts.push(`local=${showAddress(error.localAddress, error.localPort, net.isIPv6(error.localAddress) ? 'IPv6' : '')}`);
  }
  if (error.port !== undefined && error.port >= 0) {
    parts.push(`port=${ports.show(error.port)}`);
    message = message.replaceAll(`:${error.port}`, `:${ports.show(error.port)}`);
  }
  message = message.replace(/( - Local \(.*:)([1-9]\d*)\)/, (_, before, port) => `${before}${ports.show(port)})`);
  parts.push(JSON.stringify(message));
  if (error.errors) parts.push(`[${error.errors.map(showError).join('; ')}]`);
  return parts.join(' ');
}

const counting = Buffer.from(Uint8Array.from({ length: 251 }, (_, index) => index));

// Always a Buffer: that is what the crate's writes are.
function bytesOf(word) {
  const count = /^bytes:(\d+)$/.exec(word);
  if (word.startsWith('hex:')) return Buffer.from(word.slice(4), 'hex');
  if (!count) return Buffer.from(word);
  return Buffer.alloc(Number(count[1]), counting);
}

// ---------------------------------------------------------------------------------------------
// Listeners: one function for each, also for the second one of an event

const bracket = (label) => (label ? `[${label}]` : '');

const listeners = {
  server: {
    listening: (server, label) => () => {
      announce(server);
      trace(server.name, `listening${bracket(label)}`);
      happen(server, `listening${bracket(label)}`);
    },
    connection: (server, label) => (socket) => {
      const object = label ? server.sockets.find((other) => other.value === socket) : accepted(server, socket);
      trace(server.name, `connection${bracket(label)} ${object.name}`);
      happen(server, `connection${bracket(label)}`, object);
    },
    close: (server, label) => () => plain(server, 'close', label),
    error: (server, label) => (error) => plain(server, 'error', label, showError(error)),
  },
  socket: {
    data: (socket, label) => (chunk) => {
      const event = `${typeof chunk === 'string' ? 'text' : 'data'}${bracket(label)}`;
      const bytes = Buffer.from(chunk);
      traceData(socket.name, event, bytes);
      happen(socket, event, null, bytes.length);
    },
    end: (socket, label) => () => plain(socket, 'end', label),
    drain: (socket, label) => () => plain(socket, 'drain', label),
    finish: (socket, label) => () => plain(socket, 'finish', label),
    pause: (socket, label) => () => plain(socket, 'pause', label),
    resume: (socket, label) => () => plain(socket, 'resume', label),
    error: (socket, label) => (error) => plain(socket, 'error', label, showError(error)),
    close: (socket, label) => (hadError) => plain(socket, 'close', label, String(Boolean(hadError))),
  },
};

listeners.socket.text = listeners.socket.data;

function plain(object, event, label, text) {
  const name = `${event}${bracket(label)}`;
  trace(object.name, text === undefined ? name : `${name} ${text}`);
  happen(object, name);
}

function listen(object, event, label, once) {
  const listener = listeners[object.kind][event](object, label);
  const name = eventNames[event] ?? names.eventNames[event] ?? event;
  if (label) object.labels.set(label, [name, listener]);
  object.value[once ? 'once' : 'on'](name, listener);
}

function accepted(server, socket) {
  const name = `${server.name}${server.sockets.length + 1}`;
  const object = { kind: 'socket', name, value: socket, server, labels: new Map() };
  server.sockets.push(object);
  objects.set(name, object);
  for (const event of ['end', 'finish', 'resume', 'timeout', 'close']) listen(object, event);
  for (const [key, event] of unlessOff) if (!(key in server.options)) listen(object, event);
  return object;
}

// Tells what the server's port is called, and remembers it for when the server is closed.
function announce(server) {
  const address = server.value.address();
  if (overUnix) server.lastAddress = { address: '127.0.0.1', port: standIn(server.name) };
  if (!address || typeof address === 'string') return;
  server.lastAddress = address;
  say(`@${server.name}\t${address.port}`);
}

function callback(owner, name, show = showError) {
  if (name === undefined) return undefined;
  const object = { kind: 'callback', name };
  objects.set(name, object);
  return (error) => {
    trace(owner.name, `${name}:done ${show(error)}`);
    happen(object, 'done');
  };
}

// ---------------------------------------------------------------------------------------------
// Verbs

const chainable = {
  ref: (action, object) => void object.value.ref(),
  unref: (action, object) => void object.value.unref(),
  // In Node the garbage collector keeps whatever has a name.
  keep: () => {},
  release: () => {},
};

const listening = {
  on: (action, object) => listen(object, action.words[0], action.options.as ?? '2', false),
  once: (action, object) => listen(object, action.words[0], action.options.as ?? '2', true),
  off: (action, object) => {
    const label = action.words[0];
    if (!object.labels.has(label)) fail(action, `no listener is called ${label}`);
    object.value.off(...object.labels.get(label));
  },
};

const verbs = {
  loop: {
    server(action) {
      const { options, words: [name] } = action;
      const settings = {
        allowHalfOpen: 'half_open' in options,
        pauseOnConnect: 'pause_on_connect' in options,
        noDelay: 'no_delay' in options,
      };
      if (options.keep_alive) {
        settings.keepAlive = true;
        settings.keepAliveInitialDelay = Number(options.keep_alive);
      }
      if (options.mark) settings.highWaterMark = Number(options.mark);
      if (options.block) settings.blockList = names.blockListOf(options.block);
      const server = net.createServer(settings);
      const object = { kind: 'server', name, value: server, sockets: [], options, labels: new Map() };
      objects.set(name, object);
      for (const event of ['listening', 'connection', 'drop', 'close']) listen(object, event);
      if (!('errors' in options)) listen(object, 'error');
    },
    timeout: (action) => startTimer(action, setTimeout),
    interval: (action) => startTimer(action, setInterval),
    immediate(action) {
      const object = { kind: 'immediate', name: action.words[0] };
      object.value = setImmediate(() => plain(object, 'fire'));
      objects.set(object.name, object);
      if ('unref' in action.options) object.value.unref();
    },
    tick(action) {
      const object = { kind: 'tick', name: action.words[0] };
      objects.set(object.name, object);
      process.nextTick(() => plain(object, 'fire'));
    },
    peer: () => {},
    probe(action, _, it) {
      const [name, ...names] = action.words;
      const object = name === 'it' ? it : objects.get(name);
      if (!object) fail(action, `there is no ${name} yet`);
      const values = names.map((key) => `${key}=${properties[object.kind][key](object.value, object)}`);
      trace(object.name, `probe ${values.join(' ')}`);
    },
    note: (action) => trace('note', action.words[0]),
    block(action) {
      const until = performance.now() + Number(action.words[0]);
      while (performance.now() < until);
    },
    wait(action) {
      say(`?${action.words[0]}`);
      readLine();
    },
    catch() {
      const object = { kind: 'process', name: 'process' };
      process.on('uncaughtException', (error) => plain(object, 'uncaught', '', showError(error)));
    },
    stop() {
      stopped = true;
      process.exit(0);
    },
  },
  server: {
    listen(action, server) {
      const { port = '0', host, backlog, then } = action.options;
      const options = { port: portOf(action, port) };
      if (host !== undefined) options.host = host;
      if (backlog !== undefined) options.backlog = Number(backlog);
      if ('ipv6_only' in action.options) options.ipv6Only = true;
      if ('reuse_port' in action.options) options.reusePort = true;
      const at = listenAtPath(server, action.options) ?? options;
      const args = then === undefined ? [at] : [at, callback(server, then)];
      try {
        server.value.listen(...args);
      } catch (error) {
        trace(server.name, `listen throws ${showError(error)}`);
        return;
      }
      announce(server);
    },
    close: (action, server) => void server.value.close(callback(server, action.options.then)),
    ...chainable,
    ...listening,
  },
  socket: {
    write(action, socket) {
      const done = callback(socket, action.options.then);
      const data = bytesOf(action.words[0]);
      trace(socket.name, `write returns ${done ? socket.value.write(data, done) : socket.value.write(data)}`);
    },
    end(action, socket) {
      const args = action.words.map(bytesOf);
      if (action.options.then) args.push(callback(socket, action.options.then));
      socket.value.end(...args);
    },
    destroy(action, socket) {
      if (action.words.length > 0) socket.value.destroy(new Error(action.words[0]));
      else socket.value.destroy();
    },
    pause: (action, socket) => void socket.value.pause(),
    resume: (action, socket) => void socket.value.resume(),
    ...chainable,
    ...listening,
  },
  timer: {
    clear: (action, timer) => clearTimeout(timer.value),
    refresh: (action, timer) => void timer.value.refresh(),
    ...chainable,
  },
  immediate: {
    clear: (action, immediate) => clearImmediate(immediate.value),
    ...chainable,
  },
  peer: {
    connect(action) {
      const address = addressOf(action, action.words[0]);
      const somewhere = ['::', '0.0.0.0'].includes(address.address);
      const host = action.options.host ?? (somewhere ? '127.0.0.1' : address.address);
      if (overUnix) {
        say(`>${action.object}\tconnect_path\t${standIn(action.words[0])}\t`);
        return;
      }
      say(`>${action.object}\tconnect\t${host}\t${address.port}\t${action.options.rcvbuf ?? ''}`);
    },
    send: order,
    urgent: order,
    end: order,
    close: order,
    reset: order,
    read: order,
    read_all: order,
  },
};

function startTimer(action, start) {
  const object = { kind: 'timer', name: action.words[0] };
  object.value = start(() => plain(object, 'fire'), Number(action.words[1]));
  objects.set(object.name, object);
  if ('unref' in action.options) object.value.unref();
}

function portOf(action, word) {
  if (/^\d+$/.test(word)) return Number(word);
  return addressOf(action, word).port;
}

function addressOf(action, name) {
  const address = objects.get(name)?.lastAddress;
  if (!address) fail(action, `${name} has not listened yet`);
  return address;
}

function order(action) {
  say(`>${[action.object, action.verb, ...action.words.map((word) => word.replaceAll('\n', '\\n'))].join('\t')}`);
}

// ---------------------------------------------------------------------------------------------
// Properties

const properties = {
  server: {
    listening: (server) => server.listening,
    address(server) {
      const address = server.address();
      return address ? showAddress(address.address, address.port, address.family) : 'none';
    },
    // What getConnections calls back with, without its tick.
    connections: (server) => server._connections,
  },
  socket: {
    ready_state: (socket) => socket.readyState,
    destroyed: (socket) => socket.destroyed,
    bytes_read: (socket) => socket.bytesRead,
    bytes_written: (socket) => socket.bytesWritten,
    readable: (socket) => socket.readable,
    writable: (socket) => socket.writable,
    readable_length: (socket) => socket.readableLength,
    writable_length: (socket) => socket.writableLength,
    need_drain: (socket) => socket.writableNeedDrain,
    readable_ended: (socket) => socket.readableEnded,
    writable_ended: (socket) => socket.writableEnded,
    writable_finished: (socket) => socket.writableFinished,
    errored: (socket) => (socket.errored ? socket.errored.code ?? 'error' : 'none'),
    allow_half_open: (socket) => socket.allowHalfOpen,
    paused: (socket) => socket.isPaused(),
    flowing: (socket) => socket.readableFlowing,
    local_address: (socket) => showAddress(socket.localAddress, socket.localPort, socket.localFamily),
    remote_address: (socket) => showAddress(socket.remoteAddress, socket.remotePort, socket.remoteFamily),
    server: (socket, object) => (object.server && socket.server === object.server.value ? object.server.name : 'none'),
  },
  timer: { has_ref: (timer) => timer.hasRef() },
  immediate: { has_ref: (immediate) => immediate.hasRef() },
};

require('./flow.cjs')({ verbs, properties, listeners, plain, showAddress });
require('./dgram.cjs')({
  listeners, verbs, properties, objects, trace, happen, plain, listen, bytesOf, showAddress, showError, say, readLine,
  fail, addressOf, portOf, order, chainable, listening,
});
names.extend({ verbs, properties, listeners, objects, trace, plain, showAddress, showError });
const program = {
  bytesOf, traceData, happen, listeners, verbs, properties, objects, plain, listen, callback, showAddress, showError, say, readLine, fail,
  addressOf, portOf, order, trace,
};
addClients(program);
addPaths(program);
addStreams({ ...program, traceData, happen, bytesOf, chainable, listening });
addFiles({ ...program, chainable, listening, pathOf });

// ---------------------------------------------------------------------------------------------
// The end of the process

let uncaught = false;
process.on('uncaughtExceptionMonitor', (error) => {
  if (process.listenerCount('uncaughtException') > 0) return;
  uncaught = true;
  trace('process', `error ${showError(error)}`);
});
let stopped = false;
process.on('exit', () => {
  if (!uncaught) trace('process', stopped ? 'stopped' : 'exits');
});
if (handlers.some((handler) => handler.event === 'before_exit')) {
  const object = { kind: 'process', name: 'process' };
  process.on('beforeExit', () => plain(object, 'before_exit'));
}

// For batch.cjs, where another scenario follows in the same process: ends this one as if the process
// had ended, which closes and stops whatever is left.
module.exports = function finish() {
  trace('process', 'exits');
  over = true;
  for (const { kind, value } of objects.values()) {
    if (kind === 'server') value.close();
    else if (kind === 'socket') value.destroy();
    else if (kind === 'timer') clearTimeout(value);
    else if (kind === 'immediate') clearImmediate(value);
    else if (kind === 'udp') {
      try {
        value.close();
      } catch {
        // It is closed already.
      }
    }
  }
};

run(handlers.filter((handler) => handler.event === 'start').flatMap((handler) => handler.actions), null);
