//! What valid configurations become, and that every sample loads.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use plimsoll_control::config::{self, ValidConfig, valid};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::spec::policy::OnDown;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::RealSpec;
use plimsoll_dataplane::spec::target::{Target, Vip};
use plimsoll_dataplane::spec::timeouts::Timeouts;
use plimsoll_dataplane::wire::Mac;

mod compose;
mod hostile;
mod schema;

const SMALL: &str = "
version: 1
dataplane:
  ports: [{ name: wan, device: net_null0, addresses: [192.0.2.10/24] }]
services:
  - name: web
    vip: 192.0.2.80:80
    reals: [{ address: 192.0.2.22 }, { address: 192.0.2.21, weight: 0 }, { address: 192.0.2.23, forward: nat }]
";

fn samples() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .filter(|path| !path.ends_with("compose.yaml"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn valid(text: &str) -> ValidConfig {
    config::parse("test", text)
        .unwrap_or_else(|errors| panic!("{}", errors.report(false)))
        .valid
}

#[test]
fn every_sample_loads_without_a_warning() {
    let samples = samples();
    assert!(samples.len() >= 5);
    for (path, text) in samples {
        let loaded =
            config::load(&path).unwrap_or_else(|errors| panic!("{}", errors.report(false)));
        assert!(
            loaded.warnings.items().is_empty(),
            "{}",
            loaded.warnings.report(false)
        );
        assert_eq!(*loaded.text, *text);
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = valid(SMALL);
    let (start, reload) = (config.start(), config.reload());
    assert_eq!(start.cpus, None);
    assert_eq!(start.sessions_per_worker, 1_048_576);
    assert_eq!(start.hugepages, valid::Hugepages::Auto);
    assert_eq!(start.idle, valid::Idle::Poll);
    assert_eq!(start.memory_bytes, 512 << 20);
    assert_eq!(start.socket, Path::new("/run/plimsoll/plimsoll.sock"));
    assert_eq!(start.http, "127.0.0.1:9142".parse::<SocketAddr>().ok());
    assert_eq!(
        (start.ports[0].mtu_bytes, start.ports[0].kernel),
        (1500, false)
    );
    assert_eq!(reload.network.timeouts, Timeouts::DEFAULT);
    assert_eq!(reload.hash_key, None);
    let service = &reload.services[0];
    let vip = Vip {
        protocol: Protocol::Tcp,
        addresses: "192.0.2.80/32".parse().unwrap(),
        port: 80,
    };
    assert_eq!(service.target, Target::Vip(vip));
    assert_eq!(service.scheduler, SchedulerKind::Rr);
    assert_eq!(service.reals[0].forward, ForwardMethod::Direct);
}

#[test]
fn schedulers_have_their_flags_and_real_servers_their_thresholds() {
    let text = SMALL.replace(
        "    reals: [{ address: 192.0.2.22 }",
        "    scheduler: mh\n    scheduler_flags: [mh-fallback, mh-port]\n    reals: [{ address: 192.0.2.22, upper: 9, lower: 8 }",
    );
    let config = valid(&text);
    let service = &config.reload().services[0];
    assert_eq!(service.scheduler.to_string(), "mh (mh-fallback,mh-port)");
    let limits: Vec<_> = service
        .reals
        .iter()
        .map(|real| (real.limits.upper, real.limits.lower))
        .collect();
    assert_eq!(limits, [(9, 8), (0, 0), (0, 0)]);
    for (flags, shown) in [
        ("", "sh"),
        ("sh-port", "sh (sh-port)"),
        ("sh-fallback", "sh (sh-fallback)"),
    ] {
        let text = SMALL.replace(
            "    reals:",
            &format!("    scheduler: sh\n    scheduler_flags: [{flags}]\n    reals:"),
        );
        assert_eq!(
            valid(&text).reload().services[0].scheduler.to_string(),
            shown
        );
    }
}

#[test]
fn maglev_has_a_table_of_its_own_and_a_key_where_they_are_asked_for() {
    let scheduler = |maglev: &str| {
        let text = SMALL.replace(
            "    reals:",
            &format!("    scheduler: mh{maglev}\n    reals:"),
        );
        let text = format!("hash: {{ key: \"{}\" }}\n{text}", "01".repeat(16));
        valid(&text).reload().services[0].scheduler.to_string()
    };
    assert_eq!(scheduler(""), "mh");
    assert_eq!(scheduler("\n    maglev: { size: 4093 }"), "mh");
    assert_eq!(
        scheduler("\n    maglev: { size: 655373 }"),
        "mh of 655373 places"
    );
    assert_eq!(
        scheduler("\n    maglev: { keyed: true }"),
        "mh of 4093 places, keyed"
    );
}

#[test]
fn every_prime_from_251_to_655373_is_a_tables_size() {
    let is_valid = |size: u32| {
        let maglev = format!("    scheduler: mh\n    maglev: {{ size: {size} }}\n    reals:");
        config::parse("test", SMALL.replace("    reals:", &maglev)).is_ok()
    };
    // Linux's, and some beyond.
    for prime in [
        251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071, 257, 655_357, 655_373,
    ] {
        assert!(is_valid(prime), "{prime}");
    }
    for other in [
        0,
        1,
        2,
        241,
        250,
        252,
        253,
        4095,
        65_537 * 3,
        655_371,
        655_379,
    ] {
        assert!(!is_valid(other), "{other}");
    }
}

#[test]
fn slow_start_is_a_time_and_off_by_default() {
    let slow_start = |key: &str| {
        let text = SMALL.replace(
            "    reals:",
            &format!("    scheduler: wlc\n{key}    reals:"),
        );
        valid(&text).reload().services[0].slow_start_ms
    };
    assert_eq!(slow_start(""), 0);
    assert_eq!(slow_start("    slow_start: 90s\n"), 90_000);
}

#[test]
fn real_servers_keep_their_order_and_take_the_services_port() {
    let config = valid(SMALL);
    let reals = &config.reload().services[0].reals;
    let socket = |real: &RealSpec| SocketAddr::new(real.address, real.port).to_string();
    let addresses: Vec<String> = reals.iter().map(socket).collect();
    assert_eq!(
        addresses,
        ["192.0.2.22:80", "192.0.2.21:80", "192.0.2.23:80"]
    );
    assert_eq!(
        reals.iter().map(|real| real.weight).collect::<Vec<_>>(),
        [1, 0, 1]
    );
    assert_eq!(reals[2].forward, ForwardMethod::Nat);
}

#[test]
fn gateways_and_neighbours_know_their_port() {
    let text = "
version: 1
dataplane:
  ports:
    - { name: wan, device: '3B:00.0', addresses: [192.0.2.10/24] }
    - { name: lan, device: net_null1, addresses: ['2001:db8::1/64', 10.0.0.1/8] }
network:
  routes: [{ to: '::/0', via: '2001:db8::fe' }, { to: 0.0.0.0/0, via: 192.0.2.1 }]
  neighbors:
    - { address: 10.1.2.3, mac: 02:00:00:00:00:0B }
    - { address: 'fe80::1', mac: 02:00:00:00:00:0C, port: wan }
    - { address: 'fe80::1', mac: 02:00:00:00:00:0D, port: lan }
hash: { key: 00112233445566778899001122334455 }
";
    let config = valid(text);
    let network = &config.reload().network;
    let vias: Vec<IpAddr> = network.routes.iter().map(|route| route.via).collect();
    let expected = ["2001:db8::fe", "192.0.2.1"].map(|via| via.parse::<IpAddr>().unwrap());
    assert_eq!(vias, expected);
    // An address on a port's own network says itself which port's it is.
    assert!(network.routes.iter().all(|route| route.port.is_none()));
    let mac = |last| Mac([2, 0, 0, 0, 0, last]);
    let known: IpAddr = "10.1.2.3".parse().unwrap();
    assert_eq!(network.neighbours, [(known, mac(11))]);
    let of_link: IpAddr = "fe80::1".parse().unwrap();
    let of_links = [
        ((PortId::new(0), of_link), mac(12)),
        ((PortId::new(1), of_link), mac(13)),
    ];
    assert_eq!(network.link_neighbours, of_links);
    assert_eq!(config.start().ports[0].device, "0000:3b:00.0");
    assert_eq!(config.reload().hash_key.unwrap()[..2], [0x00, 0x11]);
}

#[test]
fn anchors_and_aliases_stand_for_what_they_name() {
    let text = "
version: 1
dataplane: { ports: [{ name: wan, device: net_null0, addresses: [192.0.2.10/24] }] }
services:
  - { name: http, vip: 192.0.2.80:80, reals: &pool [{ address: 192.0.2.21 }, { address: 192.0.2.22 }] }
  - { name: https, vip: 192.0.2.80:443, reals: *pool }
";
    let real = valid(text).reload().services[1].reals[1];
    let expected = SocketAddr::new(real.address, real.port).to_string();
    assert_eq!(expected, "192.0.2.22:443");
}

#[test]
fn off_is_accepted_for_what_this_version_does_not_carry() {
    let text = SMALL.replace(
        "    reals:",
        "    one_packet: false\n    tunnel: { type: ipip }\n    reals:",
    );
    let text = text.replace(
        "weight: 0",
        "weight: 0, upper: 0, lower: 0, forward: tunnel",
    );
    assert_eq!(valid(&text).reload().services.len(), 1);
}

#[test]
fn a_services_tunnel_is_that_of_its_real_servers_and_gue_has_a_port() {
    let gre = |checksum| TunnelKind::Gre { checksum };
    let gue = |port, checksum| TunnelKind::Gue { port, checksum };
    for (written, tunnel) in [
        ("{ type: ipip }", TunnelKind::Ipip),
        ("{ type: ipip, checksum: csum }", TunnelKind::Ipip),
        ("{ type: gre }", gre(false)),
        ("{ type: gre, checksum: csum }", gre(true)),
        ("{ type: gre, checksum: remcsum }", gre(false)),
        ("{ type: gue }", gue(6080, false)),
        ("{ type: gue, port: 5555 }", gue(5555, false)),
        ("{ type: gue, checksum: csum }", gue(6080, true)),
        ("{ type: gue, checksum: remcsum }", gue(6080, true)),
    ] {
        let text = SMALL.replace(
            "    reals:",
            &format!("    forward: tunnel\n    tunnel: {written}\n    reals:"),
        );
        let config = valid(&text);
        let reals = &config.reload().services[0].reals;
        assert!(!reals.is_empty());
        assert!(reals.iter().all(|real| real.tunnel == tunnel), "{written}");
        assert!(reals.iter().all(|real| real.tunnel_source.is_none()));
    }
}

#[test]
fn a_real_servers_tunnel_overrides_the_services_as_a_whole() {
    let text = SMALL
        .replace(
            "    reals:",
            "    forward: tunnel\n    tunnel: { type: gue, port: 5555, source: 192.0.2.10 }\n    reals:",
        )
        .replace("weight: 0", "weight: 0, tunnel: { type: gue }");
    let config = valid(&text);
    let reals = &config.reload().services[0].reals;
    let gue = |port| TunnelKind::Gue {
        port,
        checksum: false,
    };
    let of = |weight| {
        reals
            .iter()
            .find(|real| (real.weight == 0) == weight)
            .unwrap()
    };
    let (own, services) = (of(true), of(false));
    assert_eq!((own.tunnel, own.tunnel_source), (gue(6080), None));
    let source = "192.0.2.10".parse().ok();
    assert_eq!(
        (services.tunnel, services.tunnel_source),
        (gue(5555), source)
    );
}

#[test]
fn others_packets_are_routed_where_that_is_said_or_lvs_is_followed() {
    for (written, routed) in [
        ("", false),
        ("compat: lvs\n", true),
        ("network: { forwarding: true }\n", true),
        ("compat: lvs\nnetwork: { forwarding: false }\n", false),
    ] {
        let text = SMALL.replace("services:", &format!("{written}services:"));
        assert_eq!(
            valid(&text).reload().network.forwarding,
            routed,
            "{written}"
        );
    }
}

#[test]
fn a_segment_size_is_auto_or_a_number() {
    use MssClamp::{Auto, Bytes};
    for (written, clamp) in [
        ("", None),
        ("    mss_clamp: auto\n", Some(Auto)),
        ("    mss_clamp: 1360\n", Some(Bytes(1360))),
    ] {
        let text = SMALL.replace("    reals:", &format!("{written}    reals:"));
        let config = valid(&text);
        assert_eq!(config.reload().services[0].mss_clamp, clamp);
    }
    let text = SMALL.replace("    reals:", "    mss_clamp: 99\n    reals:");
    assert_eq!(config::parse("test", text).unwrap_err().errors(), 1);
}

#[test]
fn a_service_has_the_common_times_where_it_has_none_of_its_own() {
    let text = SMALL.replace(
        "    reals:",
        "    timeouts: { tcp: 1h, tcp_time_wait: 5s, sctp: 90s }\n    idle_reset: true\n    reals:",
    ) + "timeouts: { tcp: 10m, udp: 30s }\n";
    let config = valid(&text);
    let reload = config.reload();
    let service = &reload.services[0];
    assert!(service.policy.idle_reset);
    let seconds = |times: Timeouts| {
        let times: Vec<u32> = times.named().map(|(_, time)| time.0 / 1000).collect();
        times
    };
    let common = reload.network.timeouts;
    assert_eq!(seconds(common), [600, 120, 120, 30, 900]);
    assert_eq!(
        seconds(service.timeouts.over(common)),
        [3600, 120, 5, 30, 90]
    );
    let plain = valid(SMALL);
    let common = plain.reload().network.timeouts;
    assert_eq!(plain.reload().services[0].timeouts.over(common), common);
}

#[test]
fn a_service_may_have_so_many_sessions_at_most() {
    for (written, most) in [
        ("", None),
        ("limits: {}", None),
        ("limits: { sessions: 1500 }", Some(1500)),
        ("limits: { sessions: 200k }", Some(200_000)),
        ("limits: { sessions: 2M }", Some(2_000_000)),
    ] {
        let text = SMALL.replace("    reals:", &format!("    {written}\n    reals:"));
        let config = valid(&text);
        let service = &config.reload().services[0];
        assert_eq!(service.limits.sessions.map(std::num::NonZero::get), most);
    }
    let text = SMALL.replace(
        "    reals:",
        "    protocol: udp\n    one_packet: true\n    limits: { sessions: 1 }\n    reals:",
    );
    let loaded = config::parse("test", text).unwrap();
    let warnings = loaded.warnings.items();
    assert!(
        warnings
            .iter()
            .any(|one| one.path == "services[0].limits.sessions")
    );
}

#[test]
fn times_and_resets_of_a_service_are_checked() {
    for (written, path, message) in [
        (
            "timeouts: { udp: 25d }",
            "services[0].timeouts.udp",
            "expected a time from 1ms to 24d, found 25d",
        ),
        (
            "protocol: sctp\n    idle_reset: true",
            "services[0].idle_reset",
            "only TCP sessions can be reset",
        ),
    ] {
        let text = SMALL.replace("    reals:", &format!("    {written}\n    reals:"));
        let errors = config::parse("test", text).unwrap_err();
        let found: Vec<_> = errors
            .items()
            .iter()
            .map(|item| (item.path.as_str(), item.message.as_str()))
            .collect();
        assert_eq!(found, [(path, message)]);
    }
}

#[test]
fn there_are_no_more_workers_than_hops_can_be_counted() {
    for (workers, errors) in [(255, 0), (256, 1)] {
        let cpus: Vec<String> = (1..=workers).map(|cpu| cpu.to_string()).collect();
        let cpus = format!("dataplane:\n  cpus: [{}]", cpus.join(", "));
        let text = SMALL.replace("dataplane:", &cpus);
        let found = config::parse("test", text).map_or_else(|found| found.errors(), |_| 0);
        assert_eq!(found, errors, "{workers}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let text = format!("\u{feff}{}", SMALL.trim_start().replace('\n', "\r\n"));
    assert_eq!(valid(&text), valid(SMALL));
}

#[test]
fn the_fingerprint_is_that_of_the_text() {
    let print = |text: &str| config::parse("test", text).unwrap().fingerprint;
    assert_eq!(print(SMALL), print(SMALL));
    assert_ne!(print(SMALL), print(&format!("{SMALL}\n")));
}

#[test]
fn sessions_of_a_real_server_that_is_gone_end_as_is_said() {
    for (written, expected) in [
        ("", OnDown::Keep),
        ("    on_down: reset\n", OnDown::Reset),
        ("    on_down: reschedule\n", OnDown::Reschedule),
        ("    on_down: drop\n", OnDown::Drop),
        ("    compat: lvs\n", OnDown::Drop),
    ] {
        let text = SMALL.replace("    reals:", &format!("{written}    reals:"));
        let policy = valid(&text).reload().services[0].policy;
        assert_eq!(policy.on_down, expected, "{written}");
    }
}

#[test]
fn a_wrong_name_hides_no_other_mistake() {
    let twice = SMALL.split("services:").nth(1).unwrap();
    let text = |wrong: &str| format!("{wrong}{SMALL}{}", twice.trim_start_matches('\n'));
    let messages = |text: String| -> Vec<String> {
        let errors = config::parse("test", text).unwrap_err();
        errors
            .items()
            .iter()
            .map(|item| item.message.clone())
            .collect()
    };
    let alone = messages(text(""));
    assert_eq!(alone.len(), 2);
    for (wrong, message) in [
        (
            "compat: lsvv_x",
            "expected one of plimsoll, lvs, found `lsvv_x`",
        ),
        (
            "ipvs: { secure_tcp: x }",
            "expected one of off, auto, always, found `x`",
        ),
    ] {
        let found = messages(text(wrong));
        assert_eq!(found[0], message);
        assert_eq!(found[1..], alone);
    }
    let found = messages(text("").replacen("reals:", "forward: fullnat\n    reals:", 1));
    assert_eq!(found.len(), 3, "{found:?}");
    // What other balancers have elsewhere is no word of theirs here.
    for (line, message) in [
        ("scheduler: health", "expected one of rr, wrr"),
        ("protocol: fullnat", "expected one of tcp, udp, sctp"),
    ] {
        let found = messages(SMALL.replace("reals:", &format!("{line}\n    reals:")));
        assert!(found[0].starts_with(message), "{found:?}");
    }
    let found = messages(SMALL.replace("reals:", "helth: {}\n    reals:"));
    assert_eq!(found, ["health checking is not supported by this version"]);
}
