// Prints what Node does in a scenario:
//
//     node tests/oracle/oracle.mjs FILE…
//
// The driver (examples/oracle) reads the file, plays the peers and puts the trace together; it starts
// this same node with program.cjs for everything else.
import { existsSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
const ending = process.platform === 'win32' ? '.exe' : '';
const places = ['release', 'debug'].map((kind) => fileURLToPath(new URL(`target/${kind}/examples/oracle${ending}`, root)));
const driver = process.env.NODELOOP_ORACLE ?? places.find((place) => existsSync(place));
if (!driver) {
  console.error('the driver is not built: cargo build --release --example oracle');
  process.exit(2);
}
const { status } = spawnSync(driver, ['--node', process.execPath, ...process.argv.slice(2)], { stdio: 'inherit' });
process.exit(status ?? 2);
