/**
 * Our build-time edits of bubblewrap's source, in the order in which they are applied.
 *
 * Upstream's source is not in this repository, so an edit is a search pattern, as short as uniqueness allows, and our own text.
 * Pure. A pattern that does not occur exactly once fails the build: the source is not the one the edit was written for.
 *
 * @module
 */

import { fail, ok, type Result } from "../src/result.ts";

/** One edit of one file of the unpacked source. */
export type SourceEdit = {
  /** Two digits, then what it does: `01-flags-before-the-walk`. Named in errors. */
  readonly name: string;
  /** A file at the top of the unpacked source. */
  readonly file: string;
  /** Why upstream's behaviour is not enough for us. */
  readonly why: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  /** Our text in its place. */
  readonly replace: string;
};

/** Kernel interface that the build machine's headers may lack: numbers and flags of mount_setattr(2), which are equal everywhere. */
const AT_ONCE = `
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SYS_OPEN_TREE = 428, SYS_MOVE_MOUNT = 429, SYS_MOUNT_SETATTR = 442 };
enum { TREE_CLONE = 1, TREE_RECURSIVE = 0x8000, BY_DESCRIPTOR = 0x1000 };
enum { MOVE_BOTH_BY_DESCRIPTOR = 0x04 | 0x40 };
enum { SET_RDONLY = 1, SET_NOSUID = 2, SET_NODEV = 4 };

struct attr_change { uint64_t set, clear, propagation, userns_fd; };

/* Binds src_fd on dest_fd, or with src_fd -1 changes the mount that dest_fd is the root of, and sets the flags of every mount
   of the tree in one call. The tree gets its flags before anybody can reach it.
   Returns 1 when done, 0 when this kernel or this host won't: nothing has changed then; -1 when the place was moved away. */
static int
bind_at_once (int src_fd, int dest_fd, const char *dest_link, const char *dest_path, bind_option_t options)
{
  bool recursive = (options & BIND_RECURSIVE) != 0;
  struct attr_change change = { .set = SET_NOSUID };
  cleanup_fd int tree_fd = -1;
  cleanup_free char *dest_now = NULL;

  if ((options & BIND_DEVICES) == 0)
    change.set |= SET_NODEV;
  if ((options & BIND_READONLY) != 0)
    change.set |= SET_RDONLY;

  if (src_fd != -1)
    {
      tree_fd = (int) syscall (SYS_OPEN_TREE, src_fd, "",
                               TREE_CLONE | O_CLOEXEC | BY_DESCRIPTOR | (recursive ? TREE_RECURSIVE : 0));
      if (tree_fd < 0)
        return 0;
    }

  if (syscall (SYS_MOUNT_SETATTR, src_fd == -1 ? dest_fd : tree_fd, "",
               BY_DESCRIPTOR | (recursive ? TREE_RECURSIVE : 0), &change, sizeof (change)) != 0)
    return 0;

  if (src_fd == -1)
    return 1;

  if (syscall (SYS_MOVE_MOUNT, tree_fd, "", dest_fd, "", MOVE_BOTH_BY_DESCRIPTOR) != 0)
    return 0;

  dest_now = readlink_malloc (dest_link);
  return dest_now != NULL && strcmp (dest_now, dest_path) == 0 ? 1 : -1;
}
`;

/** What we change in bubblewrap's source. Measured in `docs/decisions.md`, explained in `vendor/bubblewrap/README.md`. */
export const SOURCE_EDITS: readonly SourceEdit[] = [
  {
    name: "01-flags-before-the-walk",
    file: "bind-mount.c",
    why:
      "where mount_setattr(2) is missing (before Linux 5.12) or forbidden, the walk does it as before",
    find: "  if (src_fd != -1)\n",
    replace:
      `  switch (bind_at_once (src_fd, dest_fd, dest_proc, resolved_dest, options))
    {
    case 1:
      return BIND_MOUNT_SUCCESS;
    case -1:
      if (failing_path != NULL)
        *failing_path = steal_pointer (&resolved_dest);
      errno = EINVAL;
      return BIND_MOUNT_ERROR_FIND_DEST_MOUNT;
    default:
      break;
    }

  if (src_fd != -1)
`,
  },
  {
    name: "02-set-flags-at-once",
    file: "bind-mount.c",
    why:
      "after each bind the whole mount table is read and parsed to find the mounts whose flags must be set: quadratic in the number of masks",
    find: '#include "bind-mount.h"\n',
    replace: `#include "bind-mount.h"\n${AT_ONCE}`,
  },
  {
    name: "03-more-arguments",
    file: "bubblewrap.c",
    why: "9,000 arguments are 1,800 masks",
    find: "MAX_ARGS = 9000",
    replace: "MAX_ARGS = 1000000",
  },
  {
    name: "04-option-empty-file",
    file: "bubblewrap.c",
    why:
      "a mask of a file takes a descriptor and a temporary file each: ten thousand are more than a process may hold",
    find: '      else if (strcmp (arg, "--ro-bind-data") == 0)\n',
    replace: `      else if (strcmp (arg, "--empty-file") == 0)
        {
          if (argc < 2)
            die ("--empty-file takes an argument");

          op = setup_op_new (SETUP_MAKE_RO_BIND_FILE);
          op->dest = argv[1];
          op->flags = NO_CREATE_DEST;
          op->perms = next_perms >= 0 ? next_perms : 0;
          next_perms = -1;
          argv += 1;
          argc -= 1;
        }
      else if (strcmp (arg, "--ro-bind-data") == 0)
`,
  },
  {
    name: "05-one-file-for-all",
    file: "bubblewrap.c",
    why:
      "masks of one mode that follow each other are the same empty file, which has no name any more when the command starts",
    find: "            tmp_fd = mkstemp (tempfile);\n",
    replace: `            if (op->fd == -1)
              {
                static char empty_file[] = "/emptyXXXXXX";
                static int empty_fd = -1;

                /* What is not there needs no mask, and nothing may be left on the host in its place. */
                dest_fd = openat_in_root ("/newroot", op->dest, O_PATH | O_NOFOLLOW);
                if (dest_fd < 0)
                  die_with_error ("Can't find %s", op->dest);
                if (get_file_mode (dest_fd) == S_IFLNK)
                  die ("Can't mount on symlink destination %s", op->dest);

                if (empty_fd == -1)
                  {
                    empty_fd = mkostemp (empty_file, O_CLOEXEC);
                    if (empty_fd == -1 || fchmod (empty_fd, op->perms) != 0)
                      die_with_error ("Can't create the empty file for %s", op->dest);
                  }
                setup_op_bind_mount_fd (BIND_READONLY, empty_fd, "empty file", dest_fd, op->dest);

                /* Without a name it can't be bound: it keeps it up to the last of a row. */
                if (op->next == NULL || op->next->type != SETUP_MAKE_RO_BIND_FILE ||
                    op->next->fd != -1 || op->next->perms != op->perms)
                  {
                    if (unlink (empty_file) != 0)
                      die_with_error ("Can't remove the empty file");
                    close (empty_fd);
                    empty_fd = -1;
                    memcpy (empty_file, "/emptyXXXXXX", sizeof (empty_file));
                  }
                break;
              }

            tmp_fd = mkstemp (tempfile);
`,
  },
  {
    name: "06-say-so-in-the-help",
    file: "bubblewrap.c",
    why: "the launcher asks --help what a bubblewrap can do",
    find: '           "    --symlink SRC DEST ',
    replace:
      '           "    --empty-file DEST            Bind one empty file, shared by all, read-only on DEST\\n"\n           "    --symlink SRC DEST ',
  },
  {
    name: "07-read-only-devices",
    file: "bubblewrap.c",
    why:
      "uid 0 owns the host's device nodes without a capability: it could close /dev/null to everybody by its mode",
    find: "setup_op_bind_mount (BIND_DEVICES, node_src, node_fd, devnodes[i]);",
    replace:
      "setup_op_bind_mount (BIND_DEVICES | BIND_READONLY, node_src, node_fd, devnodes[i]);",
  },
  {
    name: "08-read-only-console",
    file: "bubblewrap.c",
    why: "likewise for the caller's terminal, which is its user's",
    find: "setup_op_bind_mount (BIND_DEVICES, host_tty_dev, console_fd,",
    replace:
      "setup_op_bind_mount (BIND_DEVICES | BIND_READONLY, host_tty_dev, console_fd,",
  },
  {
    name: "09-no-late-mounts",
    file: "bubblewrap.c",
    why:
      "what the host mounts during the run would appear inside with the host's own flags: writable below what was bound read-only",
    find: "MS_SILENT | MS_SLAVE | MS_REC",
    replace: "MS_SILENT | MS_PRIVATE | MS_REC",
  },
];

/** The edited text, or one line that says why the edit does not fit. */
export function applyEdit(
  text: string,
  edit: SourceEdit,
): Result<string, string> {
  const count = text.split(edit.find).length - 1;
  if (count !== 1) {
    return fail(
      `Cannot apply edit "${edit.name}" to "${edit.file}": its pattern occurs ${count} times, must be 1`,
    );
  }
  return ok(text.replace(edit.find, () => edit.replace));
}
