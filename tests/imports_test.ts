/**
 * The architecture as a test: imports run downhill only, and pure files touch neither the host nor the runtime.
 *
 * Reads the import lines and the words of every file in `src/`; the rules are the tables at the top.
 *
 * @module
 */

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";

/** Files that may touch the host; all others are pure. */
const EFFECT_FILES: ReadonlySet<string> = new Set([
  "entry.ts",
  "main.ts",
  "src/care.ts",
  "src/commands.ts",
  "src/own_paths.ts",
  "src/run/carry_out.ts",
  "src/run/choose_bwrap.ts",
  "src/run/cut_search.ts",
  "src/run/descriptors.ts",
  "src/run/draft.ts",
  "src/run/keep_start.ts",
  "src/run/kept_start.ts",
  "src/run/landlock.ts",
  "src/run/launch.ts",
  "src/run/mount_places.ts",
  "src/run/network_requests.ts",
  "src/run/on_demand.ts",
  "src/run/prepare.ts",
  "src/run/helper_request.ts",
  "src/run/sandbox_request.ts",
  "src/run/state_policy.ts",
  "src/run/wire_policy.ts",
  "src/run/working_directory.ts",
  "src/run/result.ts",
  "src/run/start_place.ts",
  "src/run/user_rights.ts",
  "src/config/host_files.ts",
  "src/config/load.ts",
  "src/config/load_projects.ts",
  "src/config/read_layer.ts",
  "src/host/probe.ts",
  "src/host/directory_reader.ts",
  "src/host/gather.ts",
  "src/host/repository_reader.ts",
  "src/host/case_folding.ts",
  "src/host/search.ts",
  "src/host/daemon_sockets.ts",
  "src/host/command.ts",
  "src/host/origin.ts",
  "src/host/state_folder.ts",
  "src/host/streams.ts",
  "src/linux/launcher.ts",
  "src/linux/process_state.ts",
  "src/linux/leftovers.ts",
  "src/linux/doctor/look.ts",
  "src/linux/landlock_launcher.ts",
  "src/linux/inner_stage.ts",
  "src/linux/enter_domain.ts",
  "src/linux/control_channel.ts",
  "src/linux/callers_routes.ts",
  "src/linux/served_run.ts",
  "src/linux/own_files.ts",
  "src/linux/placeholder_records.ts",
  "src/linux/placeholders.ts",
  "src/linux/reclaim.ts",
  "src/linux/supervisor.ts",
  "src/linux/run.ts",
  "src/linux/run_start.ts",
  "src/linux/terminal.ts",
  "src/linux/verify_mounts.ts",
  "src/linux/watcher.ts",
  "src/linux/bundled_bwrap.ts",
  "src/linux/embedded_bwrap.ts",
  "src/linux/probe_bwrap.ts",
  "src/linux/ripgrep.ts",
  "src/linux/run_probe.ts",
  "src/egress/link.ts",
  "src/egress/context.ts",
  "src/egress/exchange.ts",
  "src/egress/tunnel.ts",
  "src/egress/http_client.ts",
  "src/egress/http_forward.ts",
  "src/egress/http_session.ts",
  "src/egress/http_tunnel.ts",
  "src/egress/open_upstream.ts",
  "src/egress/socks_session.ts",
  "src/egress/host_dialer.ts",
  "src/sys/connect.ts",
  "src/sys/identity.ts",
  "src/sys/sockets.ts",
  "src/egress/proxy_connect.ts",
  "src/egress/pair.ts",
  "src/egress/proxy.ts",
  "src/egress/service.ts",
  "src/egress/listener.ts",
  "src/egress/dial.ts",
  "src/egress/dns.ts",
  "src/egress/relay.ts",
  "src/egress/network_log.ts",
  "src/sys/ffi.ts",
  "src/sys/calls.ts",
  "src/sys/confinement.ts",
  "src/sys/descriptors.ts",
  "src/sys/directories.ts",
  "src/sys/files.ts",
  "src/sys/outcome.ts",
  "src/sys/processes.ts",
  "src/sys/programs.ts",
  "src/sys/signals.ts",
  "src/sys/stat.ts",
  "src/sys/terminals.ts",
  "src/sys/observed.ts",
]);

/** The rooms from the bottom up: a file imports from its own room and from those of lower height. */
const HEIGHT: Readonly<Record<string, number>> = {
  alphabet: 0,
  policy: 1,
  sys: 1,
  host: 2,
  cli: 2,
  config: 3,
  egress: 3,
  commands: 4,
  linux: 4,
  shared: 5,
  run: 6,
  top: 7,
};

/** Files of the alphabet, wherever they lie: they import nothing of ours but one another. */
const ALPHABET: ReadonlySet<string> = new Set([
  "src/result.ts",
  "src/bytes.ts",
  "src/nearest.ts",
  "src/build_info.ts",
  "src/policy/path.ts",
  "src/sys/abi.ts",
]);

/** Files beside the rooms that a run and all commands use. */
const SHARED: ReadonlySet<string> = new Set([
  "src/failure.ts",
  "src/own_paths.ts",
]);

/** Platform modules without effect: pure files may use them. */
const PURE_MODULES: ReadonlySet<string> = new Set([
  "node:path",
  "node:path/posix",
  "node:url",
  "node:util",
  "node:net", // only isIP and BlockList: checked below
  "toml-eslint-parser",
]);

/** Names that reach the host or the runtime; Buffer is allowed. */
const IMPURE_NAMES = /(?<![.\w$"'`])(process|Bun|Deno)\s*[.[]/;

type SourceFile = {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
};

const ROOT = dirname(import.meta.dir);
const FILES = sourceFiles();

test("there are source files to look at, and every file that the tables name is one", () => {
  const known = new Set(FILES.map(({ path }) => path));
  expect(known.size).toBeGreaterThan(100);
  const gone = [...EFFECT_FILES, ...ALPHABET, ...SHARED]
    .filter((path) => !known.has(path));
  expect(gone).toEqual([]);
});

test("imports run downhill only", () => {
  const breaches = FILES.flatMap((file) =>
    ourImports(file)
      .filter((target) =>
        heightOf(target) > heightOf(file.path) || crosses(file.path, target)
      )
      .map((target) => `${file.path} imports ${target}`)
  );
  expect(breaches).toEqual([]);
});

test("no file imports itself by way of others, but for what is loaded on demand", () => {
  const known = new Map(FILES.map((file) => [file.path, file]));
  const done = new Set<string>();
  const circleFrom = (path: string, way: readonly string[]): string | null => {
    if (way.includes(path)) return [...way, path].join(" -> ");
    const file = known.get(path);
    if (done.has(path) || file === undefined) return null;
    for (const target of importedAtOnce(file)) {
      const circle = circleFrom(target, [...way, path]);
      if (circle !== null) return circle;
    }
    done.add(path);
    return null;
  };
  expect(FILES.map(({ path }) => circleFrom(path, [])).filter(Boolean))
    .toEqual([]);
});

test("a pure file imports no effect file and no module of the host", () => {
  const breaches = pureFiles().flatMap((file) => [
    ...valueImports(file).filter((target) => EFFECT_FILES.has(target))
      .map((target) => `${file.path} imports ${target}`),
    ...foreignImports(file).filter((name) => !PURE_MODULES.has(name))
      .map((name) => `${file.path} imports ${name}`),
  ]);
  expect(breaches).toEqual([]);
});

test("a pure file names neither process nor Bun nor Deno, except Bun.TOML, which is a pure parser", () => {
  const breaches = pureFiles().flatMap((file) =>
    withoutComments(file.text).split("\n").map((line) =>
      line.replaceAll("Bun.TOML", "")
    )
      .filter((line) => IMPURE_NAMES.test(line))
      .map((line) => `${file.path}: ${line.trim()}`)
  );
  expect(breaches).toEqual([]);
});

test("a pure file takes only isIP, isIPv4, isIPv6 and BlockList from node:net", () => {
  const allowed = new Set([
    "isIP",
    "isIPv4",
    "isIPv6",
    "BlockList",
    "SocketAddress",
  ]);
  const breaches = pureFiles().flatMap((file) =>
    [...file.text.matchAll(/import\s+(.+?)\s+from\s+"node:net"/gs)]
      .filter(([, names]) =>
        !names!.replace(/[{}\s]|type /g, "").split(",").every((name) =>
          name === "" || allowed.has(name)
        )
      )
      .map(([line]) => `${file.path}: ${line}`)
  );
  expect(breaches).toEqual([]);
});

test("only src/sys/ffi.ts imports bun:ffi", () => {
  const importers = FILES.filter((file) => file.imports.includes("bun:ffi"))
    .map(({ path }) => path);
  expect(importers.filter((path) => path !== "src/sys/ffi.ts")).toEqual([]);
});

test("a local import carries its .ts suffix", () => {
  const breaches = FILES.flatMap((file) =>
    file.imports.filter((name) => name.startsWith(".") && !name.endsWith(".ts"))
      .map((name) => `${file.path} imports ${name}`)
  );
  expect(breaches).toEqual([]);
});

function sourceFiles(): SourceFile[] {
  const names = readdirSync(join(ROOT, "src"), {
    recursive: true,
    encoding: "utf8",
  })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name}`);
  return ["entry.ts", "main.ts", ...names].map((path) => {
    const text = readFileSync(join(ROOT, path), "utf8");
    return { path, text, imports: importNames(text) };
  });
}

/** What a file imports: static, `export … from`, `import()`, `require()`. Types count too: they are knowledge. */
function importNames(text: string): string[] {
  const code = withoutComments(text);
  return [
    ...code.matchAll(
      /^\s*(?:import|export)\b[^;"']*?\bfrom\s*["']([^"']+)["']/gm,
    ),
    ...code.matchAll(/^\s*import\s*["']([^"']+)["']/gm),
    ...code.matchAll(/\b(?:import|require)\(\s*["']([^"']+)["']/g),
  ].map(([, name]) => name!);
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function ourImports({ path, imports }: SourceFile): string[] {
  return imports.filter((name) => name.startsWith("."))
    .map((name) => posix.join(posix.dirname(path), name));
}

/** Of our files, those of which more than a type is taken: a failure's shape may be named by whoever describes it. */
function valueImports(file: SourceFile): string[] {
  const statements = /^(?:import|export)\s[^;]*?\sfrom\s*"[^"]+";/gm;
  const values = file.text.replace(
    statements,
    (statement) => isTypeOnly(statement) ? "" : statement,
  );
  return ourImports({ ...file, imports: importNames(values) });
}

/** Types included, `require()` and `import()` not. */
function importedAtOnce(file: SourceFile): string[] {
  const lazy = /\b(?:import|require)\(\s*"[^"]+",?\s*\)/g;
  const text = withoutComments(file.text).replace(lazy, "");
  return ourImports({ ...file, imports: importNames(text) });
}

function isTypeOnly(statement: string): boolean {
  if (/^(?:import|export)\s+type\b/.test(statement)) return true;
  const names = /\{([^}]*)\}\s*from/.exec(statement)?.[1];
  return names !== undefined && !/^(?:import|export)\s+\w/.test(statement) &&
    names.split(",").every((name) => /^\s*(?:type\s.*)?$/s.test(name));
}

function foreignImports({ imports }: SourceFile): string[] {
  return imports.filter((name) => !name.startsWith("."));
}

function pureFiles(): SourceFile[] {
  return FILES.filter(({ path }) => !EFFECT_FILES.has(path));
}

function roomOf(path: string): string {
  if (ALPHABET.has(path)) return "alphabet";
  if (SHARED.has(path)) return "shared";
  const parts = path.split("/");
  return parts.length === 3 || parts.length === 4 ? parts[1]! : "top";
}

function heightOf(path: string): number {
  const height = HEIGHT[roomOf(path)];
  if (height === undefined) {
    throw new Error(`${path} lies in a room without a height`);
  }
  return height;
}

/** Rooms side by side do not know one another. */
function crosses(from: string, to: string): boolean {
  return heightOf(from) === heightOf(to) && roomOf(from) !== roomOf(to);
}
