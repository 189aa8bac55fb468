// Pushes heartbeats: node beat.mjs http://127.0.0.1:9901 CLUSTER ENDPOINT [TOKEN_FILE]
// Prints each ack. Ends with 1 when no proxy has acknowledged for the ttl; says bye on SIGTERM.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [url, cluster, endpoint, tokenFile] = process.argv.slice(2);
const token = tokenFile ? readFileSync(tokenFile, "utf8").trim().split(/\s/)[0] : "";
const boot_id = randomUUID();
let [seq, nextIn, ttl, acked] = [0, 500, 5000, performance.now()];

async function beat(state = "ready") {
  seq += 1;
  const report = { memory: process.memoryUsage().rss / (1 << 30) };
  const answer = await fetch(`${url}/v1/heartbeats`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ cluster, endpoint, boot_id, seq, sent_at_ms: Date.now(), state, report }),
    signal: AbortSignal.timeout(1000),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

process.on("SIGTERM", () => beat("bye").finally(() => process.exit(0)));
while (performance.now() - acked < ttl) {
  try {
    const ack = await beat();
    console.log(JSON.stringify(ack));
    [nextIn, ttl, acked] = [ack.next_in_ms, ack.ttl_ms, performance.now()];
  } catch (error) {
    console.error(error.message);
  }
  await sleep(nextIn);
}
console.error("cut off: nobody has acknowledged for the ttl");
process.exit(1);
