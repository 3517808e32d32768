// Prints the events of a sadstream daemon as JSON, and what was lost, restarted or silent on standard error.
// node subscriber.mjs [ENDPOINT]

import { Subscriber } from "zeromq";

const STALE_MS = 11_000; // a status comes every 5 s; two may be late
const endpoint = process.argv[2] ?? "tcp://127.0.0.1:5556";
process.stdout.on("error", () => process.exit(0)); // `| head`: whoever reads it may go first
const streams = new Map(); // name -> { session, fromStart, seq: { score, status, episode }, heardMs, stale }

function feed(event) {
  let heard = streams.get(event.stream);
  if (heard?.session !== event.session) {
    // Of a session that began while we listened, number 0 is owed too; of the first we hear, what follows.
    if (heard) console.error("restart", event.stream);
    heard = { session: event.session, fromStart: Boolean(heard), seq: {} };
    streams.set(event.stream, heard);
  }
  heard.heardMs = performance.now();
  heard.stale = false;
  missing(heard, event.stream, event.type, event.seq - 1);
  if (event.type === "status" && event.last_score_seq !== null) {
    missing(heard, event.stream, "score", event.last_score_seq);
  }
  if (event.seq <= (heard.seq[event.type] ?? -1)) return; // said again, because somebody joined
  heard.seq[event.type] = event.seq;
  console.log(JSON.stringify(event));
}

function missing(heard, stream, type, last) {
  if (!(type in heard.seq) && !heard.fromStart) return;
  const first = (heard.seq[type] ?? -1) + 1;
  if (first > last) return;
  console.error("gap", stream, type, first, last);
  heard.seq[type] = last;
}

setInterval(() => {
  for (const [name, heard] of streams) {
    if (!heard.stale && performance.now() - heard.heardMs > STALE_MS) {
      heard.stale = true;
      console.error("stale", name);
    }
  }
}, 500);

const socket = new Subscriber({ reconnectInterval: 100, reconnectMaxInterval: 2000 });
socket.subscribe("sad.");
socket.connect(endpoint);
for await (const [frame] of socket) {
  const text = frame.toString();
  const event = JSON.parse(text.slice(text.indexOf(" ") + 1));
  if (event.v === 1) feed(event); // other versions are not ours to read
}
