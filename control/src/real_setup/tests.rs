//! What real servers of each method, tunnel and family are told, for each system.

use std::io::Write as _;
use std::process::{Command, Stdio};

use plimsoll_dataplane::wire::Mac;

use super::*;
use crate::{compile, config};

const BASE: &str = r#"
version: 1
dataplane:
  ports:
    - { name: wan, device: net_null0, addresses: [192.0.2.2/24, "2001:db8::2/64"] }
    - { name: lan, device: net_null1, addresses: [10.0.0.2/24], mtu: 9000 }
network:
  routes:
    - { to: 0.0.0.0/0, via: 192.0.2.1 }
    - { to: "::/0", via: "2001:db8::1" }
services:
"#;

/// The only service of a file whose end is `services`.
fn setup(services: &str, os: Os) -> RealSetup {
    let loaded = config::parse("f", format!("{BASE}{services}\n"));
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.report(false)));
    let (start, reload) = (loaded.valid.start(), loaded.valid.reload());
    let (_, ports) = compile::ports(start, &vec![Mac([0; 6]); start.ports.len()]);
    let routes = Routes::new(&ports, &reload.network.routes);
    let spec = reload.services.first().unwrap();
    let service = Service {
        name: &spec.name,
        target: &spec.target,
        mss_clamp: spec.mss_clamp,
        reals: &spec.reals,
    };
    real_setup(service, &ports, &routes, os)
}

/// The commands without the comments.
fn commands(setup: &RealSetup) -> Vec<String> {
    let text = setup.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn by_direct_routing_a_real_server_is_silent_before_it_has_the_address() {
    let of_v4 = setup(
        r#"  - { name: web, vip: "192.0.2.10:80", forward: dr, reals: [{ address: "192.0.2.21:80" }, { address: "192.0.2.22:80" }] }"#,
        Os::Debian,
    );
    assert_eq!(
        of_v4.text(),
        "# web (tcp 192.0.2.10:80) by dr, on each of: 192.0.2.21:80, 192.0.2.22:80\n\
         # It must serve port 80 of the virtual address: packets are not changed.\n\
         sysctl -w net.ipv4.conf.all.arp_ignore=1\n\
         sysctl -w net.ipv4.conf.all.arp_announce=2\n\
         ip addr replace 192.0.2.10/32 dev lo\n\
         # Only if the way back to clients is by another interface than the one (IFACE) that Plimsoll's packets come by:\n\
         # sysctl -w net.ipv4.conf.IFACE.rp_filter=2\n"
    );
    let of_v6 = setup(
        r#"  - { name: web, vip: "[2001:db8::10]:80", forward: dr, reals: [{ address: "[2001:db8::21]:80" }] }"#,
        Os::Debian,
    );
    assert_eq!(
        commands(&of_v6),
        ["ip -6 addr replace 2001:db8::10/128 dev lo nodad preferred_lft 0"]
    );
    let of_prefix = setup(
        r#"  - { name: web, vip: "192.0.2.64/28:0", forward: dr, reals: [{ address: 192.0.2.21 }] }"#,
        Os::Debian,
    );
    assert!(
        commands(&of_prefix).contains(&"ip route replace local 192.0.2.64/28 dev lo".to_owned())
    );
}

#[test]
fn by_a_tunnel_packets_are_taken_apart_and_sizes_are_told() {
    let service = |tunnel: &str, vip: &str, real: &str| {
        let text = format!(
            r#"  - {{ name: t, vip: "{vip}", forward: tunnel, tunnel: {{ {tunnel} }}, reals: [{{ address: "{real}" }}] }}"#
        );
        setup(&text, Os::Debian)
    };
    let ipip = service("type: ipip", "192.0.2.10:80", "10.0.0.21:80");
    assert_eq!(
        commands(&ipip),
        [
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2",
            "modprobe ipip",
            "ip link set tunl0 up",
            "sysctl -w net.ipv4.conf.all.rp_filter=0",
            "sysctl -w net.ipv4.conf.tunl0.rp_filter=0",
            "ip addr replace 192.0.2.10/32 dev lo",
        ]
    );
    assert!(
        ipip.text().contains("at most 8980 bytes"),
        "{}",
        ipip.text()
    );
    assert!(ipip.text().contains("advmss 8940"), "{}", ipip.text());
    let (v4, v6) = ("10.0.0.21:80", "[2001:db8::21]:80");
    let (vip4, vip6) = ("192.0.2.10:80", "[2001:db8::10]:80");
    for (tunnel, vip, real, command) in [
        ("type: ipip", vip6, v4, "ip link set sit0 up"),
        ("type: ipip", vip6, v6, "ip link set ip6tnl0 up"),
        (
            "type: ipip",
            vip4,
            v6,
            "ip link add plimsoll-ip6 type ip6tnl mode any local $LOCAL remote any",
        ),
        ("type: gre", vip4, v4, "ip link set gre0 up"),
        ("type: gre", vip6, v6, "ip link set ip6gre0 up"),
        (
            "type: gre, checksum: csum",
            vip4,
            v4,
            "type gre icsum local $LOCAL remote any",
        ),
        (
            "type: gue, port: 5555",
            vip4,
            v4,
            "ip fou add port 5555 gue",
        ),
        ("type: gue", vip6, v6, "ip -6 fou add port 6080 gue"),
    ] {
        let setup = service(tunnel, vip, real);
        let text = setup.text();
        assert!(text.contains(command), "{command}: {text}");
        assert!(text.contains("modprobe "), "{text}");
    }
    let gue = service("type: gue", vip6, v6);
    assert!(gue.text().contains("at most 1448 bytes"), "{}", gue.text());
}

#[test]
fn by_nat_the_way_back_leads_through_the_port_towards_the_real_server() {
    let near = setup(
        r#"  - { name: web, vip: "192.0.2.10:80", forward: nat, reals: [{ address: "10.0.0.21:8080" }] }"#,
        Os::Debian,
    );
    assert_eq!(commands(&near), ["ip route replace default via 10.0.0.2"]);
    let text = near.text();
    assert!(
        text.contains("# ip rule add from 10.0.0.21 table 100\n"),
        "{text}"
    );
    let far = setup(
        r#"  - { name: web, vip: "192.0.2.10:80", forward: nat, reals: [{ address: "198.51.100.1:80" }] }"#,
        Os::Debian,
    );
    assert_eq!(commands(&far), Vec::<String>::new());
    assert!(far.text().contains("behind 192.0.2.1"), "{}", far.text());
}

#[test]
fn each_method_and_tunnel_of_one_service_has_a_section_with_its_real_servers() {
    let setup = setup(
        r#"  - name: mixed
    vip: 192.0.2.10:80
    reals:
      - { address: "192.0.2.21:80", forward: dr }
      - { address: "10.0.0.22:80", forward: nat }
      - { address: "192.0.2.23:80", forward: dr }
      - { address: "10.0.0.24:80", forward: tunnel, tunnel: { type: gre } }
      - { address: "10.0.0.25:80", forward: tunnel }"#,
        Os::Debian,
    );
    let of = |section: &Section| {
        let reals = section.reals.iter().map(|real| real.to_string());
        (
            section.forward.clone(),
            section.tunnel.clone(),
            reals.collect::<Vec<_>>().join(" "),
        )
    };
    let sections: Vec<_> = setup.sections.iter().map(of).collect();
    let section = |forward: &str, tunnel: Option<&str>, reals: &str| {
        (
            forward.to_owned(),
            tunnel.map(str::to_owned),
            reals.to_owned(),
        )
    };
    assert_eq!(
        sections,
        [
            section("dr", None, "192.0.2.21:80 192.0.2.23:80"),
            section("nat", None, "10.0.0.22:80"),
            section("tunnel", Some("gre"), "10.0.0.24:80"),
            section("tunnel", Some("ipip"), "10.0.0.25:80"),
        ]
    );
}

#[test]
fn networkd_has_files_and_windows_no_tunnels() {
    let dr = r#"  - { name: web$1, vip: "192.0.2.10:80", forward: dr, reals: [{ address: "192.0.2.21:80" }] }"#;
    let files = setup(dr, Os::Networkd).text();
    for line in [
        "cat > /etc/systemd/network/50-plimsoll-lo.network.d/web-1.conf <<'EOF'\n[Address]\nAddress=192.0.2.10/32\nEOF\n",
        "net.ipv4.conf.all.arp_ignore=1\n",
        "networkctl reload\n",
    ] {
        assert!(files.contains(line), "{line}{files}");
    }
    let windows = setup(dr, Os::Windows);
    assert!(windows.is_possible());
    let text = windows.text();
    assert!(
        text.contains("netsh interface ipv4 add address \"plimsoll\" 192.0.2.10 255.255.255.255\n"),
        "{text}"
    );
    let tunnel = r#"  - { name: t, vip: "192.0.2.10:80", forward: tunnel, reals: [{ address: "10.0.0.21:80" }] }"#;
    let windows = setup(tunnel, Os::Windows);
    assert!(!windows.is_possible() && commands(&windows).is_empty());
    let none = setup(
        r#"  - { name: none, vip: "192.0.2.10:80", reals: [] }"#,
        Os::Debian,
    );
    assert_eq!(none.text(), "# none has no real servers.\n");
}

#[test]
fn rules_that_take_any_address_never_make_all_addresses_local() {
    let setup = setup(
        r#"  - name: any
    mark: 5
    match: [{ protocol: tcp, ports: [80] }, { protocol: tcp, to: 203.0.113.0/24 }]
    forward: dr
    reals: [{ address: "192.0.2.21" }]"#,
        Os::Debian,
    );
    let text = setup.text();
    assert!(text.contains("packets to any address"), "{text}");
    assert!(text.contains("ip route replace local 203.0.113.0/24 dev lo\n"));
    assert!(!text.contains("0.0.0.0/0"), "{text}");
}

#[test]
fn what_is_written_for_linux_is_valid_shell() {
    let services = [
        ("dr", "192.0.2.10:80", "192.0.2.21:80", ""),
        ("nat", "192.0.2.10:80", "10.0.0.21:80", ""),
        (
            "tunnel",
            "192.0.2.10:80",
            "[2001:db8::21]:80",
            "tunnel: { type: gue }, ",
        ),
        (
            "tunnel",
            "192.0.2.10:80",
            "10.0.0.21:80",
            "tunnel: { type: gre, checksum: csum }, ",
        ),
    ];
    for (forward, vip, real, tunnel) in services {
        for os in [Os::Debian, Os::Networkd] {
            let service = format!(
                r#"  - {{ name: "w'$(x)\"", vip: "{vip}", forward: {forward}, {tunnel}reals: [{{ address: "{real}" }}] }}"#
            );
            let text = setup(&service, os).text();
            let shell = Command::new("sh")
                .arg("-n")
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let mut shell = shell.unwrap();
            shell
                .stdin
                .take()
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            let output = shell.wait_with_output().unwrap();
            assert!(output.status.success(), "{text}{output:?}");
            // Its name stands in comments alone, and in the names of files without what a shell reads.
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            assert!(
                !lines.into_iter().any(|line| line.contains("$(x)")),
                "{text}"
            );
        }
    }
}
