//! What is shown of a daemon besides its services.

use super::*;

#[test]
fn it_tells_what_runs_as_ip_does_and_what_its_real_servers_need() {
    let mut place = Place::new();
    let network = "network:\n  routes: [{ to: 0.0.0.0/0, via: 192.0.2.1 }]\n  \
                   neighbors: [{ address: 192.0.2.1, mac: \"02:00:00:00:00:01\" }]\nservices:";
    place.write(&place.config().replace("services:", network));
    place.start();
    let status = place.answer(&["status"]);
    for words in [
        "generation 1\n",
        "reload     none since the start\n",
        "workers    1 on CPU 0",
        "sessions   0 of 1024 (0.0 %)\n",
        "services   1 with 2 real servers\n",
        "ports      2 of 2 up\n",
        "neighbors  all answer",
    ] {
        assert!(status.contains(words), "{words}{status}");
    }
    let status = place.json(&["status"]);
    assert_eq!(status["ports"][1]["mtu"], 9000);
    assert_eq!(status["sessions"]["capacity"], 1024);
    place.write("version: 1\n");
    assert_eq!(place.ask(&["reload"]).status.code(), Some(3));
    let status = place.answer(&["status"]);
    assert!(
        status.contains("reload     REFUSED, the file is invalid"),
        "{status}"
    );

    let ports = place.answer(&["ports"]);
    let first = ports.lines().next().unwrap();
    assert!(first.starts_with("wan              UP             "));
    assert!(
        first.ends_with(" mtu 1500 driver net_null 192.0.2.2/24"),
        "{ports}"
    );
    let ports = place.json(&["ports"]);
    assert_eq!(ports["ports"][1]["addresses"][1], "2001:db8::2/64");
    assert_eq!(ports["ports"][1]["rx_packets"], 0);

    assert_eq!(
        place.answer(&["routes"]),
        "10.0.0.0/24 dev lan scope link src 10.0.0.2 mtu 9000\n\
         192.0.2.0/24 dev wan scope link src 192.0.2.2 mtu 1500\n\
         default via 192.0.2.1 dev wan src 192.0.2.2 mtu 1500\n\
         2001:db8::/64 dev lan scope link src 2001:db8::2 mtu 9000\n"
    );
    let routes = place.json(&["routes"]);
    assert_eq!(routes["routes"][2]["via"], "192.0.2.1");

    let gateway = "192.0.2.1 dev wan lladdr 02:00:00:00:00:01 PERMANENT\n";
    assert_eq!(place.answer(&["neighbors"]), gateway);
    assert_eq!(place.answer(&["neighbors", "--port", "wan"]), gateway);
    assert_eq!(place.answer(&["neighbors", "192.0.2.1"]), gateway);
    assert_eq!(place.answer(&["neighbors", "--port", "lan"]), "");
    let neighbors = place.json(&["neighbors"]);
    assert_eq!(neighbors["neighbors"][0]["state"], "permanent");
    assert_eq!(neighbors["unreachable"], Value::Array(Vec::new()));
    let output = place.ask(&["neighbors", "--port", "wam"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("did you mean `wan`?"),
        "{output:?}"
    );
    assert_eq!(place.ask(&["neighbors", "nobody"]).status.code(), Some(2));

    let setup = place.answer(&["real-setup", "web"]);
    assert!(
        setup.contains("\nip addr replace 192.0.2.10/32 dev lo\n"),
        "{setup}"
    );
    let of_file = place.path("other.yaml");
    fs::write(&of_file, place.config()).unwrap();
    let of_file = of_file.to_str().unwrap();
    let of_file = place.answer(&["real-setup", "web", "--config", of_file]);
    assert_eq!(setup, of_file, "one function writes both");
    let setup = place.json(&["real-setup", "web", "--os", "networkd"]);
    assert_eq!(setup["sections"][0]["forward"], "dr");
    let output = place.ask(&["real-setup", "wbe"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("did you mean `web`?"),
        "{output:?}"
    );

    let config = place.path("other.yaml");
    let diagnosis = place.ask(&["doctor", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8(diagnosis.stdout).unwrap();
    for line in [
        "hugepages: none are needed",
        "ok       device wan: net_null0 needs no preparation\n",
        "ok       link lan: is up\n",
        "ok       neighbors: all answer",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    place.signal(Signal::TERM);
    assert!(place.end().success(), "{}", place.log());
}
