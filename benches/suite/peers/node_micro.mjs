// What Node does without sockets: node node_micro.mjs TASK OPERATIONS. Prints ns per operation.
import { Worker } from 'node:worker_threads';

const [task, text] = process.argv.slice(2);
// What wakes somebody up takes much longer.
const all = task === 'post-ping' ? Math.max(Number(text) / 100, 10) : Number(text);
let operations = all / 10;
const RUNNING = 10_000;
const BATCH = 1000;
const LONG_MS = 10_000_000;

let state = 0x9e3779b9;
const below = (limit) => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return Math.floor(((state >>> 0) / 4294967296) * limit);
};

const time = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

let done = 0;
const count = () => { done++; };

const start = (timers, different) => {
  const durations = Array.from({ length: timers }, () => LONG_MS + below(different));
  const before = time();
  const started = durations.map((duration) => setTimeout(count, duration));
  return { started, took: time() - before };
};

const cancel = (timers) => {
  const before = time();
  for (const timer of timers) clearTimeout(timer);
  return time() - before;
};

const shuffle = (items) => {
  for (let last = items.length - 1; last > 0; last--) {
    const other = below(last + 1);
    [items[last], items[other]] = [items[other], items[last]];
  }
  return items;
};

// Calls back when everything that was queued is done.
const until = (wanted, then) => {
  const before = time();
  const look = () => (done < wanted ? setImmediate(look) : then(time() - before));
  look();
};

// In turns of a thousand each.
const batches = (queue, then) => {
  const before = time();
  let left = operations;
  const next = () => {
    for (let n = 0; n < BATCH; n++) queue(count);
    left -= BATCH;
    if (left > 0) setImmediate(next);
    else setImmediate(() => then(time() - before));
  };
  next();
};

// Messages from another thread, which waits for the answer to each, or does not.
const posts = (answered, then) => {
  const worker = new Worker(`
    const { parentPort, workerData } = require('node:worker_threads');
    let left = workerData.messages;
    parentPort.once('message', () => {
      if (!workerData.answered) {
        while (left-- > 0) parentPort.postMessage(left);
      } else {
        parentPort.on('message', () => left-- > 0 && parentPort.postMessage(left));
        parentPort.postMessage(left--);
      }
    });`, { eval: true, workerData: { messages: operations, answered } });
  let before, received = 0;
  worker.on('online', () => {
    before = time();
    worker.postMessage('go');
  });
  worker.on('message', (number) => {
    if (++received === operations) {
      const took = time() - before;
      worker.terminate().then(() => then(took));
    } else if (answered) worker.postMessage(number);
  });
};

const tasks = {
  'timer-start': (then, different) => {
    cancel(start(operations, different).started);
    const { started, took } = start(operations, different);
    // At the end the process ends with them.
    if (operations < all) cancel(started);
    then(took);
  },
  'timer-cancel-in-order': (then) => then(cancel(start(operations, 1).started)),
  'timer-cancel-random': (then, different) =>
    then(cancel(shuffle(start(operations, different).started))),
  'timer-rearm': (then) => {
    const { started } = start(RUNNING, 1);
    const before = time();
    for (let left = operations; left > 0; left -= RUNNING) {
      for (const timer of started) timer.refresh();
    }
    const took = time() - before;
    cancel(started);
    then(took);
  },
  'timer-fire': (then) => {
    done = 0;
    for (let n = 0; n < operations; n++) setTimeout(count, 1);
    until(operations, then);
  },
  'tick': (then) => batches((call) => process.nextTick(call), then),
  'immediate': (then) => batches((call) => setImmediate(call), then),
  'turn': (then) => {
    const before = time();
    let left = operations;
    const next = () => (--left > 0 ? setImmediate(next) : then(time() - before));
    setImmediate(next);
  },
  'post-flood': (then) => posts(false, then),
  'post-ping': (then) => posts(true, then),
};

const [, name, different] = /^(.*?)(?:-(\d+))?$/.exec(task);
// A tenth to warm up.
tasks[name](() => setImmediate(() => {
  operations = all;
  done = 0;
  tasks[name]((took) => {
    console.log(took / operations);
    process.exit();
  }, Number(different));
}), Number(different));
