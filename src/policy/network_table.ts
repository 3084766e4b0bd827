/**
 * From the raw `[permissions.NAME.network]` table to a {@linkcode NetworkPolicy}: patterns, paths, URLs and the types of what is
 * read checked, the administrator's `[experimental_network]` laid over it. Unknown keys are the documents' business.
 *
 * Pure. All errors are found before anything starts; whoever calls decides how to print them. Message fragments are those that
 * callers of the reference match on.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import {
  type DomainRule,
  EMPTY_NETWORK_POLICY,
  type NetworkPolicy,
} from "./network.ts";
import { isAddressStar, parsePattern } from "./pattern.ts";
import type { Origin } from "./policy.ts";

/** A raw table as a TOML reader makes it; only own keys count. */
export interface RawTable {
  readonly [key: string]: unknown;
}

/** Where a key was written: `originOf(["domains", "example.com"])`. */
export type OriginOf = (path: readonly string[]) => Origin;

/** Something to say about a key. One line, no full stop, without the place. */
export interface NetworkFinding {
  readonly origin: Origin;
  readonly message: string;
}

/** What to read. */
export interface NetworkTableInput {
  /** For messages: `[permissions.ci.network]`. */
  readonly name: string;
  readonly table: RawTable;
  readonly originOf: OriginOf;
  /** `[experimental_network]` of the requirements that apply. */
  readonly requirements: RawTable | null;
  readonly requirementsOriginOf?: OriginOf;
}

/** A policy, and what to warn about. */
export interface NetworkReading {
  readonly policy: NetworkPolicy;
  readonly warnings: readonly NetworkFinding[];
}

/** Reads the table. @returns at least one finding on failure, in the order of the keys below */
export function readNetworkTable(
  input: NetworkTableInput,
): Result<NetworkReading, readonly NetworkFinding[]> {
  const errors: NetworkFinding[] = [];
  const warnings: NetworkFinding[] = [];
  const own: Reader = {
    table: input.table,
    originOf: input.originOf,
    errors,
    warnings,
  };
  readUrl(own, "proxy_url");
  readUrl(own, "socks_url");
  const socks5 = readBoolean(own, "enable_socks5");
  const upstream = readBoolean(own, "allow_upstream_proxy");
  const localBinding = readBoolean(own, "allow_local_binding");
  const mode = readWord(own, "mode", ["limited", "full"] as const);
  const rules = readDomains(own);
  readUnixSockets(own);
  readMitm(own);
  const policy: NetworkPolicy = {
    table: input.name,
    mode: mode ?? EMPTY_NETWORK_POLICY.mode,
    rules,
    allowLocalBinding: localBinding ?? EMPTY_NETWORK_POLICY.allowLocalBinding,
    allowUpstreamProxy: upstream ?? EMPTY_NETWORK_POLICY.allowUpstreamProxy,
    socks5: socks5 ?? EMPTY_NETWORK_POLICY.socks5,
  };
  const ruled = input.requirements === null ? policy : constrain(policy, {
    table: input.requirements,
    originOf: input.requirementsOriginOf ?? requirementsOrigin,
    errors,
    warnings,
  });
  return errors.length > 0 ? fail(errors) : ok({ policy: ruled, warnings });
}

interface Reader {
  readonly table: RawTable;
  readonly originOf: OriginOf;
  readonly errors: NetworkFinding[];
  readonly warnings: NetworkFinding[];
}

/** Requirements overwrite switches, add denials, and add allowances or, with `managed_allowed_domains_only`, replace them. */
function constrain(policy: NetworkPolicy, required: Reader): NetworkPolicy {
  const rules = readDomains(required);
  readUnixSockets(required);
  const only = readBoolean(required, "managed_allowed_domains_only") === true;
  const kept = policy.rules.filter((rule) => rule.access === "deny" || !only);
  return {
    ...policy,
    // Where a host would have to stand to count.
    table: only ? REQUIRED_TABLE : policy.table,
    rules: [...rules, ...kept],
    allowUpstreamProxy: readBoolean(required, "allow_upstream_proxy") ??
      policy.allowUpstreamProxy,
    allowLocalBinding: readBoolean(required, "allow_local_binding") ??
      policy.allowLocalBinding,
  };
}

/** The administrator's table, by name. */
const REQUIRED_TABLE = "[experimental_network]";

function requirementsOrigin(path: readonly string[]): Origin {
  return { file: null, key: ["experimental_network", ...path].join(".") };
}

function readDomains(reader: Reader): DomainRule[] {
  const rules: DomainRule[] = [];
  const domains = readTable(reader, "domains");
  for (const written of Object.keys(domains).sort()) {
    const path = ["domains", written];
    const access = readWord(
      { ...reader, table: domains },
      written,
      ["allow", "deny"] as const,
      path,
    );
    if (access === undefined) continue;
    const pattern = parsePattern(written);
    const origin = reader.originOf(path);
    if (!pattern.ok) {
      reader.errors.push({
        origin,
        message: `Cannot use "${written}" in network.domains: ${pattern.error}`,
      });
      continue;
    }
    const { host, port } = pattern.value;
    if (host.kind === "any" && port === null && access === "deny") {
      reader.errors.push({
        origin,
        message:
          `network proxy constraints are invalid: invalid value for network.denied_domains: ${written} (allowed exact hosts or scoped wildcards like *.example.com or **.example.com)`,
      });
      continue;
    }
    if (host.kind === "star" && /^[^.:]/.test(host.tail) && host.head === "") {
      reader.warnings.push({
        origin,
        message:
          `"${written}" also matches evil${host.tail}; write "*.${host.tail}" for the hosts below it`,
      });
    }
    if (isAddressStar(pattern.value)) {
      reader.warnings.push({
        origin,
        message:
          `"${written}" is for addresses and no names; write a range such as 10.1.0.0/16`,
      });
    }
    rules.push({ access, pattern: pattern.value, written, origin });
  }
  return rules;
}

function readUnixSockets(reader: Reader): void {
  const sockets = readTable(reader, "unix_sockets");
  let index = 0;
  for (const written of Object.keys(sockets).sort()) {
    const path = ["unix_sockets", written];
    const access = readWord(
      { ...reader, table: sockets },
      written,
      ["allow", "deny"] as const,
      path,
    );
    if (access !== "allow") continue;
    if (!written.startsWith("/") || written.includes("\0")) {
      reader.errors.push({
        origin: reader.originOf(path),
        message:
          `failed to start managed network proxy: failed to build network proxy state: invalid network.allow_unix_sockets[${index}]: expected a NUL-free absolute path for Linux, got "${written}"`,
      });
    }
    index++;
  }
}

function readUrl(reader: Reader, key: string): void {
  const value = own(reader.table, key);
  if (value === undefined) return;
  const text = typeof value === "string" ? value.trim() : null;
  if (text === null) {
    wrongType(reader, [key], value, "a string");
  } else if (!hasHost(text)) {
    reader.errors.push({
      origin: reader.originOf([key]),
      message:
        `failed to start managed network proxy: failed to build network proxy: invalid network.${key}: ${text}`,
    });
  }
}

function hasHost(text: string): boolean {
  try {
    return new URL(text.includes("://") ? text : `http://${text}`).hostname !==
      "";
  } catch {
    return false;
  }
}

const HOOK_KEYS: readonly string[] = [
  "host",
  "methods",
  "path_prefixes",
  "query",
  "headers",
  "body",
  "action",
];
const ACTION_KEYS: readonly string[] = [
  "strip_request_headers",
  "inject_request_headers",
];

/** Interception of HTTPS does not exist here: whoever asks for it is told so, after the table itself was found sound. */
function readMitm(reader: Reader): void {
  if (own(reader.table, "mitm") === undefined) return;
  const before = reader.errors.length;
  const mitm = readTable(reader, "mitm");
  const inMitm: Reader = { ...reader, table: mitm };
  rejectUnknown(inMitm, ["mitm"], mitm, ["hooks", "actions"]);
  const hooks = readTable(inMitm, "hooks", ["mitm", "hooks"]);
  const actions = readTable(inMitm, "actions", ["mitm", "actions"]);
  let index = 0;
  for (const name of Object.keys(hooks)) {
    readHook(reader, hooks, name, index++);
  }
  for (const name of Object.keys(actions)) readAction(reader, actions, name);
  const names = [
    ...Object.keys(hooks).map((name) => `network.mitm.hooks.${name}`),
    ...Object.keys(actions).map((name) => `network.mitm.actions.${name}`),
  ];
  if (names.length === 0 || reader.errors.length > before) return;
  reader.errors.push({
    origin: reader.originOf(["mitm"]),
    message: `Cannot honour ${
      names.join(" and ")
    }: HTTPS is never intercepted here; remove the key, and allow or deny the host in network.domains`,
  });
}

function readHook(
  reader: Reader,
  hooks: RawTable,
  name: string,
  index: number,
): void {
  const path = ["mitm", "hooks", name];
  const hook = readTable({ ...reader, table: hooks }, name, path);
  const say = (key: string, message: string): void => {
    reader.errors.push({ origin: reader.originOf([...path, key]), message });
  };
  rejectUnknown(reader, path, hook, HOOK_KEYS);
  const match = `network.mitm_hooks[${index}].match`;
  if (own(hook, "body") !== undefined) {
    say("body", `${match}.body is reserved for later use`);
  }
  for (const key of ["methods", "path_prefixes"]) {
    if (isEmptyList(own(hook, key))) {
      say(key, `${match}.${key} must not be empty`);
    }
  }
  if (isEmptyList(own(hook, "action"))) {
    say("action", `network.mitm.hooks.${name}.action must not be empty`);
  }
}

function readAction(reader: Reader, actions: RawTable, name: string): void {
  const path = ["mitm", "actions", name];
  const action = readTable({ ...reader, table: actions }, name, path);
  rejectUnknown(reader, path, action, ACTION_KEYS);
  const parts = ACTION_KEYS.map((key) => own(action, key));
  if (parts.every((part) => part === undefined || isEmptyList(part))) {
    reader.errors.push({
      origin: reader.originOf(path),
      message:
        `network.mitm.actions.${name} must define at least one operation`,
    });
  }
  const injected = own(action, "inject_request_headers");
  for (const header of Array.isArray(injected) ? injected : []) {
    const file = isTable(header) ? own(header, "secret_file") : undefined;
    if (typeof file === "string" && !file.startsWith("/")) {
      reader.errors.push({
        origin: reader.originOf([...path, "inject_request_headers"]),
        message: `secret_file must be an absolute path, got "${file}"`,
      });
    }
  }
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function rejectUnknown(
  reader: Reader,
  path: readonly string[],
  table: RawTable,
  known: readonly string[],
): void {
  for (const key of Object.keys(table)) {
    if (known.includes(key)) continue;
    reader.errors.push({
      origin: reader.originOf([...path, key]),
      message: `unknown field \`${key}\` in network.${path.join(".")}`,
    });
  }
}

function readBoolean(reader: Reader, key: string): boolean | undefined {
  const value = own(reader.table, key);
  if (value === undefined || typeof value === "boolean") return value;
  wrongType(reader, [key], value, "a boolean");
  return undefined;
}

function readWord<Word extends string>(
  reader: Reader,
  key: string,
  words: readonly [Word, Word],
  path: readonly string[] = [key],
): Word | undefined {
  const value = own(reader.table, key);
  if (value === undefined) return undefined;
  const word = words.find((candidate) => candidate === value);
  if (word === undefined) {
    const wanted = `expected \`${words[0]}\` or \`${words[1]}\``;
    reader.errors.push({
      origin: reader.originOf(path),
      message: typeof value === "string"
        ? `unknown variant \`${value}\`, ${wanted}`
        : `invalid type: ${typeName(value)}, ${wanted}`,
    });
  }
  return word;
}

function readTable(
  reader: Reader,
  key: string,
  path: readonly string[] = [key],
): RawTable {
  const value = own(reader.table, key);
  if (value === undefined) return {};
  if (isTable(value)) return value;
  wrongType(reader, path, value, "a table");
  return {};
}

function wrongType(
  reader: Reader,
  path: readonly string[],
  value: unknown,
  wanted: string,
): void {
  reader.errors.push({
    origin: reader.originOf(path),
    message: `invalid type: ${typeName(value)}, expected ${wanted}`,
  });
}

function typeName(value: unknown): string {
  if (typeof value === "string") return `string ${JSON.stringify(value)}`;
  if (typeof value === "boolean") return `boolean \`${value}\``;
  if (typeof value === "number" || typeof value === "bigint") {
    return `number \`${value}\``;
  }
  return Array.isArray(value) ? "sequence" : "map";
}

function own(table: RawTable, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function isTable(value: unknown): value is RawTable {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
