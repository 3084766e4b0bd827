/**
 * A name server of ours that changes its mind, asked by the real resolver of a real run.
 *
 * The run is in a network namespace of its own with the loopback alone, where a public address is routed to the loopback without
 * being one of an interface, and in a mount namespace with a resolv.conf of its own. There the name server answers one name by that
 * address and by 127.0.0.1 in turn, and an origin on every address says by which one it was reached.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { cpSync, writeFileSync } from "node:fs";
import { CLIENTS } from "./network_fact_rows.ts";
import {
  ACTORS,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  notProved,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

const PUBLIC = "93.184.216.34";

/** The name server and the origin. Names: `flip` answers in turn, `both` by both at once, `inside` by the loopback. */
const SERVERS = `
const { createSocket } = require("node:dgram");
const { createServer } = require("node:net");
const { writeFileSync } = require("node:fs");
const addresses = { public: [${
  PUBLIC.replaceAll(".", ",")
}], own: [127,0,0,1] };
let flips = 0;
const dns = createSocket("udp4");
dns.on("message", (asked, from) => {
  let end = 12;
  while (asked[end] !== 0) end += asked[end] + 1;
  const name = asked.toString("latin1", 13, 13 + asked[12]);
  const isA = asked.readUInt16BE(end + 1) === 1;
  const list = !isA ? [] : name === "flip"
    ? [flips++ % 2 === 0 ? addresses.public : addresses.own]
    : name === "both" ? [addresses.public, addresses.own]
    : name === "public" ? [addresses.public] : [addresses.own];
  const head = Buffer.from([asked[0], asked[1], 0x81, 0x80, 0, 1, 0, list.length, 0, 0, 0, 0]);
  const records = list.map((bytes) => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...bytes]));
  dns.send(Buffer.concat([head, asked.subarray(12, end + 5), ...records]), from.port, from.address);
});
const origin = createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", () => {
    const text = "by " + socket.localAddress;
    socket.end("HTTP/1.1 200 OK\\r\\nContent-Length: " + text.length + "\\r\\n\\r\\n" + text);
  });
});
dns.bind(53, "127.0.0.1", () => origin.listen(80, "0.0.0.0", () => writeFileSync(process.argv.at(-1), "")));
`;

/** A shell's line around the call of codex. */
function around({ work }: Subject): string {
  const inside = `ip link set lo up && ip route add local ${PUBLIC} dev lo &&
    mount --bind ${work}/resolv.conf /etc/resolv.conf || exit 99
    ${work}/bun ${work}/servers.js ${work}/ready 2>/dev/null & servers=$!
    until [ -e ${work}/ready ]; do sleep 0.02; done
    "$@"; end=$?; exec 2>/dev/null; kill -9 $servers; wait $servers; exit $end`;
  return `unshare --net --mount --propagation private sh -c '${inside}' sh "$@"`;
}

const isPossible = ACTORS.includes("root") && Bun.which("ip") !== null;
if (!isPossible) {
  notProved("names that change their address", "needs root and iproute2");
}

matrix(
  "a name that changes its address leads to the address that was judged, and never inside",
  isPossible
    ? EVERY_VARIANT.filter(({ actor, stage }) =>
      actor === "root" && stage === "inner"
    )
    : [],
  async (subject) => {
    const { home, work, run } = subject;
    writeFileSync(
      `${home}/config.toml`,
      'default_permissions = "net"\n[permissions.net]\nextends = ":workspace"\n[permissions.net.network]\ndomains = { "*.rebind.test" = "allow" }\n',
    );
    cpSync(process.execPath, `${work}/bun`);
    writeFileSync(`${work}/servers.js`, SERVERS);
    writeFileSync(`${work}/resolv.conf`, "nameserver 127.0.0.1\n");
    const { end, stdout, stderr } = await run([
      ...["--report-blocked=never", "--network-log", `${home}/log`],
      "--",
      "bash",
      "-c",
      `${CLIENTS}
      get() { ask 3128 "GET http://$1.rebind.test/ HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n" | grep -o '"reason":"[a-z_]*"\\|by [0-9.]*$'; }
      get public; get inside; get both
      for _ in 1 2 3; do get flip; get flip; done
      for _ in 1 2 3 4; do tunnel flip.rebind.test:80 'GET / HTTP/1.0\\r\\n\\r\\n' | grep -o '^403$\\|by [0-9.]*$'; done
      for _ in 1 2 3 4; do socks "$(name flip.rebind.test)$(port 80)"; done`,
    ], { shell: around(subject) });
    const refused = '"reason":"not_allowed_local"';
    const dialled = `by ${PUBLIC}`;
    expect({ end, stderr, lines: stdout.trim().split("\n") }).toEqual({
      end: 0,
      stderr: "",
      lines: [
        ...[dialled, refused, refused],
        ...[dialled, refused, dialled, refused, dialled, refused],
        ...[dialled, "403", dialled, "403"],
        ...["0500", "0502", "0500", "0502"],
      ],
    });
  },
);
