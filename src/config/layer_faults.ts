/**
 * What is wrong with one layer, whichever profile is chosen: unknown keys, names, keys of old, what a project may not say.
 *
 * Pure.
 *
 * @module
 */
import { checkTypes } from "./check_types.ts";
import type { ConfigRequest, Layer, LoadedConfig } from "./config.ts";
import { type Fault, originIn } from "./layers.ts";
import { forbiddenKeys } from "./project.ts";
import { configShape } from "./schema.ts";
import { keyText, own, ownTable } from "./values.ts";

/** What can be said of each document by itself: types, reserved names, keys of old, what no project may set. */
export function documentFaults(
  loaded: LoadedConfig,
  request: ConfigRequest,
): readonly Fault[] {
  if (loaded.layers.length === 0) return [];
  const shape = configShape();
  const faults: Fault[] = [];
  for (const layer of loaded.layers) {
    for (const { severity, path, at, message } of checkTypes(layer, shape)) {
      const origin = originIn(layer, path);
      faults.push({ severity, origin, at, message });
    }
    faults.push(...nameFaults(layer), ...legacyFaults(layer, request));
    if (layer.kind === "project") faults.push(...forbiddenKeys(layer));
  }
  return faults;
}

function nameFaults(layer: Layer): readonly Fault[] {
  const faults: Fault[] = [];
  const permissions = ownTable(layer.table, "permissions") ?? {};
  for (const name of Object.keys(permissions)) {
    if (!name.startsWith(":") && name !== "") continue;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["permissions", name]),
      at: "key",
      message: name === ""
        ? `profile name ${keyText(["permissions", name])} is empty`
        : `permissions profile \`${name}\` uses a reserved built-in profile prefix: drop the colon`,
    });
  }
  const markers = own(layer.table, "project_root_markers");
  for (const marker of Array.isArray(markers) ? markers : []) {
    if (typeof marker !== "string" || isMarker(marker)) continue;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["project_root_markers"]),
      message: `project root marker ${
        JSON.stringify(marker)
      } must be a relative path without \`.\` or \`..\` components`,
    });
  }
  return faults;
}

/** Whether a text can name an entry of a directory, or one further below. */
export function isMarker(marker: string): boolean {
  return !marker.includes("\0") &&
    marker.split("/").every((part) =>
      part !== "" && part !== "." && part !== ".."
    );
}

/** `profile = "x"` of old, and `-p x` beside it. Project layers may keep theirs: it is not read. */
function legacyFaults(
  layer: Layer,
  { configProfile }: ConfigRequest,
): readonly Fault[] {
  if (layer.kind === "project") return [];
  const faults: Fault[] = [];
  const profile = own(layer.table, "profile");
  if (profile !== undefined) {
    const name = typeof profile === "string" ? profile : "NAME";
    const message = configProfile !== null && configProfile === profile
      ? `--profile \`${name}\` cannot be used while \`profile = "${name}"\` is set: remove the key`
      : `legacy \`profile = "${name}"\` config is no longer supported: use -p ${name} with $CODEX_HOME/${name}.config.toml`;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["profile"]),
      at: "key",
      message,
    });
  }
  const profiles = ownTable(layer.table, "profiles");
  if (
    configProfile !== null && profiles !== undefined &&
    Object.hasOwn(profiles, configProfile)
  ) {
    faults.push({
      severity: "error",
      origin: originIn(layer, ["profiles", configProfile]),
      at: "key",
      message:
        `--profile \`${configProfile}\` cannot be used while \`[profiles.${configProfile}]\` exists: move it to $CODEX_HOME/${configProfile}.config.toml`,
    });
  }
  return faults;
}
