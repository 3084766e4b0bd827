/**
 * One forwarded HTTP request on its way to the origin and back.
 *
 * Pauses whichever side is ahead, relays interim responses, and ends in exactly one of five ways: done, failed before a byte of the
 * response, refused for what the client sends, cut off in the middle, or turned into a tunnel.
 *
 * @module
 */
import {
  isReusable,
  rewriteInterim,
  rewriteResponse,
  rewriteSwitch,
} from "./http.ts";
import {
  type BodyReader,
  bodyReader,
  chunkStart,
  type Framing,
  readBody,
  responseFraming,
} from "./http_body.ts";
import {
  findHeadEnd,
  parseResponseHead,
  type ResponseHead,
  type Version,
} from "./http_head.ts";
import type { ProxyContext, Tally, Timed } from "./context.ts";
import {
  abort,
  gather,
  type Link,
  pause,
  release,
  resume,
  send,
  sendText,
} from "./link.ts";

/** What is asked. */
export interface Asking {
  readonly method: string;
  readonly version: Version;
  readonly head: string;
  readonly framing: Framing;
  readonly upgrade: boolean;
  readonly keepAlive: boolean;
}

/** How an exchange ended. */
export type Ending =
  /** `isUpstreamFree`: the origin's connection can serve another request. */
  | {
    readonly kind: "done";
    readonly keepAlive: boolean;
    readonly isUpstreamFree: boolean;
  }
  /** Nothing was sent to the client yet. */
  | {
    readonly kind: "failed";
    readonly failure: "failed" | "timed_out";
    readonly detail: string;
    /** No byte of a response came: a reused connection may have been dead already. */
    readonly isUntouched: boolean;
  }
  /** The request's body is malformed, and nothing of a response was sent yet. */
  | { readonly kind: "refused"; readonly detail: string }
  /** The client has half a response: only a reset tells it so. */
  | { readonly kind: "cut"; readonly detail: string }
  /** A 101 went to the client; `early` came right behind it. */
  | { readonly kind: "switched"; readonly early: Buffer | null };

export interface ExchangeParts {
  readonly context: ProxyContext;
  readonly client: Link;
  readonly upstream: Link;
  readonly asking: Asking;
  readonly tally: Tally;
  /** Called once. The links' owners are the caller's again from then on. */
  readonly onEnding: (ending: Ending) => void;
}

/** A running exchange, as the client's side drives it. */
export interface Exchange {
  /** Takes body bytes of the request. @returns bytes behind the body, `null` when there are none, or a fault */
  readonly takeBody: (
    bytes: Buffer,
  ) => { readonly rest: Buffer | null } | { readonly fault: string };
  readonly isRequestSent: () => boolean;
  /** The client can take more. */
  readonly onClientDrain: () => void;
  /** The client is gone. */
  readonly cancel: () => void;
  /** What it sends is malformed: it is told where it can still be told, and the origin is cut off. */
  readonly refuse: (fault: string) => void;
}

/** Most interim responses before the final one: far above any origin that tells how it gets on. */
const MAX_INTERIM = 1_000;

const NO_BYTES = Buffer.alloc(0);

/** Sends the request's head and waits for what comes. */
export function startExchange(parts: ExchangeParts): Exchange {
  const { context, client, upstream, asking, tally } = parts;
  const request = bodyReader(asking.framing);
  let input: Buffer | null = null;
  let scanned = 0;
  let interim = 0;
  let response: Responding | null = null;
  let isOver = false;
  let lastByteAt = performance.now();
  const timed: Timed = {
    expiresAt: lastByteAt + context.limits.responseMs,
    onExpire(): void {
      const idle = performance.now() - lastByteAt;
      if (idle < context.limits.responseMs) {
        timed.expiresAt = performance.now() + context.limits.responseMs - idle;
        return;
      }
      fall("timed_out", `no byte for ${context.limits.responseMs} ms`);
    },
  };

  const end = (ending: Ending): void => {
    if (isOver) return;
    isOver = true;
    context.timed.delete(timed);
    release(client);
    parts.onEnding(ending);
  };
  /** Fails: politely while the client has nothing, by cutting it off otherwise. */
  const fall = (failure: "failed" | "timed_out", detail: string): void => {
    if (isOver) return;
    const isUntouched = input === null && response === null;
    end(
      response === null
        ? { kind: "failed", failure, detail, isUntouched }
        : { kind: "cut", detail },
    );
    abort(upstream);
  };

  const onHead = (head: ResponseHead, rest: Buffer): void => {
    if (head.status === 101) {
      const text = asking.upgrade ? rewriteSwitch(head) : null;
      if (text === null) {
        return fall("failed", "an unasked switch of protocols");
      }
      sendText(client, text);
      return end({ kind: "switched", early: rest.length > 0 ? rest : null });
    }
    if (head.status < 200) {
      if (++interim > MAX_INTERIM) {
        return fall("failed", "too many interim responses");
      }
      if (asking.version === 1) sendText(client, rewriteInterim(head));
      return;
    }
    const framing = responseFraming(head, asking.method);
    if (!framing.ok) {
      return fall("failed", `a malformed response: ${framing.error.text}`);
    }
    const rewritten = rewriteResponse(head, framing.value, {
      version: asking.version,
      // A body that is still under way would be read as the next request.
      keepAlive: asking.keepAlive && request.done,
    });
    response = {
      reader: bodyReader(framing.value),
      towards: rewritten.framing,
      keepAlive: rewritten.keepAlive,
      isReusable: isReusable(head, framing.value),
    };
    sendText(client, rewritten.head);
    onBody(response, rest);
  };

  const onBody = (state: Responding, bytes: Buffer): void => {
    let data = 0;
    const used = readBody(state.reader, bytes, 0, (part) => {
      data += part.length;
      sendPart(client, state.towards, part);
    });
    tally.bytesDown += data;
    if (!used.ok) return fall("failed", `a malformed response: ${used.error}`);
    if (!state.reader.done) return;
    if (state.towards.kind === "chunked") sendText(client, "0\r\n\r\n");
    // Bytes that nobody asked for: whatever they are, they answer no request of ours.
    const isQuiet = used.value === bytes.length && !upstream.isPeerDone;
    end({
      kind: "done",
      keepAlive: state.keepAlive,
      isUpstreamFree: state.isReusable && isQuiet && request.done,
    });
  };

  const onBytes = (bytes: Buffer): void => {
    let rest = bytes;
    // One after the other, and without a copy of what is left: an origin can send thousands of heads at once.
    while (!isOver && response === null && rest.length > 0) {
      const whole = input === null || input.length === 0
        ? rest
        : Buffer.concat([input, rest]);
      input = whole;
      const found = findHeadEnd(whole, scanned);
      if (!found.ok) return fall("failed", "a malformed response");
      if (found.value === null) {
        scanned = whole.length;
        return;
      }
      input = NO_BYTES;
      scanned = 0;
      const head = parseResponseHead(whole.toString("latin1", 0, found.value));
      if (!head.ok) return fall("failed", "a malformed response");
      rest = whole.subarray(found.value);
      onHead(head.value, rest);
      // A final head has taken what is behind it.
      if (head.value.status >= 200) return;
    }
    if (!isOver && response !== null) onBody(response, rest);
  };

  upstream.owner = {
    onData(bytes): void {
      lastByteAt = performance.now();
      gather(client);
      onBytes(bytes);
      if (!isOver && !release(client)) pause(upstream);
    },
    onEnd: () => onUpstreamEnd("clean"),
    onDrain(): void {
      lastByteAt = performance.now();
      if (!isOver) resume(client);
    },
    onClose: (isClean) => onUpstreamEnd(isClean ? "clean" : "broken"),
  };
  const onUpstreamEnd = (how: "clean" | "broken"): void => {
    if (isOver) return;
    const state: Responding | null = response;
    if (
      how === "clean" && state !== null &&
      state.reader.framing.kind === "until_close"
    ) {
      end({ kind: "done", keepAlive: false, isUpstreamFree: false });
    } else fall("failed", "the origin closed the connection too early");
  };

  context.timed.add(timed);
  gather(upstream);
  sendText(upstream, asking.head);

  return {
    takeBody(bytes): { rest: Buffer | null } | { fault: string } {
      lastByteAt = performance.now();
      gather(upstream);
      const used = readBody(request, bytes, 0, (part) => {
        tally.bytesUp += part.length;
        sendPart(upstream, asking.framing, part);
      });
      if (!used.ok) return { fault: used.error };
      if (request.done && asking.framing.kind === "chunked") {
        sendText(upstream, "0\r\n\r\n");
      }
      if (!release(upstream)) pause(client);
      return {
        rest: used.value < bytes.length ? bytes.subarray(used.value) : null,
      };
    },
    isRequestSent: () => request.done,
    onClientDrain(): void {
      lastByteAt = performance.now();
      if (!isOver) resume(upstream);
    },
    cancel(): void {
      if (isOver) return;
      end({ kind: "cut", detail: "the client went away" });
      abort(upstream);
    },
    refuse(fault): void {
      if (isOver) return;
      end({ kind: response === null ? "refused" : "cut", detail: fault });
      abort(upstream);
    },
  };
}

interface Responding {
  readonly reader: BodyReader;
  readonly towards: Framing;
  readonly keepAlive: boolean;
  readonly isReusable: boolean;
}

/** Sends a piece of a body, as a chunk where the framing is chunks. */
function sendPart(link: Link, framing: Framing, part: Buffer): void {
  if (framing.kind !== "chunked") {
    send(link, part);
    return;
  }
  sendText(link, chunkStart(part.length));
  send(link, part);
  sendText(link, "\r\n");
}
