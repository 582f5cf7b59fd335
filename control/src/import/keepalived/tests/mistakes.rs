//! What is told of mistakes, of what is taken for granted and of what stands there twice.

use super::*;

#[test]
fn every_mistake_has_a_line_a_column_and_what_was_expected() {
    let with = |line: &str| {
        format!(
            "virtual_server 10.0.0.1 80 {{\n protocol TCP\n lvs_sched rr\n lvs_method DR\n {line}\n}}\n"
        )
    };
    for (line, expected) in [
        ("wibble", "5:2 `wibble` is no keyword of `virtual_server`"),
        (
            "lvs_method dr",
            "5:13 `dr` is not a forwarding method: the service is left out",
        ),
        (
            "lvs_method TUN type vxlan",
            "5:22 `vxlan` is not a tunnel type: the service is left out",
        ),
        (
            "lvs_method TUN type gue",
            "5:22 a GUE tunnel has a port, and no other has: the service is left out",
        ),
        (
            "lvs_method TUN type gre port 9",
            "5:22 a GUE tunnel has a port, and no other has: the service is left out",
        ),
        (
            "lvs_method TUN nosum",
            "5:17 `nosum` is no setting of a tunnel: the service is left out",
        ),
        (
            "lvs_method",
            "5:2 `lvs_method` lacks its value: the service is left out",
        ),
        (
            "protocol ICMP",
            "5:11 `ICMP` is not a protocol: the service is left out",
        ),
        (
            "persistence_timeout x",
            "5:22 `x` is not a number of seconds",
        ),
        (
            "ip_family inet4",
            "5:12 `inet4` is not a family of addresses",
        ),
        (
            "sh-port",
            "5:2 `sh-port` is not a flag of the scheduler `rr`",
        ),
        ("delay_loop -1", "5:13 `-1` is not a time"),
        ("connect_timeout 1e9", "5:18 `1e9` is not a time"),
        ("real_server x 80 {\n}", "5:14 `x` is not an address"),
        (
            "real_server 10.1.0.1 http {\n}",
            "5:23 `http` is not a port",
        ),
        (
            "real_server 2001:db8::1 80 {\n}",
            "5:14 Different address family is allowed only for tunneling servers",
        ),
        (
            "real_server 10.1.0.1 80 {\nweight -1\n}",
            "6:8 `-1` is not a weight",
        ),
        (
            "real_server 10.1.0.1 80 {\nlthreshold 3\n}",
            "5:14 the lower threshold 3 is above the upper one, 0",
        ),
        (
            "real_server 10.1.0.1 80 {\nTCP_CHECK {\nretry x\n}\n}",
            "7:7 `x` is not a number",
        ),
        ("\"open", "5:2 this quote is not closed"),
        ("}", "6:1 this `}` closes nothing"),
        ("real_server 10.1.0.1 80 {", "1:28 this block is not closed"),
        ("$A=$A\n$A", "6:1 parameters make too much of this line"),
        ("$A=x${A}\n$A", "6:1 parameters make too much of this line"),
    ] {
        assert_eq!(
            errors(&with(line)),
            [format!("k.conf:{expected}")],
            "{line}"
        );
    }
    for (text, expected) in [
        ("virtual_server\n", "1:1 `virtual_server` lacks its value"),
        (
            "virtual_server web 80 {\n}\n",
            "1:16 `web` is not an address",
        ),
        (
            "virtual_server group {\n}\n",
            "1:16 `group` lacks its value",
        ),
        (
            "virtual_server group G {\n}\n",
            "1:22 there is no group `G`",
        ),
        (
            "virtual_server fwmark 0 {\n}\n",
            "1:23 `0` is not a firewall mark",
        ),
        (
            "virtual_server_group G {\n}\nvirtual_server_group G {\n}\n",
            "3:22 the group `G` is here twice",
        ),
        (
            "wibble\n",
            "1:1 `wibble` is no keyword of `keepalived.conf`",
        ),
        (
            "global_defs {\nlvs_timeouts sctp 3\n}\n",
            "2:14 `sctp` is not a timeout",
        ),
        ("{\n}\n", "1:1 this block belongs to nothing"),
    ] {
        assert_eq!(errors(text), [format!("k.conf:{expected}")], "{text}");
    }
}

#[test]
fn what_keepalived_takes_for_granted_is_told() {
    let imported = read("virtual_server 10.0.0.1 {\n persistence_granularity 24\n}\n");
    // What this version does not carry comes after it.
    assert_eq!(
        told(&imported)[..4],
        [
            "k.conf:1:16 warning no protocol is set, and keepalived takes UDP then",
            "k.conf:1:16 warning no scheduler is set, and keepalived takes wlc then",
            "k.conf:1:16 warning no forwarding method is set, and keepalived takes NAT then",
            "k.conf:1:16 warning all ports are for persistent services only, so keepalived makes it one",
        ]
    );
    let yaml = services(&imported);
    for expected in [
        "protocol: udp",
        "scheduler: wlc",
        "persistence: { timeout: 6m, mask: 24 }",
    ] {
        assert!(yaml.contains(expected), "{yaml}");
    }
}

#[test]
fn a_second_of_the_same_is_left_out_as_keepalived_does() {
    let text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched rr\n lvs_method NAT\n ops\n\
                real_server 10.1.0.1 80 {\n weight 2\n }\n real_server 10.1.0.1 {\n weight 3\n }\n}\n\
                virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched lc\n lvs_method NAT\n}\n";
    let imported = read(text);
    assert_eq!(services(&imported).matches("name:").count(), 1);
    assert!(services(&imported).contains("      - { address: 10.1.0.1:80, weight: 2 }\n"));
    assert!(!services(&imported).contains("weight: 3"));
    assert_eq!(errors(text), ["k.conf:13:16 Service already exists"]);
    assert!(!services(&imported).contains("one_packet"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "(virtual_server(_group)? |real_server |include |fwmark |group G|[$~@{}\"'\\\\#!=]|SEQ\\(A,1,9\\)|\
                 [A-Z]{1,2}|10\\.0\\.0\\.[0-9]|::[0-9]|[-/][0-9]|[a-z_]{1,9} |(HTTP_GET|url|weight|retry|lvs_method|TUN) |\n|\\PC){0,40}",
    ) {
        let imported = read(&format!("global_defs {{\n}}\n{text}"));
        for file in &imported.diagnostics {
            prop_assert!(!file.report(false).is_empty());
        }
    }
}
