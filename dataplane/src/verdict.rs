//! What becomes of a packet: one [`Verdict`] each, and for a drop one [`DropReason`]; and why a session was evicted.
//! Counting is done in `stats.rs`.

/// Declares [`DropReason`] once: variant, metric label, what it means, and what an operator does about it.
macro_rules! drop_reasons {
    ($($variant:ident $label:literal $help:literal remedy $remedy:literal;)*) => {
        /// Why a packet was dropped. Labels are part of the metrics' contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $help] $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of the metric label `reason`.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// One sentence for a person.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// What an operator does about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }

            /// The reason with this label.
            #[must_use]
            pub fn by_label(label: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.label() == label)
            }
        }
    };
}

drop_reasons! {
    Truncated "truncated"
        "The frame ends before its headers or its stated length."
        remedy "Look for a sender or a tunnel on the way that sends broken frames; a few are normal on the Internet.";
    OversizeFrame "oversize_frame"
        "The frame is longer than the port's MTU: the sender's segmentation offload (TSO, GSO) or the receiver's merging (GRO, LRO) is on."
        remedy "Switch the offloads off: `ethtool -K IFACE tso off gso off` at the sender on a veth, `ethtool -K IFACE gro off lro off` on a NIC that `net_af_packet` borrows. Where the network has jumbo frames, raise `dataplane.ports[].mtu`.";
    UnfinishedChecksum "unfinished_checksum"
        "The transport checksum holds only the pseudo-header's sum: the sender's checksum offload was never carried out."
        remedy "Run `ethtool -K IFACE tx off` at the sender, which is on this machine or on a veth. Frames from a real network do not have this.";
    OtherMac "other_mac"
        "The destination MAC is neither this port's nor a group's."
        remedy "A few are normal: a switch floods frames whose place it does not know. If clients' traffic is dropped so, a router or client has an old MAC for the address: compare its neighbour table with `plimsoll ports`.";
    VlanStack "vlan_stack"
        "More than one VLAN tag (QinQ)."
        remedy "Have the switch send this port frames without a tag (an access port).";
    VlanUnknown "vlan_unknown"
        "A VLAN tag with a VLAN that no port has."
        remedy "Have the switch send this port frames without a tag (an access port), or let the kernel take the tag off: `net_af_packet` on the kernel's interface for that VLAN.";
    EtherTypeUnknown "ether_type_unknown"
        "Neither IPv4, IPv6 nor ARP, and no kernel port to give it to."
        remedy "Nothing, as long as it is IPX, PPPoE or the like. If the kernel of this machine is to have it, set `kernel: true` on the port.";
    ArpInvalid "arp_invalid"
        "A malformed ARP packet."
        remedy "Find the host by its MAC (`tcpdump -e arp` on a machine of the same network): its software is broken, or it is an attack.";
    NdpInvalid "ndp_invalid"
        "A malformed or forged neighbour discovery message (RFC 4861 section 7.1)."
        remedy "Find the host by its MAC (`tcpdump -e icmp6` on a machine of the same network). Neighbour discovery from beyond a router or in fragments is an attack.";
    Ipv4Header "ipv4_header"
        "A bad IPv4 version, header length or total length."
        remedy "Nothing, if they are few: broken packets come from the Internet. If they are many, look for a faulty host or link.";
    Ipv4Checksum "ipv4_checksum"
        "A wrong IPv4 header checksum."
        remedy "Look for a faulty cable, NIC or router on the way (`ethtool -S` and the switch's error counters).";
    Ipv6Header "ipv6_header"
        "A bad IPv6 version, payload length or chain of extension headers."
        remedy "Nothing, if they are few: broken packets come from the Internet. If they are many, look for a faulty host or link.";
    L4Header "l4_header"
        "A transport header that does not fit into the packet."
        remedy "Nothing, if they are few: scanners send such packets. If they are many, look for a faulty sender.";
    UdpHeader "udp_header"
        "A UDP datagram that NAT would make look good: its length is less than a header's or more than the packet's, or it has no checksum over IPv6 (RFC 8200 section 8.1)."
        remedy "Nothing, if they are few. If a client's application is hit, it sends UDP over IPv6 without a checksum: use `forward: dr` or `tunnel` for its service, which leave the datagram as it is.";
    SourceRoute "source_route"
        "An IPv4 packet with a source route option (LSRR, SSRR), by which its sender chooses the way past filters (RFC 7126 section 4.3); a Linux host drops it too."
        remedy "Nothing: no ordinary application sends it. It can be dropped earlier, by a filter at the network's edge.";
    MartianSource "martian_source"
        "A source address that cannot be: loopback, multicast, broadcast (also a port's network's), unspecified, one of ours (LAND), or of IPv6 a link-local one where the packet would leave its link."
        remedy "If the log says that another host claims an address of ours, take the address off that host; with DR, its real servers must not answer ARP for the VIP (`arp_ignore`, `arp_announce`). Else it is forged: filter at the network's edge.";
    MartianDestination "martian_destination"
        "A destination address that cannot be: loopback or unspecified, or for what is routed the broadcast address of a port's network."
        remedy "Look for the sender's or a router's mistake; a broadcast that is routed is an old attack (smurf).";
    NotLocal "not_local"
        "The packet is neither for a VIP or an address of ours, nor to or from a NAT real server."
        remedy "If clients' packets are meant, see in `plimsoll list` whether their address is a VIP, and the `match` rules. If this machine is to route them, set `network.forwarding: true`; else look who has a route here by mistake.";
    LocalUnhandled "local_unhandled"
        "For an address of ours, but nothing listens and there is no kernel port."
        remedy "If ssh, BGP or the like are meant, set `kernel: true` on the port and give its TAP the address. Else somebody tries the port: nothing.";
    NoService "no_service"
        "For a VIP, but no service has this protocol and port."
        remedy "Compare the port and protocol with `plimsoll list`; a service with port 0 takes all ports. Scanners do this to every address.";
    NoSession "no_session"
        "A packet that belongs to no session and does not begin one: TCP without SYN, SCTP without INIT, or anything from port 20 (FTP data)."
        remedy "A few are normal: late segments of sessions that have ended. Many after a restart are clients' old connections (`ipvs.sloppy_tcp`). Many at other times: connections are idle for longer than `timeouts.tcp`, or sessions are evicted (`plimsoll_worker_evicted_sessions_total`).";
    NoReal "no_real"
        "The scheduler found no real server that may take a new session."
        remedy "See in `plimsoll list --state` whether all real servers are drained, disabled or of weight 0, and in `plimsoll list --thresholds` whether they are at `upper`. `plimsoll undrain`, `enable` and `weight` put them back.";
    Shed "shed"
        "A new session that `drop_packet` sheds."
        remedy "It is meant: `ipvs.drop_packet` is `always`, or `auto` while the table is nearly full. For `auto`, raise `dataplane.sessions`, or look who floods.";
    RealGone "real_gone"
        "The session's real server is gone, removed or disabled, and its packets are dropped until it is back."
        remedy "It is meant with `on_down: drop`, the default of `compat: lvs`. To move such sessions to other real servers set `on_down: reschedule`; to keep them, `keep`.";
    SessionTableFull "session_table_full"
        "A new session found the session table full of proven, active ones (dataplane.sessions is too small), or its service has more than its share of a full table."
        remedy "Raise `dataplane.sessions` (a restart; `plimsoll check` says what memory it takes), shorten `timeouts`, or bound the greedy service by `limits.sessions`. `plimsoll list` shows who has the sessions.";
    ServiceSessions "service_sessions"
        "A new session of a service that has as many as its limits.sessions allows."
        remedy "Raise the service's `limits.sessions`, if its real servers can take more, or shorten its `timeouts`.";
    TtlExceeded "ttl_exceeded"
        "TTL or hop limit ran out."
        remedy "Nothing, if they are few: traceroute does it. Many are a routing loop: compare `plimsoll routes` with the gateway's routes. If a tunnel's packets expire on the way, set `tunnel.ttl` to a number.";
    MtuExceeded "mtu_exceeded"
        "Larger than the way to the real server allows, and it must not be fragmented."
        remedy "Let ICMP through, by which senders learn what fits, and set `mss_clamp: auto` on services with tunnels. Where the network can, raise `dataplane.ports[].mtu` on the way to the real servers.";
    NoRoute "no_route"
        "No route leads to the destination."
        remedy "Compare the real servers', clients' and gateways' addresses with `plimsoll routes`: a default route (`network.routes`) is missing, or no port has an address of the family.";
    NeighbourQueueFull "neighbour_queue_full"
        "Too many packets wait for the neighbour's MAC."
        remedy "See in `plimsoll neighbors` who does not answer. If they all do, somebody sends to many absent hosts of a port's own network: smaller prefixes in `addresses`, or a filter upstream.";
    NeighbourUnreachable "neighbour_unreachable"
        "The neighbour did not answer ARP or NDP."
        remedy "See in `plimsoll neighbors` which it is, and whether it is up and in the same network and VLAN. A host that answers no ARP needs an entry in `network.neighbors`. Drain a real server that is gone.";
    NoHeadroom "no_headroom"
        "The buffer has no room for the tunnel's headers."
        remedy "It should not happen with the drivers that were tried (docs/HARDWARE.md). Use `forward: dr` or `nat` on this port, and report the driver.";
    NoBuffer "no_buffer"
        "The buffer pool is exhausted."
        remedy "Raise `dataplane.memory.size` (a restart); the log of the start says what would help.";
    TxFull "tx_full"
        "The transmit queue and its backlog are full."
        remedy "See in `plimsoll ports` which port sends all it can. The link or the driver is too slow for the traffic, or the peer of a virtual port reads too slowly; a faster port, or fewer bursts at the senders, helps.";
    LinkDown "link_down"
        "The port on the way has no link."
        remedy "See in `plimsoll ports` which one it is; then its cable, its switch and `ip link`. The TAP of a kernel port has to be set up (`ip link set NAME up`).";
    HandoverFull "handover_full"
        "The ring to the worker that owns the flow is full: that worker is too slow."
        remedy "Compare `plimsoll_worker_busy_seconds_total` of the workers: one has too much. Give `dataplane.cpus` more CPUs, none of which runs anything else, and see whether ports are steered (`plimsoll_port_steered`).";
    HandoverLoop "handover_loop"
        "Every worker was asked and none owns the packet."
        remedy "A few are normal right after services were changed. If the number grows, compare `plimsoll_port_misplaced_total` of the ports, and report it.";
    SearchLimited "search_limited"
        "A packet whose session may be on another worker, beyond those that one worker looks for: a flood of packets without a session, after changes of services that share packets."
        remedy "See who sends packets without a session (`no_session`, a flood), and filter it upstream. After a change of services it ends with the old sessions.";
    FragmentInvalid "fragment_invalid"
        "A fragment that overlaps another or does not fit into a datagram."
        remedy "Nothing, if they are few. Many are an attack with overlapping fragments, or fragments that arrive twice.";
    FragmentTimeout "fragment_timeout"
        "The datagram's other fragments did not arrive in time."
        remedy "Look for loss on the way of large datagrams, or a filter that lets only first fragments pass; better, have the application send datagrams that fit the MTU.";
    FragmentTableFull "fragment_table_full"
        "Too many datagrams are being reassembled."
        remedy "Have the senders use datagrams that fit the MTU (for DNS, 1232 bytes). If it is a flood of fragments, filter it upstream.";
    IcmpIgnored "icmp_ignored"
        "An ICMP message for one of our addresses that is none of our business."
        remedy "Nothing. If the kernel of this machine is to get such messages, set `kernel: true` on the port.";
    IcmpInvalid "icmp_invalid"
        "A malformed ICMP message or one with a wrong checksum."
        remedy "Nothing, if they are few: broken or forged messages come from the Internet.";
    IcmpLimited "icmp_limited"
        "More ICMP errors about one session, or about one flow that no worker is known to own, than one worker passes on."
        remedy "Nothing, if it is a flood of forged errors. Else see which real server or router sends so many unreachables: a real server that refuses a port, or a route that is missing.";
    IcmpNoSession "icmp_no_session"
        "An ICMP error about a packet of no known session."
        remedy "Nothing, if they are few: late or forged errors. If it grows along with `no_session`, see there.";
    EchoLimited "echo_limited"
        "More pings than one worker answers in a second: 1000, of one source 32."
        remedy "Nothing: the limit protects the workers. Monitoring that pings more often than 32 times a second from one address should ping less.";
    PuntLimited "punt_limited"
        "More packets for the kernel than one worker gives it in a second: 10000 of routing protocols, 2000 of ARP, NDP and the like, 10000 others, of one source 2000."
        remedy "See what floods the port's TAP (`tcpdump -i NAME`) and filter it upstream. Bulk traffic of this machine's own needs another interface.";
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Sent on to a real server, a client or a gateway.
    Forwarded,
    /// Answered: ARP, NDP, echo.
    Replied,
    /// Given to the kernel's port.
    Punted,
    /// Handed to the worker that owns its flow.
    HandedOver,
    /// Not to be sent anywhere: answers of ARP and NDP and errors from a tunnel's path, which have been
    /// used, and what was sent to a group that nobody here listens to.
    Consumed,
    /// Dropped.
    Dropped(DropReason),
}

/// Why a session that had not expired was evicted. The labels are an interface: metrics use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EvictionCause {
    /// It was finished.
    Finished,
    /// It was half-open.
    HalfOpen,
    /// It was not proven.
    Unproven,
    /// It was proven, and had been idle for long.
    Idle,
    /// Its service had reached its limit of sessions, and it was the one that had been idle longest of those examined.
    Limit,
}

impl EvictionCause {
    /// Every cause, in the order of the discriminants.
    pub const ALL: [Self; 5] = [
        Self::Finished,
        Self::HalfOpen,
        Self::Unproven,
        Self::Idle,
        Self::Limit,
    ];

    /// The value of the metric label `cause`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::HalfOpen => "half_open",
            Self::Unproven => "unproven",
            Self::Idle => "idle",
            Self::Limit => "limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_label_and_says_what_it_means_and_what_to_do_in_sentences() {
        for &reason in DropReason::ALL {
            assert_eq!(DropReason::by_label(reason.label()), Some(reason));
            for text in [reason.help(), reason.remedy()] {
                assert!(text.ends_with('.'), "{}: {text}", reason.label());
                assert!(!text.contains(['\n', '|']), "{}: {text}", reason.label());
            }
        }
        assert_eq!(DropReason::by_label("no_reason"), None);
    }

    #[test]
    fn causes_are_numbered_in_order_and_have_labels_of_their_own() {
        for (number, cause) in EvictionCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
            let others = EvictionCause::ALL
                .iter()
                .filter(|other| other.label() == cause.label());
            assert_eq!(others.count(), 1);
        }
    }
}
