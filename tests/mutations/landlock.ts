/**
 * The protective steps of the Landlock rung, where there is no bubblewrap: what its domain decides about, what its filter denies
 * besides, and what is given up before the command.
 *
 * @module
 */
import { type Defence, live, type Notice, pure } from "./defence.ts";

const PLAN = "src/linux/landlock_plan.ts";
const LAUNCHER = "src/linux/landlock_launcher.ts";
const RULES = "src/linux/seccomp/rules.ts";

const FILTERS: Notice = ["linux/seccomp/filters_test.ts"];
const PLANS: Notice = ["linux/landlock_plan_test.ts"];
const CONFINED = "sandbox/landlock_test.ts";
const STATE = "sandbox/landlock_state_test.ts";

const FILTER_STEPS: readonly Defence[] = [
  pure(
    "modes, owners and times of what may only be read stay",
    RULES,
    `    ...(request.attributes === "denied" ? [ATTRIBUTE_RULE] : []),\n`,
    ``,
    FILTERS,
  ),
  pure(
    "flags of files that may only be read stay",
    RULES,
    `    ...Object.values(ATTRIBUTE_COMMANDS).map((command) => ({
      tests: [intEquals(1, command)],
      verdict: "EPERM" as const,
    })),
`,
    ``,
    FILTERS,
  ),
  pure(
    "no device is opened for commands alone",
    RULES,
    `    ...(isBesideTheHost(request) ? openingRules(request) : []),\n`,
    ``,
    ["linux/seccomp/filters_test.ts", "^openat"],
  ),
  pure(
    "no namespace is made where bubblewrap does not see to it",
    RULES,
    `      ? [...NAMESPACE_RULES, ...OTHERS_RULES]`,
    `      ? [...OTHERS_RULES]`,
    FILTERS,
  ),
  pure(
    "other processes keep their limits and priorities",
    RULES,
    `      ? [...NAMESPACE_RULES, ...OTHERS_RULES]`,
    `      ? [...NAMESPACE_RULES]`,
    FILTERS,
  ),
  pure(
    "a flag of unshare that is not known makes no namespace",
    RULES,
    `        maskedEquals(0, ~PLAIN_UNSHARE >>> 0, 0),`,
    `        maskedEquals(0, NEW_NAMESPACE, 0),`,
    FILTERS,
  ),
  ...["CLONE_NEWNS |", "CLONE_NEWUSER |", "CLONE_NEWPID |"].map((flag) =>
    pure(
      `clone makes no namespace with ${flag.slice(0, -2)}`,
      RULES,
      flag,
      "",
      FILTERS,
    )
  ),
  pure(
    "without a network namespace no socket is made",
    RULES,
    `return [NO_SOCKET_RULE, SOCKETPAIR_RULE, NO_PEER_RULE, SENDTO_RULE];`,
    `return [SOCKETPAIR_RULE, NO_PEER_RULE, SENDTO_RULE];`,
    FILTERS,
  ),
  pure(
    "without a network namespace nobody is connected to",
    RULES,
    `return [NO_SOCKET_RULE, SOCKETPAIR_RULE, NO_PEER_RULE, SENDTO_RULE];`,
    `return [NO_SOCKET_RULE, SOCKETPAIR_RULE, SENDTO_RULE];`,
    FILTERS,
  ),
  pure(
    "without a network namespace nobody is sent to by address",
    RULES,
    `return [NO_SOCKET_RULE, SOCKETPAIR_RULE, NO_PEER_RULE, SENDTO_RULE];`,
    `return [NO_SOCKET_RULE, SOCKETPAIR_RULE, NO_PEER_RULE];`,
    FILTERS,
  ),
  pure(
    "the high half of an address counts",
    RULES,
    `      { arg: 4, half: "low", is: "equal", value: 0 },
      { arg: 4, half: "high", is: "equal", value: 0 },`,
    `      { arg: 4, half: "low", is: "equal", value: 0 },`,
    FILTERS,
  ),
  pure(
    "daemons of the host are not reached where no mount hides their sockets",
    RULES,
    `    { tests: [intEquals(0, AF_UNIX)], verdict: "EPERM" },\n`,
    ``,
    FILTERS,
  ),
];

const PLAN_STEPS: readonly Defence[] = [
  pure(
    "the domain decides about all files",
    PLAN,
    `      : all.files,
    net`,
    `      : all.files.filter((right) => right !== "MAKE_REG"),
    net`,
    PLANS,
  ),
  pure(
    "the domain decides about the network",
    PLAN,
    `policy.network === "host" ? [] : all.net,`,
    `[],`,
    PLANS,
  ),
  pure(
    "the domain has a scope",
    PLAN,
    `    scopes: all.scopes,`,
    `    scopes: [],`,
    PLANS,
  ),
  pure(
    "a readable root has no devices",
    PLAN,
    `...places.filter(({ path }) => path !== DEV).map((`,
    `...places.map((`,
    PLANS,
  ),
  pure(
    "a rule speaks of what was seen",
    PLAN,
    `      seen: path === PROC ? null : identityOf(factAt(path)),`,
    `      seen: null,`,
    PLANS,
  ),
  pure(
    "without namespaces the filter denies them",
    PLAN,
    `    namespaces: "denied",`,
    `    namespaces: "allowed",`,
    PLANS,
  ),
  pure(
    "without network no socket reaches the host",
    PLAN,
    `      ? "shared_restricted"`,
    `      ? "host"`,
    PLANS,
  ),
  pure(
    "where sockets of daemons can't be hidden, none is made",
    PLAN,
    `      : closesUnixSockets(policy, sockets)`,
    `      : false`,
    PLANS,
  ),
  pure(
    "where nothing is writable no attribute is changed",
    PLAN,
    `  return writableDirectories(layout).length === 0`,
    `  return false`,
    PLANS,
  ),
  pure(
    "what a run lacks is said",
    PLAN,
    `  if (lacking.length === 0) return [];`,
    `  if (lacking.length >= 0) return [];`,
    PLANS,
  ),
];

const LAUNCH_STEPS: readonly Defence[] = [
  live(
    "the command is in the domain",
    LAUNCHER,
    `    const restricted = landlockRestrict(ruleset.value);`,
    `    const restricted = { ok: true } as ReturnType<typeof landlockRestrict>;`,
    [CONFINED, "can't be read, listed or executed"],
  ),
  live(
    "the command has the filter without bubblewrap too",
    LAUNCHER,
    `  installFilter(Buffer.from(filter).toString("latin1"));`,
    `  installFilter(null);`,
    [CONFINED, "no capability, no_new_privs and one filter"],
  ),
  live(
    "root's capabilities are dropped without bubblewrap too, or nothing runs",
    LAUNCHER,
    `  const dropped = dropCapabilities();`,
    `  const dropped = { ok: true } as ReturnType<typeof dropCapabilities>;`,
    [CONFINED, "no capability, no_new_privs and one filter"],
  ),
  live(
    "nothing that the caller has open reaches the command without bubblewrap either",
    LAUNCHER,
    `  const restored = restoreState(plan.passFds, softNofile);`,
    `  const restored = { ok: true } as ReturnType<typeof restoreState>;`,
    [STATE, "no descriptor but 0 to 2"],
  ),
  live(
    "a stream opened for reading is not to be written without bubblewrap either",
    LAUNCHER,
    `      (mode === abi.O_RDONLY
        ? reading`,
    `      (mode === abi.O_RDONLY
        ? reading | writing`,
    [STATE, "opened for reading can't be written"],
  ),
];

export const LANDLOCK: readonly Defence[] = [
  ...FILTER_STEPS,
  ...PLAN_STEPS,
  ...LAUNCH_STEPS,
];
