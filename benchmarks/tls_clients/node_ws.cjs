// `ws` on node, from the packages of examples/express. See the package.
const path = require("path"), fs = require("fs"), readline = require("readline")
const WebSocket = require(path.join(__dirname, "../../examples/express/node_modules/ws"))

const AT_ONCE = 64
const [host, port, cafile, servername] = process.argv.slice(2)
const ca = fs.readFileSync(cafile)
const kept = []

function openOne() {
  return new Promise((done, failed) => {
    const socket = new WebSocket(`wss://${host}:${port}/ws/${kept.length + 1}`, { ca, servername })
    kept.push(socket)
    socket.once("message", done)
    socket.once("error", failed)
  })
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const open = async () => {
      while (kept.length < Number(line)) await openOne()
    }
    await Promise.all(Array.from({ length: AT_ONCE }, open))
    console.log(kept.length)
  }
  process.exit(0)
}

main()
