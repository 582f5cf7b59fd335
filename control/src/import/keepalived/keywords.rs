//! keepalived.conf's keywords by what becomes of them; checkers' are in `health`.
//! Reads nothing.

/// Keywords that are read, but for those of `health` and [`FLAGS`].
pub(super) const READ: &[&str] = &[
    "connect_ip",
    "connect_port",
    "connect_timeout",
    "delay_loop",
    "fwmark",
    "global_defs",
    "ip_family",
    "lb_algo",
    "lb_kind",
    "lthreshold",
    "lvs_method",
    "lvs_sched",
    "lvs_timeouts",
    "nb_get_retry",
    "ops",
    "persistence_engine",
    "persistence_granularity",
    "persistence_timeout",
    "protocol",
    "real_server",
    "retry",
    "router_id",
    "url",
    "uthreshold",
    "virtual_server",
    "virtual_server_group",
    "weight",
];

/// The keywords that include files; all but the first insist on there being one.
pub(super) const INCLUDES: &[&str] = &[
    "include", "includea", "includeb", "includem", "includer", "includew",
];

/// Blocks and lines outside of every block that are not about virtual servers.
pub(super) const LOST_OF_FILE: &[&str] = &[
    "SSL",
    "bfd_instance",
    "child_wait_time",
    "garp_group",
    "instance",
    "interface_up_down_delays",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "notify_fifo",
    "process_names",
    "random_seed",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "track_bfd",
    "track_file",
    "track_group",
    "track_process",
    "use_pid_dir",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_file",
    "vrrp_track_process",
];

/// Keywords of a virtual server that nothing here does.
pub(super) const LOST_OF_SERVER: &[&str] = &[
    "alpha",
    "delay_before_retry",
    "ha_suspend",
    "hysteresis",
    "inhibit_on_failure",
    "nat_mask",
    "omega",
    "quorum",
    "quorum_down",
    "quorum_up",
    "smtp_alert",
    "snmp_name",
    "sorry_server",
    "sorry_server_inhibit",
    "sorry_server_lvs_method",
    "virtualhost",
    "warmup",
];
/// The same of a real server.
pub(super) const LOST_OF_REAL: &[&str] = &[
    "alpha",
    "delay_before_retry",
    "inhibit_on_failure",
    "notify_down",
    "notify_up",
    "smtp_alert",
    "snmp_name",
    "virtualhost",
    "warmup",
];
/// Flags of schedulers.
pub(super) const FLAGS: &[&str] = &[
    "flag-1",
    "flag-2",
    "flag-3",
    "mh-fallback",
    "mh-port",
    "sh-fallback",
    "sh-port",
];

/// Lists of addresses of DPVS, outside of virtual servers.
pub(super) const DPVS_GROUPS: &[&str] = &[
    "allow_address_group",
    "blacklist_address_group",
    "deny_address_group",
    "local_address_group",
    "whitelist_address_group",
];
/// What DPVS has in a virtual server and keepalived has not; why it is not here.
pub(super) const OF_DPVS: &[(&str, &str)] = &[
    (
        "laddr_group_name",
        "local addresses are for full NAT, which this version has not",
    ),
    (
        "syn_proxy",
        "real servers see every SYN: they need SYN cookies of their own",
    ),
    ("allow_addr_gname", LISTS),
    ("blklst_addr_gname", LISTS),
    ("deny_addr_gname", LISTS),
    ("whtlst_addr_gname", LISTS),
    (
        "establish_timeout",
        "`timeouts: { tcp: ... }` of the service says how long idle sessions live",
    ),
    ("bps_limit", LIMITS),
    ("conn_limit", LIMITS),
    ("cps_limit", LIMITS),
    ("limit_proportion", LIMITS),
    (
        "expire_quiescent_conn",
        "`on_down` says what becomes of the sessions of a real server that is gone",
    ),
    (
        "hash_target",
        "conhash of QUIC's connection or of SIP's calls is not there in this version",
    ),
    (
        "proxy_protocol",
        "this version does not write the PROXY protocol",
    ),
    (
        "quic",
        "conhash of QUIC's connection or of SIP's calls is not there in this version",
    ),
];
const LISTS: &str = "this version filters no clients: do it in front of it, or at the real servers";
const LIMITS: &str = "this version has no such limits";
