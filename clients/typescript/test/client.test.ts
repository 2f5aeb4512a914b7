import assert from "node:assert/strict";
import { test } from "node:test";
import { all, connect, ProblemError, type NewJob } from "../src/index.js";

const url = process.env.TOCSIN_URL ?? "";
const key = process.env.TOCSIN_API_KEY;
const api = connect({ url, key });
const report: NewJob = {
  kind: "http",
  target: { url: "https://example.com/report", auth: { type: "bearer", token: "t" } },
  cron: "0 3 * * *",
  timezone: "Europe/Paris",
  metadata: { team: "billing", nested: { deep: [1, null] } },
};

async function refused(promise: Promise<unknown>): Promise<ProblemError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ProblemError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("a job is created and read", async () => {
  const { data } = await api.POST("/v1/jobs", { body: { ...report, name: "ts-one" } });

  assert.equal(data?.state, "scheduled");
  assert.deepEqual(data?.metadata.nested, { deep: [1, null] });
  const read = await api.GET("/v1/jobs/{job}", { params: { path: { job: "ts-one" } } });
  assert.equal(read.data?.id, data?.id);
});

test("all pages of a list are read", async () => {
  const jobs = Array.from({ length: 7 }, (_, n) => ({ ...report, name: `ts-page-${n}`, tags: ["ts"] }));
  await api.POST("/v1/jobs/batch", { body: { jobs } });

  const names: (string | null | undefined)[] = [];
  const query = { tag: ["ts"], limit: 3 };
  for await (const job of all((cursor) =>
    api.GET("/v1/jobs", { params: { query: cursor ? { ...query, cursor } : query } }),
  )) {
    names.push(job.name);
  }

  assert.deepEqual(names.sort(), jobs.map((job) => job.name));
});

test("a change of what another has changed is a conflict", async () => {
  const { response } = await api.PUT("/v1/jobs/{job}", {
    params: { path: { job: "ts-edited" } },
    body: report,
  });
  const params = {
    path: { job: "ts-edited" },
    header: { "If-Match": response.headers.get("ETag") ?? "" },
  };
  await api.PATCH("/v1/jobs/{job}", { params, body: { description: "first" } });

  const error = await refused(api.PATCH("/v1/jobs/{job}", { params, body: { description: "second" } }));

  assert.equal(error.status, 412);
});

test("a problem names the fields", async () => {
  const error = await refused(api.POST("/v1/jobs", { body: { ...report, timezone: "Europe/Pari" } }));

  assert.equal(error.status, 422);
  assert.deepEqual(error.problem.errors.map((one) => one.field), ["timezone"]);
  assert.match(error.message, /^timezone .*Europe\/Paris/);
});

test("a request whose answer was lost is sent again, without a second effect", async () => {
  let sent = 0;
  const unlucky = connect({
    url,
    key,
    fetch: async (request) => {
      const response = await fetch(request);
      sent += 1;
      if (sent === 1) throw new TypeError("the connection was closed");
      return response;
    },
  });

  const { data, response } = await unlucky.POST("/v1/jobs", { body: { ...report, name: "ts-once" } });

  assert.equal(sent, 2);
  assert.equal(response.headers.get("Idempotency-Replayed"), "true");
  assert.equal(data?.name, "ts-once");
});

test("a request has a key of its own where nothing makes random UUIDs", async () => {
  const keys: (string | null)[] = [];
  const deaf = connect({
    url,
    key: "tocsin_key",
    fetch: async (request) => {
      keys.push(request.headers.get("Idempotency-Key"));
      return new Response(null, { status: 204 });
    },
  });
  Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });

  for (const name of ["ts-one", "ts-two"]) await deaf.POST("/v1/jobs", { body: { ...report, name } });

  assert.equal(new Set(keys).size, 2);
  for (const one of keys) assert.match(one ?? "", /^[0-9a-z-]{16,64}$/);
});

test("a run so many seconds from now, whose answer was lost, is not counted anew", async () => {
  let sent = 0;
  const unlucky = connect({
    url,
    fetch: async () => {
      sent += 1;
      throw new TypeError("the connection was closed");
    },
  });
  const { cron: _, ...once } = report;

  const put = unlucky.PUT("/v1/jobs/{job}", {
    params: { path: { job: "ts-soon" } },
    body: { ...once, run_in_seconds: 5 },
  });

  await assert.rejects(put, TypeError);
  assert.equal(sent, 1);
});

test("the first key is asked for without an Idempotency-Key, and once", async () => {
  const keys: (string | null)[] = [];
  const nobody = connect({
    url,
    fetch: async (request) => {
      keys.push(request.headers.get("Idempotency-Key"));
      throw new TypeError("the connection was closed");
    },
  });

  await assert.rejects(nobody.POST("/v1/keys", { body: { name: "first", scopes: ["admin"] } }), TypeError);

  assert.deepEqual(keys, [null]);
});

test("a wait that is too long is left to the caller", async () => {
  let sent = 0;
  const busy = connect({
    url,
    fetch: async () => {
      sent += 1;
      return new Response(null, { status: 429, headers: { "Retry-After": "60" } });
    },
  });

  const error = await refused(busy.GET("/v1/jobs"));

  assert.deepEqual([error.status, sent], [429, 1]);
});

test("an answer that does not come is not waited for for ever", async () => {
  let sent = 0;
  const silent = connect({
    url,
    attempts: 2,
    timeoutMs: 20,
    fetch: (request) => {
      sent += 1;
      return new Promise((_, reject) =>
        request.signal.addEventListener("abort", () => reject(request.signal.reason)),
      );
    },
  });

  await assert.rejects(silent.GET("/v1/jobs"), /gave no answer in 20 ms/);

  assert.equal(sent, 2);
});

test("what the caller gives up is not sent again", async () => {
  let sent = 0;
  const caller = new AbortController();
  const silent = connect({
    url,
    fetch: (request) => {
      sent += 1;
      return new Promise((_, reject) => {
        request.signal.addEventListener("abort", () => reject(request.signal.reason));
        caller.abort(new Error("no longer needed"));
      });
    },
  });

  await assert.rejects(silent.GET("/v1/jobs", { signal: caller.signal }), /no longer needed/);

  assert.equal(sent, 1);
});
