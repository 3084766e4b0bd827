/**
 * Carries out `codex doctor` and `codex sandbox clean`: gathers, and hands over to what is pure.
 *
 * Effects: those of loading config files, of small trial sandboxes, and of removing leftovers. Loaded by `main` only for these.
 *
 * @module
 */
import { prepareRun } from "./run/prepare.ts";
import { CODEX_VERSION } from "./build_info.ts";
import { type ByteString, fromText, toText } from "./bytes.ts";
import { type CleanOptions, type DoctorOptions } from "./cli/answer_options.ts";
import { type SessionConfig } from "./cli/options.ts";
import { parseSandboxOptions } from "./cli/sandbox_options.ts";
import { type CommandOutput, jsonText } from "./commands/output.ts";
import { describe, type Failure } from "./failure.ts";
import { homeOf, type Origin, variable } from "./host/origin.ts";
import { openStateFolder } from "./host/state_folder.ts";
import {
  type Leftover,
  type LeftoverPlaces,
  leftovers,
} from "./linux/leftovers.ts";
import type { TrustRequest } from "./linux/bwrap_choice.ts";
import type { DoctorFacts, ProfileFacts } from "./linux/doctor/facts.ts";
import { lookAtHost, lookAtState } from "./linux/doctor/look.ts";
import { reportOn } from "./linux/doctor/report.ts";
import { reportJson, reportText } from "./linux/doctor/text.ts";
import { bubblewrapPromises, type KeptPromise } from "./linux/promises.ts";
import type { Plan } from "./linux/plan.ts";
import { runProbe } from "./linux/run_probe.ts";
import { type AbsPath, childOf, ROOT, toAbsPath } from "./policy/path.ts";
import { sandboxRequest } from "./run/sandbox_request.ts";
import { ok, type Result, unreachable } from "./result.ts";
import { errnoText } from "./sys/abi.ts";
import { close, stat } from "./sys/calls.ts";

/** What `codex doctor` says: it looks, starts small sandboxes, and changes nothing. */
export function runDoctor(
  { format, config }: DoctorOptions,
  origin: Origin,
): Result<CommandOutput, Failure> {
  const places = placesOf(origin);
  const words = sessionWords(config);
  const planned = planDefault(words, origin);
  const facts: DoctorFacts = {
    version: CODEX_VERSION,
    ...lookAtHost(origin, planned.trust),
    state: lookAtState(places.codexHome, places.euid),
    profile: {
      name: planned.name,
      plan: planned.plan,
      run: planned.plan.kind === "planned" ? tryDefault(words, origin) : null,
    },
    leftovers: leftovers(places, false).map((it) => ({
      ...it,
      path: toText(it.path),
    })),
  };
  const report = reportOn(facts);
  return ok({
    stdout: format === "json"
      ? jsonText(reportJson(report, facts))
      : reportText(report, facts),
    stderr: "",
    status: report.isEnforced ? 0 : 1,
  });
}

/** The session settings as words of `codex sandbox`. */
function sessionWords(config: SessionConfig): ByteString[] {
  const words = [
    ...config.overrides.flatMap((it) => ["-c", it]),
    ...config.features.flatMap(({ feature, isEnabled }) => [
      isEnabled ? "--enable" : "--disable",
      feature,
    ]),
    ...(config.configProfile === null ? [] : ["-p", config.configProfile]),
  ];
  return words.map(fromText);
}

interface PlannedDefault {
  readonly name: string;
  readonly plan: ProfileFacts["plan"];
  readonly trust: TrustRequest;
}

/** What a run of `true` without `-P` would be. */
function planDefault(
  words: readonly ByteString[],
  origin: Origin,
): PlannedDefault {
  const trust: TrustRequest = {
    cwd: origin.cwd ?? ROOT,
    workspaceRoots: [],
    writableRoots: [],
  };
  const refused = (name: string, error: Failure): PlannedDefault => ({
    name,
    plan: { kind: "refused", why: describe(error) },
    trust,
  });
  const options = parseSandboxOptions([...words, ...trialCommand()]);
  if (!options.ok) return refused("", { kind: "usage", error: options.error });
  if (options.value.kind === "help") throw new Error("no help was asked for");
  const request = sandboxRequest(options.value, origin, null, () => {});
  if (!request.ok) return refused("", request.error);
  const { name, cwd, workspaceRoots } = request.value.policy;
  const prepared = prepareRun(request.value);
  if (!prepared.ok) return refused(name, prepared.error);
  const plan = prepared.value.plan;
  return {
    name,
    plan: {
      kind: "planned",
      backEnd: plan.kind,
      launcher: launcherText(plan),
      promises: promisesOf(plan),
      warnings: plan.warnings,
    },
    trust: { cwd, workspaceRoots, writableRoots: [] },
  };
}

/** What is run to see that a run works: PATH may be empty, and a small container may lack one or the other. */
function trialCommand(): readonly ByteString[] {
  const found = TRIALS.find(([program]) => stat(program as ByteString).ok);
  return ["--", ...(found ?? ["true"])] as ByteString[];
}

const TRIALS = [
  ["/usr/bin/true"],
  ["/bin/true"],
  ["/bin/sh", "-c", ":"],
] as const;

function promisesOf(plan: Plan): readonly KeptPromise[] {
  switch (plan.kind) {
    case "direct":
      return [];
    case "landlock_only":
      return plan.promises;
    case "bubblewrap":
      return bubblewrapPromises(plan);
    default:
      return unreachable(plan);
  }
}

function launcherText(plan: Plan): string {
  if (plan.kind === "direct") return "without any sandbox";
  if (plan.kind === "landlock_only") {
    return `Landlock ${plan.landlock} and seccomp alone`;
  }
  const { launcher } = plan;
  return launcher.kind === "system"
    ? `${toText(launcher.path)} ${launcher.version} (${launcher.reason})`
    : `the bundled bubblewrap ${launcher.version} (${launcher.reason})`;
}

/** Runs `true` under the default profile, by our own executable: nothing else shows that it works. */
function tryDefault(
  words: readonly ByteString[],
  origin: Origin,
): ProfileFacts["run"] {
  const outcome = runProbe({
    path: "/proc/self/exe",
    argv: ["codex", "sandbox", ...words, ...trialCommand()],
    environment: origin.environment,
  }, RUN_TIMEOUT_MS);
  if (!outcome.ok) {
    return { status: errnoText(outcome.error.errno), output: "" };
  }
  const { status, output } = outcome.value;
  return {
    status: status.kind === "exited"
      ? status.status
      : status.kind === "signalled"
      ? `signal ${status.signal}`
      : `no end after ${RUN_TIMEOUT_MS / 1000} s`,
    output: output.trim().split("\n").map((line) => toText(line as ByteString))
      .join("\n"),
  };
}

const RUN_TIMEOUT_MS = 20_000;

/** What `codex sandbox clean` says and does. */
export function runClean(
  { removes }: CleanOptions,
  origin: Origin,
): Result<CommandOutput, Failure> {
  const places = placesOf(origin);
  const found = leftovers(places, removes);
  const lines = found.map((it) => `${leftoverLine(it, removes)}\n`);
  const unread = unreadRecords(places);
  const stdout = lines.length === 0 && unread === null
    ? "nothing to clean\n"
    : lines.join("");
  return ok({ stdout, stderr: unread ?? "", status: unread === null ? 0 : 1 });
}

/** The line about records that can't be read: they may speak of anything, so nobody knows that nothing was left. */
function unreadRecords({ codexHome, euid }: LeftoverPlaces): string | null {
  if (codexHome === null) return null;
  const options = { create: false, euid };
  const folder = openStateFolder(codexHome, ["placeholders"], options);
  if (folder.ok) close(folder.value);
  return folder.ok || folder.error.isMissing
    ? null
    : `codex: Cannot read what runs have recorded in ${
      toText(folder.error.path)
    }: ${folder.error.why}\n`;
}

function leftoverLine(
  { path, state, why }: Leftover,
  removes: boolean,
): string {
  const done = state === "kept" ? "kept" : removes ? "removed" : "would remove";
  return `${done} ${toText(path)}: ${why}`;
}

function placesOf(origin: Origin): LeftoverPlaces {
  const { environment, euid, cwd } = origin;
  const home = homeOf(environment, origin.uid);
  const tmpdir = variable(environment, "TMPDIR");
  return {
    codexHome: codexHomeOf(origin, home),
    euid,
    cwd,
    home,
    tmpdir: tmpdir === null ? null : toAbsPath(tmpdir),
  };
}

/** Where records are: a `$CODEX_HOME` that can't be used is no reason not to look elsewhere. */
function codexHomeOf(origin: Origin, home: AbsPath | null): AbsPath | null {
  const set = variable(origin.environment, "CODEX_HOME");
  if (set !== null && set !== "") return toAbsPath(set);
  return home === null ? null : childOf(home, ".codex");
}
