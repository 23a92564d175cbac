// Files as streams: what program.cjs knows of them. The other half of examples/oracle/ours/files.rs.
'use strict';

const fs = require('node:fs');

function addFiles(program) {
  const { listeners, verbs, properties, objects, trace, traceData, happen, plain, listen } = program;
  const { callback, showError, fail, bytesOf, chainable, listening, say, pathOf } = program;

  const simple = ['open', 'ready', 'readable', 'end', 'drain', 'finish', 'pause', 'resume', 'close'];
  listeners.file = {
    data: (file, label) => (chunk) => {
      const event = label ? `data[${label}]` : 'data';
      traceData(file.name, event, chunk);
      happen(file, event, null, chunk.length);
    },
    error: (file, label) => (error) => plain(file, 'error', label, showError(error)),
  };
  for (const event of ['pipe', 'unpipe']) listeners.file[event] = listeners.stream[event];
  for (const event of simple) listeners.file[event] = (file, label) => () => plain(file, event, label);

  function add(action, make, events) {
    const { options, words: [name, word] } = action;
    const settings = {};
    for (const key of ['start', 'end']) if (key in options) settings[key] = Number(options[key]);
    if ('mark' in options) settings.highWaterMark = Number(options.mark);
    if ('flags' in options) settings.flags = options.flags;
    if ('flush' in options) settings.flush = true;
    if ('keep_open' in options) settings.autoClose = false;
    if ('silent_close' in options) settings.emitClose = false;
    let value;
    try {
      if ('fd' in options) {
        settings.fd = fs.openSync(pathOf(word), options.fd);
        value = make(null, settings);
      } else {
        value = make(pathOf(word), settings);
      }
    } catch (error) {
      trace(name, `throws ${showError(error)}`);
      return;
    }
    const object = { kind: 'file', name, value, labels: new Map() };
    objects.set(name, object);
    for (const event of events) if (!(`${event}s` in options) && !(event in options)) listen(object, event);
  }

  verbs.loop.read_file = (action) =>
    add(action, fs.createReadStream, ['open', 'ready', 'data', 'end', 'resume', 'error', 'close']);
  verbs.loop.write_file = (action) =>
    add(action, fs.createWriteStream, ['open', 'ready', 'drain', 'finish', 'error', 'close']);
  verbs.loop.content = (action) => {
    const [word] = action.words;
    try {
      traceData(word, 'content', fs.readFileSync(pathOf(word)));
    } catch (error) {
      trace(word, `content ${error.code}`);
    }
  };

  verbs.file = {
    write(action, file) {
      const done = callback(file, action.options.then);
      const data = bytesOf(action.words[0]);
      trace(file.name, `write returns ${done ? file.value.write(data, done) : file.value.write(data)}`);
    },
    end(action, file) {
      const args = action.words.map(bytesOf);
      if (action.options.then) args.push(callback(file, action.options.then));
      file.value.end(...args);
    },
    read(action, file) {
      const size = action.words[0];
      const chunk = file.value.read(...(size === undefined ? [] : [Number(size)]));
      if (chunk === null) trace(file.name, 'read nothing');
      else traceData(file.name, 'read', chunk);
    },
    destroy(action, file) {
      if (action.words.length > 0) file.value.destroy(new Error(action.words[0]));
      else file.value.destroy();
    },
    close: (action, file) => void file.value.close(),
    pause: (action, file) => void file.value.pause(),
    resume: (action, file) => void file.value.resume(),
    cork: (action, file) => void file.value.cork(),
    uncork: (action, file) => void file.value.uncork(),
    pipe: verbs.stream.pipe,
    unpipe: verbs.stream.unpipe,
    keep() {},
    release() {},
    ...listening,
  };

  properties.file = {
    pending: (file) => file.pending,
    path: (file) => file.path ?? 'none',
    bytes_read: (file) => file.bytesRead,
    bytes_written: (file) => file.bytesWritten,
    readable_length: (file) => file.readableLength,
    writable_length: (file) => file.writableLength,
    need_drain: (file) => file.writableNeedDrain,
    flowing: (file) => file.readableFlowing,
    paused: (file) => file.isPaused(),
    readable: (file) => file.readable,
    writable: (file) => file.writable,
    readable_ended: (file) => file.readableEnded,
    writable_ended: (file) => file.writableEnded,
    writable_finished: (file) => file.writableFinished,
    destroyed: (file) => file.destroyed,
    closed: (file) => file.closed,
    errored: (file) => (file.errored ? file.errored.code ?? 'error' : 'none'),
  };
}

module.exports = { addFiles };
