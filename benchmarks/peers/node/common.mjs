// What the Node peers share: the command line, the request that is a job, the job list.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// Packages are installed outside of version control, see peers/install.py.
export const load = createRequire(new URL("../../.peers/node/package.json", import.meta.url));
export const [action, url, baseUrl, concurrency] = process.argv.slice(2);

const { Agent, request } = load("undici");
const dispatcher = new Agent({ connections: 100, pipelining: 1 });

export async function post(number) {
  const response = await request(`${baseUrl}${number}`, { method: "POST", dispatcher });
  await response.body.dump();
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
}

export async function jobs() {
  const found = [];
  for await (const line of createInterface({ input: process.stdin })) {
    const [number, at] = JSON.parse(line);
    found.push({ number, at: at === null ? undefined : new Date(at * 1000) });
  }
  return found;
}

export const ready = () => console.log("ready");

// Enqueues each number that comes in and answers with the instant just before, in ns.
export async function inserting(insert) {
  for await (const line of createInterface({ input: process.stdin })) {
    const started = (performance.timeOrigin + performance.now()) * 1e6;
    await insert(Number(line));
    console.log(Math.round(started));
  }
}

export async function run(actions) {
  await actions[action]();
  if (action !== "work") process.exit(0);
}
