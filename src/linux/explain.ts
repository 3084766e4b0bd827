/**
 * A plan for people (`--explain`) and for programs (`--explain=json`).
 *
 * Pure. Names of environment variables are printed, values never. Descriptors are shown by what they are open on.
 *
 * @module
 */
import { type ByteString, decodeText, toText } from "../bytes.ts";
import type { PromiseName } from "../policy/policy.ts";
import { unreachable } from "../result.ts";
import { bwrapArguments, takesDescriptor } from "./bwrap_argv.ts";
import type { KeptPromise } from "./promises.ts";
import type { MountOp } from "./mounts.ts";
import type { GlobCover, LandlockPlan, Plan, SandboxPlan } from "./plan.ts";
import { describeFilter } from "./seccomp/filters.ts";

/** The plan as text, ending in a newline. */
export function explainText(plan: Plan): string {
  return `${linesOf(plan).join("\n")}\n`;
}

function linesOf(plan: Plan): string[] {
  switch (plan.kind) {
    case "direct":
      return directLines(plan);
    case "bubblewrap":
      return sandboxLines(plan);
    case "landlock_only":
      return landlockLines(plan);
    default:
      return unreachable(plan);
  }
}

/** Loaded on demand: a run that explains nothing has no use for it. */
function promises(): typeof import("./promises.ts") {
  return require("./promises.ts");
}

function directLines(plan: Plan): string[] {
  return [
    `profile      ${plan.profile}`,
    "sandbox      none: the command runs with all your rights",
    `directory    ${toText(plan.cwd)}`,
    ...userLines(plan),
    `command      ${plan.command.map(quoted).join(" ")}`,
    ...environmentLines(plan),
    ...warningLines(plan),
  ];
}

function sandboxLines(plan: SandboxPlan): string[] {
  return [
    `profile      ${plan.profile}`,
    `directory    ${toText(plan.cwd)}`,
    ...userLines(plan),
    `command      ${plan.command.map(quoted).join(" ")}`,
    `launcher     ${launcherLine(plan)}`,
    `stage        ${
      plan.stage.kind === "one_start" ? "one start" : plan.stage.kind
    }: ${plan.stage.reason}`,
    `supervisor   ${
      plan.supervisor.length === 0 ? "none" : plan.supervisor.join(", ")
    }`,
    ...limitLines(plan),
    `network      ${networkLine(plan)}`,
    ...(plan.served ?? []).map((line) => `  ${line}`),
    ...abstractLines(plan),
    ...givenBackLines(plan),
    ...promiseLines(promises().bubblewrapPromises(plan), []),
    "mounts",
    ...plan.mounts.map(({ op, reason }) => `  ${mountLine(op)}  # ${reason}`),
    ...section(
      "placeholders",
      plan.placeholders.map(({ path, node }) =>
        `${node} ${toText(path)}, removed when the run ends`
      ),
    ),
    ...repositoryLines(plan),
    ...section("globs", plan.globs.map(coverLine)),
    ...lastLines(plan),
  ];
}

/** What every sandbox ends with, whatever made it. */
function lastLines(plan: SandboxPlan | LandlockPlan): string[] {
  return [
    "filter",
    ...describeFilter(plan.filter).map((line) => `  ${line}`),
    ...environmentLines(plan),
    ...(plan.passFds.length === 0
      ? []
      : [`descriptors  0 1 2 ${plan.passFds.join(" ")}`]),
    ...warningLines(plan),
  ];
}

function userLines({ user }: Plan): string[] {
  return user === undefined
    ? []
    : [`user         uid ${user.uid}, gid ${user.gid}, no other groups`];
}

function repositoryLines({ repositories }: SandboxPlan): string[] {
  if (repositories === null) return [];
  const { found, shut, cut } = repositories;
  return section("repositories inside writable directories", [
    ...found.map((path) => `read-only metadata  ${toText(path)}`),
    ...shut.map((path) =>
      `read-only           ${toText(path)}: its mode forbids to look into it`
    ),
    ...(cut === null ? [] : [
      `the search ended at ${
        toText(cut.at)
      }, ${cut.why}: what it did not see stays writable`,
    ]),
  ]);
}

function limitLines({ rules }: SandboxPlan): string[] {
  const limits: string[] = [];
  if (rules.timeoutMs !== null) {
    limits.push(`ends after ${rules.timeoutMs / 1000} s with status 124`);
  }
  if (rules.graceMs !== null) {
    limits.push(`${rules.graceMs / 1000} s to end after a signal`);
  }
  return limits.length === 0 ? [] : [`limits       ${limits.join("; ")}`];
}

/** A run without bubblewrap. */
function landlockLines(plan: LandlockPlan): string[] {
  const { handled, landlock, network } = plan;
  const decides = [...handled.files, ...handled.net, ...handled.scopes];
  return [
    `profile      ${plan.profile}`,
    `directory    ${toText(plan.cwd)}`,
    `command      ${plan.command.map(quoted).join(" ")}`,
    ...userLines(plan),
    `sandbox      ${
      landlock === 0 ? "" : `Landlock ${landlock} and `
    }seccomp, without bubblewrap (${plan.reason})`,
    `network      ${
      network === "host"
        ? "the host's, unfiltered"
        : "none: no socket can be made, in the host's network namespace"
    }`,
    ...(plan.filter.network === "host_without_unix"
      ? [
        "sockets      no AF_UNIX socket can be made: no mount hides those of the host's daemons here",
      ]
      : []),
    ...(plan.filter.debug
      ? [
        "debug        the command's processes can trace each other, and nobody outside of their Landlock domain",
      ]
      : []),
    ...promiseLines(plan.promises, plan.givenUp),
    ...(decides.length === 0 ? [] : ["restricted", `  ${decides.join(" ")}`]),
    ...section(
      "rules",
      plan.rules.map(({ path, rights, reason }) =>
        `${toText(path)}  ${rights.join(" ")}  # ${reason}`
      ),
    ),
    ...lastLines(plan),
  ];
}

function promiseLines(
  promises: readonly KeptPromise[],
  givenUp: readonly PromiseName[],
): string[] {
  return [
    "promises",
    ...promises.map(({ name, kept, why }) => {
      const state = kept
        ? "kept    "
        : givenUp.includes(name)
        ? "given up"
        : "lacking ";
      return `  ${state} ${name}: ${why}`;
    }),
  ];
}

function launcherLine(plan: SandboxPlan): string {
  const { launcher } = plan;
  return launcher.kind === "system"
    ? `${toText(launcher.path)} ${launcher.version} (${launcher.reason})`
    : `bundled bubblewrap ${launcher.version}, sha256 ${launcher.sha256} (${launcher.reason})`;
}

/** A glob hides what is there when the run starts. */
function coverLine({ pattern, files, directories }: GlobCover): string {
  const counted = [
    ...(files > 0 || directories === 0 ? [count(files, "file", "files")] : []),
    ...(directories > 0
      ? [count(directories, "directory", "directories")]
      : []),
  ];
  return `${toText(pattern)} covers ${counted.join(" and ")} as of now`;
}

function count(number: number, one: string, many: string): string {
  return number === 0 ? `no ${one}` : `${number} ${number === 1 ? one : many}`;
}

function networkLine(plan: SandboxPlan): string {
  switch (plan.network) {
    case "none":
      return "none: a network namespace with nothing but its own loopback";
    case "proxied":
      return "proxied: a network namespace whose only exit is our proxy";
    case "host":
      return "the host's, unfiltered";
  }
}

function abstractLines({ abstractSockets }: SandboxPlan): string[] {
  if (abstractSockets === undefined) return [];
  const { reach, reason } = abstractSockets;
  return [
    reach === "closed"
      ? `sockets      the host's abstract names are closed: ${reason}`
      : `sockets      the host's abstract names can be reached: ${reason}`,
  ];
}

/** What the profile takes back of the sandbox's own closeness. */
function givenBackLines(plan: SandboxPlan): string[] {
  return [
    ...(plan.filter.debug
      ? [
        "debug        the command's processes can trace each other; a Landlock domain keeps process 1 out of reach",
      ]
      : []),
    ...(plan.disableUserns || plan.filter.namespaces === "denied" ? [] : [
      "namespaces   the command can make user namespaces of its own, with all capabilities in them",
    ]),
  ];
}

function mountLine(op: MountOp): string {
  switch (op.kind) {
    case "bind_path":
    case "bind_seen":
      return `${op.access === "writable" ? "writable " : "read-only"}  ${
        toText(op.path)
      }`;
    case "tmpfs":
      return `empty      ${toText(op.path)} (mode ${mode(op.mode)})`;
    case "empty_file":
      return `empty file ${toText(op.path)} (mode ${mode(op.mode)})`;
    case "remount_read_only":
      return `read-only  ${toText(op.path)}`;
    case "symlink":
      return `link       ${toText(op.path)} -> ${toText(op.target)}`;
    case "dev":
      return "private    /dev";
    case "proc":
      return "fresh      /proc";
    case "bind_own":
      return `read-only  ${toText(op.path)} from ${toText(op.source)}`;
  }
}

function mode(bits: number): string {
  return bits.toString(8).padStart(3, "0");
}

function environmentLines(plan: Plan): string[] {
  return section(
    "environment",
    plan.environmentChanges.map(({ name, change }) => `${change}: ${name}`),
  );
}

function warningLines(plan: Plan): string[] {
  return plan.warnings.map((warning) => `warning: ${warning}`);
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
}

/** A word as a shell would want it. */
function quoted(word: ByteString): string {
  const text = toText(word);
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text)
    ? text
    : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The plan as JSON, two spaces deep, ending in a newline. Byte strings that are not UTF-8 become `{"base64": …}`. */
export function explainJson(plan: Plan): string {
  const shown = shownPlan(plan);
  return `${
    JSON.stringify(shown, (_, value) =>
      typeof value === "string" ? shownString(value) : value, 2)
  }\n`;
}

function shownPlan(plan: Plan): unknown {
  switch (plan.kind) {
    case "direct":
      return plan;
    case "landlock_only":
      return { ...plan, filterRules: describeFilter(plan.filter) };
    case "bubblewrap":
      return {
        ...plan,
        promises: promises().bubblewrapPromises(plan),
        filterRules: describeFilter(plan.filter),
        bwrapArguments: shownArguments(plan),
      };
    default:
      return unreachable(plan);
  }
}

function shownString(value: string): unknown {
  const text = decodeText(value as ByteString);
  return text === null
    ? { base64: Buffer.from(value, "latin1").toString("base64") }
    : text;
}

/** The argument list with names in place of descriptors; the command follows behind `--`. */
export function shownArguments(plan: SandboxPlan): string[] {
  const mounts = new Map<number, string>();
  plan.mounts.forEach(({ op }, index) => {
    if (takesDescriptor(op) && op.kind !== "dev" && op.kind !== "proc") {
      mounts.set(
        index,
        op.kind === "empty_file"
          ? "<empty>"
          : `<${op.kind === "bind_own" ? op.source : op.path}>`,
      );
    }
  });
  const verifies = plan.supervisor.includes("mount verification");
  const supervised = plan.supervisor.length === 0 ? null : {
    info: "<info>",
    status: "<status>",
    sync: "<sync>",
    block: verifies ? "<block>" : null,
  };
  return bwrapArguments(
    plan,
    { seccomp: "<filter>", mounts, supervised },
    [],
    plan.stage.kind === "inner"
      ? ["<inner stage>"]
      : plan.stage.kind === "listening"
      ? ["<listening program>", ...plan.command]
      : plan.command,
  );
}
