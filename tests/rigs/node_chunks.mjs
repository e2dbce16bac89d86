// A service of plain node: a body in chunks for each user, each write of which is one, and an endpoint that publishes.

import http from "node:http";

const streams = new Map(); // of each user, the answers that are under way

const server = http.createServer((request, response) => {
  const [, kind, user] = request.url.split("/");
  if (kind === "stream") {
    response.writeHead(200, { "Content-Type": "text/plain" }).write("ready\n");
    streams.set(user, (streams.get(user) ?? new Set()).add(response));
    response.on("close", () => streams.get(user).delete(response));
    return;
  }
  let message = "";
  request.on("data", (data) => (message += data));
  request.on("end", () => {
    for (const stream of streams.get(user) ?? []) stream.write(`${message}\n`);
    response.end("published\n");
  });
});

server.listen(Number(process.argv[2]), "127.0.0.1", 2048);
