/**
 * One function per system call, named after it, in TypeScript types. Nobody above sees a pointer.
 *
 * The calls lie by subject in the files beside this one, which is the one way to them. Failures are values that carry the call and its
 * errno. Interrupted calls are tried again where that is safe. Source: section 2 of the manual pages.
 *
 * @module
 */
export {
  hasMountSetattr,
  landlockAllow,
  landlockRestrict,
  landlockRuleset,
  landlockVersion,
  prctl,
  seccompSetFilter,
} from "./confinement.ts";
export {
  closeOnExecFrom,
  duplicate,
  dupTo,
  fchmod,
  fileStatusFlags,
  flock,
  pipe,
  poll,
  type Polled,
  setCloseOnExec,
  setFileStatusFlags,
} from "./descriptors.ts";
export {
  chdir,
  getcwd,
  mkdirAt,
  readDirectory,
  renameAt,
  setUmask,
  unlinkAt,
  visitDirectory,
} from "./directories.ts";
export {
  access,
  accessExecutable,
  accessWritable,
  close,
  memfdCreate,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt,
  openAt2,
  read,
  readAll,
  readAt,
  readFile,
  readlink,
  sealedMemfd,
  seek,
  tell,
  writeAll,
} from "./files.ts";
export { cString, hostArch, type SysError } from "./outcome.ts";
export {
  type ChildStatus,
  exitNow,
  getgroups,
  getLimit,
  getpgrp,
  getpid,
  getppid,
  ids,
  kill,
  pidfdKill,
  pidfdOpen,
  raise,
  reapIfEnded,
  type ResourceLimit,
  setsid,
  setSoftLimit,
  startingSoftNofile,
  waitFor,
} from "./processes.ts";
export { execve, type Program, spawn, type Spawned } from "./programs.ts";
export {
  catchSignals,
  signalDefault,
  signalIgnore,
  signalSet,
  signalWriterCode,
  unblockSignal,
} from "./signals.ts";
export {
  askText,
  contentText,
  fileSystemType,
  fstat,
  isHarmlessDevice,
  lstat,
  lstatAt,
  modifiedAt,
  placeText,
  setModified,
  type Stat,
  stat,
} from "./stat.ts";
export {
  foregroundGroup,
  isTerminal,
  setTerminalModes,
  terminalModes,
} from "./terminals.ts";
