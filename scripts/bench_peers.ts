/**
 * The peers that a measurement is made beside: what npm has put into a folder outside of this repository.
 *
 * Known are releases of Codex (`@openai/codex`) and srt (`@anthropic-ai/sandbox-runtime`). Each runs `true` in the sandbox that it
 * makes when nothing else is asked for.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const REFERENCE = "node_modules/@openai/codex";
const SRT = "node_modules/@anthropic-ai/sandbox-runtime";

export type Peer = {
  /** With its version. */
  readonly name: string;
  /** Before the command; the command follows. */
  readonly argv: readonly string[];
  /** The executable, where it is one that takes Codex's words. */
  readonly codex: string | null;
};

/** The peers in `folder`, or in the folders directly below it. */
export function peersIn(folder: string): readonly Peer[] {
  const root = resolve(folder);
  const below = existsSync(root)
    ? readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== "node_modules")
      .map(({ name }) => join(root, name)).sort()
    : [];
  const found = [root, ...below].flatMap((place) => [
    ...referenceIn(place),
    ...srtIn(place),
  ]);
  if (found.length === 0) {
    throw new Error(
      `Cannot use --peers "${folder}": neither ${REFERENCE} nor ${SRT} is in it or directly below; install one with npm`,
    );
  }
  return found;
}

/** A peer by its file: `NAME=FILE`, a program that takes Codex's words. */
export function peerOf(word: string): Peer {
  const equals = word.indexOf("=");
  const name = word.slice(0, Math.max(0, equals));
  const path = word.slice(equals + 1);
  if (name === "" || path === "") {
    throw new Error(`Cannot use --peer "${word}": must be NAME=FILE`);
  }
  return codexPeer(name, resolve(path));
}

function codexPeer(name: string, path: string): Peer {
  return { name, argv: [path, "sandbox", "--"], codex: path };
}

function referenceIn(place: string): readonly Peer[] {
  const version = versionIn(join(place, REFERENCE));
  if (version === null) return [];
  const scope = join(place, "node_modules/@openai");
  const file = new Bun.Glob("codex*/vendor/*-linux-*/**/codex").scanSync({
    cwd: scope,
    onlyFiles: true,
  }).next().value;
  if (file === undefined) {
    throw new Error(
      `Cannot use --peers "${place}": Codex ${version} is there without its executable for Linux`,
    );
  }
  return [codexPeer(`Codex ${version}`, join(scope, file))];
}

function srtIn(place: string): readonly Peer[] {
  const version = versionIn(join(place, SRT));
  if (version === null) return [];
  const program = join(place, SRT, "dist/cli.js");
  const node = Bun.which("node") ?? "node";
  return [{ name: `srt ${version}`, argv: [node, program], codex: null }];
}

function versionIn(folder: string): string | null {
  const file = join(folder, "package.json");
  return existsSync(file)
    ? JSON.parse(readFileSync(file, "utf8")).version
    : null;
}
