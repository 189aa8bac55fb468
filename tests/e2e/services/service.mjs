// A service as people write them for Node: `/` says who answers, `/health` how it is.
//
// While the file `sick` is in its folder, `/health` is answered 503; otherwise with the file `report.json`.

import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const [folder, port] = [process.argv[2], Number(process.argv[3])];

function answer(response, status, kind, body) {
  response.writeHead(status, { "Content-Type": kind, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

function health(response) {
  if (existsSync(join(folder, "sick"))) return answer(response, 503, "text/plain", "sick\n");
  answer(response, 200, "application/json", readFileSync(join(folder, "report.json")));
}

const server = createServer((request, response) => {
  if (request.url === "/health") return health(response);
  const body = [];
  request.on("data", (chunk) => body.push(chunk));
  request.on("end", () => {
    const wait = request.url === "/slow" ? 1000 : 0;
    const reply = () => answer(response, 200, "text/plain", body.length ? Buffer.concat(body) : `node ${port}\n`);
    wait ? setTimeout(reply, wait) : reply();
  });
});
server.listen(port, "127.0.0.1");
