// Drives the front machine "web1" without a router: "node driver.mjs 127.0.0.1:6379 web1", then lines on its standard
// input, "123 Hello" each. It needs no package: what it sends is a command of Valkey's protocol, by hand.
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

const [where, machine] = process.argv.slice(2);
const [host, port] = where.split(":");
const valkey = createConnection({ host, port });

function publish(channel, message) {
  const words = ["PUBLISH", channel, message].map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  valkey.write(`*${words.length}\r\n${words.join("")}`);
}

valkey.on("data", (answer) => process.stdout.write(answer)); // ":1": one front machine heard it
for await (const line of createInterface({ input: process.stdin })) {
  const [, user, text] = line.match(/^(\d+) (.*)$/);
  publish(`comet:machine:${machine}`, `{${user}, ${JSON.stringify(text)}}`);
}
valkey.end();
