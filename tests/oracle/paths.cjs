// Unix domain sockets and descriptors: what program.cjs knows of them. The other half of
// examples/oracle/ours/paths.rs.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

// Whether TCP scenarios are played over Unix sockets.
const overUnix = process.env.NODELOOP_ORACLE_SOCKETS === 'unix';

// What is in front of abstract names, which have no directory of their own.
const unique = `\0${path.basename(process.cwd())}-`;

// The path that a word of a scenario means.
function pathOf(word) {
  if (word.startsWith('@')) return unique + word.slice(1);
  if (word.startsWith('long:')) return 'x'.repeat(Number(word.slice(5)));
  if (word === 'nul') return 'a\0b';
  return word === 'empty' ? '' : word;
}

// A path, or a text with one, as it shows.
const shown = (text) => text.replaceAll(unique, '@').replaceAll('\0', '\\0');

// Where an object of this name is, when TCP scenarios are played over Unix sockets.
const standIn = (name) => `${name}.sock`;

// Where to listen, if the scenario says a path or a descriptor.
function listenAtPath(server, options) {
  const { path: word, descriptor, backlog } = options;
  let at;
  if (word !== undefined) at = { path: pathOf(word) };
  else if (descriptor !== undefined) at = { fd: 3 };
  else if (overUnix) at = { path: standIn(server.name) };
  else return undefined;
  if ('readable_all' in options) at.readableAll = true;
  if ('writable_all' in options) at.writableAll = true;
  if (backlog !== undefined) at.backlog = Number(backlog);
  return at;
}

function addPaths(program) {
  const { verbs, properties, trace, say, callback, showError, fail, addClient, bytesOf } = program;

  verbs.socket.connect_path = (action, socket) => {
    const { then } = action.options;
    const options = { path: pathOf(action.words[0]) };
    if (then === undefined) socket.value.connect(options);
    else socket.value.connect(options, callback(socket, then));
  };

  const files = {
    file: (name, [, data]) => fs.writeFileSync(name, data === undefined ? 'text' : bytesOf(data)),
    directory: (name) => fs.mkdirSync(name),
    remove: (name) => fs.unlinkSync(name),
  };
  for (const [verb, act] of Object.entries(files)) {
    verbs.loop[verb] = (action) => {
      try {
        act(pathOf(action.words[0]), action.words);
      } catch (error) {
        fail(action, error.message);
      }
    };
  }
  verbs.loop.look = (action) => say(`=${action.words[0]}\t${look(pathOf(action.words[0]))}`);

  verbs.loop.adopt = (action) => {
    const { options, words: [name] } = action;
    let socket;
    try {
      socket = new net.Socket({ fd: 3, allowHalfOpen: 'half_open' in options });
    } catch (error) {
      say(`=${name}\tsocket throws ${showError(error)}`);
      return;
    }
    addClient(name, socket, options);
  };

  for (const verb of ['connect_path', 'bind_path', 'listen_path']) {
    verbs.peer[verb] = (action) => {
      const { backlog = '128' } = action.options;
      say(`>${[action.object, verb, shown(pathOf(action.words[0])), backlog].join('\t')}`);
    };
  }

  properties.server.path = (server) => {
    const address = server.address();
    return typeof address === 'string' ? shown(address) : 'none';
  };
}

// What is at a path; of a socket the mode, if it is not what the umask leaves.
function look(name) {
  const stat = fs.lstatSync(name, { throwIfNoEntry: false });
  if (!stat) return 'nothing';
  const mode = stat.mode & 0o777;
  if (stat.isSocket()) return [0o444, 0o222, 0o666].includes(mode) ? `socket ${mode.toString(8)}` : 'socket';
  return stat.isDirectory() ? 'directory' : 'file';
}

module.exports = { addPaths, listenAtPath, overUnix, pathOf, shown, standIn };
