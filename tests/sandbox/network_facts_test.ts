/**
 * The facts of {@linkcode NETWORK_FACTS} through the built executable.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { leaveClean, matrix, TRUE_STAGES } from "./harness.ts";
import {
  CLIENTS,
  NETWORK_FACTS,
  type ShownNetworkFact,
  USUAL_NETWORK,
} from "./network_fact_rows.ts";

afterAll(leaveClean);

const ROOT = `${import.meta.dirname}/../..`;

/** With the small program that listens inside, and with the inner stage. */
const COLUMNS = TRUE_STAGES;

const ANSWERS: Readonly<Record<string, string>> = {
  "/hop":
    "HTTP/1.1 200 OK\r\nX-Keep: 1\r\nX-Drop: 1\r\nConnection: X-Drop\r\nContent-Length: 0\r\n\r\n",
  "/ws":
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  "/continue":
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
};

const heads: string[] = [];
const origin = await serve(createServer((socket) => {
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    heads.push(text.slice(0, end + 4));
    const [, path = ""] = text.split(" ");
    text = "";
    socket.write(
      ANSWERS[path] ?? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    if (path === "/") socket.end();
  });
}));
const patient = await serve(
  createServer({ allowHalfOpen: true }, (socket) => {
    let length = 0;
    socket.on("error", () => {});
    socket.on("data", (bytes) => length += bytes.length);
    socket.on("end", () => socket.end(`got ${length}`));
  }),
);

function serve(server: ReturnType<typeof createServer>): Promise<string> {
  server.unref();
  return new Promise((ready) =>
    server.listen(
      0,
      "127.0.0.1",
      () => ready(String((server.address() as AddressInfo).port)),
    )
  );
}

function fill(text: string): string {
  return text.replaceAll("@P", origin).replaceAll("@H", patient);
}

const shown = NETWORK_FACTS.filter((fact): fact is ShownNetworkFact =>
  "script" in fact
);

for (const fact of shown) {
  matrix(
    `fact ${fact.number}: ${fact.given}`,
    COLUMNS,
    async ({ home, probe, run }) => {
      writeFileSync(
        `${home}/config.toml`,
        `default_permissions = "net"\n${
          fact.before ?? ""
        }[permissions.net]\nextends = ":workspace"\n[permissions.net.network]\n${
          fact.network ?? USUAL_NETWORK
        }`,
      );
      heads.length = 0;
      const { end, stdout, stderr } = await run(
        [
          "--report-blocked=never",
          ...fact.flags ?? [],
          "--",
          "bash",
          "-c",
          fill(`PROBE=${probe}\n${CLIENTS}\n${fact.script}`),
        ],
        {
          env: Object.fromEntries(
            Object.entries(fact.env ?? {}).map((
              [name, value],
            ) => [name, fill(value)]),
          ),
        },
      );
      expect(stderr).toMatch(fact.says ?? /^$/);
      expect({ end, words: stdout.trim().split(/\s+/).join(" ") })
        .toEqual({ end: fact.end ?? 0, words: fact.stdout });
      if (fact.sees !== undefined) {
        expect(heads.at(-1)).toMatch(new RegExp(fill(fact.sees.source)));
      }
    },
  );
}

test("all 48 facts are claimed, none twice, and what claims one is there", () => {
  expect(NETWORK_FACTS.map(({ number }) => number)).toEqual(
    Array.from({ length: 48 }, (_, index) => index + 1),
  );
  for (const fact of NETWORK_FACTS) {
    if (!("file" in fact)) continue;
    expect(readFileSync(`${ROOT}/${fact.file}`, "utf8")).toContain(fact.text);
  }
});
