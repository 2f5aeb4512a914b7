/** A client of Tocsin's API, typed by its OpenAPI document: `npm run schema` makes schema.ts. */
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";
export type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type Problem = Schemas["Problem"];
type Targets = {
  amqp: Schemas["AmqpTarget"];
  check: Schemas["CheckTarget"];
  http: Schemas["HttpTarget"];
  smtp: Schemas["SmtpTarget"];
};
/** A job to create: its kind decides on its target. */
export type NewJob = {
  [Kind in keyof Targets]: Omit<Schemas["JobDocument"], "kind" | "target"> & {
    kind: Kind;
    target: Targets[Kind];
  };
}[keyof Targets];

/** What the API refused, and the fields that have to change. */
export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    const fields = problem.errors.map((one) => `${one.field} ${one.message}`);
    super(fields.join("; ") || problem.detail);
    this.name = "ProblemError";
  }

  get status(): number {
    return this.problem.status;
  }
}

type Send = (request: Request) => Promise<Response>;

export interface Options {
  /** Such as https://tocsin.example.com. */
  url: string;
  key?: string | undefined;
  /** How often a request is sent, the first time included: 3. */
  attempts?: number;
  /** How long each sending waits for the beginning of an answer: 30,000. */
  timeoutMs?: number;
  fetch?: Send;
}

const AGAIN = new Set([429, 502, 503, 504]);
const LONGEST_WAIT_MS = 10_000;
const FIRST_WAIT_MS = 200;
const TIMEOUT_MS = 30_000;

/** Make a client whose methods throw a ProblemError, and send again what may be sent again. */
export function connect(options: Options): Client<paths> {
  const send = inTime(options.fetch ?? fetch, options.timeoutMs ?? TIMEOUT_MS);
  const client = createClient<paths>({
    baseUrl: options.url.replace(/\/+$/, ""),
    querySerializer: { array: { style: "form", explode: true } },
    fetch: (request: Request) => retried(request, send, options.attempts ?? 3),
  });
  client.use({
    onRequest({ request }) {
      if (options.key) request.headers.set("Authorization", `Bearer ${options.key}`);
      // A POST that is sent again with the same Idempotency-Key has no second effect. Answers with
      // secrets are kept for nobody but who has an API key.
      if (options.key && request.method === "POST" && !request.headers.has("Idempotency-Key")) {
        request.headers.set("Idempotency-Key", newKey());
      }
      return request;
    },
    async onResponse({ response }) {
      if (!response.ok) throw new ProblemError(await problemOf(response));
      return undefined;
    },
  });
  return client;
}

/** The items of all pages of a list: `all((cursor) => api.GET("/v1/jobs", …))`. */
export async function* all<Item>(
  page: (
    cursor: string | undefined,
  ) => Promise<{ data?: { items: Item[]; next_cursor?: string | null } | undefined }>,
): AsyncGenerator<Item> {
  let cursor: string | undefined;
  do {
    const { data } = await page(cursor);
    yield* data?.items ?? [];
    cursor = data?.next_cursor ?? undefined;
  } while (cursor);
}

/** A key that no other request has: randomUUID is missing in Node 18, and on pages without TLS. */
function newKey(): string {
  const random = () => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? [1, 2, 3].map(random).join("-");
}

/** Send, and give up when no answer begins in time, or when the caller does. */
function inTime(send: Send, timeoutMs: number): Send {
  return async (request) => {
    const end = new AbortController();
    const late = () => end.abort(new Error(`${new URL(request.url).host} gave no answer in ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    request.signal.addEventListener("abort", () => end.abort(request.signal.reason), { once: true });
    if (request.signal.aborted) end.abort(request.signal.reason);
    try {
      return await send(new Request(request, { signal: end.signal }));
    } finally {
      clearTimeout(timer);
    }
  };
}

async function retried(
  request: Request,
  send: Send,
  attempts: number,
): Promise<Response> {
  const isSafe = await mayBeRepeated(request);
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt >= attempts || !isSafe;
    let wait = FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.5 + Math.random());
    try {
      const response = await send(request.clone());
      const asked = Number(response.headers.get("Retry-After")) * 1000;
      // Sooner than it asks is no use.
      if (isLast || !AGAIN.has(response.status) || asked > LONGEST_WAIT_MS) return response;
      await response.body?.cancel();
      if (asked > 0) wait = asked;
    } catch (error) {
      if (isLast || request.signal.aborted) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Whether a request that is sent twice has no second effect. */
async function mayBeRepeated(request: Request): Promise<boolean> {
  // An If-Match that was met before its answer got lost is not met again, nor is there again what
  // was deleted.
  if (request.method === "GET") return true;
  if (request.method !== "PUT") return request.headers.has("Idempotency-Key");
  if (request.headers.has("If-Match")) return false;
  // So many seconds from now are counted anew: what has run in between would run again.
  return !(await request.clone().text()).includes('"run_in_seconds"');
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  if (response.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    return JSON.parse(text) as Problem;
  }
  const detail = `${response.url} answers ${response.status}, but not as the API of Tocsin does`;
  return { type: "about:blank", title: response.statusText, status: response.status, detail, errors: [] };
}
