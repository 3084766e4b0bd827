/**
 * Calls that take rights away: Landlock, seccomp, prctl.
 *
 * @module
 */
import { fail, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { addressOf, stableBytes, syscall } from "./ffi.ts";
import { outcome, SYS, type SysError } from "./outcome.ts";

/** prctl(2) with one argument. */
export function prctl(
  option: number,
  argument: number,
): Result<number, SysError> {
  return outcome(
    `prctl ${option}`,
    syscall(SYS.prctl, option, argument, 0, 0, 0),
  );
}

/** Whether the kernel has mount_setattr(2) and lets us ask it: a call that could never do anything is answered with EINVAL. */
export function hasMountSetattr(): boolean {
  return syscall(SYS.mount_setattr, -1, 0, 0, 0, 0) === -abi.EINVAL;
}

/** The version of Landlock that the kernel has (landlock_create_ruleset(2)); ENOSYS without it, EOPNOTSUPP where it is switched off. */
export function landlockVersion(): Result<number, SysError> {
  return outcome(
    "landlock_create_ruleset",
    syscall(
      SYS.landlock_create_ruleset,
      0,
      0,
      abi.LANDLOCK_CREATE_RULESET_VERSION,
    ),
  );
}

/**
 * landlock_create_ruleset(2).
 *
 * @param handled LANDLOCK_ACCESS_FS_* bits
 * @param more LANDLOCK_ACCESS_NET_* (version 4 and later) and LANDLOCK_SCOPE_* bits (version 6); older kernels know no such fields
 * @returns the ruleset's descriptor
 */
export function landlockRuleset(
  handled: number,
  more: { readonly net: number; readonly scopes: number } = NOTHING_MORE,
): Result<number, SysError> {
  const bytes = more.scopes !== 0
    ? abi.LANDLOCK_RULESET_SCOPED_BYTES
    : more.net !== 0
    ? abi.LANDLOCK_RULESET_NET_BYTES
    : abi.LANDLOCK_RULESET_BYTES;
  const attributes = stableBytes(bytes);
  const view = new DataView(attributes.buffer);
  view.setUint32(0, handled, true);
  if (bytes > abi.LANDLOCK_RULESET_BYTES) view.setUint32(8, more.net, true);
  if (bytes > abi.LANDLOCK_RULESET_NET_BYTES) {
    view.setUint32(16, more.scopes, true);
  }
  return outcome(
    "landlock_create_ruleset",
    syscall(SYS.landlock_create_ruleset, attributes, bytes, 0),
  );
}

const NOTHING_MORE = { net: 0, scopes: 0 } as const;

/** landlock_add_rule(2) for a file or everything below a directory. EBADFD: pipes, sockets and their like lie beneath nothing */
export function landlockAllow(
  ruleset: number,
  beneath: number,
  rights: number,
): Result<number, SysError> {
  const rule = stableBytes(abi.LANDLOCK_PATH_BENEATH_BYTES);
  const view = new DataView(rule.buffer);
  view.setUint32(0, rights, true);
  view.setInt32(8, beneath, true);
  return outcome(
    "landlock_add_rule",
    syscall(
      SYS.landlock_add_rule,
      ruleset,
      abi.LANDLOCK_RULE_PATH_BENEATH,
      rule,
      0,
    ),
  );
}

/** landlock_restrict_self(2), for this thread and what it executes. Needs no_new_privs. */
export function landlockRestrict(ruleset: number): Result<number, SysError> {
  return outcome(
    "landlock_restrict_self",
    syscall(SYS.landlock_restrict_self, ruleset, 0),
  );
}

/** seccomp(2) SECCOMP_SET_MODE_FILTER for this thread and its siblings (TSYNC). @param program struct sock_filter, 8 bytes each */
export function seccompSetFilter(
  program: Uint8Array,
): Result<number, SysError> {
  const code = stableBytes(program.length);
  code.set(program);
  // struct sock_fprog: u16 len, padding to 8, pointer.
  const header = stableBytes(16);
  const view = new DataView(header.buffer);
  view.setUint16(0, program.length / 8, true);
  view.setBigUint64(8, BigInt(addressOf(code)), true);
  const result = syscall(
    SYS.seccomp,
    abi.SECCOMP_SET_MODE_FILTER,
    abi.SECCOMP_FILTER_FLAG_TSYNC,
    header,
  );
  // A positive result is the id of a thread that could not be synchronised: nothing was installed.
  if (result > 0) {
    return fail({
      kind: "sys",
      call: `seccomp TSYNC thread ${result}`,
      errno: abi.ESRCH,
    });
  }
  return outcome("seccomp", result);
}
