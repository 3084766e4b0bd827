/**
 * The protective steps of what runs last before the command: the inner stage, the Landlock launcher, what both give back. Each failure
 * of theirs must start nothing.
 *
 * @module
 */
import { type Defence, live, type Notice, pure } from "./defence.ts";

const INNER = "src/linux/inner_stage.ts";

const STAGES: Notice = ["linux/inner_stage_test.ts"];

/** One step of the inner stage, taken out. */
function inner(step: string, text: string, instead: string): Defence {
  return pure(step, INNER, text, instead, STAGES);
}

const REBINDING: readonly Defence[] = [
  inner(
    "a stream is opened anew only where the same file lies: by inode",
    `after.value.device === before.value.device &&
    after.value.inode === before.value.inode;`,
    `after.value.device === before.value.device;`,
  ),
  inner(
    "a stream is opened anew only where the same file lies: by device",
    `after.value.device === before.value.device &&
    after`,
    `after`,
  ),
  ...[
    [
      "that is not open",
      `  if (!before.ok) return refuse(abi.errnoText(before.error.errno));`,
      `  if (!before.ok) return;`,
    ],
    [
      "whose place is gone",
      `  if (!again.ok) return refuse(abi.errnoText(again.error.errno));`,
      `  if (!again.ok) return;`,
    ],
    [
      "whose offset can't be set",
      `  if (!moved.ok) return refuse(abi.errnoText(moved.error.errno));`,
      `  if (!moved.ok) return;`,
    ],
    [
      "that can't be replaced",
      `  if (!placed.ok) return refuse(abi.errnoText(placed.error.errno));`,
      `  if (!placed.ok) return;`,
    ],
  ].map(([what, text = "", instead = ""]) =>
    inner(
      `nothing starts with a stream to be opened anew ${what}`,
      text,
      instead,
    )
  ),
];

const PRIVILEGES: readonly Defence[] = [
  pure(
    "the command can't gain privileges, with a filter or without",
    INNER,
    `  forbidNewPrivileges();
  if (filter === null) return;`,
    `  if (filter === null) return;
  forbidNewPrivileges();`,
    ["linux/inner_stage_test.ts", "gain privileges"],
  ),
  pure(
    "an inner stage that can't see its capabilities starts nothing",
    INNER,
    `sets.length !== 2 || `,
    ``,
    ["linux/inner_stage_test.ts", "see its capabilities"],
  ),
];

const GUARDING: readonly Defence[] = [
  inner(
    "behind a guard a stream for reading is not written",
    `    if (!flags.ok || (flags.value & abi.O_ACCMODE) === abi.O_RDONLY) continue;`,
    `    if (!flags.ok) continue;`,
  ),
  inner(
    "behind a guard only its places are written",
    `  allowBelow("/" as ByteString, ROOT_RIGHTS);`,
    `  allowBelow("/" as ByteString, ROOT_RIGHTS | WRITE_RIGHTS);`,
  ),
  inner(
    "a guard is entered",
    `  const restricted = landlockRestrict(ruleset.value);
  close(ruleset.value);
  if (!restricted.ok) guardFailed(restricted.error);`,
    ``,
  ),
  inner(
    "nothing starts where a guard can't be made",
    `  if (!ruleset.ok) return guardFailed(ruleset.error);`,
    `  if (!ruleset.ok) return;`,
  ),
  inner(
    "nothing starts where a guard's place is gone",
    `    if (!fd.ok) return guardFailed(fd.error);`,
    `    if (!fd.ok) return;`,
  ),
  inner(
    "nothing starts where a guard's place can't be allowed",
    `    if (!added.ok && added.error.errno !== abi.EBADFD) guardFailed(added.error);`,
    ``,
  ),
  inner(
    "nothing starts where a guard can't be entered",
    `  if (!restricted.ok) guardFailed(restricted.error);`,
    ``,
  ),
];

const STARTING: readonly Defence[] = [
  inner(
    "our own inner stage asks whether it has capabilities",
    `  const orders = JSON.parse(text.value) as InnerOrders;
  requireNoCapabilities();`,
    `  const orders = JSON.parse(text.value) as InnerOrders;`,
  ),
  inner(
    "nothing starts inside where the process can't be given back as it was",
    `  const restored = restoreState(orders.passFds, orders.softNofile);
  if (!restored.ok) return stop(OURS, restored.error.message);`,
    `  restoreState(orders.passFds, orders.softNofile);`,
  ),
  inner(
    "nothing starts inside where the listeners can't be handed over",
    `    if (!handed.ok) return stop(OURS, handed.error);`,
    ``,
  ),
  live(
    "with debug process 1 can't be traced",
    INNER,
    `  installTraceDomain(orders.traceDomain);\n`,
    ``,
    ["sandbox/given_back_test.ts", "trace its children and not process 1"],
  ),
  inner(
    "nothing starts where the domain of debug can't be entered",
    `  if (entered.ok) return;`,
    `  return;`,
  ),
  inner(
    "nothing starts where no_new_privs can't be set",
    `  if (!privileges.ok) {`,
    `  if (false) {`,
  ),
  inner(
    "nothing starts where a filter can't be installed",
    `  if (!installed.ok) {`,
    `  if (false) {`,
  ),
  inner(
    "a caller's inner stage installs its filter",
    `  installFilter(Buffer.from(filter).toString("latin1"));
  return executeCommand(command, routed.value);`,
    `  return executeCommand(command, routed.value);`,
  ),
  inner(
    "a caller's inner stage without network takes the tight filter",
    `      : "isolated_tight",`,
    `      : "isolated",`,
  ),
  inner(
    "nothing starts in a caller's namespaces with a process as the runtime has it",
    `  const restored = restoreState([], callerSoftLimit());
  if (!restored.ok) return stop(OURS, restored.error.message);`,
    `  restoreState([], callerSoftLimit());`,
  ),
  inner(
    "nothing starts in a caller's namespaces without its routes",
    `  if (!routed.ok) return stop(OURS, routed.error);`,
    `  if (!routed.ok) (routed as { value?: unknown }).value = environment;`,
  ),
];

const STATE = "src/linux/process_state.ts";

const GIVEN_BACK: readonly Defence[] = [
  [
    "inherited descriptors can't be closed",
    `  if (!closing.ok) {`,
  ],
  [
    "a descriptor can't be passed",
    `    if (!kept.ok) return failed(\`Cannot pass descriptor \${fd}\`, kept.error);`,
  ],
  [
    "a signal can't be reset",
    `    if (!reset.ok) return failed(\`Cannot reset signal \${signal}\`, reset.error);`,
  ],
  [
    "the limit of open files can't be restored",
    `  return limit.ok
    ? ok(undefined)
    : failed("Cannot restore the limit of open files", limit.error);`,
  ],
].map(([what, text = ""]) =>
  pure(
    `nothing is executed where ${what}`,
    STATE,
    text,
    text.includes("{\n") || text.endsWith("{")
      ? `  if (false) {`
      : text.includes("return limit")
      ? `  return limit.ok ? ok(undefined) : ok(undefined);`
      : ``,
    STAGES,
  )
);

const ALONE = "src/linux/landlock_launcher.ts";

const LAUNCHES: Notice = ["linux/landlock_launcher_test.ts"];

const LAUNCHING: readonly Defence[] = [
  [
    "a rule is for what was seen: by inode",
    `stat.value.device === seen.device &&
    stat.value.inode === seen.inode;`,
    `stat.value.device === seen.device;`,
  ],
  [
    "a rule is for what was seen: by device",
    `stat.value.device === seen.device &&
    stat`,
    `stat`,
  ],
  [
    "a rule is opened through no link",
    `    abi.RESOLVE_NO_SYMLINKS,`,
    `    0,`,
  ],
  [
    "what was granted by name may not be missing",
    `rule.seen === null && rule.path !== "/" as string &&
        fd`,
    `fd`,
  ],
  [
    "nothing starts where a domain can't be made",
    `  if (!ruleset.ok) {
    return failed("Cannot make a Landlock domain", ruleset.error);
  }`,
    `  if (!ruleset.ok) return ok(null);`,
  ],
  [
    "nothing starts where a place of the domain can't be allowed",
    `  return added.ok || added.error.errno === abi.EBADFD`,
    `  return added.ok || added.error.errno !== abi.EBADFD`,
  ],
  [
    "nothing starts where the domain can't be entered",
    `    if (!restricted.ok) {`,
    `    if (false) {`,
  ],
  [
    "nothing starts alone where the process can't be given back as it was",
    `  if (!restored.ok) return restored.error;`,
    ``,
  ],
  [
    "nothing starts alone as another user than --user says",
    `    if (!become.ok) {`,
    `    if (false) {`,
  ],
  [
    "--user is honoured without bubblewrap too",
    `    const become = becomeUser(plan.user);`,
    `    const become = { ok: true } as ReturnType<typeof becomeUser>;`,
  ],
  [
    "nothing starts alone in another directory",
    `  if (!moved.ok) {`,
    `  if (false) {`,
  ],
  [
    "a directory as a stream grants nothing",
    `    if (type !== abi.S_IFREG && type !== abi.S_IFCHR) continue;\n`,
    ``,
  ],
  [
    "a stream for writing grants no reading",
    `        : mode === abi.O_WRONLY
        ? writing`,
    `        : mode === abi.O_WRONLY
        ? reading | writing`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, ALONE, text, instead, LAUNCHES)
);

export const STAGE_STEPS: readonly Defence[] = [
  ...REBINDING,
  ...PRIVILEGES,
  ...GUARDING,
  ...STARTING,
  ...GIVEN_BACK,
  ...LAUNCHING,
];
