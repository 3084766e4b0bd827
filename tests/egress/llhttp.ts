/**
 * Another HTTP parser to compare ours with: llhttp, the one of Node, which the runtime has as well.
 *
 * @module
 */
type Parser = {
  [event: number]: (...values: never[]) => number | void;
  initialize(kind: number, resource: object, maxHead: number): void;
  execute(bytes: Buffer): number | Error;
  finish(): void | Error;
  close(): void;
};
type ParserClass = {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
};

const { HTTPParser, methods } = (process as unknown as {
  binding(
    name: string,
  ): {
    readonly HTTPParser: ParserClass;
    readonly methods: readonly string[];
  };
}).binding("http_parser");

const MAX_HEAD = 1 << 20;

/** One message as llhttp sees it. */
export type Message = {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  /** Names and values in turn. */
  readonly fields: readonly string[];
  body: string;
  isComplete: boolean;
};

/** The messages in `bytes`, which are all that comes. `null` where llhttp refuses them as no HTTP before the first head is over. */
export function messagesOf(
  kind: "request" | "response",
  bytes: Buffer,
): readonly Message[] | null {
  const parser = new HTTPParser();
  const isRequest = kind === "request";
  parser.initialize(
    isRequest ? HTTPParser.REQUEST : HTTPParser.RESPONSE,
    {},
    MAX_HEAD,
  );
  const messages: Message[] = [];
  let early: string[] = [];
  let url = "";
  parser[HTTPParser.kOnHeaders] = (fields: string[], part: string): void => {
    early = [...early, ...fields];
    url += part;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    fields: string[] | null,
    method: number | null,
    target: string | null,
    status: number | null,
  ): number => {
    messages.push({
      method: methods[method ?? -1] ?? "",
      url: target ?? url,
      status: status ?? 0,
      fields: [...early, ...fields ?? []],
      body: "",
      isComplete: false,
    });
    early = [];
    url = "";
    return 0;
  };
  parser[HTTPParser.kOnBody] = (data: Buffer): void => {
    messages.at(-1)!.body += data.toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    messages.at(-1)!.isComplete = true;
    // Trailers, and the target once more with them.
    early = [];
    url = "";
  };
  const read = parser.execute(bytes);
  if (!(read instanceof Error)) parser.finish();
  parser.close();
  return messages.length === 0 ? null : messages;
}
