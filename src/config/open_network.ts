/**
 * Whether a profile whose network came out as the host's was written to have less: then it is refused instead of opened.
 *
 * Pure. Loaded for such profiles only.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { nearest as nearestWord } from "../nearest.ts";
import type { Origin } from "../policy/policy.ts";
import type { Layer, TomlTable, TomlValue } from "./config.ts";
import type { Chain } from "./inheritance.ts";
import { type Fault, layerOf, originIn, tablesOf } from "./layers.ts";
import { asksForLess } from "./network_settings.ts";
import { networkProfileKeys } from "./schema.ts";
import { isTable, keyText, lookup, own } from "./values.ts";

/** What is wrong, `null` when nothing is. @param chain of a profile that gives the host's network */
export function openedByMistake(
  chain: Chain,
  layers: readonly Layer[],
): Fault | null {
  for (const name of everNamed(chain, layers)) {
    const path = ["permissions", name, "network"];
    for (const layer of layers) {
      for (const word of tablesOf(layer)) {
        const table = lookup(word, path);
        if (!isTable(table)) continue;
        const fault = takenBack({ chain, layers }, layer, path, table) ??
          misspelled(layer, path, table);
        if (fault !== null) return fault;
      }
    }
  }
  return null;
}

/** The profiles of the chain, and every parent that some layer gives one of them: another `extends` takes nothing back. */
function everNamed(chain: Chain, layers: readonly Layer[]): Set<string> {
  const names = new Set(chain.map(({ name }) => name));
  // The set grows while it is walked.
  for (const name of names) {
    for (const layer of layers) {
      for (const word of tablesOf(layer)) {
        const parent = lookup(word, ["permissions", name, "extends"]);
        if (typeof parent === "string") names.add(parent);
      }
    }
  }
  return names;
}

/** A layer or a parent asks for a managed network, and what lies above says no more of it. */
function takenBack(
  above: Above,
  layer: Layer,
  path: readonly string[],
  table: TomlTable,
): Fault | null {
  if (!asksForLess(table)) return null;
  const said = ["managed", "mode", "domains", "mitm"].find((key) =>
    key === "managed" ? table[key] === true : own(table, key) !== undefined
  );
  const key = [...path, said ?? "domains"];
  return {
    severity: "error",
    origin: takerOf(above, key) ?? originIn(layer, key),
    message: `Cannot make this managed network the host's: nothing takes back ${
      keyText(key)
    }${ofFile(layer)}; choose a profile without it`,
  };
}

/** What decides in the end. */
interface Above {
  readonly chain: Chain;
  readonly layers: readonly Layer[];
}

/** Where `key` is taken back: by the same key of a higher layer or of a child, or else by another `extends`. */
function takerOf(
  { chain, layers }: Above,
  key: readonly string[],
): Origin | null {
  const nearest = [...chain].reverse();
  const paths = [
    ...nearest.map(({ name }) => ["permissions", name, ...key.slice(2)]),
    ...nearest.map(({ name }) => ["permissions", name, "extends"])
      .filter((path) => isSaidTwice(layers, path)),
  ];
  for (const path of paths) {
    const layer = layerOf(layers, path);
    if (layer !== null) return originIn(layer, path);
  }
  return null;
}

/** Whether two layers, or two words of one, give `path` different values. */
function isSaidTwice(
  layers: readonly Layer[],
  path: readonly string[],
): boolean {
  const said = layers.flatMap((layer) =>
    tablesOf(layer).map((word) => lookup(word, path))
  );
  return new Set(said.filter((value) => value !== undefined)).size > 1;
}

function ofFile(layer: Layer): string {
  return layer.file === null ? "" : ` of ${toText(layer.file)}`;
}

/** A key that was to limit the network: ignored, it would leave every host. */
function misspelled(
  layer: Layer,
  path: readonly string[],
  table: TomlTable,
): Fault | null {
  const known = networkProfileKeys();
  for (const key of Object.keys(table)) {
    if (known.includes(key)) continue;
    const meant = meantLimit(key, table[key]!, nearestWord(key, known));
    if (meant === null) continue;
    return {
      severity: "error",
      origin: originIn(layer, [...path, key]),
      at: "key",
      message: `Cannot give the host's network beside the unknown key ${
        keyText([...path, key])
      }: it may be meant to limit it; write "${meant}", or remove the key`,
    };
  }
  return null;
}

/** The limit that an unknown key stands for; `null` when ignoring it opens nothing. @param nearest known key, or `null` */
function meantLimit(
  key: string,
  value: TomlValue,
  nearest: string | null,
): string | null {
  if (nearest === "managed" && value === true) return nearest;
  if (nearest === "mode" && value === "limited") return nearest;
  if (nearest === "domains" || HOST_WORDS.test(key)) return "domains";
  return nearest === null && listsWords(value) ? "domains" : null;
}

/** What other programs call their list of hosts. */
const HOST_WORDS =
  /domain|host|^(?:allow|allowed|deny|denied|block|blocked|permit|permitted)$|(?:allow|deny|block|white|black|permit)(?:ed)?[_-]?list/i;

/** A list of texts, or a table of verdicts: what names of hosts are written in. */
function listsWords(value: TomlValue): boolean {
  if (Array.isArray(value)) {
    return value.length > 0 && value.every((it) => typeof it === "string");
  }
  if (!isTable(value)) return false;
  const verdicts = Object.values(value);
  return verdicts.length > 0 &&
    verdicts.every((it) => it === "allow" || it === "deny");
}
