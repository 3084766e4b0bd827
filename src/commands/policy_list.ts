/**
 * `codex policy list`: every profile that can be chosen here.
 *
 * Pure.
 *
 * @module
 */
import { fromText, toText } from "../bytes.ts";
import type { Origin } from "../policy/policy.ts";
import {
  type CommandOutput,
  jsonText,
  originJson,
  originText,
} from "./output.ts";

/** One profile. */
export interface ListedProfile {
  readonly name: string;
  readonly description: string | null;
  readonly origin: Origin;
}

/** What is listed. */
export interface ListRequest {
  readonly profiles: readonly ListedProfile[];
  /** The profile that a run without `-P` uses here, `null` when that can't be told. */
  readonly selected: string | null;
  readonly format: "text" | "json";
  readonly locate: (origin: Origin) => Origin;
}

/** The profiles, the selected one marked with `*`. */
export function policyList(request: ListRequest): CommandOutput {
  const { profiles, selected, locate } = request;
  if (request.format === "json") {
    const stdout = jsonText({
      selected,
      profiles: profiles.map(({ name, description, origin }) => ({
        name,
        description,
        origin: originJson(locate(origin)),
      })),
    });
    return { stdout, stderr: "", status: 0 };
  }
  const width = Math.max(...profiles.map(({ name }) => shown(name).length));
  const lines = profiles.map(({ name, description, origin }) => {
    const mark = name === selected ? "*" : " ";
    const about = description === null ? "" : `  ${shown(description)}`;
    // Built-in profiles are nowhere to be looked up.
    const place = origin.file === null && name.startsWith(":")
      ? ""
      : `  [${originText(locate(origin))}]`;
    return `${mark} ${shown(name).padEnd(width)}${about}${place}`.trimEnd();
  });
  return { stdout: `${lines.join("\n")}\n`, stderr: "", status: 0 };
}

/** Text of a config file for a terminal: controls escaped. */
function shown(text: string): string {
  return toText(fromText(text));
}
