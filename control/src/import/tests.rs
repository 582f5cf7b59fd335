//! Rules in, services out, and back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::config::file::{Forward, Protocol, TunnelChecksum, TunnelType};
use crate::config::leaf::Vip;
use crate::config::{self, Diagnostics, Severity};

fn table(text: &str) -> Table {
    let mut table = Table::default();
    let diagnostics = apply(&mut table, "rules", text);
    assert_eq!(diagnostics.errors(), 0, "{}", diagnostics.report(false));
    table
}

/// The first error's line, column and message.
fn error(text: &str) -> (u32, u32, String) {
    let mut table = Table::default();
    let diagnostics = apply(&mut table, "rules", text);
    let item = diagnostics
        .items()
        .iter()
        .find(|item| item.severity == Severity::Error)
        .unwrap_or_else(|| panic!("{text} is taken"));
    assert!(item.help.is_some() || !item.related.is_empty());
    (
        item.line.unwrap(),
        item.column.unwrap(),
        item.message.clone(),
    )
}

/// Without sysctls.
fn import(name: &str, text: &str, base: Option<&Base>) -> Imported {
    super::import(name, text, Sysctls::default(), base)
}

fn order(table: &Table) -> Vec<String> {
    let reals = table.services.iter().flat_map(|service| &service.reals);
    reals
        .map(|real| format!("{} {}", real.address, real.weight))
        .collect()
}

#[test]
fn persistence_and_one_packet_are_carried_and_engines_are_not() {
    let rules = "-A -t 10.0.0.1:80 -s rr -p 300 -M 255.255.255.0\n\
                 -A -u 10.0.0.1:53 -s rr -o\n\
                 -A -t [2001:db8::1]:80 -s rr -p 50 -M 64\n\
                 -A -u 10.0.0.1:5060 -s rr -p 60 --pe sip\n";
    let base = "version: 1\ndataplane: { ports: [{ name: wan, device: net_null0 }] }\n";
    let base = Base::of(&config::parse("base", base).unwrap()).unwrap();
    let imported = import("rules", rules, Some(&base));
    let told = imported.diagnostics.items().iter();
    let told: Vec<_> = told
        .map(|item| (item.line, item.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [(Some(4), "the persistence engine `sip` is not carried over")]
    );
    let loaded = config::parse("imported", imported.yaml).unwrap();
    let services = &loaded.valid.reload().services;
    let masks: Vec<_> = services
        .iter()
        .map(|service| service.persistence.map(|persistence| persistence.mask))
        .collect();
    assert_eq!(masks, [Some(24), None, Some(64), Some(32)]);
    assert!(services[1].one_packet);
}

#[test]
fn a_new_real_is_first_an_edited_one_stays_and_a_returning_one_is_first_again() {
    let rules = "-A -t 10.0.0.1:80 -s rr\n\
                 -a -t 10.0.0.1:80 -r 10.1.0.11\n\
                 -a -t 10.0.0.1:80 -r 10.1.0.12 -w 7\n\
                 -a -t 10.0.0.1:80 -r 10.1.0.13\n\
                 -e -t 10.0.0.1:80 -r 10.1.0.12:80 -w 5\n";
    assert_eq!(
        order(&table(rules)),
        ["10.1.0.13:80 1", "10.1.0.12:80 5", "10.1.0.11:80 1"]
    );
    let again = format!(
        "{rules}-d -t 10.0.0.1:80 -r 10.1.0.11:80\n-a -t 10.0.0.1:80 -r 10.1.0.11:80\n-E -t 10.0.0.1:80 -s lc"
    );
    let table = table(&again);
    assert_eq!(
        order(&table),
        ["10.1.0.11:80 1", "10.1.0.13:80 1", "10.1.0.12:80 5"]
    );
    assert_eq!(table.services[0].scheduler, "lc");
}

#[test]
fn all_ways_to_write_an_option_mean_the_same() {
    let plain = services(&table(
        "-A -t 10.0.0.1:80 -s sh -p 300 -M 255.255.255.0 -b sh-port\n\
         -a -t 10.0.0.1:80 -r 10.1.0.11:8080 -m -w 3 -x 9 -y 4",
    ));
    for other in [
        "ipvsadm --add-service --tcp-service 10.0.0.1:80 --scheduler sh --persistent 300 --netmask 24 --sched-flags flag-2\n\
         ipvsadm --add-server --tcp-service=10.0.0.1:80 --real-server=10.1.0.11:8080 --masquerading --weight=3 \
         --u-threshold 9 --l-threshold 4",
        "# a comment\n\n/sbin/ipvsadm -At 10.0.0.1:http -ssh -p300 -M=24 -b sh-port,sh-port # another\n\
         \t-amt  10.0.0.1:80 -r10.1.0.11:8080 -w3 -x9 -y4",
    ] {
        assert_eq!(services(&table(other)), plain);
    }
    let defaults = table("-A -t 10.0.0.1:80 -p\n-a -t 10.0.0.1:80 -r 10.1.0.11");
    let service = &defaults.services[0];
    assert_eq!(service.scheduler, "wlc");
    assert_eq!(service.persistence.as_ref().unwrap().timeout_s, 360);
    assert_eq!(service.reals[0].forward, Forward::Dr);
}

#[test]
fn every_mistake_has_a_line_a_column_and_what_was_expected() {
    let with = |line: &str| format!("-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.1.0.11\n{line}");
    for (line, column, message) in [
        ("-A -t 10.0.0.1:80", 7, "Service already exists"),
        ("-a -t 10.0.0.1:81 -r 10.1.0.1", 7, "Service not defined"),
        ("-E -u 10.0.0.1:80", 7, "Service not defined"),
        ("-Z -u 10.0.0.1:80", 7, "Service not defined"),
        ("-Z -s rr", 4, "`-s` does not go with `-Z`"),
        ("-Z --stats", 4, "`--stats` does not go with `-Z`"),
        ("--start-daemon", 1, "`--start-daemon` lacks its value"),
        (
            "-A -t 10.0.0.2:80 --syncid 1",
            19,
            "`--syncid` does not go with `-A`",
        ),
        ("-L -n --stats --exact", 1, "`-L` makes no rule"),
        ("-d -t 10.0.0.1:80 -r 10.1.0.12", 22, "No such destination"),
        (
            "-a -t 10.0.0.1:80 -r 10.1.0.11:80",
            22,
            "Destination already exists",
        ),
        (
            "-A -t 10.0.0.2",
            7,
            "Zero port specified for non-persistent service",
        ),
        ("-A -t 10.0.0.2:65536", 7, "`65536` is not a port"),
        ("-A -t web:80", 7, "`web:80` is not an address"),
        (
            "-A -t 2001:db8::1:80:",
            7,
            "`2001:db8::1:80:` is not an address",
        ),
        (
            "-A -t [2001:db8::1:80",
            7,
            "`[2001:db8::1:80` is not an address",
        ),
        ("-A -t 10.0.0.2:80 -s", 19, "`-s` lacks its value"),
        (
            "-A -t 10.0.0.2:80 -p 0",
            22,
            "`0` is not a number of seconds",
        ),
        (
            "-A -t 10.0.0.2:80 -p -M 255.0.255.0",
            25,
            "`255.0.255.0` is not a mask",
        ),
        (
            "-A -t 10.0.0.2:80 -o",
            19,
            "one-packet scheduling is for UDP only",
        ),
        (
            "-A -t 10.0.0.2:80 -s rr -b sh-port",
            28,
            "`sh-port` is not a flag of the scheduler `rr`",
        ),
        ("-A -t 10.0.0.2:80 -w 1", 19, "`-w` does not go with `-A`"),
        ("-A -t 10.0.0.2:80 -t 10.0.0.3:80", 19, "`-t` is here twice"),
        (
            "-A -t 10.0.0.2:80 -u 10.0.0.3:80",
            19,
            "a line is about one service",
        ),
        (
            "-A -a -t 10.0.0.2:80",
            4,
            "a line has one command, this is its second",
        ),
        ("-A", 1, "`-A` lacks its service"),
        ("-t 10.0.0.2:80", 1, "this line has no command"),
        ("ipvsadm", 1, "this line has no command"),
        ("-L", 1, "`-L` makes no rule"),
        (
            "-A -t 10.0.0.2:80 --wibble",
            19,
            "`--wibble` is no option of ipvsadm",
        ),
        (
            "-A -t 10.0.0.2:80 stray",
            19,
            "`stray` belongs to no option",
        ),
        ("-C --ops=1", 10, "`--ops` takes no value"),
        ("-a -t 10.0.0.1:80", 1, "`-a` lacks its real server"),
        (
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -w -1",
            35,
            "`-1` is not a weight",
        ),
        (
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -w 2147483648",
            35,
            "`2147483648` is not a weight",
        ),
        (
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -x 1 -y 2",
            40,
            "the lower threshold 2 is above the upper one, 1",
        ),
        (
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -g -m",
            35,
            "a real server has one forwarding method",
        ),
        (
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -i --tun-type vxlan",
            46,
            "`vxlan` is not a tunnel type",
        ),
        (
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -i --tun-type gue",
            46,
            "a GUE tunnel lacks its UDP port",
        ),
        (
            "-a -t 10.0.0.1:80 -r [2001:db8::1]:80",
            22,
            "Different address family is allowed only for tunneling servers",
        ),
        ("-A -f 0", 7, "`0` is not a firewall mark"),
        ("-A -t 10.0.0.2:80 -6", 19, "`-6` goes with `-f` only"),
        ("--set 1 2", 1, "`--set` takes three times"),
    ] {
        assert_eq!(
            error(&with(line)),
            (3, column, message.to_owned()),
            "{line}"
        );
    }
}

#[test]
fn a_wrong_line_changes_nothing_and_the_lines_after_it_are_read() {
    let imported = import(
        "rules",
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.11 -w x\n-a -t 10.0.0.1:80 -r 10.1.0.12 -q\n\
         -a -t 10.0.0.1:80 -r 10.1.0.13",
        None,
    );
    assert_eq!(imported.diagnostics.errors(), 2);
    assert!(imported.yaml.ends_with(
        "services:\n  - name: tcp-10.0.0.1-80\n    vip: 10.0.0.1:80\n    protocol: tcp\n    scheduler: rr\n    \
         forward: dr\n    reals:\n      - { address: 10.1.0.13:80, weight: 1 }\n"
    ));
}

#[test]
fn lines_that_change_no_rule_are_read_all_the_same() {
    let rules = "-A -t 10.0.0.1:80\n";
    let expected = services(&table(rules));
    for (line, told) in [
        ("-Z", 0),
        ("ipvsadm --zero -n -t 10.0.0.1:80", 0),
        (
            "--start-daemon=master --mcast-interface eth0 --syncid 7 --sync-maxlen 1400",
            1,
        ),
        ("--stop-daemon backup", 1),
    ] {
        let mut table = Table::default();
        let diagnostics = apply(&mut table, "rules", &format!("{rules}{line}"));
        assert_eq!(services(&table), expected);
        assert_eq!(
            (diagnostics.errors(), diagnostics.warnings()),
            (0, told),
            "{line}"
        );
    }
}

#[test]
fn what_was_deleted_can_be_added_again_and_only_then() {
    let rules = "-A -t 10.0.0.1:80\n-A -t 10.0.0.2:80\n-A -t 10.0.0.3:80\n-D -t 10.0.0.1:80\n";
    assert_eq!(error(&format!("{rules}-A -t 10.0.0.3:80")).0, 5);
    assert_eq!(error(&format!("{rules}-a -t 10.0.0.1:80 -r 10.1.0.1")).0, 5);
    let again = table(&format!(
        "{rules}-A -t 10.0.0.1:80\n-a -t 10.0.0.3:80 -r 10.1.0.1"
    ));
    let vips = again.services().iter().map(|service| match service.key {
        Key::Address { vip, .. } => (vip.address.to_string(), service.reals.len()),
        Key::Mark { .. } => panic!(),
    });
    let expected = [("10.0.0.2", 0), ("10.0.0.3", 1), ("10.0.0.1", 0)];
    assert!(vips.eq(expected.map(|(vip, reals)| (vip.to_owned(), reals))));
    assert!(table(&format!("{rules}-C")).services().is_empty());
}

#[test]
fn what_is_not_carried_is_told_at_its_rule() {
    let imported = import(
        "rules",
        "-A -f 9 -s rr\n-A -t 10.0.0.1:80 -s twos\n-a -t 10.0.0.1:80 -r 10.1.0.11\n\
         -a -t 10.0.0.1:80 -r 10.1.0.12:81 -g\n",
        None,
    );
    let told: Vec<_> = imported
        .diagnostics
        .items()
        .iter()
        .map(|item| (item.line.unwrap(), item.severity))
        .collect();
    let (error, warning) = (Severity::Error, Severity::Warning);
    assert_eq!(told, [(1, error), (2, warning), (4, warning)]);
    assert!(!imported.yaml.contains("mark:"));
    assert!(imported.yaml.contains("scheduler: p2c"));
}

#[test]
fn services_take_the_place_of_the_bases() {
    let base = "version: 1\n\
                dataplane: { ports: [{ name: lan, device: net_null0, addresses: [10.1.0.1/24] }] }\n\
                timeouts: { tcp: 10m, udp: 1m }\n\
                services: [{ name: old, vip: 10.9.9.9:80 }]\n";
    let loaded = config::parse("base", base).unwrap();
    let base = Base::of(&loaded).unwrap();
    let rules = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.11\n--set 0 0 30";
    let imported = import("rules", rules, Some(&base));
    assert!(imported.diagnostics.items().is_empty());
    let loaded = config::parse("result", imported.yaml).unwrap();
    let reload = loaded.valid.reload();
    assert_eq!(reload.services.len(), 1);
    assert_eq!(
        reload.services[0].target.identity().to_string(),
        "tcp 10.0.0.1:80"
    );
    assert_eq!(reload.timeouts.tcp.as_secs(), 600);
    assert_eq!(reload.timeouts.udp.as_secs(), 30);
}

#[test]
fn what_ipvsadm_saves_reads_back() {
    // From the recording `cli-formats`.
    let saved = "-A -t 10.0.0.100:80 -s wrr -p 300 -M 255.255.255.0\n\
                 -a -t 10.0.0.100:80 -r 10.1.0.11:80 -g -w 4\n\
                 -A -t 10.0.0.101:80 -s sh -b sh-fallback,sh-port\n\
                 -a -t 10.0.0.101:80 -r 172.16.0.11:80 -i -w 1\n\
                 -A -t 10.0.0.102:80 -s rr\n\
                 -a -t 10.0.0.102:80 -r 172.16.0.11:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum\n\
                 -A -u 10.0.0.100:53 -s rr -o\n\
                 -a -u 10.0.0.100:53 -r 10.1.0.11:53 -m -w 1\n\
                 -A -t [2001:db8::100]:80 -s rr -p 360 -M 64\n\
                 -a -t [2001:db8::100]:80 -r [2001:db8:1::11]:80 -g -w 1\n\
                 -A -f 9 -s mh -b mh-port\n\
                 -a -f 9 -r 10.1.0.11:0 -g -w 1\n";
    assert_eq!(lines::write(&table(saved)), saved);
}

#[test]
fn a_tunnels_type_is_the_services_and_another_is_its_real_servers() {
    let base = "version: 1\n\
                dataplane: { ports: [{ name: lan, device: net_null0, addresses: [10.1.0.1/24], mtu: 1600 }] }\n";
    let base = Base::of(&config::parse("base", base).unwrap()).unwrap();
    let rules = "-A -t 10.0.0.1:80 -s rr\n\
                 -a -t 10.0.0.1:80 -r 10.1.0.11 -i --tun-type gue --tun-port 5555\n\
                 -a -t 10.0.0.1:80 -r 10.1.0.12 -i --tun-type gue --tun-port 5555 --tun-nocsum\n";
    let imported = import("rules", rules, Some(&base));
    assert!(imported.diagnostics.items().is_empty());
    let loaded = config::parse("result", imported.yaml).unwrap();
    let gue = config::valid::Tunnel::Gue {
        port: 5555,
        checksum: false,
    };
    let reals = &loaded.valid.reload().services[0].reals;
    assert_eq!(
        reals.iter().map(|real| real.tunnel).collect::<Vec<_>>(),
        [gue, gue]
    );
    let more = "-a -t 10.0.0.1:80 -r 10.1.0.13 -i --tun-type gre --tun-csum\n\
                -a -t 10.0.0.1:80 -r 10.1.0.14 -i --tun-type gue --tun-port 5555 --tun-remcsum\n\
                -a -t 10.0.0.1:80 -r 10.1.0.15 -i\n";
    let imported = import("rules", &format!("{rules}{more}"), Some(&base));
    assert!(imported.diagnostics.items().is_empty());
    let loaded = config::parse("result", imported.yaml).unwrap();
    let reals = &loaded.valid.reload().services[0].reals;
    use config::valid::Tunnel::{Gre, Gue, Ipip};
    assert_eq!(
        // Newest first, as in the kernel's list.
        reals.iter().map(|real| real.tunnel).collect::<Vec<_>>(),
        [
            Ipip,
            Gue {
                port: 5555,
                checksum: true
            },
            Gre { checksum: true },
            gue,
            gue
        ]
    );
}

#[test]
fn what_lvs_has_not_is_told_and_not_written() {
    let text = "
services:
  - { name: smooth, vip: '10.0.0.1:80', scheduler: swrr }
  - { name: drawn, vip: '10.0.0.1:81', scheduler: p2c }
  - { name: ramp, vip: '10.0.0.1:82', scheduler: wlc, slow_start: 60s }
  - { name: table, vip: '10.0.0.1:83', scheduler: mh, maglev: { size: 65521 } }
";
    let mut problems = Problems::default();
    let table = yaml::table_of(text, &mut problems).unwrap();
    assert_eq!(
        lines::write(&table),
        "-A -t 10.0.0.1:81 -s twos\n-A -t 10.0.0.1:82 -s wlc\n-A -t 10.0.0.1:83 -s mh\n"
    );
    let diagnostics = problems.finish("test", text);
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (1, 3));
    let report = diagnostics.report(false);
    for what in [
        "`smooth` has the scheduler `swrr`, which LVS has not",
        "`drawn` has the scheduler `p2c`, which is `twos` in LVS, from Linux 5.12 on",
        "`ramp` has slow start, which ipvsadm has not",
        "`table` has a Maglev table of its own, which ipvsadm has not",
    ] {
        assert!(report.contains(what), "{report}");
    }
}

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
    let forward = prop_oneof![Just(Forward::Dr), Just(Forward::Nat), Just(Forward::Tunnel)];
    let tunnel = prop_oneof![
        Just((TunnelType::Ipip, 0)),
        Just((TunnelType::Gre, 0)),
        Just((TunnelType::Gue, 6080))
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
                let own = if forward == Forward::Nat && port != 0 {
                    own
                } else {
                    port
                };
                let mut tunnel = Encapsulation::default();
                if forward == Forward::Tunnel {
                    tunnel = Encapsulation {
                        kind,
                        port: tun_port,
                        checksum,
                    };
                }
                Real {
                    address: (host, own).into(),
                    forward,
                    weight,
                    upper,
                    lower: lower.min(upper),
                    tunnel,
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
        let key = (address(v6), protocol).prop_map(move |(address, protocol)| Key::Address {
            protocol,
            vip: Vip {
                address,
                prefix: None,
                port,
            },
        });
        (key, proptest::collection::vec(real(v6, port), 0..5))
    });
    let scheduler = prop_oneof![
        Just(("rr", vec![])),
        Just(("sh", vec!["sh-fallback", "sh-port"])),
        Just(("mh", vec!["mh-port"])),
        Just(("wlc", vec!["flag-3"]))
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
                Key::Address {
                    protocol: Protocol::Udp,
                    ..
                }
            );
            Service {
                key,
                scheduler: scheduler.to_owned(),
                flags: flags.into_iter().map(str::to_owned).collect(),
                persistence: persistence.or_else(|| (key.port() == 0).then(whole)),
                one_packet: one_packet && udp,
                reals,
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
        let read = yaml::table_of(&config, &mut problems).unwrap();
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
        let base = config::parse("base", include_str!("../../tests/import-cases/base.yaml")).unwrap();
        let base = Base::of(&base).unwrap();
        let mut table = Table::default();
        if let Some((name, value)) = sysctl {
            let _ = table.sysctls.set(&name, &value.to_string());
        }
        let marks = "ip daddr 192.0.2.80 tcp dport 80 meta mark set 1\nip daddr 192.0.2.0/25 meta mark set 2\n\
                     ip6 daddr 2001:db8::/64 meta mark set 1\n";
        table.marks = Marks::read("marks", marks).0;
        let imported = import_onto(table, "rules", &rules, Some(&base));
        let valid = config::parse("imported", imported.yaml.as_str());
        prop_assert!(valid.is_ok(), "{}\n{}\n{}", valid.unwrap_err().report(false), rules, imported.yaml);
        // And nothing is lost without a word.
        let written = valid.unwrap().valid.reload().services.len();
        let added = services.iter().map(|(selector, ..)| selector).collect::<BTreeSet<_>>().len();
        prop_assert!(written == added || imported.diagnostics.errors() > 0, "{}\n{}", rules, imported.yaml);
    }

    #[test]
    fn nothing_of_a_file_that_is_something_else_is_shown(
        lines in proptest::collection::vec(
            ("[a-z]{1,8}", "[:= \t]", "[A-Za-z0-9./$+]{16,90}", "(:[0-9]{1,5}){0,6}"),
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
            let imported = keepalived::import(path, text, &NoFiles, None, Sysctls::default(), None);
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
