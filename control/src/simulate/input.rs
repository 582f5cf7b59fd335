//! Captures to be read: classic pcap and pcapng, and several merged in the order of their times.
//! Formats are the `pcap-file` crate's business; what its records mean is decided here.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapReader, RawPcapPacket};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};
use plimsoll_dataplane::id::DeviceId;

use super::SimulateError;

/// One frame of a capture.
#[derive(Debug)]
pub(super) struct Capture {
    /// Since the epoch.
    pub(super) at: Duration,
    /// Where it arrives.
    pub(super) device: DeviceId,
    /// The bytes that were captured.
    pub(super) frame: Vec<u8>,
}

/// A file whose first bytes were looked at.
type Source = Chain<Cursor<[u8; 4]>, BufReader<File>>;

enum Reader {
    Classic(PcapReader<Source>),
    Ng(PcapNgReader<Source>),
}

/// One capture to be read.
pub(super) struct Input {
    device: DeviceId,
    path: PathBuf,
    reader: Reader,
    /// The time of the frame before.
    last: Duration,
    /// Frames read so far.
    frames: u64,
}

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Of the link type's 32 bits, those that are one; the others tell of a frame check sequence.
const LINK_TYPE: u32 = 0xffff;
/// Classic pcap, which is what is written, cannot tell of later times.
const LAST: Duration = Duration::from_secs(u32::MAX as u64);

impl Input {
    /// Opens a capture in either format.
    pub(super) fn open(device: DeviceId, path: &Path) -> Result<Self, SimulateError> {
        let error = |why: String| SimulateError::Read {
            path: path.to_owned(),
            why,
        };
        let mut file = File::open(path).map_err(|why| error(why.to_string()))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic).map_err(|why| {
            error(match why.kind() {
                io::ErrorKind::UnexpectedEof => TOO_SHORT.to_owned(),
                _ => why.to_string(),
            })
        })?;
        // Not rewound: a pipe cannot be.
        let source = Cursor::new(magic).chain(BufReader::new(file));
        let broken = |why: PcapError| match why {
            PcapError::IoError(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
                error(TOO_SHORT.to_owned())
            }
            PcapError::IoError(why) => error(why.to_string()),
            why => error(format!("not a capture: {why}")),
        };
        let reader = if magic == PCAPNG_MAGIC {
            Reader::Ng(PcapNgReader::new(source).map_err(broken)?)
        } else {
            let reader = PcapReader::new(source).map_err(broken)?;
            check_link(reader.header().datalink).map_err(error)?;
            Reader::Classic(reader)
        };
        Ok(Self {
            device,
            path: path.to_owned(),
            reader,
            last: Duration::ZERO,
            frames: 0,
        })
    }

    /// The next frame. One whose time is before that of the frame before is as late as that one:
    /// time does not run backwards.
    fn next(&mut self) -> Option<Result<Capture, SimulateError>> {
        let frame = match &mut self.reader {
            Reader::Classic(reader) => {
                let resolution = reader.header().ts_resolution;
                reader
                    .next_raw_packet()?
                    .map_err(explain)
                    .map(|packet| classic(packet, resolution))
            }
            Reader::Ng(reader) => next_ng(reader)?,
        };
        self.frames += 1;
        let frame = frame.and_then(|(at, frame)| {
            if at > LAST {
                return Err(format!(
                    "its time is {} s, past the year 2106",
                    at.as_secs()
                ));
            }
            self.last = self.last.max(at);
            Ok(Capture {
                at: self.last,
                device: self.device,
                frame,
            })
        });
        Some(frame.map_err(|why| SimulateError::Read {
            path: self.path.clone(),
            why: format!("frame {}: {why}", self.frames),
        }))
    }
}

const TOO_SHORT: &str = "not a capture: it is too short";

fn check_link(link: DataLink) -> Result<(), String> {
    if u32::from(link) & LINK_TYPE == u32::from(DataLink::ETHERNET) {
        Ok(())
    } else {
        Err(format!(
            "link type {link:?}, but only Ethernet is simulated"
        ))
    }
}

fn explain(error: PcapError) -> String {
    match error {
        PcapError::IoError(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
            "the file ends in the middle of it, or its length is wrong".to_owned()
        }
        PcapError::IoError(why) => why.to_string(),
        why => why.to_string(),
    }
}

/// A record of classic pcap, with no opinion about its lengths: `tcpdump -s` cuts frames short, and
/// a snap length of 0 means none.
fn classic(packet: RawPcapPacket<'_>, resolution: TsResolution) -> (Duration, Vec<u8>) {
    let fraction = u64::from(packet.ts_frac);
    let fraction = match resolution {
        TsResolution::MicroSecond => Duration::from_micros(fraction),
        TsResolution::NanoSecond => Duration::from_nanos(fraction),
    };
    let at = Duration::from_secs(packet.ts_sec.into()) + fraction;
    (at, packet.data.into_owned())
}

fn next_ng(reader: &mut PcapNgReader<Source>) -> Option<Result<(Duration, Vec<u8>), String>> {
    loop {
        let packet = match reader.next_block()? {
            Ok(Block::EnhancedPacket(packet)) => packet.into_owned(),
            Ok(Block::SimplePacket(_)) => {
                return Some(Err("a simple packet block tells no time".to_owned()));
            }
            Ok(Block::Packet(_)) => {
                let why = "the packet block is obsolete; editcap makes it an enhanced one";
                return Some(Err(why.to_owned()));
            }
            Ok(_) => continue,
            Err(why) => return Some(Err(explain(why))),
        };
        let Some(interface) = reader.packet_interface(&packet) else {
            let why = format!("there is no interface {}", packet.interface_id);
            return Some(Err(why));
        };
        let at = check_link(interface.linktype).and_then(|()| time_of(&packet, interface));
        return Some(at.map(|at| (at, packet.data.into_owned())));
    }
}

/// When a packet was captured, by its interface's `if_tsresol` and `if_tsoffset`. `pcap-file` takes
/// the counter for nanoseconds whatever the resolution is.
fn time_of(
    packet: &EnhancedPacketBlock<'_>,
    interface: &InterfaceDescriptionBlock<'_>,
) -> Result<Duration, String> {
    const MICROSECONDS: u8 = 6;
    let (mut resolution, mut offset) = (MICROSECONDS, 0);
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfTsResol(value) => resolution = *value,
            InterfaceDescriptionOption::IfTsOffset(value) => offset = value.cast_signed(),
            _ => {}
        }
    }
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    // Units finer than any counter reaches are as good as 0 s.
    let units = base
        .checked_pow(u32::from(resolution & 0x7f))
        .unwrap_or(u128::MAX);
    let count = packet.timestamp.as_nanos();
    let seconds = u64::try_from(count / units).unwrap_or(u64::MAX);
    // A counter has 64 bits, so this does not overflow.
    let nanoseconds = (count % units).saturating_mul(1_000_000_000) / units;
    let seconds = seconds
        .checked_add_signed(offset)
        .ok_or_else(|| "its time is before 1970 or past all counting".to_owned())?;
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    Ok(Duration::new(seconds, nanoseconds))
}

/// All frames in the order of their timestamps; those of one time in the order of `inputs`.
pub(super) fn merge(inputs: Vec<Input>) -> impl Iterator<Item = Result<Capture, SimulateError>> {
    let mut heads: Vec<_> = inputs
        .into_iter()
        .map(|mut input| {
            let head = input.next();
            (input, head)
        })
        .collect();
    std::iter::from_fn(move || {
        let (input, head) = heads
            .iter_mut()
            .filter(|(_, head)| head.is_some())
            .min_by_key(
                // A broken capture is told of at once.
                |(_, head)| match head {
                    Some(Ok(capture)) => capture.at,
                    _ => Duration::ZERO,
                },
            )?;
        let next = match head {
            Some(Ok(_)) => input.next(),
            _ => None,
        };
        std::mem::replace(head, next)
    })
}
