//! Readers that are slow, gone or without room.

use std::sync::mpsc;
use std::thread;

use super::*;

/// What becomes of a write, decided by the test.
struct Output {
    turns: mpsc::Receiver<io::Result<usize>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A test that has said all it wanted takes everything.
        let most = self.turns.recv().unwrap_or(Ok(usize::MAX))?;
        let count = bytes.len().min(most);
        self.written
            .lock()
            .unwrap()
            .extend(bytes.iter().take(count));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Turns = mpsc::Sender<io::Result<usize>>;

/// A queue with its thread, what decides its writes, and what was written.
fn start() -> (Arc<Queue>, Turns, Arc<Mutex<Vec<u8>>>) {
    let queue = Arc::new(Queue::new(Arc::default()));
    let (sender, turns) = mpsc::channel();
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let (writer, output) = (
        Arc::clone(&queue),
        Output {
            turns,
            written: Arc::clone(&written),
        },
    );
    thread::spawn(move || writer.write(output, |lost| format!("{lost} lost\n").into_bytes()));
    (queue, sender, written)
}

fn text(written: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

#[test]
fn lines_are_written_in_order_and_waited_for() {
    let (queue, sender, written) = start();
    drop(sender);
    for line in 0..100 {
        queue.push(format!("{line}\n").into_bytes());
    }
    queue.finish();
    let all: String = (0..100).map(|line| format!("{line}\n")).collect();
    assert_eq!(text(&written), all);
}

#[test]
fn a_reader_that_stalls_delays_nobody_and_what_it_missed_is_told_when_it_reads_again() {
    let (queue, sender, written) = start();
    let line = vec![b'x'; 1 << 20];
    // One is at the output, which takes nothing yet, and four wait. Whether the first was taken out yet is chance.
    for _ in 0..20 {
        queue.push(line.clone());
    }
    let lost = queue.lost.load(Ordering::Relaxed);
    assert!((15..=16).contains(&lost), "{lost}");
    // Bounded, and nothing more is written.
    queue.finish();
    assert_eq!(text(&written), "");
    drop(sender);
    queue.finish();
    let text = text(&written);
    assert!(text.contains(&format!("{lost} lost\n")), "{lost}");
    assert_eq!(
        text.matches('x').count(),
        (20 - usize::try_from(lost).unwrap()) << 20
    );
}

#[test]
fn what_cannot_be_written_is_lost_and_a_torn_line_is_ended() {
    let (queue, sender, written) = start();
    let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
    // A line, half a line and then a full disk, a full disk, and room again.
    for turn in [Ok(usize::MAX), Ok(3), full(), full(), Ok(usize::MAX)] {
        sender.send(turn).unwrap();
    }
    drop(sender);
    for line in ["first\n", "second\n", "third\n", "fourth\n"] {
        queue.push(line.into());
    }
    queue.finish();
    assert_eq!(text(&written), "first\nsec\nfourth\n2 lost\n");
    assert_eq!(queue.lost.load(Ordering::Relaxed), 2);
}
