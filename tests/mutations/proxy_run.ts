/**
 * The protective steps of a proxied run: what is dialled, what is waited for, what is written down, what the command's environment
 * holds, and the way from the namespaces to the proxy.
 *
 * @module
 */
import {
  type Defence,
  live,
  type Notice,
  pure,
  withSystem,
} from "./defence.ts";

const DIAL = "src/egress/dial.ts";
const DNS = "src/egress/dns.ts";
const UPSTREAM = "src/egress/upstream.ts";
const FORWARD = "src/egress/http_forward.ts";
const TUNNELS = "src/egress/http_tunnel.ts";
const SOCKS_SESSION = "src/egress/socks_session.ts";
const LOG = "src/egress/network_log.ts";
const REPORT = "src/egress/report.ts";
const ENVIRONMENT = "src/egress/environment.ts";
const ROUTES = "src/egress/routes.ts";
const REQUESTS = "src/run/network_requests.ts";
const SERVED = "src/linux/served_run.ts";
const CHANNEL = "src/linux/control_channel.ts";
const CALLERS = "src/linux/callers_routes.ts";
const SYS_SOCKETS = "src/sys/sockets.ts";

const DIALS: Notice = ["egress/dial_test.ts"];
const FACTS: Notice = ["egress/facts_test.ts"];
const PROXIED: Notice = ["egress/proxy_test.ts"];
const REPORTED: Notice = ["egress/report_test.ts"];
const VARIABLES: Notice = ["egress/environment_test.ts"];
const ROUTED: Notice = ["egress/routes_test.ts"];
const SOCKETS: Notice = ["sys/sockets_test.ts"];
const HANDED: Notice = ["linux/served_run_test.ts"];
const NETWORK = "sandbox/network_test.ts";
const CALLERS_PROXY = "sandbox/callers_proxy_test.ts";

const DIAL_STEPS: readonly Defence[] = [
  ...[
    [
      "CONNECT",
      TUNNELS,
      `  const target: Target = { ...endpoint, protocol: "connect" };\n`,
    ],
    [
      "a forwarded request",
      FORWARD,
      `  const own = context.dialer.ownAddresses();\n`,
    ],
    [
      "SOCKS",
      SOCKS_SESSION,
      `    const target: Target = { ...endpoint, protocol: "socks5" };\n`,
    ],
  ].map(([what = "", file = "", text = ""]) =>
    pure(
      `for ${what} no name is resolved before the list was asked`,
      file,
      text,
      `${text}  void context.dialer.dial(target);\n`,
      FACTS,
      PROXIED,
    )
  ),
  ...[
    [
      "CONNECT",
      TUNNELS,
      `  if (decision.verdict === "deny") {
    reportDenied(context, tally, decision);
    return sayGoodbye`,
    ],
    [
      "a forwarded request",
      FORWARD,
      `  if (decision.verdict === "deny") {
    reportDenied(context, tally, decision);
    return answer(`,
    ],
    [
      "SOCKS",
      SOCKS_SESSION,
      `    if (decision.verdict === "deny") {
      reportDenied(context, tally, decision);
      return refuse`,
    ],
  ].map(([what = "", file = "", text = ""]) =>
    pure(
      `for ${what} a refusal is one`,
      file,
      text,
      text.replace(`decision.verdict === "deny"`, "false"),
      FACTS,
      PROXIED,
    )
  ),
  pure(
    "the addresses of a name are judged before they are dialled",
    DIAL,
    `    if (denial !== null) return fail({ kind: "denied", denial });\n`,
    ``,
    DIALS,
  ),
  pure(
    "the address that was judged is dialled, not the name anew",
    DIAL,
    `const won = await race(parts, interleaved(found.value), goal.port);`,
    `const anew = await addressesOf(parts, goal);
  const won = await race(parts, interleaved(anew.ok ? anew.value : []), goal.port);`,
    DIALS,
  ),
  pure(
    "localhost is never resolved",
    DIAL,
    `  if (isLoopbackName(host.name)) return Promise.resolve(ok(LOCALHOST));\n`,
    ``,
    DIALS,
    FACTS,
  ),
  pure(
    "addresses are tried within one time limit",
    DIAL,
    `const left = Math.max(1, deadline - performance.now());`,
    `const left = 1e9;`,
    DIALS,
  ),
  pure(
    "not more than a few addresses of a name are tried",
    DIAL,
    `  return order.slice(0, MAX_ADDRESSES);`,
    `  return order;`,
    DIALS,
  ),
  pure(
    "a connection that came second is closed",
    DIAL,
    `        if (result.ok) parts.closeFd(result.value);\n`,
    ``,
    DIALS,
  ),
  pure(
    "an unreadable address spoils an answer",
    DNS,
    `    if (parsed === null) return fail("EBADRESP");`,
    `    if (parsed === null) continue;`,
    DIALS,
  ),
  pure(
    "a question to a name server has a time limit",
    DNS,
    `    timer = setTimeout(() => resolve(fail("ETIMEDOUT")), limitMs);`,
    `    timer = setTimeout(() => resolve(fail("ETIMEDOUT")), 1e9);`,
    DIALS,
  ),
  pure(
    "a question that nobody waits for any more is not asked",
    DNS,
    `      if (performance.now() < deadline) continue;`,
    `      continue;`,
    DIALS,
  ),
  pure(
    "only so many questions are asked at once",
    DNS,
    `    while (inFlight >= limits.dnsInFlight) {`,
    `    while (false) {`,
    DIALS,
  ),
];

const UPSTREAM_STEPS: readonly Defence[] = [
  pure(
    "a profile may do without a proxy further up",
    DIAL,
    `  if (!parts.policy.allowUpstreamProxy || target`,
    `  if (target`,
    DIALS,
    FACTS,
  ),
  pure(
    "SOCKS goes through no proxy further up",
    DIAL,
    ` || target.protocol === "socks5") {`,
    `) {`,
    DIALS,
    FACTS,
  ),
  pure(
    "a proxy further up is no metadata service",
    DIAL,
    `  } else if (found.value.some(isMetadataAddress)) {`,
    `  } else if (false) {`,
    DIALS,
  ),
  pure(
    "NO_PROXY counts",
    UPSTREAM,
    `  return settings.bypass.some((entry) => bypasses(entry, endpoint))`,
    `  return false`,
    DIALS,
  ),
  pure(
    "a name in NO_PROXY begins at a dot",
    UPSTREAM,
    "name.endsWith(`.${entry.name}`)",
    "name.endsWith(entry.name)",
    DIALS,
  ),

  pure(
    "a warning about a variable does not tell its value",
    UPSTREAM,
    "`${spelled} is not used:",
    "`${spelled}=${value} is not used:",
    DIALS,
  ),
  pure(
    "https behind a proxy further up is refused, not sent in the clear",
    FORWARD,
    `    request.scheme === "https" && context.dialer.upstreamOf(target) !== null
  ) {`,
    `    false
  ) {`,
    ["egress/https_target_test.ts"],
    DIALS,
  ),
];

const TOLD_STEPS: readonly Defence[] = [
  {
    ...pure(
      "a log is never opened through a link",
      LOG,
      ` | O_NOFOLLOW | `,
      ` | `,
      REPORTED,
    ),
    also: { text: `    abi.RESOLVE_NO_SYMLINKS,`, instead: `    0,` },
  },
  pure("a log is private", LOG, `    0o600,`, `    0o644,`, REPORTED),
  pure(
    "a log has no other name",
    LOG,
    `    : found.nlink > 1`,
    `    : false`,
    REPORTED,
  ),
  pure(
    "a log is a regular file",
    LOG,
    `  const why = !found.isFile()`,
    `  const why = false`,
    REPORTED,
  ),
  pure(
    "a pipe in the log's place does not hold the start",
    LOG,
    ` | O_NOFOLLOW | abi.O_NONBLOCK,`,
    ` | O_NOFOLLOW,`,
    REPORTED,
  ),
  pure(
    "a full disk under the log does not end the run",
    LOG,
    `      failure ??= errorCode(error);`,
    `      throw error;`,
    REPORTED,
  ),
  pure(
    "a log that is incomplete says so",
    LOG,
    `      return why === null ?`,
    `      return why !== "" ?`,
    REPORTED,
  ),
  pure(
    "one run fills a log up to a limit",
    LOG,
    `      if (left < 0) {`,
    `      if (false) {`,
    REPORTED,
  ),
  pure(
    "a line of the log has an end",
    REPORT,
    `    method: shortened(event.method),`,
    `    method: event.method,`,
    REPORTED,
  ),
  pure(
    "a line of a report has an end",
    REPORT,
    `    : shortened(method) ?? "the method";`,
    `    : method ?? "the method";`,
    REPORTED,
  ),
  pure(
    "a log is never cut off",
    LOG,
    `abi.O_WRONLY | abi.O_APPEND |`,
    `abi.O_WRONLY | 0o1000 |`,
    REPORTED,
  ),
  pure(
    "a report is bounded",
    REPORT,
    `      else if (refusals.size < MAX_REPORT_LINES) {`,
    `      else if (true) {`,
    REPORTED,
  ),
  pure(
    "a host in a report is printable ASCII",
    REPORT,
    `  const host = escaped(event.host);`,
    `  const host = event.host;`,
    REPORTED,
  ),
  pure(
    "a method in a report is printable ASCII",
    REPORT,
    `escaped(refusedWord(event))`,
    `refusedWord(event)`,
    REPORTED,
  ),
  pure(
    "a line of the log is ASCII",
    REPORT,
    '    (char) => `\\\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,',
    "    (char) => char,",
    REPORTED,
  ),
];

const ENVIRONMENT_STEPS: readonly Defence[] = [
  pure(
    "proxy variables of the caller are overwritten",
    ENVIRONMENT,
    `    !names.has(nameOf(entry)) && !isStaleProxy`,
    `    !isStaleProxy`,
    VARIABLES,
  ),
  pure(
    "stale proxy variables and tokens of the caller go",
    ENVIRONMENT,
    ` && !isStaleProxy(nameOf(entry))`,
    ``,
    VARIABLES,
  ),
  pure(
    "an attribution token is not the command's",
    ENVIRONMENT,
    `  return name === "CODEX_NETWORK_PROXY_ATTRIBUTION" ||
    name`,
    `  return name`,
    VARIABLES,
  ),
  pure(
    "the password of a proxy leaves a proxied environment",
    ENVIRONMENT,
    `const kept = withoutProxySecrets(environment).filter`,
    `const kept = environment.filter`,
    VARIABLES,
  ),
  pure(
    "a proxy variable with a password goes",
    ENVIRONMENT,
    `    return !(/proxy/i.test(nameOf(entry)) && hasUserInfo(value)) &&
      !`,
    `    return !`,
    VARIABLES,
  ),
  pure(
    "a SOCKS URL with a password goes, whatever its name",
    ENVIRONMENT,
    String.raw`      !/^\s*socks[0-9a-z]*:\/\/[^/?#]*@/i.test(value);`,
    `      true;`,
    VARIABLES,
  ),
  pure(
    "a JVM's old proxy options go",
    ENVIRONMENT,
    ` && !PROXY_WORD.test(word)`,
    ``,
    VARIABLES,
  ),
  pure(
    "proxy-connect leads to the loopback only",
    ENVIRONMENT,
    String.raw`/^(http|socks5h):\/\/(127\.0\.0\.1:[0-9]+)\/?$/`,
    String.raw`/^(http|socks5h):\/\/(\S+:[0-9]+)\/?$/`,
    VARIABLES,
  ),
  pure(
    "a login at a proxy stays outside of a run without network",
    "src/config/command_environment.ts",
    `  return authority.includes("@");`,
    `  return authority === "@";`,
    ["config/environment_test.ts"],
  ),
  pure(
    "so does one that git is told by a variable",
    "src/config/command_environment.ts",
    `  if (isGitProxyValue(name, entries)) return`,
    `  if (isGitProxyValue(name, [])) return`,
    ["config/environment_test.ts"],
  ),
  pure(
    "the caller's proxy leaves every variable of a JVM's options",
    ENVIRONMENT,
    `  if (!JAVA_VARIABLES.includes(name)) return entry;`,
    `  if (name !== "") return entry;`,
    VARIABLES,
  ),
];

const ROUTE_STEPS: readonly Defence[] = [
  pure(
    "a caller's proxy is on the loopback",
    ROUTES,
    String.raw`(localhost|127\.0\.0\.1|\[::1\])`,
    String.raw`([^:/]+)`,
    ROUTED,
  ),
  pure(
    "without a proxy variable nothing runs",
    ROUTES,
    `  if (!hasVariable) {`,
    `  if (false) {`,
    ROUTED,
  ),
  pure(
    "without a usable proxy nothing runs",
    ROUTES,
    `  if (!routes.some(({ name }) => !NOT_SUFFICIENT.has(name.toUpperCase()))) {`,
    `  if (false) {`,
    ROUTED,
  ),
  pure(
    "a variable that could not be rewritten stops the run",
    ROUTES,
    "        return fail(`proxy env key ${route.envKey} holds no routable URL`);",
    "        continue;",
    ROUTED,
  ),
  pure(
    "a variable that is missing stops the run",
    ROUTES,
    "    if (!isThere) return fail(`missing proxy env key ${route.envKey}`);\n",
    "",
    ROUTED,
  ),
  pure(
    "an empty specification stops the run",
    ROUTES,
    `  if (list.length === 0) return fail("proxy routing spec contained no routes");\n`,
    ``,
    ROUTED,
  ),
  pure(
    "a route has no unknown key",
    ROUTES,
    `    if (!isRecord(item) || Object.keys(item).length !== 2) {`,
    `    if (!isRecord(item)) {`,
    ROUTED,
  ),
  pure(
    "a variable has one route",
    ROUTES,
    `    if (entries.some((entry) => entry.envKey === envKey)) {`,
    `    if (false) {`,
    ROUTED,
  ),
  pure(
    "a route's socket is an absolute path without NUL",
    ROUTES,
    `        !path.startsWith("/") || path.includes("\\0") ||`,
    ``,
    ROUTED,
  ),
  pure(
    "no standard stream is a control channel",
    ROUTES,
    `      if (fd < 3) {`,
    `      if (false) {`,
    ROUTED,
  ),
  pure(
    "endpoints are among the managed ports",
    ROUTES,
    `      managed.loopbackPorts.includes(port)`,
    `      true`,
    ROUTED,
  ),
  pure(
    "a managed network has no unknown key",
    ROUTES,
    `  const unknown = Object.keys(json).find((key) => !known.includes(key));`,
    `  const unknown = [].find((key) => !known.includes(key));`,
    ROUTED,
  ),
  pure(
    "an attribution token has 1 to 128 bytes",
    ROUTES,
    `  if (token.length < 1 || token.length > 128) return null;\n`,
    ``,
    ROUTED,
  ),
];

const RUN_STEPS: readonly Defence[] = [
  live(
    "a log that the sandbox could write is refused",
    "src/run/draft.ts",
    `log !== null && mountOf(layout, log).state === "writable"`,
    `false`,
    [NETWORK, "a log that the sandbox could write"],
  ),
  live(
    "a token is taken out of the helper's environment",
    "src/run/network_requests.ts",
    `const environment = caller.filter((entry) => !entry.startsWith(mark));`,
    `const environment = caller;`,
    [CALLERS_PROXY, "behind the attribution frame"],
  ),
  live(
    "a caller's endpoint outside the managed ports stops the run",
    "src/run/network_requests.ts",
    `    if (outside !== null) return fail(outside);\n`,
    ``,
    [CALLERS_PROXY, "not managed"],
  ),
  pure(
    "a proxied run has a network namespace of its own",
    "src/linux/bwrap_argv.ts",
    `if (plan.network !== "host") words`,
    `if (plan.network === "isolated") words`,
    ["linux/plan_test.ts"],
    ["linux/captured_test.ts"],
  ),
  pure(
    "the proxy further up is the caller's",
    REQUESTS,
    `      environment: origin.environment,`,
    `      environment,`,
    ["run/network_requests_test.ts"],
  ),
  pure(
    "a caller's token that is no token stops the run",
    REQUESTS,
    `  if (token !== undefined && preface === null) {`,
    `  if (false) {`,
    ["run/network_requests_test.ts"],
  ),
];

const HANDOVER_STEPS: readonly Defence[] = [
  pure(
    "the handover of the listeners has a time limit",
    SERVED,
    `    if (leftMs <= 0) {`,
    `    if (false) {`,
    HANDED,
  ),
  pure(
    "what is no listener can't start a command",
    SERVED,
    `      } catch (error) {
        return lost({`,
    `      } catch (error) {
        if (false) return lost({`,
    HANDED,
  ),
  pure(
    "what is handed over is the listeners",
    CHANNEL,
    `  if (text(message.value) === "listeners" && fds.length === count) {`,
    `  if (fds.length === count) {`,
    SOCKETS,
    HANDED,
  ),
  pure(
    "as many listeners are handed over as were asked for",
    CHANNEL,
    `  if (text(message.value) === "listeners" && fds.length === count) {`,
    `  if (text(message.value) === "listeners") {`,
    SOCKETS,
  ),
  pure(
    "what was not asked for is closed",
    CHANNEL,
    `  for (const fd of fds) close(fd);
  return fail({ kind: "sys"`,
    `  return fail({ kind: "sys"`,
    SOCKETS,
  ),
  pure(
    "the command starts only when the listeners are served",
    CHANNEL,
    `  if (!answer.ok || answer.value === null || text(answer.value) !== ACCEPTED) {`,
    `  if (false) {`,
    SOCKETS,
  ),
  pure(
    "the listeners are closed before the command starts",
    CHANNEL,
    `  for (const fd of fds) close(fd);
  const answer`,
    `  const answer`,
    SOCKETS,
  ),
  pure(
    "the control channel is closed before the command starts",
    CHANNEL,
    `  close(channel);
  if (!answer.ok`,
    `  if (!answer.ok`,
    SOCKETS,
  ),
  pure(
    "a message that was cut leaves no descriptor",
    SYS_SOCKETS,
    `      for (const fd of fds) close(fd);
      return failed("recvmsg"`,
    `      return failed("recvmsg"`,
    SOCKETS,
  ),
  pure(
    "we listen on 127.0.0.1 alone",
    SYS_SOCKETS,
    `  view.setUint32(4, 0x7f00_0001, false);`,
    `  view.setUint32(4, 0, false);`,
    SOCKETS,
  ),
  ...[
    [
      "a pair of sockets",
      `    kind | abi.SOCK_CLOEXEC | flags,`,
      `    kind | flags,`,
    ],
    [
      "a listener",
      `  const type = abi.SOCK_STREAM | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK;
  const result`,
      `  const type = abi.SOCK_STREAM | abi.SOCK_NONBLOCK;
  const result`,
    ],
    ["a received descriptor", `      abi.MSG_CMSG_CLOEXEC,`, `      0,`],
  ].map(([what = "", text = "", instead = ""]) =>
    pure(
      `${what} does not outlive an execve`,
      SYS_SOCKETS,
      text,
      instead,
      SOCKETS,
    )
  ),
  pure(
    "a caller's namespace has no way out by IPv4",
    CALLERS,
    `  return routes.trim().split("\\n").length <= 1 &&
    wider`,
    `  return wider`,
    HANDED,
  ),
  pure(
    "a caller's namespace has no way out by IPv6",
    CALLERS,
    String.raw`line.trim() === "" || line.trim().split(/\s+/).at(-1) === "lo"`,
    `true`,
    HANDED,
  ),
  withSystem(live(
    "nothing runs in a caller's namespace that leads somewhere",
    CALLERS,
    `  if (!isIsolated()) {`,
    `  if (false) {`,
    [CALLERS_PROXY, "network that leads somewhere"],
  )),
  withSystem(live(
    "the bridge to a caller's proxy dies with the command",
    CALLERS,
    `  const bound = prctl(abi.PR_SET_PDEATHSIG, abi.SIGKILL);`,
    `  const bound = { ok: true };`,
    [CALLERS_PROXY, "the bridge ends with the command, also"],
  )),
  withSystem(live(
    "a bridge whose command went before it was bound to it ends",
    CALLERS,
    `  if (!bound.ok || getppid() !== parent) exitNow(0);`,
    `  if (!bound.ok) exitNow(0);`,
    [CALLERS_PROXY, "has gone before it was ready"],
  )),
  withSystem(live(
    "the command can't look into the bridge",
    CALLERS,
    `  prctl(abi.PR_SET_DUMPABLE, 0);\n`,
    ``,
    [CALLERS_PROXY, "look into the bridge"],
  )),
];

export const PROXY_RUN: readonly Defence[] = [
  ...DIAL_STEPS,
  ...UPSTREAM_STEPS,
  ...TOLD_STEPS,
  ...ENVIRONMENT_STEPS,
  ...ROUTE_STEPS,
  ...RUN_STEPS,
  ...HANDOVER_STEPS,
];
