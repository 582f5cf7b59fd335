//! What came out against what LVS sent: per step and port, every frame in order.
//! A step of waiting belongs to the one before it, whose frames it only gives more time.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::PcapReader;

use super::error::ReplayError;
use super::mask::mask;
use super::plan::{EPOCH, Prepared};
use super::recording::{Frame, Recording};

/// The first difference.
pub(super) fn frames(
    recording: &Recording,
    prepared: &Prepared,
) -> Result<Option<String>, ReplayError> {
    let mut sent = Vec::new();
    for (port, path) in &prepared.plan.outputs {
        sent.push((port, read(path)?));
    }
    let mut at = 0;
    while at < recording.steps.len() {
        let waits = recording.steps.iter().skip(at + 1);
        let next = at + 1 + waits.take_while(|step| step.sleep.is_some()).count();
        let begin = prepared.starts.get(at).copied().unwrap_or_default();
        let end = prepared.starts.get(next).copied();
        // What is sent at the very end belongs to the last step.
        let end = end.filter(|_| next < recording.steps.len());
        let steps = recording.steps.get(at..next).unwrap_or_default();
        for (port, frames) in &sent {
            let sent = frames.iter().filter(|(time, _)| {
                *time >= EPOCH + begin && end.is_none_or(|end| *time < EPOCH + end)
            });
            let sent: Vec<&[u8]> = sent.map(|(_, frame)| frame.as_slice()).collect();
            let expected: Vec<&Frame> = steps
                .iter()
                .flat_map(|step| &step.out)
                .filter(|frame| frame.dev == **port)
                .collect();
            if let Some(difference) = difference(&expected, &sent) {
                return Ok(Some(format!("step {at}, {port}: {difference}")));
            }
        }
        at = next;
    }
    Ok(None)
}

fn difference(expected: &[&Frame], sent: &[&[u8]]) -> Option<String> {
    for (number, frame) in expected.iter().enumerate() {
        let Some(sent) = sent.get(number) else {
            return Some(format!("LVS sent {}, nothing came out here", frame.sum));
        };
        let (mut theirs, mut ours) = (frame.bytes.clone(), sent.to_vec());
        mask(&mut theirs);
        mask(&mut ours);
        if let Some(byte) = first_difference(&theirs, &ours) {
            return Some(format!(
                "LVS sent {}, here byte {byte} differs: {}",
                frame.sum,
                hex(sent)
            ));
        }
    }
    let extra = sent.get(expected.len())?;
    Some(format!("LVS sent nothing, here came {}", hex(extra)))
}

fn first_difference(theirs: &[u8], ours: &[u8]) -> Option<usize> {
    let differs = theirs.iter().zip(ours).position(|(a, b)| a != b);
    let shorter = theirs.len().min(ours.len());
    differs.or_else(|| (theirs.len() != ours.len()).then_some(shorter))
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Vec<(Duration, Vec<u8>)>, ReplayError> {
    let file = File::open(path).map_err(ReplayError::file(path))?;
    let mut reader = PcapReader::new(BufReader::new(file))?;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        frames.push((packet.timestamp, packet.data.into_owned()));
    }
    Ok(frames)
}
