//! Which captures are read, and what is told of those that are not.

use super::*;

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().next_multiple_of(4) - body.len();
    let length = u32::try_from(12 + body.len() + padding).unwrap();
    let (kind, length) = (kind.to_le_bytes(), length.to_le_bytes());
    [&kind, &length, body, &[0; 3][..padding], &length].concat()
}

fn section() -> Vec<u8> {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend([0xff; 8]);
    block(0x0a0d_0d0a, &body)
}

fn interface(link: u8, resolution: Option<u8>, offset: Option<i64>) -> Vec<u8> {
    let mut body = vec![link, 0, 0, 0, 0, 0, 0, 0];
    if let Some(resolution) = resolution {
        body.extend([9, 0, 1, 0, resolution, 0, 0, 0]);
    }
    if let Some(offset) = offset {
        body.extend([14, 0, 8, 0]);
        body.extend(offset.to_le_bytes());
    }
    if body.len() > 8 {
        body.extend([0; 4]);
    }
    block(1, &body)
}

fn enhanced(interface: u32, count: u64, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    // The high half comes first.
    let count = count.rotate_left(32).to_le_bytes();
    let lengths = [length.to_le_bytes(), length.to_le_bytes()].concat();
    let mut body = [&interface.to_le_bytes(), &count[..], &lengths].concat();
    body.extend(frame);
    block(6, &body)
}

#[test]
fn pcapng_times_have_their_interfaces_resolution() {
    // The option, and how many make a second.
    let cases = [
        (None, 1_000_000),
        (Some(6), 1_000_000),
        (Some(9), 1_000_000_000),
        (Some(3), 1_000),
        (Some(0), 1),
        (Some(0x8a), 1 << 10),
    ];
    for (resolution, second) in cases {
        let bench = Bench::new(CONFIG);
        let blocks = [
            section(),
            interface(1, resolution, Some(-5)),
            enhanced(0, 1_000 * second, &query(1)),
            enhanced(0, 1_400 * second + second / 2, &query(1)),
        ];
        let report = bench.run(&blocks.concat());
        assert_eq!(conns(&report), 2, "{resolution:?}: the session lasts 300 s");
        let times: Vec<_> = bench.sent("eth1").into_iter().map(|(at, _)| at).collect();
        let half = if second > 1 { 0.5 } else { 0.0 };
        let expected = [995.0, 1_395.0 + half].map(Duration::from_secs_f64);
        assert_eq!(times, expected, "{resolution:?}");
    }
}

#[test]
fn pcapng_interfaces_differ_and_sections_number_them_anew() {
    let bench = Bench::new(CONFIG);
    let blocks = [
        section(),
        interface(1, Some(9), None),
        interface(1, None, None),
        interface(113, None, None),
        enhanced(0, 1_000_000_000_000, &query(1)),
        enhanced(1, 1_001_000_000, &query(2)),
        section(),
        interface(1, Some(3), None),
        enhanced(0, 1_002_000, &query(3)),
    ];
    bench.run(&blocks.concat());
    let times: Vec<_> = bench.sent("eth1").into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [1_000, 1_001, 1_002].map(Duration::from_secs));
}

#[test]
fn pcapng_packets_without_time_or_ethernet_are_refused_by_number() {
    let cases: [(Vec<u8>, &str); 6] = [
        (block(3, &[60; 64]), "simple packet block tells no time"),
        (block(2, &[0; 20]), "obsolete"),
        (enhanced(1, 0, &query(1)), "LINUX_SLL"),
        (enhanced(2, 0, &query(1)), "no interface 2"),
        (enhanced(3, u64::MAX, &query(1)), "past the year 2106"),
        (
            enhanced(0, 0, &query(1))[..80].to_vec(),
            "ends in the middle",
        ),
    ];
    for (bad, reason) in cases {
        let bench = Bench::new(CONFIG);
        let mut blocks = [section(), interface(1, None, None)].concat();
        blocks.extend(interface(113, None, None));
        blocks.extend(enhanced(0, 0, &query(1)));
        if reason.contains("2106") {
            blocks.extend(interface(1, None, None));
            blocks.extend(interface(1, Some(0), None));
        }
        blocks.extend(bad);
        let error = bench.error(&blocks);
        assert!(error.contains("in.pcap: frame 2: "), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn captures_that_cut_frames_short_are_read_and_the_frames_are_truncated() {
    for snaplen in [96, 0, 60] {
        let bench = Bench::new(CONFIG);
        let frame = query(1);
        let mut capture = pcap_header(MICROSECONDS, snaplen, 1);
        capture.extend(record(1, 0, &frame[..96], frame.len()));
        capture.extend(record(2, 0, &frame, frame.len()));
        let report = bench.run(&capture);
        assert_eq!((report.frames_in, report.frames_out), (2, 1), "{snaplen}");
        assert_eq!(drop_count(&report, "truncated"), 1, "{:?}", report.drops);
    }
}

#[test]
fn nanosecond_captures_and_link_types_with_a_check_sequence_are_read() {
    let bench = Bench::new(CONFIG);
    let frame = query(1);
    let mut capture = pcap_header(NANOSECONDS, 65_535, 0x2400_0001);
    capture.extend(record(7, 5_000_000, &frame, frame.len()));
    bench.run(&capture);
    assert_eq!(bench.sent("eth1")[0].0, Duration::from_millis(7_005));
}

#[test]
fn what_is_no_whole_capture_is_refused_with_its_name() {
    let frame = query(1);
    let whole = pcap(&[(1, frame.clone()), (2, frame.clone())]);
    let mut endless = pcap(&[(1, frame.clone())]);
    endless.extend([1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let cases: [(&[u8], &str); 8] = [
        (b"", "in.pcap: not a capture: it is too short"),
        (b"abc", "in.pcap: not a capture: it is too short"),
        (&whole[..20], "in.pcap: not a capture: it is too short"),
        (&[0x5a; 4096], "in.pcap: not a capture"),
        (&pcap_header(MICROSECONDS, 0, 113), "Ethernet"),
        (&whole[..whole.len() - 1], "in.pcap: frame 2: the file ends"),
        (
            &whole[..40 + frame.len() + 3],
            "in.pcap: frame 2: the file ends",
        ),
        (&endless, "in.pcap: frame 2: the file ends"),
    ];
    for (capture, reason) in cases {
        let error = Bench::new(CONFIG).error(capture);
        assert!(error.contains(reason), "{error}");
    }
    let bench = Bench::new(CONFIG);
    let mut plan = bench.plan(&whole);
    plan.inputs[0].1 = bench.folder.path().to_owned();
    let error = run(&plan).unwrap_err().to_string();
    assert!(error.contains("directory"), "{error}");
}
