/**
 * Published weaknesses of bubblewrap, by version.
 *
 * Pure data. Distributions mend older versions without changing their number, so a version says only what may be there. Sources: the
 * advisories that each row names, and the release notes of bubblewrap.
 *
 * @module
 */

/** One weakness. */
export interface Advisory {
  readonly id: string;
  /** First version that has it; `null` for all before `fixed`. */
  readonly since: string | null;
  /** First version that has it no longer. */
  readonly fixed: string;
  /** Only a set-uid bubblewrap has it, and such a one is never used. */
  readonly setuidOnly: boolean;
  /** One sentence, without a full stop. */
  readonly what: string;
  /** What keeps it from mattering in our runs. */
  readonly here: string;
}

/** Newest first. */
export const ADVISORIES: readonly Advisory[] = [
  {
    id: "CVE-2026-87766",
    since: null,
    fixed: "0.12.0",
    setuidOnly: false,
    what:
      "while it makes mount points it follows links of the sandbox out of it",
    here: "every mount is verified before the command starts",
  },
  {
    id: "CVE-2026-41163",
    since: "0.11.0",
    fixed: "0.11.2",
    setuidOnly: true,
    what: "its privileged half can be driven by ptrace",
    here: "a set-uid bubblewrap is never used",
  },
  {
    id: "CVE-2020-5291",
    since: null,
    fixed: "0.4.1",
    setuidOnly: true,
    what: "privileges are kept in a second user namespace",
    here: "a set-uid bubblewrap is never used",
  },
  {
    id: "CVE-2019-12439",
    since: null,
    fixed: "0.3.3",
    setuidOnly: false,
    what: "it uses a directory in /tmp that others can make first",
    here: "so old a bubblewrap lacks options and is never used",
  },
  {
    id: "CVE-2016-8659",
    since: null,
    fixed: "0.1.3",
    setuidOnly: true,
    what: "its privileged half can be driven by ptrace",
    here: "a set-uid bubblewrap is never used",
  },
];

/** Those that a version may have. An unknown version may have none that we could name. */
export function advisoriesOf(
  version: string,
  isSetuid: boolean,
): readonly Advisory[] {
  const parts = numbersOf(version);
  if (parts === null) return [];
  return ADVISORIES.filter(({ since, fixed, setuidOnly }) =>
    (isSetuid || !setuidOnly) &&
    compare(parts, numbersOf(fixed) ?? []) < 0 &&
    (since === null || compare(parts, numbersOf(since) ?? []) >= 0)
  );
}

function numbersOf(version: string): readonly number[] | null {
  return /^\d+(\.\d+)*$/.test(version) ? version.split(".").map(Number) : null;
}

/** Below, at or above 0; missing parts are 0. */
export function compare(
  one: readonly number[],
  other: readonly number[],
): number {
  for (let at = 0; at < Math.max(one.length, other.length); at++) {
    const difference = (one[at] ?? 0) - (other[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
