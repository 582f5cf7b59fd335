//! Reloads on a data plane without workers, but with an ear on the commands that one would get.

use std::sync::atomic::AtomicU8;
use std::time::Duration;

use ahash::RandomState;
use plimsoll_dataplane::wire::Mac;
use plimsoll_dataplane::worker::commands;

use super::*;

const BASE: &str = r#"
version: 1
dataplane:
  cpus: [0]
  sessions: 100
  ports: [{ name: wan, device: net_null0, addresses: [192.0.2.2/24], kernel: true }]
network:
  routes: [{ to: 0.0.0.0/0, via: 192.0.2.1 }]
services:
  - name: web
    vip: 192.0.2.10:80
    protocol: tcp
    scheduler: rr
    forward: dr
    reals: [{ address: "192.0.2.21:80" }]
"#;

/// A device whose link the test decides: down, up, or not to be found out.
#[derive(Debug, Default)]
struct NoDevice(Arc<AtomicU8>);

const DOWN: u8 = 1;
const UP: u8 = 0;
const UNKNOWN: u8 = 2;

impl Device for NoDevice {
    fn driver(&self) -> String {
        "none".into()
    }

    fn link(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => None,
            link => Some(link == UP),
        }
    }

    fn counts(&self) -> DeviceCounts {
        DeviceCounts::default()
    }
}

/// A running load balancer with one worker that never polls, and the file that it was read from.
pub(crate) fn running() -> (Running, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), BASE).unwrap();
    let loaded = config::load(file.path()).unwrap_or_else(|e| panic!("{}", e.report(false)));
    let (device_specs, ports) = compile::ports(loaded.valid.start(), &[Mac([2, 0, 0, 0, 0, 1])]);
    let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
    let publisher = Publisher::new(builder.build(
        &compile::spec(&device_specs, &ports, loaded.valid.reload()),
        true,
    ));
    let running = Running::new(Parts {
        file: file.path().to_owned(),
        loaded,
        devices: vec![Box::<NoDevice>::default(), Box::<NoDevice>::default()],
        builder,
        publisher,
        workers: vec![WorkerHandle {
            cpu: 0,
            stats: Arc::new(WorkerStats::new(device_specs.len())),
            commands: commands(),
        }],
        ports,
        device_specs,
        start: Instant::now(),
        lost_log_lines: Arc::default(),
        runtime: RuntimeChanges::default(),
        keeper: Keeper::default(),
    });
    (running, file)
}

fn replace(file: &tempfile::NamedTempFile, from: &str, to: &str) {
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.contains(from));
    std::fs::write(file.path(), text.replace(from, to)).unwrap();
}

fn announced(running: &Running) -> Vec<(PortId, IpAddr)> {
    match running.workers()[0].commands.pop() {
        Some(Command::Announce(addresses)) => addresses,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_file_is_put_in_force_and_its_new_vips_are_announced() {
    let (mut running, file) = running();
    running.announce_all();
    assert_eq!(
        announced(&running),
        [(PortId::new(0), "192.0.2.10".parse().unwrap())]
    );

    // One VIP is on the port's network, the other is routed here.
    replace(
        &file,
        "services:",
        "services:
  - { name: near, vip: \"192.0.2.11:80\", protocol: tcp, scheduler: rr, forward: dr, reals: [] }
  - { name: far, vip: \"198.51.100.1:80\", protocol: tcp, scheduler: rr, forward: dr, reals: [] }",
    );
    let reload = running.reload(false);
    assert_eq!(
        (reload.result, reload.generation),
        (ReloadResult::Applied, 2)
    );
    assert_eq!(reload.changes.added.len(), 2);
    assert_eq!(running.snapshot().configured_services().count(), 3);
    assert_eq!(
        announced(&running),
        [(PortId::new(0), "192.0.2.11".parse().unwrap())]
    );

    let again = running.reload(false);
    assert_eq!(
        (again.result, again.generation),
        (ReloadResult::Unchanged, 2)
    );
    assert!(running.workers()[0].commands.is_empty());
    let counts: Vec<u64> = running.reloads().map(|(_, count)| count).collect();
    assert_eq!(counts, [1, 1, 0, 0]);
}

#[test]
fn a_broken_file_changes_nothing_and_is_reported_as_check_does() {
    let (mut running, file) = running();
    let before = Arc::clone(running.snapshot());
    replace(&file, "scheduler: rr", "scheduler: rrr");
    let reload = running.reload(false);
    assert_eq!(
        (reload.result, reload.generation),
        (ReloadResult::Invalid, 1)
    );
    let errors = config::load(file.path()).unwrap_err();
    assert_eq!(reload.report, errors.report(false));
    assert_eq!(reload.diagnostics, errors.to_json());
    assert!(Arc::ptr_eq(running.snapshot(), &before));

    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(running.reload(false).result, ReloadResult::Invalid);
    assert!(Arc::ptr_eq(running.snapshot(), &before));
}

#[test]
fn what_needs_a_restart_is_refused_as_a_whole() {
    let (mut running, file) = running();
    replace(&file, "sessions: 100", "sessions: 200");
    replace(&file, "scheduler: rr", "scheduler: lc");
    let reload = running.reload(false);
    assert_eq!(reload.result, ReloadResult::RestartNeeded);
    assert_eq!(reload.restart, ["dataplane.sessions 100 -> 200"]);
    assert!(reload.changes.is_empty());
    assert_eq!(running.snapshot().generation, 1);
    assert_eq!(running.session_capacity(), 100);
}

#[test]
fn a_worker_that_is_too_busy_is_not_waited_for() {
    let (mut running, _file) = running();
    while !running.list_sessions().is_empty() {}
    running.announce_all();
    assert!(running.now() <= Time::from_ms(0) + Duration::from_secs(60));
}

#[test]
fn a_reload_beside_other_work_is_the_same_and_none_is_overtaken() {
    let (running, file) = running();
    let shared: Shared = Arc::new(Mutex::new(running));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    replace(&file, "scheduler: rr", "scheduler: lc");
    let outcomes = runtime.block_on(async {
        let first = reload::reload(&shared, false);
        let second = reload::reload(&shared, false);
        tokio::join!(first, second)
    });
    let results = (outcomes.0.result, outcomes.1.result);
    assert_eq!(results, (ReloadResult::Applied, ReloadResult::Unchanged));
    replace(&file, "scheduler: lc", "scheduler: lcd");
    let broken = runtime.block_on(reload::reload(&shared, false));
    assert_eq!(broken.result, ReloadResult::Invalid);
    assert_eq!(lock(&shared).snapshot().generation, 2);
}

#[test]
fn many_vips_are_announced_in_portions() {
    let (mut running, file) = running();
    let near = (0..3000).map(|n| {
        let (a, b) = (n / 200, n % 200 + 1);
        format!(
            "\n  - {{ name: n{n}, vip: \"192.0.2.{b}:{}\", protocol: udp, scheduler: rr, forward: dr, reals: [] }}",
            a + 1
        )
    });
    let all: String = std::iter::once("services:".to_owned())
        .chain(near)
        .collect();
    replace(&file, "services:", &all);
    replace(&file, "192.0.2.2/24", "192.0.2.254/24");
    replace(&file, "via: 192.0.2.1 }", "via: 192.0.2.253 }");
    let loaded = config::load(file.path()).unwrap_or_else(|e| panic!("{}", e.report(false)));
    let delta = Difference::between(running.loaded().valid.reload(), loaded.valid.reload());
    let delta = compile::delta(&delta, running.now());
    running.change(&delta);
    // Two hundred addresses, however many services are on each, without the one that was there.
    assert_eq!(announced(&running).len(), 199);
    running.announcements = vec![(PortId::new(0), "192.0.2.10".parse().unwrap()); 20 * BATCH];
    running.announce_more();
    let batches = std::iter::from_fn(|| running.parts.workers[0].commands.pop()).count();
    assert_eq!(batches, MOST_BATCHES);
    running.announce_more();
    assert!(running.announcements.is_empty());
}

#[test]
fn a_link_that_cannot_be_asked_for_stays_as_it_was() {
    let (mut running, _file) = running();
    let link = Arc::<AtomicU8>::default();
    running.parts.devices[1] = Box::new(NoDevice(Arc::clone(&link)));
    let mut look = |now| {
        link.store(now, Ordering::Relaxed);
        let changed: Vec<usize> = running
            .look_at_links()
            .into_iter()
            .map(DeviceId::place)
            .collect();
        let up: Vec<bool> = running.ports().map(|port| port.is_up).collect();
        (changed, up)
    };
    assert_eq!(look(UNKNOWN), (vec![], vec![true, true]));
    assert_eq!(look(DOWN), (vec![1], vec![true, false]));
    assert_eq!(look(UNKNOWN), (vec![], vec![true, false]));
    assert_eq!(look(UP), (vec![1], vec![true, true]));
}

#[test]
fn workers_are_told_of_links_until_they_know() {
    let (mut running, _file) = running();
    let link = Arc::<AtomicU8>::default();
    running.parts.devices[1] = Box::new(NoDevice(Arc::clone(&link)));
    let told = |running: &Running| {
        let commands = &running.workers()[0].commands;
        std::iter::from_fn(|| commands.pop())
            .map(|command| match command {
                Command::Link { device, up } => (device, up),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    link.store(UP, Ordering::Relaxed);
    running.look_at_links();
    assert_eq!(told(&running), [], "all links are up at the start");
    link.store(DOWN, Ordering::Relaxed);
    running.look_at_links();
    running.look_at_links();
    assert_eq!(told(&running), [(DeviceId::new(1), false)]);
    // A queue that is full now is not for ever.
    let commands = Arc::clone(&running.workers()[0].commands);
    while commands.push(Command::Announce(Vec::new())).is_ok() {}
    link.store(UP, Ordering::Relaxed);
    running.look_at_links();
    while commands.pop().is_some() {}
    running.look_at_links();
    assert_eq!(told(&running), [(DeviceId::new(1), true)]);
}

#[test]
fn a_worker_that_was_told_alone_is_told_when_the_link_is_back() {
    let (mut running, _file) = running();
    let link = Arc::<AtomicU8>::default();
    running.parts.devices[1] = Box::new(NoDevice(Arc::clone(&link)));
    let stats = Arc::clone(&running.parts.workers[0].stats);
    running.parts.workers.push(WorkerHandle {
        cpu: 1,
        stats,
        commands: commands(),
    });
    let full = Arc::clone(&running.workers()[1].commands);
    while full.push(Command::Announce(Vec::new())).is_ok() {}
    for up in [DOWN, UP] {
        link.store(up, Ordering::Relaxed);
        running.look_at_links();
    }
    let told = std::iter::from_fn(|| running.workers()[0].commands.pop());
    let last = told.filter_map(|command| match command {
        Command::Link { up, .. } => Some(up),
        _ => None,
    });
    assert_eq!(last.last(), Some(true));
}

#[test]
fn a_port_that_comes_back_unsteered_is_no_longer_relied_on() {
    let (mut running, _file) = running();
    running.parts.device_specs[0].steered = true;
    running.change_devices();
    let generation = running.snapshot().generation;
    let mut replace = |number, steered| {
        let device = Box::new(NoDevice(Arc::default()));
        assert!(
            running
                .replace_device(DeviceId::new(number), device, steered)
                .is_some()
        );
        let snapshot = running.snapshot();
        (
            snapshot.devices[0].steered,
            snapshot.generation - generation,
        )
    };
    assert_eq!(replace(0, true), (true, 0));
    assert_eq!(replace(1, false), (true, 0), "it never was");
    assert_eq!(replace(0, false), (false, 1));
    // It was found out, and its driver may say what it likes.
    assert_eq!(replace(0, true), (false, 1));
}

#[test]
fn a_port_that_puts_packets_elsewhere_than_it_said_is_no_longer_relied_on() {
    let (mut running, _file) = running();
    running.parts.device_specs[0].steered = true;
    running.change_devices();
    let stats = Arc::clone(&running.parts.workers[0].stats);
    let steered = |running: &Running| running.snapshot().devices[0].steered;
    let queues = stats.queues(DeviceId::new(0)).unwrap();
    queues.placed.add(1000);
    queues.misplaced.add(20);
    assert!(running.check_steering().is_empty());
    queues.misplaced.add(63);
    assert!(running.check_steering().is_empty(), "too few to tell");
    assert!(steered(&running));
    let generation = running.snapshot().generation;
    queues.misplaced.add(1);
    let lost: Vec<String> = running
        .check_steering()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(lost, ["wan"]);
    assert!(!steered(&running));
    assert_eq!(running.snapshot().generation, generation + 1);
    queues.misplaced.add(1000);
    assert!(running.check_steering().is_empty(), "it is said once");
    // A reload does not bring it back.
    running.reload(false);
    assert!(!steered(&running));
}
