// The stock tus client of JavaScript: sends a file, is stopped amid it, and goes on with what the server has. Arguments: address, key, size.
import { Upload } from "tus-js-client";

const [address, key, size] = process.argv.slice(2);
const data = Buffer.alloc(Number(size), "perenne ");
const options = {
  endpoint: `${address}/api/projects/default/uploads`,
  headers: { Authorization: `Bearer ${key}` },
  metadata: { filename: "javascript.txt", filetype: "text/plain" },
  chunkSize: 1 << 20,
  retryDelays: [100, 500, 1000],
};

function run(more, stopAt = Infinity) {
  return new Promise((resolve, reject) => {
    const accepted = [];
    const upload = new Upload(data, {
      ...options,
      ...more,
      onError: reject,
      onSuccess: () => resolve({ url: upload.url, accepted }),
      onChunkComplete: (_, sent) => {
        accepted.push(sent);
        if (sent >= stopAt) upload.abort().then(() => resolve({ url: upload.url, accepted }));
      },
    });
    upload.start();
  });
}

const first = await run({}, 2 << 20);
const second = await run({ uploadUrl: first.url });
const dropped = await run({}, 1 << 20);
await Upload.terminate(dropped.url, options);
const gone = await fetch(dropped.url, { headers: options.headers });
console.log(JSON.stringify({ first: first.accepted, second: second.accepted, same: first.url === second.url, gone: gone.status }));
