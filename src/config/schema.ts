/**
 * Every key we read: its type, default and meaning, as one tree of shapes. The checker and `codex config schema` walk it.
 *
 * Pure. Built on demand: a run without config files never asks.
 *
 * @module
 */
import { PROMISE_NAMES } from "../policy/policy.ts";

/** What a value must look like. */
export type Shape =
  | { readonly kind: "string" }
  | { readonly kind: "boolean" }
  | { readonly kind: "integer"; readonly min: number; readonly max: number }
  | {
    readonly kind: "choice";
    readonly values: readonly string[];
    /** Spellings that are read but not offered. */
    readonly aliases?: readonly string[];
  }
  | { readonly kind: "list"; readonly of: Shape }
  | TableShape
  /** A table whose keys the user makes up. */
  | {
    readonly kind: "map";
    readonly of: Shape;
    /** What a key is, for the schema. */
    readonly keys: string;
    /** Keys with a meaning of their own. */
    readonly except?: { readonly [key: string]: Field };
  }
  /** The first form whose kind of value fits. */
  | { readonly kind: "either"; readonly of: readonly Shape[] }
  /** Not read by us in detail. */
  | { readonly kind: "any" };

/** A table with known keys. */
export interface TableShape {
  readonly kind: "table";
  readonly keys: { readonly [key: string]: Field };
  /** What an unknown key is: another tool's business, a finding, or an error. */
  readonly others: "silent" | "warning" | "error";
}

/** One key. `default` and `example` are TOML. */
export interface Field {
  readonly shape: Shape;
  readonly description: string;
  readonly default?: string;
  readonly example?: string;
}

const STRING: Shape = { kind: "string" };
const BOOLEAN: Shape = { kind: "boolean" };
const STRINGS: Shape = { kind: "list", of: STRING };
const PORT: Shape = { kind: "integer", min: 0, max: 65_535 };
const VERDICT: Shape = { kind: "choice", values: ["allow", "deny"] };
const ACCESS: Shape = {
  kind: "choice",
  values: ["read", "write", "deny"],
  aliases: ["none"],
};
const SANDBOX_MODE: Shape = {
  kind: "choice",
  values: ["read-only", "workspace-write", "danger-full-access"],
};

/** A config file of any layer. Unknown top-level keys belong to other tools. */
export function configShape(): TableShape {
  return table("silent", {
    default_permissions: {
      shape: STRING,
      description:
        "Permission profile to use: a built-in one or the NAME of a [permissions.NAME] table",
      default: '":read-only"',
      example: '":workspace"',
    },
    permissions: {
      shape: { kind: "map", of: profileShape(), keys: "profile name" },
      description:
        "Permission profiles by name; a name must not begin with a colon",
    },
    sandbox_mode: {
      shape: SANDBOX_MODE,
      description:
        "Legacy form of default_permissions; counts only in -c, or in a file when some layer sets default_permissions",
      example: '"workspace-write"',
    },
    sandbox_workspace_write: {
      shape: table("silent", {
        writable_roots: {
          shape: STRINGS,
          description:
            "Further writable directories, relative to the directory of the file",
          default: "[]",
          example: '["/srv/cache"]',
        },
        network_access: switchOff("Give the command the host's network"),
        exclude_tmpdir_env_var: switchOff("Keep $TMPDIR read-only"),
        exclude_slash_tmp: switchOff("Keep /tmp read-only"),
      }),
      description: 'Settings of sandbox_mode = "workspace-write"',
    },
    features: {
      shape: table("warning", {
        use_legacy_landlock: switchOff(
          "Use Landlock instead of bubblewrap where the policy allows it",
        ),
        network_proxy: {
          shape: {
            kind: "either",
            of: [
              BOOLEAN,
              table("error", {
                enabled: {
                  shape: BOOLEAN,
                  description: "Whether the managed proxy is on",
                  default: "true",
                },
                ...proxyKeys(),
              }),
            ],
          },
          description:
            "Lead an enabled network through the managed proxy; a table is laid over the profile's network table",
          default: "false",
        },
      }),
      description: "Switches of this program",
    },
    shell_environment_policy: {
      shape: environmentShape(),
      description: "Which environment variables the command sees",
    },
    project_root_markers: {
      shape: STRINGS,
      description:
        "Names that mark the root of a project; an empty list means the working directory",
      default: '[".git"]',
    },
    projects: {
      shape: {
        kind: "map",
        of: table("silent", {
          trust_level: {
            shape: { kind: "choice", values: ["trusted", "untrusted"] },
            description: "Whether .codex/config.toml of this project is read",
            example: '"trusted"',
          },
        }),
        keys: "absolute path of a project",
      },
      description: "Trust by project",
    },
    profile: {
      shape: { kind: "any" },
      description:
        "No longer supported: use -p NAME and $CODEX_HOME/NAME.config.toml",
    },
  });
}

/** `/etc/codex/requirements.toml`. Everything that isn't known is an error, but for keys that only concern agents. */
export function requirementsShape(): TableShape {
  const agentKeys = [
    "allowed_approval_policies",
    "allowed_approvals_reviewers",
    "allowed_web_search_modes",
    "apps",
    "enforce_residency",
    "hooks",
    "mcp_servers",
    "plugins",
    "rules",
  ];
  const agents: { [key: string]: Field } = {};
  for (const key of agentKeys) {
    agents[key] = {
      shape: { kind: "any" },
      description: "Concerns agents, not the sandbox",
    };
  }
  return table("error", {
    ...agents,
    allowed_sandbox_modes: {
      shape: { kind: "list", of: SANDBOX_MODE },
      description: "Modes a profile may amount to; must include read-only",
      example: '["read-only", "workspace-write"]',
    },
    allowed_permission_profiles: {
      shape: { kind: "map", of: BOOLEAN, keys: "profile name" },
      description:
        "Profiles that may be chosen; any other choice falls back to default_permissions",
      example: '{ ":workspace" = true }',
    },
    default_permissions: {
      shape: STRING,
      description: "What a choice that isn't allowed falls back to",
      default: '":read-only"',
    },
    permissions: {
      shape: table("error", {
        filesystem: {
          shape: table("error", {
            deny_read: {
              shape: STRINGS,
              description: "Paths and globs that are denied in every profile",
              example: '["~/.ssh", "/srv/**/*.pem"]',
            },
          }),
          description: "Files",
        },
      }),
      description: "Restrictions of every profile",
    },
    experimental_network: {
      shape: table("error", {
        enabled: {
          shape: BOOLEAN,
          description: "Whether any network is allowed",
        },
        http_port: {
          shape: PORT,
          description:
            "Accepted and not used: the proxies inside are at ports 3128 and 1080",
        },
        socks_port: {
          shape: PORT,
          description:
            "Accepted and not used: the proxies inside are at ports 3128 and 1080",
        },
        allow_upstream_proxy: {
          shape: BOOLEAN,
          description: "Honour the host's proxy variables",
        },
        dangerously_allow_non_loopback_proxy: {
          shape: BOOLEAN,
          description: "Accepted and not used",
        },
        dangerously_allow_all_unix_sockets: {
          shape: BOOLEAN,
          description: "Every Unix socket on macOS; without effect on Linux",
        },
        domains: {
          shape: { kind: "map", of: VERDICT, keys: "host pattern" },
          description: "Hosts",
        },
        managed_allowed_domains_only: {
          shape: BOOLEAN,
          description: "Profiles can't allow further hosts",
        },
        unix_sockets: {
          shape: { kind: "map", of: VERDICT, keys: "absolute path" },
          description: "Unix sockets",
        },
        allow_local_binding: {
          shape: BOOLEAN,
          description: "Open loopback and private targets",
        },
      }),
      description:
        "Network restrictions; their presence leads every enabled network through the managed proxy",
    },
  });
}

/** `[permissions.NAME]`. */
function profileShape(): TableShape {
  return table("warning", {
    description: {
      shape: STRING,
      description: "One line for `codex policy list`",
      example: '"Build and test"',
    },
    extends: {
      shape: STRING,
      description:
        "Parent profile: :read-only, :workspace or a profile of yours",
      example: '":workspace"',
    },
    workspace_roots: {
      shape: {
        kind: "map",
        of: BOOLEAN,
        keys: "directory; relative to the working directory",
      },
      description: "Further workspace roots; false switches one off",
      example: '{ "../other" = true }',
    },
    filesystem: {
      shape: {
        kind: "map",
        keys:
          "path, ~/path, glob, or a symbol: :root :minimal :workspace_roots :tmpdir :slash_tmp",
        of: {
          kind: "either",
          of: [ACCESS, {
            kind: "map",
            of: ACCESS,
            keys: "subpath or glob below the key, . for itself",
          }],
        },
        except: {
          glob_scan_max_depth: {
            shape: { kind: "integer", min: 1, max: Number.MAX_SAFE_INTEGER },
            description:
              "How many directory levels below its fixed part a deny glob looks",
            example: "3",
          },
        },
      },
      description:
        "Entries; the longest path wins, then deny before write before read",
      example: '{ ":root" = "read", ":workspace_roots" = "write" }',
    },
    network: {
      shape: table("warning", { ...networkKeys(), ...proxyKeys() }),
      description: "Network; nothing said means none",
      example: "{ enabled = true }",
    },
    tmp: {
      shape: { kind: "choice", values: ["shared", "private"] },
      description: "private: the run has an empty /tmp and $TMPDIR of its own",
      default: '"shared"',
    },
    require: {
      shape: { kind: "list", of: { kind: "choice", values: PROMISE_NAMES } },
      description: "Promises without which the run is refused",
      default: "[]",
      example: '["proc"]',
    },
    debug: switchOff("Let the command's processes trace each other (ptrace)"),
    nested_namespaces: switchOff(
      "Let the command make user namespaces of its own",
    ),
    loopback: {
      shape: BOOLEAN,
      description:
        "Let the command use its own loopback; false leaves it no IP sockets",
      default: "true",
    },
    nested_repositories: {
      shape: { kind: "choice", values: ["read", "write"] },
      description:
        "What the command may do with .git, .agents and .codex of repositories inside a writable directory",
      default: '"read"',
    },
    glob_backend: {
      shape: { kind: "choice", values: ["builtin", "ripgrep"] },
      description: "Who expands deny globs",
      default: '"builtin"',
    },
  });
}

/** Names of the keys of `[permissions.NAME.network]`. */
export function networkProfileKeys(): readonly string[] {
  return Object.keys({ ...networkKeys(), ...proxyKeys() });
}

function networkKeys(): { readonly [key: string]: Field } {
  return {
    enabled: switchOff(
      "Give the command a network: the host's, or the proxy's",
    ),
    managed: switchOff("Only the hosts in domains, through the managed proxy"),
    mitm: {
      shape: { kind: "any" },
      description: "Interception; refused when used",
    },
  };
}

function proxyKeys(): { readonly [key: string]: Field } {
  return {
    domains: {
      shape: { kind: "map", of: VERDICT, keys: "host pattern" },
      description:
        "Hosts that may be reached; deny wins; any entry means the managed proxy",
      example: '{ "*.example.com" = "allow" }',
    },
    unix_sockets: {
      shape: { kind: "map", of: VERDICT, keys: "absolute path" },
      description:
        "Sockets of host daemons that stay reachable with the host's network",
      example: '{ "/run/docker.sock" = "allow" }',
    },
    mode: {
      shape: { kind: "choice", values: ["full", "limited"] },
      description: "limited: only GET, HEAD and OPTIONS over plain HTTP",
      default: '"full"',
    },
    proxy_url: {
      shape: STRING,
      description:
        "Checked and not used: the proxies inside are at ports 3128 and 1080",
    },
    socks_url: {
      shape: STRING,
      description:
        "Checked and not used: the proxies inside are at ports 3128 and 1080",
    },
    enable_socks5: {
      shape: BOOLEAN,
      description: "Offer SOCKS5 beside HTTP",
      default: "true",
    },
    enable_socks5_udp: {
      shape: BOOLEAN,
      description: "Offer UDP through SOCKS5",
      default: "true",
    },
    allow_upstream_proxy: {
      shape: BOOLEAN,
      description: "Honour the host's proxy variables",
      default: "true",
    },
    allow_local_binding: switchOff("Open loopback and private targets"),
    dangerously_allow_non_loopback_proxy: switchOff("Accepted and not used"),
    dangerously_allow_all_unix_sockets: switchOff(
      "Every Unix socket on macOS; without effect on Linux",
    ),
  };
}

function environmentShape(): TableShape {
  return table("warning", {
    inherit: {
      shape: { kind: "choice", values: ["core", "all", "none"] },
      description:
        "Where to start: everything, a short list of names, or nothing",
      default: '"all"',
    },
    ignore_default_excludes: {
      shape: BOOLEAN,
      description: "false drops names with KEY, SECRET or TOKEN in them",
      default: "true",
    },
    exclude: {
      shape: STRINGS,
      description: "Names to drop: whole names, * and ?, case counting nothing",
      default: "[]",
      example: '["AWS_*"]',
    },
    set: {
      shape: { kind: "map", of: STRING, keys: "variable name" },
      description: "Variables to set, literally",
      example: '{ CI = "1" }',
    },
    include_only: {
      shape: STRINGS,
      description: "When not empty: names to keep, those of set included",
      default: "[]",
    },
    experimental_use_profile: {
      shape: BOOLEAN,
      description: "Concerns agents, not the sandbox",
    },
  });
}

function table(
  others: TableShape["others"],
  keys: { readonly [key: string]: Field },
): TableShape {
  return { kind: "table", keys, others };
}

function switchOff(description: string): Field {
  return { shape: BOOLEAN, description, default: "false" };
}
