//! What lines of nft and iptables become, and what is said of those that cannot be carried over.

use super::super::yaml::item;
use super::*;

mod commands;
mod evaluated;

/// The rules of mark 5 as items, for IPv4 and for IPv6, and what was told.
fn read(text: &str) -> ([Vec<String>; 2], Vec<String>) {
    let (marks, diagnostics) = Marks::read("test", text);
    let told = diagnostics
        .items()
        .iter()
        .filter(|item| !item.message.contains("says not where to"))
        .map(|item| item.message.clone())
        .collect();
    let rules = |v6| items(&marks, 5, v6);
    ([rules(false), rules(true)], told)
}

fn items(marks: &Marks, mark: u32, v6: bool) -> Vec<String> {
    let ordered = marks.resolve(&[(mark, v6)]);
    ordered
        .iter()
        .flat_map(|(_, rules)| rules)
        .map(item)
        .collect()
}

#[track_caller]
fn becomes(text: &str, v4: &[&str], v6: &[&str]) {
    let (rules, told) = read(text);
    assert_eq!(rules, [v4, v6].map(<[&str]>::to_vec), "{text}");
    assert_eq!(told, Vec::<String>::new(), "{text}");
}

#[track_caller]
fn tells(text: &str, wanted: &str) {
    let (_, told) = read(text);
    assert!(told.iter().any(|what| what.contains(wanted)), "{told:?}");
}

#[test]
fn lines_of_nft_become_rules() {
    let both = ["{ protocol: tcp, ports: [80, 443] }"];
    becomes(
        "nft add rule inet m pre tcp dport { 80, 443 } meta mark set 5",
        &both,
        &["{ protocol: tcp, to: \"::/0\", ports: [80, 443] }"],
    );
    becomes(
        "nft add rule ip m pre tcp dport {80,443} counter mark set 0x00000005",
        &both,
        &[],
    );
    becomes(
        "table ip6 m {\n chain pre {\n  type filter hook prerouting priority mangle; policy accept;\n\
         \t\tip6 daddr 2001:db8::/32 udp dport 5000-5010 counter packets 3 bytes 9 meta mark set 0x5 accept\n }\n}\n",
        &[],
        &["{ protocol: udp, to: \"2001:db8::/32\", ports: [\"5000-5010\"] }"],
    );
    becomes(
        "add rule ip m pre ip saddr 198.51.100.7 ip daddr { 10.0.9.0/24, 10.0.8.1 } meta l4proto { tcp, udp } th dport 53 th sport 1-9 meta mark set 5 # web",
        &[
            "{ protocol: tcp, from: \"198.51.100.7/32\", to: \"10.0.9.0/24\", ports: [53], from_ports: [\"1-9\"] }",
            "{ protocol: tcp, from: \"198.51.100.7/32\", to: \"10.0.8.1/32\", ports: [53], from_ports: [\"1-9\"] }",
            "{ protocol: udp, from: \"198.51.100.7/32\", to: \"10.0.9.0/24\", ports: [53], from_ports: [\"1-9\"] }",
            "{ protocol: udp, from: \"198.51.100.7/32\", to: \"10.0.8.1/32\", ports: [53], from_ports: [\"1-9\"] }",
        ],
        &[],
    );
}

#[test]
fn lines_of_iptables_become_rules() {
    let ranges = ["{ protocol: tcp, to: \"10.0.0.0/24\", ports: [80, \"8000-8010\"] }"];
    for mark in ["--set-mark 5", "--set-xmark 0x5/0xffffffff"] {
        becomes(
            &format!(
                "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.0.0.0/24 -p tcp -m multiport \
                 --dports 80,8000:8010 -m comment --comment \"the web\" -j MARK {mark}\nCOMMIT\n"
            ),
            &ranges,
            &[],
        );
    }
    becomes(
        "ip6tables -t mangle -A PREROUTING -s 2001:db8::1/128 -p udp -m udp --dport 53 -j MARK --set-mark 5",
        &[],
        &["{ protocol: udp, from: \"2001:db8::1/128\", ports: [53] }"],
    );
}

#[test]
fn what_cannot_be_carried_over_is_told() {
    tells(
        "nft add rule ip m pre iifname eth0 tcp dport 80 meta mark set 5",
        "`iifname` is not carried over",
    );
    tells(
        "-A PREROUTING -i eth0 -p tcp -j MARK --set-mark 5",
        "`-i` is not",
    );
    for (line, wanted) in [
        (
            "tcp dport @web meta mark set 5",
            "a set that is not on this line",
        ),
        ("tcp dport { 80, 443 meta mark set 5", "no end"),
        ("tcp dport http meta mark set 5", "`http` is not a port"),
        ("meta mark set tcp dport map { 80 : 5 }", "`tcp` is no mark"),
        ("ip daddr www.example.org meta mark set 5", "no address"),
        ("-A PREROUTING -j MARK --set-mark", "lacks its value"),
        ("-A PREROUTING -j MARK", "sets no mark"),
        ("-D PREROUTING -j MARK --set-mark 5", "`-D` is not read"),
        (
            "*mangle\n:WEB - [0:0]\n-A WEB -j MARK --set-mark 5",
            "no rule here jumps to the chain `WEB`",
        ),
        (
            "-A OUTPUT -p tcp -j MARK --set-mark 5",
            "IPVS does not see the marks of the chain `OUTPUT`",
        ),
        (
            "-A FORWARD -p tcp -j MARK --set-mark 5",
            "IPVS does not see the marks of the chain `FORWARD`",
        ),
        (
            "table ip m {\n chain f {\n type filter hook forward priority mangle;\n tcp dport 80 meta mark set 5\n }\n}",
            "IPVS does not see the marks of the chain `f`",
        ),
        (
            "*nat\n-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE\nCOMMIT",
            "`MASQUERADE` is not carried over",
        ),
        (
            "-t nat -A POSTROUTING -j SNAT --to-source 192.0.2.1",
            "`SNAT` is not carried over",
        ),
        (
            "table ip n {\n chain post {\n type nat hook postrouting priority srcnat;\n ip saddr 10.0.0.0/8 masquerade\n }\n}",
            "`masquerade` is not carried over",
        ),
        (
            "-A INPUT -s 198.51.100.7 -j DROP",
            "rules that drop packets are not carried over (1)",
        ),
    ] {
        tells(line, wanted);
        assert_eq!(read(line).0, [Vec::<String>::new(), Vec::new()], "{line}");
    }
}

/// iptables takes options in any order.
#[test]
fn conditions_behind_the_target_count_as_those_before_it() {
    let then = "-A PREROUTING -d 10.0.9.0/24 -j MARK --set-mark 5";
    for target in ["DROP", "REJECT", "ACCEPT", "RETURN", "WEB"] {
        for table in ["raw", "mangle"] {
            let text = |rule: &str| {
                format!(
                    "*{table}\n:PREROUTING ACCEPT [0:0]\n:WEB - [0:0]\n-A WEB -j ACCEPT\n{rule}\n{then}\n"
                )
            };
            let before = read(&text(&format!("-A PREROUTING -s 0.0.0.0/1 -j {target}")));
            let rule = ["{ from: \"128.0.0.0/1\", to: \"10.0.9.0/24\" }"];
            assert_eq!(before.0[0], rule, "{target}");
            for behind in [
                format!("-A PREROUTING -j {target} -s 0.0.0.0/1"),
                format!("-j {target} -A PREROUTING -s 0.0.0.0/1"),
                format!("-s 0.0.0.0/1 -j {target} -A PREROUTING"),
            ] {
                assert_eq!(read(&text(&behind)), before, "{behind}");
            }
        }
    }
    let dropped = format!("-A PREROUTING -j REJECT --reject-with tcp-reset -s 0.0.0.0/1\n{then}");
    assert_eq!(
        read(&dropped).0[0],
        ["{ from: \"128.0.0.0/1\", to: \"10.0.9.0/24\" }"]
    );
    let translated = format!("-A PREROUTING -j DNAT --to-destination 10.0.0.1 -i eth0\n{then}");
    tells(&translated, "`-i` is not carried over");
    assert_eq!(read(&translated).0[0], ["{ to: \"10.0.9.0/24\" }"]);
    let both = "{ protocol: tcp, to: \"10.0.9.1/32\", ports: [80] }";
    for marking in [
        "-A PREROUTING -j MARK --set-mark 5 -d 10.0.9.1 -p tcp --dport 80",
        "-A PREROUTING -j MARK -d 10.0.9.1 --set-xmark 0x5/0xff -p tcp --dport 80",
        "-j MARK -p tcp --dport 80 --or-mark 5 -A PREROUTING -d 10.0.9.1",
        "-A PREROUTING -j CONNMARK -p tcp --set-mark 5 --dport 80 -d 10.0.9.1\n-A PREROUTING -j CONNMARK --restore-mark -p tcp",
    ] {
        becomes(marking, &[both], &[]);
    }
    tells(
        "-A PREROUTING -j CONNMARK --restore-mark -p tcp --mask 0xff",
        "some bits only",
    );
}

#[test]
fn options_may_be_joined_with_their_values() {
    for marking in [
        "-APREROUTING -d10.0.9.1 -ptcp --dport=80 -jMARK --set-mark=5",
        "iptables -tmangle -IPREROUTING --destination=10.0.9.1/32 -p tcp --dport 80 --jump=MARK --set-xmark=0x5/0xff",
    ] {
        becomes(
            marking,
            &["{ protocol: tcp, to: \"10.0.9.1/32\", ports: [80] }"],
            &[],
        );
    }
    tells("iptables -traw -DPREROUTING -jDROP", "`-D` is not read");
    let (_, diagnostics) = Marks::read("test", "-APREROUTING --dport=http -jMARK --set-mark=5");
    let problem = &diagnostics.items()[0];
    assert_eq!((problem.line, problem.column), (Some(1), Some(22)));
}

#[test]
fn what_changes_rules_that_are_there_is_told_in_any_table() {
    for table in ["raw", "mangle", "filter", "nat"] {
        for (option, rest) in [
            ("-D", "PREROUTING -s 10.0.0.1 -j DROP"),
            ("--delete", "PREROUTING 1"),
            ("-R", "PREROUTING 1 -j ACCEPT"),
            ("-E", "WEB OTHER"),
        ] {
            let wanted = format!("`{option}` is not read");
            tells(&format!("iptables -t {table} {option} {rest}"), &wanted);
            tells(&format!("*{table}\n{option} {rest}\nCOMMIT"), &wanted);
        }
    }
}

#[test]
fn values_that_cannot_be_read_are_told_where_a_packet_can_meet_them() {
    let chain = |lines: &str| {
        format!(
            "table ip m {{\n chain web {{\n tcp dport 80 meta mark set 5\n }}\n chain other {{\n accept\n }}\n\
             chain pre {{\n type filter hook prerouting priority mangle;\n{lines}\n jump web\n }}\n}}\n"
        )
    };
    for (rule, wanted) in [
        ("ip saddr @admins return", "`@admins` is a set"),
        (
            "ip saddr @admins counter packets 1 bytes 2 accept",
            "`@admins` is a set",
        ),
        ("ip saddr @admins drop", "`@admins` is a set"),
        ("ip saddr @admins jump other", "`@admins` is a set"),
        ("ip saddr @admins goto other", "`@admins` is a set"),
        ("tcp dport ssh return", "`ssh` is not a port"),
        ("meta mark { 1, 2 } return", "a set of marks is not read"),
        (
            "ip saddr vmap { 10.0.0.1 : return, 10.0.0.2 : jump other }",
            "a vmap is not read",
        ),
        ("ip saddr vmap @verdicts", "a vmap is not read"),
    ] {
        let text = chain(rule);
        let (rules, told) = read(&text);
        assert!(
            told.iter()
                .any(|what| what.contains(wanted)
                    && what.ends_with(": the rule is taken not to match")),
            "{rule}: {told:?}"
        );
        // What else there is goes on as it was.
        assert_eq!(rules[0], ["{ protocol: tcp, ports: [80] }"], "{rule}");
    }
    // Nothing happens to a packet here, or not on the way to a mark.
    for rule in [
        "ip saddr @admins counter",
        "ip saddr @admins log prefix \"drop\"",
    ] {
        assert_eq!(read(&chain(rule)).1, Vec::<String>::new(), "{rule}");
    }
    let elsewhere = "table ip f {\n chain in {\n type filter hook input priority filter;\n ip saddr @admins accept\n }\n}\n";
    assert_eq!(read(elsewhere).1, Vec::<String>::new());
    // A map calls all its chains.
    let map = "table ip m {\n chain a {\n accept\n }\n chain b {\n meta mark set 5\n }\n chain pre {\n\
               type filter hook prerouting priority mangle;\n ip saddr vmap { 10.0.0.1 : jump a, 10.0.0.2 : jump b }\n }\n}\n";
    tells(map, "a vmap is not read");
    assert_eq!(read(map).1.len(), 1, "{:?}", read(map).1);
    for rule in [
        "-A PREROUTING -s admins.example -j RETURN",
        "-A PREROUTING -s admins.example -j ACCEPT",
        "-A PREROUTING -s admins.example -j DROP",
        "-I PREROUTING 1 -s admins.example -j OTHER",
        "-A PREROUTING -s admins.example -g OTHER",
    ] {
        let text = format!(
            "*raw\n:PREROUTING ACCEPT [0:0]\n:OTHER - [0:0]\n:WEB - [0:0]\n{rule}\n-A PREROUTING -j WEB\n\
             -A WEB -p tcp --dport 80 -j MARK --set-mark 5\nCOMMIT\n"
        );
        tells(
            &text,
            "`admins.example` is no address or network: the rule is taken not to match",
        );
        assert_eq!(
            read(&text).0[0],
            ["{ protocol: tcp, ports: [80] }"],
            "{rule}"
        );
    }
    let filter = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s admins.example -j ACCEPT\nCOMMIT\n";
    assert_eq!(read(filter).1, Vec::<String>::new());
    tells(
        "-t nat -A POSTROUTING -s lan.example -j MASQUERADE",
        "`MASQUERADE` is not carried over",
    );
    tells(
        "table ip n {\n chain post {\n type nat hook postrouting priority srcnat;\n ip saddr @lan masquerade\n }\n}",
        "`masquerade` is not carried over",
    );
}

#[test]
fn rules_alone_that_mark_nothing_are_rules_of_their_chain_too() {
    let marks = "ip daddr 10.0.9.1 meta mark set 5";
    tells(
        &format!("ip saddr @admins return\n{marks}"),
        "`@admins` is a set",
    );
    let (rules, told) = read(&format!("ip saddr 0.0.0.0/1 return\n{marks}"));
    assert_eq!(rules[0], ["{ from: \"128.0.0.0/1\", to: \"10.0.9.1/32\" }"]);
    assert_eq!(told, Vec::<String>::new());
    // Another program's.
    becomes(
        &format!("ip route add 10.0.9.0/24 dev lo\nip rule add fwmark 1 lookup 100\n{marks}"),
        &["{ to: \"10.0.9.1/32\" }"],
        &[],
    );
}

#[test]
fn a_priority_beyond_all_numbers_is_the_last_or_the_first() {
    for priority in [
        "srcnat + 2147483647",
        "raw - 2147483647",
        "2147483647",
        "-2147483648",
    ] {
        let text = format!(
            "table ip m {{\n chain pre {{\n type filter hook prerouting priority {priority};\n\
             ip daddr 10.0.9.1 meta mark set 5\n }}\n}}\n"
        );
        becomes(&text, &["{ to: \"10.0.9.1/32\" }"], &[]);
    }
}

#[test]
fn chains_that_are_called_by_many_ways_take_no_long_time() {
    // 16 levels of chains, each called 20 times by the one before.
    let levels = |mark: &str| {
        let mut text = String::from("*mangle\n:PREROUTING ACCEPT [0:0]\n");
        for level in 0..16 {
            text.push_str(&format!(":L{level} - [0:0]\n"));
        }
        text.push_str("-A PREROUTING -j L0\n");
        for level in 0..15 {
            let next = level + 1;
            text.push_str(&format!("-A L{level} -j L{next}\n").repeat(20));
        }
        text.push_str(mark);
        text
    };
    assert_eq!(read(&levels("")), Default::default());
    tells(
        &levels("-A L15 -p tcp -j CONNMARK --set-mark 5\n"),
        "too many, or too entangled",
    );
}

#[test]
fn what_marks_nothing_that_ipvs_balances_is_passed_over() {
    for line in [
        "meta l4proto icmp meta mark set 5",
        "ip daddr 10.0.9.1 tcp dport 80 ct mark set 5",
        "-A PREROUTING -d 10.0.9.1 -p tcp -j CONNMARK --set-xmark 0x5/0xffffffff",
        "-A PREROUTING -d 10.0.9.1 -m conntrack --ctstate ESTABLISHED -j MARK --set-mark 5",
        "ip daddr 10.0.9.1 meta mark set 0",
    ] {
        becomes(line, &[], &[]);
    }
}

#[test]
fn bits_conditions_and_chains_are_worked_out() {
    let web = ["{ protocol: tcp, to: \"10.0.9.1/32\", ports: [80] }"];
    for text in [
        // Bits.
        "ip daddr 10.0.9.1 tcp dport 80 meta mark set meta mark or 0x5",
        "ip daddr 10.0.9.1 tcp dport 80 meta mark set mark and 0xffffff00 xor 0x5",
        "-A PREROUTING -d 10.0.9.1 -p tcp --dport 80 -j MARK --or-mark 5",
        "-A PREROUTING -d 10.0.9.1 -p tcp --dport 80 -j MARK --set-xmark 0x5/0xff",
        "-A PREROUTING -d 10.0.9.1 -p tcp --dport 80 -j MARK --set-xmark 0x4/0x4\n\
         -A PREROUTING -d 10.0.9.1 -p tcp --dport 80 -m mark --mark 0x4/0x4 -j MARK --set-xmark 0x1/0x1",
        // What is true of every first packet that IPVS sees.
        "-A PREROUTING -d 10.0.9.1 -p tcp -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -m tcp --dport 80 -j MARK --set-mark 5",
        // A connection's mark.
        "-A PREROUTING -d 10.0.9.1 -p tcp --dport 80 -j CONNMARK --set-mark 5\n-A PREROUTING -j CONNMARK --restore-mark",
        // Chains of one's own, their conditions, and what comes behind a jump.
        "*mangle\n:PREROUTING ACCEPT [0:0]\n:WEB - [0:0]\n[3:180] -A PREROUTING -d 10.0.9.0/24 -p tcp -j WEB\n\
         -A WEB ! -d 10.0.9.1 -j RETURN\n-A WEB -p tcp --dport 80 -j MARK --set-mark 5 -m comment --comment \"a -j MARK # b\"\nCOMMIT",
        "table inet m {\n set web {\n type inet_service\n elements = { 80,\n 443 }\n }\n chain pre {\n\
         type filter hook prerouting priority mangle; policy accept;\n ip daddr 10.0.9.1 jump web\n }\n\
         chain web {\n tcp dport 80 meta mark set 0x00000005 accept\n }\n}",
        "nft add table ip m; nft \"add chain ip m pre { type filter hook prerouting priority mangle; }\"; \
         nft add rule ip m pre ip daddr 10.0.9.1 tcp dport 80 meta mark set 5",
        // In the order of the hooks, whatever the order of the text.
        "-t mangle -A INPUT -d 10.0.9.1 -p tcp --dport 80 -j MARK --set-mark 5\n\
         -t mangle -A PREROUTING -d 10.0.9.1 -p tcp --dport 80 -j MARK --set-mark 6",
    ] {
        becomes(text, &web, &[]);
    }
    // What a packet is not.
    becomes(
        "tcp dport != 80 ip daddr 10.0.9.1 meta mark set 5",
        &["{ protocol: tcp, to: \"10.0.9.1/32\", ports: [\"0-79\", \"81-65535\"] }"],
        &[],
    );
    becomes(
        "-A PREROUTING ! -d 10.0.0.0/9 -p udp -j MARK --set-mark 5",
        &[
            "{ protocol: udp, to: \"0.0.0.0/5\" }",
            "{ protocol: udp, to: \"8.0.0.0/7\" }",
            "{ protocol: udp, to: \"10.128.0.0/9\" }",
            "{ protocol: udp, to: \"11.0.0.0/8\" }",
            "{ protocol: udp, to: \"12.0.0.0/6\" }",
            "{ protocol: udp, to: \"16.0.0.0/4\" }",
            "{ protocol: udp, to: \"32.0.0.0/3\" }",
            "{ protocol: udp, to: \"64.0.0.0/2\" }",
            "{ protocol: udp, to: \"128.0.0.0/1\" }",
        ],
        &[],
    );
}

#[test]
fn a_firewalls_own_family_is_the_programs_that_wrote_it() {
    let rule =
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j MARK --set-mark 5\nCOMMIT\n";
    let v6 = ["{ protocol: tcp, to: \"::/0\" }"];
    becomes(rule, &["{ protocol: tcp }"], &v6);
    becomes(
        &format!("# Generated by ip6tables-save v1.8.9\n{rule}"),
        &[],
        &v6,
    );
    becomes(
        &format!("# Generated by iptables-save v1.8.9\n{rule}"),
        &["{ protocol: tcp }"],
        &[],
    );
}

#[test]
fn chains_that_call_each_other_carry_no_mark() {
    let text = "*mangle\n:PREROUTING ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n-A PREROUTING -j A\n-A A -j B\n-A B -j A\n\
                -A A -j MARK --set-mark 5\n";
    tells(text, "chains call each other in a circle");
    assert_eq!(read(text).0, [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn too_much_is_told_and_not_worked_out() {
    let rule = |n: usize| {
        let (to, from) = (n / 200, n % 200);
        format!(
            "-A PREROUTING ! -s 10.0.{from}.0/24 ! -d 10.1.{to}.0/24 -p tcp --dport {n} --sport {n} -j MARK --set-mark {n}\n"
        )
    };
    let text: String = (1..4000).map(rule).collect();
    tells(&text, "too many, or too entangled");
}

#[test]
fn a_rule_without_a_destination_is_told_and_can_be_narrowed() {
    let line = "tcp dport 80 meta mark set 5";
    let (marks, diagnostics) = Marks::read("test", line);
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1));
    let narrow = marks.clone().within(&[
        "10.0.9.0/24".parse().unwrap(),
        "2001:db8::/64".parse().unwrap(),
    ]);
    assert_eq!(
        items(&narrow, 5, false),
        ["{ protocol: tcp, to: \"10.0.9.0/24\", ports: [80] }"]
    );
    assert_eq!(
        items(&narrow, 5, true),
        ["{ protocol: tcp, to: \"2001:db8::/64\", ports: [80] }"]
    );
}

#[test]
fn what_nft_is_told_is_read_as_the_same_rules() {
    let line = "ip saddr 198.51.100.0/24 ip daddr 10.0.9.0/24 udp sport { 1-9, 11 } udp dport { 53 } meta mark set 5";
    let (marks, _) = Marks::read("test", line);
    let rules = |marks: &Marks, v6| marks.resolve(&[(5, v6)]).remove(0).1;
    let written: Vec<String> = rules(&marks, false)
        .iter()
        .map(|rule| nft_line(5, false, rule))
        .collect();
    let (again, told) = Marks::read("test", &written.join("\n"));
    assert_eq!(told.errors(), 0);
    assert_eq!(rules(&again, false), rules(&marks, false));
    let (marks, _) = Marks::read("test", "ip6 daddr ::/0 meta mark set 5");
    let line = nft_line(5, true, &rules(&marks, true)[0]);
    assert_eq!(
        line,
        "nft add rule ip6 plimsoll prerouting meta l4proto { tcp, udp, sctp } meta mark set 5 accept"
    );
}
