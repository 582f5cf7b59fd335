//! Captures: reading several in the order of their timestamps, writing one per port.
//! Formats are the `pcap-file` crate's business.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};

use super::SimulateError;

/// One frame of a capture.
#[derive(Debug)]
pub(super) struct Capture {
    /// Since the epoch.
    pub(super) at: Duration,
    /// Where it arrives.
    pub(super) port: u16,
    /// The bytes that were captured.
    pub(super) frame: Vec<u8>,
}

enum Reader {
    Classic(PcapReader<BufReader<File>>),
    Ng(PcapNgReader<BufReader<File>>),
}

/// One capture to be read.
pub(super) struct Input {
    port: u16,
    path: PathBuf,
    reader: Reader,
}

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

impl Input {
    /// Opens a capture in either format.
    pub(super) fn open(port: u16, path: &Path) -> Result<Self, SimulateError> {
        let error = |why: String| SimulateError::Read {
            path: path.to_owned(),
            why,
        };
        let mut file = File::open(path).map_err(|why| error(why.to_string()))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)
            .map_err(|_| error("not a capture: it is empty".to_owned()))?;
        file.rewind().map_err(|why| error(why.to_string()))?;
        let file = BufReader::new(file);
        let reader = if magic == PCAPNG_MAGIC {
            Reader::Ng(PcapNgReader::new(file).map_err(|why| error(why.to_string()))?)
        } else {
            let reader = PcapReader::new(file);
            let reader = reader.map_err(|why| error(format!("not a capture: {why}")))?;
            let link = reader.header().datalink;
            if link != DataLink::ETHERNET {
                return Err(error(format!(
                    "link type {link:?}, but only Ethernet is simulated"
                )));
            }
            Reader::Classic(reader)
        };
        Ok(Self {
            port,
            path: path.to_owned(),
            reader,
        })
    }

    fn next(&mut self) -> Option<Result<Capture, SimulateError>> {
        let port = self.port;
        let capture = match &mut self.reader {
            Reader::Classic(reader) => reader.next_packet()?.map(|packet| Capture {
                at: packet.timestamp,
                port,
                frame: packet.data.into_owned(),
            }),
            Reader::Ng(reader) => loop {
                match reader.next_block()? {
                    Ok(Block::EnhancedPacket(packet)) => {
                        break Ok(Capture {
                            at: packet.timestamp,
                            port,
                            frame: packet.data.into_owned(),
                        });
                    }
                    Ok(_) => {}
                    Err(why) => break Err(why),
                }
            },
        };
        Some(capture.map_err(|why| SimulateError::Read {
            path: self.path.clone(),
            why: why.to_string(),
        }))
    }
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

/// One capture to be written.
pub(super) struct Output {
    /// The port that it shows.
    pub(super) port: u16,
    path: PathBuf,
    writer: PcapWriter<BufWriter<File>>,
}

impl Output {
    /// Begins a capture.
    pub(super) fn create(port: u16, path: &Path) -> Result<Self, SimulateError> {
        let error = |why: String| SimulateError::Write {
            path: path.to_owned(),
            why,
        };
        let file = File::create(path).map_err(|why| error(why.to_string()))?;
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(BufWriter::new(file), header);
        let writer = writer.map_err(|why| error(why.to_string()))?;
        Ok(Self {
            port,
            path: path.to_owned(),
            writer,
        })
    }

    /// Adds a frame that left at `at` since the epoch.
    pub(super) fn write(&mut self, at: Duration, frame: &[u8]) -> Result<(), SimulateError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let written = self
            .writer
            .write_packet(&PcapPacket::new(at, length, frame));
        written.map_err(|why| self.error(&why.to_string()))?;
        Ok(())
    }

    /// Writes what is still buffered.
    pub(super) fn finish(self) -> Result<(), SimulateError> {
        let path = self.path;
        let mut writer = self.writer.into_writer();
        std::io::Write::flush(&mut writer).map_err(|why| SimulateError::Write {
            path,
            why: why.to_string(),
        })
    }

    fn error(&self, why: &str) -> SimulateError {
        SimulateError::Write {
            path: self.path.clone(),
            why: why.to_owned(),
        }
    }
}
