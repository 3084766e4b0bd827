/**
 * The settings that a caller hands to git by variables, as far as they name a proxy.
 *
 * git obeys them before its files, and these before `HTTPS_PROXY`. Pure, over byte strings. Loaded on demand.
 * Source: git-config(1), ENVIRONMENT; `git -c` writes `GIT_CONFIG_PARAMETERS`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";

/** Whether a variable's value is a proxy that git is told: `GIT_CONFIG_VALUE_3` beside `GIT_CONFIG_KEY_3=http.proxy`. */
export function isGitProxyValue(
  name: string,
  environment: readonly ByteString[],
): boolean {
  if (!name.startsWith(VALUE)) return false;
  const key = `${KEY}${name.slice(VALUE.length)}=`;
  for (const entry of environment) {
    // getenv(3) reads the first of duplicates.
    if (entry.startsWith(key)) return namesProxy(entry.slice(key.length));
  }
  return false;
}

/** `'http.proxy'='http://p'`, and as git before 2.31 wrote it `'http.proxy=http://p'`: quotes of a shell, one blank between two. */
const PARAMETER = /'(?:[^']|'\\[!']')*'(?:=(?:'(?:[^']|'\\[!']')*')?)?\s*/g;

/** The value of `GIT_CONFIG_PARAMETERS` without proxies. */
export function withoutGitProxies(parameters: string): string {
  return parameters.replace(PARAMETER, (one) => {
    const key = /^'([^'=]*)/.exec(one)?.[1] ?? "";
    return namesProxy(key) ? "" : one;
  });
}

/**
 * What leads git to `proxy` whatever its files and the caller's variables say: names and values to set.
 *
 * @returns none where the caller's count is no number: git refuses that, whatever stands beside it
 */
export function gitProxySettings(
  environment: readonly ByteString[],
  proxy: string,
): (readonly [name: string, value: string])[] {
  const written = valueOf(environment, COUNT) ?? "";
  if (!/^[0-9]{0,4}$/.test(written)) return [];
  const count = Number(written);
  const set: (readonly [string, string])[] = [];
  for (let index = 0; index < count; index++) {
    const key = valueOf(environment, `${KEY}${index}`);
    if (key !== null && namesProxy(key)) set.push([`${VALUE}${index}`, proxy]);
  }
  const parameters = valueOf(environment, PARAMETERS);
  if (parameters !== null) {
    set.push([PARAMETERS, withoutGitProxies(parameters)]);
  }
  return [
    ...set,
    [COUNT, String(count + 1)],
    [`${KEY}${count}`, "http.proxy"],
    [`${VALUE}${count}`, proxy],
  ];
}

/** Where `git -c` passes its settings on to the programs that it starts. */
export const PARAMETERS = "GIT_CONFIG_PARAMETERS";
const COUNT = "GIT_CONFIG_COUNT";
const KEY = "GIT_CONFIG_KEY_";
const VALUE = "GIT_CONFIG_VALUE_";

/** `http.proxy`, `http.URL.proxy`, `remote.NAME.proxy`; git's older `core.gitproxy` is a program. */
function namesProxy(key: string): boolean {
  return /^(?:http|remote)\.(?:.*\.)?proxy$/is.test(key);
}

function valueOf(
  environment: readonly ByteString[],
  name: string,
): string | null {
  for (const entry of environment) {
    if (entry.startsWith(`${name}=`)) return entry.slice(name.length + 1);
  }
  return null;
}
