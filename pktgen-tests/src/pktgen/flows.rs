//! Flows by number: which client a flow has, and in what order flows take their turns. No table of them.
//!
//! Must not depend on anything but a seed: a run can be repeated.

use std::fmt;
use std::str::FromStr;

/// Bits of a client's address that differ between clients.
const ADDRESS_BITS: u32 = 17;
/// Bits of a client's port that differ; the highest bit is always set.
const PORT_BITS: u32 = 15;

/// Gives each flow a client's address and port by a one-to-one mixing of its 32-bit number, so that neighbours in
/// number are no neighbours in any hash, and the number can be told from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clients {
    salt: u32,
}

// Odd, hence invertible modulo 2^32; the constants are those of a known finaliser (lowbias32).
const FIRST: u32 = 0x7feb_352d;
const SECOND: u32 = 0x846c_a68b;
const FIRST_INVERSE: u32 = inverse(FIRST);
const SECOND_INVERSE: u32 = inverse(SECOND);

/// The inverse of an odd number modulo 2^32, by Newton's iteration: each step doubles the right bits.
const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

impl Clients {
    /// The clients that belong to a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            salt: random.below(u32::MAX),
        }
    }

    /// The flow's client: what to add to the first client's address (17 bits), and the port.
    #[inline]
    #[must_use]
    pub const fn of(self, flow: u32) -> (u32, u16) {
        let x = flow ^ self.salt;
        let x = (x ^ (x >> 16)).wrapping_mul(FIRST);
        let x = (x ^ (x >> 15)).wrapping_mul(SECOND);
        let x = x ^ (x >> 16);
        let [.., high, low] = x.to_be_bytes();
        let port = u16::from_be_bytes([high, low]) | 1 << PORT_BITS;
        (x >> PORT_BITS, port)
    }

    /// The flow whose client this is. Only the varying bits count.
    #[inline]
    #[must_use]
    pub const fn flow(self, address: u32, port: u16) -> u32 {
        let address = address & ((1 << ADDRESS_BITS) - 1);
        let x = address << PORT_BITS | (port as u32) & ((1 << PORT_BITS) - 1);
        let x = x ^ (x >> 16);
        let x = x.wrapping_mul(SECOND_INVERSE);
        let x = x ^ (x >> 15) ^ (x >> 30);
        let x = x.wrapping_mul(FIRST_INVERSE);
        let x = x ^ (x >> 16);
        x ^ self.salt
    }
}

/// Pseudo-random numbers from a seed (SplitMix64, Steele et al. 2014): a few operations each.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = self.0;
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound` (0 if that is 0), uniformly but for a bias of at most `bound` in 2^32.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        let product = u64::from(u32::from_be_bytes([a, b, c, d])) * u64::from(bound);
        let [a, b, c, d, ..] = product.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// A number from 0 to 1, 1 excluded.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the 53 bits that are left are exact"
    )]
    #[inline]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// In what order flows take their turns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// One after another, and round again.
    Sequential,
    /// Each packet's flow is drawn; all are equally likely.
    Uniform,
    /// Drawn, and flow `k` is as likely as `1 / (k + 1)^s`; the exponent `s` is 0.1 to 4.
    Zipf(f64),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequential => f.write_str("sequential"),
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Not an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no order of flows: sequential, uniform, or zipf:S with an exponent S from 0.1 to 4"
)]
pub struct InvalidOrder(String);

impl FromStr for Order {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, InvalidOrder> {
        let invalid = || InvalidOrder(text.to_owned());
        match text {
            "sequential" => Ok(Self::Sequential),
            "uniform" => Ok(Self::Uniform),
            _ => {
                let exponent = text.strip_prefix("zipf:").ok_or_else(invalid)?;
                let exponent: f64 = exponent.parse().map_err(|_| invalid())?;
                (0.1..=4.0)
                    .contains(&exponent)
                    .then_some(Self::Zipf(exponent))
                    .ok_or_else(invalid)
            }
        }
    }
}

/// An endless sequence of flow numbers from 0 to a count, the count excluded.
#[derive(Debug, Clone)]
pub struct Flows {
    count: u32,
    next: u32,
    random: Random,
    zipf: Option<Zipf>,
    order: Order,
}

impl Flows {
    /// Flows 0 to `count` (at least 1 is taken), in an order that the seed decides.
    #[must_use]
    pub fn new(count: u32, seed: u64, order: Order) -> Self {
        let count = count.max(1);
        let zipf = match order {
            Order::Zipf(exponent) => Some(Zipf::new(count, exponent)),
            Order::Sequential | Order::Uniform => None,
        };
        Self {
            count,
            next: 0,
            // Not the numbers that salt the clients.
            random: Random::new(!seed),
            zipf,
            order,
        }
    }

    /// How many flows there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The flow of the next packet.
    #[inline]
    pub fn advance(&mut self) -> u32 {
        match self.order {
            Order::Sequential => {
                let flow = self.next;
                self.next = if flow + 1 == self.count { 0 } else { flow + 1 };
                flow
            }
            Order::Uniform => self.random.below(self.count),
            Order::Zipf(_) => {
                let random = &mut self.random;
                self.zipf.as_ref().map_or(0, |zipf| zipf.draw(random))
            }
        }
    }
}

/// Zipf's distribution by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates
/// from monotone discrete distributions", 1996): constant time, no table.
#[derive(Debug, Clone)]
struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral of the hat from its left end to its right end.
    from: f64,
    to: f64,
    /// So close to the integer below, a draw needs no test.
    squeeze: f64,
}

impl Zipf {
    fn new(count: u32, exponent: f64) -> Self {
        let mut zipf = Self {
            count: f64::from(count),
            exponent,
            from: 0.0,
            to: 0.0,
            squeeze: 0.0,
        };
        zipf.from = zipf.integral(1.5) - 1.0;
        zipf.to = zipf.integral(zipf.count + 0.5);
        zipf.squeeze = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight from 1 to `x`, in a form that is exact near the exponent 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let rest = (1.0 - self.exponent) * log;
        if rest.abs() < 1e-8 {
            log * (1.0 + rest / 2.0)
        } else {
            rest.exp_m1() / rest * log
        }
    }

    fn inverse(&self, integral: f64) -> f64 {
        let rest = ((1.0 - self.exponent) * integral).max(-1.0);
        if rest.abs() < 1e-8 {
            (integral * (1.0 - rest / 2.0)).exp()
        } else {
            (rest.ln_1p() / rest * integral).exp()
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1 and the count, which is a u32"
    )]
    #[inline]
    fn draw(&self, random: &mut Random) -> u32 {
        loop {
            let u = self.to + random.unit() * (self.from - self.to);
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.count);
            if k - x <= self.squeeze || u >= self.integral(k + 0.5) - self.weight(k) {
                return k as u32 - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_has_a_client_of_its_own_that_names_it() {
        for seed in [0, 1, u64::MAX] {
            let clients = Clients::new(seed);
            let numbers = (0..100_000).chain(u32::MAX - 1000..=u32::MAX);
            for flow in numbers.chain((0..1000).map(|flow| flow * 4_294_967)) {
                let (address, port) = clients.of(flow);
                assert!(address < 1 << 17 && port >= 1 << 15);
                assert_eq!(clients.flow(address, port), flow);
            }
        }
        assert_ne!(Clients::new(1).of(5), Clients::new(2).of(5));
    }

    #[test]
    fn sequential_flows_come_round() {
        let mut flows = Flows::new(3, 1, Order::Sequential);
        let drawn: Vec<u32> = (0..7).map(|_| flows.advance()).collect();
        assert_eq!(drawn, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(Flows::new(0, 1, Order::Uniform).advance(), 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_flows() {
        for order in [Order::Uniform, Order::Zipf(1.0)] {
            let draw = |seed| {
                let mut flows = Flows::new(1000, seed, order);
                (0..100).map(|_| flows.advance()).collect::<Vec<_>>()
            };
            assert_eq!(draw(7), draw(7));
            assert_ne!(draw(7), draw(8));
        }
    }

    #[test]
    fn uniform_flows_are_equally_frequent() {
        let mut flows = Flows::new(100, 3, Order::Uniform);
        let mut seen = [0_u32; 100];
        for _ in 0..100_000 {
            seen[flows.advance() as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)));
    }

    #[test]
    fn zipfs_flows_have_zipfs_shares() {
        for exponent in [0.5, 1.0, 1.2, 2.0] {
            const COUNT: u32 = 1000;
            let mut flows = Flows::new(COUNT, 9, Order::Zipf(exponent));
            let mut seen = vec![0_u32; COUNT as usize];
            for _ in 0..200_000 {
                seen[flows.advance() as usize] += 1;
            }
            let weight = |k: u32| f64::from(k + 1).powf(-exponent);
            let total: f64 = (0..COUNT).map(weight).sum();
            for k in [0, 1, 2, 9] {
                let expected = 200_000.0 * weight(k) / total;
                let difference = f64::from(seen[k as usize]) - expected;
                assert!(
                    difference.abs() < 5.0 * expected.sqrt() + 1.0,
                    "s {exponent}, flow {k}: {} instead of {expected}",
                    seen[k as usize]
                );
            }
        }
    }

    #[test]
    fn orders_are_written_as_they_are_read() {
        for text in ["sequential", "uniform", "zipf:1.1"] {
            assert_eq!(text.parse::<Order>().unwrap().to_string(), text);
        }
        for text in [
            "", "zipf", "zipf:", "zipf:0", "zipf:nan", "zipf:9", "random",
        ] {
            assert!(text.parse::<Order>().is_err(), "{text}");
        }
    }
}
