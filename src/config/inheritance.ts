/**
 * Who a profile inherits from, from itself to the last one, and why that can't be.
 *
 * Pure.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { AbsPath } from "../policy/path.ts";
import { nearest as nearestWord } from "../nearest.ts";
import type { Layer, TomlTable } from "./config.ts";
import { type Fault, originOf, tablesOf } from "./layers.ts";
import {
  namesHosts,
  type NetworkFeature,
  plainDomain,
  withPlainDomains,
} from "./network_settings.ts";
import {
  isTable,
  keyText,
  lookup,
  newTable,
  own,
  ownTable,
  PROXY_FEATURE,
} from "./values.ts";
import type { Origin } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";

/** What a profile is built from. */
export interface ProfileContext {
  readonly layers: readonly Layer[];
  /** The layers merged. */
  readonly table: TomlTable;
  readonly cwd: AbsPath;
  readonly home: AbsPath | null;
  readonly tmpdir: ByteString | null;
  /** `[experimental_network]` where it applies. */
  readonly networkRequirements: TomlTable | null;
}

/** A profile and its parents, the outermost first; a built-in parent can only be the first. */
export type Chain = readonly Link[];

interface Link {
  readonly name: string;
  readonly table: TomlTable;
  /** `permissions.NAME` as it is typed. */
  readonly key: string;
}

/** Follows `extends` upwards. */
export function chainOf(
  name: string,
  context: ProfileContext,
): Result<Chain, Fault> {
  const permissions = ownTable(context.table, "permissions") ?? newTable();
  const chain: Link[] = [];
  const names: string[] = [];
  let at = name;
  while (true) {
    const table = own(permissions, at) as TomlTable;
    chain.unshift({
      name: at,
      table: comparable(table),
      key: keyText(["permissions", at]),
    });
    names.push(at);
    const parent = own(table, "extends") as string | undefined;
    if (parent === undefined) return ok(chain);
    const key = ["permissions", at, "extends"];
    const origin = originOf(context.layers, key);
    if (parent.startsWith(":")) {
      const inner = builtInTable(parent);
      if (inner === null) {
        return fail(unsupportedParent(at, parent, origin));
      }
      chain.unshift({ name: parent, table: inner, key: parent });
      return ok(chain);
    }
    if (names.includes(parent)) {
      const cycle = [...names, parent].join(" -> ");
      return fail({
        severity: "error",
        origin,
        message: `permissions profile inheritance cycle detected: ${cycle}`,
      });
    }
    if (!Object.hasOwn(permissions, parent)) {
      return fail(undefinedParent(at, parent, origin, permissions));
    }
    at = parent;
  }
}

function unsupportedParent(
  name: string,
  parent: string,
  origin: Origin,
): Fault {
  return {
    severity: "error",
    origin,
    message:
      `permissions profile \`${name}\` cannot extend unsupported built-in profile \`${parent}\`: only \`:read-only\` and \`:workspace\` can be extended`,
  };
}

function undefinedParent(
  name: string,
  parent: string,
  origin: Origin,
  permissions: TomlTable,
): Fault {
  const known = [
    ...Object.keys(permissions).filter((it) => it !== name),
    ":read-only",
    ":workspace",
  ];
  const meant = nearestWord(parent, known);
  const hint = meant === null ? "" : ` (did you mean \`${meant}\`?)`;
  return {
    severity: "error",
    origin,
    message:
      `permissions profile \`${name}\` extends undefined profile \`${parent}\`${hint}`,
  };
}

/** A profile's table with its domains spelled alike, so that a child's word meets its parent's. */
function comparable(table: TomlTable): TomlTable {
  const network = ownTable(table, "network");
  return network === undefined
    ? table
    : { ...table, network: withPlainDomains(network) };
}

/** The built-in profiles as parents: the tables that spell them. */
function builtInTable(name: string): TomlTable | null {
  switch (name) {
    case ":read-only":
      return { filesystem: { ":root": "read" } };
    case ":workspace":
      return {
        filesystem: {
          ":root": "read",
          ":slash_tmp": "write",
          ":tmpdir": "write",
          ":workspace_roots": {
            ".": "write",
            ".git": "read",
            ".agents": "read",
            ".codex": "read",
          },
        },
      };
    default:
      return null;
  }
}

export function featureOf(
  { layers, table }: Pick<ProfileContext, "layers" | "table">,
): NetworkFeature {
  const value = lookup(table, PROXY_FEATURE);
  return {
    value,
    isNamingHosts: value !== undefined &&
      layers.some((layer) =>
        tablesOf(layer).some((word) => {
          const said = lookup(word, PROXY_FEATURE);
          return isTable(said) && namesHosts(said);
        })
      ),
  };
}

/** Where `[features.network_proxy]` sets a network key, `null` when it doesn't. */
export function featureOrigin(
  { layers, table }: ProfileContext,
  path: readonly string[],
): Origin | null {
  if (path[0] === "enabled") return null;
  const key = asWritten(table, [...PROXY_FEATURE, ...path]);
  return lookup(table, key) === undefined ? null : originOf(layers, key);
}

/** A key whose last part is a host in its plain form, with the host as the file spells it. */
export function asWritten(
  table: TomlTable,
  path: readonly string[],
): readonly string[] {
  if (path.at(-2) !== "domains" || lookup(table, path) !== undefined) {
    return path;
  }
  const domains = lookup(table, path.slice(0, -1));
  const keys = isTable(domains) ? Object.keys(domains) : [];
  const written = keys.find((key) => plainDomain(key) === path.at(-1));
  return written === undefined ? path : [...path.slice(0, -1), written];
}
