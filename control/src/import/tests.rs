//! Rules in, services out, and back.

use super::*;
use crate::config::file::TunnelChecksum;
use crate::config::{self, Diagnostics, Severity};
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::target::Identity;
use plimsoll_dataplane::spec::timeouts::Millis;

mod properties;

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
    super::import(Table::default(), name, text, base)
}

fn order(table: &Table) -> Vec<String> {
    let reals = table.services.iter().flat_map(|service| &service.reals);
    reals
        .map(|real| format!("{} {}", real.address, real.weight))
        .collect()
}

#[test]
fn a_service_without_real_servers_says_nothing_of_how_to_reach_them() {
    let yaml = services(&table("-A -t 10.0.0.1:80 -s rr\n"));
    assert!(
        yaml.ends_with("    scheduler: rr\n    reals: []\n"),
        "{yaml}"
    );
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
    assert_eq!(service.reals[0].method.forward, ForwardMethod::Direct);
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
            "-e -t 10.0.0.1:80 -r 10.1.0.11 -i -m",
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
        Identity::Vip(vip) => (vip.addresses.addr().to_string(), service.reals.len()),
        Identity::Mark(_) => panic!(),
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
    let rules = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.11\n--set 0 0 30";
    // Some editors begin a file with a byte order mark.
    for mark in ["", "\u{feff}"] {
        let loaded = config::parse("base", format!("{mark}{base}")).unwrap();
        let base = Base::of(&loaded).unwrap();
        let imported = import("rules", rules, Some(&base));
        assert!(imported.diagnostics.items().is_empty());
        let loaded = config::parse("result", imported.yaml).unwrap();
        let reload = loaded.valid.reload();
        assert_eq!(reload.services.len(), 1);
        assert_eq!(
            reload.services[0].target.identity().to_string(),
            "tcp 10.0.0.1:80"
        );
        assert_eq!(reload.network.timeouts.tcp, Millis(600_000));
        assert_eq!(reload.network.timeouts.udp, Millis(30_000));
    }
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
    let gue = TunnelKind::Gue {
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
    use TunnelKind::{Gre, Gue, Ipip};
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
fn a_prefix_of_one_address_is_exported_as_the_address() {
    let text = "
services:
  - { name: four, vip: '192.0.2.1/32:80' }
  - { name: six, vip: '[2001:db8::1/128]:80' }
";
    let mut problems = Problems::default();
    let table = yaml::table_of(text, &mut problems);
    assert_eq!(
        lines::write(&table),
        "-A -t 192.0.2.1:80 -s rr\n-A -t [2001:db8::1]:80 -s rr\n"
    );
    assert!(problems.kept().is_empty());
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
    let table = yaml::table_of(text, &mut problems);
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
        "`ramp` has the key `slow_start`, which ipvsadm has not",
        "`table` has the key `maglev`, which ipvsadm has not",
    ] {
        assert!(report.contains(what), "{report}");
    }
}

#[test]
fn every_key_that_ipvsadm_has_not_is_told() {
    let text = "
services:
  - name: far
    vip: 10.0.0.1:80
    slow_start: 60s
    forward: tunnel
    mss_clamp: auto
    idle_reset: true
    compat: plimsoll
    on_down: keep
    limits: { sessions: 100 }
    timeouts: { tcp: 60s }
    tunnel: { type: gue, ttl: 9, source: 10.0.0.9 }
    reals: [{ address: 10.0.1.1 }, { address: 10.0.1.2, tunnel: { ttl: 5 } }]
  - name: as-lvs
    vip: 10.0.0.2:80
    scheduler: sh
    scheduler_flags: [sh-port]
    persistence: { timeout: 60s, mask: 24 }
    forward: tunnel
    idle_reset: false
    compat: lvs
    on_down: drop
    tunnel: { type: gue, port: 6081, checksum: csum, ttl: inherit }
    reals: [{ address: 10.0.1.1, weight: 2, upper: 9, lower: 3, forward: tunnel }]
";
    let mut problems = Problems::default();
    yaml::table_of(text, &mut problems);
    let told: Vec<&str> = problems
        .kept()
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    let of_service = [
        "slow_start",
        "mss_clamp",
        "idle_reset",
        "compat",
        "on_down",
        "limits.sessions",
        "timeouts.tcp",
        "tunnel.source",
        "tunnel.ttl",
    ];
    let of_service = of_service
        .map(|key| format!("services[0]: `far` has the key `{key}`, which ipvsadm has not"));
    let of_real =
        "services[0]: `far` has the key `reals[1].tunnel.ttl`, which ipvsadm has not".to_owned();
    assert_eq!(told, [&of_service[..], &[of_real]].concat());
    assert_eq!(problems.errors(), 0);
}
