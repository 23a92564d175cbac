// Streams of a program's own, and pipes between streams of every kind: what program.cjs knows of them. The
// other half of examples/oracle/ours/streams.rs.
'use strict';

const { Readable, Transform, Writable, finished, pipeline } = require('node:stream');

// Listened to from the beginning; 'data' and 'readable' decide how a stream is read, so a scenario adds them.
const always = {
  readable: ['end', 'resume'],
  writable: ['drain', 'finish', 'pipe', 'unpipe'],
  every: ['close'],
};

module.exports = function addStreams(program) {
  const { verbs, properties, listeners, objects, trace, traceData, happen, plain, listen, bytesOf, showError } = program;
  const { callback, chainable, listening, fail } = program;

  const marks = ({ mark }) => (mark === undefined ? {} : { highWaterMark: Number(mark) });

  // What a stream's own functions do has lines of its own: they are called inside `write` and `destroy` in
  // Node, and a tick later here.
  const own = (object) => `${object.name}_own`;

  // When something is done: at once, or by itself later.
  const now = (options, act) => ('later' in options ? setImmediate(act) : act());

  function ownDestroy(object, options) {
    if (!('own_destroy' in options)) return {};
    return {
      destroy(error, done) {
        trace(own(object), `destroy ${showError(error)}`);
        done(error);
      },
    };
  }

  function add(action, sides, make) {
    const { options, words: [name] } = action;
    const object = { kind: 'stream', name, labels: new Map(), answers: [] };
    object.value = make(object, options);
    objects.set(name, object);
    for (const side of [...sides, 'every']) always[side].forEach((event) => listen(object, event));
    if (!('errors' in options)) listen(object, 'error');
  }

  function take(object, options, done) {
    if ('hold' in options) object.answers.push(done);
    else now(options, () => done(options.fail === undefined ? null : new Error(options.fail)));
  }

  verbs.loop.source = (action) => add(action, ['readable'], (object, options) => {
    const chunks = action.words.slice(1).map(bytesOf);
    return new Readable({
      ...marks(options),
      ...ownDestroy(object, options),
      read() {
        if (chunks.length === 0 && 'open' in options) return;
        now(options, () => this.push(chunks.shift() ?? null));
      },
    });
  });

  verbs.loop.sink = (action) => add(action, ['writable'], (object, options) => {
    const settings = { ...marks(options), ...ownDestroy(object, options) };
    settings.write = (chunk, _, done) => {
      traceData(own(object), 'takes', chunk);
      happen(object, 'takes');
      take(object, options, done);
    };
    if ('writev' in options) {
      settings.writev = (chunks, done) => {
        trace(own(object), `takes ${chunks.length} chunks`);
        happen(object, 'takes');
        take(object, options, done);
      };
    }
    if ('final' in options) {
      settings.final = (done) => {
        trace(own(object), 'final');
        take(object, options, done);
      };
    }
    return new Writable(settings);
  });

  verbs.loop.transform = (action) => add(action, ['readable', 'writable'], (object, options) => {
    const settings = { ...marks(options), ...ownDestroy(object, options) };
    settings.allowHalfOpen = !('closes' in options);
    settings.transform = (chunk, _, done) => {
      const out = 'upper' in options ? Buffer.from(chunk.toString('latin1').toUpperCase()) : chunk;
      take(object, options, (error) => (error ? done(error) : done(null, out)));
    };
    if (options.flush !== undefined) settings.flush = (done) => done(null, options.flush);
    return new Transform(settings);
  });

  const stream = (action, name, it) => (name === 'it' ? it : objects.get(name))?.value ?? fail(action, `there is no ${name} yet`);

  verbs.loop.pipeline = (action) => {
    const streams = action.words.map((name) => stream(action, name));
    pipeline(...streams, callback(objects.get(action.words[0]), action.options.then));
  };
  verbs.loop.finished = (action) => {
    const { options, words: [name] } = action;
    const settings = {};
    for (const side of ['readable', 'writable']) if (side in options) settings[side] = false;
    finished(stream(action, name), settings, callback(objects.get(name), options.then));
  };

  const piping = {
    pipe(action, source, it) {
      const settings = 'end' in action.options ? { end: false } : undefined;
      source.value.pipe(stream(action, action.words[0], it), settings);
    },
    unpipe(action, source, it) {
      source.value.unpipe(...action.words.map((name) => stream(action, name, it)));
    },
    read(action, source) {
      const chunk = source.value.read(...action.words.map(Number));
      if (chunk === null) trace(source.name, 'read nothing');
      else traceData(source.name, 'read', chunk);
    },
    read_all(action, source) {
      for (let chunk; (chunk = source.value.read()) !== null;) traceData(source.name, 'read', chunk);
    },
    unshift: (action, source) => void source.value.unshift(bytesOf(action.words[0])),
  };
  Object.assign(verbs.socket, piping);
  verbs.stream = {
    ...verbs.socket,
    ...piping,
    ...chainable,
    ...listening,
    push: (action, source) => trace(source.name, `push returns ${source.value.push(bytesOf(action.words[0]))}`),
    push_end: (action, source) => void source.value.push(null),
    answer(action, sink) {
      const done = sink.answers.shift() ?? fail(action, 'nothing is to be answered');
      done(action.words.length > 0 ? new Error(action.words[0]) : null);
    },
  };

  const nameOf = (value) => [...objects.values()].find((object) => object.value === value)?.name;
  const pipes = {
    readable: (object, label) => () => plain(object, 'readable', label),
    pipe: (object, label) => (source) => plain(object, 'pipe', label, nameOf(source)),
    unpipe: (object, label) => (source) => plain(object, 'unpipe', label, nameOf(source)),
  };
  Object.assign(listeners.socket, pipes);
  listeners.stream = {
    ...listeners.socket,
    ...pipes,
    close: (object, label) => () => plain(object, 'close', label),
  };
  properties.stream = {
    ...properties.socket,
    ended: (value) => value.readableEnded,
    readable: (value) => Boolean(value.readable),
    writable: (value) => Boolean(value.writable),
    paused: (value) => value.isPaused(),
  };
};
