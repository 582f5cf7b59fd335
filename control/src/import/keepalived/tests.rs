//! keepalived.conf in, services and what is told out. The samples are what `keepalived --config-test` of 2.2.7
//! accepts, unless the test is about what it does not.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::table::{Method, Real, Service};
use super::*;
use crate::config;
use crate::config::diagnostics::{Problems, Severity};
use plimsoll_dataplane::listed::Listed as _;

mod mistakes;

/// Files in memory, by their whole paths; patterns may end in `*`.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, &'static str>);

impl Files for Memory {
    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_str().unwrap();
        let matches = |path: &&PathBuf| {
            let path = path.to_str().unwrap();
            match pattern.strip_suffix('*') {
                Some(beginning) => path.starts_with(beginning),
                None => path == pattern,
            }
        };
        Ok(self.0.keys().filter(matches).cloned().collect())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok((*text).to_owned())
    }
}

fn read(text: &str) -> Imported {
    import(
        Table::default(),
        (Path::new("k.conf"), text),
        &Memory::default(),
        None,
        None,
    )
}

/// The services' YAML.
fn services(imported: &Imported) -> &str {
    let at = 1 + imported.yaml.find("\nservices:").unwrap();
    &imported.yaml[at..]
}

fn told(imported: &Imported) -> Vec<String> {
    imported
        .diagnostics
        .iter()
        .flat_map(|file| file.items().iter().map(move |item| (file.name(), item)))
        .map(|(name, item)| {
            let severity = match item.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let number = |number: Option<u32>| number.map_or(String::new(), |n| n.to_string());
            format!(
                "{name}:{}:{} {severity} {}",
                number(item.line),
                number(item.column),
                item.message
            )
        })
        .collect()
}

/// Of a text that is keepalived's by what is behind it, too.
fn errors(text: &str) -> Vec<String> {
    let mut text = text.to_owned();
    if !familiar::is_familiar(&text) {
        text.push_str("\nglobal_defs {\n}\n");
    }
    let told = told(&read(&text)).into_iter();
    told.filter_map(|line| {
        Some(line.split_once(" error ")?.0.to_owned() + " " + line.split_once(" error ")?.1)
    })
    .collect()
}

const SAMPLE: &str = include_str!("../../../tests/keepalived/keepalived.conf");

#[test]
fn a_whole_file_becomes_its_services_with_real_servers_newest_first() {
    let imported = read(SAMPLE);
    assert_eq!(
        services(&imported),
        include_str!("../../../tests/keepalived/services.yaml")
    );
    assert!(
        imported
            .yaml
            .contains("timeouts: { tcp: 10m, tcp_fin: 1m, udp: 30s }\n")
    );
    assert_eq!(
        told(&imported).join("\n") + "\n",
        include_str!("../../../tests/keepalived/told.txt")
    );
    for line in include_str!("../../../tests/keepalived/told.txt").lines() {
        let (place, message) = line.split_once(" warning ").unwrap();
        let (place, _column) = place.rsplit_once(':').unwrap();
        let comment = format!("#   {place}: {message}\n");
        assert!(imported.yaml.contains(&comment), "{comment}");
    }
}

#[test]
fn what_is_carried_is_a_valid_configuration_with_a_base() {
    let base = "version: 1\n\
                dataplane: { ports: [{ name: lan, device: net_null0, addresses: [10.1.0.1/24], mtu: 1600 }] }\n";
    let base = Base::of(&config::parse("base", base).unwrap()).unwrap();
    let text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched sh\n sh-port\n lvs_method DR\n alpha\n\
                real_server 10.1.0.11 80 {\n TCP_CHECK {\n }\n }\n real_server 10.1.0.12 80 {\n weight 3\n }\n}\n";
    let imported = import(
        Table::default(),
        (Path::new("k"), text),
        &Memory::default(),
        None,
        Some(&base),
    );
    let loaded = config::parse("result", imported.yaml).unwrap();
    let service = &loaded.valid.reload().services[0];
    assert_eq!(service.scheduler.to_string(), "sh (sh-port)");
    let reals = service
        .reals
        .iter()
        .map(|real| (format!("{}:{}", real.address, real.port), real.weight));
    let expected = [("10.1.0.12:80", 3), ("10.1.0.11:80", 1)];
    assert!(reals.eq(expected.map(|(address, weight)| (address.to_owned(), weight))));
}

/// Each service with its real servers, as the table has them.
fn table(text: &str) -> Vec<(String, Vec<String>)> {
    let files = Memory::default();
    let mut reader = text::Reader::new(&files, None);
    assert!(reader.file(Path::new("k"), "k", text));
    let mut problems = Problems::default();
    let statements = tree::read(reader.tokens, &mut problems);
    let mut importer = Importer::new(problems, Table::default());
    importer.all(&statements);
    let service = |service: &Service| {
        let name = service.key.to_string();
        let real = |real: &Real| {
            let (address, Method { forward, tunnel }) = (real.address, real.method);
            let (kind, port, sum) = (tunnel.kind, tunnel.port, tunnel.checksum);
            format!(
                "{address} {} {} {port} {sum:?}",
                forward.name(),
                kind.name()
            )
        };
        (name, service.reals.iter().map(real).collect())
    };
    importer.table.services().iter().map(service).collect()
}

#[test]
fn marks_have_the_family_that_is_said_or_that_their_real_servers_have() {
    for (text, expected) in [
        (
            "virtual_server fwmark 7 {\n real_server 10.1.0.1 80 {\n }\n}\n",
            "mark 7",
        ),
        (
            "virtual_server fwmark 7 {\n real_server 2001:db8::1 80 {\n }\n}\n",
            "mark 7 of IPv6",
        ),
        (
            "virtual_server fwmark 7 {\n ip_family inet6\n lvs_method TUN\n real_server 10.1.0.1 80 {\n }\n}\n",
            "mark 7 of IPv6",
        ),
        (
            "virtual_server_group G {\n fwmark 7 inet6\n}\nvirtual_server group G {\n}\n",
            "mark 7 of IPv6",
        ),
    ] {
        assert_eq!(table(text)[0].0, expected, "{text}");
    }
}

#[test]
fn a_real_server_may_have_a_method_of_its_own() {
    let text = "virtual_server fwmark 7 {\n lvs_method TUN type gue port 5555 csum\n\
                real_server 10.1.0.1 80 {\n }\n\
                real_server 10.1.0.2 80 {\n lvs_method DR\n }\n\
                real_server 10.1.0.3 80 {\n lvs_method TUN type gre remcsum\n }\n}\n";
    assert_eq!(
        table(text)[0].1,
        [
            "10.1.0.3:80 tunnel gre 0 Remcsum",
            "10.1.0.2:80 dr ipip 0 None",
            "10.1.0.1:80 tunnel gue 5555 Csum",
        ]
    );
}

#[test]
fn a_virtual_server_without_real_servers_keeps_its_method() {
    for (method, keys) in [
        ("", "    forward: nat\n"),
        ("lvs_method DR\n", "    forward: dr\n"),
        (
            "lvs_method TUN type gue port 6080 csum\n",
            "    forward: tunnel\n    tunnel: { type: gue, port: 6080, checksum: csum }\n",
        ),
    ] {
        // One whose only real server is lost has none either.
        for real in ["", "real_server 127.0.0.1 80 {\n}\n"] {
            let head = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_sched wlc\n";
            let imported = read(&format!("{head}{method}{real}}}\n"));
            let yaml = services(&imported);
            let expected = format!("    scheduler: wlc\n{keys}    reals: []\n");
            assert!(yaml.ends_with(&expected), "{method}{real}: {yaml}");
        }
    }
}

/// The virtual addresses of a group that is used by a service.
fn vips(member: &str) -> Vec<String> {
    let text = format!(
        "virtual_server group G {{\n protocol TCP\n lvs_sched rr\n lvs_method DR\n}}\n\
         virtual_server_group G {{\n {member}\n}}\n"
    );
    let imported = read(&text);
    let lines = imported
        .yaml
        .lines()
        .filter_map(|line| line.trim().strip_prefix("vip: "));
    lines.map(|vip| vip.trim_matches('"').to_owned()).collect()
}

#[test]
fn ranges_of_a_group_are_written_out() {
    for (member, expected) in [
        ("10.0.0.1 80", &["10.0.0.1:80"][..]),
        (
            "10.0.0.9-11 80",
            &["10.0.0.9:80", "10.0.0.10:80", "10.0.0.11:80"],
        ),
        ("10.0.0.255-10.0.1.0 80", &["10.0.0.255:80", "10.0.1.0:80"]),
        ("10.0.0.8/31 80", &["10.0.0.8:80", "10.0.0.9:80"]),
        (
            "2001:db8::fe-ff 80",
            &["[2001:db8::fe]:80", "[2001:db8::ff]:80"],
        ),
        (
            "2001:db8::/127 80",
            &["[2001:db8::]:80", "[2001:db8::1]:80"],
        ),
    ] {
        assert_eq!(vips(member), expected, "{member}");
    }
    for member in [
        "10.0.0.9-8 80",
        "10.0.0.0/8 80",
        "10.0.0.1-256 80",
        "10.0.0.1-2001:db8::1 80",
        "10.0.0.1 65536",
    ] {
        assert!(vips(member).is_empty(), "{member}");
        let text = format!("virtual_server_group G {{\n {member}\n}}\n");
        assert_eq!(errors(&text).len(), 1, "{member}");
    }
}

#[test]
fn braces_may_stand_anywhere_and_comments_too() {
    let plain = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched rr\n lvs_method DR\n \
                 real_server 10.1.0.11 80 {\n weight 2\n }\n}\n";
    let expected = read(plain);
    assert!(expected.diagnostics.is_empty(), "{:?}", told(&expected));
    for other in [
        "virtual_server 10.0.0.1 80\n{\nprotocol TCP # x {\nlb_algo rr ! y }\nlb_kind DR\n\
         real_server 10.1.0.11 80\n{ weight 2 } }",
        "virtual_server 10.0.0.1 80{\n protocol \"tcp\"\n lvs_sched 'rr'\n lvs_method DR\n real_server 10.1.0.11 80{\n weight 2 }}",
        "$VIP=10.0.0.1\n$N=11\n$REAL=10.1.0.${N}\nvirtual_server $VIP 80 {\n protocol TCP\n lvs_sched rr\n lvs_method DR\n \
         real_server ${REAL} 80 {\n weight 2\n }\n}\n",
        "$RS=\\\n real_server 10.1.0.${N} 80 { \\\n weight ${W}\\\n }\n$W=2\n\
         virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched rr\n lvs_method DR\n ~SEQ(N, 11, 11) $RS\n}\n",
    ] {
        let imported = read(other);
        assert_eq!(services(&imported), services(&expected), "{other}");
        assert!(imported.diagnostics.is_empty(), "{:?}", told(&imported));
    }
}

#[test]
fn lines_for_one_machine_are_read_for_it_only() {
    let text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_method DR\n @one lvs_sched rr\n @^one lvs_sched lc\n}\n";
    for (id, scheduler) in [(Some("one"), "rr"), (Some("two"), "lc"), (None, "lc")] {
        let imported = import(
            Table::default(),
            (Path::new("k"), text),
            &Memory::default(),
            id,
            None,
        );
        assert!(services(&imported).contains(&format!("scheduler: {scheduler}\n")));
        let left_out = ["k:4:2 warning only read for `one`: left out".to_owned()];
        let expected = if id.is_none() { &left_out[..] } else { &[] };
        assert_eq!(told(&imported), expected);
    }
}

#[test]
fn a_definition_of_several_lines_may_be_for_one_machine() {
    let text = "@one $A=\\\n  lvs_sched sh \\\n  sh-port\n@two $A=\\\n  lvs_sched lc \\\n  lvs_method DR\n\
                virtual_server 10.0.0.1 80 {\n $A\n}\n";
    for (id, expected) in [
        (
            "one",
            "scheduler: sh\n    scheduler_flags: [sh-port]\n    forward: nat",
        ),
        ("two", "scheduler: lc\n    forward: dr"),
    ] {
        let (path, files) = (Path::new("k"), Memory::default());
        let imported = import(Table::default(), (path, text), &files, Some(id), None);
        assert!(
            services(&imported).contains(expected),
            "{}",
            services(&imported)
        );
    }
}

#[test]
fn words_that_keepalived_ignores_are_told() {
    let text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched rr lvs_method DR\n lvs_method NAT\n sh-port\n\
                real_server 10.1.0.1 80 tcp {\n weight 1 2\n }\n}\n";
    let told = told(&read(text)).into_iter();
    let ignored: Vec<String> = told.filter(|line| line.contains("ignored")).collect();
    assert_eq!(
        ignored,
        [
            "k.conf:3:15 warning `lvs_method` is ignored, as keepalived does",
            "k.conf:6:25 warning `tcp` is ignored, as keepalived does",
            "k.conf:7:11 warning `2` is ignored, as keepalived does",
        ]
    );
}

#[test]
fn sequences_and_lists_repeat_their_line() {
    for (line, expected) in [
        (
            "~SEQ(N, 2) 10.0.0.${N} 80",
            &["10.0.0.1:80", "10.0.0.2:80"][..],
        ),
        (
            "~SEQ(N, 5, -2, 2) 10.0.0.${N} 80",
            &["10.0.0.5:80", "10.0.0.3:80"],
        ),
        (
            "~SEQx(N, 0xf, 0x10) 2001:db8::$N 80",
            &["[2001:db8::f]:80", "[2001:db8::10]:80"],
        ),
        (
            "~LST({A, B}, {1,2}, {3,4}) 10.0.${A}.${B} 80",
            &["10.0.1.2:80", "10.0.3.4:80"],
        ),
        (
            "~LST(A, 1, 2) ~SEQ(B, 8, 9) 10.0.${A}.${B} 80",
            &["10.0.1.8:80", "10.0.1.9:80", "10.0.2.8:80", "10.0.2.9:80"],
        ),
    ] {
        assert_eq!(vips(line), expected, "{line}");
    }
    for line in [
        "~SEQ(N, 1, 0, 5) x",
        "~SEQ(N) x",
        "~SEQ(N, 0, 9999999) x",
        "~LST(N) x",
        "~LST({A,B}, 1) x",
        "~SEQ(N, 1",
    ] {
        assert_eq!(
            errors(line),
            ["k.conf:1:1 this block of values cannot be read"],
            "{line}"
        );
    }
}

#[test]
fn included_files_are_read_in_place_and_told_about_by_their_own_names() {
    let files = Memory(BTreeMap::from([
        ("/etc/k/conf.d/a".into(), "weight 5\ninclude ../more/x\n"),
        ("/etc/k/conf.d/b".into(), "weight 5\nwibble\n"),
        ("/etc/k/conf.d/../more/x".into(), "uthreshold 7\n"),
    ]));
    let text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_sched rr\n lvs_method DR\n real_server 10.1.0.11 80 {\n \
                include conf.d/*\n }\n}\ninclude nothing*\ninclude nothing\nincludem nothing\n";
    let imported = import(
        Table::default(),
        (Path::new("/etc/k/k.conf"), text),
        &files,
        None,
        None,
    );
    assert!(services(&imported).contains("{ address: 10.1.0.11:80, weight: 5, upper: 7 }"));
    assert_eq!(
        told(&imported),
        [
            "/etc/k/k.conf:9:1 warning no file matches `nothing*`",
            "/etc/k/k.conf:10:1 error no file matches `nothing`",
            "/etc/k/k.conf:11:1 error no file matches `nothing`",
            "/etc/k/conf.d/b:2:1 error `wibble` is no keyword of `real_server`",
        ]
    );
    let endless = Memory(BTreeMap::from([("/k".into(), "include k\n")]));
    let imported = import(
        Table::default(),
        (Path::new("/k"), "include k\n"),
        &endless,
        None,
        None,
    );
    let last = told(&imported).pop().unwrap();
    assert_eq!(last, "/k:1:1 error `k` is included too deep");
}

#[test]
fn a_file_that_is_no_keepalived_conf_is_neither_read_nor_shown() {
    let secret = "root:$6$saltsalt$Qm1Zr0pXl1:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n";
    let files = Memory(BTreeMap::from([("/k/shadow".into(), secret)]));
    let text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lvs_method DR\n lvs_sched rr\n include shadow\n}\n";
    let (id, base) = (None, None);
    let including = import(
        Table::default(),
        (Path::new("/k/k.conf"), text),
        &files,
        id,
        base,
    );
    assert_eq!(
        told(&including),
        [
            "/k/k.conf:5:2 error `/k/shadow` does not look like a part of keepalived.conf: nothing of it is read or shown"
        ]
    );
    let itself = read(secret);
    for imported in [&including, &itself] {
        let mut shown = imported.yaml.clone();
        for file in &imported.diagnostics {
            shown += &file.report(false);
        }
        assert!(
            !shown.contains("6$salt") && !shown.contains("daemon"),
            "{shown}"
        );
    }
    let told = told(&itself);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("does not look like keepalived.conf"),
        "{told:?}"
    );
}

#[test]
fn a_part_of_a_block_that_is_not_carried_need_not_be_known() {
    let files = Memory(BTreeMap::from([(
        "/k/vips".into(),
        "10.0.0.1/24 dev eth0 label x\n",
    )]));
    let text = "vrrp_instance V\n{\n virtual_ipaddress {\n include vips\n }\n}\ninclude more\n";
    let imported = import(
        Table::default(),
        (Path::new("/k/k.conf"), text),
        &files,
        None,
        None,
    );
    assert_eq!(
        told(&imported),
        [
            "/k/k.conf:1:1 warning `vrrp_instance` is not carried over",
            "/k/k.conf:7:1 error no file matches `more`",
        ]
    );
}

#[test]
fn files_that_include_each_other_end() {
    let files = Memory(BTreeMap::from([
        ("/k/a".into(), "include *\ninclude *\n"),
        ("/k/b".into(), "include *\ninclude *\n"),
    ]));
    let imported = import(
        Table::default(),
        (Path::new("/k/a"), "include *\n"),
        &files,
        None,
        None,
    );
    let told = told(&imported);
    assert!(
        told.iter()
            .any(|line| line.ends_with("`*` is included too deep"))
    );
}
