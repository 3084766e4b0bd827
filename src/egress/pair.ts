/**
 * Two connections joined: what comes on one goes out on the other, each direction at the pace of its reader and ending on its own.
 *
 * @module
 */
import {
  abort,
  finish,
  type Link,
  type LinkOwner,
  pause,
  resume,
  send,
} from "./link.ts";

export interface Pairing {
  readonly client: Link;
  readonly upstream: Link;
  /** Sees each piece of the client. @returns what may go on now, `null` when nothing may yet */
  readonly onUp: (bytes: Buffer) => Buffer | null;
  /** Sees each piece for the client. */
  readonly onDown: (bytes: Buffer) => void;
  /** What `onUp` still holds back when the client has said all. */
  readonly heldBack: () => Buffer | null;
  /** Called once, when both connections are gone. */
  readonly onOver: () => void;
}

/** Joins two connected links. Whatever ended before is seen now. */
export function joinLinks(pairing: Pairing): void {
  const { client, upstream } = pairing;
  let open = 2;
  const owner = (
    to: Link,
    onData: (bytes: Buffer) => void,
    onEnd: () => void,
  ): LinkOwner => ({
    onData,
    onEnd,
    onDrain: () => resume(to),
    onClose(isClean): void {
      if (isClean) {
        onEnd();
        // A link that is gone takes nothing more: its source must not wait for it.
        resume(to);
      } else abort(to);
      if (--open === 0) pairing.onOver();
    },
  });
  const passUp = (bytes: Buffer): void => {
    const passed = pairing.onUp(bytes);
    if (passed !== null && !send(upstream, passed)) pause(client);
  };
  const passDown = (bytes: Buffer): void => {
    pairing.onDown(bytes);
    if (!send(client, bytes)) pause(upstream);
  };
  const endUp = (): void => {
    const rest = pairing.heldBack();
    if (rest !== null) send(upstream, rest);
    finish(upstream);
  };
  client.owner = owner(upstream, passUp, endUp);
  upstream.owner = owner(client, passDown, () => finish(client));
  if (client.isPeerDone) client.owner.onEnd();
  if (upstream.isPeerDone) upstream.owner.onEnd();
  if (client.isClosed) client.owner.onClose(false);
  if (upstream.isClosed) upstream.owner.onClose(false);
  resume(client);
  resume(upstream);
}
