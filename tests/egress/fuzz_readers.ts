/**
 * What the proxy's readers make of an input, by the room of the corpus that it belongs to: its kind leads the fuzzer on.
 *
 * @module
 */
import { readProxyRequest } from "../../src/egress/http.ts";
import {
  findHeadEnd,
  parseRequestHead,
  parseResponseHead,
} from "../../src/egress/http_head.ts";
import { readGreeting, readSocksRequest } from "../../src/egress/socks5.ts";
import { readHello } from "../../src/egress/tls_hello.ts";
import { parseHost } from "../../src/policy/host.ts";
import { parsePattern } from "../../src/policy/pattern.ts";

/** What the reader of a room makes of its inputs. */
export const READERS: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  http: readRequest,
  responses: readResponse,
  socks: (bytes) => [readGreeting(bytes), readSocksRequest(bytes)],
  tls: readHello,
  hosts: (bytes) => {
    const text = bytes.toString("utf8");
    const host = parseHost(text);
    const pattern = parsePattern(text);
    // What is wrong, without the input that stands behind it.
    const wrong = (error: string): string => error.split(/[:;]/, 1)[0] ?? "";
    return {
      host: host.ok ? host.value : { error: wrong(host.error) },
      pattern: pattern.ok ? pattern.value : { error: wrong(pattern.error) },
    };
  },
};

function readRequest(bytes: Buffer): unknown {
  const end = findHeadEnd(bytes, 0);
  if (!end.ok || end.value === null) return end;
  const head = parseRequestHead(bytes.toString("latin1", 0, end.value));
  return head.ok
    ? [readProxyRequest(head.value), head.value.fields.length]
    : head;
}

function readResponse(bytes: Buffer): unknown {
  const end = findHeadEnd(bytes, 0);
  if (!end.ok || end.value === null) return end;
  const head = parseResponseHead(bytes.toString("latin1", 0, end.value));
  return head.ok
    ? [head, ...head.value.fields.map(({ key }) => ({ kind: key }))]
    : head;
}
