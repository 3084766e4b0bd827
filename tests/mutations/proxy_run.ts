/**
 * The protective steps of a proxied run: what is dialled, what is waited for, what is written down, what the command's environment
 * holds, and the way from the namespaces to the proxy.
 *
 * @module
 */
import type { Defence } from "./defence.ts";

export const PROXY_RUN: readonly Defence[] = [];
