/**
 * Whether a profile whose network came out as the host's was written to have less: then it is refused instead of opened.
 *
 * Pure. Loaded for such profiles only.
 *
 * @module
 */
import { nearest as nearestWord } from "../nearest.ts";
import type { Layer, TomlTable } from "./config.ts";
import type { Chain } from "./inheritance.ts";
import { type Fault, originIn } from "./layers.ts";
import { asksForLess } from "./network_settings.ts";
import { networkProfileKeys } from "./schema.ts";
import { isTable, keyText, lookup } from "./values.ts";

/** What is wrong, `null` when nothing is. @param chain of a profile that gives the host's network */
export function openedByMistake(
  chain: Chain,
  layers: readonly Layer[],
): Fault | null {
  for (const { name } of chain) {
    const path = ["permissions", name, "network"];
    for (const layer of layers) {
      const table = lookup(layer.table, path);
      if (!isTable(table)) continue;
      const fault = takenBack(layer, path, table) ??
        misspelled(layer, path, table);
      if (fault !== null) return fault;
    }
  }
  return null;
}

/** A layer or a parent asks for a managed network, and what lies above says no more of it. */
function takenBack(
  layer: Layer,
  path: readonly string[],
  table: TomlTable,
): Fault | null {
  if (!asksForLess(table)) return null;
  const key = [...path, table["managed"] === true ? "managed" : "mode"];
  return {
    severity: "error",
    origin: originIn(layer, key),
    message: `Cannot make this managed network the host's: nothing takes back ${
      keyText(key)
    }; choose a profile without it`,
  };
}

/** A key that was to name hosts: ignored, it would leave every host. */
function misspelled(
  layer: Layer,
  path: readonly string[],
  table: TomlTable,
): Fault | null {
  const known = networkProfileKeys();
  for (const key of Object.keys(table)) {
    if (known.includes(key)) continue;
    const meant = nearestWord(key, known);
    const wasNearest = meant !== null && LIMITS.includes(meant);
    if (!wasNearest && !/domain|host/i.test(key)) continue;
    return {
      severity: "error",
      origin: originIn(layer, [...path, key]),
      at: "key",
      message: `Cannot give the host's network beside the unknown key ${
        keyText([...path, key])
      }: it may be meant to limit it; write "${
        wasNearest ? meant : "domains"
      }", or remove the key`,
    };
  }
  return null;
}

/** Keys that make a network managed. */
const LIMITS: readonly string[] = ["domains", "managed", "mode"];
