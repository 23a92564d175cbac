// UDP: what program.cjs knows of dgram sockets, and of peers that have one.
'use strict';

const dgram = require('node:dgram');
const { blockListOf } = require('./names.cjs');

// Adds the verbs, listeners and properties of UDP sockets to the interpreter's.
module.exports = function addDgram(program) {
  const { listeners, verbs, properties, objects } = program;
  const { trace, happen, plain, listen, bytesOf, showAddress, showError, say, readLine, fail, addressOf, portOf } = program;
  const { chainable, listening } = program;

  const bracket = (label) => (label ? `[${label}]` : '');
  const unspecified = ['::', '0.0.0.0'];

  // One line for each datagram: lines of bytes would be merged.
  function show(bytes, size) {
    const isPlain = bytes.length <= 64 && bytes.every((b) => (b >= 32 && b <= 126) || b === 10);
    if (isPlain) return `${size} ${JSON.stringify(bytes.toString('latin1'))}`;
    let hash = 0;
    for (const byte of bytes) hash = (Math.imul(hash, 16777619) + byte + 1) | 0;
    return `${size} hash=${(hash >>> 0).toString(16).padStart(8, '0')}`;
  }

  const showOf = ({ address, port, family }) => showAddress(address, port, family);

  // Tells what its port is called, and remembers it for when it is closed.
  function announce(udp) {
    udp.lastAddress = udp.value.address();
    say(`@${udp.name}\t${udp.lastAddress.port}`);
  }

  listeners.udp = {
    listening: (udp, label) => () => {
      announce(udp);
      plain(udp, 'listening', label);
    },
    message: (udp, label) => (bytes, from) => {
      udp.lastFrom = from;
      const name = `message${bracket(label)}`;
      trace(udp.name, `${name} ${show(bytes, from.size)} from ${showOf(from)}`);
      happen(udp, name);
    },
    connect: (udp, label) => () => plain(udp, 'connect', label),
    close: (udp, label) => () => plain(udp, 'close', label),
    error: (udp, label) => (error) => plain(udp, 'error', label, showError(error)),
  };

  verbs.loop.udp = (action) => {
    const { options, words: [name] } = action;
    const has = (flag) => flag in options || undefined;
    const settings = {
      type: has('ipv6') ? 'udp6' : 'udp4',
      reuseAddr: has('reuse_addr'),
      reusePort: has('reuse_port'),
      ipv6Only: has('ipv6_only'),
    };
    if (options.recv_buffer) settings.recvBufferSize = Number(options.recv_buffer);
    if (options.receive_block) settings.receiveBlockList = blockListOf(options.receive_block);
    if (options.send_block) settings.sendBlockList = blockListOf(options.send_block);
    if (options.send_buffer) settings.sendBufferSize = Number(options.send_buffer);
    const udp = { kind: 'udp', name, value: dgram.createSocket(settings), labels: new Map() };
    objects.set(name, udp);
    for (const event of ['listening', 'connect', 'close']) listen(udp, event);
    if (!('messages' in options)) listen(udp, 'message');
    if (!('errors' in options)) listen(udp, 'error');
  };

  // A completion; of a send it is told the size too.
  function completion(udp, name) {
    if (name === undefined) return undefined;
    const object = { kind: 'callback', name };
    objects.set(name, object);
    return (error, size) => {
      const text = !error && size !== undefined ? `ok ${size}` : showError(error);
      trace(udp.name, `${name}:done ${text}`);
      happen(object, 'done');
    };
  }

  function attempt(action, udp, act) {
    try {
      return act();
    } catch (error) {
      trace(udp.name, `${action.verb} throws ${showError(error)}`);
      return undefined;
    }
  }

  // Port and host of a destination, as arguments; no host with `here`.
  function destination(action, udp, target) {
    const { host } = action.options;
    const isSender = target === 'sender';
    if (isSender && !udp.lastFrom) fail(action, `nothing has come to ${udp.name} yet`);
    const isNumber = /^\d+$/.test(target);
    const { address, port } = isSender ? udp.lastFrom : isNumber ? { port: Number(target) } : addressOf(action, target);
    if ('here' in action.options) return [port];
    if (host !== undefined) return [port, host];
    if (address !== undefined && !unspecified.includes(address)) return [port, address];
    return [port, udp.value.type === 'udp6' ? '::1' : '127.0.0.1'];
  }

  function whereToBind(action) {
    const { port, host } = action.options;
    const place = {};
    if (port !== undefined) place.port = portOf(action, port);
    if (host !== undefined) place.address = host;
    return place;
  }

  // A verb that calls a method with what is made of the action.
  const call = (method, args = () => []) => (action, udp) => {
    attempt(action, udp, () => udp.value[method](...args(action)));
  };
  const words = (action) => action.words;
  const number = (action) => [Number(action.words[0])];
  const on = (action) => [!('off' in action.options)];
  const group = (action) => [...action.words, action.options.interface];

  verbs.udp = {
    bind(action, udp) {
      const done = completion(udp, action.options.then);
      const args = ['descriptor' in action.options ? { fd: 3 } : whereToBind(action)];
      if (done) args.push(() => done());
      attempt(action, udp, () => udp.value.bind(...args));
    },
    bind_sync(action, udp) {
      const address = attempt(action, udp, () => udp.value.bindSync(whereToBind(action)));
      if (!address) return;
      announce(udp);
      trace(udp.name, `bind_sync returns ${showOf(address)}`);
    },
    send(action, udp) {
      const { to, offset, length, then } = action.options;
      let parts = action.words.map((word) => ('text' in action.options ? word : bytesOf(word)));
      if ('pieces' in action.options) parts = Array(Number(action.options.pieces)).fill(parts[0]);
      const args = ['list' in action.options || parts.length !== 1 ? parts : parts[0]];
      if (offset !== undefined) args.push(Number(offset), Number(length));
      if (to !== undefined) args.push(...destination(action, udp, to));
      if (then !== undefined) args.push(completion(udp, then));
      const times = Number(action.options.times ?? 1);
      for (let index = 0; index < times; index++) attempt(action, udp, () => udp.value.send(...args));
    },
    connect(action, udp) {
      const args = destination(action, udp, action.words[0]);
      const done = completion(udp, action.options.then);
      if (done) args.push(done);
      attempt(action, udp, () => udp.value.connect(...args));
    },
    connect_sync(action, udp) {
      attempt(action, udp, () => udp.value.connectSync(...destination(action, udp, action.words[0])));
    },
    disconnect: call('disconnect'),
    close(action, udp) {
      const done = completion(udp, action.options.then);
      attempt(action, udp, () => udp.value.close(done && (() => done())));
    },
    set_broadcast: call('setBroadcast', on),
    set_ttl: call('setTTL', number),
    set_multicast_ttl: call('setMulticastTTL', number),
    set_multicast_loopback: call('setMulticastLoopback', on),
    set_multicast_interface: call('setMulticastInterface', words),
    add_membership: call('addMembership', group),
    drop_membership: call('dropMembership', group),
    add_source_membership: call('addSourceSpecificMembership', group),
    drop_source_membership: call('dropSourceSpecificMembership', group),
    set_recv_buffer: call('setRecvBufferSize', number),
    set_send_buffer: call('setSendBufferSize', number),
    ...chainable,
    ...listening,
  };

  // A value, or the code of what asking for it throws.
  const asked = (question) => (value, object) => {
    try {
      return question(value, object);
    } catch (error) {
      return `throws:${error.code ?? 'error'}`;
    }
  };
  properties.udp = {
    address: asked((udp) => showOf(udp.address())),
    remote_address: asked((udp) => showOf(udp.remoteAddress())),
    queue_size: asked((udp) => udp.getSendQueueSize()),
    queue_count: asked((udp) => udp.getSendQueueCount()),
    recv_buffer: asked((udp) => udp.getRecvBufferSize()),
    send_buffer: asked((udp) => udp.getSendBufferSize()),
    type: (udp) => udp.type,
    family_of_sender: (udp, object) => object.lastFrom?.family ?? 'none',
  };

  // Peers. One is bound when this returns, so that its port is known; the answer is that port.
  const escaped = (word) => word.replaceAll('\n', '\\n');
  Object.assign(verbs.peer, {
    udp(action) {
      const { host = '127.0.0.1', rcvbuf = '' } = action.options;
      say(`>${[action.object, 'udp', host, 'deaf' in action.options ? 'deaf' : '', rcvbuf].join('\t')}`);
      say(`?${action.object}`);
      const port = Number(readLine());
      if (!port) fail(action, `${action.object} has no port`);
      objects.set(action.object, { kind: 'peer', name: action.object, lastAddress: { address: host, port } });
    },
    send_to(action) {
      const [target, ...data] = action.words;
      const { address, port } = addressOf(action, target);
      const host = action.options.host ?? (address === '::' ? '::1' : address === '0.0.0.0' ? '127.0.0.1' : address);
      const times = action.options.times ?? '1';
      say(`>${[action.object, 'send_to', host, port, times, ...data.map(escaped)].join('\t')}`);
    },
    receive: program.order,
    receive_rest: program.order,
    udp_close: program.order,
  });
};
