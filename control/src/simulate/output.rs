//! Captures to be written, one per device: classic pcap with times in microseconds.
//! Formats are the `pcap-file` crate's business.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use plimsoll_dataplane::id::DeviceId;

use super::SimulateError;
use crate::output_file::OutputFile;

/// More than any frame has, as tcpdump writes it.
const SNAPLEN: u32 = 262_144;

/// One capture to be written.
pub(super) struct Output {
    /// The device that it shows.
    pub(super) device: DeviceId,
    path: PathBuf,
    writer: PcapWriter<OutputFile>,
}

impl Output {
    /// Begins a capture.
    pub(super) fn create(device: DeviceId, path: &Path) -> Result<Self, SimulateError> {
        let error = |why: String| SimulateError::Write {
            path: path.to_owned(),
            why,
        };
        let file = OutputFile::create(path).map_err(|why| error(why.to_string()))?;
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            snaplen: SNAPLEN,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(file, header);
        let writer = writer.map_err(|why| error(why.to_string()))?;
        Ok(Self {
            device,
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

    /// Writes what is still buffered, and puts the capture into its place.
    pub(super) fn finish(self) -> Result<(), SimulateError> {
        let path = self.path;
        let written = self.writer.into_writer().finish();
        written.map_err(|why| SimulateError::Write {
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
