/**
 * The 48 facts about the reference's managed network, each as listed or as our rule, claimed once.
 *
 * A fact stands here with what a command does inside, or names the test that shows it. {@linkcode NETWORK_FACTS} is run by
 * `network_facts_test.ts`. The same facts are shown of the proxy by itself, with more cases each, in `tests/egress/facts_test.ts`.
 *
 * `@P` is the port of an origin on the host's loopback, `@H` of one that answers when its client has said all.
 *
 * @module
 */

/** A fact that a command inside shows. */
export interface ShownNetworkFact {
  readonly number: number;
  readonly given: string;
  /** Lines of the profile's network table instead of the usual ones. */
  readonly network?: string;
  /** What stands before the profile. */
  readonly before?: string;
  /** Words before `--`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Lines of bash, behind the functions of {@linkcode CLIENTS}. `$PROBE` is the probe. */
  readonly script: string;
  /** Its words. */
  readonly stdout: string;
  readonly end?: number;
  /** Standard error; without it nothing is said there. */
  readonly says?: RegExp;
  /** The last head that the origin got. */
  readonly sees?: RegExp;
  /** Our reason, where the releases do otherwise; where they differ, 0.169 counts. */
  readonly ours?: string;
}

/** A fact that another test shows. */
export interface ClaimedNetworkFact {
  readonly number: number;
  readonly given: string;
  readonly file: string;
  /** The test's title, or part of it. */
  readonly text: string;
  readonly ours?: string;
}

export type NetworkFact = ShownNetworkFact | ClaimedNetworkFact;

/**
 * bash: `ask PORT BYTES` prints what comes until the end, `status HEAD` the status of one request to the HTTP proxy, `tunnel TO BYTES`
 * what comes through a tunnel, `socks BYTES` the reply to a SOCKS request, in hex. Bytes are a format of printf.
 */
export const CLIENTS = `
ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf "$2" >&3
  timeout 60 cat <&3
  exec 3>&-
}
status() { ask 3128 "$1\\r\\nConnection: close\\r\\n\\r\\n" | head -n 1 | cut -c 10-12; }
reason() { ask 3128 "$1\\r\\nConnection: close\\r\\n\\r\\n" | grep -o '"reason":"[a-z_]*"\\|blocked-by-[a-z-]*' | sed 's/.*:"//;s/"//'; }
tunnel() {
  exec 3<>/dev/tcp/127.0.0.1/3128
  printf "CONNECT $1 HTTP/1.1\\r\\n\\r\\n" >&3
  read -r line <&3; echo "$line" | cut -c 10-12
  while read -r line <&3 && [ "\${#line}" -gt 1 ]; do :; done
  [ $# = 1 ] || { printf "$2" >&3; timeout 60 cat <&3; }
  exec 3>&-
}
socks() {
  exec 3<>/dev/tcp/127.0.0.1/1080
  printf '\\5\\1\\0' >&3; head -c 2 <&3 >/dev/null
  printf "$1" >&3; head -c 2 <&3 | od -An -tx1 | tr -d ' \\n'; echo
  exec 3>&-
}
port() { printf '\\\\x%02x\\\\x%02x' $(($1 / 256)) $(($1 % 256)); }
name() { printf '\\\\5\\\\1\\\\0\\\\3\\\\x%02x%s' \${#1} "$1"; }
`;

const GET = "GET http://127.0.0.1:@P";
const LOCAL = "allow_local_binding = true\n";
const NOT_LISTED = "not_allowed";
const BOUND = 'domains = { "127.0.0.1" = "allow" }\n';

const SHOWN: readonly ShownNetworkFact[] = [
  {
    number: 1,
    given: "the variables, and two ports",
    script:
      'env | grep -c "=.*127.0.0.1"; echo "${HTTP_PROXY##*:} ${ALL_PROXY##*:} $CODEX_NETWORK_PROXY_ACTIVE"',
    stdout: "32 3128 1080 1",
    ours: "the same two ports in each run: the namespace is its own",
  },
  {
    number: 2,
    given: "`enabled = true` without the feature: the host's network",
    network: "enabled = true\n",
    before: "[features]\nnetwork_proxy = false\n",
    script: 'echo "<$HTTP_PROXY>"; "$PROBE" connect-inet 127.0.0.1 @P',
    stdout: "<> ok",
  },
  {
    number: 3,
    given: "`enabled = false`: no network",
    network: "enabled = false\n",
    script:
      'echo "<$HTTP_PROXY> $CODEX_SANDBOX_NETWORK_DISABLED"; "$PROBE" connect-inet 127.0.0.1 @P',
    stdout: "<> 1 ECONNREFUSED",
  },
  {
    number: 4,
    given: "a listed literal: origin form and the Host as it was",
    script: `status '${GET}/p?q HTTP/1.1\\r\\nHost: 127.0.0.1:@P'`,
    stdout: "200",
    sees: /^GET \/p\?q HTTP\/1\.1\r\nHost: 127\.0\.0\.1:@P\r\n/,
  },
  {
    number: 5,
    given: "localhost",
    script: "status 'GET http://localhost:@P/ HTTP/1.1'",
    stdout: "200",
  },
  {
    number: 6,
    given: "a host that is not listed",
    script:
      "status 'GET http://example.com/ HTTP/1.1'; reason 'GET http://example.com/ HTTP/1.1'",
    stdout: "403 blocked-by-allowlist not_allowed",
  },
  {
    number: 7,
    given: "a denied host",
    script: "reason 'GET http://deny.allowed.test/ HTTP/1.1'",
    stdout: "blocked-by-denylist denied",
  },
  {
    number: 8,
    given: "an allowed host that nobody knows",
    script:
      "ask 3128 'GET http://a.allowed.test/ HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n' | sed -n '1p;$p'",
    stdout: "HTTP/1.1 502 Bad Gateway upstream failure",
  },
  {
    number: 9,
    given: "the apex of `*.`",
    script: "status 'GET http://allowed.test/ HTTP/1.1'",
    stdout: "403",
  },
  {
    number: 10,
    given: "a Host that is not the target's",
    script:
      `status '${GET}/ HTTP/1.1\\r\\nHost: evil.com'; status '${GET}/ HTTP/1.1\\r\\nHost: 127.0.0.1'`,
    stdout: "400 400",
  },
  {
    number: 11,
    given: "a target and no Host",
    script: `status '${GET}/ HTTP/1.1'`,
    stdout: "200",
    sees: /\r\nHost: 127\.0\.0\.1:@P\r\n/,
  },
  {
    number: 12,
    given: "origin form without Host",
    script: "status 'GET / HTTP/1.1'",
    stdout: "400",
  },
  {
    number: 13,
    given: "origin form with a Host that is allowed",
    script: "status 'GET / HTTP/1.1\\r\\nHost: 127.0.0.1:@P'",
    stdout: "200",
  },
  {
    number: 14,
    given: "a refused port",
    script: "status 'GET http://127.0.0.1:1/ HTTP/1.1'",
    stdout: "502",
  },
  {
    number: 15,
    given: "TLS and garbage on the HTTP port",
    script:
      "ask 3128 '\\x16\\x03\\x01\\x02\\x00\\x01' | tr -d '\\r'; ask 3128 'hello\\r\\n\\r\\n' | tr -d '\\r'",
    stdout:
      "HTTP/1.1 400 Bad Request connection: close content-length: 0 HTTP/1.1 400 Bad Request connection: close content-length: 0",
  },
  {
    number: 16,
    given: "hop-by-hop fields, both ways",
    script:
      `ask 3128 '${GET}/hop HTTP/1.1\\r\\nX-Keep: 1\\r\\nX-Drop: 1\\r\\nConnection: close, X-Drop\\r\\n\\r\\n' | grep -o '^X-[A-Za-z]*'`,
    stdout: "X-Keep",
    sees: /^(?=[^]*\r\nX-Keep: 1\r\n)(?![^]*X-Drop)/,
  },
  {
    number: 17,
    given: "a tunnel",
    script: "tunnel 127.0.0.1:@P 'GET / HTTP/1.0\\r\\n\\r\\n' | sed -n '1p;$p'",
    stdout: "200 ok",
  },
  {
    number: 18,
    given: "a tunnel to a host that is not listed: a text of 24 bytes",
    script:
      "ask 3128 'CONNECT example.com:443 HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n' | tr -d '\\r'",
    stdout:
      "HTTP/1.1 403 Forbidden content-type: text/plain x-proxy-error: blocked-by-allowlist x-proxy-detail: example.com:443 is not in [permissions.net.network] domains content-length: 24 connection: close Domain not in allowlist.",
    ours: "a field beside names the rule",
  },
  {
    number: 19,
    given: "a tunnel to a refused port",
    script: "status 'CONNECT 127.0.0.1:1 HTTP/1.1'",
    stdout: "502",
    ours: "200 is said when the connection stands",
  },
  {
    number: 20,
    given: "letter case and a last dot",
    script: "tunnel LOCALHOST.:@P",
    stdout: "200",
  },
  {
    number: 21,
    given: "unlisted IPv6 loopback",
    script: "status 'CONNECT [::1]:@P HTTP/1.1'",
    stdout: "403",
  },
  {
    number: 22,
    given: "other spellings of the loopback",
    script:
      'for host in 127.1 0x7f.1 2130706433 \'[::ffff:127.0.0.1]\' 0.0.0.0; do status "GET http://$host:@P/ HTTP/1.1"; status "CONNECT $host:@P HTTP/1.1"; done',
    stdout: "403 403 403 403 403 403 403 403 403 403",
  },
  {
    number: 23,
    given: "two Host fields",
    script:
      `status '${GET}/ HTTP/1.1\\r\\nHost: 127.0.0.1:@P\\r\\nHost: 127.0.0.1:@P'`,
    stdout: "400",
  },
  {
    number: 24,
    given: "websocket by the forward path",
    script:
      `exec 3<>/dev/tcp/127.0.0.1/3128; printf '${GET}/ws HTTP/1.1\\r\\nUpgrade: websocket\\r\\nConnection: upgrade\\r\\n\\r\\n' >&3; head -n 1 <&3 | cut -c 10-12`,
    stdout: "101",
    sees: /\r\nUpgrade: websocket\r\n/,
    ours: "ws:// works: the upgrade is passed on, and only this one",
  },
  {
    number: 25,
    given: "100-continue",
    script:
      `exec 3<>/dev/tcp/127.0.0.1/3128; printf 'POST http://127.0.0.1:@P/continue HTTP/1.1\\r\\nExpect: 100-continue\\r\\nContent-Length: 1\\r\\n\\r\\n' >&3; read -r line <&3; echo "$line" | cut -c 10-12; read -r line <&3; printf x >&3; read -r line <&3; echo "$line" | cut -c 10-12`,
    stdout: "100 200",
  },
  {
    number: 26,
    given: "SOCKS5: names, addresses, refusals",
    script:
      `for to in "$(name localhost)$(port @P)" "\\5\\1\\0\\1\\x7f\\0\\0\\1$(port @P)" "$(name example.com)$(port 80)" "$(name deny.allowed.test)$(port 80)" "\\5\\1\\0\\1\\x7f\\0\\0\\1$(port 1)" "$(name a.allowed.test)$(port 80)" "\\5\\2\\0\\1\\x7f\\0\\0\\1$(port 80)"; do socks "$to"; done; ask 1080 '\\5\\1\\2' | od -An -tx1; ask 1080 '\\4\\1\\0' | od -An -tx1`,
    stdout: "0500 0500 0502 0502 0505 0504 0507 05 ff",
    ours: "04 for a host that can't be found: RFC 1928 has a code for it",
  },
  {
    number: 27,
    given: "UDP ASSOCIATE",
    script: "socks '\\5\\3\\0\\1\\0\\0\\0\\0\\0\\0'",
    stdout: "0507",
    ours: "the releases say yes to datagrams that never come back",
  },
  {
    number: 28,
    given: "direct connects and names",
    script:
      '"$PROBE" connect-inet 127.0.0.1 @P; "$PROBE" connect-inet 1.1.1.1 80; getent hosts example.com; echo $?; getent hosts localhost | wc -l',
    stdout: "ECONNREFUSED ENETUNREACH 2 1",
  },
  {
    number: 29,
    given: "families of sockets",
    script:
      'for family in 1 16 17 40 38 2 10; do "$PROBE" socket $family $([ $family = 17 -o $family = 16 ] && echo 3 || echo 1) 0; done; "$PROBE" socketpair 1 1 0',
    stdout: "EPERM ok EPERM EPERM EPERM ok ok ok",
    ours:
      "NETLINK_ROUTE is allowed: JVMs and node ask it for the interfaces, and the namespace has only `lo`",
  },
  {
    number: 30,
    given: "no capabilities and no raw sockets, also as root",
    script:
      "grep -o '^CapEff.*[1-9a-f]' /proc/self/status; \"$PROBE\" socket 2 3 1",
    stdout: "EPERM",
  },
  {
    number: 31,
    given: "servers of one's own",
    script: '"$PROBE" loopback',
    stdout: "ok abc",
  },
  {
    number: 32,
    given: "ptrace, io_uring and namespaces",
    script:
      '"$PROBE" syscall 425 0 0; "$PROBE" trace | sort -u; grep -c "^Seccomp:.2$\\|^NoNewPrivs:.1$" /proc/self/status; unshare --user true 2>/dev/null || echo none',
    stdout: "EPERM EPERM 2 none",
    ours:
      "no user namespace either: in one of its own the command could rename what is protected",
  },
  {
    number: 33,
    given: "limited mode",
    network: `mode = "limited"\n${LOCAL}${BOUND}`,
    script:
      'for method in GET HEAD OPTIONS POST get; do status "$method http://127.0.0.1:@P/ HTTP/1.1"; done; status \'CONNECT 127.0.0.1:@P HTTP/1.1\'; socks "\\5\\1\\0\\1\\x7f\\0\\0\\1$(port 443)"',
    stdout: "200 200 200 403 403 403 0502",
    ours:
      "every tunnel is refused by name, where the releases intercept HTTPS: interception is not built",
  },
  {
    number: 34,
    given: "CA variables in limited mode",
    network: `mode = "limited"\n${LOCAL}${BOUND}`,
    script: "env | grep -c 'CERT\\|CAINFO\\|CA_BUNDLE\\|CAFILE'",
    stdout: "0",
    ours: "nothing is intercepted, so no authority of ours is to be trusted",
    end: 1,
  },
  {
    number: 35,
    given: "a listed 127.0.0.1 without local binding",
    network: `allow_local_binding = false\n${BOUND}`,
    script: `status '${GET}/ HTTP/1.1'`,
    stdout: "200",
  },
  {
    number: 36,
    given: "unlisted local addresses, also under wildcards",
    network:
      'domains = { "127.0.0.1" = "allow", "10.*" = "allow", "*" = "allow" }\n',
    script:
      "for host in 127.0.0.2 169.254.169.254 '[::1]' 10.1.2.3; do reason \"GET http://$host/ HTTP/1.1\" | tail -n 1; done",
    stdout:
      "not_allowed_local not_allowed_local not_allowed_local not_allowed_local",
    says: /^codex: warning: .*"10\.\*" is for addresses and no names; .*\n$/,
  },
  {
    number: 37,
    given: "an unlisted public name without DNS",
    network: BOUND,
    script: "reason 'GET http://nobody.example.com/ HTTP/1.1' | tail -n 1",
    stdout: NOT_LISTED,
  },
  {
    number: 38,
    given: '`"*" = "deny"`',
    network: 'domains = { "*" = "deny" }\n',
    script: "echo ran",
    stdout: "",
    end: 125,
    says: /^codex: .*\*.*\n$/,
  },
  {
    number: 39,
    given: "no domains at all",
    network: "managed = true\n",
    script:
      'for host in example.com 127.0.0.1 localhost; do status "GET http://$host/ HTTP/1.1"; done',
    stdout: "403 403 403",
  },
  {
    number: 40,
    given: "`enable_socks5 = false`",
    network: `enable_socks5 = false\n${BOUND}`,
    script: 'echo "$ALL_PROXY"; "$PROBE" connect-inet 127.0.0.1 1080',
    stdout: "http://127.0.0.1:3128 ECONNREFUSED",
  },
  {
    number: 41,
    given: "a `proxy_url` of another place",
    network: `proxy_url = "http://0.0.0.0:3999"\n${BOUND}`,
    script: 'echo "$HTTP_PROXY"',
    stdout: "http://127.0.0.1:3128",
  },
  {
    number: 42,
    given: "x-unix-socket",
    script: `status '${GET}/ HTTP/1.1\\r\\nx-unix-socket: /run/x'`,
    stdout: "501",
  },
  {
    number: 43,
    given: "the caller's HTTP_PROXY, and its NO_PROXY",
    network: 'domains = { "**.test" = "allow" }\n',
    env: { HTTP_PROXY: "http://127.0.0.1:@P", NO_PROXY: "direct.test" },
    script:
      "status 'GET http://direct.test/ HTTP/1.1'; status 'GET http://up.test/ HTTP/1.1'",
    stdout: "502 200",
    sees: /^GET http:\/\/up\.test\/ HTTP\/1\.1\r\n/,
    ours: "NO_PROXY is honoured",
  },
  {
    number: 44,
    given: "half-close: a reply after the client's end, and the server's end",
    script:
      "printf 'abc' | /dev/codex-linux-sandbox proxy-connect 127.0.0.1 @H; echo",
    stdout: "got 3",
  },
  {
    number: 46,
    given: "`:workspace` with the feature on",
    before: "[features]\nnetwork_proxy = true\n",
    flags: ["-P", ":workspace"],
    script: 'echo "<$HTTP_PROXY> $CODEX_SANDBOX_NETWORK_DISABLED"',
    stdout: "<> 1",
  },
  {
    number: 48,
    given: "the 129th tunnel",
    script:
      'fds=(); for _ in {1..140}; do exec {fd}<>/dev/tcp/127.0.0.1/3128; printf \'CONNECT 127.0.0.1:@P HTTP/1.1\\r\\n\\r\\n\' >&$fd; fds+=($fd); done; for fd in "${fds[@]}"; do read -r line <&$fd; echo "${line:9:3}"; done | sort | uniq -c',
    stdout: "140 200",
    ours: "there is room for thousands, and who is beyond waits",
  },
];

const CLAIMED: readonly ClaimedNetworkFact[] = [
  {
    number: 45,
    given: "the helper without a usable variable",
    file: "tests/sandbox/callers_proxy_test.ts",
    text: "nothing runs with ${why}",
    ours: "125 is ours; the two messages are the reference's",
  },
  {
    number: 47,
    given: "signals to codex",
    file: "tests/sandbox/network_test.ts",
    text: "the run dies with its supervisor, by signal ${signal}",
    ours: "the sandbox ends with its supervisor, SIGKILL included",
  },
];

/** All 48, in order. */
export const NETWORK_FACTS: readonly NetworkFact[] = [...SHOWN, ...CLAIMED]
  .sort((one, other) => one.number - other.number);

/** The usual lines of the profile's network table. */
export const USUAL_NETWORK =
  `${LOCAL}domains = { "127.0.0.1" = "allow", "localhost" = "allow", "*.allowed.test" = "allow", "deny.allowed.test" = "deny" }\n`;
