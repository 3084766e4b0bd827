/**
 * One client of the SOCKS5 listener: greeting, request, then a tunnel.
 *
 * @module
 */
import { decide, type Target } from "../policy/network.ts";
import {
  newTally,
  type ProxyContext,
  reportDenied,
  reportDone,
  reportUnservable,
  type Timed,
  type Unservable,
} from "./context.ts";
import { describeAddress } from "./dial.ts";
import { CLIENT_GONE } from "./http_client.ts";
import {
  abort,
  adopt,
  closeLink,
  finish,
  type Link,
  newLink,
  NO_OWNER,
  pause,
  send,
} from "./link.ts";
import {
  methodReply,
  readGreeting,
  readSocksRequest,
  REPLY,
  type ReplyCode,
  replyOfErrno,
  socksReply,
} from "./socks5.ts";
import { joinTunnel } from "./tunnel.ts";
import type { Endpoint } from "../policy/host.ts";

/** Bytes that a client may send before its tunnel is open. */
const MAX_EARLY_BYTES = 65_536;

/** Serves a client until its connection ends. @param onOver called once */
export function serveSocks(
  context: ProxyContext,
  client: Link,
  onOver: () => void,
): void {
  let input = Buffer.alloc(0);
  let phase: "greeting" | "request" | "dialling" | "closing" = "greeting";
  let isOver = false;
  const over = (): void => {
    if (isOver) return;
    isOver = true;
    context.timed.delete(timed);
    onOver();
  };
  const timed: Timed = {
    expiresAt: performance.now() + context.limits.headMs,
    onExpire(): void {
      if (phase === "request" || input.length > 0 && phase === "greeting") {
        reportBad("malformed", "it did not come in time");
      }
      closeLink(client);
    },
  };
  context.timed.add(timed);

  /** Reports what names nothing that the policy could be asked about. */
  const reportBad = (reason: Unservable["reason"], detail: string): void =>
    reportUnservable(context, {
      protocol: "socks5",
      endpoint: null,
      method: null,
      reason,
      detail,
    });

  const onForeign = (): void => {
    reportBad("malformed", "it is no SOCKS5");
    closeLink(client);
  };

  const refuse = (code: ReplyCode): void => {
    phase = "closing";
    timed.expiresAt = performance.now() + context.limits.lingerMs;
    send(client, socksReply(code));
    finish(client);
    if (client.isPeerDone) closeLink(client);
  };

  const onUnsupported = (command: string, endpoint: Endpoint | null): void => {
    reportUnservable(context, {
      protocol: "socks5",
      endpoint,
      method: command,
      reason: "not_supported",
      detail: `SOCKS ${command} is not supported, only TCP connections are`,
    });
    refuse(REPLY.COMMAND_NOT_SUPPORTED);
  };

  const onRequest = (endpoint: Endpoint): void => {
    const target: Target = { ...endpoint, protocol: "socks5" };
    const decision = decide(
      context.policy,
      target,
      context.dialer.ownAddresses(),
    );
    const rule = decision.verdict === "allow" ? decision.rule.written : null;
    const tally = newTally("socks5", endpoint, null, rule);
    if (decision.verdict === "deny") {
      reportDenied(context, tally, decision);
      return refuse(REPLY.NOT_ALLOWED);
    }
    phase = "dialling";
    timed.expiresAt = Infinity;
    context.dialer.dial(target).then(async (dialled) => {
      if (!dialled.ok) {
        if (dialled.error.kind === "denied") {
          reportDenied(context, tally, dialled.error.denial);
          if (!isOver) refuse(REPLY.NOT_ALLOWED);
          return;
        }
        reportDone(context, tally, dialled.error.detail);
        if (!isOver) {
          refuse(
            dialled.error.kind === "dns"
              ? REPLY.HOST_UNREACHABLE
              : replyOfErrno(dialled.error.errno),
          );
        }
        return;
      }
      tally.address = describeAddress(dialled.value);
      let early: Buffer | null = null;
      const upstream = newLink({
        ...NO_OWNER,
        onData(bytes): void {
          early = early === null ? bytes : Buffer.concat([early, bytes]);
        },
      });
      const isAdopted = await adopt(dialled.value.fd, upstream);
      if (isOver) {
        abort(upstream);
        return reportDone(context, tally, CLIENT_GONE);
      }
      if (!isAdopted) {
        reportDone(context, tally, "the origin closed the connection at once");
        return refuse(REPLY.CONNECTION_REFUSED);
      }
      context.timed.delete(timed);
      send(client, socksReply(REPLY.SUCCEEDED));
      joinTunnel({
        context,
        client,
        upstream,
        target,
        tally,
        serverNames: "checked",
        fromClient: input.length > 0 ? input : null,
        fromUpstream: early,
        onOver: over,
      });
    });
  };

  const read = (): void => {
    if (phase === "greeting") {
      const greeting = readGreeting(input);
      if (greeting.kind === "more") return;
      if (greeting.kind === "foreign") return onForeign();
      input = input.subarray(greeting.used);
      send(
        client,
        methodReply(greeting.kind === "accepted" ? "accepted" : "no_method"),
      );
      if (greeting.kind === "no_method") {
        reportBad("not_supported", "SOCKS5 with a login is not supported");
        phase = "closing";
        timed.expiresAt = performance.now() + context.limits.lingerMs;
        return finish(client);
      }
      phase = "request";
    }
    if (phase !== "request") return;
    const request = readSocksRequest(input);
    switch (request.kind) {
      case "more":
        return;
      case "foreign":
        return onForeign();
      case "refused":
        reportBad("malformed", request.what);
        return refuse(request.code);
      case "unsupported":
        return onUnsupported(request.command, request.endpoint);
      case "connect":
        input = input.subarray(request.used);
        return onRequest(request.endpoint);
    }
  };

  client.owner = {
    onData(bytes): void {
      if (phase === "closing") return;
      input = Buffer.concat([input, bytes]);
      if (phase !== "dialling") read();
      else if (input.length > MAX_EARLY_BYTES) pause(client);
    },
    onEnd(): void {
      // While dialling a client may have said all it has to say.
      if (phase !== "dialling") closeLink(client);
    },
    onDrain: () => {},
    onClose: over,
  };
  if (client.isClosed) over();
}
