/**
 * A process that becomes a command as a stage of ours does, with system calls that it is refused: for failures that no host shows at
 * will. `inner_stage_test.ts` and its kin give it its orders as JSON.
 *
 * @module
 */
import type { ByteString } from "../../src/bytes.ts";
import {
  runCallersInnerStage,
  runInnerStage,
} from "../../src/linux/inner_stage.ts";
import {
  type LandlockLaunch,
  launchAlone,
} from "../../src/linux/landlock_launcher.ts";
import type { Policy } from "../../src/policy/policy.ts";
import * as abi from "../../src/sys/abi.ts";
import { open } from "../../src/sys/calls.ts";
import { dropCapabilities } from "../../src/sys/identity.ts";
import { refuse, type Refused } from "./refuse.ts";

/** The status of a stage that came back without having become the command. */
export const CAME_BACK = 3;

/** What such a process is told. */
export interface Orders {
  readonly stage:
    | { readonly kind: "inner"; readonly ordersFile: string }
    | {
      readonly kind: "callers";
      readonly policy: Policy;
      readonly command: readonly ByteString[];
      readonly environment: readonly ByteString[];
      readonly routes: string | null;
    }
    | { readonly kind: "landlock"; readonly launch: LandlockLaunch };
  readonly refused: readonly Refused[];
  /** As bubblewrap starts a stage: without any. */
  readonly capabilities: "kept" | "dropped";
}

function become({ stage, refused, capabilities }: Orders): void {
  if (capabilities === "dropped") dropCapabilities();
  switch (stage.kind) {
    case "inner": {
      const fd = open(stage.ordersFile as ByteString, abi.O_RDONLY);
      if (!fd.ok) throw new Error("no orders");
      refuse(refused);
      return runInnerStage(fd.value, -1, -1);
    }
    case "callers":
      refuse(refused);
      return runCallersInnerStage(
        stage.policy,
        stage.command,
        stage.environment,
        stage.routes,
      );
    case "landlock": {
      refuse(refused);
      const error = launchAlone(stage.launch);
      process.stderr.write(`${error.message}\n`);
      process.exit(CAME_BACK);
    }
  }
}

if (import.meta.main) become(JSON.parse(process.argv[2] ?? "") as Orders);
