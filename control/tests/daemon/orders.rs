//! Real servers taken out and put back while the daemon runs: through reloads, restarts and its death.

use super::*;

const FIRST: &str = "web/10.0.0.21:80";
const SECOND: &str = "web/10.0.0.22:80";

impl Place {
    /// What is listed of a real server of the first service.
    fn real(&self, place: usize) -> Value {
        self.json(&["list"])["services"][0]["reals"][place].clone()
    }

    fn administration(&self) -> [String; 2] {
        [0, 1].map(|place| {
            self.real(place)["administration"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    }

    fn restart(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.end();
        assert_eq!(status.success(), signal == Signal::TERM, "{status:?}");
        self.start();
    }
}

#[test]
fn orders_are_carried_out_shown_and_taken_back() {
    let mut place = Place::new();
    place.start();
    assert_eq!(
        place.answer(&["drain", FIRST]),
        format!("{FIRST}: drained, weight 1, no session is left\n")
    );
    assert_eq!(place.administration(), ["drained", "enabled"]);
    assert_eq!(
        place.answer(&["weight", SECOND, "7"]),
        format!("{SECOND}: enabled, weight 7 (the file's is 3), no session is left\n")
    );
    assert!(
        place
            .answer(&["list"])
            .contains("10.0.0.22:80                 Route   7      0          0         \n")
    );
    assert_eq!(
        place.answer(&["list", "--state"]),
        "IP Virtual Server version 1.2.1 (size=1024)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           State     Weight File   Sessions\n\
         TCP  192.0.2.10:80 rr\n  \
         -> 10.0.0.21:80                 drained   1      1      0\n  \
         -> 10.0.0.22:80                 enabled   7      3      0\n"
    );
    let page = place.http("GET /metrics");
    for (state, value) in [("enabled", 0), ("drained", 1), ("disabled", 0)] {
        let labels = format!("service=\"web\",real=\"10.0.0.21:80\",state=\"{state}\"");
        let line = format!("plimsoll_real_admin_state{{{labels}}} {value}\n");
        assert!(page.contains(&line), "{line}: {page}");
    }
    assert!(
        place
            .answer(&["status"])
            .contains("2 of them changed by operators")
    );
    assert_eq!(place.json(&["status"])["operator_changes"], 2);
    let disabled = place.json(&["disable", "10.0.0.21"]);
    assert_eq!(disabled["reals"][0]["administration"], "disabled");
    assert_eq!(disabled["reals"][0]["vip"], "192.0.2.10:80");
    let output = place.ask(&["undrain", FIRST]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output).contains("is disabled, not drained"));
    place.answer(&["enable", FIRST]);
    place.answer(&["weight", SECOND, "reset"]);
    assert_eq!(place.administration(), ["enabled", "enabled"]);
    assert_eq!(place.real(1)["weight"], 3);
    assert_eq!(place.real(1).get("weight_of_file"), None);
    let log = place.log();
    for said in ["by an operator: drained", "by an operator: disabled"] {
        assert_eq!(log.matches(said).count(), 1, "{log}");
    }
}

#[test]
fn what_makes_no_sense_is_said_and_changes_nothing() {
    let mut place = Place::new();
    place.start();
    for (words, code, said) in [
        (
            &["drain", "web/10.0.0.99:80"][..],
            1,
            "no service has the real server",
        ),
        (
            &["drain", "dns/10.0.0.21:80"],
            1,
            "no service has the real server",
        ),
        (
            &["drain", "10.0.0.21:81"],
            1,
            "no service has the real server",
        ),
        (&["drain", "web"], 2, "names no real server"),
        (&["weight", FIRST, "-1"], 2, "-1"),
        (&["weight", FIRST, "2147483648"], 2, "2147483647"),
        (&["drain", FIRST, "--deadline", "1s"], 2, "--deadline"),
        (&["drain", FIRST, "--then", "reset"], 2, "--deadline"),
    ] {
        let output = place.ask(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(errors(&output).contains(said), "{words:?}: {output:?}");
    }
    assert_eq!(place.administration(), ["enabled", "enabled"]);
    assert!(
        place.http("POST /api/v1/reals").starts_with("HTTP/1.1 403"),
        "changes are for the control socket"
    );
    assert!(!place.path("state").exists(), "there is nothing to keep");
}

#[test]
fn orders_outlive_reloads_restarts_and_the_daemons_death() {
    let mut place = Place::new();
    place.start();
    place.answer(&["drain", FIRST]);
    place.answer(&["weight", SECOND, "9"]);
    let holds = |place: &Place, when: &str| {
        assert_eq!(place.administration(), ["drained", "enabled"], "{when}");
        assert_eq!(place.real(1)["weight"], 9, "{when}");
        assert_eq!(place.real(1)["weight_of_file"], 3, "{when}");
    };
    place.write(&place.config().replace("scheduler: rr", "scheduler: wrr"));
    place.answer(&["reload"]);
    holds(&place, "after a reload of something else");
    place.restart(Signal::TERM);
    holds(&place, "after a restart");
    assert!(
        place
            .log()
            .contains("an operator has changed this real server: drained")
    );
    place.restart(Signal::KILL);
    holds(&place, "after kill -9");
    place.answer(&["disable", FIRST]);
    place.restart(Signal::KILL);
    assert_eq!(place.administration(), ["disabled", "enabled"]);
    place.answer(&["enable", FIRST]);
    place.answer(&["weight", SECOND, "reset"]);
    place.restart(Signal::KILL);
    assert_eq!(place.administration(), ["enabled", "enabled"]);
    assert_eq!(place.real(1)["weight"], 3);
}

#[test]
fn the_file_wins_once_it_says_something_else() {
    let mut place = Place::new();
    place.start();
    place.answer(&["drain", FIRST]);
    place.answer(&["weight", SECOND, "9"]);
    let good = place.config();
    place.write(&good.replace("weight: 3", "weight: 4"));
    let said = place.answer(&["reload"]);
    assert!(
        said.contains(&format!(
            "! {SECOND} is no longer at weight 9: the file says another weight now"
        )),
        "{said}"
    );
    assert_eq!(
        (
            place.real(1)["weight"].as_u64(),
            place.administration()[0].as_str()
        ),
        (Some(4), "drained")
    );
    let without = good.replace(r#"{ address: "10.0.0.21:80" }, "#, "");
    place.write(&without);
    let reload = place.json(&["reload"]);
    assert_eq!(
        reload["dropped"],
        serde_json::json!([format!(
            "{FIRST} is no longer drained: the file no longer has it"
        )])
    );
    place.write(&good);
    place.answer(&["reload"]);
    assert_eq!(place.administration(), ["enabled", "enabled"]);

    // The same if the file changes while no daemon runs.
    place.answer(&["drain", FIRST]);
    place.write(&without);
    place.restart(Signal::TERM);
    assert!(
        place
            .log()
            .contains("is no longer drained: the file no longer has it")
    );
    place.write(&good);
    place.restart(Signal::TERM);
    assert_eq!(place.administration(), ["enabled", "enabled"]);
}

#[test]
fn a_drain_without_sessions_is_over_at_once_and_its_deadline_is_the_daemons() {
    let mut place = Place::new();
    place.start();
    assert!(
        place
            .answer(&["drain", FIRST, "--wait"])
            .contains("no session is left")
    );
    let states = place.json(&["drain", FIRST, "--deadline", "100ms", "--then", "reset"]);
    assert_eq!(states["reals"][0]["deadline"]["then"], "reset");
    let end = Instant::now() + Duration::from_secs(10);
    while !place.log().contains("a drain's deadline has passed") {
        assert!(Instant::now() < end, "{}", place.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(place.administration(), ["drained", "enabled"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_said() {
    let mut place = Place::new();
    let state = place.path("state");
    fs::write(&state, "").unwrap();
    place.start();
    let output = place.ask(&["drain", FIRST]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = errors(&output);
    assert!(said.contains("will not survive a restart"), "{said}");
    assert_eq!(place.administration(), ["drained", "enabled"], "in force");
    place.signal(Signal::TERM);
    place.end();

    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(state.join("runtime.json"), "{ broken").unwrap();
    place.start();
    assert!(
        place.log().contains("runtime changes cannot be read"),
        "{}",
        place.log()
    );
    let other = Place::new();
    other.write(&other.config().replace(
        &format!("state: {}", other.path("state").display()),
        &format!("state: {}", state.display()),
    ));
    let mut second = other.spawn();
    assert_eq!(wait(&mut second).code(), Some(1));
    assert!(
        other.log().contains("another plimsolld uses"),
        "{}",
        other.log()
    );
}

#[test]
fn a_plan_says_what_a_reload_would_change_and_changes_nothing() {
    let mut place = Place::new();
    place.start();
    let good = place.config();
    assert!(place.answer(&["plan"]).contains("changes nothing"));
    place.answer(&["drain", FIRST]);
    place.answer(&["weight", SECOND, "9"]);
    let said = place.answer(&["plan"]);
    assert!(
        said.contains(&format!("= {FIRST} stays drained\n")),
        "{said}"
    );
    assert!(
        said.contains(&format!("= {SECOND} stays at weight 9 (the file's is 3)\n")),
        "{said}"
    );

    let other = place.path("other.yaml");
    let file = other.to_str().unwrap();
    let changed = good
        .replace("weight: 3", "weight: 4")
        .replace("scheduler: rr", "scheduler: wrr");
    fs::write(&other, &changed).unwrap();
    let output = place.ask(&["plan", file]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        "~ service web (tcp 192.0.2.10:80): scheduler rr -> wrr\n",
        "~ service web (tcp 192.0.2.10:80): weight of 10.0.0.22:80 3 -> 4\n",
        &format!("! {SECOND} is no longer at weight 9: the file says another weight now\n"),
        &format!("= {FIRST} stays drained\n"),
        &format!("a reload of {file} changes this\n"),
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
    assert_eq!(place.real(1)["weight"], 9, "nothing is changed");

    fs::write(&other, good.replace("sessions: 1024", "sessions: 2048")).unwrap();
    let output = place.ask(&["plan", file, "-o", "json"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["restart"][0], "dataplane.sessions 1024 -> 2048");

    fs::write(&other, good.replace("scheduler: rr", "scheduler: fastest")).unwrap();
    let output = place.ask(&["plan", file]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(errors(&output).contains("scheduler: fastest"), "{output:?}");
    let output = place.ask(&["plan", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");

    place.write(&changed);
    assert_eq!(place.ask(&["plan"]).status.code(), Some(6));
    place.answer(&["reload"]);
    assert!(
        place.answer(&["plan"]).contains("changes nothing"),
        "a second plan is empty"
    );
}
