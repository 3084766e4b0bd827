/**
 * The seccomp filter as rules, and the program made of them.
 *
 * Pure. The rules are the one source of the program and of what `--explain` says. A filter sees numbers, never what a pointer
 * points to; so a call whose danger lies behind a pointer is denied whole or made harmless by what it could work on.
 * The specification, verdict by verdict, is `tests/linux/seccomp/filters_test.ts`.
 *
 * @module
 */
import { assemble, encodeProgram, type Label, type Statement } from "./bpf.ts";
import {
  AUDIT_ARCH,
  DATA_ARCH,
  DATA_ARGS,
  DATA_NR,
  ENOSYS,
  EPERM,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  syscallNumber,
  X32_OWN_NUMBERS,
  X32_SYSCALL_BIT,
  X86_64_ONLY,
} from "./syscalls.ts";
import type { FilterRequest } from "./request.ts";
import {
  type ArgumentTest,
  type Rule,
  rulesOf,
  type Verdict,
} from "./rules.ts";

export type { FilterRequest } from "./request.ts";

/** The encoded program, for `seccomp(2)` or `bwrap --seccomp FD`. On the run path take it from `programs.ts`, already made. */
export function filterProgram(request: FilterRequest): Uint8Array {
  return rulesProgram(rulesOf(request), request.arch);
}

/** The encoded program of these rules. */
export function rulesProgram(
  rules: readonly Rule[],
  arch: FilterRequest["arch"],
): Uint8Array {
  return encodeProgram(assemble(filterStatements(rules, arch)));
}

/** Lines for a person: what is denied, with which errno, and why. */
export function describeFilter(request: FilterRequest): string[] {
  return [
    `kill every call of another architecture${
      request.arch === "x86_64" ? " (int 0x80 and x32 included)" : ""
    }`,
    ...rulesOf(request).map((rule) => describeRule(rule, request.arch)),
    "allow every other call",
  ];
}

function describeRule(rule: Rule, arch: FilterRequest["arch"]): string {
  const old = arch === "x86_64" ? rule.onX86 ?? [] : [];
  const calls = [...rule.calls, ...old].join(", ");
  const { what, otherwise, cases } = rule;
  const denial = [...cases.map((each) => each.verdict), otherwise]
    .find((verdict) => verdict !== "ALLOW");
  return `deny ${calls}${
    what === undefined ? "" : ` ${what}`
  } (${denial}): ${rule.why}`;
}

/**
 * The program in outline:
 *
 * 1. architecture: numbers mean nothing before it is known; a foreign one is killed
 * 2. x86-64: x32 is killed
 * 3. one comparison per named call, leading to its verdict or to its argument tests
 * 4. ALLOW
 * 5. argument tests, rule by rule
 * 6. the verdicts
 */
function filterStatements(
  rules: readonly Rule[],
  arch: FilterRequest["arch"],
): Statement[] {
  const dispatch = rules.flatMap((rule, index) =>
    numbersOf(rule, arch).map((number) =>
      jumpIfEqual(
        number,
        rule.cases.length === 0
          ? verdictLabel(rule.otherwise)
          : `rule ${index}`,
      )
    )
  );
  const body: Statement[] = [
    { kind: "load", offset: DATA_ARCH },
    {
      kind: "jump_if",
      comparison: "equal",
      value: AUDIT_ARCH[arch],
      then: "native",
      otherwise: "KILL",
    },
    { kind: "label", name: "native" },
    { kind: "load", offset: DATA_NR },
    ...(arch === "x86_64" ? killX32() : []),
    ...dispatch,
    { kind: "jump", to: "ALLOW" },
    ...rules.flatMap((rule, index) =>
      rule.cases.length === 0 ? [] : argumentTests(rule, `rule ${index}`)
    ),
  ];
  return [...body, ...returnsFor(body)];
}

function numbersOf(rule: Rule, arch: FilterRequest["arch"]): number[] {
  const old = arch === "x86_64" ? rule.onX86 ?? [] : [];
  return [
    ...rule.calls.map((name) => syscallNumber(name, arch)),
    ...old.map((name) => X86_64_ONLY[name]),
  ];
}

/**
 * Number −1 is no call (the kernel answers ENOSYS): a debugger writes it to skip one. Numbers that x32 has for itself are answered
 * as kernels since 5.4 do, because older ones ran them.
 */
function killX32(): Statement[] {
  return [
    jumpIfEqual(0xffffffff, "ALLOW"),
    {
      kind: "jump_if",
      comparison: "greater_or_equal",
      value: X32_SYSCALL_BIT,
      then: "KILL",
    },
    {
      kind: "jump_if",
      comparison: "greater_or_equal",
      value: X32_OWN_NUMBERS.last + 1,
      then: "ALLOW or named",
    },
    {
      kind: "jump_if",
      comparison: "greater_or_equal",
      value: X32_OWN_NUMBERS.first,
      then: "ENOSYS",
    },
    { kind: "label", name: "ALLOW or named" },
  ];
}

/** Cases in order, the first whose tests all hold decides. */
function argumentTests(rule: Rule, label: Label): Statement[] {
  return [
    { kind: "label", name: label },
    ...rule.cases.flatMap(({ tests, verdict }, index): Statement[] => {
      const next = `${label} after case ${index}`;
      return [
        ...tests.flatMap((test, position) =>
          argumentTest(test, {
            then: position === tests.length - 1
              ? verdictLabel(verdict)
              : `${label} case ${index} test ${position + 1}`,
            otherwise: next,
          })
        ),
        { kind: "label", name: next },
      ];
    }),
    { kind: "jump", to: verdictLabel(rule.otherwise) },
  ];
}

function argumentTest(
  test: ArgumentTest,
  to: { readonly then: Label; readonly otherwise: Label },
): Statement[] {
  const offset = DATA_ARGS + 8 * test.arg + (test.half === "high" ? 4 : 0);
  const goesOn = to.then.includes(" test ");
  return [
    { kind: "load", offset },
    ...(test.mask === undefined
      ? []
      : [{ kind: "and", mask: test.mask } as const]),
    {
      kind: "jump_if",
      comparison: test.is,
      value: test.value,
      then: to.then,
      otherwise: to.otherwise,
    },
    ...(goesOn ? [{ kind: "label", name: to.then } as const] : []),
  ];
}

function jumpIfEqual(value: number, then: Label): Statement {
  return { kind: "jump_if", comparison: "equal", value, then };
}

const RETURN_VALUES = {
  ALLOW: SECCOMP_RET_ALLOW,
  EPERM: SECCOMP_RET_ERRNO | EPERM,
  ENOSYS: SECCOMP_RET_ERRNO | ENOSYS,
  KILL: SECCOMP_RET_KILL_PROCESS,
} as const;

function verdictLabel(verdict: Verdict): Label {
  return verdict;
}

/** The verdicts that the body leads to; one that nobody needs would be dead code. */
function returnsFor(body: readonly Statement[]): Statement[] {
  const used = new Set(
    body.flatMap((statement) =>
      statement.kind === "jump_if"
        ? [statement.then, statement.otherwise]
        : statement.kind === "jump"
        ? [statement.to]
        : []
    ),
  );
  return Object.entries(RETURN_VALUES).flatMap(([name, value]): Statement[] =>
    used.has(name) ? [{ kind: "label", name }, { kind: "return", value }] : []
  );
}
