/**
 * The checks of a kept start, one by one: whose the file is, every kind of question, the streams, what is bound; and what of a start is
 * kept at all.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const KEPT = "src/run/kept_start.ts";

const KEEP = "src/run/keep_start.ts";

const KEEPS: Notice = ["run/keep_start_test.ts"];
const STARTS: Notice = ["run/start_kept_test.ts"];
const PLACES: Notice = ["run/kept_start_test.ts"];

/** One check of `kept_start.ts`, taken out. */
function check(step: string, text: string, instead: string): Defence {
  return pure(step, KEPT, text, instead, STARTS);
}

const FILE_CHECKS: readonly Defence[] = [
  check(
    "a kept start's folder is ours",
    `const isOurs = ownerOf(folder) === euid &&
    `,
    `const isOurs = `,
  ),
  check(
    "a kept start's folder is closed to others, and no link",
    `(modeOf(folder) & ~0o700) === abi.S_IFDIR;`,
    `true;`,
  ),
  check(
    "a kept start is read through no link",
    `abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `abi.O_RDONLY | abi.O_NONBLOCK,`,
  ),
  check(
    "a pipe in the place of a kept start holds nobody",
    `abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `abi.O_RDONLY | O_NOFOLLOW,`,
  ),
  check(
    "a kept start's file is ours",
    `const isWhole = ownerOf(file) === euid &&
    `,
    `const isWhole = `,
  ),
  check(
    "a kept start's file is closed to others",
    `(modeOf(file) & ~0o600) === abi.S_IFREG;`,
    `true;`,
  ),
  check(
    "a kept start is read to its limit",
    `readAll(fd.value, LIMIT_BYTES)`,
    `readAll(fd.value, 1e9)`,
  ),
  check(
    "a kept start is compared with its key",
    `return kept.key === place.key ? kept : null;`,
    `return kept;`,
  ),
];

const QUESTIONS: readonly Defence[] = [
  ...[
    ["lstat", "what lies at a path"],
    ["stat", "what lies where a path leads"],
    ["open", "the content of what was read"],
    ["access", "what may be read or executed"],
    ["link", "where a link leads"],
    ["text", "what the kernel says in a file"],
    ["file_system", "the kind of a file system"],
    ["variable", "a variable of the caller's"],
    ["smell", "a question that can't be asked"],
  ].map(([kind, what]) =>
    check(
      `a kept start asks again: ${what}`,
      `    if (answerNow(kind, subject, environment) !== answer) return false;`,
      `    if (kind as string !== "${kind}" && answerNow(kind, subject, environment) !== answer) return false;`,
    )
  ),
  check(
    "a kept start sees a variable that is set by now",
    `variable(environment, subject) ?? NOT_SET`,
    `variable(environment, subject) || NOT_SET`,
  ),
];

const OPENED: readonly Defence[] = [
  check(
    "a kept start binds the inode that was seen",
    `          there.value.inode === one.inode`,
    `          true`,
  ),
  check(
    "a kept start binds from the device that was seen",
    `there?.ok === true && there.value.device === one.device &&`,
    `there?.ok === true &&`,
  ),
  check(
    "a kept start binds through no link",
    `          abi.RESOLVE_NO_SYMLINKS,`,
    `          0,`,
  ),
  check(
    "a kept start needs every descriptor",
    `    if (fd === null) return null;`,
    `    if (fd === null) continue;`,
  ),
  check(
    "a kept start's descriptors are none of the caller's streams",
    `  if (!fd.ok || fd.value >= firstOwnFd()) return fd.ok ? fd.value : null;`,
    `  if (!fd.ok || fd.value >= 0) return fd.ok ? fd.value : null;`,
  ),
];

const CALLER: readonly Defence[] = [
  ...[0, 1, 2].map((fd) =>
    check(
      `a kept start looks at stream ${fd}`,
      `return isStreamPlain(0) && isStreamPlain(1) && isStreamPlain(2);`,
      `return ${
        [0, 1, 2].filter((other) => other !== fd).map((other) =>
          `isStreamPlain(${other})`
        ).join(" && ")
      };`,
    )
  ),
  check(
    "a terminal or a device as a stream goes the long way",
    `      return isHarmlessDevice(fd);`,
    `      return true;`,
  ),
  check(
    "a file for reading as a stream goes the long way",
    `(flags.value & abi.O_ACCMODE) !== abi.O_RDONLY;`,
    `true;`,
  ),
  check(
    "a directory as a stream goes the long way",
    `    default:
      return false;
  }
}

const NO_PATH`,
    `    default:
      return true;
  }
}

const NO_PATH`,
  ),
  ...[
    [`      entry.startsWith("LD_") || `, `      `, "LD_"],
    [
      `entry.startsWith("MALLOC_") ||\n      `,
      ``,
      "MALLOC_",
    ],
    [
      ` ||\n      entry.startsWith("GLIBC_TUNABLES")`,
      ``,
      "GLIBC_TUNABLES",
    ],
  ].map(([text = "", instead = "", name]) =>
    check(
      `a kept start leaves loader variables to the long way: ${name}`,
      text,
      instead,
    )
  ),
  check(
    "a kept start leaves what a killed run left to the long way",
    `  if (hasRecords(place)) return;\n`,
    ``,
  ),
  check(
    "a caller with few descriptors goes the long way",
    `  if (softNofile < MIN_SOFT_NOFILE) return;\n`,
    ``,
  ),
  check(
    "more words than bubblewrap takes go the long way",
    `  if (argv.length + words.length - command > MAX_DIRECT_ARGUMENTS) return;\n`,
    ``,
  ),
  check(
    "a kept start closes the host's abstract names, or is none",
    `  if (kept.closesAbstract && !closeAbstractSockets().ok) return;`,
    `  if (kept.closesAbstract) closeAbstractSockets();`,
  ),
  check(
    "a kept start closes the host's abstract names",
    `  if (kept.closesAbstract && !closeAbstractSockets().ok) return;\n`,
    ``,
  ),
  check(
    "a kept start thins the environment anew",
    `    environment: commandEnvironment(
      kept.environment,
      environment,
      kept.confinement,
    ),`,
    `    environment,`,
  ),
  check(
    "a kept start gives the process back as the caller had it",
    `  const restored = restoreState(keep, softNofile);`,
    `  const restored = { ok: true } as ReturnType<typeof restoreState>;`,
  ),
];

const KEYS: readonly Defence[] = [
  check(
    "a kept start belongs to one executable",
    `    own,\n    uid,`,
    `    uid,`,
  ),
  ...[
    [`    uid,\n    gid,\n    codexHome,`, `    gid,\n    codexHome,`, "user"],
    [`    gid,\n    codexHome,`, `    codexHome,`, "group"],
    [`    codexHome,\n    cwd,\n`, `    cwd,\n`, "$CODEX_HOME"],
    [`    cwd,\n    words.slice`, `    words.slice`, "working directory"],
    [
      `words.slice(1, command + 1)`,
      `words.slice(command, command + 1)`,
      "profile",
    ],
    [`words.slice(1, command + 1)`, `words.slice(1, command)`, "command"],
  ].map(([text = "", instead = "", part]) =>
    check(`a kept start belongs to one ${part}`, text, instead)
  ),
  check(
    "without a working directory nothing is kept",
    `command === null || origin.cwd === null || !isNamed`,
    `command === null || !isNamed`,
  ),
  check(
    "without a home nothing is kept",
    `command === null || origin.cwd === null || !isNamed`,
    `command === null || origin.cwd === null`,
  ),
  pure(
    "a flag that asks for more goes the long way",
    KEPT,
    `    if (word !== "-P" && word !== "-C" && word !== "--launcher") return null;\n`,
    ``,
    PLACES,
  ),
  pure(
    "what runs nothing is not kept",
    KEPT,
    `  if (words[0] !== "sandbox" || words[1] === "clean") return null;\n`,
    ``,
    PLACES,
  ),
];

/** What a start must not be, to be kept. */
const NOT_KEPT: readonly Defence[] = [
  [
    `plan.stage.kind === "one_start" &&
    `,
    "has an inner stage",
  ],
  [`plan.supervisor.length === 0 && `, "has a supervisor"],
  [` && plan.warnings.length === 0`, "has something to warn of"],
  [
    `    plan.abstractSockets?.reach !== "open" &&\n`,
    "leaves abstract names open",
  ],
  [
    `    (plan.repositories === null || plan.repositories.cut === null) &&\n`,
    "rests on a search that was cut",
  ],
  [`plan.mounts.length <= MAX_MOUNTS && `, "has many mounts"],
  [` && plan.passFds.length === 0`, "passes a descriptor on"],
  [`plan.guardedFds.length === 0 && `, "guards a stream"],
  [` && plan.reboundFds.length === 0`, "opens a stream anew"],
  [`launch.innerOrders === null && `, "has orders for an inner stage"],
  [` && launch.lateEnvironment.length === 0`, "has loader variables"],
  [
    ` || !observations.every((one) => isSettled(one, nowSeconds))`,
    "rests on a file that changed a moment ago",
  ],
  [`    if (descriptor === null) return null;\n`, "binds a file of ours"],
].map(([text = "", what]) =>
  pure(
    `nothing is kept of a start that ${what}`,
    KEEP,
    text,
    text.startsWith("    if") ? `    if (descriptor === null) continue;\n` : ``,
    KEEPS,
  )
);

const WHAT_IS_KEPT: readonly Defence[] = [
  pure(
    "what is bound is kept by what was seen",
    KEEP,
    `path: op.path, ...op.seen };`,
    `path: op.path, device: 0, inode: 0 };`,
    KEEPS,
  ),
  pure(
    "a question of stat is kept where lstat's answer is another",
    KEEP,
    `        return unfollowed.get(path) !== answer;`,
    `        return false;`,
    KEEPS,
  ),
  pure(
    "a question of open is kept where no other has its answer",
    KEEP,
    `        return unfollowed.get(path) !== answer &&
          followed.get(path) !== answer;`,
    `        return false;`,
    KEEPS,
  ),
];

export const KEPT_CHECKS: readonly Defence[] = [
  ...FILE_CHECKS,
  ...QUESTIONS,
  ...OPENED,
  ...CALLER,
  ...KEYS,
  ...NOT_KEPT,
  ...WHAT_IS_KEPT,
];
