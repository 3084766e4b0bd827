/**
 * One connection and two that are joined, without a kernel: what waits, in which order it goes out, and how each ends.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  abort,
  closeLink,
  finish,
  gather,
  type Link,
  LINK_HANDLERS,
  release,
  send,
  sendText,
} from "../../src/egress/link.ts";
import { joinLinks } from "../../src/egress/pair.ts";
import { type FakeLink, fakeLink } from "./fake_link.ts";

/** What its owner is told, in order. */
function told(link: Link): string[] {
  const list: string[] = [];
  link.owner = {
    onData: (bytes) => void list.push(`data ${bytes.toString("latin1")}`),
    onEnd: () => void list.push("end"),
    onDrain: () => void list.push("drain"),
    onClose: (isClean) => void list.push(isClean ? "closed" : "broken"),
  };
  return list;
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

test("what is sent while other bytes wait goes out behind them", () => {
  const { link, sent, read } = fakeLink(3);
  expect([sendText(link, "abcdef"), sendText(link, "gh")])
    .toEqual([false, false]);
  read(1);
  read(100);
  expect(sent()).toBe("abcdefgh");
});

test("what was gathered while other bytes wait goes out behind them too", () => {
  const { link, sent, read } = fakeLink(1);
  sendText(link, "ab");
  gather(link);
  sendText(link, "c");
  sendText(link, "d");
  expect(release(link)).toBe(false);
  read(100);
  expect(sent()).toBe("abcd");
});

test("the owner hears of room when all that waited is out, and not before", () => {
  const { link, read } = fakeLink(1);
  const heard = told(link);
  sendText(link, "abc");
  read(1);
  expect(heard).toEqual([]);
  read(1);
  expect(heard).toEqual(["drain"]);
});

test("our direction ends behind what waits, not before it", () => {
  const { link, sent, deeds, read } = fakeLink(2);
  sendText(link, "abcd");
  finish(link);
  expect(deeds).toEqual([]);
  read(100);
  expect([sent(), deeds]).toEqual(["abcd", ["shutdown"]]);
});

test("what was gathered goes out before our direction ends, and nothing after it", () => {
  const { link, sent, deeds } = fakeLink();
  gather(link);
  sendText(link, "last");
  finish(link);
  expect(sendText(link, "late")).toBe(true);
  finish(link);
  expect([sent(), deeds]).toEqual(["last", ["shutdown"]]);
});

test("a reset sends nothing of what waits, and its owner is told once", () => {
  const { link, sent, deeds, read } = fakeLink(1);
  const heard = told(link);
  sendText(link, "abc");
  abort(link);
  abort(link);
  LINK_HANDLERS.close(link.socket!);
  read(100);
  expect([sent(), deeds, heard]).toEqual(["a", ["terminate"], ["broken"]]);
});

test("a link that is closed is closed once, and takes nothing more", () => {
  const { link, sent, deeds } = fakeLink();
  const heard = told(link);
  closeLink(link);
  closeLink(link);
  abort(link);
  expect(send(link, bytes("x"))).toBe(true);
  expect([sent(), deeds, heard]).toEqual(["", ["end"], ["broken"]]);
});

test("a peer that ends is told of once", () => {
  const { link } = fakeLink();
  const heard = told(link);
  LINK_HANDLERS.end(link.socket!);
  LINK_HANDLERS.end(link.socket!);
  expect(heard).toEqual(["end"]);
});

test("an error of the socket is a reset", () => {
  const { link, deeds } = fakeLink();
  const heard = told(link);
  LINK_HANDLERS.error(link.socket!);
  expect([deeds, heard]).toEqual([["terminate"], ["broken"]]);
});

test("a connection that ends in order is told from one that breaks", () => {
  const ends = [undefined, null, new Error("reset")].map((error) => {
    const { link } = fakeLink();
    const heard = told(link);
    LINK_HANDLERS.close(link.socket!, error);
    return heard[0];
  });
  expect(ends).toEqual(["closed", "closed", "broken"]);
});

interface Pair {
  readonly client: FakeLink;
  readonly upstream: FakeLink;
  /** How often the pair was told to be over. */
  readonly overs: () => number;
}

/** @param before done to the links before they are joined */
function join(
  { heldBack = null, before = () => {}, room = Infinity }: {
    readonly heldBack?: string | null;
    readonly before?: (client: Link, upstream: Link) => void;
    readonly room?: number;
  } = {},
): Pair {
  const client = fakeLink();
  const upstream = fakeLink(room);
  let overs = 0;
  before(client.link, upstream.link);
  joinLinks({
    client: client.link,
    upstream: upstream.link,
    onUp: (part) => part,
    onDown: () => {},
    heldBack: () => heldBack === null ? null : bytes(heldBack),
    onOver: () => void overs++,
  });
  return { client, upstream, overs: () => overs };
}

test("what was held back goes out before the end", () => {
  const { client, upstream } = join({ heldBack: "half" });
  LINK_HANDLERS.end(client.link.socket!);
  expect([upstream.sent(), upstream.deeds]).toEqual(["half", ["shutdown"]]);
});

const BEFORE: readonly (readonly [
  "client" | "upstream",
  (link: Link) => void,
  string,
  string,
])[] = [ // whose, what was done, what is done to the other, why
  ["client", (link) => abort(link), "terminate", "it was reset"],
  ["upstream", (link) => abort(link), "terminate", "it was reset"],
  [
    "client",
    (link) => LINK_HANDLERS.end(link.socket!),
    "shutdown",
    "it has said all",
  ],
  [
    "upstream",
    (link) => LINK_HANDLERS.end(link.socket!),
    "shutdown",
    "it has said all",
  ],
];
for (const [whose, deed, answer, why] of BEFORE) {
  test(`what the ${whose} did before two links were joined is a ${answer} to the other: ${why}`, () => {
    const pair = join({
      before: (client, upstream) =>
        deed(whose === "client" ? client : upstream),
    });
    const other = whose === "client" ? pair.upstream : pair.client;
    expect(other.deeds).toEqual([answer as "terminate"]);
  });
}

test("a pair is over when both links are gone, and once", () => {
  const { client, upstream, overs } = join();
  const seen = [overs()];
  LINK_HANDLERS.close(client.link.socket!);
  seen.push(overs());
  LINK_HANDLERS.close(upstream.link.socket!);
  seen.push(overs());
  expect(seen).toEqual([0, 0, 1]);
});

test("a client that was held back for a link that went in order is read again", () => {
  const { client, upstream } = join({ room: 0 });
  client.say("x");
  LINK_HANDLERS.close(upstream.link.socket!);
  expect(client.deeds).toEqual(["pause", "shutdown", "resume"]);
});
