/**
 * The helper's words: what is accepted means the same in its plainest spelling, and the command comes out as it went in.
 *
 * @module
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { ByteString } from "../../src/bytes.ts";
import { FLAGS } from "../../src/cli/flags.ts";
import { parseHelperOptions } from "../../src/cli/helper_options.ts";
import { parseSandboxOptions } from "../../src/cli/sandbox_options.ts";
import { parseWords } from "../../src/cli/parse.ts";
import { fuzz, FUZZ_TIMEOUT_MS } from "../fuzzing.ts";

const RUNS = 5_000;
const WORDS = [
  "--",
  "-",
  "-h",
  "--help",
  "-C",
  "-C=d",
  "-P",
  ":workspace",
  "{}",
  "true",
  "=",
  "",
  "-x",
  "\xff",
];

const flagsOf = (command: "helper" | "sandbox") =>
  FLAGS.filter(({ commands }) =>
    (commands as readonly string[]).includes(command)
  );
const TOKENS = [
  "\0",
  ...WORDS.map((word) => `\0${word}\0`),
  ...FLAGS.map(({ long }) => `\0--${long}\0`),
  ...FLAGS.map(({ long }) => `\0--${long}=`),
].map((text) => Buffer.from(text, "latin1"));

/** Words of one command, divided by NUL as the kernel divides them. */
function grammar(command: "helper" | "sandbox"): fc.Arbitrary<Buffer> {
  const value = fc.constantFrom(...WORDS, "/w", "a=1", '{"a":1}');
  const flag = fc.tuple(
    fc.constantFrom(...flagsOf(command)),
    value,
    fc.boolean(),
  )
    .map(([{ long, value: takes }, given, isAttached]) =>
      takes === null
        ? [`--${long}`]
        : isAttached
        ? [`--${long}=${given}`]
        : [`--${long}`, given]
    );
  const policy = command === "helper"
    ? ["--sandbox-policy-cwd", "/w", "--permission-profile", "{}"]
    : [];
  return fc.tuple(
    fc.boolean(),
    fc.uniqueArray(flag, {
      maxLength: 4,
      selector: ([word]) => word!.split("=")[0],
    }),
    fc.boolean(),
    fc.array(value, { minLength: 1, maxLength: 4 }),
  ).map(([isWhole, flags, isDivided, rest]) =>
    Buffer.from(
      [
        ...(isWhole ? policy : []),
        ...flags.flat(),
        ...(isDivided ? ["--"] : []),
        ...rest,
      ].join("\0"),
      "latin1",
    )
  );
}

for (const command of ["helper", "sandbox"] as const) {
  test(
    `what ${command} accepts means the same in its plainest spelling`,
    () => {
      const parse = command === "helper"
        ? parseHelperOptions
        : parseSandboxOptions;
      let accepted = 0;
      const tried = fuzz({
        room: "helper_argv",
        seed: command === "helper" ? 61 : 62,
        runs: RUNS,
        tokens: TOKENS,
        grammar: grammar(command),
        maxBytes: 1_000,
      }, (bytes) => {
        const words = bytes.toString("latin1").split("\0") as ByteString[];
        const options = parse(words);
        if (!options.ok) {
          // deno-lint-ignore no-control-regex
          expect(options.error.message).not.toMatch(/[\0-\x1f\x7f]|^$/);
          return;
        }
        const parsed = parseWords(command, words, "first_positional");
        if (!parsed.ok) throw new Error("the words alone are refused");
        if (parsed.value.wantsHelp) return;
        accepted++;
        const { ordered, rest } = parsed.value;
        // The command is the end of what came, word for word.
        expect(rest).toEqual(words.slice(words.length - rest.length));
        const plainest = [
          ...ordered.map(({ long, value }) =>
            flagsOf(command).find((flag) => flag.long === long)!.value === null
              ? `--${long}`
              : `--${long}=${value}`
          ),
          "--",
          ...rest,
        ] as ByteString[];
        expect(parse(plainest)).toEqual(options as never);
      });
      expect(accepted).toBeGreaterThan(tried / 50);
    },
    FUZZ_TIMEOUT_MS,
  );
}
