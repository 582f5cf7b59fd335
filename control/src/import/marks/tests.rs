//! What lines of nft and iptables become, and what is said of those that cannot be carried over.

use super::*;

/// The rules of mark 5 as items, for IPv4 and for IPv6, and what was told.
fn read(text: &str) -> ([Vec<String>; 2], Vec<String>) {
    let (marks, diagnostics) = Marks::read("test", text);
    let told = diagnostics
        .items()
        .iter()
        .filter(|item| !item.message.contains("says not where to"))
        .map(|item| item.message.clone())
        .collect();
    let rules = |v6| marks.rules(5, v6).iter().map(item).collect();
    ([rules(false), rules(true)], told)
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
    tells("-A OUTPUT -p tcp -j MARK --set-mark 5", "`OUTPUT` is not");
    for (line, wanted) in [
        ("tcp dport != 80 meta mark set 5", "what a packet is not"),
        (
            "tcp dport @web meta mark set 5",
            "a set that is not on this line",
        ),
        ("tcp dport { 80, 443 meta mark set 5", "no end"),
        ("tcp dport http meta mark set 5", "`http` is not a port"),
        (
            "icmp type 8 meta l4proto icmp meta mark set 5",
            "no protocol",
        ),
        (
            "tcp dport 80 meta mark set meta mark or 0x5",
            "`meta` is no mark",
        ),
        ("tcp dport 80 meta mark set 0", "`0` is no mark"),
        ("tcp dport 80 meta mark set 5 or 6", "some bits only"),
        ("ip daddr www.example.org meta mark set 5", "no address"),
        (
            "-A PREROUTING ! -d 10.0.0.1 -j MARK --set-mark 5",
            "what a packet is not",
        ),
        (
            "-A PREROUTING -j MARK --set-xmark 0x5/0xff",
            "some bits only",
        ),
        ("-A PREROUTING -j MARK --or-mark 5", "sets no mark"),
        ("-A PREROUTING -j MARK --set-mark", "lacks its value"),
    ] {
        tells(line, wanted);
        assert_eq!(read(line).0, [Vec::<String>::new(), Vec::new()], "{line}");
    }
}

#[test]
fn a_rule_without_a_destination_is_told_and_can_be_narrowed() {
    let line = "tcp dport 80 meta mark set 5";
    let (marks, diagnostics) = Marks::read("test", line);
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1));
    let narrow = marks.within(&[
        "10.0.9.0/24".parse().unwrap(),
        "2001:db8::/64".parse().unwrap(),
    ]);
    let items = |v6| narrow.rules(5, v6).iter().map(item).collect::<Vec<_>>();
    assert_eq!(
        items(false),
        ["{ protocol: tcp, to: \"10.0.9.0/24\", ports: [80] }"]
    );
    assert_eq!(
        items(true),
        ["{ protocol: tcp, to: \"2001:db8::/64\", ports: [80] }"]
    );
}

#[test]
fn what_nft_is_told_is_read_as_the_same_rules() {
    let line = "ip saddr 198.51.100.0/24 ip daddr 10.0.9.0/24 udp sport { 1-9, 11 } udp dport { 53 } meta mark set 5";
    let (marks, _) = Marks::read("test", line);
    let rules = marks.rules(5, false);
    let written: Vec<String> = rules.iter().map(|rule| nft_line(5, false, rule)).collect();
    let (again, told) = Marks::read("test", &written.join("\n"));
    assert_eq!(told.errors(), 0);
    assert_eq!(again.rules(5, false), rules);
    let (marks, _) = Marks::read("test", "ip6 daddr ::/0 meta mark set 5");
    let line = nft_line(5, true, &marks.rules(5, true)[0]);
    assert_eq!(
        line,
        "nft add rule ip6 plimsoll prerouting meta l4proto { tcp, udp, sctp } meta mark set 5"
    );
}
