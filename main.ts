/**
 * Wiring and exit status of `codex`, nothing else.
 *
 * The name under which we were called is looked at before anything else; then each step hands data to the next. Output goes through
 * the two writers below: stdout belongs to the command wherever one runs.
 *
 * @module
 */
import {
  BWRAP_SHA256,
  BWRAP_VERSION,
  CODEX_VERSION,
} from "./src/build_info.ts";
import { type ByteString, toText } from "./src/bytes.ts";
import { dispatch, type Entry } from "./src/cli/dispatch.ts";
import { completionScript } from "./src/cli/completions.ts";
import { helpText, versionText } from "./src/cli/help.ts";
import {
  parseCleanOptions,
  parseConfigOptions,
  parseDoctorOptions,
  parsePolicyOptions,
} from "./src/cli/answer_options.ts";
import {
  type HelperOptions,
  parseHelperOptions,
} from "./src/cli/helper_options.ts";
import { type HelpRequest } from "./src/cli/options.ts";
import { type ResultTarget, resultTargetOf } from "./src/cli/run_limits.ts";
import { parseSandboxOptions } from "./src/cli/sandbox_options.ts";
import type { UsageError } from "./src/cli/usage.ts";
import type { CommandOutput } from "./src/commands/output.ts";
import { describe, exitStatus, type Failure } from "./src/failure.ts";
import { type Origin, readOrigin, readWords } from "./src/host/origin.ts";
import { explainJson, explainText } from "./src/linux/explain.ts";
import { runCallersInnerStage } from "./src/linux/inner_stage.ts";
import { withoutLoader } from "./src/linux/own_files.ts";
import { missedStart } from "./src/run/kept_start.ts";
import { carryOut } from "./src/run/carry_out.ts";
import { prepareRun } from "./src/run/prepare.ts";
import {
  type Prepared,
  type RunRequest,
  stateHomeOf,
} from "./src/run/request.ts";
import { helperPolicy, helperRequest } from "./src/run/helper_request.ts";
import { sandboxRequest } from "./src/run/sandbox_request.ts";
import { type Result, unreachable } from "./src/result.ts";
import type { ResultTeller } from "./src/run/result.ts";
import { exitNow, writeAll } from "./src/sys/calls.ts";
import { startObserving } from "./src/sys/observed.ts";

function main(): void {
  const argv = readWords();
  if (!argv.ok) return stop({ kind: "origin", error: argv.error });
  const ownWords = withoutLoader(argv.value);
  const [argv0 = "" as ByteString, ...words] = ownWords;
  const entry = dispatch(argv0, words);
  if (entry.kind === "helper") {
    // One of our own spellings, as those of entry.ts are.
    if (words[0] === "--relay") return startRelayProcess(Number(words[1]));
  }
  const origin = readOrigin(ownWords);
  if (!origin.ok) return stop({ kind: "origin", error: origin.error });
  start(entry, origin.value);
}

function start(entry: Entry, origin: Origin): void {
  switch (entry.kind) {
    case "sandbox":
      return startSandbox(entry.words, entry.rootWords, origin);
    case "usage_error":
      return stop({ kind: "usage", error: entry.error });
    case "version":
      return print(
        versionText({
          version: CODEX_VERSION,
          bwrapVersion: BWRAP_VERSION ?? "none",
          bwrapDigest: BWRAP_SHA256 ?? "none",
        }),
      );
    case "help":
      return print(helpText(entry.topic));
    case "proxy_connect":
      return startProxyConnect(entry.host, entry.port, origin);
    case "completions":
      return print(completionScript(entry.shell));
    case "helper":
      return startHelper(entry.words, origin);
    case "config": {
      const options = parseConfigOptions(entry.words, entry.rootWords);
      return answer(options, (it) => commands().runConfigCommand(it, origin));
    }
    case "doctor": {
      const options = parseDoctorOptions(entry.words, entry.rootWords);
      return answer(options, (it) => care().runDoctor(it, origin));
    }
    case "clean": {
      const options = parseCleanOptions(entry.words);
      return answer(options, (it) => care().runClean(it, origin));
    }
    case "policy": {
      const options = parsePolicyOptions(entry.words, entry.rootWords);
      return answer(options, (it) => commands().runPolicyCommand(it, origin));
    }
    default:
      return unreachable(entry);
  }
}

/** The bridge of a caller's inner stage. Loaded on demand. */
function startRelayProcess(ordersFd: number): void {
  const { runRelay } = require(
    "./src/linux/callers_routes.ts",
  ) as typeof import("./src/linux/callers_routes.ts");
  process.on("uncaughtException", endUncaught);
  runRelay(ordersFd);
}

/** Inside a sandbox, for ssh: joins our streams to a host through the run's proxy. Loaded on demand. */
function startProxyConnect(
  host: ByteString,
  port: ByteString,
  { environment }: Origin,
): void {
  const { proxyConnect } = require(
    "./src/egress/proxy_connect.ts",
  ) as typeof import("./src/egress/proxy_connect.ts");
  const request = { host: toText(host), port: toText(port), environment };
  proxyConnect(request).then((failure) => {
    if (failure === null) exitNow(0);
    say(failure);
    exitNow(1);
  }, endUncaught);
}

/** Loaded on demand: a run never pays for what explains it. */
function commands(): typeof import("./src/commands.ts") {
  return require("./src/commands.ts");
}

/** Loaded on demand too. */
function care(): typeof import("./src/care.ts") {
  return require("./src/care.ts");
}

/** Prints what a command that only answers has to say, and ends with its status. */
function answer<T extends { readonly kind: string }>(
  options: Result<T | HelpRequest, UsageError>,
  run: (options: T) => Result<CommandOutput, Failure>,
): never {
  if (!options.ok) return stop({ kind: "usage", error: options.error });
  const asked = options.value;
  if (isHelp(asked)) return print(helpText(asked.topic));
  const output = run(asked);
  if (!output.ok) return stop(output.error);
  if (output.value.stderr !== "") {
    writeAll(2, Buffer.from(output.value.stderr, "utf8"));
  }
  const written = writeAll(1, Buffer.from(output.value.stdout, "utf8"));
  exitNow(written.ok ? output.value.status : 125);
}

function isHelp(
  options: { readonly kind: string },
): options is HelpRequest {
  return options.kind === "help";
}

function startSandbox(
  words: readonly ByteString[],
  rootWords: readonly ByteString[],
  origin: Origin,
): void {
  const timer = new Timer();
  const options = parseSandboxOptions(words, rootWords);
  if (!options.ok) {
    const target = resultTargetOf(words);
    if (target !== null) tellResultTo(target, []);
    return stop({ kind: "usage", error: options.error });
  }
  if (options.value.kind === "help") {
    return print(helpText(options.value.topic));
  }
  timer.mark("options");
  const { limits: { result }, passedFds } = options.value;
  if (result !== null && options.value.action === "run") {
    tellResultTo(result, passedFds);
  }
  if (missedStart() !== null) startObserving();
  const request = sandboxRequest(options.value, origin, teller, timer.mark);
  if (!request.ok) return stop(request.error);
  timer.mark("config");
  for (const warning of request.value.warnings) say(`warning: ${warning}`);
  const prepared = prepareRun(request.value);
  if (!prepared.ok) return stop(prepared.error);
  switch (options.value.action) {
    case "explain_text":
      return print(explainText(prepared.value.plan));
    case "explain_json":
      return print(explainJson(prepared.value.plan));
    case "run":
      warnOf(prepared.value, request.value);
      if (options.value.printsTimings) timer.printAtLaunch = true;
      return finish(request.value, prepared.value);
  }
}

/** What only the plan knows: a fresh /proc that can't be mounted, a masked file that has another name. */
function warnOf(prepared: Prepared, request: RunRequest): void {
  for (const warning of prepared.plan.warnings) {
    if (!request.warnings.includes(warning)) say(`warning: ${warning}`);
  }
  const cut = prepared.kind === "sandbox"
    ? prepared.plan.repositories?.cut ?? null
    : null;
  if (cut === null) return;
  const { cutWarning } = require(
    "./src/run/cut_search.ts",
  ) as typeof import("./src/run/cut_search.ts");
  const line = cutWarning(request.policy.cwd, cut, stateHomeOf(request));
  if (line !== null) say(`warning: ${line}`);
}

function startHelper(words: readonly ByteString[], origin: Origin): void {
  const options = parseHelperOptions(words);
  if (!options.ok) return stop({ kind: "usage", error: options.error });
  if (options.value.kind === "help") {
    return print(helpText(options.value.topic));
  }
  if (options.value.stage === "inner") {
    return startCallersInnerStage(options.value, origin);
  }
  const request = helperRequest(options.value, origin, () => {});
  if (!request.ok) return stop(request.error);
  for (const warning of request.value.warnings) say(`warning: ${warning}`);
  const prepared = prepareRun(request.value);
  if (!prepared.ok) return stop(prepared.error);
  warnOf(prepared.value, request.value);
  return finish(request.value, prepared.value);
}

/** Carries the plan out. A run whose network we serve goes on in the event loop. */
function finish(request: RunRequest, prepared: Prepared): void {
  const failure = carryOut(
    request,
    prepared,
    warn,
    () => prepareRun(request),
  );
  if (!(failure instanceof Promise)) return stop(failure);
  // A mistake in what serves the network ends the run: our death does it, and the watcher.
  process.on("uncaughtException", endUncaught);
  process.on("unhandledRejection", endUncaught);
  failure.then(stop, endUncaught);
}

function endUncaught(error: unknown): never {
  endInternally(error instanceof Error ? error.message : String(error));
}

/** `--apply-seccomp-then-exec`: the caller has made the namespaces, we add the filter. */
function startCallersInnerStage(options: HelperOptions, origin: Origin): never {
  const resolved = helperPolicy(options, origin);
  if (!resolved.ok) return stop(resolved.error);
  return runCallersInnerStage(
    resolved.value.policy,
    options.command,
    origin.environment,
    options.proxy.kind === "environment" ? options.proxy.routeSpecJson : null,
  );
}

/** Where the milliseconds went, for `--timings`. */
class Timer {
  printAtLaunch = false;
  readonly #marks: [string, number][] = [];
  mark = (step: string): void => {
    this.#marks.push([step, performance.now()]);
    if (step === "launch" && this.printAtLaunch) {
      let before = 0;
      for (const [name, at] of this.#marks) {
        say(`${(at - before).toFixed(2)} ms ${name}`);
        before = at;
      }
    }
  };
}

/** Whom `--result-json` tells how the run ended; `null` without it. */
let teller: ResultTeller | null = null;

/** From here on every end is told. Loaded on demand. */
function tellResultTo(
  target: ResultTarget,
  passedFds: readonly number[],
): void {
  const { resultTeller } = require(
    "./src/run/result.ts",
  ) as typeof import("./src/run/result.ts");
  const claimed = resultTeller(target, passedFds, say);
  if (!claimed.ok) return stop(claimed.error);
  teller = claimed.value;
}

/** Ends with a failure: its one line, its status. */
function stop(failure: Failure): never {
  say(describe(failure));
  teller?.tellFailure(failure);
  exitNow(exitStatus(failure));
}

function warn(line: string): void {
  say(`warning: ${line}`);
}

/** The one writer to stderr. */
function say(line: string): void {
  writeAll(2, Buffer.from(`codex: ${line}\n`, "utf8"));
}

/** The one writer to stdout, and the end. */
function print(text: string): never {
  const written = writeAll(1, Buffer.from(text, "utf8"));
  exitNow(written.ok ? 0 : 125);
}

/** What the runtime says where no room for compiled code could be reserved. */
const WITHOUT_JIT = "requires the JIT";

/** A mistake of ours, or a host on which not even a system call can be made. The command has not started: nothing after its exec is ours. */
function endInternally(message: string): never {
  const line = message.includes(WITHOUT_JIT)
    ? "Cannot start the runtime: it lacks address space, raise the limit (ulimit -v) to 3000000 or more"
    : `internal error: ${message}; please report it`;
  try {
    say(line);
    teller?.tellMistake(line);
    exitNow(125);
  } catch {
    // Without libc only the runtime's own way out is left: too little address space (ulimit -v) does that.
    process.stderr.write(`codex: ${line}\n`);
    process.exit(125);
  }
}

// Last, when every class and constant above exists.
try {
  main();
} catch (error) {
  endUncaught(error);
}
