//! What addresses that have gone leave in the filters.

use super::*;

#[test]
fn addresses_that_have_come_and_gone_leave_nothing_in_the_filters() {
    let mut builder = builder();
    let stays = service(80, &[real(1, 1, NAT)]);
    let address = |number: u32| std::net::Ipv4Addr::from_bits(0x0b00_0000 + number);
    let mut last = None;
    for round in 0..30 {
        let reals: Vec<RealSpec> = (0..1000)
            .map(|number| RealSpec {
                address: address(round * 1000 + number).into(),
                ..real(2, 1, NAT)
            })
            .collect();
        let passing = ServiceSpec {
            target: Target::vip(Protocol::Tcp, address(1 << 20 | round).into(), 80),
            ..service(80, &reals)
        };
        builder.build(&spec(&[stays.clone(), passing]), true);
        last = Some(builder.build(&spec(std::slice::from_ref(&stays)), true));
    }
    // What is removed is given back with one of the next changes.
    for _ in 0..32 {
        last = Some(builder.build(&spec(std::slice::from_ref(&stays)), true));
    }
    let snapshot = last.unwrap();
    let others = || (0..10_000).map(|number| V4(0xc633_0000 + number));
    let reals = others()
        .filter(|one| snapshot.may_be_nat_real(*one))
        .count();
    assert!(
        reals < 100,
        "{reals} of 10000 are taken for NAT real servers"
    );
    let ours = others().filter(|one| snapshot.lookup.may_be_ours((*one).into()));
    let ours = ours.count();
    assert!(ours < 100, "{ours} of 10000 are taken for our own");
    assert!(snapshot.may_be_nat_real(V4(0x0a00_0001)));
    assert!(snapshot.is_ours([10, 0, 0, 1].into()));
}
