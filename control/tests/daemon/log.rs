//! Logs that nobody reads, or that find no room.

use super::*;

/// A pipe that has no room left.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let mut place = Place::new();
    let manager = UnixDatagram::bind(place.path("notify")).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (mut reader, writer) = full_pipe();
    let daemon = place
        .command()
        .env("NOTIFY_SOCKET", place.path("notify"))
        .env("WATCHDOG_USEC", "1000000")
        .stderr(writer)
        .spawn();
    place.daemon = Some(daemon.unwrap());
    place.wait_until_it_answers();
    let mut buffer = [0; 512];
    let mut told = || {
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    while !told().contains("READY=1") {}

    let good = place.config();
    place.write(&good.replace("weight: 3", "weight: 0"));
    assert!(place.answer(&["reload"]).contains("generation 2"));
    place.write(&good.replace("scheduler: rr", "scheduler: fastest"));
    assert_eq!(place.ask(&["reload"]).status.code(), Some(3));
    place.write(&good);
    place.signal(Signal::HUP);
    while !told().contains("RELOADING=1") {}
    while !told().contains("generation 3") {}
    let page = place.http("GET /metrics");
    assert!(page.contains("plimsoll_snapshot_generation 3\n"), "{page}");
    // More than once, so that it comes from the loop that goes on.
    for _ in 0..3 {
        while !told().contains("WATCHDOG=1") {}
    }
    place.signal(Signal::TERM);
    assert!(place.end().success());
    let mut left = String::new();
    reader.read_to_string(&mut left).unwrap();
    assert!(left.chars().all(|c| c == '.'), "{left}");
}

#[test]
fn a_log_without_room_or_without_a_reader_is_lost_and_counted() {
    let full = || {
        Stdio::from(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
    };
    // Its reader is gone at once.
    let closed = || Stdio::from(pipe().unwrap().1);
    for log in [&full as &dyn Fn() -> Stdio, &closed] {
        let mut place = Place::new();
        place.start_logging_to(log());
        place.write(&place.config().replace("weight: 3", "weight: 0"));
        assert!(place.answer(&["reload"]).contains("generation 2"));
        let page = place.http("GET /metrics");
        let lost = page
            .lines()
            .find_map(|line| line.strip_prefix("plimsoll_log_lines_lost_total "));
        assert!(lost.unwrap().parse::<u64>().unwrap() > 0, "{page}");
        place.signal(Signal::TERM);
        assert!(place.end().success());

        place.write("version: 1\n");
        let mut refused = place.command().stderr(log()).spawn().unwrap();
        assert_eq!(wait(&mut refused).code(), Some(3));
    }
    let place = Place::new();
    place.write("version: 1\n");
    let (_reader, writer) = full_pipe();
    let mut refused = place.command().stderr(writer).spawn().unwrap();
    assert_eq!(wait(&mut refused).code(), Some(3));
}
