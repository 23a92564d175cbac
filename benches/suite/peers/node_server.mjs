// The same servers in Node, as one writes them: node node_server.mjs MODE ADDRESS:PORT
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';

const FRAME = 64;
const block = Buffer.alloc(64 * 1024, 'x');
const everyone = new Set();

const modes = {
  'tcp-echo': (socket) => {
    socket.on('data', (chunk) => {
      if (!socket.write(chunk)) socket.pause();
    });
    socket.on('drain', () => socket.resume());
  },
  'msg-echo': (socket) => {
    let partial = null;
    socket.on('data', (chunk) => {
      const data = partial ? Buffer.concat([partial, chunk]) : chunk;
      let at = 0;
      if (gather) socket.cork();
      for (; at + FRAME <= data.length; at += FRAME) socket.write(data.subarray(at, at + FRAME));
      if (gather) socket.uncork();
      partial = at < data.length ? data.subarray(at) : null;
    });
  },
  'tcp-sink': (socket) => socket.on('data', () => {}),
  'tcp-source': (socket) => {
    const fill = () => {
      for (let left = 32; left > 0; left--) if (!socket.write(block)) return;
      setImmediate(fill);
    };
    socket.on('drain', fill);
    socket.resume();
    fill();
  },
  'broadcast': (socket) => {
    everyone.add(socket);
    socket.on('data', (message) => {
      for (const receiver of everyone) receiver.write(message);
    });
    socket.on('close', () => everyone.delete(socket));
  },
  'accept-close': (socket) => socket.destroy(),
  'pause-echo': (socket) => {
    socket.on('data', (chunk) => {
      socket.write(chunk);
      socket.pause();
      setImmediate(() => socket.resume());
    });
  },
  'tcp-file': (socket) => {
    fs.createReadStream(file).pipe(socket);
    socket.resume();
  },
  'tcp-proxy': (client) => {
    const upstream = net.connect({ host: target[1], port: Number(target[2]), allowHalfOpen: true });
    client.pipe(upstream).pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.on('error', () => {});
      one.on('close', (hadError) => (hadError ? other.destroy() : other.destroySoon()));
    }
  },
};

const [mode, address, ...options] = process.argv.slice(2);
const gather = options.includes('--gather');
const after = (name) => options[options.indexOf(name) + 1];
const apart = (address) => /^(.*):(\d+)$/.exec(address);
const [, host, port] = apart(address);
const file = after('--file');
const target = apart(after('--target'));
const ready = ({ address, port }) => {
  process.stdout.write(`ready\nlistening on ${address}:${port}\n`);
};
if (mode === 'udp-echo') {
  const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(Number(port), host, () => ready(socket.address()));
} else {
  const noDelay = mode === 'msg-echo' || mode === 'broadcast';
  const server = net.createServer({ noDelay, allowHalfOpen: mode === 'tcp-proxy' }, (socket) => {
    socket.on('error', () => {});
    modes[mode](socket);
  });
  server.listen({ host, port: Number(port), backlog: 1024 }, () => ready(server.address()));
}
