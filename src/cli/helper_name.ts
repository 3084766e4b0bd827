/** The one basename that is special: called by it, the executable is the helper. */
export const HELPER_NAME = "codex-linux-sandbox";
