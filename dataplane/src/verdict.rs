//! What becomes of a packet: one [`Verdict`] each, and for a drop one [`DropReason`]; and why a session was evicted.
//! Counting is done in `stats.rs`.

/// Declares [`DropReason`] once: variant, metric label and help text.
macro_rules! drop_reasons {
    ($($variant:ident $label:literal $help:literal;)*) => {
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
        }
    };
}

drop_reasons! {
    Truncated "truncated" "The frame ends before its headers or its stated length.";
    OversizeFrame "oversize_frame" "The frame is longer than the port's MTU: the sender's segmentation offload (TSO, GSO) or the receiver's merging (GRO, LRO) is on.";
    UnfinishedChecksum "unfinished_checksum" "The transport checksum holds only the pseudo-header's sum: the sender's checksum offload was never carried out.";
    OtherMac "other_mac" "The destination MAC is neither this port's nor a group's.";
    VlanStack "vlan_stack" "More than one VLAN tag (QinQ).";
    VlanUnknown "vlan_unknown" "A VLAN tag with a VLAN that no port has.";
    EtherTypeUnknown "ether_type_unknown" "Neither IPv4, IPv6 nor ARP, and no kernel port to give it to.";
    ArpInvalid "arp_invalid" "A malformed ARP packet.";
    NdpInvalid "ndp_invalid" "A malformed or forged neighbour discovery message (RFC 4861 section 7.1).";
    Ipv4Header "ipv4_header" "A bad IPv4 version, header length or total length.";
    Ipv4Checksum "ipv4_checksum" "A wrong IPv4 header checksum.";
    Ipv6Header "ipv6_header" "A bad IPv6 version, payload length or chain of extension headers.";
    L4Header "l4_header" "A transport header that does not fit into the packet.";
    UdpHeader "udp_header" "A UDP datagram that NAT would make look good: its length is less than a header's or more than the packet's, or it has no checksum over IPv6 (RFC 8200 section 8.1).";
    SourceRoute "source_route" "An IPv4 packet with a source route option (LSRR, SSRR), by which its sender chooses the way past filters (RFC 7126 section 4.3); a Linux host drops it too.";
    MartianSource "martian_source" "A source address that cannot be: loopback, multicast, broadcast (also a port's network's), unspecified, one of ours (LAND), or of IPv6 a link-local one where the packet would leave its link.";
    MartianDestination "martian_destination" "A destination address that cannot be: loopback or unspecified, or for what is routed the broadcast address of a port's network.";
    NotLocal "not_local" "The packet is neither for a VIP or an address of ours, nor to or from a NAT real server.";
    LocalUnhandled "local_unhandled" "For an address of ours, but nothing listens and there is no kernel port.";
    NoService "no_service" "For a VIP, but no service has this protocol and port.";
    NoSession "no_session" "A packet that belongs to no session and does not begin one: TCP without SYN, SCTP without INIT, or anything from port 20 (FTP data).";
    NoReal "no_real" "The scheduler found no real server that may take a new session.";
    Shed "shed" "A new session that `drop_packet` sheds.";
    RealGone "real_gone" "The session's real server is no longer known.";
    SessionTableFull "session_table_full" "A new session found the session table full of proven, active ones (dataplane.sessions is too small), or its service has more than its share of a full table.";
    ServiceSessions "service_sessions" "A new session of a service that has as many as its limits.sessions allows.";
    TtlExceeded "ttl_exceeded" "TTL or hop limit ran out.";
    MtuExceeded "mtu_exceeded" "Larger than the way to the real server allows, and it must not be fragmented.";
    NoRoute "no_route" "No route leads to the destination.";
    NeighbourQueueFull "neighbour_queue_full" "Too many packets wait for the neighbour's MAC.";
    NeighbourUnreachable "neighbour_unreachable" "The neighbour did not answer ARP or NDP.";
    NoHeadroom "no_headroom" "The buffer has no room for the tunnel's headers.";
    NoBuffer "no_buffer" "The buffer pool is exhausted.";
    TxFull "tx_full" "The transmit queue and its backlog are full.";
    LinkDown "link_down" "The port on the way has no link: look at its cable, its switch, and `ip link`; the TAP of a kernel port has to be set up (`ip link set NAME up`).";
    HandoverFull "handover_full" "The ring to the worker that owns the flow is full: that worker is too slow.";
    HandoverLoop "handover_loop" "Every worker was asked and none owns the packet.";
    SearchLimited "search_limited" "A packet whose session may be on another worker, beyond those that one worker looks for: a flood of packets without a session, after changes of services that share packets.";
    FragmentInvalid "fragment_invalid" "A fragment that overlaps another or does not fit into a datagram.";
    FragmentTimeout "fragment_timeout" "The datagram's other fragments did not arrive in time.";
    FragmentTableFull "fragment_table_full" "Too many datagrams are being reassembled.";
    IcmpIgnored "icmp_ignored" "An ICMP message for one of our addresses that is none of our business.";
    IcmpInvalid "icmp_invalid" "A malformed ICMP message or one with a wrong checksum.";
    IcmpLimited "icmp_limited" "More ICMP errors about one session, or about one flow that no worker is known to own, than one worker passes on.";
    IcmpNoSession "icmp_no_session" "An ICMP error about a packet of no known session.";
    EchoLimited "echo_limited" "More pings than one worker answers in a second: 1000, of one source 32.";
    PuntLimited "punt_limited" "More packets for the kernel than one worker gives it in a second: 10000 of routing protocols, 2000 of ARP, NDP and the like, 10000 others, of one source 2000.";
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
