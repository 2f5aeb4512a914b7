// pg-boss: batches, polled as often as it allows (every 500 ms), several workers of one process.
import { concurrency, inserting, jobs, load, post, ready, run, url } from "./common.mjs";

const module = load("pg-boss");
const PgBoss = module.PgBoss ?? module.default ?? module;
const boss = new PgBoss({ connectionString: url, max: 20 });
boss.on("error", console.error);
const QUEUE = "post";

await run({
  async setup() {
    await boss.start();
    await boss.createQueue(QUEUE);
    await boss.stop({ graceful: false });
  },
  async enqueue() {
    await boss.start();
    const all = await jobs();
    for (let first = 0; first < all.length; first += 1000) {
      const part = all
        .slice(first, first + 1000)
        .map(({ number, at }) => ({ name: QUEUE, data: { number }, startAfter: at }));
      await (boss.insert.length > 1 ? boss.insert(QUEUE, part) : boss.insert(part));
    }
    await boss.stop({ graceful: false });
  },
  async insert() {
    await boss.start();
    ready();
    await inserting((number) => boss.send(QUEUE, { number }));
  },
  async work() {
    await boss.start();
    for (let worker = 0; worker < 10; worker += 1) {
      await boss.work(
        QUEUE,
        { batchSize: Number(concurrency), pollingIntervalSeconds: 0.5 },
        (batch) => Promise.all(batch.map(({ data }) => post(data.number))),
      );
    }
    ready();
  },
});
