import { expect, test } from "bun:test";
import {
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openNetworkLog } from "../../src/egress/network_log.ts";
import {
  createBlockedReport,
  formatLogLine,
  isReported,
  MAX_REPORT_LINES,
  type ReportedEvent,
} from "../../src/egress/report.ts";
import { abs } from "../../src/policy/path.ts";
import { getLimit, setSoftLimit } from "../../src/sys/calls.ts";

/** `asm-generic/resource.h`. */
const RLIMIT_FSIZE = 1;

const DENIED: ReportedEvent = {
  time: 0,
  protocol: "connect",
  host: "example.com",
  port: 443,
  address: null,
  method: "CONNECT",
  verdict: "denied",
  rule: null,
  reason: "not_allowed",
  detail: "x",
  remedy: '"example.com" = "allow"',
  bytesUp: 0,
  bytesDown: 0,
  durationMs: 1,
};

const TABLE = "[permissions.ci.network.domains]";

const LINES = [ // change, line, why
  [
    {},
    'network: example.com:443 refused: not in the allow list; to allow: "example.com" = "allow" in [permissions.ci.network.domains]',
    "an unlisted host",
  ],
  [
    {
      host: "::1",
      reason: "not_allowed_local",
      remedy: '"[::1]:443" = "allow"',
    },
    'network: [::1]:443 refused: a local or private address, which must be listed by itself; to allow: "[::1]:443" = "allow" in [permissions.ci.network.domains]',
    "loopback",
  ],
  [
    {
      host: "127.0.0.1",
      reason: "not_allowed_local",
      detail:
        "an unusual spelling of 127.0.0.1 is not allowed; write 127.0.0.1",
      remedy: null,
    },
    "network: 127.0.0.1:443 refused: an unusual spelling of 127.0.0.1 is not allowed; write 127.0.0.1",
    "a listed address, spelled so that no line would help",
  ],
  [
    { reason: "denied", rule: "*.com", remedy: null },
    'network: example.com:443 refused: denied by "*.com"',
    "a deny rule",
  ],
  [
    { reason: "method_not_allowed", method: "POST", remedy: null },
    'network: example.com:443 refused: POST is not allowed in limited mode; set mode = "full"',
    "limited",
  ],
  [
    { reason: "method_not_allowed", method: "GET", remedy: null },
    'network: example.com:443 refused: Upgrade is not allowed in limited mode; set mode = "full"',
    "a GET is only refused for its Upgrade",
  ],
  [
    { reason: "mitm_required", remedy: null },
    'network: example.com:443 refused: tunnels are not allowed in limited mode; set mode = "full"',
    "a tunnel",
  ],
  [
    { method: "\x1b[31m", reason: "method_not_allowed", remedy: null },
    'network: example.com:443 refused: \\u{1b}[31m is not allowed in limited mode; set mode = "full"',
    "no terminal code gets through",
  ],
  [
    {
      method: "X".repeat(60_000),
      reason: "method_not_allowed",
      remedy: null,
    },
    `network: example.com:443 refused: ${
      "X".repeat(1_000)
    }... is not allowed in limited mode; set mode = "full"`,
    "a method has an end",
  ],
] as const;
for (const [change, line, why] of LINES) {
  test(`a refusal is one line: ${why}`, () => {
    const report = createBlockedReport(TABLE);
    report.add({ ...DENIED, ...change });
    expect(report.lines()).toEqual([line]);
  });
}

test("equal refusals are one line with a count, allowed requests none", () => {
  const report = createBlockedReport(null);
  report.add(DENIED);
  report.add(DENIED);
  report.add({ ...DENIED, verdict: "allowed" });
  expect(report.lines()).toEqual([
    "network: example.com:443 refused (2 times): not in the allow list",
  ]);
});

test("what limited mode refuses of one host is a line for each method", () => {
  const report = createBlockedReport(null);
  for (const method of ["POST", "GET", "POST"]) {
    report.add({ ...DENIED, reason: "method_not_allowed", method });
  }
  expect(report.lines().map((line) => line.split("refused")[1])).toEqual([
    ' (2 times): POST is not allowed in limited mode; set mode = "full"',
    ': Upgrade is not allowed in limited mode; set mode = "full"',
  ]);
});

test("a host in a report is printable ASCII, whoever made it up", () => {
  const report = createBlockedReport(null);
  report.add({ ...DENIED, host: "a\x1b[2Jb" });
  expect(report.lines()[0]).toContain("a\\u{1b}[2Jb");
});

test("a report is bounded", () => {
  const report = createBlockedReport(null);
  for (let i = 0; i < MAX_REPORT_LINES + 7; i++) {
    report.add({ ...DENIED, host: `h${i}.test` });
  }
  expect(report.lines().length).toBe(MAX_REPORT_LINES + 1);
  expect(report.lines().at(-1)).toBe("network: 7 more refusals");
});

test("auto reports failures only", () => {
  expect([
    isReported("auto", 0),
    isReported("auto", 1),
    isReported("never", 1),
    isReported("always", 0),
  ])
    .toEqual([false, true, false, true]);
});

test("a log line is ASCII JSON", () => {
  const line = formatLogLine({ ...DENIED, detail: "ü\n" });
  expect(line).toBe(
    '{"time":"1970-01-01T00:00:00.000Z","protocol":"connect","method":"CONNECT","host":"example.com","port":443,"address":null,"verdict":"denied","rule":null,"reason":"not_allowed","detail":"\\u00fc\\n","bytes_up":0,"bytes_down":0,"duration_ms":1}',
  );
});

test("the log is appended to, private, and never a link or a directory", () => {
  const dir = mkdtempSync(join(tmpdir(), "codex-log-"));
  try {
    const file = join(dir, "log");
    for (let i = 0; i < 2; i++) {
      const log = openNetworkLog(abs(file));
      if (!log.ok) throw new Error(log.error);
      log.value.write(DENIED);
      expect(log.value.close()).toBeNull();
    }
    expect(readFileSync(file, "utf8").trim().split("\n").length).toBe(2);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    symlinkSync(file, join(dir, "link"));
    expect(openNetworkLog(abs(join(dir, "link")))).toEqual({
      ok: false,
      error: "ELOOP: a symbolic link stands in the way",
    });
    symlinkSync(dir, join(dir, "folder"));
    expect(openNetworkLog(abs(join(dir, "folder/log"))).ok).toBe(false);
    linkSync(file, join(dir, "other"));
    expect(openNetworkLog(abs(file)).ok).toBe(false);
    expect(openNetworkLog(abs("/dev/null")).ok).toBe(false);
    expect(openNetworkLog(abs(dir))).toEqual({
      ok: false,
      error: "EISDIR: is a directory",
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("one run fills a log up to its limit, and says so there and at its end", () => {
  const dir = mkdtempSync(join(tmpdir(), "codex-log-"));
  try {
    const file = join(dir, "log");
    const log = openNetworkLog(abs(file), 600);
    if (!log.ok) throw new Error(log.error);
    for (let i = 0; i < 100; i++) log.value.write(DENIED);
    expect(log.value.close()).toBe(
      "The network log is incomplete: it is at its limit, and 98 requests are not in it",
    );
    expect(readFileSync(file, "utf8").trim().split("\n").slice(1)).toEqual([
      formatLogLine(DENIED),
      '{"time":"1970-01-01T00:00:00.000Z","verdict":"cut","detail":"a run writes 600 bytes at most: its further requests are not in this log"}',
    ]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a line of the log has an end, whatever a method is", () => {
  const line = formatLogLine({ ...DENIED, method: "X".repeat(60_000) });
  expect(line.length).toBeLessThan(1_500);
});

test("a full disk under the log does not end the run, and is told at its end", async () => {
  const dir = mkdtempSync(join(tmpdir(), "codex-log-"));
  const limit = getLimit(0, RLIMIT_FSIZE);
  if (!limit.ok) throw new Error("no limit");
  try {
    const log = openNetworkLog(abs(join(dir, "log")));
    if (!log.ok) throw new Error(log.error);
    setSoftLimit(RLIMIT_FSIZE, 0);
    log.value.write(DENIED);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    setSoftLimit(RLIMIT_FSIZE, limit.value.soft);
    expect(log.value.close()).toBe("The network log is incomplete: EFBIG");
  } finally {
    setSoftLimit(RLIMIT_FSIZE, limit.value.soft);
    rmSync(dir, { recursive: true });
  }
});

test("a pipe without a reader in the log's place does not hold the run", async () => {
  const dir = mkdtempSync(join(tmpdir(), "codex-log-"));
  try {
    const pipe = join(dir, "log");
    Bun.spawnSync(["mkfifo", pipe]);
    const script = `const { openNetworkLog } = await import(${
      JSON.stringify(`${import.meta.dirname}/../../src/egress/network_log.ts`)
    }); console.log(openNetworkLog(${JSON.stringify(pipe)}).ok);`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    expect(await new Response(child.stdout).text()).toBe("false\n");
  } finally {
    rmSync(dir, { recursive: true });
  }
});
