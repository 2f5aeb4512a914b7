// graphile-worker, as its page on performance configures it: 24 jobs at once, a local queue of 500,
// completions in batches. Jobs of later are found by polling, every 2 s unless told otherwise: here
// every 100 ms.
import { concurrency, inserting, jobs, load, post, ready, run, url } from "./common.mjs";

const { Logger, makeWorkerUtils, run: runWorker, runMigrations } = load("graphile-worker");
const logger = new Logger(() => () => {});
const concurrentJobs = Number(concurrency);
const preset = {
  worker: {
    connectionString: url,
    concurrentJobs,
    maxPoolSize: concurrentJobs + 2,
    pollInterval: 100,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  },
};

await run({
  setup: () => runMigrations({ preset }),
  async enqueue() {
    const utils = await makeWorkerUtils({ preset });
    const all = await jobs();
    for (let first = 0; first < all.length; first += 1000) {
      await utils.addJobs(
        all.slice(first, first + 1000).map(({ number, at }) => ({
          identifier: "post",
          payload: { number },
          runAt: at,
        })),
      );
    }
    await utils.release();
  },
  async insert() {
    const utils = await makeWorkerUtils({ preset });
    ready();
    await inserting((number) => utils.addJob("post", { number }));
  },
  async work() {
    await runWorker({ preset, taskList: { post: ({ number }) => post(number) } });
    ready();
  },
});
