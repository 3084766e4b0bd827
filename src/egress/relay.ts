/**
 * A plain byte relay from listeners inside the network namespace to a caller's own proxy on the host's loopback.
 *
 * For callers of `codex-linux-sandbox` that bring their proxy (`routes.ts`): nothing is read or judged here, the caller's proxy does.
 * Only what the routes dial can be reached.
 *
 * @module
 */
import type { Result } from "../result.ts";
import {
  abort,
  adopt,
  type Link,
  newLink,
  NO_OWNER,
  pause,
  send,
} from "./link.ts";
import { listen } from "./listener.ts";
import { joinLinks } from "./pair.ts";

/** What a relay is made of. */
export interface RelayParts {
  /** Listening, non-blocking sockets, owned by the relay from then on, each with the way to the proxy that it leads to. */
  readonly routes: readonly { readonly fd: number; readonly dial: Dial }[];
  /** Sent first on every connection to the caller's proxy: the attribution frame. */
  readonly preface: Buffer | null;
  /** Most clients at once. */
  readonly connections: number;
}

/** Connects. @returns a non-blocking descriptor, or the errno's name */
export type Dial = () => Promise<Result<number, string>>;

export interface RunningRelay {
  /** Stops accepting, resets what is open. */
  readonly close: () => Promise<void>;
}

/** Starts relaying. @throws when a descriptor is no listening socket */
export function startRelay(parts: RelayParts): RunningRelay {
  const open = new Set<Link>();
  let isClosed = false;
  const over = (client: Link): void => {
    open.delete(client);
    if (isClosed || open.size >= parts.connections) return;
    for (const listener of listeners) listener.resume();
  };
  const listeners = parts.routes.map(({ fd, dial }) =>
    listen(fd, (client) => {
      if (isClosed) return abort(client);
      open.add(client);
      void relay(parts, client, dial, () => over(client));
      if (open.size < parts.connections) return;
      // The next ones wait in the kernel's queue.
      for (const listener of listeners) listener.pause();
    })
  );
  return {
    close(): Promise<void> {
      isClosed = true;
      for (const listener of listeners) listener.close();
      for (const link of [...open]) abort(link);
      // Sockets are closed at the end of the event loop's turn.
      return new Promise((resolve) => setImmediate(resolve));
    },
  };
}

async function relay(
  parts: RelayParts,
  client: Link,
  dial: Dial,
  onOver: () => void,
): Promise<void> {
  // Bytes wait in the kernel until there is somewhere to send them.
  pause(client);
  const dialled = await dial();
  const upstream = newLink(NO_OWNER);
  if (!dialled.ok || !await adopt(dialled.value, upstream)) {
    abort(client);
    return onOver();
  }
  if (parts.preface !== null) send(upstream, parts.preface);
  joinLinks({
    client,
    upstream,
    onUp: (bytes) => bytes,
    onDown: () => {},
    heldBack: () => null,
    onOver,
  });
}
