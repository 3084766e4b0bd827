/**
 * Our edits of bubblewrap's source: what each adds to what upstream sees to, and what the one that is faster must not leave out.
 *
 * @module
 */
import { type Defence, live, type Notice, withSystem } from "./defence.ts";

const EDITS = "scripts/bwrap_edits.ts";

/** Compares every flag of every mount with upstream's. */
const FLAGS: Notice = ["sandbox/masks_test.ts", "has the flags"];

/** One line of our C text, taken out; bubblewrap is compiled anew. */
function edit(
  step: string,
  text: string,
  instead: string,
  ...noticedBy: readonly Notice[]
): Defence {
  return live(step, EDITS, text, instead, ...noticedBy);
}

export const BUBBLEWRAP: readonly Defence[] = [
  edit(
    "device nodes are bound read-only",
    `"setup_op_bind_mount (BIND_DEVICES | BIND_READONLY, node_src,`,
    `"setup_op_bind_mount (BIND_DEVICES, node_src,`,
    ["sandbox/escape_test.ts", "^device-chmod$"],
  ),
  edit(
    "the terminal's node is bound read-only",
    `"setup_op_bind_mount (BIND_DEVICES | BIND_READONLY, host_tty_dev,`,
    `"setup_op_bind_mount (BIND_DEVICES, host_tty_dev,`,
    ["sandbox/terminal_test.ts", "node inside is read-only"],
  ),
  edit(
    "what the host mounts during the run stays outside",
    `    replace: "MS_SILENT | MS_PRIVATE | MS_REC",`,
    `    replace: "MS_SILENT | MS_SLAVE | MS_REC",`,
    ["sandbox/masks_test.ts", "mounts during the run"],
  ),
  withSystem(edit(
    "what is bound read-only at once is read-only",
    `    change.set |= SET_RDONLY;`,
    `    change.set |= 0;`,
    FLAGS,
  )),
  withSystem(edit(
    "no mount that is bound at once has devices",
    `    change.set |= SET_NODEV;`,
    `    change.set |= 0;`,
    FLAGS,
  )),
  withSystem(edit(
    "no mount that is bound at once has setuid programs",
    `struct attr_change change = { .set = SET_NOSUID };`,
    `struct attr_change change = { .set = 0 };`,
    FLAGS,
  )),
  withSystem(edit(
    "mounts below what is bound at once get its flags too",
    `               BY_DESCRIPTOR | (recursive ? TREE_RECURSIVE : 0), &change`,
    `               BY_DESCRIPTOR, &change`,
    FLAGS,
  )),
  withSystem(edit(
    "flags that can't be set at once are set one by one",
    `    default:
      break;
    }

  if (src_fd != -1)`,
    `    default:
      return BIND_MOUNT_SUCCESS;
    }

  if (src_fd != -1)`,
    FLAGS,
  )),
  edit(
    "a mask of a file that is gone ends the start",
    `                if (dest_fd < 0)
                  die_with_error ("Can't find %s", op->dest);
`,
    `                if (dest_fd < 0)
                  break;
`,
    ["sandbox/masks_test.ts", "has lost its file"],
  ),
  edit(
    "a mask of a file is not put where a link leads",
    `                if (get_file_mode (dest_fd) == S_IFLNK)
                  die ("Can't mount on symlink destination %s", op->dest);
`,
    ``,
    ["sandbox/masks_test.ts", "has lost its file"],
  ),
  edit(
    "the file of all masks can't be written",
    `setup_op_bind_mount_fd (BIND_READONLY, empty_fd,`,
    `setup_op_bind_mount_fd (0, empty_fd,`,
    ["sandbox/escape_test.ts", "^secret-chmod$"],
    ["sandbox/masks_test.ts"],
  ),
];
