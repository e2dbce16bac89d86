// Live updates for each user, by server-sent events and by WebSocket, and an endpoint that publishes one.

import express from "express";
import { WebSocketServer } from "ws";

const listeners = new Map(); // of each user, the functions that send to its connections

function subscribe(user, send) {
  if (!listeners.has(user)) listeners.set(user, new Set());
  listeners.get(user).add(send);
  return () => {
    listeners.get(user).delete(send);
    if (listeners.get(user).size === 0) listeners.delete(user);
  };
}

const app = express();

app.get("/events/:user", (request, response) => {
  response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  const unsubscribe = subscribe(request.params.user, (message) => response.write(`data: ${message}\n\n`));
  response.on("close", unsubscribe);
  response.write("event: ready\ndata: subscribed\n\n");
});

app.post("/publish/:user", express.text({ type: "*/*" }), (request, response) => {
  const sends = listeners.get(request.params.user) ?? new Set();
  for (const send of sends) send(request.body);
  response.json({ listeners: sends.size });
});

const port = Number(process.argv[2] ?? 8080);
const server = app.listen(port, "127.0.0.1", () => console.log(`listening on port ${port}`));

const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  const user = request.url.match(/^\/live\/([^/]+)$/)?.[1];
  if (user === undefined) return socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
  sockets.handleUpgrade(request, socket, head, (websocket) => {
    websocket.on("close", subscribe(user, (message) => websocket.send(message)));
    websocket.on("error", () => websocket.terminate());
    websocket.send("subscribed");
  });
});
