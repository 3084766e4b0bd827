/**
 * Connections that end at each point of a conversation: by FIN and by reset, on both sides.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  lines,
  openClient,
  startHttpOrigin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";

const RESPONSES = [ // response, why
  ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "a length"],
  [
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks",
  ],
  [
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "an interim response",
  ],
] as const;
for (const [response, why] of RESPONSES) {
  for (const how of ["end", "resetAndDestroy"] as const) {
    test(
      `an origin that ends by ${how} at any byte of a response with ${why} never makes a shorter whole`,
      async () => {
        let cut = 0;
        await using origin = await startOrigin(({ socket, received }) => {
          if (!received.endsWith("\r\n\r\n") || socket.bytesWritten > 0) return;
          // The reset must not overtake the bytes before it.
          socket.write(
            response.slice(0, cut),
            () => setTimeout(() => socket[how](), 3),
          );
          if (cut === 0) socket[how]();
        });
        await using proxy = startTestProxy();
        const outcomes = new Set<string>();
        for (
          ;
          cut < response.length;
          cut += cut < 17 || cut > response.length - 20 ? 1 : 5
        ) {
          using client = await openClient(proxy.http);
          client.socket.write(
            lines(
              `GET http://127.0.0.1:${origin.port}/ HTTP/1.1`,
              "Connection: close",
            ),
          );
          const got = await client.untilEnd();
          const is502 = /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 502 /
            .test(got);
          outcomes.add(is502 ? "502" : client.ended ?? "");
          expect(is502 || client.ended === "reset").toBe(true);
        }
        expect(outcomes.has("502")).toBe(true);
      },
    );
  }
}

test(
  "a client that ends at any byte of its request never makes the origin see a shorter whole",
  async () => {
    let seen = "";
    await using origin = await startOrigin((connection) => {
      seen = connection.received;
    });
    await using proxy = startTestProxy({ limits: { lingerMs: 20 } });
    const request = lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Transfer-Encoding: chunked",
    ) + "5\r\nhello\r\n0\r\n\r\n";
    for (const how of ["end", "resetAndDestroy"] as const) {
      for (let cut = 0; cut < request.length; cut += 4) {
        seen = "";
        using client = await openClient(proxy.http);
        client.socket.write(request.slice(0, cut));
        await Bun.sleep(2);
        client.socket[how]();
        if (how === "end") await client.untilEnd();
        else await Bun.sleep(3);
        expect(seen).not.toEndWith("0\r\n\r\n");
      }
    }
  },
);

test("the proxy still serves after all of that", async () => {
  await using origin = await startHttpOrigin(
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  );
  await using proxy = startTestProxy();
  for (const port of [proxy.http, proxy.socks]) {
    for (
      const junk of [
        "",
        "\0",
        "\x05",
        "\x05\x01\0",
        "GET ",
        "\r\n",
        "\r\r",
        "CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n",
      ]
    ) {
      for (const how of ["end", "resetAndDestroy"] as const) {
        using client = await openClient(port);
        client.socket.write(junk, "latin1");
        await Bun.sleep(1);
        client.socket[how]();
      }
    }
  }
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`, "Connection: close"),
  );
  expect(await client.untilEnd()).toStartWith("HTTP/1.1 200 OK");
});
