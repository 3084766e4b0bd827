/**
 * Names to addresses for the proxy: c-ares, many at once, equal questions merged, with a time limit each.
 *
 * The runtime's default resolver has four threads, so four slow names would block everybody (measured); c-ares had 64 slow ones in
 * flight and answered in 22 ms. It reads the hosts file and asks DNS, without NSS plug-ins.
 *
 * @module
 */
import { type Address, parseAddress } from "../policy/address.ts";
import { fail, ok, type Result } from "../result.ts";

/** Names to addresses, in the order of the answer. The failure is a word for the log: `ENOTFOUND`, `ETIMEDOUT`. */
export type Resolve = (
  name: string,
) => Promise<Result<readonly Address[], string>>;

/** How much is asked at once, and how long. */
export interface ResolverLimits {
  readonly dnsMs: number;
  readonly dnsInFlight: number;
}

/** One question to the system; rejects or answers with an empty list when there is nothing. */
export type Lookup = (
  name: string,
) => Promise<readonly { readonly address: string }[]>;

/** A resolver over `lookup`. */
export function createResolver(
  limits: ResolverLimits,
  lookup: Lookup = lookUpByCares,
): Resolve {
  const asked = new Map<
    string,
    Promise<Result<readonly Address[], string>>
  >();
  const waiting: (() => void)[] = [];
  let inFlight = 0;

  const ask = async (
    name: string,
    deadline: number,
  ): Promise<Result<readonly Address[], string>> => {
    while (inFlight >= limits.dnsInFlight) {
      await new Promise<void>((resolve) => waiting.push(resolve));
      if (performance.now() < deadline) continue;
      // Nobody waits for the answer any more: whoever does is not kept behind it.
      waiting.shift()?.();
      return fail("ETIMEDOUT");
    }
    inFlight++;
    try {
      return await withLimit(
        lookup(name).then(toAddresses, toFailure),
        limits.dnsMs,
      );
    } finally {
      // Not when the resolver itself is done: silent servers keep it busy for 20 s, and others would wait behind them.
      inFlight--;
      waiting.shift()?.();
    }
  };

  return (name) => {
    const known = asked.get(name);
    if (known !== undefined) return known;
    // To wait for a turn, which comes at the latest when those before it had their time.
    const patienceMs = 2 * limits.dnsMs;
    const question = ask(name, performance.now() + patienceMs).finally(() =>
      asked.delete(name)
    );
    asked.set(name, question);
    return question;
  };
}

async function withLimit(
  answer: Promise<Result<readonly Address[], string>>,
  limitMs: number,
): Promise<Result<readonly Address[], string>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<Result<readonly Address[], string>>((resolve) => {
    timer = setTimeout(() => resolve(fail("ETIMEDOUT")), limitMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function lookUpByCares(
  name: string,
): Promise<readonly { readonly address: string }[]> {
  return Bun.dns.lookup(name, { backend: "c-ares" });
}

function toAddresses(
  answers: readonly { readonly address: string }[],
): Result<readonly Address[], string> {
  const addresses: Address[] = [];
  for (const { address } of answers) {
    const parsed = parseAddress(address);
    // An address that we can't read can't be judged either: the whole answer is unusable.
    if (parsed === null) return fail("EBADRESP");
    addresses.push(parsed);
  }
  return addresses.length === 0 ? fail("ENOTFOUND") : ok(addresses);
}

function toFailure(error: unknown): Result<readonly Address[], string> {
  const code = error instanceof Error && "code" in error
    ? String(error.code)
    : "";
  return fail(code.replace(/^DNS_/, "") || "ENOTFOUND");
}
