/**
 * What `use_legacy_landlock` of old means for a policy: the rule of equality.
 *
 * Pure. The flag belongs to policies that the older model could say as well. Of its two, reading everything and writing nothing is one
 * that Landlock enforces whole; writable workspaces have protected names in them, which it can't take out. Where everything may be
 * written there is nothing to choose, and the flag says nothing.
 *
 * @module
 */
import { ROOT } from "./path.ts";
import type { Policy } from "./policy.ts";

/** `honoured`: Landlock alone. `ignored`: the flag changes nothing. `refused`: only bubblewrap can enforce the policy. */
export function legacyLandlock(
  policy: Policy,
): "honoured" | "ignored" | "refused" {
  const { enforcement, unrestricted, grants, globs, options } = policy;
  if (enforcement !== "managed" || unrestricted) return "ignored";
  const narrows = globs.length > 0 || options.tmp === "private" ||
    grants.some(({ access }) => access === "deny");
  const everywhere = grants.filter(({ path }) => path === ROOT);
  if (narrows || everywhere.length === 0) return "refused";
  if (grants.every(({ access }) => access === "read")) return "honoured";
  const isFull =
    everywhere.some(({ symbol, access }) =>
      symbol === ":root" && access === "write"
    ) && grants.every(({ access }) => access === "write");
  return isFull ? "ignored" : "refused";
}
