/**
 * `[permissions.NAME.filesystem]` to the entries of a permission profile.
 *
 * Pure. Workspace roots are written out as paths, as the wire format has them; other symbols stay symbols. Entries come in byte
 * order of their keys, copies for further workspace roots behind them.
 *
 * @module
 */
import { type ByteString, fromText, isAscii } from "../bytes.ts";
import { type AbsPath, toAbsPath } from "../policy/path.ts";
import type { Access, Entry, EntryPath, Origin } from "../policy/policy.ts";
import { escapeGlob, isGlob } from "../policy/glob.ts";
import type { TomlTable } from "./config.ts";
import type { Fault } from "./layers.ts";
import { isTable } from "./values.ts";

/** What the keys of a filesystem table stand for. */
export interface EntryContext {
  readonly home: AbsPath | null;
  /** Working directory first. */
  readonly workspaceRoots: readonly AbsPath[];
  /** Where `filesystem.KEY` or `filesystem.KEY.SUBPATH` was written. */
  readonly originOf: (path: readonly string[]) => Origin;
}

/** The entries of a table whose types are right, and what is wrong with the rest. */
export function entriesOf(
  table: TomlTable,
  context: EntryContext,
): { readonly entries: readonly Entry[]; readonly faults: readonly Fault[] } {
  const building: Building = { context, entries: [], copies: [], faults: [] };
  for (const key of inByteOrder(Object.keys(table))) {
    if (key === "glob_scan_max_depth") continue;
    const value = table[key]!;
    if (!isTable(value)) {
      addLine(building, key, null, accessOf(value as string));
      continue;
    }
    for (const subpath of inByteOrder(Object.keys(value))) {
      addLine(building, key, subpath, accessOf(value[subpath] as string));
    }
  }
  const { entries, copies, faults } = building;
  return { entries: [...entries, ...copies], faults };
}

/** An absolute path, or one below the home; `null` when the text is neither. */
export function pathOf(text: string, home: AbsPath | null): AbsPath | null {
  if (text !== "~" && !text.startsWith("~/")) return toAbsPath(fromText(text));
  return home === null ? null : toAbsPath(`${home}${fromText(text.slice(1))}`);
}

/**
 * A deny line as requirements have them: an absolute path, one below the home, or a glob of either. `null` when it is none.
 */
export function denyPathOf(
  text: string,
  home: AbsPath | null,
): EntryPath | null {
  if (!isGlob(text)) {
    const path = pathOf(text, home);
    return path === null ? null : { kind: "path", path };
  }
  const pattern = patternOf(text, home);
  return pattern === null ? null : { kind: "glob_pattern", pattern };
}

interface Building {
  readonly context: EntryContext;
  readonly entries: Entry[];
  readonly copies: Entry[];
  readonly faults: Fault[];
}

function addLine(
  building: Building,
  key: string,
  subpath: string | null,
  access: Access,
): void {
  const steps = subpath === null ? [key] : [key, subpath];
  const origin = building.context.originOf(steps);
  const below = subpath === "." ? null : subpath;
  const subpathFault = below === null ? null : faultOfSubpath(below);
  if (subpathFault !== null) {
    building.faults.push({ severity: "error", origin, message: subpathFault });
    return;
  }
  const line: Line = { key, below, access, origin };
  if (key.startsWith(":")) addSymbol(building, line);
  else addPath(building, line);
}

interface Line {
  readonly key: string;
  readonly below: string | null;
  readonly access: Access;
  readonly origin: Origin;
}

function addSymbol(building: Building, line: Line): void {
  const { key, below, access, origin } = line;
  switch (key) {
    case ":root":
    case ":minimal":
    case ":tmpdir":
    case ":slash_tmp":
      if (below !== null) {
        refuse(
          building,
          line,
          `filesystem path \`${key}\` does not support nested entries`,
        );
        return;
      }
      building.entries.push({
        path: { kind: "special", value: { kind: SYMBOL_KINDS[key] } },
        access,
        origin,
      });
      return;
    case ":workspace_roots":
    case ":project_roots":
      building.context.workspaceRoots.forEach((root, index) => {
        const list = index === 0 ? building.entries : building.copies;
        const path = underRoot(building, line, root, index === 0);
        if (path !== null) list.push({ path, access, origin });
      });
      return;
    default:
      building.entries.push({
        path: {
          kind: "special",
          value: {
            kind: "unknown",
            path: fromText(key),
            ...(below === null ? {} : { subpath: fromText(below) }),
          },
        },
        access,
        origin,
      });
  }
}

const SYMBOL_KINDS = {
  ":root": "root",
  ":minimal": "minimal",
  ":tmpdir": "tmpdir",
  ":slash_tmp": "slash_tmp",
} as const;

/** A line of `:workspace_roots` for one root. Faults are the same for all, so only the first reports. */
function underRoot(
  building: Building,
  line: Line,
  root: AbsPath,
  isFirst: boolean,
): EntryPath | null {
  const { below, access } = line;
  if (below === null) return { kind: "path", path: root };
  const bytes = fromText(below);
  if (!isGlob(below)) return asPath(building, line, `${root}/${bytes}`);
  if (access === "deny") {
    const pattern = `${escapeGlob(root)}/${squeezed(bytes)}` as ByteString;
    return { kind: "glob_pattern", pattern };
  }
  const subtree = subtreeOf(bytes);
  if (subtree === null) {
    if (isFirst) refuse(building, line, onlyDeny(below, access));
    return null;
  }
  return asPath(building, line, `${root}/${subtree}`);
}

function addPath(building: Building, line: Line): void {
  const { key, below, access, origin } = line;
  const { home } = building.context;
  const isHome = key === "~" || key.startsWith("~/");
  if (!key.startsWith("/") && !isHome) {
    refuse(
      building,
      line,
      `filesystem path \`${key}\` must be absolute, use \`~/...\`, or start with \`:\``,
    );
    return;
  }
  if (isHome && home === null) {
    refuse(
      building,
      line,
      `filesystem path \`${key}\` needs a home directory: HOME is not set and the user has no passwd entry`,
    );
    return;
  }
  const text = below === null ? key : `${key}/${below}`;
  let path: EntryPath | null;
  if (!isGlob(text)) {
    path = asPath(building, line, pathOf(text, home) ?? "");
  } else if (access === "deny") {
    const pattern = patternOf(text, home);
    path = pattern === null ? null : { kind: "glob_pattern", pattern };
    if (pattern === null) {
      refuse(
        building,
        line,
        `filesystem glob path \`${text}\` must not hold a NUL or \`..\` behind a wildcard`,
      );
    }
  } else {
    const subtree = subtreeOf(text);
    path = subtree === null ? null : asPath(
      building,
      line,
      pathOf(subtree === "" ? "/" : subtree, home) ?? "",
    );
    if (subtree === null) refuse(building, line, onlyDeny(text, access));
  }
  if (path !== null) building.entries.push({ path, access, origin });
}

/** A normalised absolute pattern, the home in it literal. */
function patternOf(text: string, home: AbsPath | null): ByteString | null {
  const isHome = text.startsWith("~/");
  if (isHome && home === null) return null;
  return normalPattern(
    isHome ? `${escapeGlob(home!)}${fromText(text.slice(1))}` : fromText(text),
  );
}

/** `.`, `//` and a trailing `/` folded, `..` too where it follows a fixed name; `null` where it doesn't, and on a NUL. */
function normalPattern(text: string): ByteString | null {
  const kept: string[] = [];
  for (const part of text.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.length > 0 && isGlob(kept.pop()!)) return null;
  }
  const pattern = `/${kept.join("/")}` as ByteString;
  return pattern.includes("\0") ? null : pattern;
}

function asPath(
  building: Building,
  line: Line,
  bytes: string,
): EntryPath | null {
  const path = toAbsPath(bytes);
  if (path !== null) return { kind: "path", path };
  refuse(building, line, "filesystem path must not hold a NUL");
  return null;
}

/** The path before a trailing `/**`, `null` when anything else in it is a glob. */
function subtreeOf(text: string): string | null {
  const cut = text.endsWith("/**") ? text.slice(0, -3) : text;
  return isGlob(cut) ? null : cut;
}

function onlyDeny(path: string, access: Access): string {
  return `filesystem glob path \`${path}\` only supports \`deny\` access; use an exact path or trailing \`/**\` for \`${access}\` subtree access`;
}

function faultOfSubpath(subpath: string): string | null {
  const isNormal = subpath !== "" && !subpath.startsWith("/") &&
    !subpath.split("/").some((part) => part === "." || part === "..");
  return isNormal
    ? null
    : `filesystem subpath \`${subpath}\` must be a descendant path without \`.\` or \`..\` components`;
}

/** Without doubled and trailing slashes. */
function squeezed(subpath: string): string {
  return subpath.split("/").filter((part) => part !== "").join("/");
}

/** The legacy spelling of deny is `none`. */
function accessOf(word: string): Access {
  return word === "none" ? "deny" : word as Access;
}

/** UTF-16 order is byte order as long as all is ASCII. */
function inByteOrder(keys: readonly string[]): readonly string[] {
  if (isAscii(keys.join(""))) return keys.toSorted();
  return keys.map((key) => ({ key, bytes: fromText(key) }))
    .sort((a, b) => a.bytes < b.bytes ? -1 : 1)
    .map(({ key }) => key);
}

function refuse(building: Building, line: Line, message: string): void {
  building.faults.push({ severity: "error", origin: line.origin, message });
}
