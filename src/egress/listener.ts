/**
 * A listening socket that somebody else made, accepted on in this process's event loop.
 *
 * @module
 */
import { close, duplicate } from "../sys/calls.ts";
import { deepen } from "../sys/sockets.ts";
import { type Link, LINK_HANDLERS, newLink, NO_OWNER } from "./link.ts";

/** A listening socket that can be left alone for a while: its connections then queue in the kernel. */
export interface Listener {
  readonly pause: () => void;
  readonly resume: () => void;
  readonly close: () => void;
}

/**
 * Accepts on a listening socket, which belongs to the listener from then on.
 *
 * @throws when `fd` is no listening socket
 */
export function listen(fd: number, onOpen: (link: Link) => void): Listener {
  // The runtime can only close a listener: this copy keeps the socket listening meanwhile.
  const kept = duplicate(fd, 3);
  let running: Accepting | null = acceptOn(fd, onOpen);
  const pauseIt = (): void => {
    // Without the copy nobody could be waited for.
    if (!kept.ok || running === null) return;
    running.stop(false);
    running = null;
  };
  return {
    pause: pauseIt,
    resume(): void {
      if (running !== null || !kept.ok) return;
      const copy = duplicate(kept.value, 3);
      // Without a free descriptor the next client that ends asks again.
      if (copy.ok) running = acceptOn(copy.value, onOpen);
    },
    close(): void {
      running?.stop(false);
      if (kept.ok) close(kept.value);
    },
  };
}

interface Accepting {
  readonly stop: (closeActive: boolean) => void;
}

function acceptOn(fd: number, onOpen: (link: Link) => void): Accepting {
  const listener = Bun.listen({
    fd,
    allowHalfOpen: true,
    socket: {
      ...LINK_HANDLERS,
      open(socket: Bun.Socket<Link>): void {
        const link = newLink(NO_OWNER);
        link.socket = socket;
        socket.data = link;
        onOpen(link);
      },
    },
  } as never);
  deepen(fd);
  return listener;
}
