/**
 * A TCP connection with a tail: what the kernel did not take waits here, and whoever sends is told to wait too.
 *
 * Raw sockets of the runtime: `write` returns how much was taken and keeps nothing. Both directions end on their own (half-close).
 * The owner of a link is swapped as the conversation goes on.
 *
 * @module
 */
/** Who is told what happens on a link. */
export interface LinkOwner {
  /** Bytes came; they may be kept. */
  readonly onData: (bytes: Buffer) => void;
  /** The peer sends no more; we still may. */
  readonly onEnd: () => void;
  /** The tail is empty again. */
  readonly onDrain: () => void;
  /** Gone in both directions. `isClean`: by the two ends, not by an error or by us. */
  readonly onClose: (isClean: boolean) => void;
}

/** One connection. Only the functions of this file write its fields, but for `owner`. */
export interface Link {
  owner: LinkOwner;
  socket: Bun.Socket<Link> | null;
  /** Bytes that the kernel has not taken. */
  tail: Buffer[];
  tailBytes: number;
  /** Writes of one event, sent as one at its end. */
  gathered: Buffer[] | null;
  isPaused: boolean;
  isEnding: boolean;
  isClosed: boolean;
  /** The peer's FIN was seen. */
  isPeerDone: boolean;
}

const NOTHING = (): void => {};

/** Ignores everything. */
export const NO_OWNER: LinkOwner = {
  onData: NOTHING,
  onEnd: NOTHING,
  onDrain: NOTHING,
  onClose: NOTHING,
};

export function newLink(owner: LinkOwner): Link {
  return {
    owner,
    socket: null,
    tail: [],
    tailBytes: 0,
    gathered: null,
    isPaused: false,
    isEnding: false,
    isClosed: false,
    isPeerDone: false,
  };
}

/** Handlers for `Bun.listen` and `Bun.connect`; `socket.data` is the link. */
export const LINK_HANDLERS = {
  data(socket: Bun.Socket<Link>, bytes: Buffer): void {
    socket.data.owner.onData(bytes);
  },
  drain(socket: Bun.Socket<Link>): void {
    flush(socket.data);
  },
  end(socket: Bun.Socket<Link>): void {
    const link = socket.data;
    if (link.isPeerDone) return;
    link.isPeerDone = true;
    link.owner.onEnd();
  },
  close(socket: Bun.Socket<Link>, error?: unknown): void {
    closed(socket.data, error === undefined || error === null);
  },
  error(socket: Bun.Socket<Link>): void {
    abort(socket.data);
  },
};

/** Takes over a connected descriptor. @returns whether the link stands */
export async function adopt(fd: number, link: Link): Promise<boolean> {
  try {
    await Bun.connect({
      fd,
      allowHalfOpen: true,
      data: link,
      socket: {
        ...LINK_HANDLERS,
        open(socket: Bun.Socket<Link>): void {
          link.socket = socket;
        },
      },
    } as never);
  } catch {
    return false;
  }
  return link.socket !== null && !link.isClosed;
}

/**
 * Takes over a connected descriptor and speaks TLS on it, with the certificate verified for `serverName`.
 *
 * @returns `null` when the link stands, else what went wrong
 */
export function adoptTls(
  fd: number,
  link: Link,
  { serverName, timeoutMs }: {
    readonly serverName: string;
    readonly timeoutMs: number;
  },
): Promise<string | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => end("no TLS handshake in time"), timeoutMs);
    const end = (failure: string | null): void => {
      clearTimeout(timer);
      // First: aborting comes back here through `close`.
      resolve(failure);
      if (failure !== null) abort(link);
    };
    Bun.connect({
      fd,
      allowHalfOpen: true,
      data: link,
      tls: { serverName, rejectUnauthorized: true },
      socket: {
        ...LINK_HANDLERS,
        open(socket: Bun.Socket<Link>): void {
          link.socket = socket;
        },
        handshake(
          socket: Bun.Socket<Link>,
          isDone: boolean,
          error: { readonly code?: string } | null,
        ): void {
          const isVerified = isDone && socket.authorized === true;
          end(isVerified ? null : `TLS failed: ${error?.code ?? "unverified"}`);
        },
        close(socket: Bun.Socket<Link>, error?: unknown): void {
          LINK_HANDLERS.close(socket, error);
          end("the origin closed the connection in the TLS handshake");
        },
      },
    } as never).catch(() => end("TLS failed"));
  });
}

/** Sends bytes. @returns `false` when some of them wait: pause whoever they came from until `onDrain` */
export function send(link: Link, bytes: Buffer): boolean {
  if (link.isClosed || link.isEnding || bytes.length === 0) return true;
  if (link.gathered !== null) {
    link.gathered.push(bytes);
    return link.tail.length === 0;
  }
  if (link.tail.length === 0) {
    const taken = link.socket?.write(bytes) ?? 0;
    if (taken === bytes.length) return true;
    keep(link, taken > 0 ? bytes.subarray(taken) : bytes);
  } else keep(link, bytes);
  return false;
}

/** Sends text, one char per byte. */
export function sendText(link: Link, text: string): boolean {
  return send(link, Buffer.from(text, "latin1"));
}

/** From now on until {@linkcode release}, sends are gathered into one write: heads travel with their bodies. */
export function gather(link: Link): void {
  link.gathered ??= [];
}

export function release(link: Link): boolean {
  const parts = link.gathered;
  link.gathered = null;
  const [first] = parts ?? [];
  if (parts === null || first === undefined) return link.tail.length === 0;
  return send(link, parts.length === 1 ? first : Buffer.concat(parts));
}

/** Ends our direction once everything is sent. */
export function finish(link: Link): void {
  if (link.isEnding || link.isClosed) return;
  release(link);
  link.isEnding = true;
  if (link.tail.length === 0) link.socket?.shutdown();
}

/** Ends both directions at once; the peer sees a reset, so that nobody takes a cut message for a whole one. */
export function abort(link: Link): void {
  if (link.isClosed) return;
  link.tail = [];
  link.tailBytes = 0;
  const { socket } = link;
  closed(link, false);
  socket?.terminate();
}

/** Ends both directions in order: for connections that owe nothing. */
export function closeLink(link: Link): void {
  if (link.isClosed) return;
  const { socket } = link;
  closed(link, false);
  socket?.end();
}

export function pause(link: Link): void {
  if (link.isPaused || link.isClosed) return;
  link.isPaused = true;
  link.socket?.pause();
}

export function resume(link: Link): void {
  if (!link.isPaused || link.isClosed) return;
  link.isPaused = false;
  link.socket?.resume();
}

function keep(link: Link, bytes: Buffer): void {
  link.tail.push(bytes);
  link.tailBytes += bytes.length;
}

function flush(link: Link): void {
  while (!link.isClosed) {
    const [first] = link.tail;
    if (first === undefined) break;
    const taken = link.socket?.write(first) ?? 0;
    if (taken < first.length) {
      if (taken > 0) {
        link.tail[0] = first.subarray(taken);
        link.tailBytes -= taken;
      }
      return;
    }
    link.tail.shift();
    link.tailBytes -= first.length;
  }
  if (link.isClosed) return;
  if (link.isEnding) link.socket?.shutdown();
  link.owner.onDrain();
}

function closed(link: Link, isClean: boolean): void {
  if (link.isClosed) return;
  link.isClosed = true;
  link.tail = [];
  link.tailBytes = 0;
  link.gathered = null;
  link.owner.onClose(isClean);
}
