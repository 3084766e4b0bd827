/**
 * Which profile a run uses: the rules of `default_permissions`, `sandbox_mode`, `-P` and `--full-auto`.
 *
 * Pure. The last layer that sets either form decides between profiles and the legacy form; a legacy mode in a file alone counts
 * for nothing, so that no file can widen what an empty config gives.
 *
 * @module
 */
import { nearest as nearestWord } from "../nearest.ts";
import type { Origin } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import type { Layer, TomlTable } from "./config.ts";
import { type Fault, originOf } from "./layers.ts";
import { own, ownTable } from "./values.ts";

/** The words of `sandbox_mode`. */
export type SandboxMode =
  | "read-only"
  | "workspace-write"
  | "danger-full-access";

/** What was chosen, and where. */
export type Choice =
  | {
    readonly kind: "profile";
    readonly name: string;
    readonly origin: Origin;
  }
  | {
    readonly kind: "legacy";
    readonly mode: SandboxMode;
    readonly origin: Origin;
  };

/** The profiles that come with us. */
export const BUILT_IN_NAMES: readonly string[] = [
  ":read-only",
  ":workspace",
  ":danger-full-access",
];

/** The built-in profile that a legacy mode stands for. */
export function builtInOf(mode: SandboxMode): string {
  switch (mode) {
    case "read-only":
      return ":read-only";
    case "workspace-write":
      return ":workspace";
    case "danger-full-access":
      return ":danger-full-access";
  }
}

/** Chooses by layers whose types are right. @param table the layers merged */
export function choose(
  layers: readonly Layer[],
  table: TomlTable,
  legacyMode: "read_only" | "workspace_write",
): Result<Choice, Fault> {
  const isActive = Object.hasOwn(table, "default_permissions");
  const session = layers.find((layer) => layer.kind === "session")?.table;
  const syntax = syntaxOf(layers, session);
  const counts = isActive ||
    (session !== undefined && Object.hasOwn(session, "sandbox_mode"));
  if (counts && syntax === "profiles") {
    const name = own(table, "default_permissions") as string;
    const origin = originOf(layers, ["default_permissions"]);
    if (legacyMode === "workspace_write") return fail(fullAutoBeside(name));
    return ok({ kind: "profile", name, origin });
  }
  if (!counts && syntax === null && ownTable(table, "permissions")) {
    return fail({
      severity: "error",
      origin: originOf(layers, ["permissions"]),
      at: "key",
      message:
        "config defines `[permissions]` profiles but does not set `default_permissions`: set it, or use -P NAME",
    });
  }
  const written = counts ? own(table, "sandbox_mode") as SandboxMode : null;
  const origin = originOf(layers, ["sandbox_mode"]);
  if (legacyMode === "read_only") {
    return ok(
      written === null
        ? { kind: "legacy", mode: "read-only", origin: DEFAULT_ORIGIN }
        : { kind: "legacy", mode: written, origin },
    );
  }
  if (written !== null && written !== "workspace-write") {
    return fail({
      severity: "error",
      origin: FULL_AUTO_ORIGIN,
      message:
        `it means workspace-write, but sandbox_mode is "${written}": remove one of them`,
    });
  }
  return ok({
    kind: "legacy",
    mode: "workspace-write",
    origin: FULL_AUTO_ORIGIN,
  });
}

/** The origin of what nobody chose. */
export const DEFAULT_ORIGIN: Origin = { file: null, key: "default" };

const FULL_AUTO_ORIGIN: Origin = { file: null, key: "--full-auto" };

/** A name that no profile has. */
export function undefinedProfile(
  name: string,
  origin: Origin,
  permissions: TomlTable | undefined,
): Fault {
  const own = permissions === undefined ? [] : Object.keys(permissions);
  const known = [...own, ...BUILT_IN_NAMES];
  const meant = nearestWord(name, known);
  const hint = meant === null
    ? `known are ${known.slice(0, 12).join(", ")}`
    : `did you mean \`${meant}\`? known are ${known.slice(0, 12).join(", ")}`;
  const message = name.startsWith(":")
    ? `default_permissions refers to unknown built-in profile \`${name}\` (${hint})`
    : permissions === undefined
    ? `default_permissions requires a \`[permissions]\` table: \`${name}\` is defined nowhere (${hint})`
    : `default_permissions refers to undefined profile \`${name}\` (${hint})`;
  return { severity: "error", origin, message };
}

/** Profiles or the legacy form: `-P` and `-c default_permissions` first, else the last layer that has either. */
function syntaxOf(
  layers: readonly Layer[],
  session: TomlTable | undefined,
): "profiles" | "legacy" | null {
  if (session !== undefined && Object.hasOwn(session, "default_permissions")) {
    return "profiles";
  }
  for (let index = layers.length - 1; index >= 0; index--) {
    const { table } = layers[index]!;
    if (Object.hasOwn(table, "default_permissions")) return "profiles";
    if (Object.hasOwn(table, "sandbox_mode")) return "legacy";
  }
  return null;
}

function fullAutoBeside(name: string): Fault {
  return {
    severity: "error",
    origin: FULL_AUTO_ORIGIN,
    message:
      `it only serves legacy configs, but default_permissions is "${name}": use -P :workspace instead, or a profile of yours that extends it`,
  };
}
