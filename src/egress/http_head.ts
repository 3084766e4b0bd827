/**
 * Heads of HTTP/1.x messages: from bytes to a start line and fields, strictly.
 *
 * Whoever is lenient here forwards what the next parser reads otherwise: bare CR or LF, NUL, folded lines, spaces before a colon and
 * oversized heads are refused, never repaired. Heads are latin-1 text, one char per byte.
 * Source: RFC 9110 §5, RFC 9112 §2–6.
 *
 * Pure.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";

/** Bytes of a head, start line and blank line included; also of trailers. A choice of ours. */
export const MAX_HEAD_BYTES = 65_536;

/** Most fields of a head, a choice of ours: far above any client, far below a slow loop. */
const MAX_FIELDS = 1_000;

/** One field as it was sent; `key` is the name in lower case. */
export interface Field {
  readonly name: string;
  readonly key: string;
  readonly value: string;
}

/** Minor version: HTTP/1.0 or HTTP/1.1. */
export type Version = 0 | 1;

export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly version: Version;
  readonly fields: readonly Field[];
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly version: Version;
  readonly fields: readonly Field[];
}

/** Why a head is refused: the status to answer a client with and a short text. An empty text means an empty body. */
export interface HeadFault {
  readonly status: 400 | 431 | 501 | 505;
  readonly text: string;
}

/**
 * The end of the head in `bytes`: the offset behind its blank line, `null` while it is incomplete.
 *
 * @param from bytes before it were searched already
 */
export function findHeadEnd(
  bytes: Buffer,
  from: number,
): Result<number | null, HeadFault> {
  const end = bytes.indexOf("\r\n\r\n", Math.max(0, from - 3), "latin1");
  if (end !== -1 && end + 4 <= MAX_HEAD_BYTES) return ok(end + 4);
  if (end !== -1 || bytes.length > MAX_HEAD_BYTES) return fail(TOO_LARGE);
  // A client that will never send CRLF is told so now, not by a time limit.
  const start = bytes[from - 1] === 13 ? from - 1 : from;
  return hasBareLineEnd(bytes, start) ? fail(GARBAGE) : ok(null);
}

/** Parses a whole request head. @param head latin-1 text that ends with the blank line */
export function parseRequestHead(head: string): Result<RequestHead, HeadFault> {
  const lineEnd = head.indexOf("\r\n");
  const line =
    /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP\/([0-9])\.([0-9])$/
      .exec(head.slice(0, lineEnd));
  if (line === null) return fail(GARBAGE);
  const [, method = "", target = "", major, minor] = line;
  if (major !== "1" || (minor !== "0" && minor !== "1")) {
    return fail({ status: 505, text: "only HTTP/1.0 and HTTP/1.1 are spoken" });
  }
  const fields = parseFields(head, lineEnd + 2);
  return fields.ok
    ? ok({
      method,
      target,
      version: minor === "0" ? 0 : 1,
      fields: fields.value,
    })
    : fields;
}

/** Parses a whole response head. @param head latin-1 text that ends with the blank line */
export function parseResponseHead(
  head: string,
): Result<ResponseHead, HeadFault> {
  const lineEnd = head.indexOf("\r\n");
  const line = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?$/
    .exec(
      head.slice(0, lineEnd),
    );
  if (line === null) return fail(GARBAGE);
  const fields = parseFields(head, lineEnd + 2);
  if (!fields.ok) return fields;
  return ok({
    status: Number(line[2]),
    reason: line[3] ?? "",
    version: line[1] === "0" ? 0 : 1,
    fields: fields.value,
  });
}

/** Parses field lines up to the blank line. @param start offset of the first field line */
export function parseFields(
  head: string,
  start: number,
): Result<Field[], HeadFault> {
  const fields: Field[] = [];
  for (let at = start;;) {
    const end = head.indexOf("\r\n", at);
    if (end === -1) return fail(GARBAGE);
    if (end === at) return end + 2 === head.length ? ok(fields) : fail(GARBAGE);
    if (fields.length === MAX_FIELDS) return fail(TOO_LARGE);
    const line = FIELD.exec(head.slice(at, end));
    if (line === null) return fail(GARBAGE);
    const name = line[1] ?? "";
    const value = withoutSpace(line[2] ?? "");
    fields.push({ name, key: name.toLowerCase(), value });
    at = end + 2;
  }
}

/** `name: value`, white space around the value included; no control character but a tab, so no bare CR, LF or NUL either. */
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)$/;

/**
 * The text without spaces and tabs around it: HTTP's white space and no other, where `trim` would take a no-break space too.
 *
 * By hand: a regular expression tries each of 60,000 spaces as a beginning, which holds up the whole run for seconds.
 */
function withoutSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text, start)) start++;
  while (end > start && isSpace(text, end - 1)) end--;
  return text.slice(start, end);
}

function isSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 32 || code === 9;
}

/** The only value of `key`, `null` where it is absent; for repeated fields the first. */
export function fieldValue(
  fields: readonly Field[],
  key: string,
): string | null {
  for (const field of fields) if (field.key === key) return field.value;
  return null;
}

/** How often `key` is there. */
export function fieldCount(fields: readonly Field[], key: string): number {
  let count = 0;
  for (const field of fields) if (field.key === key) count++;
  return count;
}

/** The comma-separated members of every `key`, in lower case, empty ones left out. */
export function listMembers(fields: readonly Field[], key: string): string[] {
  const members: string[] = [];
  for (const field of fields) {
    if (field.key !== key) continue;
    for (const part of field.value.split(",")) {
      const member = withoutSpace(part).toLowerCase();
      if (member !== "") members.push(member);
    }
  }
  return members;
}

/** What is not HTTP at all: TLS, SOCKS, garbage. Answered as the reference does, with an empty body. */
const GARBAGE: HeadFault = { status: 400, text: "" };

const TOO_LARGE: HeadFault = {
  status: 431,
  text: `request head exceeds ${MAX_HEAD_BYTES} bytes or ${MAX_FIELDS} fields`,
};

/** Whether an LF without CR, a CR without LF or a NUL is in `bytes` from `from` on; a last CR may still get its LF. */
function hasBareLineEnd(bytes: Buffer, from: number): boolean {
  for (let at = from;;) {
    const lf = bytes.indexOf(10, at);
    const cr = bytes.indexOf(13, at);
    if (lf === -1 && (cr === -1 || cr === bytes.length - 1)) break;
    if (cr === -1 || lf !== cr + 1) return true;
    at = lf + 1;
  }
  return bytes.indexOf(0, from) !== -1;
}
