/**
 * What people see of the proxy: the lines of `--report-blocked` and of `--network-log`.
 *
 * Pure. Hosts come from untrusted programs: they are printed as escaped ASCII, at most {@linkcode MAX_REPORT_LINES} distinct lines.
 *
 * @module
 */
import { type DenyReason, READ_METHODS } from "../policy/network.ts";

/** Why something was refused: by the policy, because the proxy can't do it at all, or because it is no request. */
export type RefusedFor = DenyReason | "not_supported" | "malformed";

/** One finished request: what the proxy tells, and what a report and the log are made of. Sizes are bytes. */
export interface ReportedEvent {
  /** Milliseconds since the epoch when it was asked. */
  readonly time: number;
  readonly protocol: "http" | "connect" | "socks5";
  /** In normal form, ASCII; `null`, as the port, where the request names none that can be read. */
  readonly host: string | null;
  readonly port: number | null;
  /** Address dialled, `via upstream …`, or `null`. */
  readonly address: string | null;
  readonly method: string | null;
  readonly verdict: "allowed" | "denied" | "failed";
  /** The rule as written, or the reason's code, or what failed. */
  readonly rule: string | null;
  readonly reason: RefusedFor | null;
  readonly detail: string | null;
  readonly remedy: string | null;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly durationMs: number;
}

/** Most lines of a report; the rest is a number. */
export const MAX_REPORT_LINES = 50;

/** Characters of a method or a reason in a line: a command may send a method of 64 kB. */
const MAX_TEXT = 1_000;

/** Refusals, gathered while a run lasts. */
export interface BlockedReport {
  readonly add: (event: ReportedEvent) => void;
  /** The lines for stderr, empty when nothing was refused. */
  readonly lines: () => string[];
}

interface Refusal {
  readonly event: ReportedEvent;
  count: number;
}

/** @param table where an allow line belongs: `[permissions.ci.network.domains]`, `null` for a profile that can't have one */
export function createBlockedReport(table: string | null): BlockedReport {
  const refusals = new Map<string, Refusal>();
  let beyond = 0;
  return {
    add(event): void {
      if (event.verdict !== "denied") return;
      // In limited mode a POST and an Upgrade are two refusals: each has its line.
      const what = event.reason === "method_not_allowed"
        ? refusedWord(event)
        : event.host === null
        ? `${event.protocol} ${event.detail}`
        : "";
      const key = `${event.reason} ${event.host} ${event.port} ${what}`;
      const known = refusals.get(key);
      if (known !== undefined) known.count++;
      // Memory is bounded whatever a command asks for.
      else if (refusals.size < MAX_REPORT_LINES) {
        refusals.set(key, { event, count: 1 });
      } else beyond++;
    },
    lines(): string[] {
      const all = [...refusals.values()].map((refusal) =>
        refusalLine(refusal, table)
      );
      if (beyond > 0) all.push(`network: ${beyond} more refusals`);
      return all;
    },
  };
}

/** Whether a report is to be printed. `auto`: when the command failed. */
export function isReported(
  mode: "never" | "auto" | "always",
  status: number,
): boolean {
  return mode === "always" || mode === "auto" && status !== 0;
}

function refusalLine({ event, count }: Refusal, table: string | null): string {
  const times = count === 1 ? "" : ` (${count} times)`;
  const remedy = event.remedy === null || table === null
    ? ""
    : `; to allow: ${escaped(event.remedy)} in ${table}`;
  return `network: ${refusedThing(event)} refused${times}: ${
    shortReason(event.reason, event)
  }${remedy}`;
}

/** Where it was to lead, or what it was where that can't be read. */
function refusedThing(event: ReportedEvent): string {
  if (event.host === null) return `a request by ${PROTOCOL[event.protocol]}`;
  const host = escaped(event.host);
  return host.includes(":")
    ? `[${host}]:${event.port}`
    : `${host}:${event.port}`;
}

const PROTOCOL: Readonly<Record<ReportedEvent["protocol"], string>> = {
  http: "HTTP",
  connect: "CONNECT",
  socks5: "SOCKS5",
};

function shortReason(
  reason: RefusedFor | null,
  event: ReportedEvent,
): string {
  switch (reason) {
    case "not_allowed":
    case "not_allowed_local":
      // No line of the list would help: it says what does.
      if (event.remedy === null && event.detail !== null) {
        return escaped(shortened(event.detail) ?? "");
      }
      return reason === "not_allowed"
        ? "not in the allow list"
        : "a local or private address, which must be listed by itself";
    case "denied":
      return `denied by "${escaped(event.rule ?? "")}"`;
    case "method_not_allowed":
      return `${
        escaped(refusedWord(event))
      } is not allowed in limited mode; set mode = "full"`;
    case "mitm_required":
      return 'tunnels are not allowed in limited mode; set mode = "full"';
    case "not_supported":
    case "malformed":
    case null:
      return escaped(shortened(event.detail) ?? "not supported");
  }
}

/** What limited mode refuses of a plain request: its method, or the Upgrade of one that may read. */
function refusedWord({ method }: ReportedEvent): string {
  return method !== null && READ_METHODS.includes(method)
    ? "Upgrade"
    : shortened(method) ?? "the method";
}

/** One line of the log, without its line end. ASCII. */
export function formatLogLine(event: ReportedEvent): string {
  return asciiJson({
    time: new Date(event.time).toISOString(),
    protocol: event.protocol,
    method: shortened(event.method),
    host: event.host,
    port: event.port,
    address: event.address,
    verdict: event.verdict,
    rule: event.rule,
    reason: event.reason,
    detail: shortened(event.detail),
    bytes_up: event.bytesUp,
    bytes_down: event.bytesDown,
    duration_ms: event.durationMs,
  });
}

/** The last line of a log that reached its limit. @param time of the first request that is left out */
export function formatCutLine(time: number, maxBytes: number): string {
  return asciiJson({
    time: new Date(time).toISOString(),
    verdict: "cut",
    detail:
      `a run writes ${maxBytes} bytes at most: its further requests are not in this log`,
  });
}

function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[^ -~]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function shortened(text: string | null): string | null {
  return text === null || text.length <= MAX_TEXT
    ? text
    : `${text.slice(0, MAX_TEXT)}...`;
}

/** Printable ASCII: everything else as `\u{…}`, so that no terminal obeys it and no look-alike deceives. */
function escaped(text: string): string {
  return text.replace(
    /[^ -~]/gu,
    (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
