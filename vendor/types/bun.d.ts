// What Bun provides, for `deno check` and editors. The types themselves come from the npm package `bun-types`.
/// <reference types="npm:bun-types@1.4.5" />
