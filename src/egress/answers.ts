/**
 * What the proxy itself answers over HTTP: refusals by policy, failures, and the start of a tunnel.
 *
 * Codes and field order are the reference's; the header `x-proxy-detail` and the last JSON field name the rule. Pure.
 *
 * @module
 */
import {
  type Denial,
  type DenyReason,
  reasonMessage,
} from "../policy/network.ts";
import { type Endpoint, formatHost } from "../policy/host.ts";
import type { HeadFault, Version } from "./http_head.ts";

/** How an answer leaves the connection. */
export interface AnswerContext {
  readonly version: Version;
  readonly keepAlive: boolean;
  /** A HEAD request: the length is told, the body is not sent. */
  readonly bodiless?: boolean;
}

/** 403 for a plain request: JSON. */
export function blockedForward(
  endpoint: Endpoint,
  denial: Denial,
  context: AnswerContext,
): string {
  const body = JSON.stringify({
    status: "blocked",
    host: formatHost(endpoint.host),
    reason: denial.reason,
    decision: "deny",
    source: reasonSource(denial.reason),
    protocol: "http",
    port: endpoint.port,
    message: reasonMessage(denial.reason),
    detail: denial.detail,
  });
  return answer("403 Forbidden", "application/json", body, context, [
    `x-proxy-error: ${reasonCode(denial.reason)}`,
    `x-proxy-detail: ${headerSafe(denial.detail)}`,
  ]);
}

/** 403 for CONNECT: the message as text. */
export function blockedTunnel(denial: Denial, context: AnswerContext): string {
  return answer(
    "403 Forbidden",
    "text/plain",
    reasonMessage(denial.reason),
    context,
    [
      `x-proxy-error: ${reasonCode(denial.reason)}`,
      `x-proxy-detail: ${headerSafe(denial.detail)}`,
    ],
  );
}

/** 403 for `x-unix-socket` with a writing method in limited mode. */
export function blockedUnixSocket(context: AnswerContext): string {
  const body =
    '{"status":"blocked","host":"unix-socket","reason":"method_not_allowed"}';
  return answer("403 Forbidden", "application/json", body, context, [
    "x-proxy-error: blocked-by-method-policy",
  ]);
}

/** 501 for `x-unix-socket`. */
export function noUnixSockets(context: AnswerContext): string {
  return answer(
    "501 Not Implemented",
    "text/plain",
    "unix sockets unsupported",
    context,
    [],
  );
}

/** A malformed request; the connection ends. */
export function badRequest(fault: HeadFault): string {
  const status = {
    400: "400 Bad Request",
    431: "431 Request Header Fields Too Large",
    501: "501 Not Implemented",
    505: "505 HTTP Version Not Supported",
  }[fault.status];
  const context: AnswerContext = { version: 1, keepAlive: false };
  return fault.text === ""
    ? `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`
    : answer(status, "text/plain", fault.text, context, []);
}

/** What went wrong on the way to an allowed host. */
export type UpstreamFailure = "failed" | "timed_out";

/** 502 or 504. @param detail what failed, for `x-proxy-detail` */
export function upstreamFailed(
  failure: UpstreamFailure,
  detail: string,
  context: AnswerContext,
): string {
  return answer(
    failure === "failed" ? "502 Bad Gateway" : "504 Gateway Timeout",
    "text/plain",
    failure === "failed" ? "upstream failure" : "upstream timeout",
    context,
    [`x-proxy-detail: ${headerSafe(detail)}`],
  );
}

/** 408: the head did not come in time. */
export function headTimedOut(): string {
  return answer("408 Request Timeout", "text/plain", "request timeout", {
    version: 1,
    keepAlive: false,
  }, []);
}

/** 200 to CONNECT. @param date as HTTP writes it */
export function tunnelOpen(version: Version, date: string): string {
  return `HTTP/1.${version} 200 OK\r\ndate: ${date}\r\n\r\n`;
}

function answer(
  status: string,
  type: string,
  body: string,
  context: AnswerContext,
  extra: readonly string[],
): string {
  const lines = [
    `HTTP/1.${context.version} ${status}`,
    `content-type: ${type}`,
    ...extra,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  if (!context.keepAlive) lines.push("connection: close");
  else if (context.version === 0) lines.push("connection: keep-alive");
  // Bodies go out one byte per char, like all heads.
  const bytes = Buffer.from(body, "utf8").toString("latin1");
  return `${lines.join("\r\n")}\r\n\r\n${
    context.bodiless === true ? "" : bytes
  }`;
}

/** The header code of a reason. */
function reasonCode(reason: DenyReason): string {
  switch (reason) {
    case "not_allowed":
    case "not_allowed_local":
      return "blocked-by-allowlist";
    case "denied":
      return "blocked-by-denylist";
    case "method_not_allowed":
      return "blocked-by-method-policy";
    case "mitm_required":
      return "blocked-by-mitm-required";
  }
}

function reasonSource(reason: DenyReason): string {
  switch (reason) {
    case "not_allowed":
    case "not_allowed_local":
    case "denied":
      return "baseline_policy";
    case "method_not_allowed":
    case "mitm_required":
      return "mode_guard";
  }
}

/** Printable ASCII: paths of config files may hold anything. */
function headerSafe(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}
