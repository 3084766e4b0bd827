/**
 * CONNECT: decided, dialled, and both links handed to a tunnel.
 *
 * @module
 */
import type { Endpoint } from "../policy/host.ts";
import { decide, type Target } from "../policy/network.ts";
import { type AnswerContext, blockedTunnel, tunnelOpen } from "./answers.ts";
import { newTally, reportDenied, reportDone, type Tally } from "./context.ts";
import {
  CLIENT_GONE,
  over,
  sayFailure,
  sayGoodbye,
  type Session,
} from "./http_client.ts";
import type { RequestHead } from "./http_head.ts";
import { abort, type Link, sendText } from "./link.ts";
import { openTunnel } from "./open_upstream.ts";
import { joinTunnel } from "./tunnel.ts";

/** Serves a CONNECT: a tunnel, or the reason why there is none. */
export function serveTunnel(
  session: Session,
  head: RequestHead,
  endpoint: Endpoint,
): void {
  const { context } = session;
  const answering: AnswerContext = { version: head.version, keepAlive: false };
  const target: Target = { ...endpoint, protocol: "connect" };
  const decision = decide(
    context.policy,
    target,
    context.dialer.ownAddresses(),
  );
  const tally = newTally(
    "connect",
    endpoint,
    "CONNECT",
    decision.verdict === "allow" ? decision.rule.written : null,
  );
  if (decision.verdict === "deny") {
    reportDenied(context, tally, decision);
    return sayGoodbye(session, blockedTunnel(decision, answering));
  }
  session.phase = { kind: "dialling" };
  openTunnel(context, target, tally).then((opened) => {
    if (session.isOver) {
      if (opened.ok) abort(opened.link);
      return reportDone(context, tally, CLIENT_GONE);
    }
    if (!opened.ok) {
      return sayFailure(session, tally, opened.failure, answering);
    }
    session.phase = { kind: "tunnel" };
    const early = session.input;
    session.input = null;
    sendText(
      session.client,
      tunnelOpen(head.version, new Date().toUTCString()),
    );
    handOver(session, opened.link, target, tally, {
      fromClient: early,
      fromUpstream: opened.early,
      serverNames: "checked",
    });
  });
}

/** From here on the tunnel owns both links, and the session is over with it. */
export function handOver(
  session: Session,
  upstream: Link,
  target: Target,
  tally: Tally,
  early: {
    readonly fromClient: Buffer | null;
    readonly fromUpstream: Buffer | null;
    readonly serverNames: "checked" | "unchecked";
  },
): void {
  session.context.timed.delete(session.timed);
  joinTunnel({
    context: session.context,
    client: session.client,
    upstream,
    target,
    tally,
    ...early,
    onOver: () => over(session),
  });
}
