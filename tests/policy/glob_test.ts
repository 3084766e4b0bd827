import { expect, test } from "bun:test";
import fc from "fast-check";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { compileGlob, globPrefix, isGlob } from "../../src/policy/glob.ts";
import { abs } from "../../src/policy/path.ts";
import { matchesPath } from "./matches_path.ts";
import { coreTimeMs } from "../patience.ts";

function matches(pattern: string, path: string): boolean {
  const glob = compileGlob(fromText(pattern));
  if (!glob.ok) throw new Error(glob.error);
  return matchesPath(glob.value, abs(fromText(path)));
}

const MATCHES = [ // pattern, path, matches, why
  ["/w/*.env", "/w/a.env", true, "a star takes a name's part"],
  ["/w/*.env", "/w/.env", true, "also nothing, also at a dot"],
  ["/w/*.env", "/w/d/a.env", false, "a star stays in one level"],
  ["/w/*", "/w/.hidden", true, "hidden names are names"],
  ["/w/*", "/w", false, "the directory itself is not matched"],
  ["/w/?.c", "/w/ä.c", true, "? takes a character, not a byte"],
  ["/w/??.c", "/w/ä.c", false, "nor are its bytes two"],
  ["/w/**/*.env", "/w/a.env", true, "** takes no directory"],
  ["/w/**/*.env", "/w/a/b/c.env", true, "or many"],
  ["/w/**/x/**/y", "/w/x/y", true, "two of them, both empty"],
  ["/w/**/x/**/y", "/w/y/x", false, "order counts"],
  ["/w/**", "/w/a", true, "at the end it takes everything"],
  ["/w/**", "/w/a/b/c", true, "at any depth"],
  ["/w/**", "/w", false, "but not the directory itself"],
  ["/w/**/", "/w/a", true, "a slash at the end changes nothing"],
  ["/w/**.env", "/w/a/b.env", false, "** beside text is one star"],
  ["/w/**.env", "/w/b.env", true, "** beside text is one star"],
  ["/w/***/x", "/w/a/b/x", true, "more stars are no fewer"],
  ["/w/[abc].t", "/w/b.t", true, "a class"],
  ["/w/[a-c].t", "/w/b.t", true, "a range"],
  ["/w/[!a-c].t", "/w/b.t", false, "negated by !"],
  ["/w/[^a-c].t", "/w/d.t", true, "negated by ^"],
  ["/w/[]a].t", "/w/].t", true, "] first is a member"],
  ["/w/[!]a].t", "/w/].t", false, "also when negated"],
  ["/w/[a-].t", "/w/-.t", true, "- last is a member"],
  ["/w/[-a].t", "/w/-.t", true, "- first is a member"],
  ["/w/[ä-ö].t", "/w/é.t", true, "ranges go by code point"],
  ["/w/[!a].t", "/w/ö.t", true, "a negated class takes one character"],
  ["/w/a[b", "/w/a[b", true, "an unclosed [ is itself"],
  ["/w/a]b*", "/w/a]b", true, "a stray ] is itself"],
  ["/w/*.{env,txt}", "/w/a.txt", true, "alternatives"],
  ["/w/*.{env,txt}", "/w/a.tx", false, "no more than those"],
  ["/w/{a,b/c}/*", "/w/b/c/x", true, "alternatives may hold a slash"],
  ["/w/{a,{b,c}d}*", "/w/cdx", true, "braces nest"],
  ["/w/x{,y}*", "/w/x", true, "an alternative may be empty"],
  ["/w/a,b*", "/w/a,b", true, "a comma outside braces is itself"],
  [
    "/w/\\*x*",
    "/w/*xy",
    true,
    "a backslash takes the next character as itself",
  ],
  ["/w/\\*x*", "/w/axy", false, "and nothing else"],
  ["/w/A*", "/w/a", false, "case counts"],
  ["/*.pem", "/a.pem", true, "below the root"],
  ["/w/x*", "/wide/x", false, "a prefix is a whole component"],
  ["/w/.//*.a", "/w/x.a", true, "a dot component names nothing"],
] as const;

for (const [pattern, path, expected, why] of MATCHES) {
  test(`${pattern} ${expected ? "matches" : "leaves"} ${path}: ${why}`, () => {
    expect(matches(pattern, path)).toBe(expected);
  });
}

const REFUSED = [ // pattern, part of the message
  ["/w/a[z-a]", 'invalid range "z-a"'],
  ["/w/{a*", 'a "{" without "}"'],
  ["/w/a}*", 'a "}" without "{"'],
  ["/w/*\\", "ends with a backslash"],
  ["/w/*/../x", 'a component ".."'],
  ["w/*", "must be absolute"],
  ["/w/{*,}", "its own directory"],
  [`/w${"/*".repeat(31)}`, "more than 30 components"],
  [`/w/*${"{a,b}".repeat(9)}`, "more than 256 alternatives"],
  [`/w/*${"{".repeat(40)}${"}".repeat(40)}`, "too deep"],
  [`/w/*${"x".repeat(5000)}`, "longer than 4096 bytes"],
] as const;

for (const [pattern, part] of REFUSED) {
  test(`${pattern.slice(0, 40)} is refused: ${part}`, () => {
    const glob = compileGlob(fromText(pattern));
    const message = glob.ok ? "" : glob.error;
    expect(message).toStartWith('error parsing glob "');
    expect(message).toContain(part);
  });
}

const PREFIXES = [ // pattern, prefix, why
  ["/w/a/*.env", "/w/a", "up to the slash before the first star"],
  ["/w/a*/b", "/w", "a component is plain or not"],
  ["/*", "/", "the root"],
  ["/w/{a,b}/*", "/w", "braces of a glob are no plain text"],
  ["/w/a\\*b/*", "/w/a*b", "an escaped character is plain text"],
  ["/w/x]/*", "/w", "nor is a bracket"],
] as const;

for (const [pattern, prefix, why] of PREFIXES) {
  test(`the prefix of ${pattern} is ${prefix}: ${why}`, () => {
    expect(globPrefix(fromText(pattern))).toBe(abs(prefix));
  });
}

test("braces alone make no glob", () => {
  expect(["/w/a{b,c}", "/w/*", "/w/?", "/w/[", "/w/]"].map(isGlob)).toEqual([
    false,
    true,
    true,
    true,
    true,
  ]);
});

test("a name that is not UTF-8 is compared by its bytes", () => {
  const glob = compileGlob("/w/?\xff*.env" as ByteString);
  if (!glob.ok) throw new Error(glob.error);
  expect(matchesPath(glob.value, abs("/w/\xc3\xa4\xff\xfe.env"))).toBe(true);
  expect(matchesPath(glob.value, abs("/w/\xc3\xa4\xfe.env"))).toBe(false);
  const any = compileGlob(fromText("/w/*.env"));
  if (!any.ok) throw new Error(any.error);
  expect(matchesPath(any.value, abs("/w/\xff\x80.env"))).toBe(true);
});

test("many stars against a long name end soon", () => {
  const pattern = `/w/${"*a".repeat(100)}*b`;
  const costMs = coreTimeMs(() => {
    expect(matches(pattern, `/w/${"a".repeat(5_000)}`)).toBe(false);
  });
  expect(costMs).toBeLessThan(500);
});

/** The definition, written for reading only: what does the pattern's first element leave of the path? */
function naive(pattern: string, path: string): boolean {
  if (pattern === "") return path === "";
  if (pattern.startsWith("**/")) {
    if (naive(pattern.slice(3), path)) return true;
    const slash = path.indexOf("/");
    return slash > 0 && naive(pattern, path.slice(slash + 1));
  }
  if (pattern === "**") return path !== "";
  const [first, rest] = [pattern[0], pattern.slice(1)];
  if (first === "*") {
    if (naive(rest, path)) return true;
    return path !== "" && path[0] !== "/" && naive(pattern, path.slice(1));
  }
  if (path === "") return false;
  if (first === "?") return path[0] !== "/" && naive(rest, path.slice(1));
  if (first === "[") {
    const end = pattern.indexOf("]", 2);
    const set = pattern.slice(1, end);
    const isNegated = set.startsWith("!");
    const isIn = (isNegated ? set.slice(1) : set).includes(path[0] ?? "");
    return path[0] !== "/" && isIn !== isNegated &&
      naive(pattern.slice(end + 1), path.slice(1));
  }
  return first === path[0] && naive(rest, path.slice(1));
}

test("matching agrees with the definition", () => {
  const piece = fc.constantFrom("a", "b", ".", "*", "?", "[ab]", "[!a]");
  const component = fc.oneof(
    { weight: 4, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constant(["**"]) },
  ).map((parts) => parts.join(""))
    // Stars that meet are one star there, and dots alone are no name.
    .filter((text) => text === "**" || !/\*\*|^\.+$/.test(text));
  const pattern = fc.array(component, { minLength: 1, maxLength: 4 })
    .filter((parts) => !parts.join("/").includes("**/**"));
  const name = fc.array(fc.constantFrom("a", "b", "."), {
    minLength: 1,
    maxLength: 4,
  }).map((parts) => parts.join("")).filter((text) => !/^\.+$/.test(text));
  const path = fc.array(name, { minLength: 1, maxLength: 4 });
  let hits = 0;
  fc.assert(
    fc.property(pattern, path, (parts, names) => {
      const expected = naive(parts.join("/"), names.join("/"));
      if (expected) hits++;
      const found = matches(`/w/${parts.join("/")}`, `/w/${names.join("/")}`);
      expect(found).toBe(expected);
    }),
    { numRuns: 5_000, seed: 4 },
  );
  expect(hits).toBeGreaterThan(200);
});
