/* What bubblewrap asks of libcap, written for this build from capabilities(7) and linux/capability.h. */
#pragma once
#include <linux/capability.h>
#include <strings.h>

typedef int cap_value_t;

/* In the C library, declared by libcap's header only. */
int capget (cap_user_header_t header, cap_user_data_t data);
int capset (cap_user_header_t header, const cap_user_data_t data);

/* The number of a capability, by its name as capabilities(7) spells it, in any case; -1 for another. */
static inline int
cap_from_name (const char *name, cap_value_t *value)
{
  static const char *const names[] = {
    "cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner",
    "cap_fsetid", "cap_kill", "cap_setgid", "cap_setuid", "cap_setpcap",
    "cap_linux_immutable", "cap_net_bind_service", "cap_net_broadcast",
    "cap_net_admin", "cap_net_raw", "cap_ipc_lock", "cap_ipc_owner",
    "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace",
    "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice",
    "cap_sys_resource", "cap_sys_time", "cap_sys_tty_config", "cap_mknod",
    "cap_lease", "cap_audit_write", "cap_audit_control", "cap_setfcap",
    "cap_mac_override", "cap_mac_admin", "cap_syslog", "cap_wake_alarm",
    "cap_block_suspend", "cap_audit_read", "cap_perfmon", "cap_bpf",
    "cap_checkpoint_restore",
  };
  for (cap_value_t at = 0; at < (int) (sizeof names / sizeof *names); at++)
    if (strcasecmp (name, names[at]) == 0)
      {
        *value = at;
        return 0;
      }
  return -1;
}
