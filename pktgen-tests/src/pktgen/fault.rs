//! What can be wrong with a frame that comes back, and how often it was.
//!
//! Must not judge a frame: it names the judgements.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $text:literal;)*) => {
        /// What is wrong with a frame; its text says what was expected.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Fault {
            $($(#[$doc])* #[error($text)] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in results.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)*
                }
            }
        }
    };
}

faults! {
    /// The receiver.
    DestinationMac = "destination_mac", "the destination MAC is nobody's here";
    /// The sender.
    SourceMac = "source_mac", "the source MAC is not the balancer's";
    /// The EtherType.
    NotIp = "not_ip", "the EtherType is not that of the scenario's family";
    /// The length.
    Length = "length", "the frame's length is not what was sent and what the method adds";
    /// The tunnel.
    OuterHeader = "outer_header", "the outer IP header is not one from the balancer to the owner of the MAC";
    /// TTL or hop limit.
    Ttl = "ttl", "the TTL or hop limit is not one less than what was sent";
    /// IPv4's sum.
    IpChecksum = "ip_checksum", "the IPv4 header's checksum is wrong";
    /// TCP's or UDP's sum.
    TransportChecksum = "transport_checksum", "the checksum of TCP or UDP is wrong";
    /// Other header fields.
    Header = "header", "a header field that nobody may change is not as it was sent";
    /// The client.
    ClientAddress = "client_address", "the client's address or port is no client's";
    /// The flow.
    UnknownFlow = "unknown_flow", "no flow of this run has this client";
    /// The virtual address.
    VirtualAddress = "virtual_address", "the destination is not the virtual address and port";
    /// The real server's address.
    RealAddress = "real_address", "the destination is not the address and port of the real server with this MAC";
    /// There is no such real server.
    UnknownReal = "unknown_real", "there is no real server with this number";
    /// The answer's source.
    ReplySource = "reply_source", "an answer's source is not the virtual address and port";
    /// TCP's flags.
    TcpFlags = "tcp_flags", "TCP's flags or header length are none that were sent";
    /// TCP's numbers.
    TcpNumbers = "tcp_numbers", "TCP's sequence or acknowledgement number is not that of the flow";
    /// Data.
    Payload = "payload", "the payload is not what was sent";
    /// Another flow's data.
    PayloadFlow = "payload_flow", "the payload is another flow's";
    /// The real server has changed.
    Affinity = "affinity", "the flow went to another real server before";
    /// Nobody has sent it.
    Unexpected = "unexpected", "the connection does not expect this segment now: sent twice, or out of order";
}

/// How often each fault was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally(Vec<u64>);

impl Default for Tally {
    fn default() -> Self {
        Self(vec![0; Fault::ALL.len()])
    }
}

impl Tally {
    /// Counts one.
    #[cold]
    pub fn add(&mut self, fault: Fault) {
        if let Some(count) = self.0.get_mut(fault as usize) {
            *count += 1;
        }
    }

    /// How often this one was seen.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that were seen.
    pub fn seen(&self) -> impl Iterator<Item = (Fault, u64)> {
        let counts = Fault::ALL.iter().copied().zip(self.0.iter().copied());
        counts.filter(|(_, count)| *count > 0)
    }
}

impl Serialize for Tally {
    /// A map from the names of those seen to how often.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (fault, count) in self.seen() {
            map.serialize_entry(fault.key(), &count)?;
        }
        map.end()
    }
}
