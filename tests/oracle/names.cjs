// What program.cjs knows about names: look-ups, several addresses, block lists.
'use strict';

const dns = require('node:dns');
const net = require('node:net');

const eventNames = { connection_attempt_timeout: 'connectionAttemptTimeout' };

// A look-up function that gives what the scenario says, when it says: `tick`, `immediate`, or after
// so many milliseconds.
function lookupOf(answer, when, asked) {
  const give = (host, options, done) => {
    if (answer === 'never') return;
    if (answer === 'not_found') {
      const error = new Error(`getaddrinfo ENOTFOUND ${host}`);
      return done(Object.assign(error, { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: host }));
    }
    if (answer === 'own_error') return done(new Error('no luck'));
    const all = answer.split(',').map((address) => ({ address, family: net.isIP(address) }));
    if (options.all) done(null, all);
    else done(null, all[0].address, all[0].family);
  };
  return (host, options, done) => {
    asked(host, options);
    const answered = () => give(host, options, done);
    if (when === 'tick') process.nextTick(answered);
    else if (when === 'immediate') setImmediate(answered);
    else setTimeout(answered, Number(when));
  };
}

// A list of addresses, ranges (`a-b`) and subnets (`a/8`), with commas between.
function blockListOf(rules) {
  const list = new net.BlockList();
  addRules(list, rules);
  return list;
}

function addRules(list, rules) {
  const family = (text) => (text.includes(':') ? 'ipv6' : 'ipv4');
  for (const rule of rules.split(',')) {
    const [start, end] = rule.split('-');
    if (end !== undefined) list.addRange(start, end, family(start));
    else if (rule.includes('/')) list.addCIDR(rule);
    else list.addAddress(rule, family(rule));
  }
}

function extend({ verbs, properties, listeners, objects, trace, plain, showAddress, showError }) {
  Object.assign(listeners.socket, {
    lookup: (socket, label) => (error, ip, family, host) => {
      const text = error ? `${host} ${showError(error)}` : `${host} ${ip} ${family}`;
      plain(socket, 'lookup', label, text);
    },
    connection_attempt_timeout: (socket, label) => (ip, port) =>
      plain(socket, 'connection_attempt_timeout', label, showAddress(ip, port, net.isIPv6(ip) ? 'IPv6' : 'IPv4')),
  });

  verbs.server.block = (action, server) => addRules(server.value.blockList, action.words[0]);
  verbs.loop.lookup = (action) => {
    const { options, words: [host] } = action;
    const asker = { name: 'dns' };
    const settings = { all: true, family: Number(options.family ?? 0) };
    const show = (error, found) => (error ? showError(error) : found.map(({ address }) => address).join(','));
    const object = { kind: 'callback', name: options.then };
    objects.set(object.name, object);
    try {
      dns.lookup(host, settings, (error, found) => plain(object, 'done', '', show(error, found)));
    } catch (error) {
      trace(asker.name, `throws ${error.code}`);
    }
  };

  properties.socket.attempted = (socket) => {
    const all = socket.autoSelectFamilyAttemptedAddresses ?? [];
    return all.map((address) => address.slice(0, address.lastIndexOf(':'))).join(',') || 'none';
  };
}

// The options of `connect` that are about names.
function connectOptions(action, socket, options, trace) {
  const { lookup, answered = 'tick', family, one, attempt_timeout: timeout } = action.options;
  if (lookup !== undefined) {
    options.lookup = lookupOf(lookup, answered, (host, { family: wanted = 0 }) =>
      // Node asks inside `connect`, we on the tick behind it.
      trace('look_up', `${socket.name} ${host} ${wanted}`));
  }
  if (family !== undefined) options.family = Number(family);
  if (one !== undefined) options.autoSelectFamily = false;
  if (timeout !== undefined) options.autoSelectFamilyAttemptTimeout = Number(timeout);
}

module.exports = { blockListOf, connectOptions, eventNames, extend };
