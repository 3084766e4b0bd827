/**
 * Shapes of JSON: "an object with these keys", "an absolute path". Each refusal names the value's place, the value and the wish.
 *
 * Pure. A place is written like `file_system.entries[2].access`.
 *
 * @module
 */
import { type ByteString, fromText } from "../bytes.ts";
import { nearest } from "../nearest.ts";
import { fail, ok, type Result } from "../result.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import { type AbsPath, toAbsPath } from "./path.ts";

/** A text that has another shape than it must: one line, no full stop, with place and offset. */
export interface ShapeError {
  readonly message: string;
}

/** The object at `place`. */
export function objectAt(
  value: JsonValue,
  place: string,
): Result<JsonObject, ShapeError> {
  return value.kind === "object"
    ? ok(value)
    : mismatch(value, place, "an object");
}

/** The member `key`; `null` and absent are the same. */
export function member(object: JsonObject, key: string): JsonValue | null {
  const value = object.members.get(key);
  return value === undefined || value.kind === "null" ? null : value;
}

/** The member `key`, which must be there. */
export function required(
  object: JsonObject,
  place: string,
  key: string,
): Result<JsonValue, ShapeError> {
  const value = object.members.get(key);
  if (value !== undefined) return ok(value);
  return fail({
    message: `${at(place)}key "${key}" is missing at offset ${object.at}`,
  });
}

/** The string at `place`. */
export function stringAt(
  value: JsonValue,
  place: string,
): Result<string, ShapeError> {
  return value.kind === "string"
    ? ok(value.value)
    : mismatch(value, place, "a string");
}

export function booleanAt(
  value: JsonValue,
  place: string,
): Result<boolean, ShapeError> {
  return value.kind === "boolean"
    ? ok(value.value)
    : mismatch(value, place, "true or false");
}

/** A whole number of at least 1, written as one: neither `1.0` nor `1e0`. */
export function countAt(
  value: JsonValue,
  place: string,
): Result<number, ShapeError> {
  if (value.kind !== "number" || !/^[1-9][0-9]*$/.test(value.text)) {
    return mismatch(value, place, "a whole number of at least 1");
  }
  if (!Number.isSafeInteger(value.value)) {
    return mismatch(value, place, "a number below 2^53");
  }
  return ok(value.value);
}

/** One of `words`; what else the string is, is refused with the nearest of them. */
export function wordAt<const T extends string>(
  value: JsonValue,
  place: string,
  words: readonly T[],
): Result<T, ShapeError> {
  const list = words.map((word) => `"${word}"`).join(", ");
  if (value.kind !== "string") return mismatch(value, place, list);
  const found = words.find((word) => word === value.value);
  if (found !== undefined) return ok(found);
  const near = nearest(value.value, words);
  const hint = near === null ? "" : `, did you mean "${near}"?`;
  return fail({
    message: `${at(place)}unknown variant ${
      JSON.stringify(value.value)
    }, expected ${
      words.length === 1 ? "" : "one of "
    }${list} at offset ${value.at}${hint}`,
  });
}

/** The items at `place`. */
function itemsAt(
  value: JsonValue,
  place: string,
): Result<readonly JsonValue[], ShapeError> {
  return value.kind === "array"
    ? ok(value.items)
    : mismatch(value, place, "an array");
}

/** Text for the kernel: any string without NUL. */
export function bytesAt(
  value: JsonValue,
  place: string,
): Result<ByteString, ShapeError> {
  const text = stringAt(value, place);
  if (!text.ok) return text;
  return text.value.includes("\0")
    ? mismatch(value, place, "a string without NUL")
    : ok(fromText(text.value));
}

/** An absolute path, normalised. */
export function pathAt(
  value: JsonValue,
  place: string,
): Result<AbsPath, ShapeError> {
  const bytes = bytesAt(value, place);
  if (!bytes.ok) return bytes;
  const path = toAbsPath(bytes.value);
  return path === null ? mismatch(value, place, "an absolute path") : ok(path);
}

/** Each item of the array at `place`, read by `read`. */
export function listAt<T>(
  value: JsonValue,
  place: string,
  read: (item: JsonValue, place: string) => Result<T, ShapeError>,
): Result<readonly T[], ShapeError> {
  const items = itemsAt(value, place);
  if (!items.ok) return items;
  const list: T[] = [];
  for (const [index, item] of items.value.entries()) {
    const one = read(item, `${place}[${index}]`);
    if (!one.ok) return one;
    list.push(one.value);
  }
  return ok(list);
}

/** Nothing when `object` has no other keys than `keys`. */
export function onlyKeys(
  object: JsonObject,
  place: string,
  keys: readonly string[],
): Result<void, ShapeError> {
  for (const [key, value] of object.members) {
    if (keys.includes(key)) continue;
    const near = nearest(key, keys);
    const hint = near === null ? "" : `, did you mean "${near}"?`;
    return fail({
      message: `${at(place)}unknown field ${
        JSON.stringify(key)
      } at offset ${value.at}, expected one of ${
        keys.map((word) => `"${word}"`).join(", ")
      }${hint}`,
    });
  }
  return ok(undefined);
}

/** A refusal of the value at `place`. */
export function mismatch(
  value: JsonValue,
  place: string,
  wish: string,
): { readonly ok: false; readonly error: ShapeError } {
  return fail({
    message: `${at(place)}${
      quote(value)
    } at offset ${value.at} is refused, expected ${wish}`,
  });
}

function at(place: string): string {
  return place === "" ? "" : `${place}: `;
}

/** The value for a message, cut to a bearable length. */
function quote(value: JsonValue): string {
  switch (value.kind) {
    case "object":
    case "array":
      return `the ${value.kind}`;
    case "null":
      return "null";
    case "number":
      return value.text.slice(0, 40);
    default: {
      const text = JSON.stringify(value.value);
      return text.length > 80 ? `${text.slice(0, 80)}…` : text;
    }
  }
}
