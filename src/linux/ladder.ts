/**
 * The ladder of back ends: bubblewrap, Landlock with seccomp alone, refusal. Which rung is taken.
 *
 * Pure. A rung that can't keep what the policy itself says is never taken by itself; what it lacks beyond that is said, and refused
 * where the profile requires it. What each keeps is `promises.ts`.
 *
 * @module
 */
import type { SocketFact } from "../policy/facts.ts";
import type { Layout } from "../policy/layout.ts";
import type { Policy, PromiseName } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import type { PlanError } from "./plan.ts";
import {
  bubblewrapPromises,
  type KeptPromise,
  landlockPromises,
} from "./promises.ts";

/** What happened to the first rung: `null` when it was not to be tried. */
export type BubblewrapOutcome =
  | { readonly kind: "works"; readonly proc: "fresh" | "host" }
  | { readonly kind: "fails"; readonly why: string }
  | null;

/** What decides about the rung. */
export interface RungRequest {
  readonly policy: Policy;
  readonly layout: Layout;
  /** Known sockets of daemons that are there; looked for only where the host's network is given. */
  readonly sockets?: readonly SocketFact[];
  readonly bubblewrap: BubblewrapOutcome;
  /** The version of Landlock that the kernel has, 0 for none. */
  readonly landlock: number;
  /** Whether Landlock may follow where bubblewrap fails: not with `--backend bubblewrap` or a bubblewrap chosen by hand. */
  readonly mayFallBack: boolean;
  /** Promises that were given up by hand. */
  readonly givenUp: readonly PromiseName[];
}

/** The rung that a run takes. */
export type Rung =
  | { readonly kind: "bubblewrap"; readonly promises: readonly KeptPromise[] }
  | {
    readonly kind: "landlock";
    readonly promises: readonly KeptPromise[];
    /** Why it is not bubblewrap. */
    readonly reason: string;
  };

/** The first rung that keeps what must be kept, or why there is none. */
export function chooseRung(request: RungRequest): Result<Rung, PlanError> {
  const { policy, bubblewrap, mayFallBack } = request;
  if (bubblewrap?.kind === "works") {
    const promises = bubblewrapPromises({
      proc: bubblewrap.proc,
      network: policy.network,
    });
    const broken = unkept(policy, promises);
    return broken === null
      ? ok({ kind: "bubblewrap", promises })
      : fail(broken);
  }
  if (bubblewrap !== null && !mayFallBack) return refuse(bubblewrap.why);
  return landlockRung(request, bubblewrap?.why ?? null);
}

/** @param failure why bubblewrap can't be used; `null`: Landlock was chosen by hand */
function landlockRung(
  { policy, layout, landlock, givenUp, sockets }: RungRequest,
  failure: string | null,
): Result<Rung, PlanError> {
  if (policy.options.nestedNamespaces) {
    const first = failure === null ? "" : `${failure}; `;
    return refuse(
      `${first}Landlock alone can't honour nested_namespaces = true of profile ${policy.name}: its filter denies namespaces; leave it out`,
    );
  }
  const promises = landlockPromises(policy, layout, landlock, sockets);
  for (const name of givenUp) {
    if (promises.some((it) => it.name === name && it.kept)) {
      return refuse(
        `Cannot give up "${name}": Landlock keeps it for this profile, leave --give-up ${name} out`,
      );
    }
  }
  const lacking = promises.filter(({ name, kept }) =>
    !kept && !givenUp.includes(name)
  );
  const broken = lacking.filter(({ name }) => OF_THE_POLICY.includes(name));
  if (broken.length > 0) {
    const what = broken.map(({ name, why }) => `"${name}" (${why})`);
    const flags = broken.map(({ name }) => ` --give-up ${name}`).join("");
    return refuse(
      failure === null
        ? `Cannot keep ${
          what.join(" and ")
        } with Landlock alone: use bubblewrap, or add${flags}`
        : `${failure}; Landlock alone can't keep ${
          what.join(" and ")
        }: mend the first, or waive the second by hand with --backend landlock${flags}`,
    );
  }
  const unmet = unkept(policy, lacking, failure);
  if (unmet !== null) return fail(unmet);
  const reason = failure ?? "--backend landlock";
  return ok({ kind: "landlock", promises, reason });
}

/** What a policy says by its entries and its network; the others are asked for by `require` only. */
const OF_THE_POLICY: readonly PromiseName[] = [
  "read-deny",
  "write-deny",
  "carve-outs",
  "network",
];

/** The first promise that the profile requires and `promises` don't keep. @param failure what went before */
export function unkept(
  { options }: Policy,
  promises: readonly KeptPromise[],
  failure: string | null = null,
): PlanError | null {
  const broken = promises.find(({ name, kept }) =>
    !kept && options.require.includes(name)
  );
  if (broken === undefined) return null;
  const cannot = failure === null
    ? "Cannot"
    : `${failure}; Landlock alone can't`;
  return {
    kind: "plan",
    message:
      `${cannot} keep the promise "${broken.name}": ${broken.why}; leave it out of require = [...]`,
  };
}

function refuse(
  message: string,
): { readonly ok: false; readonly error: PlanError } {
  return fail({ kind: "plan", message });
}
