/**
 * What our reader makes of JSON, as `JSON.parse` would give it: so that the two can be held against each other.
 *
 * @module
 */
import type { JsonValue } from "../../src/policy/json.ts";

/** The value as `JSON.parse` would give it. */
export function toPlain(value: JsonValue): unknown {
  switch (value.kind) {
    case "null":
      return null;
    case "boolean":
    case "number":
    case "string":
      return value.value;
    case "array":
      return value.items.map(toPlain);
    default: {
      const plain = {};
      for (const [key, member] of value.members) {
        // `__proto__` is a key like any other.
        const field = { value: toPlain(member), ...OWN };
        Object.defineProperty(plain, key, field);
      }
      return plain;
    }
  }
}

const OWN = { enumerable: true, configurable: true, writable: true } as const;
