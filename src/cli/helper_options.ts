/**
 * Words to the options of `codex-linux-sandbox`, the helper that an agent's own program starts.
 *
 * Pure.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { FlagName } from "./flags.ts";
import { type Command, commandOf, type Parsed } from "./options.ts";
import { has, only, onlyText, type ParsedWords, parseWords } from "./parse.ts";
import { refuse, type UsageError } from "./usage.ts";
import { ok, type Result } from "../result.ts";

/** What `codex-linux-sandbox` was asked to do. */
export interface HelperOptions {
  readonly kind: "helper";
  /** As typed; relative to our own directory. */
  readonly policyCwd: ByteString;
  /** As typed; `null` when not given: then the command starts where we are. */
  readonly commandCwd: ByteString | null;
  readonly policy: HelperPolicy;
  readonly proxy: HelperProxy;
  readonly enforcement: "bubblewrap" | "legacy_landlock";
  readonly stage: "outer" | "inner";
  /** `none`: mount no fresh `/proc`. */
  readonly proc: "fresh" | "none";
  readonly command: Command;
}

/** The policy as the helper's caller sends it. All members are JSON texts. */
export type HelperPolicy =
  | { readonly kind: "profile"; readonly json: string }
  /** Older callers: the legacy policy alone. */
  | { readonly kind: "legacy"; readonly json: string }
  /** Older callers: both halves, and perhaps the legacy policy, which must then agree. */
  | {
    readonly kind: "split";
    readonly fileSystemJson: string;
    readonly networkJson: string;
    readonly legacyJson: string | null;
  };

/** How the helper's caller wants the network routed. */
export type HelperProxy =
  | { readonly kind: "none" }
  /** `--allow-network-for-proxy`; the inner stage has the routes, the outer stage has `null`. */
  | { readonly kind: "environment"; readonly routeSpecJson: string | null }
  /** `--managed-network`. */
  | { readonly kind: "managed"; readonly json: string };

/**
 * The options of `codex-linux-sandbox`.
 *
 * The order of the checks is the reference's: words, required flags, command, stage against Landlock, profile, proxy. Directories and
 * the command are carried as bytes; the reference refuses what is not UTF-8, we refuse it only in the JSON texts.
 */
export function parseHelperOptions(
  words: readonly ByteString[],
): Parsed<HelperOptions> {
  const parsed = parseWords("helper", words, "first_positional");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "helper" });
  const flags = parsed.value;
  const policyCwd = only(flags, "sandbox-policy-cwd");
  if (policyCwd === null) {
    return refuse(
      "the following required arguments were not provided: --sandbox-policy-cwd <DIR>",
    );
  }
  const command = commandOf(flags.rest, "codex-linux-sandbox");
  if (!command.ok) return command;
  const isInner = has(flags, "apply-seccomp-then-exec");
  const isLegacy = has(flags, "use-legacy-landlock");
  if (isInner && isLegacy) {
    return refuse(
      "--apply-seccomp-then-exec is incompatible with --use-legacy-landlock",
    );
  }
  const policy = helperPolicy(flags);
  if (!policy.ok) return policy;
  const proxy = helperProxy(flags, isInner ? "inner" : "outer");
  if (!proxy.ok) return proxy;
  return ok({
    kind: "helper",
    policyCwd,
    commandCwd: only(flags, "command-cwd"),
    policy: policy.value,
    proxy: proxy.value,
    enforcement: isLegacy ? "legacy_landlock" : "bubblewrap",
    stage: isInner ? "inner" : "outer",
    proc: has(flags, "no-proc") ? "none" : "fresh",
    command: command.value,
  });
}

function helperPolicy(flags: ParsedWords): Result<HelperPolicy, UsageError> {
  const json = onlyText(flags, "permission-profile");
  const legacyJson = onlyText(flags, "sandbox-policy");
  const fileSystemJson = onlyText(flags, "file-system-sandbox-policy");
  const networkJson = onlyText(flags, "network-sandbox-policy");
  if (json !== null) {
    const older: readonly FlagName[] = [
      "sandbox-policy",
      "file-system-sandbox-policy",
      "network-sandbox-policy",
    ];
    const other = older.find((flag) => has(flags, flag));
    if (other === undefined) return ok({ kind: "profile", json });
    return refuse(
      `the argument '--permission-profile' cannot be used with '--${other}'`,
    );
  }
  if (fileSystemJson !== null && networkJson !== null) {
    return ok({ kind: "split", fileSystemJson, networkJson, legacyJson });
  }
  if (fileSystemJson !== null || networkJson !== null) {
    return refuse(
      "file-system and network sandbox policies must be provided together",
    );
  }
  if (legacyJson !== null) return ok({ kind: "legacy", json: legacyJson });
  return refuse(
    "missing permission profile configuration",
    "give --permission-profile <JSON>",
  );
}

function helperProxy(
  flags: ParsedWords,
  stage: "outer" | "inner",
): Result<HelperProxy, UsageError> {
  const routeSpecJson = onlyText(flags, "proxy-route-spec");
  const managed = onlyText(flags, "managed-network");
  const isProxied = has(flags, "allow-network-for-proxy");
  if (managed !== null && isProxied) {
    return refuse(
      "the argument '--managed-network' cannot be used with '--allow-network-for-proxy'",
    );
  }
  if (routeSpecJson !== null && (stage === "outer" || !isProxied)) {
    return refuse(
      "'--proxy-route-spec' requires --apply-seccomp-then-exec and --allow-network-for-proxy",
    );
  }
  if (managed !== null) return ok({ kind: "managed", json: managed });
  if (!isProxied) return ok({ kind: "none" });
  if (stage === "inner" && routeSpecJson === null) {
    return refuse("managed proxy mode requires --proxy-route-spec");
  }
  return ok({ kind: "environment", routeSpecJson });
}
