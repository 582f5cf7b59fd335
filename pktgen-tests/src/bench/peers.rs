//! What other balancers were measured at, as published facts for comparison in plots and tables.
//!
//! Must not hold a figure without its source, nor one of Plimsoll's.

/// One peer's speed on one core over the number of sessions.
#[derive(Debug)]
pub struct Peer {
    /// Its name and what it did.
    pub name: &'static str,
    /// `(sessions, nanoseconds per packet)`.
    pub points: &'static [(f64, f64)],
    /// Where the figures come from.
    pub source: &'static str,
}

const MEASURED: &str = "measured on a virtual machine with EPYC Zen 4 like this one's, one core, 64-byte frames, 100 real \
                        servers, no NIC";

/// The peers whose figures depend on sessions, or are shown beside those that do.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "DPVS 1.10 DR UDP",
        points: &[
            (1.0, 133.3),
            (1e3, 178.6),
            (1e4, 526.3),
            (1e5, 787.4),
            (1e6, 1219.5),
        ],
        source: MEASURED,
    },
    Peer {
        name: "Katran (BPF test run)",
        points: &[(1.0, 107.0), (65_536.0, 460.0), (1e6, 595.0)],
        source: "measured as above, net of the harness; 510 to 680 ns at 1 M, the middle is shown",
    },
    Peer {
        name: "Maglev per packet thread",
        points: &[(1.0, 350.0)],
        source: "Eisenbud et al., NSDI 2016",
    },
    Peer {
        name: "VPP lb L3DSR",
        // 104, 139, 249 and 248 ticks of 2.6 GHz.
        points: &[(1.0, 40.0), (1e4, 53.5), (1e5, 95.8), (1e6, 95.4)],
        source: MEASURED,
    },
    Peer {
        name: "VPP lb, prefetch distance 8",
        points: &[(1e6, 53.0)],
        source: MEASURED,
    },
    Peer {
        name: "testpmd macswap (driver alone)",
        points: &[(1.0, 12.5), (1e6, 12.7)],
        source: MEASURED,
    },
];
