//! Random rules and random texts: what is exported reads back, what is written is valid, and nothing is shown or makes a reader panic.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::limits::Limits;
use plimsoll_dataplane::spec::target::{Identity, Vip};

fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        (1..99_u16)
            .prop_map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into())
            .boxed()
    } else {
        (1..99_u8)
            .prop_map(|host| Ipv4Addr::new(192, 0, 2, host).into())
            .boxed()
    }
}

fn real(v6: bool, port: u16) -> impl Strategy<Value = Real> {
    let forward = prop_oneof![
        Just(ForwardMethod::Direct),
        Just(ForwardMethod::Nat),
        Just(ForwardMethod::Tunnel)
    ];
    let tunnel = prop_oneof![
        Just((TunnelKind::LIST[0], 0)),
        Just((TunnelKind::LIST[1], 0)),
        Just((TunnelKind::LIST[2], 6080))
    ];
    let sum = prop_oneof![
        Just(TunnelChecksum::None),
        Just(TunnelChecksum::Csum),
        Just(TunnelChecksum::Remcsum)
    ];
    let limits = (0..5_u32, 0..5_u32);
    (
        address(v6),
        forward,
        0..1000_u32,
        limits,
        tunnel,
        sum,
        1..9_u16,
    )
        .prop_map(
            move |(host, forward, weight, (upper, lower), (kind, tun_port), checksum, own)| {
                let own = if forward == ForwardMethod::Nat && port != 0 {
                    own
                } else {
                    port
                };
                let mut tunnel = Encapsulation::default();
                if forward == ForwardMethod::Tunnel {
                    tunnel = Encapsulation {
                        kind,
                        port: tun_port,
                        checksum,
                    };
                }
                Real {
                    address: (host, own).into(),
                    method: Method { forward, tunnel },
                    weight,
                    limits: Limits {
                        upper,
                        lower: lower.min(upper),
                    },
                    place: Place {
                        line: 0,
                        column: 0,
                        length: 0,
                    },
                }
            },
        )
}

fn service() -> impl Strategy<Value = Service> {
    let key = (any::<bool>(), 0..4_u16).prop_flat_map(|(v6, port)| {
        let protocol = prop_oneof![
            Just(Protocol::Tcp),
            Just(Protocol::Udp),
            Just(Protocol::Sctp)
        ];
        let key = (address(v6), protocol).prop_map(move |(address, protocol)| {
            Identity::Vip(Vip {
                protocol,
                addresses: address.into(),
                port,
            })
        });
        (key, proptest::collection::vec(real(v6, port), 0..5))
    });
    let scheduler = prop_oneof![
        Just(("rr", vec![])),
        Just(("sh", vec!["sh-fallback", "sh-port"])),
        Just(("mh", vec!["mh-port"])),
        Just(("wlc", vec![]))
    ];
    let mask = proptest::option::of(1..=32_u8);
    let persistence = proptest::option::of((1..9999_u32, mask));
    (key, scheduler, persistence, any::<bool>()).prop_map(
        |((key, mut reals), (scheduler, flags), persistence, one_packet)| {
            let mut seen = BTreeSet::new();
            reals.retain(|real| seen.insert(real.address));
            let persistence = persistence.map(|(timeout_s, mask)| Persistence {
                timeout_s,
                mask,
                engine: None,
            });
            let whole = || Persistence {
                timeout_s: 360,
                mask: None,
                engine: None,
            };
            let udp = matches!(
                key,
                Identity::Vip(Vip {
                    protocol: Protocol::Udp,
                    ..
                })
            );
            Service {
                key,
                scheduler: scheduler.to_owned(),
                flags: flags.into_iter().map(str::to_owned).collect(),
                persistence: persistence.or_else(|| (key.port() == 0).then(whole)),
                one_packet: one_packet && udp,
                reals,
                method: None,
                place: Place {
                    line: 0,
                    column: 0,
                    length: 0,
                },
            }
        },
    )
}

fn any_table() -> impl Strategy<Value = Table> {
    proptest::collection::vec(service(), 0..5).prop_map(|mut services| {
        let mut seen = std::collections::HashSet::new();
        services.retain(|service| seen.insert(service.key));
        let mut table = Table::default();
        services.into_iter().for_each(|service| table.push(service));
        table
    })
}

/// Addresses that a configuration may have, and all sorts that it may not.
fn any_address() -> impl Strategy<Value = String> {
    let addresses = [
        "192.0.2.80",
        "192.0.2.81",
        "192.0.2.10",
        "10.0.0.21",
        "10.0.0.10",
        "172.16.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "[2001:db8::1]",
        "[::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[::]",
        "[::ffff:192.0.2.1]",
    ];
    let ports = [":0", ":80", ":443", ""];
    (
        proptest::sample::select(addresses.to_vec()),
        proptest::sample::select(ports.to_vec()),
    )
        .prop_map(|(address, port)| format!("{address}{port}"))
}

fn selector() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("-t|-u|--sctp-service", any_address()).prop_map(|(option, address)| format!("{option} {address}")),
        1 => (1..4_u32, "|-6").prop_map(|(mark, six)| format!("-f {mark} {six}")),
    ]
}

fn rest_of_service() -> impl Strategy<Value = String> {
    "(-s (rr|wlc|sh|mh|twos|p2c|swrr|nosuch|conhash|lblcr))?( -p( [0-9]{1,7})?)?( -M (255\\.255\\.255\\.0|24|64|0))?\
     ( --pe sip)?( -o)?( -b (flag-1|flag-3|sh-port|mh-fallback))?"
}

fn rest_of_server() -> impl Strategy<Value = String> {
    let options = "( -g| -m| -i)?( -w [0-9]{1,10})?( -x [0-9]{1,3})?( -y [0-9]{1,3})?\
                   ( --tun-type (ipip|gre|gue))?( --tun-port [0-9]{1,5})?( --tun-(nocsum|csum|remcsum))?";
    (any_address(), options).prop_map(|(address, options)| format!("-r {address}{options}"))
}

proptest! {
    #[test]
    fn what_is_exported_imports_as_the_same_services(written in any_table()) {
        let config = services(&written);
        let mut problems = Problems::default();
        let read = yaml::table_of(&config, &mut problems);
        prop_assert_eq!(problems.errors(), 0);
        prop_assert_eq!(&read, &written);
        prop_assert_eq!(services(&table(&lines::write(&read))), config);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(-[A-Za-z] |--[a-z]{1,8}[= ]|[\\[\\]0-9.:a-f/#é]{0,9} |\n|\\PC){0,30}") {
        let imported = import("rules", &format!("-C\n{text}"), None);
        let _ = imported.diagnostics.report(false);
    }

    #[test]
    fn whatever_the_rules_are_the_result_is_valid(
        services in proptest::collection::vec((selector(), rest_of_service(), proptest::collection::vec(rest_of_server(), 0..4)), 1..8),
        sysctl in proptest::option::of(("am_droprate|conn_reuse_mode|secure_tcp", 0..2_000_000_u32)),
        set in proptest::option::of(proptest::array::uniform3(0..3_000_000_u32)),
    ) {
        let mut rules = String::new();
        for (selector, rest, servers) in &services {
            rules += &format!("-A {selector} {rest}\n");
            for server in servers {
                rules += &format!("-a {selector} {server}\n");
            }
        }
        if let Some([tcp, fin, udp]) = set {
            rules += &format!("--set {tcp} {fin} {udp}\n");
        }
        let base = config::parse("base", include_str!("../../../tests/import-cases/base.yaml")).unwrap();
        let base = Base::of(&base).unwrap();
        let mut table = Table::default();
        if let Some((name, value)) = sysctl {
            let _ = table.sysctls.set(&name, &value.to_string());
        }
        let marks = "ip daddr 192.0.2.80 tcp dport 80 meta mark set 1\nip daddr 192.0.2.0/25 meta mark set 2\n\
                     ip6 daddr 2001:db8::/64 meta mark set 1\n";
        table.marks = Marks::read("marks", marks).0;
        let imported = crate::import::import(table, "rules", &rules, Some(&base));
        let valid = config::parse("imported", imported.yaml.as_str());
        prop_assert!(valid.is_ok(), "{}\n{}\n{}", valid.unwrap_err().report(false), rules, imported.yaml);
        // And nothing is lost without a word.
        let written = valid.unwrap().valid.reload().services.len();
        let added = services.iter().map(|(selector, ..)| selector).collect::<BTreeSet<_>>().len();
        prop_assert!(written == added || imported.diagnostics.errors() > 0, "{}\n{}", rules, imported.yaml);
    }

    #[test]
    fn nothing_of_a_file_that_is_something_else_is_shown(
        // No word of any of the formats begins so.
        lines in proptest::collection::vec(
            ("zq[a-z]{0,8}", "[:= \t]", "[A-Za-z0-9./$+]{16,90}", "(:[0-9]{1,5}){0,6}"),
            1..30,
        ),
    ) {
        let secrets: Vec<&str> = lines.iter().map(|(_, _, secret, _)| secret.as_str()).collect();
        let line = |(name, sign, secret, rest): &(String, String, String, String)| format!("{name}{sign}{secret}{rest}\n");
        let text: String = lines.iter().map(line).collect();
        for reader in READERS {
            let shown = shown(reader, &text);
            for secret in &secrets {
                let begins: String = secret.chars().take(12).collect();
                prop_assert!(!shown.contains(&begins), "{reader}: {shown}");
            }
        }
    }
}

const READERS: [&str; 5] = ["ipvsadm", "keepalived", "marks", "sysctls", "yaml"];

/// All that one of the readers tells of a text, and writes of it.
fn shown(reader: &str, text: &str) -> String {
    let told =
        |diagnostics: &Diagnostics| diagnostics.report(false) + &diagnostics.to_json().to_string();
    match reader {
        "ipvsadm" => {
            let imported = import("file", text, None);
            told(&imported.diagnostics) + &imported.yaml
        }
        "keepalived" => {
            let path = std::path::Path::new("file");
            let imported = keepalived::import(Table::default(), (path, text), &NoFiles, None, None);
            imported.diagnostics.iter().map(told).collect::<String>() + &imported.yaml
        }
        "marks" => told(&Marks::read("file", text).1),
        "sysctls" => told(&Sysctls::read("file", text).1),
        _ => config::parse("file", text).map_or_else(|errors| told(&errors), |_| String::new()),
    }
}

struct NoFiles;

impl keepalived::Files for NoFiles {
    fn matching(&self, _: &std::path::Path) -> std::io::Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }

    fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[test]
fn a_report_is_short_however_long_a_word_is() {
    let long = "x".repeat(10 << 20);
    for (reader, text) in [
        (
            "ipvsadm",
            format!(
                "-A -t {long}\n-A -t 10.0.0.1:80 -s {long}\n-A -u 10.0.0.1:80 -s rr -p 9 --pe {long}\n{long}\n"
            ),
        ),
        (
            "keepalived",
            format!(
                "virtual_server 10.0.0.1 80 {{\n lb_algo {long}\n {long} 1\n include {long}\n}}\n"
            ),
        ),
        (
            "keepalived",
            format!(
                "$A={}\nvirtual_server $A 80 {{\n lb_algo $A\n}}\n",
                "x".repeat(60_000)
            ),
        ),
        (
            "marks",
            format!(
                "-A PREROUTING -{long} -d {long} -j MARK --set-mark 5\ntcp dport {long} meta mark set 5\n{long} meta mark set 5\n"
            ),
        ),
        (
            "sysctls",
            format!("net.ipv4.vs.{long} = 1\nnet.ipv4.vs.sloppy_tcp = {long}\n"),
        ),
        (
            "yaml",
            format!("version: {long}\n{long}: 1\nservices: [{{ name: {long}, vip: {long} }}]\n"),
        ),
    ] {
        let shown = shown(reader, &text);
        assert!(shown.len() < 40_000, "{reader}: {} bytes", shown.len());
    }
}
