//! Texts that an operator gives: configurations, and what is imported.
//! Nothing here opens a file that a text names.

use std::io;
use std::path::{Path, PathBuf};

use ahash::RandomState;
use plimsoll_control::compile;
use plimsoll_control::config::{self, Diagnostics, Loaded};
use plimsoll_control::import::keepalived::Files;
use plimsoll_control::import::{self, Base, Marks, Sysctls, Table};
use plimsoll_control::runtime::RuntimeChanges;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::wire::Mac;

/// Services of a configuration that is built at most: some schedulers' tables take long to fill.
const MOST_BUILT: usize = 4;
/// A configuration for what is imported.
const BASE: &str = "version: 1\ndataplane: { ports: [{ name: eth0, device: net_null0, \
                    addresses: [10.0.0.1/24, \"2001:db8::1/64\"] }] }\n";

fn utf8(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Whatever is told can be shown.
fn show(diagnostics: &Diagnostics) {
    let shown = diagnostics.report(false);
    for item in diagnostics.items() {
        assert!(!item.message.is_empty() && !shown.is_empty(), "{item:?}");
    }
}

fn base() -> Base {
    let loaded = config::parse("base.yaml", BASE).expect("it is valid");
    Base::of(&loaded).expect("it is a mapping")
}

/// What a daemon has kept is read, and kept again.
pub fn state(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    match RuntimeChanges::read(text) {
        Ok(changes) => {
            let kept = changes.write();
            assert_eq!(RuntimeChanges::read(&kept), Ok(changes));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A configuration is read, checked, compiled, built and exported.
pub fn config(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let loaded = match config::parse("fuzz.yaml", text) {
        Ok(loaded) => loaded,
        Err(errors) => return show(&errors),
    };
    show(&loaded.warnings);
    let Loaded { valid, .. } = &loaded;
    let macs: Vec<_> = (0_u8..255)
        .zip(&valid.start().ports)
        .map(|(index, _)| Mac([2, 0, 0, 0, index, 1]))
        .collect();
    if macs.len() == valid.start().ports.len() {
        let (devices, ports) = compile::ports(valid.start(), &macs);
        let spec = compile::spec(&devices, &ports, valid.reload());
        if spec.services.len() <= MOST_BUILT {
            Builder::new(2, &RandomState::with_seeds(1, 2, 3, 4)).build(&spec, true);
        }
    }
    let exported = import::export("fuzz.yaml", &loaded);
    show(&exported.diagnostics);
    let again = import::import(Table::default(), "exported", &exported.lines, None);
    if exported.marks.is_empty() {
        assert_eq!(again.diagnostics.errors(), 0, "{}", exported.lines);
    }
}

/// Rules of `ipvsadm -Sn`.
pub fn import_ipvsadm(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let imported = import::import(Table::default(), "fuzz.rules", text, Some(&base()));
    show(&imported.diagnostics);
    again(&imported.yaml);
}

/// A configuration that an import has made can at least be told about.
fn again(yaml: &str) {
    match config::parse("imported.yaml", yaml) {
        Ok(loaded) => show(&loaded.warnings),
        Err(errors) => show(&errors),
    }
}

/// The files that a keepalived.conf includes: every one is the same text.
struct Same<'a>(&'a str);

impl Files for Same<'_> {
    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![pattern.to_owned()])
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.to_owned())
    }
}

/// A keepalived.conf, with a second file, which all of its `include`s name, behind a NUL.
pub fn import_keepalived(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let (text, included) = text.split_once('\0').unwrap_or((text, ""));
    let path = Path::new("/etc/keepalived/keepalived.conf");
    let files = Same(included);
    let imported = import::keepalived::import(
        Table::default(),
        (path, text),
        &files,
        Some("a"),
        Some(&base()),
    );
    imported.diagnostics.iter().for_each(show);
    again(&imported.yaml);
}

/// What nft or iptables-save prints, under a service of a mark.
pub fn import_marks(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let (marks, diagnostics) = Marks::read("fuzz.nft", text);
    show(&diagnostics);
    let mut table = Table::default();
    table.marks = marks;
    let rules = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.9:0 -g\n-A -f 2 -6 -s rr\n";
    let imported = import::import(table, "rules", rules, Some(&base()));
    show(&imported.diagnostics);
    again(&imported.yaml);
}

/// What `sysctl -a` prints.
pub fn import_sysctl(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let (sysctls, diagnostics) = Sysctls::read("fuzz.sysctl", text);
    show(&diagnostics);
    let rules = "-A -t 10.0.0.100:80 -s rr\n";
    let mut table = Table::default();
    table.sysctls = sysctls;
    let imported = import::import(table, "rules", rules, Some(&base()));
    again(&imported.yaml);
}
