/**
 * The protective steps of a run that somebody stays for: how it goes on and ends, what it stands on, what of dead runs is taken away.
 *
 * @module
 */
import { type Defence, live, type Notice, pure } from "./defence.ts";

const EVENTS = "src/linux/run_events.ts";

const TOLD: Notice = ["linux/run_events_test.ts"];

const EVENT_STEPS: readonly Defence[] = [
  [
    "each signal that would end us is caught",
    `  abi.SIGUSR2,\n  abi.SIGALRM,\n`,
    `  abi.SIGUSR2,\n`,
  ],
  [
    "signals of the terminal are caught where they are passed on",
    `? [...FATAL_SIGNALS, abi.SIGWINCH, abi.SIGTSTP, abi.SIGCONT]`,
    `? FATAL_SIGNALS`,
  ],
  [
    "a signal that is not passed on ends the run",
    `        : endNow({ kind: "signalled", signal: event.signal });\n    case "undeliverable"`,
    `        : { state, actions: [] };\n    case "undeliverable"`,
  ],
  [
    "a signal that nobody is there for ends the run",
    `      if (!FATAL_SIGNALS.includes(event.signal)) return`,
    `      if (event.signal > 0) return`,
  ],
  [
    "what was told to end, and could not hear it, ends of what it was told for",
    `        state.kind === "ending"
          ? state.cause
          : { kind: "signalled", signal: event.signal },`,
    `        { kind: "signalled", signal: event.signal },`,
  ],
  [
    "whatever ends a run at once kills what is inside",
    `actions: [{ kind: "kill_all" }] };`,
    `actions: [] };`,
  ],
  [
    "nothing happens to a run that is over",
    `  if (state.kind === "over") return { state, actions: [] };\n`,
    ``,
  ],
  [
    "what is told to end while it is stopped is woken",
    `      forward(abi.SIGCONT),
      { kind: "arm", timer: "grace", afterMs: graceMs },`,
    `      { kind: "arm", timer: "grace", afterMs: graceMs },`,
  ],
  [
    "what is told to end has a time",
    `      { kind: "arm", timer: "grace", afterMs: graceMs },\n`,
    ``,
  ],
  [
    "a second signal does not begin the time anew",
    `  if (state.kind === "ending" || !setsTime(signal, rules)) {`,
    `  if (!setsTime(signal, rules)) {`,
  ],
  [
    "SIGTERM and SIGHUP set a time at a terminal too",
    `    case abi.SIGHUP:
      return true;`,
    `    case abi.SIGHUP:
      return !rules.terminal;`,
  ],
  [
    "SIGINT and SIGQUIT set a time without a terminal",
    `      return !rules.terminal;`,
    `      return false;`,
  ],
  [
    "a run ends when its time is over",
    `        ? endNow(state.cause)`,
    `        ? { state, actions: [] }`,
  ],
  [
    "--timeout sets a time",
    `          : [{ kind: "arm", timer: "timeout", afterMs: rules.timeoutMs }],`,
    `          : [],`,
  ],
  [
    "--timeout without --grace ends the run at once",
    `      if (rules.graceMs === null) return endNow({ kind: "timeout" });\n`,
    ``,
  ],
  [
    "--timeout does not lengthen the time of a run that was told to end",
    `      if (state.kind === "ending") return { state, actions: [] };
      return tellToEnd(`,
    `      return tellToEnd(`,
  ],
  [
    "whatever the command makes of it, --timeout is a run's end",
    `  if (state.kind === "ending" && state.cause.kind === "timeout") {`,
    `  if (false) {`,
  ],
  [
    "a run that was told to end does not stop for a terminal",
    `      if (!forwards(rules) || state.kind === "ending") {`,
    `      if (!forwards(rules)) {`,
  ],
  [
    "a bubblewrap that did not run the command has no status of the command's",
    `  if (!ran && status === 1) return { kind: "not_started" };\n`,
    ``,
  ],
  [
    "an inner stage that did not run the command has no status of the command's",
    `  if (report !== null) return { kind: "refused_inside", status, report };\n`,
    ``,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, EVENTS, text, instead, TOLD)
);

const PLACES = "src/linux/placeholders.ts";
const RECORDS = "src/linux/placeholder_records.ts";

const HELD: Notice = ["linux/placeholders_test.ts"];

const PLACEHOLDER_STEPS: readonly Defence[] = [
  [
    "a placeholder is recorded before it is made",
    `    const begun = recorded === null`,
    `    create(parent.value, name, node);\n    const begun = recorded === null`,
  ],
  [
    "what can't be recorded is not made",
    `    if (begun?.ok === false) {`,
    `    if (false) {`,
  ],
  [
    "what could not be made leaves no record",
    `      forget();
      close(parent.value);
      return unmade(path, made.error);`,
    `      close(parent.value);
      return unmade(path, made.error);`,
  ],
  [
    "what was made before a failure is given back",
    `  releasePlaceholders(held, records.value);
  close(records.value);`,
    `  close(records.value);`,
  ],
  [
    "what can't be locked leaves no record",
    `      if (made.ok) takeBack(parent.value, name, node);
      forget();`,
    `      if (made.ok) takeBack(parent.value, name, node);`,
  ],
  [
    "what can't be locked is taken back",
    `      if (made.ok) takeBack(parent.value, name, node);\n`,
    ``,
  ],
  [
    "what is taken back is what nobody has filled",
    `    if (!now.ok || now.value.sizeBytes !== 0) return;`,
    `    if (!now.ok) return;`,
  ],
  [
    "what was there before leaves no record",
    `      forget();
      return ok(held);`,
    `      return ok(held);`,
  ],
  [
    "only what is recorded is removed",
    `      record: ours ? record : null,`,
    `      record,`,
  ],
  [
    "what took a dead run's place is not that run's",
    `      (recorded !== null && speaksOf(recorded, record, recordsFd, fd, stat));`,
    `      recorded !== null;`,
  ],
  [
    "what a dead run has made goes with the run that found it",
    `      (recorded !== null && speaksOf(recorded, record, recordsFd, fd, stat));`,
    `      false;`,
  ],
  [
    "a placeholder bears a mark",
    `    if (made.ok) setModified(fd, MARK);\n`,
    ``,
  ],
  [
    "the inode is added to a record that lacks it",
    `    if (made.ok || recorded?.inode === undefined) {`,
    `    if (made.ok) {`,
  ],
  [
    "a placeholder that can't be recorded to the end is taken back",
    `        if (made.ok) removeIfFree(held);\n`,
    ``,
  ],
  [
    "a placeholder that can't be recorded to the end leaves no record",
    `        if (begun !== null) unlinkAt(recordsFd, record, 0);
        close(parent.value);`,
    `        close(parent.value);`,
  ],
  [
    "a placeholder that can't be recorded to the end is refused",
    `      if (!written.ok) {
        if (made.ok)`,
    `      if (false) {
        if (made.ok)`,
  ],
  [
    "what others keep removing is not tried for ever",
    `attempt < ATTEMPTS;`,
    `attempt < 1e3;`,
  ],
  [
    "whatever the umask, every user's run can lock a placeholder",
    `    const mask = setUmask(0);`,
    `    const mask = setUmask(0o77); setUmask(mask);`,
  ],
  [
    "the command's umask is the caller's",
    `    setUmask(mask);\n`,
    ``,
  ],
  [
    "placeholders are made by one at a time",
    `  const failure = whileLocked(records.value, () => {`,
    `  const failure = ((_: number, work: () => ReturnType<typeof makeAll>) => work())(records.value, () => {`,
  ],
  [
    "placeholders are given back by one at a time",
    `): void {
  whileLocked(recordsFd, () => {`,
    `): void {
  ((_: number, work: () => void) => work())(recordsFd, () => {`,
  ],
  [
    "a placeholder is no link",
    `    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,`,
    `    abi.O_RDONLY | abi.O_NONBLOCK | kind,`,
  ],
  [
    "a pipe in a placeholder's place holds nobody",
    `    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,`,
    `    abi.O_RDONLY | O_NOFOLLOW | kind,`,
  ],
  [
    "a placeholder that is a folder is a folder",
    `  const kind = node === "directory" ? O_DIRECTORY : 0;
  const opened`,
    `  const kind = 0;
  const opened`,
  ],
  [
    "a placeholder is held by a shared lock",
    `  const locked = lockWaiting(fd, abi.LOCK_SH);`,
    `  const locked = ok(0);`,
  ],
  [
    "what can't be locked is not relied on",
    `    !locked.ok || !stat.ok`,
    `    !stat.ok`,
  ],
  [
    "what was replaced before it was locked is not relied on",
    ` || now.value.inode !== stat.value.inode
  ) {`,
    `
  ) {`,
  ],
  [
    "what somebody has filled is not relied on",
    `  if (!isEmpty(fd, stat.value)) {`,
    `  if (false) {`,
  ],
  [
    "what bears our mark goes with the last who relies on it",
    `      if (record !== null || isMarked(lockFd)) {`,
    `      if (record !== null) {`,
  ],
  [
    "what was there before and bears no mark stays",
    `      if (record !== null || isMarked(lockFd)) {`,
    `      if (true) {`,
  ],
  [
    "the record goes with the placeholder",
    `        if (gone && record !== null) unlinkAt(recordsFd, record, 0);\n`,
    ``,
  ],
  [
    "a record stays while its placeholder does",
    `        if (gone && record !== null) unlinkAt(recordsFd, record, 0);`,
    `        if (record !== null) unlinkAt(recordsFd, record, 0);`,
  ],
  [
    "a placeholder is removed under the exclusive lock only",
    `  if (!flock(lockFd, abi.LOCK_EX | abi.LOCK_NB).ok) return false;\n`,
    ``,
  ],
  [
    "what was put in a placeholder's place stays",
    `  if (!same) return true;\n`,
    ``,
  ],
  [
    "a filled placeholder file stays",
    `  if (node === "file" && now.value.sizeBytes !== 0) return true;\n`,
    ``,
  ],
  [
    "a filled placeholder folder needs no record",
    ` || removed.error.errno === abi.ENOTEMPTY;`,
    `;`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, PLACES, text, instead, HELD)
);

/** Without its lock given back the others would wait for ever. */
const HELD_ALONE: Notice = [
  "linux/placeholders_test.ts",
  "nobody else has their lock|a signal cuts no lock|leaves no draft",
];

const RECORD_STEPS: readonly Defence[] = [
  [
    "the records have one writer at a time",
    `  const locked = lockWaiting(recordsFd, abi.LOCK_EX);`,
    `  const locked = { ok: true };`,
  ],
  [
    "who is done with the records lets others have them",
    `  flock(recordsFd, abi.LOCK_UN);\n`,
    ``,
  ],
  [
    "a signal cuts no lock short",
    `    if (locked.ok || locked.error.errno !== abi.EINTR) return locked;`,
    `    return locked;`,
  ],
  [
    "a record that can't be given its name leaves no draft",
    `  unlinkAt(recordsFd, beside, 0);\n`,
    ``,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, RECORDS, text, instead, HELD_ALONE)
);

const RECLAIM = "src/linux/reclaim.ts";

const RECLAIMED: Notice = ["linux/reclaim_test.ts"];

const RECLAIM_STEPS: readonly Defence[] = [
  pure(
    "leftovers are removed by one at a time",
    RECLAIM,
    `  whileLocked(records.value, (isLocked) => {`,
    `  ((_: number, work: (isLocked: boolean) => void) => work(true))(records.value, (isLocked) => {`,
    ["linux/placeholders_test.ts", "whoever reclaims"],
  ),
  ...[
    [
      "a leftover is removed only if it is the recorded inode",
      `    return stat.inode === text.inode && stat.device === text.device &&
      (text.isMarked !== true || isMarked(fd));`,
      `    return true;`,
    ],
    [
      "a leftover is removed only while it bears the recorded mark",
      ` &&
      (text.isMarked !== true || isMarked(fd));`,
      `;`,
    ],
  ].map(([step = "", text = "", instead = ""]) =>
    pure(step, RECORDS, text, instead, RECLAIMED)
  ),
  ...[
    [
      "who only looks for leftovers removes none",
      `      const refused = dryRun ? null : forget(leftover, isLeft);`,
      `      const refused = forget(leftover, isLeft);`,
    ],
    [
      "who only looks for leftovers removes no draft",
      `        if (!dryRun) dropDraft(records.value, record);`,
      `        dropDraft(records.value, record);`,
    ],
    [
      "who only looks for leftovers removes no record",
      `    if (!dryRun && !mayComeYet) unlinkAt(recordsFd, record, 0);`,
      `    if (!mayComeYet) unlinkAt(recordsFd, record, 0);`,
    ],
    [
      "a record without its name is removed when its writer is dead",
      `        if (!dryRun) dropDraft(records.value, record);`,
      ``,
    ],
    [
      "a record without its name stays while its writer lives",
      `  if (!writer.ok && writer.error.errno === abi.ESRCH) {`,
      `  if (true) {`,
    ],
    [
      "what a run says that it relies on is no leftover",
      `      if (live.has(record)) continue;\n`,
      ``,
    ],
    [
      "a run that needs no placeholder waits for nobody's records",
      `  if (!waits && !flock(records.value, abi.LOCK_EX | abi.LOCK_NB).ok) {`,
      `  if (false) {`,
    ],
    [
      "a leftover that somebody holds is not removed",
      `    if (flock(fd.value, abi.LOCK_EX | abi.LOCK_NB).ok) {`,
      `    if (true) {`,
    ],
    [
      "a leftover is no link",
      `    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,`,
      `    abi.O_RDONLY | abi.O_NONBLOCK | kind,`,
    ],
    [
      "a pipe in a leftover's place holds nobody",
      `    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,`,
      `    abi.O_RDONLY | O_NOFOLLOW | kind,`,
    ],
    [
      "a leftover that is a folder is a folder",
      `  const kind = text.node === "directory" ? O_DIRECTORY : 0;`,
      `  const kind = 0;`,
    ],
    [
      "a leftover that somebody has filled is not removed",
      `    isEmpty(fd, stat.value) &&\n`,
      ``,
    ],
    [
      "what takes a leftover's place while it is judged is not removed",
      ` && named.value.inode === stat.value.inode &&`,
      ` &&`,
    ],
    [
      "a leftover that can't be removed is told so",
      `    if (!removed.ok) return abi.errnoText(removed.error.errno);\n`,
      ``,
    ],
    [
      "a record without an inode stays where locks can't be had",
      `    if (!dryRun && !mayComeYet) unlinkAt(recordsFd, record, 0);`,
      `    if (!dryRun) unlinkAt(recordsFd, record, 0);`,
    ],
    [
      "a record of what is gone goes",
      `  } else if (fd.error.errno === abi.ENOENT) {`,
      `  } else if (false) {`,
    ],
    [
      "a record of a folder that is gone goes",
      `    if (isFolderGone(text, parentFd.error.errno)) forgetMissing();\n`,
      ``,
    ],
    [
      "a record of a file system that is not mounted stays",
      `    if (there.ok) return device === undefined || there.value.device === device;`,
      `    if (there.ok) return true;`,
    ],
  ].map(([step = "", text = "", instead = ""]) =>
    pure(step, RECLAIM, text, instead, RECLAIMED)
  ),
];

const START = "src/linux/run_start.ts";
const SUPERVISOR = "src/linux/supervisor.ts";

const STARTED: Notice = ["linux/run_start_test.ts"];

const START_STEPS: readonly Defence[] = [
  {
    ...live(
      "the supervisor's death lets go no sandbox whose mounts nobody has verified",
      START,
      `    verifying ? [block.to] : [],`,
      `    [],`,
      ["sandbox/swap_test.ts", "killed before it has verified"],
    ),
    columns: "root system",
  },
  ...[
    [
      "a run that nobody can watch is ended",
      `  if (handle.ok) return ok(run);`,
      `  return ok(run);`,
    ],
    [
      "a run that could not be watched leaves no bubblewrap",
      `  killAll(run);
  endOrphans(run);
`,
      ``,
    ],
  ].map(([step = "", text = "", instead = ""]): Defence => ({
    ...pure(step, START, text, instead, STARTED),
    // Where nobody at all can be watched bubblewrap is not even started.
    also: { text: `  if (!watcherHandle.ok) {`, instead: `  if (false) {` },
  })),
  ...[
    [
      "inherited descriptors are closed in a run that somebody stays for",
      `  const closing = closeOnExecFrom(3);`,
      `  const closing = closeOnExecFrom(1000);`,
    ],
    [
      "nothing starts where inherited descriptors can't be closed",
      `  if (!closing.ok) {`,
      `  if (false) {`,
    ],
    [
      "nothing starts where the limit of open files can't be given back",
      `  if (!limit.ok) {`,
      `  if (false) {`,
    ],
    [
      "a run that could not be started leaves no watcher",
      `  dismissWatcher(lifeline.to, watcher.value);
  waitFor(watcher.value);
`,
      ``,
    ],
    [
      "bubblewrap is out of the terminal's reach where its signals are passed on",
      `      session: forwards(rules) ? "own" : "inherited",`,
      `      session: "inherited",`,
    ],
    [
      "the watcher is out of the terminal's reach",
      `      session: "own",
      descriptors: [`,
      `      session: "inherited",
      descriptors: [`,
    ],
    [
      "the watcher has no environment",
      `      environment: [],
      session: "own",`,
      `      environment: Object.entries(process.env).map(([name, value]) => name + "=" + value),
      session: "own",`,
    ],
    [
      "the watcher holds no output of the caller's",
      `        [nothing.value, 1],\n`,
      `        [1, 1],\n`,
    ],
    [
      "the watcher holds no end of the lifeline that would keep it open",
      `    orders.lifeline,
    orders.info,`,
      `    orders.lifeline,
    orders.lifeline + 1,
    orders.info,`,
    ],
  ].map(([step = "", text = "", instead = ""]) =>
    pure(step, START, text, instead, STARTED)
  ),
  ...[
    [
      "a caller that ignores its children's end does not keep it from us",
      `  signalDefault(abi.SIGCHLD);\n`,
      ``,
    ],
    [
      "nothing starts where signals can't be caught",
      `  if (!caught.ok) return failed("Cannot catch signals", caught.error);\n`,
      ``,
    ],
    [
      "nothing starts that would not end with its caller",
      `    if (!bound.ok) return failed("Cannot end with the caller", bound.error);\n`,
      ``,
    ],
    [
      "nothing starts whose orphans would be lost",
      `  if (!reaper.ok) {`,
      `  if (false) {`,
    ],
    [
      "what dead runs left is reclaimed",
      `    reclaimPlaceholders(home, undefined, live);`,
      ``,
    ],
    [
      "placeholders without a place for records are refused",
      `  if (home === null) {`,
      `  if (false) {`,
    ],
    [
      "a run that could not be started gives its placeholders back",
      `    if (recordsFd !== null) releasePlaceholders(held, recordsFd);\n`,
      ``,
    ],
    [
      "what is locked is what is mounted",
      `    launch: onHeld(launch, held),`,
      `    launch,`,
    ],
    [
      "what can't be verified leaves no watcher",
      `  killAll(run.value);
  finishRun(run.value);
  return verified;`,
      `  killAll(run.value);
  return verified;`,
    ],
    [
      "what can't be verified is an error",
      `  if (verified.ok) return run;
  killAll`,
      `  return run;
  killAll`,
    ],
    [
      "a run that was ended by a signal ends us by it",
      `      signalDefault(end.signal);\n`,
      ``,
    ],
  ].map(([step = "", text = "", instead = ""]) =>
    pure(step, SUPERVISOR, text, instead, STARTED)
  ),
  ...[
    [
      "the supervisor removes the placeholders",
      `    releasePlaceholders(run.held, run.recordsFd);\n`,
      ``,
    ],
  ].map(([step = "", text = "", instead = ""]) =>
    pure(step, "src/linux/run.ts", text, instead, STARTED)
  ),
  {
    ...pure(
      "what can't be verified is ended",
      SUPERVISOR,
      `  killAll(run.value);
  finishRun(run.value);
  return verified;`,
      `  finishRun(run.value);
  return verified;`,
      STARTED,
    ),
    also: {
      file: "src/linux/run.ts",
      text: `  const orphans = killOrphans(run.watcher);`,
      instead: `  const orphans: number[] = [];`,
    },
  },
];

const RUN = "src/linux/run.ts";

const FOLLOWED: Notice = ["linux/run_test.ts"];

const RUN_ITSELF: readonly Defence[] = [
  [
    "the watcher is told whom it is to end",
    `  writeAll(run.lifeline, lifelineWord(pid));
  run.init`,
    `  run.init`,
  ],
  [
    "the first process is met once",
    `  const pid = run.said.isHeard ? null : childPidOf(run.said.text);`,
    `  const pid = childPidOf(run.said.text);`,
  ],
  [
    "a run whose watcher is killed ends",
    `    if (alone !== 0) return { kind: "lost" };`,
    ``,
  ],
  [
    "a run that can't be waited for is lost",
    `    if (!ready.ok) return { kind: "lost" };`,
    `    if (!ready.ok) return null;`,
  ],
  [
    "a run whose end nobody tells is lost",
    `  if (!waited.ok) return { kind: "lost" };`,
    `  if (!waited.ok) return null as never;`,
  ],
  [
    "a signal comes before the end",
    `    if (signalled !== 0) return { kind: "signal", signal: takeSignal(run) };
    if (ended !== 0) return takeEnd(run);`,
    `    if (ended !== 0) return takeEnd(run);
    if (signalled !== 0) return { kind: "signal", signal: takeSignal(run) };`,
  ],
  [
    "a signal that can't be read is one to end",
    `word[0] ?? abi.SIGTERM : abi.SIGTERM;`,
    `word[0] ?? abi.SIGTERM : 0;`,
  ],
  [
    "what bubblewrap said last is heard before its end is judged",
    `    if (!ready.ok || (ready.value[0] ?? 0) === 0 || !hearStatus(run, 0)) break;`,
    `    break;`,
  ],
  [
    "the first process does not outlive its monitor",
    `  killFirst(run);
  const status`,
    `  const status`,
  ],
  [
    "to end a run is to learn its first process before",
    `  awaitChildPid(run);
  killFirst(run);`,
    `  killFirst(run);`,
  ],
  [
    "to end a run is to end its first process",
    `  killFirst(run);
  kill(run.bwrap, abi.SIGKILL);`,
    `  kill(run.bwrap, abi.SIGKILL);`,
  ],
  [
    "to end a run is to end bubblewrap",
    `  kill(run.bwrap, abi.SIGKILL);\n`,
    ``,
  ],
  [
    "to end a run is to wait for bubblewrap's end",
    `  kill(run.bwrap, abi.SIGKILL);
  waitFor(run.bwrap);`,
    `  kill(run.bwrap, abi.SIGKILL);`,
  ],
  [
    "no signal goes to a number that may be another's by now",
    `  if (pid === null || isAtEnd(run.sync)) return false;`,
    `  if (pid === null) return false;`,
  ],
  [
    "a signal that comes before the command is there is not lost",
    `  return isHeard && kill(-pid, signal).ok;`,
    `  return kill(-pid, signal).ok;`,
  ],
  [
    "nobody is stopped by a number that may be another's by now",
    `  if (init === null || isAtEnd(run.sync)) return stopped;`,
    `  if (init === null) return stopped;`,
  ],
  [
    "what is stopped at a terminal is all that is inside",
    `    const going = treeOf(init).filter(isGoing);`,
    `    const going = [init].filter(isGoing);`,
  ],
  [
    "what is inside is stopped before we are",
    `  const stopped = stopAll(run);
`,
    `  const stopped = new Set<number>();
`,
  ],
  [
    "a command that never stops is not waited for for ever",
    `    leftMs -= STOPPED_LOOK_MS`,
    `    leftMs -= 0.002`,
  ],
  [
    "after a stop signals are caught again",
    `  catchSignals([abi.SIGTSTP, abi.SIGCONT], run.signals.to);\n`,
    ``,
  ],
  [
    "what was stopped at a terminal goes on with us",
    `  for (const pid of stopped) kill(pid, abi.SIGCONT);\n`,
    ``,
  ],
  [
    "what bubblewrap leaves to us is killed",
    `  for (const orphan of orphans) kill(orphan, abi.SIGKILL);`,
    ``,
  ],
  [
    "the watcher is no orphan",
    `.filter((child) => child !== watcher);`,
    `;`,
  ],
  [
    "a sandbox that does not go is left to the watcher",
    `  if (!gone) return false;\n`,
    ``,
  ],
  [
    "where nothing proves that a sandbox is gone, no placeholder is removed",
    `  const isProof = run.launch.plan.proc === "fresh" ||\n    isSeenToEnd(run.init.handle, childPidOf(run.said.text));`,
    `  const isProof = true;`,
  ],
  [
    "a watcher that is dismissed ends nobody",
    `  writeAll(lifeline, lifelineWord(0));\n`,
    ``,
  ],
  [
    "a watcher that is dismissed goes at once",
    `  kill(watcher, abi.SIGKILL);\n`,
    ``,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, RUN, text, instead, FOLLOWED)
);

const RESULT = "src/run/result.ts";

const RESULTS: Notice = ["run/result_test.ts"];

const RESULT_STEPS: readonly Defence[] = [
  [
    "a result is told once",
    `    if (told) return;\n`,
    ``,
  ],
  [
    "a result is not told where its place was refused",
    `      if (!opened.ok) told = true;
      else fd`,
    `      if (opened.ok) fd`,
  ],
  [
    "a result goes to no descriptor that the caller has not opened",
    `  if (!flags.ok || isOfRuntime(fd)) {`,
    `  if (!flags.ok) {`,
  ],
  [
    "a result goes to no descriptor for reading",
    `  if ((flags.value & abi.O_ACCMODE) === abi.O_RDONLY) {`,
    `  if (false) {`,
  ],
  [
    "a result goes to no descriptor of the command's",
    `  if (passFds.includes(fd)) {`,
    `  if (false) {`,
  ],
  [
    "the command does not get the result's descriptor",
    `  close(fd);
  return moved;`,
    `  return moved;`,
  ],
  [
    "a result goes into no place that the command can write",
    `    if (state === "writable") {`,
    `    if (false) {`,
  ],
  [
    "a result's place is where its folder leads",
    `  const folder = readlink(\`/proc/self/fd/\${parent}\` as ByteString);`,
    `  const folder = { ok: true, value: what.slice(0, what.lastIndexOf("/")) } as ReturnType<typeof readlink>;`,
  ],
  [
    "a result goes into no link",
    `    if (type === abi.S_IFLNK) return refuse(what, "it is a symbolic link");\n`,
    ``,
  ],
  [
    "a result goes into regular files only",
    `    if (type !== abi.S_IFREG) {`,
    `    if (false) {`,
  ],
  [
    "a result goes into no file with another name",
    `    if (there.value.linkCount > 1) {`,
    `    if (false) {`,
  ],
  [
    "a result is opened through no link",
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | abi.O_NONBLOCK | O_NOFOLLOW,`,
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | abi.O_NONBLOCK,`,
  ],
  [
    "a pipe in a result's place holds nobody",
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | abi.O_NONBLOCK | O_NOFOLLOW,`,
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | O_NOFOLLOW,`,
  ],
  [
    "what was opened for a result is a regular file",
    `  if (file.ok && (file.value.mode & abi.S_IFMT) === abi.S_IFREG) {`,
    `  if (true) {`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, RESULT, text, instead, RESULTS)
);

const REFUSED: Notice = ["run/refused_runs_test.ts"];

const REFUSED_RUNS: readonly Defence[] = [
  [
    "a proxy that nobody could reach is refused",
    "src/run/back_end.ts",
    `  if (policy.network === "proxied" && !policy.options.loopback) {`,
    `  if (false) {`,
  ],
  [
    "the flag of old chooses no back end that can't keep the policy",
    "src/run/back_end.ts",
    `  if (usesLandlock && legacyLandlock(policy) === "refused") {`,
    `  if (false) {`,
  ],
  [
    "the flag of old chooses Landlock only for what Landlock keeps whole",
    "src/run/back_end.ts",
    `  return isLegacy && legacyLandlock(policy) === "honoured"`,
    `  return isLegacy`,
  ],
  [
    "a run that is short of descriptors takes no lower rung",
    "src/run/choose_bwrap.ts",
    ` && !SHORTAGE.test(text);`,
    `;`,
  ],
  [
    "a damaged bubblewrap says nothing about the host",
    "src/run/choose_bwrap.ts",
    `!text.startsWith(DIGEST_MISMATCH) && `,
    ``,
  ],
  [
    "a limit that nothing could keep without a sandbox is refused",
    "src/run/prepare.ts",
    `    if (limit !== null) {`,
    `    if (false) {`,
  ],
  [
    "a promise that nothing keeps without a sandbox is refused",
    "src/run/prepare.ts",
    `[...request.policy.options.require, ...request.givenUp];`,
    `[...request.givenUp];`,
  ],
  [
    "a promise that is given up without a sandbox is refused",
    "src/run/prepare.ts",
    `[...request.policy.options.require, ...request.givenUp];`,
    `[...request.policy.options.require];`,
  ],
  [
    "the caller's descriptors are looked at before anything else",
    "src/run/prepare.ts",
    `  if (!streams.ok) return streams;\n`,
    ``,
  ],
  [
    "a policy that can't be kept is refused",
    "src/run/prepare.ts",
    `  if (!valid.ok) return fail({ kind: "policy", error: valid.error });\n`,
    ``,
  ],
  [
    "whoever names a way of bubblewrap's gets bubblewrap or nothing",
    "src/run/prepare.ts",
    `  return backend === "auto" && launcher === "auto" && stage === "auto";`,
    `  return true;`,
  ],
  [
    "only root becomes another user",
    "src/run/sandbox_request.ts",
    `  if (origin.euid !== 0) {`,
    `  if (false) {`,
  ],
  [
    "a log of a network that is not managed is refused",
    "src/run/sandbox_request.ts",
    `    if (reporting.log === null) return ok(null);`,
    `    return ok(null);`,
  ],
  [
    "an empty name is no directory",
    "src/run/working_directory.ts",
    `  if (cd === "") return requestFailure('Cannot use -C "": the name is empty');\n`,
    ``,
  ],
  [
    "a limit that Landlock alone can't keep is refused",
    "src/run/landlock.ts",
    `  if (limit !== null) {`,
    `  if (false) {`,
  ],
  [
    "a stream that Landlock alone can't keep is refused",
    "src/run/landlock.ts",
    `  if (stream !== undefined) {`,
    `  if (false) {`,
  ],
  [
    "a caller's proxy confines the network, whatever files may be",
    "src/run/helper_request.ts",
    `profile.value.kind === "disabled"
    ?`,
    `false
    ?`,
  ],
  [
    "the helper's Landlock has no way out",
    "src/run/helper_request.ts",
    `options.enforcement === "bubblewrap" ? "proxied" : "none";`,
    `options.enforcement === "bubblewrap" ? "proxied" : "host";`,
  ],
  [
    "the helper refuses what no back end keeps",
    "src/run/helper_request.ts",
    `  if (refusal !== null) {`,
    `  if (false) {`,
  ],
  [
    "the helper refuses a proxy that is none",
    "src/run/helper_request.ts",
    `  if (!served.ok) return requestFailure(served.error);`,
    `  if (!served.ok) (served as { value?: unknown }).value = null;`,
  ],
  [
    "a state names no other helper",
    "src/run/state_policy.ts",
    `  if (helper !== null && CONFIG_HOST.realPath(helper) !== own) {`,
    `  if (false) {`,
  ],
  [
    "a state names a directory",
    "src/run/state_policy.ts",
    `  if (refused !== null) {`,
    `  if (false) {`,
  ],
  [
    "nobody starts in what is no directory",
    "src/run/working_directory.ts",
    `  return isDirectory ? null : abi.errnoText(abi.ENOTDIR);`,
    `  return null;`,
  ],
  [
    "loader variables never reach bubblewrap",
    "src/run/launch.ts",
    `environment: request.environment.filter((entry) => !isLoaderEntry(entry)),`,
    `environment: request.environment,`,
  ],
  [
    "the command's variables never reach what comes before an inner stage",
    "src/run/launch.ts",
    `    environment: [],
    lateEnvironment: [],`,
    `    environment: request.environment,
    lateEnvironment: [],`,
  ],
  [
    "what may be another run's placeholder is held",
    "src/run/mount_places.ts",
    `      return mayBe && isEmptyAndOpen(path, node) ? [{ path, node }] : [];`,
    `      return [];`,
  ],
  [
    "what may be another run's and has gone meanwhile is held",
    "src/run/mount_places.ts",
    `    return fd.error.errno === abi.ENOENT ||`,
    `    return`,
  ],
  [
    "no descriptor is passed on that nobody has opened",
    "src/run/descriptors.ts",
    `    if (!open.ok || isOfRuntime(fd)) {`,
    `    if (isOfRuntime(fd) && open.ok) {`,
  ],
  [
    "no descriptor of the runtime's is passed on",
    "src/run/descriptors.ts",
    `    if (!open.ok || isOfRuntime(fd)) {`,
    `    if (!open.ok) {`,
  ],
  [
    "a folder is no standard stream, and is not passed on",
    "src/run/descriptors.ts",
    `  if (type === abi.S_IFDIR) return "a directory";\n`,
    ``,
  ],
  [
    "no descriptor is passed on that is a folder or a disk",
    "src/run/descriptors.ts",
    `    const what = wayOut(fd);
    if (what !== null) {
      return refuse(
        \`Cannot pass descriptor`,
    `    const what = wayOut(fd);
    if (false) {
      return refuse(
        \`Cannot pass descriptor`,
  ],
  [
    "without a sandbox nothing starts with a process as the runtime has it",
    "src/run/carry_out.ts",
    `      if (!restored.ok) return { kind: "launch", error: restored.error };\n`,
    ``,
  ],
  [
    "without a sandbox nothing starts as somebody else than was asked",
    "src/run/carry_out.ts",
    `        if (!become.ok) return become.error;\n`,
    ``,
  ],
  [
    "without a sandbox nothing starts elsewhere than was asked",
    "src/run/carry_out.ts",
    `      if (!moved.ok) {`,
    `      if (false) {`,
  ],
  [
    "nothing starts where the host's abstract names can't be closed",
    "src/run/carry_out.ts",
    `    if (!closed.ok) return { kind: "launch", error: closed.error };\n`,
    ``,
  ],
].map(([step = "", file = "", text = "", instead = ""]) =>
  pure(step, file, text, instead, REFUSED)
);

export const RUN_STEPS: readonly Defence[] = [
  ...EVENT_STEPS,
  ...PLACEHOLDER_STEPS,
  ...RECORD_STEPS,
  ...RECLAIM_STEPS,
  ...START_STEPS,
  ...RUN_ITSELF,
  ...RESULT_STEPS,
  ...REFUSED_RUNS,
];
