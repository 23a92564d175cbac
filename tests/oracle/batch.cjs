// Plays one scenario after the other in one process, for the generator: starting Node costs more than
// most scenarios. Each has a program.cjs of its own, and begins where the one before has ended, when
// nothing was alive: in 'beforeExit', behind which Node runs ticks and then the loop, as behind a main
// script. A scenario that ends the process is the last; the driver starts another process.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const filename = path.join(__dirname, 'program.cjs');
const play = vm.compileFunction(fs.readFileSync(filename, 'utf8'), ['require', 'module'], { filename });

let finish;
let cleared = true;

function begin() {
  for (const event of ['exit', 'uncaughtException', 'uncaughtExceptionMonitor']) process.removeAllListeners(event);
  const module = { exports: null };
  play(require, module);
  finish = module.exports;
  cleared = false;
}

process.on('beforeExit', () => {
  if (cleared) {
    fs.writeSync(1, '.\n');
    begin();
    return;
  }
  finish();
  cleared = true;
  // What was left is closed in the turns that follow.
  setImmediate(() => setImmediate(() => {}));
});

begin();
