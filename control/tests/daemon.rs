//! The daemon from start to end, on ports that lead nowhere: no root and no NIC.
//! What it does with packets is tested elsewhere.

#![cfg(test)]

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

#[path = "daemon/log.rs"]
mod log;
#[path = "daemon/looking.rs"]
mod looking;
#[path = "daemon/orders.rs"]
mod orders;

/// A daemon's files, and the daemon if one runs.
struct Place {
    directory: tempfile::TempDir,
    http: u16,
    daemon: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Place {
    fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            http: free.local_addr().unwrap().port(),
            daemon: None,
        };
        fs::create_dir(place.path("run")).unwrap();
        place.write(&place.config());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> String {
        let socket = self.path("run/control.sock");
        let (socket, state, http) = (socket.display(), self.path("state"), self.http);
        let state = state.display();
        format!(
            r#"version: 1
dataplane:
  cpus: [0]
  sessions: 1024
  memory: {{ hugepages: off, size: 64MiB }}
  ports:
    - {{ name: wan, device: "net_null0,no-rx=1", addresses: [192.0.2.2/24] }}
    - {{ name: lan, device: "net_null1,no-rx=1", addresses: [10.0.0.2/24, "2001:db8::2/64"], mtu: 9000 }}
control: {{ socket: {socket}, http: "127.0.0.1:{http}", state: {state} }}
services:
  - name: web
    vip: 192.0.2.10:80
    protocol: tcp
    scheduler: rr
    forward: dr
    reals: [{{ address: "10.0.0.21:80" }}, {{ address: "10.0.0.22:80", weight: 3 }}]
"#
        )
    }

    fn write(&self, text: &str) {
        fs::write(self.path("config.yaml"), text).unwrap();
    }

    fn spawn(&self) -> Child {
        let log = fs::File::create(self.path("log")).unwrap();
        self.command().stderr(log).spawn().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsolld"));
        command
            .arg("--config")
            .arg(self.path("config.yaml"))
            .stdin(Stdio::null());
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts the daemon and waits until it answers.
    fn start(&mut self) {
        self.daemon = Some(self.spawn());
        self.wait_until_it_answers();
    }

    /// Starts the daemon with its log elsewhere, and waits until it answers.
    fn start_logging_to(&mut self, log: impl Into<Stdio>) {
        self.daemon = Some(self.command().stderr(log).spawn().unwrap());
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.ask(&["list"]).status.success() {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "{ended:?}: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .arg("--socket")
            .arg(self.path("run/control.sock"))
            .args(words)
            .output()
            .unwrap()
    }

    fn answer(&self, words: &[&str]) -> String {
        let output = self.ask(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.answer(&[words, &["-o", "json"]].concat())).unwrap()
    }

    fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        let head = "HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        write!(stream, "{request} {head}").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn signal(&self, signal: Signal) {
        let id = self.daemon.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Stops the daemon, until all of its threads have: one that runs on another CPU does so a little later.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let id = self.daemon.as_ref().unwrap().id();
        let stops = |task: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        };
        let tasks = || fs::read_dir(format!("/proc/{id}/task")).unwrap();
        while !tasks().all(stops) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(&mut self) -> ExitStatus {
        wait(&mut self.daemon.take().unwrap())
    }
}

fn wait(daemon: &mut Child) -> ExitStatus {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = daemon.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_answers_while_it_runs_and_leaves_nothing_behind() {
    let mut place = Place::new();
    place.start();
    let socket = place.path("run/control.sock");
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o660
    );
    assert_eq!(
        place.answer(&["list"]),
        "IP Virtual Server version 1.2.1 (size=1024)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  192.0.2.10:80 rr\n  \
         -> 10.0.0.21:80                 Route   1      0          0         \n  \
         -> 10.0.0.22:80                 Route   3      0          0         \n"
    );
    assert!(place.answer(&["list", "--stats"]).contains("InPkts"));
    assert_eq!(place.answer(&["list", "--sessions"]).lines().count(), 2);
    assert_eq!(
        place.json(&["list"])["services"][0]["reals"][1]["weight"],
        3
    );
    assert_eq!(
        place.json(&["list", "--sessions"])["sessions"],
        Value::Array(Vec::new())
    );
    assert_eq!(place.json(&["drops"])["drops"], serde_json::json!({}));
    assert!(place.answer(&["drops", "--all"]).contains("no_session"));
    let page = place.http("GET /metrics");
    assert!(page.contains("plimsoll_snapshot_generation 1\n"), "{page}");
    assert!(
        place
            .http("POST /api/v1/reload")
            .starts_with("HTTP/1.1 403"),
        "changes are for the control socket"
    );

    place.stop();
    let output = place.ask(&["--timeout", "100ms", "list"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    place.signal(Signal::CONT);

    place.signal(Signal::TERM);
    assert!(place.end().success(), "{}", place.log());
    assert!(!socket.exists());
    let output = place.ask(&["list"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        errors(&output).contains("plimsolld --config"),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_reload_is_all_or_nothing_and_says_what_it_did() {
    let mut place = Place::new();
    place.start();
    let good = place.config();
    assert!(place.answer(&["reload"]).contains("in force already"));

    place.write(&good.replace("weight: 3", "weight: 0"));
    let said = place.answer(&["reload"]);
    assert!(
        said.contains("weight of 10.0.0.22:80 3 -> 0") && said.contains("generation 2"),
        "{said}"
    );

    place.write(&good.replace("scheduler: rr", "scheduler: fastest"));
    let output = place.ask(&["reload"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let check = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .arg("check")
        .arg(place.path("config.yaml"))
        .output()
        .unwrap();
    assert!(
        errors(&output).starts_with(&errors(&check)),
        "{}",
        errors(&output)
    );

    place.write(&good.replace("sessions: 1024", "sessions: 2048"));
    let output = place.ask(&["reload", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let page = place.http("GET /metrics");
    assert!(page.contains("plimsoll_config_last_reload_successful 0\n"));
    let reload: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reload["result"], "restart_needed");
    assert_eq!(reload["restart"][0], "dataplane.sessions 1024 -> 2048");
    assert_eq!(
        place.json(&["list"])["services"][0]["reals"][1]["weight"],
        0
    );

    place.write(&good);
    place.signal(Signal::HUP);
    let end = Instant::now() + Duration::from_secs(5);
    while place.json(&["list"])["services"][0]["reals"][1]["weight"] != 3 {
        assert!(Instant::now() < end, "{}", place.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let page = place.http("GET /metrics");
    assert!(
        page.contains("plimsoll_config_last_reload_successful 1\n")
            && page.contains("plimsoll_config_digest_info{digest=\""),
        "{page}"
    );
    for (result, count) in [("applied", 2), ("unchanged", 1), ("invalid", 1)] {
        let line = format!("plimsoll_reloads_total{{result=\"{result}\"}} {count}\n");
        assert!(page.contains(&line), "{line}{page}");
    }
    assert!(place.log().contains("configuration reloaded"));
}

/// The share of one CPU that the process has had while half a second passed.
fn cpu_share(id: u32) -> f64 {
    // In ticks of USER_HZ, which is 100 on every architecture that DPDK runs on; after the name, which ends with
    // the last parenthesis, the time in user mode is the 12th field and that in the kernel the 13th.
    let seconds = || -> f64 {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        let ticks = fields.split(' ').skip(11).take(2);
        ticks
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum::<f64>()
            / 100.0
    };
    let (started, before) = (Instant::now(), seconds());
    std::thread::sleep(Duration::from_millis(500));
    (seconds() - before) / started.elapsed().as_secs_f64()
}

#[test]
fn a_worker_that_sleeps_leaves_the_cpu_and_still_obeys() {
    for (device, how) in [
        ("net_null0,no-rx=1", "pauses between polls"),
        ("net_vhost0,iface=VHOST", "sleeps until a port interrupts"),
    ] {
        let mut place = Place::new();
        let vhost = place.path("vhost").display().to_string();
        // One port without interrupts would be one too many.
        let (all, mut config) = (place.config(), String::new());
        for line in all.lines().filter(|line| !line.contains("name: lan")) {
            config.push_str(line);
            config.push('\n');
        }
        let config = config
            .replace("  cpus: [0]", "  cpus: [0]\n  idle: sleep")
            .replace("net_null0,no-rx=1", &device.replace("VHOST", &vhost))
            .replace("[192.0.2.2/24]", "[192.0.2.2/24, 10.0.0.2/24]");
        place.write(&config);
        place.start();
        assert!(place.log().contains(how), "{}", place.log());
        // One that polls has all of a CPU, or half of it beside another program.
        let share = cpu_share(place.daemon.as_ref().unwrap().id());
        assert!(share < 0.35, "{device}: {share} of a CPU");
        let page = place.http("GET /metrics");
        let slept = page
            .lines()
            .find_map(|line| line.strip_prefix("plimsoll_worker_slept_seconds_total{"));
        let slept: f64 = slept.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(slept > 0.1, "{page}");

        // Both need the worker, which shows its sessions in steps.
        assert_eq!(place.answer(&["list", "--sessions"]).lines().count(), 2);
        place.write(&config.replace("weight: 3", "weight: 0"));
        assert!(place.answer(&["reload"]).contains("generation 2"));
        place.write(&config.replace("idle: sleep", "idle: poll"));
        let output = place.ask(&["reload", "-o", "json"]);
        let reload: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(reload["restart"][0], "dataplane.idle sleep -> poll");
        place.signal(Signal::TERM);
        assert!(place.end().success(), "{}", place.log());
    }
}

#[test]
fn one_daemon_for_one_socket_and_a_killed_one_is_no_obstacle() {
    let mut place = Place::new();
    place.start();
    let mut second = place.spawn();
    assert_eq!(wait(&mut second).code(), Some(1));
    assert!(place.log().contains("already running"), "{}", place.log());
    assert!(place.ask(&["list"]).status.success());

    place.signal(Signal::KILL);
    place.end();
    assert!(place.path("run/control.sock").exists());
    place.start();
    place.signal(Signal::INT);
    assert!(place.end().success(), "{}", place.log());
}

#[test]
fn what_is_wrong_at_the_start_is_said_with_what_to_do() {
    let place = Place::new();
    let good = place.config();
    for (from, to, code, words) in [
        ("scheduler: rr", "scheduler: fastest", 3, "fastest"),
        ("cpus: [0]", "cpus: [999]", 1, "change dataplane.cpus"),
        (
            "net_null1,no-rx=1",
            "net_af_packet1,iface=nope",
            1,
            "ip link",
        ),
        (
            "size: 64MiB",
            "size: 16MiB",
            1,
            "raise dataplane.memory.size",
        ),
        ("/run/control.sock", "/rum/control.sock", 1, "install -d"),
        (
            "sessions: 1024",
            "sessions: 2000000000",
            1,
            "lower dataplane.sessions to",
        ),
    ] {
        place.write(&good.replace(from, to));
        let status = wait(&mut place.spawn());
        let log = place.log();
        assert_eq!(status.code(), Some(code), "{to}: {log}");
        assert!(log.contains(words), "{to}: {log}");
        assert!(!place.path("run/control.sock").exists());
    }
    assert!(!place.path("rum").exists());
}

#[test]
fn http_may_be_off_and_is_warned_about_beyond_the_loopback() {
    let mut place = Place::new();
    let address = format!("\"127.0.0.1:{}\"", place.http);
    let good = place.config();
    place.write(&good.replace(&address, "off"));
    place.start();
    assert!(
        TcpStream::connect(("127.0.0.1", place.http)).is_err(),
        "somebody listens on the default address"
    );
    assert!(place.log().contains("http=off"), "{}", place.log());
    assert!(!place.log().contains("level=warn"), "{}", place.log());
    place.signal(Signal::TERM);
    assert!(place.end().success(), "{}", place.log());

    place.write(&good.replace("127.0.0.1:", "0.0.0.0:"));
    place.start();
    let log = place.log();
    assert!(
        log.contains("level=warn") && log.contains("without a password"),
        "{log}"
    );
}

#[test]
fn connections_without_a_question_take_nobody_elses_descriptors() {
    let mut place = Place::new();
    // Of these, DPDK and the rest of the process need some 50.
    let limited = Command::new("sh")
        .args(["-c", "ulimit -n 200; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_plimsolld"))
        .arg("--config")
        .arg(place.path("config.yaml"))
        .stderr(fs::File::create(place.path("log")).unwrap())
        .spawn();
    place.daemon = Some(limited.unwrap());
    place.wait_until_it_answers();
    let address = ("127.0.0.1", place.http);
    let held: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let page = place.http("GET /metrics");
    assert!(
        page.contains("plimsoll_port_link_up{port=\"wan\",side=\"network\"} 1\n"),
        "{page}"
    );
    assert!(place.answer(&["list"]).contains("192.0.2.10:80"));
    place.write(&place.config().replace("weight: 3", "weight: 0"));
    assert!(place.answer(&["reload"]).contains("generation 2"));
    assert!(!place.log().contains("link is down"), "{}", place.log());
    assert!(
        place.log().contains("too many connections"),
        "{}",
        place.log()
    );
    drop(held);
    place.signal(Signal::TERM);
    assert!(place.end().success(), "{}", place.log());
}
