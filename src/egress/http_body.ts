/**
 * Bodies of HTTP/1.x messages: how long they are, and readers that cut them out of a stream of bytes.
 *
 * A message whose length two parsers could see differently is refused. Chunked bodies are decoded and validated; whoever forwards
 * them frames them anew, so that no extension and no trailer travels on.
 * Source: RFC 9112 §6 and 7.
 *
 * Pure: readers are small state machines, fed by the caller.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import {
  type Field,
  fieldCount,
  fieldValue,
  type HeadFault,
  listMembers,
  MAX_HEAD_BYTES,
  parseFields,
  type RequestHead,
  type ResponseHead,
} from "./http_head.ts";

/** How the end of a body is known. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  /** Responses only. */
  | { readonly kind: "until_close" };

/** The framing of a request's body. */
export function requestFraming(head: RequestHead): Result<Framing, HeadFault> {
  const declared = declaredFraming(head.fields);
  if (!declared.ok) return declared;
  if (declared.value?.kind === "chunked" && head.version === 0) {
    return fail({ status: 400, text: "Transfer-Encoding in HTTP/1.0" });
  }
  return ok(declared.value ?? { kind: "none" });
}

/** The framing of a response's body. @param method of the request that it answers */
export function responseFraming(
  head: ResponseHead,
  method: string,
): Result<Framing, HeadFault> {
  const declared = declaredFraming(head.fields);
  if (!declared.ok) return declared;
  const { status } = head;
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) {
    return ok({ kind: "none" });
  }
  if (declared.value?.kind === "chunked" && head.version === 0) {
    return fail({ status: 400, text: "Transfer-Encoding in HTTP/1.0" });
  }
  return ok(declared.value ?? { kind: "until_close" });
}

function declaredFraming(
  fields: readonly Field[],
): Result<Framing | null, HeadFault> {
  const lengths = fieldCount(fields, "content-length");
  const encodings = fieldCount(fields, "transfer-encoding");
  if (lengths > 0 && encodings > 0) {
    return fail({
      status: 400,
      text: "both Content-Length and Transfer-Encoding",
    });
  }
  if (lengths > 1) {
    return fail({ status: 400, text: "multiple Content-Length headers" });
  }
  if (encodings > 0) {
    const codings = listMembers(fields, "transfer-encoding");
    if (encodings === 1 && codings.length === 1 && codings[0] === "chunked") {
      return ok({ kind: "chunked" });
    }
    const last = codings[codings.length - 1];
    return fail(
      encodings > 1 || last !== "chunked" ||
        codings.indexOf("chunked") !== codings.length - 1
        ? { status: 400, text: "invalid Transfer-Encoding" }
        : { status: 501, text: "unsupported Transfer-Encoding" },
    );
  }
  const length = fieldValue(fields, "content-length");
  if (length === null) return ok(null);
  if (!/^[0-9]{1,15}$/.test(length)) {
    return fail({ status: 400, text: "invalid Content-Length" });
  }
  return ok({ kind: "length", bytes: Number(length) });
}

/** Where a body reader stands. Made by {@linkcode bodyReader}, moved by {@linkcode readBody}. */
export interface BodyReader {
  readonly framing: Framing;
  done: boolean;
  /** Bytes left of the body or of the chunk. */
  left: number;
  /** Chunked only. */
  place: "size" | "data" | "data_end" | "trailer";
  /** The beginning of a line whose end has not come yet. */
  line: string;
  trailerBytes: number;
}

export function bodyReader(framing: Framing): BodyReader {
  const left = framing.kind === "length" ? framing.bytes : 0;
  return {
    framing,
    done: framing.kind === "none" || framing.kind === "length" && left === 0,
    left,
    place: "size",
    line: "",
    trailerBytes: 0,
  };
}

/** Longest chunk size line, extensions included. */
const MAX_CHUNK_LINE = 4_096;

/**
 * Takes body bytes out of `bytes` from offset `from` and gives the decoded ones to `onData`, as views.
 *
 * @returns the offset of the first byte that is not part of the body; a fault names what is malformed
 */
export function readBody(
  reader: BodyReader,
  bytes: Buffer,
  from: number,
  onData: (data: Buffer) => void,
): Result<number, string> {
  switch (reader.framing.kind) {
    case "none":
      return ok(from);
    case "until_close":
      if (from < bytes.length) {
        onData(from === 0 ? bytes : bytes.subarray(from));
      }
      return ok(bytes.length);
    case "length": {
      const count = Math.min(reader.left, bytes.length - from);
      if (count > 0) {
        onData(
          from === 0 && count === bytes.length
            ? bytes
            : bytes.subarray(from, from + count),
        );
      }
      reader.left -= count;
      reader.done = reader.left === 0;
      return ok(from + count);
    }
    case "chunked":
      return readChunks(reader, bytes, from, onData);
  }
}

function readChunks(
  reader: BodyReader,
  bytes: Buffer,
  from: number,
  onData: (data: Buffer) => void,
): Result<number, string> {
  let at = from;
  while (!reader.done && at < bytes.length) {
    if (reader.place === "data") {
      const count = Math.min(reader.left, bytes.length - at);
      onData(bytes.subarray(at, at + count));
      at += count;
      reader.left -= count;
      if (reader.left === 0) reader.place = "data_end";
      continue;
    }
    const lf = bytes.indexOf(10, at);
    const end = lf === -1 ? bytes.length : lf + 1;
    reader.line += bytes.toString("latin1", at, end);
    at = end;
    const fault = readChunkLine(reader, lf !== -1);
    if (fault !== null) return fail(fault);
  }
  return ok(at);
}

/** Judges the line so far. @returns what is wrong, `null` if nothing is */
function readChunkLine(reader: BodyReader, isWhole: boolean): string | null {
  const { line } = reader;
  if (!isWhole) {
    if (reader.place === "data_end" && line !== "\r") return OVERLONG_CHUNK;
    const limit = reader.place === "size" ? MAX_CHUNK_LINE : MAX_HEAD_BYTES;
    return line.length > limit ? OVERLONG_LINE : null;
  }
  reader.line = "";
  switch (reader.place) {
    case "data_end":
      if (line !== "\r\n") return OVERLONG_CHUNK;
      reader.place = "size";
      return null;
    case "size": {
      if (line.length > MAX_CHUNK_LINE) return OVERLONG_LINE;
      const size = CHUNK_SIZE.exec(line);
      if (size === null) return "a chunk size is malformed";
      reader.left = parseInt(size[1] ?? "", 16);
      reader.place = reader.left === 0 ? "trailer" : "data";
      return null;
    }
    case "trailer": {
      reader.trailerBytes += line.length;
      if (line === "\r\n") {
        reader.done = true;
        return null;
      }
      if (reader.trailerBytes > MAX_HEAD_BYTES) return "trailers are too long";
      return parseFields(`${line}\r\n`, 0).ok ? null : "a trailer is malformed";
    }
    case "data":
      return null;
  }
}

const OVERLONG_LINE = "a line of the chunked body is too long";
const OVERLONG_CHUNK = "a chunk is longer than its size";

/** Hex size of at most 48 bits, then extensions without controls; a quoted string may not hide a line end either. */
const CHUNK_SIZE = /^([0-9a-fA-F]{1,12})(?:[\t ]*;[\t -~\x80-\xff]*)?\r\n$/;

/** The frame before a chunk of `size` bytes. */
export function chunkStart(size: number): string {
  return `${size.toString(16)}\r\n`;
}
