/**
 * The bubblewrap that we carry: checked against the digest of the build on every use, executed from memory.
 *
 * Effects: reads the embedded file, makes a sealed memfd. What was checked is what runs: nobody can write the memfd afterwards, and
 * nothing is unpacked to disk.
 *
 * @module
 */
import { BWRAP_SHA256, BWRAP_VERSION } from "../build_info.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { close, duplicate, sealedMemfd } from "../sys/calls.ts";
import { readEmbeddedBwrap } from "./embedded_bwrap.ts";
import { firstOwnFd, type LaunchError } from "./process_state.ts";
import type { BwrapFile } from "./probe_bwrap.ts";

/** The bundled bwrap, ready to run. */
export interface BundledBwrap {
  readonly file: BwrapFile;
  readonly version: string;
  readonly sha256: string;
}

/** How the message begins when somebody has changed our own file: then nothing at all is run. Callers match it. */
export const DIGEST_MISMATCH = "bundled bubblewrap digest mismatch";

/** Checks and loads the bundled bwrap. */
export function loadBundledBwrap(): Result<BundledBwrap, LaunchError> {
  const bytes = readEmbeddedBwrap();
  if (bytes === null && BWRAP_SHA256 !== null) {
    return fail({
      kind: "launch",
      message:
        `${DIGEST_MISMATCH}: the end of this executable is damaged; install codex again`,
    });
  }
  if (bytes === null || BWRAP_SHA256 === null) {
    return fail({
      kind: "launch",
      message:
        "Cannot use the bundled bubblewrap: this executable was built without one",
    });
  }
  const digest = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  if (digest !== BWRAP_SHA256) {
    return fail({
      kind: "launch",
      message:
        `${DIGEST_MISMATCH}: expected sha256:${BWRAP_SHA256}, got sha256:${digest}; install codex again`,
    });
  }
  const memfd = sealedMemfd("bwrap", bytes, "executable");
  if (!memfd.ok) {
    const forbidden = memfd.error.errno === abi.EACCES;
    return fail({
      kind: "launch",
      message: forbidden
        ? 'Cannot run the bundled bubblewrap: this host forbids executable memfds (vm.memfd_noexec is 2); install the distribution\'s bubblewrap or run "sysctl vm.memfd_noexec=1" as root'
        : `Cannot load the bundled bubblewrap: ${memfd.error.call} says ${
          abi.errnoText(memfd.error.errno)
        }`,
    });
  }
  const fd = duplicate(memfd.value, firstOwnFd());
  close(memfd.value);
  if (!fd.ok) {
    return fail({
      kind: "launch",
      message: `Cannot load the bundled bubblewrap: ${
        abi.errnoText(fd.error.errno)
      }`,
    });
  }
  return ok({
    file: {
      path: `/proc/self/fd/${fd.value}`,
      identity: `sha256:${digest}`,
    },
    version: BWRAP_VERSION ?? "",
    sha256: digest,
  });
}
