/**
 * Where we mean to differ from the reference releases, as rules over single differences.
 *
 * Pure. `docs/differences.md` has a section for each rule, and a test holds the two together.
 *
 * @module
 */
import type { Case } from "./compare_cases.ts";

/** One question that the two answered differently. */
export interface Difference {
  readonly case: Case;
  readonly question: string;
  readonly reference: string;
  readonly ours: string;
  readonly said: { readonly reference: string; readonly ours: string };
}

/** A difference that is meant. */
export interface Rule {
  /** Also the heading in `docs/differences.md`. */
  readonly id: string;
  /** One sentence without a full stop. */
  readonly why: string;
  readonly explains: (difference: Difference) => boolean;
}

/** In order: the first that explains a difference has it. */
export const RULES: readonly Rule[] = [
  {
    id: "the reference can't mount it",
    why: "A policy that ends there in bubblewrap's own error is enforced here",
    explains: ({ question, reference, said }) =>
      question === "status" && reference !== "0" &&
      /^bwrap: (Can't|execvp )/.test(said.reference),
  },
  {
    id: "a write grant on what is missing",
    why: "It is refused by name instead of being left out",
    explains: ({ question, ours, said }) =>
      question === "status" && ours === "125" &&
      /Cannot grant write to .* it doesn't exist/.test(said.ours),
  },
  {
    id: "our own failures have statuses of their own",
    why:
      "125 for what is refused or fails before the command starts, 126 and 127 for a command that can't be executed or found, instead of 1 and 101",
    // Both must have said so: a command's own status 1 is none of theirs.
    explains: ({ question, reference, ours, said }) =>
      question === "status" && ["1", "101"].includes(reference) &&
      said.reference !== "" && ["125", "126", "127"].includes(ours) &&
      /^codex: /m.test(said.ours),
  },
  {
    id: "no signal is left ignored",
    why:
      "SIGPIPE is back at its default, so that a pipeline ends quietly when its reader does",
    explains: ({ question, ours }) =>
      question === "ignored signals" && ours === "SigIgn:0000000000000000",
  },
  {
    id: "the limit of open files is the caller's",
    why:
      "The soft limit is that of the process that called us; where that can't be asked, as behind setpriv, 1,024",
    explains: ({ question }) => question === "limit of open files",
  },
  {
    id: "a writable root has no network either",
    why:
      "Without the network there is a network namespace, also where the whole file system is writable; the reference leaves the host's and filters calls",
    explains: ({ question, reference, ours }) =>
      question === "network" && reference === "host" && ours === "none",
  },
  {
    id: "no namespaces inside",
    why:
      "A user namespace of the command's own could leave our mounts behind; nested_namespaces = true gives it back",
    explains: ({ question, ours }) =>
      question === "a user namespace" && ours === "no",
  },
  {
    id: "the command can tell where it is",
    why: "CODEX_SANDBOX names the back end",
    explains: ({ question }) => question === "CODEX_SANDBOX",
  },
  {
    id: "the policy is not seen inside",
    why: "Process 1 is covered, and the policy never stands in its words",
    explains: ({ question, ours }) =>
      question === "policy in process 1" && ours === "no",
  },
  {
    id: "another errno",
    why:
      "What is refused on both sides may be refused with another errno: the mounts lie differently",
    explains: ({ case: { kind }, reference, ours }) =>
      kind === "policy" && reference !== "ok" && ours !== "ok" &&
      /^E[A-Z]+$/.test(reference + ours),
  },
  {
    id: "what is protected can't be moved",
    why:
      "Directories above a mask, a carve-out or metadata are mount points, so that a rename can't carry the protection away",
    explains: ({ question, reference, ours }) =>
      question.startsWith("rename ") && reference === "ok" &&
      (ours === "EBUSY" || ours === "EXDEV"),
  },
  {
    id: "a grant is no mount of its own",
    why:
      "A write grant inside a writable root changes nothing there, so that it can be renamed",
    explains: ({ question, reference, ours }) =>
      question.startsWith("rename ") && reference === "EBUSY" && ours === "ok",
  },
  {
    id: "a glob hides directories too",
    why:
      "A denied glob that matches a directory hides it with all below it; the reference looks at files only",
    explains: (difference) =>
      difference.reference === "ok" && difference.ours === "EACCES" &&
      pathsOf(difference).some((path) =>
        globsOf(difference).some((glob) =>
          aboveAnd(path).some((it) => new Bun.Glob(glob).match(it))
        )
      ),
  },
  {
    id: "a glob is anchored",
    why:
      "A glob's last part is matched in its own directory; in 0.145 a part without a slash matches a name at any depth",
    explains: (difference) =>
      difference.reference === "EACCES" && difference.ours === "ok" &&
      pathsOf(difference).some((path) =>
        globsOf(difference).some((glob) =>
          aboveAnd(path).some((it) =>
            new Bun.Glob(lastPart(glob)).match(lastPart(it))
          )
        )
      ),
  },
  {
    id: "a deeper grant reopens",
    why:
      "The entry with the longest path decides, also for reading below what is denied",
    explains: (difference) =>
      difference.reference === "EACCES" && difference.ours === "ok" &&
      pathsOf(difference).some((path) =>
        (difference.case.policy?.lines ?? []).some(([line, access]) =>
          access !== "deny" && line !== "" && aboveAnd(path).includes(line)
        )
      ),
  },
];

/** The paths of a question about files. */
function pathsOf({ question }: Difference): readonly string[] {
  return question.split(" ").slice(1);
}

function globsOf({ case: one }: Difference): readonly string[] {
  return one.policy?.globs ?? [];
}

/** A path and every directory above it, relative to the tree. */
function aboveAnd(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The rule behind a difference, `null` for one that is not meant. */
export function explanationOf(difference: Difference): Rule | null {
  return RULES.find(({ explains }) => explains(difference)) ?? null;
}
