/**
 * The refusals of a policy: what can't be enforced on a host is refused by name. The rules that decide what is allowed have a table of
 * their own, `tests/policy/mutation_test.ts`.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const REFUSALS = "src/policy/refusals.ts";
const METADATA = "src/policy/metadata_refusals.ts";
const POINTERS = "src/policy/git_pointers.ts";

const REFUSED: Notice = ["policy/refusals_test.ts"];

const ENTRIES: readonly Defence[] = [
  [
    "an entry whose links loop is refused",
    `layout.rules.looping.map(linkLoop);`,
    `[];`,
  ],
  [
    "a glob whose links loop is refused",
    `  if (place === null) {
    const message = \`Cannot expand`,
    `  if (false) {
    const message = \`Cannot expand`,
  ],
  [
    "a glob in /proc or /dev is refused",
    `  if (isMadeFresh(place.path) && !isInside(place.path, { root: DEV_SHM })) {`,
    `  if (false) {`,
  ],
  [
    "a glob behind a link of the command's is refused",
    `  return crossing(glob.prefix, place, "deny-read", origin, layout, null);`,
    `  return null;`,
  ],
  [
    "nested namespaces beside what is hidden or protected are refused",
    `  if (policy.options.nestedNamespaces) errors.push(nestedError(policy, layout));\n`,
    ``,
  ],
  [
    "metadata behind a link of the command's is refused",
    `    errors.push(protectedError(metadata.path, layout, facts));\n`,
    ``,
  ],
  [
    "metadata whose links loop is refused",
    `  if (place === null) {
    const message = \`cannot enforce`,
    `  if (false) {
    const message = \`cannot enforce`,
  ],
  [
    "our own files behind a link of the command's are refused",
    `    errors.push(protectedError(own, layout, facts));\n`,
    ``,
  ],
  [
    "git's pointers are judged",
    `  for (const error of pointerErrors(layout, facts)) errors.push(error);\n`,
    ``,
  ],
  [
    "file systems that ignore case are judged",
    `  for (const error of foldingErrors(layout, facts)) errors.push(error);\n`,
    ``,
  ],
  [
    "a grant to write below /sys is refused",
    `    return access === "write"
      ? refuse(`,
    `    return false
      ? refuse(`,
  ],
  [
    "an entry below /proc is refused",
    `  if (isInside(at, { root: PROC })) {
    return at`,
    `  if (isInside(at, { root: PROC })) {
    return true || at`,
  ],
  [
    "an entry for a device is refused",
    `  if (at === DEV && access === "read") return null;`,
    `  return null;`,
  ],
  [
    "a component that can't be judged in a writable root is refused",
    `  if (place.obstacle === null) return null;`,
    `  return null;`,
  ],
  [
    "a grant to write to a device is refused",
    `  if (place.kind === "char_device" || place.kind === "block_device") {`,
    `  if (false) {`,
  ],
  [
    "a root behind a link of the command's is refused",
    `  if (crossed !== null) return crossed;\n`,
    ``,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, REFUSALS, text, instead, REFUSED)
);

const GIT: readonly Defence[] = [
  [
    "a pointer of git's whose links loop is refused",
    `  if (place === null) {
    const message`,
    `  if (place === null) return null;
  if (place === null) {
    const message`,
  ],
  [
    "a pointer of git's behind a link of the command's is refused",
    `  if (at === undefined) return null;
  const message`,
    `  if (true) return null;
  const message`,
  ],
  [
    "a pointer of git's to what the command may write is refused",
    `  if (state !== "writable") return null;`,
    `  return null;`,
  ],
  [
    "a symbol does not mean what a pointer leads to",
    `    decider.grant.symbol === undefined && !isInside`,
    `    !isInside`,
  ],
  [
    "what holds the workspace does not mean what a pointer leads to",
    `decider.grant.symbol === undefined && !isInside(root, { root: place.path });`,
    `decider.grant.symbol === undefined;`,
  ],
  [
    "a commondir that is a link is refused",
    `  if (fact.kind === "symlink" && nameOf(pointer) === "commondir") {`,
    `  if (false) {`,
  ],
  [
    "the commondir of a linked worktree is judged too",
    `      pointers.add(childOf(place.path, "commondir"));`,
    ``,
  ],
  [
    "a pointer too long for git is refused",
    `  if (fact.sizeBytes > MAX_POINTER_BYTES) {`,
    `  if (false) {`,
  ],
  [
    "a pointer that goes up behind a name is refused",
    `  if (text === undefined || !goesUpBehindName(text)) return null;`,
    `  return null;`,
  ],
  [
    "what is protected on a file system that ignores case is refused",
    `    if (state !== "read_only" && state !== "masked") continue;`,
    `    if (state !== "masked") continue;`,
  ],
  [
    "what is hidden on a file system that ignores case is refused",
    `    if (state !== "read_only" && state !== "masked") continue;`,
    `    if (state !== "read_only") continue;`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, METADATA, text, instead, REFUSED)
);

export const REFUSAL_STEPS: readonly Defence[] = [
  ...ENTRIES,
  ...GIT,
  pure(
    "the name before a pointer's .. may be a link",
    POINTERS,
    `    if (name === ".." && named) return true;\n`,
    ``,
    REFUSED,
  ),
];
