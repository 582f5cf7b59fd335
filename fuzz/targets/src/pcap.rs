//! Any bytes as a capture, for the simulator.
//! What becomes of its frames is the pipeline's; here it is only counted.

use std::cell::RefCell;
use std::fs;

use plimsoll_control::simulate::{Faults, Plan, run};
use tempfile::TempDir;

const CONFIG: &str = "version: 1
dataplane:
  sessions: 64
  ports:
    - { name: eth0, device: net_null0, addresses: [10.0.0.1/24] }
    - { name: eth1, device: net_null1, addresses: [10.1.0.1/24] }
services:
  - name: web
    vip: 10.0.0.100:80
    protocol: tcp
    forward: nat
    reals: [{ address: \"10.1.0.11:80\" }]
";

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Simulates the capture. If it can be read, no frame of it is missing in the report.
pub fn pcap(data: &[u8]) {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| {
            let folder = tempfile::tempdir().expect("a folder for files");
            fs::write(folder.path().join("config.yaml"), CONFIG).expect("a configuration");
            folder
        });
        let path = |name: &str| folder.path().join(name);
        fs::write(path("in.pcap"), data).expect("a capture");
        let report = run(&Plan {
            config: path("config.yaml"),
            inputs: vec![("eth0".to_owned(), path("in.pcap"))],
            outputs: vec![("eth1".to_owned(), path("out.pcap"))],
            reloads: Vec::new(),
            end: None,
            sessions_per_worker: None,
            workers: 2,
            faults: Faults::default(),
        });
        if let Ok(report) = report {
            let counts = report.counts;
            let verdicts = counts.verdicts;
            assert_eq!(counts.arrived, report.frames_in);
            assert_eq!(verdicts.received, report.frames_in);
            assert_eq!(verdicts.handed_over, verdicts.taken_over);
        }
    });
}
